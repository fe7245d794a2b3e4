//! An API server that is away when a pod is to be made, and one that says no.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Group, quoted};
use crate::world::{Cluster, IMAGE, Running};

/// The group's pod is asked for while nobody answers: it is made when somebody does.
#[test]
fn a_pod_is_made_when_the_api_server_answers_again() {
    let Some(cluster) = Cluster::new("away") else {
        return;
    };
    let words = tempfile::tempdir().expect("a directory");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(words.path(), mode).expect("a mode");
    let dir = words.path().display();
    // A step of the delegate goes before: the command has spoken to the server by then.
    let text = quoted(&format!(
        "echo before; until [ -e {dir}/go ]; do sleep 0.1; done"
    ));
    let before = format!(
        "            steps:\n              - step: {{identifier: z, name: z, type: ShellScript, spec: {{shell: Bash, onDelegate: true, source: {{type: Inline, spec: {{script: {text}}}}}}}}}\n"
    );
    let group = Group::new().step("a", IMAGE, "shell: Sh", "echo there");
    let text = group.text().replacen("            steps:\n", &before, 1);
    cluster.home.write("p.yaml", text);
    let (way, kubeconfig) = cluster.by_proxy();
    let mut command =
        cluster.command(&["run", "p.yaml", "--kube", "--namespace", &cluster.namespace]);
    command.env("KUBECONFIG", kubeconfig);
    let mut run = Running::of(command);
    run.until("[s/z] before");
    way.cut();
    std::fs::write(words.path().join("go"), "").expect("a file");
    run.until("; trying again");
    way.open();
    let seen = run.end();
    seen.says(
        "away",
        0,
        &["the API server answers again", "[s/g/a] there"],
    );
    assert_eq!(seen.times("; trying again"), 1, "{}", seen.out);
}
