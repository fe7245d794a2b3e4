//! The same as an ordinary user, whose containers are made in a user namespace.

use std::os::unix::fs::chown;
use std::process::Command;

use crate::security::ann;
use crate::support::{Group, Home, root};

const USER: &str = "sy-settings";

/// A user that goes with this value.
struct User(u32);

impl User {
    fn make() -> Self {
        let id = || {
            let out = Command::new("id")
                .args(["-u", USER])
                .output()
                .expect("id runs");
            String::from_utf8_lossy(&out.stdout).trim().parse().ok()
        };
        if id().is_none() {
            let made = Command::new("useradd")
                .arg(USER)
                .status()
                .expect("useradd runs");
            assert!(made.success(), "a user can be made");
        }
        Self(id().expect("the user is there"))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new("userdel").arg(USER).status();
    }
}

#[test]
fn settings_of_an_ordinary_user() {
    if !root() {
        eprintln!(
            "settings_of_an_ordinary_user: NOT RUN: only root makes users; the other tests are as one already"
        );
        return;
    }
    let user = User::make();
    let mut home = Home::new();
    let program = home.path().join("stepyard");
    std::fs::copy(env!("CARGO_BIN_EXE_stepyard"), &program).expect("a copy");
    let image = ann(home.path());
    let id = user.0;
    home.user = Some(id);
    for path in [home.path(), &home.path().join("ann.tar")] {
        chown(path, Some(id), Some(id)).expect("given away");
    }
    let text = Group::new()
        .key("sharedPaths: [/shared]")
        .infra("containerSecurityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false}")
        .infra("volumes:")
        .infra("  - {type: EmptyDir, mountPath: /fast, spec: {medium: Memory, size: 1Mi}}")
        .infra("  - {type: PersistentVolumeClaim, mountPath: /claim, spec: {claimName: kept}}")
        .step("write", "host:/", "shell: Sh", "grep NoNewPrivs /proc/self/status; touch /etc/x || echo closed; echo s > /shared/x; echo f > /fast/x; echo c >> /claim/x; pwd")
        .step("read", &image, "shell: Sh, runAsUser: 0, envVariables: {A: b}", "cat /shared/x /fast/x /claim/x | tr -d '\\n'; echo; id -u; echo A=$A")
        .text();
    for says in ["[s/g/read] sfc\n", "[s/g/read] sfcc\n"] {
        home.run(&text).says(
            "a user",
            0,
            &[
                "NoNewPrivs:\t1",
                "[s/g/write] closed",
                "[s/g/write] /harness",
                says,
                "[s/g/read] 0\n",
                "[s/g/read] A=b",
            ],
        );
    }
    // What cannot be kept is said, and never silent.
    let text = Group::new()
        .step(
            "a",
            "host:/",
            "shell: Sh, resources: {limits: {memory: 64Mi}}",
            "echo ran",
        )
        .text();
    home.run(&text)
        .says("no limits", 0, &["] ran", "resources are not limited here"]);
}
