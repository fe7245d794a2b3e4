//! More of runs in a cluster: what the cluster itself has a say in.

use crate::smoke::step;
use crate::support::Group;
use crate::world::{Cluster, IMAGE};

#[test]
fn a_background_step_gates_what_follows_and_ends_with_the_group() {
    let Some(cluster) = Cluster::new("background") else {
        return;
    };
    let serve =
        "sleep 1; mkdir -p /tmp/www; echo served > /tmp/www/page; httpd -f -p 8099 -h /tmp/www";
    let group = Group::new().raw(&format!(
        "step: {{identifier: web, name: web, type: Background, spec: {{image: '{IMAGE}', shell: Sh, command: {}, readiness: {{tcp: {{port: 8099}}}}}}}}",
        crate::support::quoted(serve)
    ));
    let group = step(group, "ask", "wget -q -O - http://127.0.0.1:8099/page");
    let seen = cluster.run(&group, &[]);
    seen.says("a background step", 0, &["[s/g/ask] served"]);
}

#[test]
fn steps_side_by_side_and_outputs() {
    let Some(cluster) = Cluster::new("side_by_side") else {
        return;
    };
    let one = |id: &str, other: &str| {
        format!(
            "step: {{identifier: {id}, name: {id}, type: Run, spec: {{image: '{IMAGE}', shell: Sh, outputVariables: [{{name: WORD}}], command: {}}}}}",
            crate::support::quoted(&format!(
                "touch /harness/{id}; while [ ! -e /harness/{other} ]; do sleep 0.05; done; export WORD=word-{id}"
            ))
        )
    };
    let group = Group::new().raw(&format!(
        "parallel: [{{{}}}, {{{}}}]",
        one("a", "b"),
        one("b", "a")
    ));
    let group = step(
        group,
        "all",
        "echo \"<+steps.a.output.outputVariables.WORD> <+steps.b.output.outputVariables.WORD>\"",
    );
    let seen = cluster.run(&group, &[]);
    seen.says("side by side", 0, &["[s/g/all] word-a word-b"]);
}

#[test]
fn a_bad_image_of_a_later_step_is_told_at_once() {
    let Some(cluster) = Cluster::new("bad_image") else {
        return;
    };
    let group = step(Group::new(), "one", "echo never");
    let group = group.step("two", "127.0.0.1:5050/tc/none:1", "shell: Sh", "true");
    let seen = cluster.run(&group, &[]);
    seen.says("a bad image", 1, &["127.0.0.1:5050/tc/none:1"]);
    assert_eq!(seen.times("[s/g/one] never"), 0, "{}", seen.out);
}
