//! The command in a pod of the cluster, and in the namespace that the pipeline names.

use std::path::Path;

use serde_json::json;

use crate::support::Group;
use crate::world::{Cluster, IMAGE, Running};

const ROLE: &str = include_str!("../../../../deploy/kubernetes/role.yaml");

/// A pod with this machine's libraries and the command, whose service account may do what a run needs.
#[test]
fn a_command_in_a_pod_goes_by_its_service_account() {
    let Some(cluster) = Cluster::new("in-cluster") else {
        return;
    };
    cluster.kubectl(&["create", "serviceaccount", "inside"]);
    cluster.kubectl_with(&["apply", "-f", "-"], ROLE);
    let account = format!("--serviceaccount={}:inside", cluster.namespace);
    let role = "--role=stepyard";
    cluster.kubectl(&["create", "rolebinding", "inside", role, &account]);
    let group = Group::new().step("a", IMAGE, "shell: Sh", "echo there");
    // Pods go where the pod is, since nobody says a namespace.
    let text = group
        .text()
        .replace("                      namespace: n\n", "");
    cluster.home.write("p.yaml", text);
    let program = Path::new(env!("CARGO_BIN_EXE_stepyard"));
    let programs = program.parent().expect("its directory");
    let mounts = [
        ("lib", Path::new("/usr/lib"), "/lib"),
        ("lib64", Path::new("/usr/lib64"), "/lib64"),
        ("programs", programs, "/programs"),
        ("home", cluster.home.path(), "/work"),
    ];
    let volumes = mounts.map(|(name, path, _)| json!({"name": name, "hostPath": {"path": path}}));
    let mounted = mounts.map(|(name, _, at)| json!({"name": name, "mountPath": at}));
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "inside"},
        "spec": {
            "serviceAccountName": "inside",
            "restartPolicy": "Never",
            "volumes": volumes,
            "containers": [{
                "name": "command", "image": IMAGE, "volumeMounts": mounted, "workingDir": "/work",
                "env": [{"name": "STEPYARD_HOME", "value": "/tmp/state"}, {"name": "STEPYARD_IMAGES", "value": "/tmp/images"}],
                "command": ["/programs/stepyard", "run", "p.yaml", "--kube"],
            }],
        },
    });
    cluster.kubectl_with(&["apply", "-f", "-"], &pod.to_string());
    let phase = cluster.until("its end", || {
        let pod = cluster.get("pods", Some("inside"));
        let phase = pod["status"]["phase"].as_str()?.to_owned();
        ["Succeeded", "Failed"].contains(&&*phase).then_some(phase)
    });
    let said = cluster.kubectl(&["logs", "inside"]);
    assert!(
        phase == "Succeeded" && said.contains("[s/g/a] there"),
        "{phase}: {said}"
    );
    cluster.kubectl(&[
        "delete",
        "pod/inside",
        "role/stepyard",
        "role/stepyard-sweep",
    ]);
}

/// Neither the kubeconfig nor the command line says where: `exec` and `logs` find it all the same.
#[test]
fn exec_goes_into_the_namespace_that_the_pipeline_names() {
    let Some(cluster) = Cluster::new("own-namespace") else {
        return;
    };
    let group = Group::new().step(
        "a",
        IMAGE,
        "shell: Sh",
        "echo holding; until [ -e /harness/go ]; do sleep 0.1; done; echo went",
    );
    let named = format!("namespace: {}\n", cluster.namespace);
    let text = group.text().replace("namespace: n\n", &named);
    cluster.home.write("p.yaml", text);
    let mut run = Running::of(cluster.command(&["run", "p.yaml", "--kube"]));
    run.until("[s/g/a] holding");
    let exec = ["exec", "a", "--", "sh", "-c", "hostname; touch /harness/go"];
    let seen = Running::of(cluster.command(&exec)).end();
    seen.says("exec", 0, &["harnesscd-g-"]);
    run.end().says("the run", 0, &["[s/g/a] went"]);
}
