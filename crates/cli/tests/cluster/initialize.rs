//! What Initialize tells of a pod, and why one cannot start.

use crate::support::Group;
use crate::world::{Cluster, IMAGE};

#[test]
fn the_initialize_log_is_the_pods_own_events() {
    let Some(cluster) = Cluster::new("events") else {
        return;
    };
    let group = Group::new().step("a", IMAGE, "shell: Sh", "echo one").step(
        "b",
        IMAGE,
        "shell: Sh",
        "echo two",
    );
    cluster
        .run(&group, &[])
        .says("the run", 0, &["[s/g/b] two"]);
    let log = cluster.home.call(&["logs", "Initialize"]);
    let lines: Vec<&str> = log.out.lines().collect();
    let at = |part: &str| {
        let found: Vec<usize> = (0..lines.len())
            .filter(|at| lines[*at].contains(part))
            .collect();
        assert_eq!(found.len(), 1, "`{part}` once in:\n{}{}", log.out, log.err);
        found[0]
    };
    let order = [
        "Successfully assigned ",
        "Created container lite-engine",
        "Started container lite-engine",
        "Created container step-a",
        "Started container step-a",
        "Created container step-b",
        "Started container step-b",
    ]
    .map(at);
    assert!(order.is_sorted(), "{}", log.out);
}
