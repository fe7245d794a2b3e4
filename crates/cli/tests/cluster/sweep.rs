//! `sweep --kube`: what a killed command left goes, and nothing else.

use serde_json::json;

use crate::connect::{Parts, forget, token, with_connector};
use crate::support::Group;
use crate::world::{Cluster, IMAGE, Running};

#[test]
fn what_a_killed_command_left_goes_and_nothing_else() {
    let Some(cluster) = Cluster::new("sweep") else {
        return;
    };
    let sweep = |more: &[&str]| {
        let head = ["sweep", "--kube", "--namespace", &cluster.namespace];
        Running::of(cluster.command(&[&head[..], more].concat())).end()
    };
    let foreign = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: foreign}}
spec: {{containers: [{{name: a, image: '{IMAGE}', command: [sleep, '600']}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: elsewhere, labels: {{stepyard.dev/run: of-another-home}}}}
spec: {{containers: [{{name: a, image: '{IMAGE}', command: [sleep, '600']}}]}}
---
apiVersion: v1
kind: Secret
metadata: {{name: foreign}}
---
apiVersion: v1
kind: Secret
metadata: {{name: gone-pull, labels: {{stepyard.dev/run: of-another-home, app.kubernetes.io/managed-by: stepyard}}}}
"
    );
    cluster.kubectl_with(&["apply", "-f", "-"], &foreign);
    let group = Group::new().step("a", IMAGE, "shell: Sh", "echo holding; sleep 600");
    let mut held = cluster.start(&group);
    held.until("[s/g/a] holding");
    // A run that a command drives is its own.
    sweep(&[]).says("driven", 0, &["0 pods removed, 2 in use"]);
    held.kill();
    sweep(&[]).says("killed", 0, &["1 pod removed, 1 in use"]);
    let names = cluster.kubectl(&["get", "pods,secrets", "-o", "name"]);
    for name in [
        "pod/foreign",
        "pod/elsewhere",
        "secret/foreign",
        "secret/gone-pull",
    ] {
        assert!(names.contains(name), "{names}");
    }
    // What is not known here goes by its age only.
    sweep(&["--older-than", "1d"]).says("young", 0, &["0 pods removed, 1 in use"]);
    sweep(&["--older-than", "0s"]).says("old", 0, &["1 pod, 1 pull secret removed"]);
    sweep(&["--older-than", "soon"]).says("no age", 2, &["`soon` is not an age"]);
    // The agent goes on request, once no pod uses it.
    let agents = |cluster: &Cluster| {
        let maps = cluster.kubectl(&["get", "configmaps", "-o", "name"]);
        maps.matches("stepyard-agent-").count()
    };
    assert_eq!(agents(&cluster), 1);
    sweep(&["--agents"]).says("agents", 0, &["0 pods, 1 agent removed"]);
    assert_eq!(agents(&cluster), 0);
    let names = cluster.kubectl(&["get", "pods,secrets", "-o", "name"]);
    assert_eq!(names.trim(), "pod/foreign\nsecret/foreign");
    cluster.kubectl(&[
        "delete",
        "pod/foreign",
        "secret/foreign",
        "--grace-period=0",
        "--force",
    ]);
}

#[test]
fn what_was_made_through_a_connector_goes_by_the_same_way() {
    let Some(cluster) = Cluster::new("sweep-by") else {
        return;
    };
    let parts = Parts::of(&cluster);
    let token = token(&cluster);
    let credential = json!({"type": "ManualConfig", "spec": {"masterUrl": parts.server, "auth":
        {"type": "ServiceAccount", "spec": {"serviceAccountTokenRef": "tok", "caCertRef": "ca"}}}});
    let group = Group::new().step("a", IMAGE, "shell: Sh", "echo holding; sleep 600");
    let secrets = [("tok", token.as_str()), ("ca", &parts.ca)];
    let group = with_connector(group, &credential, &secrets);
    let nowhere = |mut command: std::process::Command| {
        command
            .env("KUBECONFIG", "/no/such/file")
            .env("HOME", cluster.home.path());
        Running::of(command)
    };
    let mut held = nowhere(cluster.running_command(&group, &[]));
    held.until("[s/g/a] holding");
    let sweep = || nowhere(cluster.command(&["sweep"])).end();
    sweep().says("driven", 0, &["0 pods removed"]);
    held.kill();
    assert_eq!(cluster.pods().len(), 1);
    sweep().says("killed", 0, &["1 pod removed"]);
    cluster.until("the pod's end", || cluster.pods().is_empty().then_some(()));
    forget(&cluster);
}
