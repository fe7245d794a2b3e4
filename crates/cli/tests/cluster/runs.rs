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

/// A group that leaves what `command` makes of its workspace, as the user of the image and as another.
fn leaving(command: &str) -> String {
    let run = |id: &str, more: &str, command: &str| {
        format!(
            "{{step: {{identifier: {id}, name: {id}, type: Run, spec: {{image: '{IMAGE}', shell: Sh, {more} command: {}}}}}}}",
            crate::support::quoted(command)
        )
    };
    format!(
        "stepGroup: {{identifier: build, name: build, stepGroupInfra: {{type: KubernetesDirect, spec: {{connectorRef: c, namespace: n}}}}, steps: [{}, {}]}}",
        run("make", "", command),
        run("other", "runAsUser: 1000,", "echo others > others")
    )
}

#[test]
fn a_workspace_goes_from_one_pod_to_the_next() {
    let Some(cluster) = Cluster::new("workspace") else {
        return;
    };
    let make = "mkdir -p a/empty; echo made > a/file; chmod 750 a/file; ln -s a/file link; \
                dd if=/dev/zero of=large bs=1024 count=3000";
    let group = Group::new()
        .after(&leaving(make))
        .infra("workspaceFrom: build");
    let group = step(
        group,
        "check",
        "cat link others; ls -ld a/file | cut -c 1-10; test -d a/empty && wc -c < large",
    );
    let seen = cluster.run(&group, &[]);
    seen.says(
        "a workspace",
        0,
        &[
            "[s/g/check] made",
            "[s/g/check] others",
            "[s/g/check] -rwxr-x---",
            "[s/g/check] 3072000",
        ],
    );
    assert_eq!(cluster.pods(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_workspace_is_handed_over_by_whoever_takes_the_run_over() {
    let Some(cluster) = Cluster::new("workspace_resumed") else {
        return;
    };
    let group = Group::new()
        .after(&leaving("echo made > file; echo left; sleep 5"))
        .infra("workspaceFrom: build");
    let group = step(group, "check", "cat file others");
    let mut run = cluster.start(&group);
    run.until("[s/build/make] left");
    run.kill();
    let seen = cluster.resume().end();
    seen.says(
        "a workspace after a resume",
        0,
        &["[s/g/check] made", "[s/g/check] others"],
    );
}
