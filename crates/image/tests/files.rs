//! Layouts, archives, hostile layers, collection: what needs no registry.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use image::build::Built;
use image::{Client, Error, Image, Keep, Kind, Platform, Pull, Reference, Store, Want};
use support::{Tar, build, client, exists, noise, want};

async fn get(client: &Client, reference: &str) -> Result<Image, Error> {
    client
        .ensure(&reference.parse::<Reference>()?, &Want::default(), &|_| ())
        .await
}

fn one(dir: &Path, layers: &[Vec<u8>]) -> Built {
    build(&dir.join("built"), Platform::here(), layers)
}

#[tokio::test]
async fn a_layout_and_its_archives_are_read_as_they_lie() {
    let dir = tempfile::tempdir().unwrap();
    let built = one(
        dir.path(),
        &[
            Tar::new().file("a", "one").bytes(),
            Tar::new().file("b", "two").bytes(),
        ],
    );
    let layout = built.dir.display().to_string();
    let (plain, gz) = (
        dir.path().join("image.tar"),
        dir.path().join("image.tar.gz"),
    );
    built.archive(&plain).unwrap();
    let mut out =
        flate2::write::GzEncoder::new(fs::File::create(&gz).unwrap(), flate2::Compression::fast());
    out.write_all(&fs::read(&plain).unwrap()).unwrap();
    out.finish().unwrap();
    let all = [
        format!("oci:{layout}"),
        format!("oci:{layout}:t"),
        format!("oci-archive:{}", plain.display()),
        format!("oci-archive:{}:t", gz.display()),
    ];
    for (i, reference) in all.iter().enumerate() {
        let fresh = dir.path().join(i.to_string());
        fs::create_dir(&fresh).unwrap();
        let image = get(&client(&fresh), reference)
            .await
            .unwrap_or_else(|e| panic!("{reference}: {e}"));
        assert_eq!(image.digest.as_deref(), Some(&*built.digest), "{reference}");
        assert_eq!(
            fs::read_to_string(image.layers[1].join("b")).unwrap(),
            "two",
            "{reference}"
        );
        assert_eq!(fs::read_dir(fresh.join("store/tmp")).unwrap().count(), 0);
    }
    let e = get(&client(dir.path()), &format!("oci:{layout}:x"))
        .await
        .unwrap_err();
    assert!(e.to_string().contains("it has no tag `x`, only t"), "{e}");
    let e = get(
        &client(dir.path()),
        &format!("oci:{}", dir.path().display()),
    )
    .await
    .unwrap_err();
    assert!(e.to_string().contains("is not an OCI layout"), "{e}");
    let e = get(&client(dir.path()), "oci-archive:/nonexistent.tar")
        .await
        .unwrap_err();
    assert!(
        e.to_string()
            .contains("cannot use /nonexistent.tar: No such file"),
        "{e}"
    );
}

#[tokio::test]
async fn what_docker_save_writes() {
    let dir = tempfile::tempdir().unwrap();
    let layer = Tar::new().file("a", "one").bytes();
    let built = one(dir.path(), &[layer.clone(), layer.clone()]);
    let blob = |name: &str| fs::read(built.dir.join("blobs/sha256").join(name)).unwrap();
    let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    let digest = json(&blob(&built.digest[7..]))["config"]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let config = blob(&digest[7..]);
    let manifest =
        r#"[{"Config":"c.json","RepoTags":["app:1"],"Layers":["x/layer.tar","y/layer.tar"]}]"#;
    let path = dir.path().join("saved.tar");
    let tar = Tar::new()
        .raw(tar::EntryType::Regular, "c.json", "", &config)
        .raw(tar::EntryType::Regular, "x/layer.tar", "", &layer)
        .link("y/layer.tar", "../x/layer.tar")
        .file("manifest.json", manifest);
    fs::write(&path, tar.bytes()).unwrap();
    let image = get(
        &client(dir.path()),
        &format!("docker-archive:{}:app:1", path.display()),
    )
    .await
    .unwrap();
    assert_eq!(image.digest.as_deref(), Some(&*digest));
    assert_eq!(
        image.layers.len(),
        1,
        "overlay takes the same layer once only"
    );
    assert_eq!(
        fs::read_to_string(image.layers[0].join("a")).unwrap(),
        "one"
    );
    let e = get(
        &client(dir.path()),
        &format!("docker-archive:{}:app:2", path.display()),
    )
    .await
    .unwrap_err();
    assert!(
        e.to_string().contains("it has no tag `app:2`, only app:1"),
        "{e}"
    );
}

#[tokio::test]
async fn the_platform_is_chosen_from_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("built");
    let other = build(
        &path,
        "linux/s390x".parse().unwrap(),
        &[Tar::new().file("other", "").bytes()],
    );
    let index = fs::read_to_string(path.join("index.json")).unwrap();
    let here = build(
        &path,
        Platform::here(),
        &[Tar::new().file("here", "").bytes()],
    );
    let (mut a, b): (serde_json::Value, serde_json::Value) = (
        serde_json::from_str(&index).unwrap(),
        serde_json::from_str(&fs::read_to_string(path.join("index.json")).unwrap()).unwrap(),
    );
    a["manifests"]
        .as_array_mut()
        .unwrap()
        .extend(b["manifests"].as_array().unwrap().iter().cloned());
    fs::write(path.join("index.json"), a.to_string()).unwrap();
    let reference = format!("oci:{}", path.display());
    let client = client(dir.path());
    assert_eq!(
        get(&client, &reference).await.unwrap().digest.unwrap(),
        here.digest
    );
    let asked = Want {
        platform: "linux/s390x".parse().unwrap(),
        ..want(Pull::Always)
    };
    let parsed: Reference = reference.parse().unwrap();
    assert_eq!(
        client
            .inspect(&parsed, &asked)
            .await
            .unwrap()
            .digest
            .unwrap(),
        other.digest
    );
    let asked = Want {
        platform: "linux/riscv64".parse().unwrap(),
        ..want(Pull::Always)
    };
    let e = client
        .inspect(&parsed, &asked)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        e.contains("is not for linux/riscv64, only for linux/s390x, "),
        "{e}"
    );
}

#[tokio::test]
async fn hostile_layers_stay_inside_or_are_refused() {
    let outside = tempfile::tempdir().unwrap();
    let out = outside.path().display().to_string();
    fs::write(outside.path().join("victim"), "untouched").unwrap();
    let refused = [
        (
            "a name that climbs",
            Tar::new().file("a/../../x", "evil"),
            "leads out of the layer",
        ),
        (
            "a directory that climbs",
            Tar::new().dir("../x"),
            "leads out of the layer",
        ),
        (
            "a hard link that climbs",
            Tar::new().hard("x", "../../etc/passwd"),
            "leads out of the layer",
        ),
        (
            "a hard link to the host",
            Tar::new().hard("x", "/etc/passwd"),
            "which is not in this layer",
        ),
        (
            "a hard link through a link",
            Tar::new().link("l", &out).hard("x", "l/victim"),
            "which is not in this layer",
        ),
        (
            "a whiteout that climbs",
            Tar::new().file("a/.wh...", ""),
            "a whiteout of no file",
        ),
        (
            "a file through a link out",
            Tar::new().link("l", &out).file("l/victim", "evil"),
            "link to nowhere",
        ),
        (
            "a file through a file",
            Tar::new().file("f", "").file("f/x", "evil"),
            "its directory cannot be used",
        ),
        (
            "a loop",
            Tar::new().link("l", "l").file("l/x", "evil"),
            "its directory cannot be used",
        ),
    ];
    for (what, tar, why) in refused {
        let dir = tempfile::tempdir().unwrap();
        let built = one(dir.path(), &[tar.bytes()]);
        let e = get(&client(dir.path()), &format!("oci:{}", built.dir.display()))
            .await
            .expect_err(what);
        assert!(e.to_string().contains(why), "{what}: {e}");
        assert_eq!(e.kind(), Kind::Image, "{what}");
        assert_eq!(
            fs::read_dir(dir.path().join("store/layers"))
                .unwrap()
                .count(),
            0
        );
        assert_eq!(
            fs::read_dir(dir.path().join("store/tmp")).unwrap().count(),
            0,
            "nothing half is left"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let tar = Tar::new()
        .file("/rooted", "inside")
        .link("up", "../../../../..")
        .file("up/through", "inside")
        .link("run", "/srv/run")
        .dir("srv/run/")
        .file("run/pid", "1")
        .link("over", &format!("{out}/victim"))
        .file("over", "replaced the link")
        .bytes();
    let built = one(dir.path(), &[tar]);
    let image = get(&client(dir.path()), &format!("oci:{}", built.dir.display()))
        .await
        .unwrap();
    let at = &image.layers[0];
    for (file, text) in [
        ("rooted", "inside"),
        ("through", "inside"),
        ("srv/run/pid", "1"),
        ("over", "replaced the link"),
    ] {
        assert_eq!(fs::read_to_string(at.join(file)).unwrap(), text, "{file}");
    }
    assert_eq!(
        fs::read_to_string(outside.path().join("victim")).unwrap(),
        "untouched"
    );
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn odd_but_honest_layers() {
    let dir = tempfile::tempdir().unwrap();
    let tar = Tar::new()
        .file("deep/er/file", "without its directories")
        .file("x", "file first")
        .dir("x/")
        .file("x/y", "in the directory that replaced it")
        .dir("gone/")
        .file("gone/a", "")
        .file("gone", "a file in a directory's place")
        .file("was/.wh.here", "")
        .dir("was/here/")
        .file("was/.wh..wh.plnk", "")
        .raw(tar::EntryType::Char, "null", "", b"")
        .bytes();
    let built = one(dir.path(), &[tar]);
    let image = get(&client(dir.path()), &format!("oci:{}", built.dir.display()))
        .await
        .unwrap();
    let at = &image.layers[0];
    assert!(exists(&at.join("deep/er/file")) && exists(&at.join("x/y")));
    assert_eq!(
        fs::read_to_string(at.join("gone")).unwrap(),
        "a file in a directory's place"
    );
    let mut value = [0; 8];
    let n = rustix::fs::lgetxattr(at.join("was/here"), "user.overlay.opaque", &mut value);
    assert_eq!(
        n.map(|n| value[..n].to_vec()),
        Ok(b"y".to_vec()),
        "what the whiteout hid stays hidden"
    );
    match fs::symlink_metadata(at.join("null")) {
        Ok(about) => assert_eq!(
            (about.rdev(), about.mode() & 0o777),
            (rustix::fs::makedev(1, 3), 0o644)
        ),
        Err(_) => assert!(
            image
                .notes
                .iter()
                .any(|n| n.contains("1 device nodes were left out")),
            "{:?}",
            image.notes
        ),
    }
}

#[tokio::test]
async fn a_builder_and_an_unpacker_agree() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir_all(from.join("usr/bin")).unwrap();
    let long = "n".repeat(180);
    fs::write(from.join("usr/bin").join(&long), "long name").unwrap();
    fs::write(from.join("usr/bin/tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(
        from.join("usr/bin/tool"),
        fs::Permissions::from_mode(0o4755),
    )
    .unwrap();
    fs::hard_link(from.join("usr/bin/tool"), from.join("usr/bin/other")).unwrap();
    std::os::unix::fs::symlink("usr/bin", from.join("bin")).unwrap();
    fs::create_dir(from.join("closed")).unwrap();
    fs::write(from.join("closed/file"), "").unwrap();
    fs::set_permissions(from.join("closed"), fs::Permissions::from_mode(0o500)).unwrap();
    let make = |to: &str| {
        let mut b = image::build::Builder::new(dir.path().join(to), Platform::here()).unwrap();
        b.epoch = Some(1_600_000_000);
        b.layer_from_dir(&from).unwrap();
        b.finish(None).unwrap()
    };
    let (one, two) = (make("one"), make("two"));
    assert_eq!(one.digest, two.digest, "the same files give the same image");
    let image = get(&client(dir.path()), &format!("oci:{}", one.dir.display()))
        .await
        .unwrap();
    let at = &image.layers[0];
    assert_eq!(
        fs::read_to_string(at.join("usr/bin").join(long)).unwrap(),
        "long name"
    );
    let (tool, other) = (
        fs::metadata(at.join("usr/bin/tool")).unwrap(),
        fs::metadata(at.join("usr/bin/other")).unwrap(),
    );
    assert_eq!(
        (tool.mode() & 0o7777, tool.ino(), tool.mtime()),
        (0o4755, other.ino(), 1_600_000_000)
    );
    assert_eq!(
        fs::read_link(at.join("bin")).unwrap().to_str(),
        Some("usr/bin")
    );
    assert_eq!(
        fs::metadata(at.join("closed")).unwrap().mode() & 0o777,
        0o500
    );
}

#[tokio::test]
async fn collection_takes_what_nobody_uses() {
    let dir = tempfile::tempdir().unwrap();
    let client = client(dir.path());
    let mut images = Vec::new();
    for i in 0..3_u64 {
        let layer = Tar::new()
            .raw(
                tar::EntryType::Regular,
                "noise",
                "",
                &noise(2 * i + 7, 10_000),
            )
            .bytes();
        let built = build(&dir.path().join(i.to_string()), Platform::here(), &[layer]);
        images.push(
            get(&client, &format!("oci:{}", built.dir.display()))
                .await
                .unwrap(),
        );
    }
    let [a, b, c] = <[Image; 3]>::try_from(images).unwrap();
    let (a_at, b_at, c_at) = (
        a.layers[0].clone(),
        b.layers[0].clone(),
        c.layers[0].clone(),
    );
    // Another opening of the store sees the pins of this one, as another process does.
    let store = Store::open(dir.path().join("store")).unwrap();
    let none = Keep {
        max_bytes: Some(0),
        older_than: None,
    };
    let swept = store.gc(&none).unwrap();
    assert_eq!((swept.layers, swept.in_use), (0, 3), "images in hand stay");
    store.pin("pod-1", &[&a]).unwrap();
    drop((a, b, c));
    assert_eq!(
        store
            .gc(&Keep {
                max_bytes: Some(20_000),
                older_than: None
            })
            .unwrap()
            .layers,
        1
    );
    assert!(
        exists(&a_at) && !exists(&b_at) && exists(&c_at),
        "the pinned one stays, the oldest of the others goes"
    );
    assert_eq!(
        store
            .gc(&Keep {
                max_bytes: None,
                older_than: Some(Duration::from_hours(1))
            })
            .unwrap()
            .layers,
        0
    );
    assert_eq!(store.pins().unwrap(), ["pod-1"]);
    store.unpin("pod-1").unwrap();
    let swept = store.gc(&none).unwrap();
    assert_eq!((swept.layers, swept.bytes, swept.in_use), (2, 20_000, 0));
    assert!(!exists(&a_at));
}

#[tokio::test]
async fn a_layer_that_a_crash_of_the_machine_cut_is_not_here() {
    let dir = tempfile::tempdir().unwrap();
    let built = one(dir.path(), &[Tar::new().file("a", "one").bytes()]);
    let reference = format!("oci:{}", built.dir.display());
    let (client, parsed) = (client(dir.path()), reference.parse().unwrap());
    let image = get(&client, &reference).await.unwrap();
    let layer = image.layers[0].parent().unwrap().to_owned();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let another = || {
        let json = fs::read_to_string(layer.join("layer.json")).unwrap();
        let json = json.replace(boot.trim(), "another-boot");
        fs::write(layer.join("layer.json"), json).unwrap();
    };
    another();
    let whole = client.inspect(&parsed, &Want::default()).await.unwrap();
    assert!(whole.here, "what a boot left whole stays");
    fs::remove_file(layer.join("survived")).unwrap();
    fs::write(image.layers[0].join("a"), "").unwrap(); // what a power cut leaves
    let cut = client.inspect(&parsed, &Want::default()).await.unwrap();
    assert!(!cut.here);
    let again = get(&client, &reference).await.unwrap();
    let text = fs::read_to_string(again.layers[0].join("a")).unwrap();
    assert_eq!(text, "one");
}

/// What overlay itself makes of the layers, as root of a user namespace, with and without `userxattr`.
#[tokio::test]
async fn overlay_hides_what_the_layers_removed() {
    let dir = tempfile::tempdir().unwrap();
    let bottom = Tar::new()
        .file("gone", "")
        .file("kept", "")
        .dir("opaque/")
        .file("opaque/old", "")
        .dir("again/")
        .file("again/old", "");
    let top = Tar::new()
        .file(".wh.gone", "")
        .dir("opaque/")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "");
    let top = top
        .file(".wh.again", "")
        .dir("again/")
        .file("again/new", "");
    let built = one(dir.path(), &[bottom.bytes(), top.bytes()]);
    let image = get(&client(dir.path()), &format!("oci:{}", built.dir.display()))
        .await
        .unwrap();
    let [low, high] = &image.layers[..] else {
        panic!("two layers")
    };
    let at = dir.path().join("merged");
    fs::create_dir(&at).unwrap();
    let mut ways = vec![("-rm", ",userxattr")];
    if rustix::process::geteuid().is_root() {
        ways.push(("-m", ""));
    }
    for (namespaces, option) in ways {
        let script = format!(
            "mount -t overlay overlay -o lowerdir={}:{}{option} {at} && cd {at} && find . -mindepth 1 | LC_ALL=C sort | tr '\\n' ' '",
            high.display(),
            low.display(),
            at = at.display()
        );
        let run = Command::new("unshare")
            .args([namespaces, "sh", "-c", &script])
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&run.stdout),
            "./again ./again/new ./kept ./opaque ./opaque/new ",
            "{namespaces}: {}",
            String::from_utf8_lossy(&run.stderr)
        );
    }
}

/// Runs itself again inside a namespace that has a small filesystem.
#[tokio::test]
async fn a_full_disk_says_so_and_leaves_the_store_whole() {
    const INSIDE: &str = "STEPYARD_TEST_SMALL_DISK";
    let Ok(small) = std::env::var(INSIDE) else {
        let dir = tempfile::tempdir().unwrap();
        let script = format!(
            "mount -t tmpfs -o size=3m tmpfs {} && exec \"$0\" \"$@\"",
            dir.path().display()
        );
        let run = Command::new("unshare")
            .args(["-rm", "sh", "-c", &script])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_full_disk_says_so_and_leaves_the_store_whole",
                "--nocapture",
            ])
            .env(INSIDE, dir.path())
            .output()
            .unwrap();
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
        return;
    };
    let (small, dir) = (Path::new(&small), tempfile::tempdir().unwrap());
    let fits = build(
        &dir.path().join("fits"),
        Platform::here(),
        &[Tar::new().file("a", "one").bytes()],
    );
    let big = Tar::new()
        .raw(tar::EntryType::Regular, "noise", "", &noise(3, 5_000_000))
        .bytes();
    let big = build(&dir.path().join("big"), Platform::here(), &[big]);
    let client = client(small);
    let image = get(&client, &format!("oci:{}", fits.dir.display()))
        .await
        .unwrap();
    let e = get(&client, &format!("oci:{}", big.dir.display()))
        .await
        .unwrap_err();
    assert!(matches!(&e, Error::NoSpace { .. }), "{e}");
    assert_eq!(e.kind(), Kind::Resources);
    assert_eq!(fs::read_dir(small.join("store/tmp")).unwrap().count(), 0);
    assert_eq!(
        fs::read_to_string(image.layers[0].join("a")).unwrap(),
        "one"
    );
    assert_eq!(
        get(&client, &format!("oci:{}", fits.dir.display()))
            .await
            .unwrap()
            .fetched,
        None
    );
}
