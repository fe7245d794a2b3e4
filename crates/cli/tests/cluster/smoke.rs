//! What must hold on every server that is supported.

use rustix::process::Signal;

use crate::support::Group;
use crate::world::{Cluster, IMAGE};

/// A Run step of the test image.
pub(crate) fn step(group: Group, id: &str, command: &str) -> Group {
    group.step(id, IMAGE, "shell: Sh", command)
}

#[test]
fn smoke_a_group_is_one_pod() {
    let Some(cluster) = Cluster::new("smoke_a_group_is_one_pod") else {
        return;
    };
    let group = step(
        Group::new(),
        "one",
        "echo from one > /harness/file; echo on $(hostname); echo first",
    );
    let group = step(
        group,
        "two",
        "cat file; echo on $(hostname); test -e /addon/tmp",
    );
    let seen = cluster.run(&group, &[]);
    seen.says(
        "a group",
        0,
        &[
            "[s/g/one] first",
            "[s/g/two] from one",
            "Successfully assigned ",
            "Created container step-one",
            "Started container step-one",
            "Created container lite-engine",
        ],
    );
    // Both steps are in the one pod, whose name is their host's.
    let host = |step: &str| {
        let head = format!("[s/g/{step}] on ");
        let mut found = seen.out.lines().filter_map(|l| l.split_once(&head));
        found.next().expect("its host").1.to_owned()
    };
    assert_eq!(host("one"), host("two"), "{}", seen.out);
    for part in ["Created container step-one", "[s/g/one] first"] {
        assert_eq!(seen.times(part), 1, "{part}: {}", seen.out);
    }
}

#[test]
fn smoke_a_failure_is_one() {
    let Some(cluster) = Cluster::new("smoke_a_failure_is_one") else {
        return;
    };
    let group = step(Group::new(), "bad", "echo before; exit 3");
    let group = step(group, "never", "echo never");
    let seen = cluster.run(&group, &[]);
    seen.says("a failure", 1, &["[s/g/bad] before", "exit code 3"]);
    assert_eq!(seen.times("[s/g/never] never"), 0, "{}", seen.out);
}

#[test]
fn smoke_a_cancel_reaches_the_step() {
    let Some(cluster) = Cluster::new("smoke_a_cancel_reaches_the_step") else {
        return;
    };
    let group = step(
        Group::new(),
        "long",
        "trap 'echo told to end; exit 0' TERM; echo up; sleep 600 & wait",
    );
    let mut run = cluster.start(&group);
    run.until("[s/g/long] up");
    run.signal(Signal::INT);
    run.end().says("a cancel", 130, &["[s/g/long] told to end"]);
}

#[test]
fn smoke_a_killed_driver_is_taken_over() {
    let Some(cluster) = Cluster::new("smoke_a_killed_driver_is_taken_over") else {
        return;
    };
    let group = step(
        Group::new(),
        "long",
        "echo up; while [ ! -e go ]; do sleep 0.1; done; echo done",
    );
    let group = step(group, "after", "echo after");
    let mut run = cluster.start(&group);
    run.until("[s/g/long] up");
    run.kill();
    let pods = cluster.pods();
    assert_eq!(pods.len(), 1, "the pod lives on: {pods:?}");
    let name = pods[0]["metadata"]["name"].as_str().expect("a name");
    cluster.kubectl(&[
        "exec",
        name,
        "-c",
        "step-long",
        "--",
        "touch",
        "/harness/go",
    ]);
    let seen = cluster.resume().end();
    seen.says(
        "a resumed run",
        0,
        &["[s/g/long] done", "[s/g/after] after"],
    );
}
