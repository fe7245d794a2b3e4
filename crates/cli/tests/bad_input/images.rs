//! Images that cannot be had, and registries that do not give them.

use crate::support::{Group, Home, Registry, busybox, layout, silent};

/// A group whose one step wants this image.
fn wants(image: &str) -> String {
    Group::new()
        .step("a", image, "shell: Sh", "echo never")
        .text()
}

#[test]
fn registries_and_platforms() {
    let home = Home::new();
    let open = Registry::start(false);
    let shut = Registry::start(true);
    let dir = tempfile::tempdir().expect("a directory");
    let other = if cfg!(target_arch = "x86_64") {
        "linux/s390x"
    } else {
        "linux/amd64"
    };
    let foreign = open.push(&layout(&dir.path().join("a"), other), "foreign:1");
    let small = layout(&dir.path().join("b"), &image::Platform::here().to_string());
    let private = shut.push(&small, "private:1");
    let fixed = open.push(&small, "small:1");
    let wrong = format!("{}@sha256:{}", fixed, "0".repeat(64));
    let down = crate::support::free_port();
    let cases: &[(&str, String, &[&str])] = &[
        (
            "no such image",
            format!("{}/nobody:1", open.host),
            &[
                "registry",
                "has no image",
                "nobody:1",
                "check the repository and the tag",
            ],
        ),
        (
            "another platform",
            foreign,
            &[
                "is not for linux/",
                &format!("only for {other}"),
                "build the image for it",
            ],
        ),
        ("no such digest", wrong, &["has no image", "sha256:0000"]),
        (
            "a login it lacks",
            private.clone(),
            &[
                "private:1",
                "it needs a login",
                "give the step a connectorRef",
            ],
        ),
        (
            "a registry that is down",
            format!("{down}/x:1"),
            &[
                &down,
                "cannot be reached",
                ": connection refused",
                "check that",
                "is up",
            ],
        ),
        (
            "no image at all",
            "repo:UPPER:CASE".to_owned(),
            &["`repo:UPPER:CASE` is not an image reference", "help"],
        ),
        (
            "no such layout",
            "oci:/nowhere/x".to_owned(),
            &["/nowhere/x"],
        ),
    ];
    for (name, image, says) in cases {
        let seen = home.run(&wants(image));
        seen.says(name, 1, says);
        assert!(!seen.out.contains("never\n"), "{name}: {}", seen.out);
        // The step that never began says nothing of it.
        assert!(
            seen.out.contains("[s/g/a] skipped\n"),
            "{name}: {}",
            seen.out
        );
    }
    // The login is refused where it is wrong.
    let login = "connector: {identifier: r, name: r, type: DockerRegistry, spec: {dockerRegistryUrl: 'http://HOST', providerType: Other, auth: {type: UsernamePassword, spec: {username: tc, passwordRef: pw}}}}\n";
    let text = Group::new()
        .step("a", &private, "shell: Sh, connectorRef: r", "true")
        .document(&login.replace("HOST", &shut.host))
        .text();
    home.write("p.yaml", &text);
    home.call(&["run", "p.yaml", "--secret", "pw=wrong-one"])
        .says(
            "a refused login",
            1,
            &["refused the login of `tc`", "check user name and password"],
        );
}

#[test]
fn a_registry_that_is_slow_takes_no_longer_than_init_timeout() {
    let home = Home::new();
    let text = Group::new()
        .infra("initTimeout: 10s")
        .step("a", &format!("{}/x:1", silent()), "shell: Sh", "true")
        .text();
    home.run(&text)
        .says("slow", 1, &["was not got within 10 s", "raise initTimeout"]);
}

#[test]
fn a_layer_that_fails_its_digest() {
    let home = Home::new();
    let registry = Registry::start(false);
    let dir = tempfile::tempdir().expect("a directory");
    let name = registry.push(&busybox(dir.path(), |_| ()), "box:1");
    // The largest blob is the layer: one byte of what is stored is another one.
    let mut blobs = Vec::new();
    let mut open = vec![registry.dir.path().join("data")];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
            let meta = entry.metadata().expect("metadata");
            if meta.is_dir() {
                open.push(entry.path());
            } else {
                blobs.push((meta.len(), entry.path()));
            }
        }
    }
    let (_, layer) = blobs.iter().max().expect("a blob");
    let mut bytes = std::fs::read(layer).expect("the layer");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(layer, bytes).expect("the layer");
    home.run(&wants(&name)).says(
        "damaged",
        1,
        &[
            "box:1",
            "is damaged: layer",
            "has digest sha256:",
            "the image that was asked for",
        ],
    );
}

#[test]
fn many_bad_images_are_told_once() {
    let home = Home::new();
    let down = crate::support::free_port();
    let mut group = Group::new().run("fine", "echo never");
    for id in ["a", "b", "c"] {
        group = group.step(id, &format!("{down}/same:1"), "shell: Sh", "echo never");
    }
    let group = group.step("d", &format!("{down}/other:1"), "shell: Sh", "echo never");
    let seen = home.run(&group.text());
    seen.says(
        "all bad",
        1,
        &[
            "2 images cannot be used",
            "step-a, step-b, step-c",
            "same:1",
            "step-d",
            "other:1",
        ],
    );
    // As it happens, and in the summary.
    assert_eq!(seen.times("2 images cannot be used"), 2, "{}", seen.out);
    assert_eq!(seen.times("same:1"), 2, "{}", seen.out);
    assert_eq!(seen.times("(ignored)"), 0, "{}", seen.out);
    assert_eq!(seen.times("not started"), 0, "{}", seen.out);
}

#[test]
fn an_image_that_lacks_what_the_step_needs() {
    let home = Home::new();
    let dir = tempfile::tempdir().expect("a directory");
    let archive = dir.path().join("box.tar");
    busybox(dir.path(), |_| ())
        .archive(&archive)
        .expect("an archive");
    let image = format!("oci-archive:{}", archive.display());
    for (shell, says) in [
        ("Bash", "the image has no `bash`"),
        ("Python", "the image has no `python"),
        ("Pwsh", "the image has no `pwsh`"),
    ] {
        let text = Group::new()
            .step("a", &image, &format!("shell: {shell}"), "echo never")
            .text();
        home.run(&text).says(shell, 1, &[says]);
    }
    let text = Group::new()
        .raw(&format!("step: {{identifier: a, name: a, type: Plugin, spec: {{image: '{image}', entrypoint: [/no/such]}}}}"))
        .text();
    home.run(&text).says("entrypoint", 1, &["/no/such"]);
    let text = Group::new()
        .raw(&format!(
            "step: {{identifier: a, name: a, type: Plugin, spec: {{image: '{image}'}}}}"
        ))
        .text();
    home.run(&text).says(
        "nothing to execute",
        1,
        &[
            "neither ENTRYPOINT nor CMD",
            "give the step an `entrypoint`",
        ],
    );
    let text = Group::new()
        .step("a", &image, "shell: Sh", "frobnicate")
        .text();
    home.run(&text)
        .says("127", 1, &["exit code 127: a command was not found"]);
}
