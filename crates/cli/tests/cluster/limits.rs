//! A namespace's LimitRange: what it gives to steps that say nothing, and what it refuses.

use crate::support::Group;
use crate::world::{Cluster, IMAGE};

const RANGE: &str = "
apiVersion: v1
kind: LimitRange
metadata: {name: range}
spec:
  limits:
    - type: Container
      default: {memory: 96Mi, cpu: 500m}
      defaultRequest: {memory: 20Mi, cpu: 20m}
      max: {memory: 128Mi, cpu: 1}
      min: {memory: 20Mi, cpu: 20m}
";

#[test]
fn a_limit_range_gives_and_refuses() {
    let Some(cluster) = Cluster::new("limit-range") else {
        return;
    };
    cluster.kubectl_with(&["apply", "-f", "-"], RANGE);
    let step = |group: Group, id: &str, resources: &str, command: &str| {
        group.step(id, IMAGE, &format!("shell: Sh{resources}"), command)
    };
    let limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null || true";
    let group = step(Group::new(), "none", "", limit);
    let group = step(group, "own", ", resources: {limits: {memory: 64Mi}}", limit);
    let seen = cluster.run(&group, &[]);
    let (default, own) = ((96_u64 << 20).to_string(), (64_u64 << 20).to_string());
    seen.says(
        "within",
        0,
        &[
            &format!("[s/g/none] {default}"),
            &format!("[s/g/own] {own}"),
            "has a LimitRange: every container asks for the least that it allows",
        ],
    );

    let group = step(
        Group::new(),
        "large",
        ", resources: {limits: {memory: 256Mi}}",
        "echo never",
    );
    let seen = cluster.run(&group, &[]);
    seen.says(
        "above",
        1,
        &[
            "maximum memory usage per Container is 128Mi, but limit is 256Mi",
            "the namespace's LimitRange says so",
        ],
    );
    assert_eq!(seen.times("[s/g/large] never"), 0);
    cluster.kubectl(&["delete", "limitrange", "range"]);
}
