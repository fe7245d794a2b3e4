//! The pod as a Kubernetes manifest: what `stepyard pod` shows.
//!
//! Plain JSON values without any Kubernetes type: the cluster's backend makes the real object, from the same description.

use serde_json::{Map, Value, json};

use crate::plan::Place;

use super::{
    ADDON, Amounts, LITE_ENGINE, Resources, Security, Source, Spec, User, Volume, WORKSPACE,
    requests,
};

/// Where lite-engine sees the slice of every container.
const SLICES: &str = "/addon/slices";
/// Seconds after which a cluster ends a pod whatever happens: 24 hours.
const DEADLINE_S: u64 = 86_400;

/// The manifest as YAML. `group` is the place of the spec's group; it tells what runs at one time.
pub fn manifest(spec: &Spec, group: &Place<'_>) -> String {
    let mut out = String::new();
    write(&value(spec, requests(spec, group)), 0, &mut out);
    out
}

fn value(spec: &Spec, requests: Amounts) -> Value {
    let mut volumes: Vec<Value> = spec.volumes.iter().map(volume).collect();
    volumes.push(json!({"name": "addon", "emptyDir": {}}));
    volumes.push(json!({"name": "agent", "configMap": {"name": "stepyard-agent-<digest>", "defaultMode": 0o555}}));
    let mut containers = Vec::with_capacity(spec.containers.len() + 1);
    if let Some(first) = spec.containers.first() {
        // In the image of the first step, so that no other has to be pulled; never with its privileges.
        let mut unprivileged = first.security.clone();
        unprivileged.privileged = None;
        containers.push(container(
            spec,
            LITE_ENGINE,
            &first.image,
            &[
                "/addon/bin/stepyard-agent",
                "lite-engine",
                "--slices",
                SLICES,
            ],
            &json!({"name": "addon", "mountPath": SLICES}),
            &unprivileged,
            Resources::default(),
        ));
    }
    for own in &spec.containers {
        containers.push(container(
            spec,
            &own.name,
            &own.image,
            &["/addon/bin/stepyard-agent", "addon"],
            &json!({"name": "addon", "mountPath": ADDON, "subPath": own.name}),
            &own.security,
            own.resources,
        ));
    }
    let mut inner = Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            inner.insert(key.to_owned(), value);
        }
    };
    set("restartPolicy", Some(json!("Never")));
    set("activeDeadlineSeconds", Some(json!(DEADLINE_S)));
    set("containers", Some(containers.into()));
    set("volumes", Some(volumes.into()));
    set(
        "serviceAccountName",
        spec.service_account.as_ref().map(|name| json!(name)),
    );
    set(
        "automountServiceAccountToken",
        spec.automount.map(|mount| json!(mount)),
    );
    set(
        "priorityClassName",
        spec.priority_class.as_ref().map(|name| json!(name)),
    );
    let mut nodes = spec.node_selector.clone();
    if let Some(arch) = &spec.arch {
        nodes
            .entry("kubernetes.io/arch".to_owned())
            .or_insert_with(|| arch.clone());
    }
    set("nodeSelector", (!nodes.is_empty()).then(|| json!(nodes)));
    set(
        "tolerations",
        (!spec.tolerations.is_empty()).then(|| tolerations(spec)),
    );
    set(
        "hostAliases",
        (!spec.host_names.is_empty())
            .then(|| json!([{"ip": "127.0.0.1", "hostnames": spec.host_names}])),
    );
    if let Some(User::Id(id)) = spec.run_as_user {
        set("securityContext", Some(json!({"runAsUser": id})));
    }
    let asked = amounts(requests);
    set("resources", asked.map(|asked| json!({"requests": asked})));
    let mut metadata =
        json!({"name": spec.name, "labels": spec.labels, "annotations": spec.annotations});
    if let (Some(namespace), Some(object)) = (&spec.namespace, metadata.as_object_mut()) {
        object.insert("namespace".to_owned(), json!(namespace));
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": inner})
}

fn container(
    spec: &Spec,
    name: &str,
    image: &super::Image,
    command: &[&str],
    slice: &Value,
    own: &Security,
    resources: Resources,
) -> Value {
    let mut mounts: Vec<Value> = spec.volumes.iter().map(mount).collect();
    mounts.push(slice.clone());
    mounts.push(json!({"name": "agent", "mountPath": format!("{ADDON}/bin"), "readOnly": true}));
    let mut asked = json!({"requests": {"cpu": "10m", "memory": "10Mi"}});
    if let (Some(limits), Some(object)) = (amounts(resources.limits), asked.as_object_mut()) {
        object.insert("limits".to_owned(), limits);
    }
    let mut made = json!({
        "name": name,
        "image": image.reference,
        "imagePullPolicy": format!("{:?}", image.pull),
        "command": command,
        "workingDir": WORKSPACE,
        "volumeMounts": mounts,
        "resources": asked,
    });
    let security = security(own);
    if let (false, Some(object)) = (security.is_empty(), made.as_object_mut()) {
        object.insert("securityContext".to_owned(), security.into());
    }
    made
}

fn amounts(amounts: Amounts) -> Option<Value> {
    let mut map = Map::new();
    if let Some(cpu) = amounts.cpu_millis {
        map.insert("cpu".to_owned(), json!(format!("{cpu}m")));
    }
    if let Some(bytes) = amounts.memory_bytes {
        let text = if bytes % (1 << 20) == 0 {
            format!("{}Mi", bytes >> 20)
        } else {
            bytes.to_string()
        };
        map.insert("memory".to_owned(), json!(text));
    }
    (!map.is_empty()).then_some(map.into())
}

fn tolerations(spec: &Spec) -> Value {
    let one = |own: &super::Toleration| {
        let mut map = Map::new();
        let texts = [
            ("key", &own.key),
            ("operator", &own.operator),
            ("value", &own.value),
            ("effect", &own.effect),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                map.insert(key.to_owned(), json!(text));
            }
        }
        if let Some(seconds) = own.seconds {
            map.insert("tolerationSeconds".to_owned(), json!(seconds));
        }
        Value::Object(map)
    };
    spec.tolerations.iter().map(one).collect()
}

fn mount(volume: &Volume) -> Value {
    let mut made = json!({"name": volume.name, "mountPath": volume.mount_path});
    if let (
        Source::Claim {
            read_only: true, ..
        },
        Some(object),
    ) = (&volume.source, made.as_object_mut())
    {
        object.insert("readOnly".to_owned(), json!(true));
    }
    made
}

fn volume(volume: &Volume) -> Value {
    let (key, source) = match &volume.source {
        Source::EmptyDir { memory, size_bytes } => {
            let mut dir = Map::new();
            if *memory {
                dir.insert("medium".to_owned(), json!("Memory"));
            }
            let size = amounts(Amounts {
                cpu_millis: None,
                memory_bytes: *size_bytes,
            });
            if let Some(size) = size.as_ref().and_then(|size| size.get("memory")) {
                dir.insert("sizeLimit".to_owned(), size.clone());
            }
            ("emptyDir", Value::Object(dir))
        }
        Source::HostPath { path, kind: None } => ("hostPath", json!({"path": path})),
        Source::HostPath { path, kind } => ("hostPath", json!({"path": path, "type": kind})),
        Source::Claim { name, read_only } => (
            "persistentVolumeClaim",
            json!({"claimName": name, "readOnly": read_only}),
        ),
        Source::ConfigMap { name, optional } => {
            ("configMap", json!({"name": name, "optional": optional}))
        }
        Source::Secret { name, optional } => {
            ("secret", json!({"secretName": name, "optional": optional}))
        }
    };
    json!({"name": volume.name, key: source})
}

fn security(own: &Security) -> Map<String, Value> {
    let mut map = Map::new();
    let flags = [
        ("privileged", own.privileged),
        ("allowPrivilegeEscalation", own.allow_privilege_escalation),
        ("readOnlyRootFilesystem", own.read_only_root),
        ("runAsNonRoot", own.run_as_non_root),
    ];
    for (key, flag) in flags {
        if let Some(flag) = flag {
            map.insert(key.to_owned(), json!(flag));
        }
    }
    // A user by name is looked up in the image by the addon: Kubernetes knows numbers only.
    if let Some(User::Id(id)) = own.run_as_user {
        map.insert("runAsUser".to_owned(), json!(id));
    }
    if let Some(id) = own.run_as_group {
        map.insert("runAsGroup".to_owned(), json!(id));
    }
    if let Some(mount) = &own.proc_mount {
        map.insert("procMount".to_owned(), json!(mount));
    }
    let mut capabilities = Map::new();
    for (key, names) in [("add", &own.add), ("drop", &own.drop)] {
        if !names.is_empty() {
            capabilities.insert(key.to_owned(), json!(names));
        }
    }
    if !capabilities.is_empty() {
        map.insert("capabilities".to_owned(), capabilities.into());
    }
    map
}

/// Block YAML; texts that could be read as something else are quoted as JSON quotes them.
fn write(value: &Value, indent: usize, out: &mut String) {
    let pad = "  ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                out.push_str(&pad);
                out.push_str(&text(key));
                out.push(':');
                below(value, indent, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut inner = String::new();
                write(item, indent + 1, &mut inner);
                // The first line of an item stands beside its dash.
                out.push_str(&pad);
                out.push_str("- ");
                out.push_str(inner.get(2 * (indent + 1)..).unwrap_or_default());
            }
        }
        scalar => {
            out.push_str(&pad);
            out.push_str(&plain(scalar));
            out.push('\n');
        }
    }
}

fn below(value: &Value, indent: usize, out: &mut String) {
    let empty = match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    };
    if empty {
        out.push(' ');
        out.push_str(&plain(value));
        out.push('\n');
    } else {
        out.push('\n');
        let deeper = usize::from(value.is_object());
        write(value, indent + deeper, out);
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(own) => text(own),
        other => other.to_string(),
    }
}

fn text(own: &str) -> String {
    let word = own.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && own
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&own.to_ascii_lowercase().as_str());
    if word {
        own.to_owned()
    } else {
        Value::from(own).to_string()
    }
}
