//! Steps that misbehave: each ends as it should, says why, and leaves no process.

use crate::support::{Group, Home};

#[test]
fn steps_that_misbehave_and_succeed() {
    let home = Home::new();
    let text = Group::new()
        .run("daemon", "setsid sleep 1001 >/dev/null 2>&1 & echo forked")
        .run("holder", "setsid sleep 1002 & echo pipe held")
        .run("closes", "echo before; exec >&- 2>&-; sleep 0.1; exit 0")
        .run(
            "floods",
            "head -c 20000000 /dev/zero | tr '\\0' x; echo; echo end of flood",
        )
        .run(
            "noise",
            "head -c 100000 /dev/urandom; echo; echo end of noise",
        )
        .run(
            "last",
            "ls /proc | grep -c '^[0-9]' >/dev/null; echo all over",
        )
        .text();
    let seen = home.run(&text);
    seen.says(
        "misbehaving",
        0,
        &[
            "forked",
            "pipe held",
            "before",
            "end of flood",
            "end of noise",
            "all over",
        ],
    );
    let log = home.call(&["logs", "floods"]);
    assert_eq!(log.out.matches('x').count(), 20_000_000);
}

#[test]
fn steps_that_misbehave_and_fail() {
    let home = Home::new();
    for (name, command, says) in [
        (
            "kills its shell",
            "echo up; kill -9 $$",
            &["up", "killed by SIGKILL"][..],
        ),
        (
            "kills its parent",
            "echo up; kill -9 $PPID; kill -9 1; kill -9 -1; echo still; exit 7",
            &["up"],
        ),
        (
            "closes all and fails",
            "exec <&- >&- 2>&-; exit 5",
            &["exit code 5"],
        ),
        ("aborts", "kill -ABRT $$", &["killed by SIGABRT"]),
        (
            "is no program",
            "printf x > /harness/x; chmod -x /harness/x; /harness/x",
            &["exit code 126: a command was found but may not be executed"],
        ),
    ] {
        let text = Group::new().run("a", command).run("b", "echo never").text();
        let seen = home.run(&text);
        seen.says(name, 1, says);
        assert!(!seen.out.contains("] never"), "{name}: {}", seen.out);
    }
}

#[test]
fn a_step_that_ignores_sigterm_expires() {
    let home = Home::new();
    let text = Group::new()
        .raw("step: {identifier: a, name: a, type: Run, timeout: 10s, spec: {image: 'host:/', shell: Sh, command: \"trap 'echo deaf' TERM; echo up; while :; do sleep 0.2; done\"}}")
        .run("b", "echo never")
        .text();
    let seen = home.run(&text);
    seen.says(
        "deaf",
        1,
        &[
            "up",
            "deaf",
            "timed out in 10s: its time was up",
            "raise its timeout",
        ],
    );
    assert!(seen.out.contains("[s/g/b] skipped\n"), "{}", seen.out);
}
