//! What steps share: the workspace, shared paths, and volumes of each kind that a machine has.

use crate::support::{Group, Home, root};

#[test]
fn every_kind_of_volume() {
    let home = Home::new();
    let host = tempfile::tempdir().expect("a directory");
    std::fs::write(host.path().join("given"), "from the host\n").expect("a file");
    let group = |n: u32| {
        Group::new()
            .key("sharedPaths: [/shared/deep, /var/other]")
            .infra("volumes:")
            .infra("  - {type: EmptyDir, mountPath: /plain, spec: {}}")
            .infra("  - {type: EmptyDir, mountPath: /fast, spec: {medium: Memory, size: 1Mi}}")
            .infra(&format!(
                "  - {{type: HostPath, mountPath: /host, spec: {{path: {}, type: Directory}}}}",
                host.path().display()
            ))
            .infra("  - {type: PersistentVolumeClaim, mountPath: /claim, spec: {claimName: kept}}")
            .infra("  - {type: PersistentVolumeClaim, mountPath: /same, spec: {claimName: kept, readOnly: true}}")
            .run(
                "write",
                &format!("pwd; echo w > in-workspace; echo s > /shared/deep/x; echo o > /var/other/x; echo p > /plain/x; echo f > /fast/x; echo h > /host/made; echo run {n} >> /claim/x; echo no > /same/x || echo same is closed; ls -A /plain /fast | wc -l; cat /host/given"),
            )
            .run(
                "read",
                "cat /harness/in-workspace /shared/deep/x /var/other/x /plain/x /fast/x | tr -d '\\n'; echo; cat /same/x; stat -f -c %T /fast; head -c 2000000 /dev/zero > /fast/big || echo full",
            )
            .text()
    };
    home.run(&group(1)).says(
        "first",
        0,
        &[
            "[s/g/write] /harness\n",
            "same is closed",
            "from the host",
            "[s/g/read] wsopf\n",
            "[s/g/read] run 1\n",
            "tmpfs",
            "No space left on device",
            "full",
        ],
    );
    assert_eq!(
        std::fs::read_to_string(host.path().join("made")).expect("the host's own"),
        "h\n"
    );
    // The claim outlives the run, and nothing else does.
    home.run(&group(2))
        .says("second", 0, &["[s/g/read] run 1\n", "[s/g/read] run 2\n"]);
    if !root() {
        eprintln!("every_kind_of_volume: as an ordinary user");
    }
}

#[test]
fn a_volume_on_disk_holds_its_size() {
    let home = Home::new();
    let text = Group::new()
        .infra("volumes: [{type: EmptyDir, mountPath: /bounded, spec: {size: 8Mi}}]")
        .run(
            "a",
            "ls -A /bounded | wc -l; head -c 8388608 /dev/zero > /bounded/fits && echo fits; head -c 4000000 /dev/zero > /bounded/more || echo full; rm /bounded/more; stat -f -c %T /bounded",
        )
        .step("b", "host:/", "shell: Sh, runAsUser: 1234", "test -s /bounded/fits && rm /bounded/fits && touch /bounded/mine && echo shared")
        .text();
    let seen = home.run(&text);
    if root() {
        seen.says(
            "bounded",
            0,
            &[
                "[s/g/a] 0\n",
                "[s/g/a] fits\n",
                "No space left on device",
                "[s/g/a] full\n",
                "ext2/ext3",
                "[s/g/b] shared\n",
            ],
        );
        assert_eq!(seen.times("not limited"), 0, "{}", seen.out);
    } else {
        seen.says(
            "told",
            0,
            &["the size of the volume at /bounded is not limited here"],
        );
    }
    let devices = std::fs::read_dir("/sys/block").expect("devices").flatten();
    let ours: Vec<_> = devices
        .filter_map(|d| std::fs::read_to_string(d.path().join("loop/backing_file")).ok())
        .filter(|file| file.contains(&*home.path().to_string_lossy()))
        .collect();
    assert_eq!(ours, Vec::<String>::new(), "a device is left");
}

#[test]
fn volumes_that_cannot_be() {
    let home = Home::new();
    for (name, volume, says) in [
        (
            "no such path",
            "{type: HostPath, mountPath: /x, spec: {path: /nowhere/at/all, type: Directory}}",
            &["/nowhere/at/all", "is not there on this machine"][..],
        ),
        (
            "of a cluster",
            "{type: ConfigMap, mountPath: /x, spec: {name: settings}}",
            &["settings", "/x"],
        ),
        (
            "of a cluster too",
            "{type: Secret, mountPath: /x, spec: {name: token}}",
            &["token", "/x"],
        ),
        (
            "over a file",
            "{type: EmptyDir, mountPath: /etc/passwd, spec: {}}",
            &[
                "failed to mount the volume /etc/passwd",
                "help: the image has another thing at that path",
            ],
        ),
    ] {
        let text = Group::new()
            .infra(&format!("volumes: [{volume}]"))
            .run("a", "echo never")
            .text();
        let seen = home.run(&text);
        seen.says(name, 1, says);
        assert_eq!(seen.times("pods were lost"), 0, "{}", seen.out);
    }
    let text = Group::new()
        .infra(
            "volumes: [{type: ConfigMap, mountPath: /x, spec: {name: settings, optional: true}}]",
        )
        .run("a", "cd /x && ls -A | wc -l");
    home.run(&text.text()).says("optional", 0, &["[s/g/a] 0\n"]);
}
