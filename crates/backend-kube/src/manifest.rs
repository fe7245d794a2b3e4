//! The pod object of a spec.

use driver::backend::{Failure, FailureKind};
use k8s_openapi::api::core::v1::Pod;
use pipeline::pod::{self, Security, Source, Spec, User, Volume};
use serde_json::{Map, Value, json};

use crate::agent::{Agent, FILE};

/// The run a pod belongs to, as a label, so that it can be found.
pub(crate) const RUN_LABEL: &str = "stepyard.dev/run";
/// The group's node id: it may hold what a label may not.
pub(crate) const GROUP_ANNOTATION: &str = "stepyard.dev/group";

/// Where lite-engine sees every container's slice.
const SLICES: &str = "/addon/slices";
/// Where lite-engine listens for the execs of drivers.
const SOCKET: &str = "/addon/slices/.lite-engine";

/// What an exec in lite-engine's container runs to become a carrier.
pub(crate) fn connect_command() -> Vec<String> {
    [&binary(), "connect", "--socket", SOCKET]
        .map(str::to_owned)
        .to_vec()
}

fn binary() -> String {
    format!("{}/bin/{FILE}", pod::ADDON)
}

/// The pod as the API server takes it.
pub(crate) fn pod(spec: &Spec, agent: &Agent, pull_secret: Option<&str>) -> Result<Pod, Failure> {
    serde_json::from_value(value(spec, agent, pull_secret)).map_err(|e| Failure {
        kind: FailureKind::Configuration,
        container: None,
        message: format!("failed to describe the pod {}: {e}", spec.name),
        help: None,
    })
}

fn value(spec: &Spec, agent: &Agent, pull_secret: Option<&str>) -> Value {
    let mut labels = spec.labels.clone();
    labels.insert(
        "app.kubernetes.io/managed-by".to_owned(),
        "stepyard".to_owned(),
    );
    labels.insert(RUN_LABEL.to_owned(), spec.run.clone());
    let mut annotations = spec.annotations.clone();
    annotations.insert(GROUP_ANNOTATION.to_owned(), spec.group.clone());

    let mut volumes: Vec<Value> = spec.volumes.iter().map(volume).collect();
    volumes.push(json!({"name": "addon", "emptyDir": {}}));
    volumes.push(
        json!({"name": "agent", "configMap": {"name": agent.config_map(), "defaultMode": 0o555}}),
    );
    let shared: Vec<Value> = spec.volumes.iter().map(mount).collect();

    let mut containers = Vec::with_capacity(spec.containers.len() + 1);
    if let Some(first) = spec.containers.first() {
        let mut mounts = shared.clone();
        mounts.push(json!({"name": "addon", "mountPath": SLICES}));
        mounts.push(
            json!({"name": "agent", "mountPath": format!("{}/bin", pod::ADDON), "readOnly": true}),
        );
        containers.push(json!({
            "name": pod::LITE_ENGINE,
            "image": first.image.reference,
            "imagePullPolicy": format!("{:?}", first.image.pull),
            "command": [binary(), "lite-engine", "--slices", SLICES, "--listen", SOCKET],
            "volumeMounts": mounts,
            "securityContext": security(&spec.security),
            "resources": {"requests": {"cpu": "10m", "memory": "10Mi"}},
        }));
    }
    for container in &spec.containers {
        let mut mounts = shared.clone();
        mounts.push(json!({"name": "addon", "mountPath": pod::ADDON, "subPath": container.name}));
        mounts.push(
            json!({"name": "agent", "mountPath": format!("{}/bin", pod::ADDON), "readOnly": true}),
        );
        containers.push(json!({
            "name": container.name,
            "image": container.image.reference,
            "imagePullPolicy": format!("{:?}", container.image.pull),
            "command": [binary(), "addon"],
            "workingDir": pod::WORKSPACE,
            "volumeMounts": mounts,
            "securityContext": security(&container.security),
            "resources": {"requests": {"cpu": "10m", "memory": "10Mi"}},
        }));
    }
    let mut inner = json!({
        "restartPolicy": "Never",
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 5,
        "containers": containers,
        "volumes": volumes,
    });
    let object = inner.as_object_mut().expect("an object was just made");
    set(
        object,
        "hostAliases",
        (!spec.host_names.is_empty())
            .then(|| json!([{"ip": "127.0.0.1", "hostnames": spec.host_names}])),
    );
    set(
        object,
        "nodeSelector",
        (!spec.node_selector.is_empty()).then(|| json!(spec.node_selector)),
    );
    set(
        object,
        "serviceAccountName",
        spec.service_account.as_ref().map(|v| json!(v)),
    );
    set(
        object,
        "automountServiceAccountToken",
        spec.automount.map(|v| json!(v)),
    );
    set(
        object,
        "priorityClassName",
        spec.priority_class.as_ref().map(|v| json!(v)),
    );
    set(
        object,
        "imagePullSecrets",
        pull_secret.map(|name| json!([{"name": name}])),
    );
    // The runtime's own filter, as the engines have it; a privileged container goes without.
    let mut context = json!({"seccompProfile": {"type": "RuntimeDefault"}});
    if let (Some(User::Id(id)), Some(context)) = (&spec.run_as_user, context.as_object_mut()) {
        context.insert("runAsUser".to_owned(), json!(id));
    }
    object.insert("securityContext".to_owned(), context);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": spec.name, "labels": labels, "annotations": annotations},
        "spec": inner,
    })
}

fn set(object: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), value);
    }
}

fn mount(volume: &Volume) -> Value {
    let read_only = matches!(
        volume.source,
        Source::Claim {
            read_only: true,
            ..
        }
    );
    json!({"name": volume.name, "mountPath": volume.mount_path, "readOnly": read_only})
}

fn volume(volume: &Volume) -> Value {
    let name = &volume.name;
    match &volume.source {
        Source::EmptyDir { memory, size_bytes } => {
            let mut dir = Map::new();
            set(&mut dir, "medium", memory.then(|| json!("Memory")));
            set(
                &mut dir,
                "sizeLimit",
                size_bytes.map(|bytes| json!(bytes.to_string())),
            );
            json!({"name": name, "emptyDir": dir})
        }
        Source::HostPath { path, kind } => {
            json!({"name": name, "hostPath": {"path": path, "type": kind}})
        }
        Source::Claim {
            name: claim,
            read_only,
        } => {
            json!({"name": name, "persistentVolumeClaim": {"claimName": claim, "readOnly": read_only}})
        }
        Source::ConfigMap { name: of, optional } => {
            json!({"name": name, "configMap": {"name": of, "optional": optional}})
        }
        Source::Secret { name: of, optional } => {
            json!({"name": name, "secret": {"secretName": of, "optional": optional}})
        }
    }
}

fn security(security: &Security) -> Value {
    let mut object = Map::new();
    set(
        &mut object,
        "privileged",
        security.privileged.map(|v| json!(v)),
    );
    set(
        &mut object,
        "allowPrivilegeEscalation",
        security.allow_privilege_escalation.map(|v| json!(v)),
    );
    set(
        &mut object,
        "readOnlyRootFilesystem",
        security.read_only_root.map(|v| json!(v)),
    );
    set(
        &mut object,
        "runAsNonRoot",
        security.run_as_non_root.map(|v| json!(v)),
    );
    set(
        &mut object,
        "runAsGroup",
        security.run_as_group.map(|v| json!(v)),
    );
    if let Some(User::Id(id)) = security.run_as_user {
        object.insert("runAsUser".to_owned(), json!(id));
    }
    if !security.add.is_empty() || !security.drop.is_empty() {
        object.insert(
            "capabilities".to_owned(),
            json!({"add": security.add, "drop": security.drop}),
        );
    }
    Value::Object(object)
}
