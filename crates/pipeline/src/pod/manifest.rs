//! The pod as the API server takes it: what a cluster is given, and what `stepyard pod` shows. There is no other source of it.
//!
//! Plain JSON values without any Kubernetes type. What depends on the cluster and not on the pipeline is a [`Cluster`].

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    ADDON, Amounts, Container, Image, LITE_ENGINE, Resources, SETUP_ADDON, Security, Source, Spec,
    User, Volume, WORKSPACE, overlay,
};

/// The label with the run that an object belongs to, so that it can be found.
pub const RUN_LABEL: &str = "stepyard.dev/run";
/// The annotation with the group's node id: it may hold what a label may not.
pub const GROUP_ANNOTATION: &str = "stepyard.dev/group";
/// The label that all our objects have, and its value.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`].
pub const STEPYARD: &str = "stepyard";
/// The agent's file in its volume, which is mounted at `/addon/bin`.
pub const AGENT_FILE: &str = "stepyard-agent";
/// Where lite-engine listens for the execs of drivers.
pub const LITE_ENGINE_SOCKET: &str = "/addon/slices/.lite-engine";
/// Where an addon listens, seen from its own container.
pub const SLICE_SOCKET: &str = "/addon/socket";

/// Where lite-engine sees the slice of every container.
const SLICES: &str = "/addon/slices";
/// The agent in the image that brings it.
const IN_IMAGE: &str = "/stepyard-agent";
/// Seconds after which a cluster ends a pod whatever happens: 24 hours.
const DEADLINE_S: u64 = 86_400;
/// Seconds after which a pod that no driver speaks to ends itself: an hour.
const ABANDONED_S: u64 = 3_600;
/// What every container asks for: thousandths of a core, and bytes.
const LEAST: Amounts = Amounts {
    cpu_millis: Some(10),
    memory_bytes: Some(10 << 20),
};

/// What the cluster decides of a pod, and not the pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// The namespace, over the pipeline's.
    pub namespace: Option<String>,
    /// How the agent arrives.
    pub agent: AgentFrom,
    /// The architecture of the nodes that it is for, where neither selector nor platform say one.
    pub arch: Option<String>,
    /// It knows the resources of whole pods: Kubernetes 1.34 and newer.
    pub pod_resources: bool,
    /// The pod's pull secret.
    pub pull_secret: Option<String>,
    /// Its namespace takes only what the restricted Pod Security Standard allows: what nobody wrote is set to that. The users
    /// of containers whose images would run as root, by name.
    pub restricted: Option<BTreeMap<String, u32>>,
    /// What every container asks for at least, unless its limit is below: its namespace's LimitRange may want more than the little that
    /// is asked for otherwise.
    pub least: Amounts,
    /// After so many seconds without a driver the pod ends itself.
    pub abandoned_s: u64,
}

/// How the agent arrives in a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentFrom {
    /// In a ConfigMap of this name.
    ConfigMap(String),
    /// In an image, from which `setup-addon` copies it.
    Image(Image),
}

impl Cluster {
    /// One of the newest servers.
    pub fn newest(agent: AgentFrom) -> Self {
        Self {
            namespace: None,
            agent,
            arch: None,
            pod_resources: true,
            pull_secret: None,
            restricted: None,
            least: LEAST,
            abandoned_s: ABANDONED_S,
        }
    }
}

/// The agent's path in every container.
pub fn agent_binary() -> String {
    format!("{ADDON}/bin/{AGENT_FILE}")
}

/// The pod object.
pub fn manifest(spec: &Spec, cluster: &Cluster) -> Value {
    let mut labels = spec.labels.clone();
    labels
        .entry(MANAGED_BY.to_owned())
        .or_insert_with(|| STEPYARD.to_owned());
    labels.insert(RUN_LABEL.to_owned(), spec.run.clone());
    let mut annotations = spec.annotations.clone();
    annotations.insert(GROUP_ANNOTATION.to_owned(), spec.group.clone());
    let mut metadata = json!({"name": spec.name, "labels": labels, "annotations": annotations});
    if let (Some(namespace), Some(object)) = (
        cluster.namespace.as_ref().or(spec.namespace.as_ref()),
        metadata.as_object_mut(),
    ) {
        object.insert("namespace".to_owned(), json!(namespace));
    }
    let mut inner = inner(spec, cluster);
    if let Some(overlay) = &spec.overlay {
        overlay::merge(&mut inner, overlay);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": inner})
}

fn inner(spec: &Spec, cluster: &Cluster) -> Value {
    let mut volumes: Vec<Value> = spec.volumes.iter().map(volume).collect();
    volumes.push(json!({"name": "addon", "emptyDir": {}}));
    volumes.push(match &cluster.agent {
        AgentFrom::ConfigMap(name) => {
            json!({"name": "agent", "configMap": {"name": name, "defaultMode": 0o555}})
        }
        AgentFrom::Image(_) => json!({"name": "agent", "emptyDir": {}}),
    });
    // In the order of the plan: each further container costs some 80 ms. The first step is not behind lite-engine: it is reached by
    // an exec of its own until that is there.
    let mut containers = Vec::with_capacity(spec.containers.len() + 1);
    for (at, own) in spec.containers.iter().enumerate() {
        containers.push(step(spec, own, cluster));
        if at == 0 {
            containers.push(lite_engine(spec, own, cluster));
        }
    }

    let mut inner = Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            inner.insert(key.to_owned(), value);
        }
    };
    set("restartPolicy", Some(json!("Never")));
    set("activeDeadlineSeconds", Some(json!(DEADLINE_S)));
    // The variables of every service of the namespace are nobody's business, and slow a start down.
    set("enableServiceLinks", Some(json!(false)));
    if let AgentFrom::Image(image) = &cluster.agent {
        let setup = setup_addon(spec, image, cluster);
        set("initContainers", Some(json!([setup])));
    }
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
    set(
        "imagePullSecrets",
        cluster
            .pull_secret
            .as_ref()
            .map(|name| json!([{"name": name}])),
    );
    let mut nodes = spec.node_selector.clone();
    if let Some(arch) = spec.arch.as_ref().or(cluster.arch.as_ref()) {
        nodes
            .entry(ARCH_LABEL.to_owned())
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
    // The runtime's own filter, as the engines have it; a privileged container goes without.
    let mut context = json!({"seccompProfile": {"type": "RuntimeDefault"}});
    if let (Some(User::Id(id)), Some(context)) = (&spec.run_as_user, context.as_object_mut()) {
        context.insert("runAsUser".to_owned(), json!(id));
    }
    set("securityContext", Some(context));
    let asked = pod_requests(spec, cluster).as_ref().and_then(amounts);
    set("resources", asked.map(|asked| json!({"requests": asked})));
    inner.into()
}

/// The label of nodes with their architecture.
pub const ARCH_LABEL: &str = "kubernetes.io/arch";

/// What the pod as a whole asks for, where the cluster knows that: never less than its containers together.
fn pod_requests(spec: &Spec, cluster: &Cluster) -> Option<Amounts> {
    cluster.pod_resources.then(|| {
        let engine = requests(&Resources::default(), &Amounts::default(), cluster);
        let each = spec
            .containers
            .iter()
            .map(|own| requests(&own.resources, &own.share, cluster));
        let (cpu, memory) = each.chain([engine]).fold((0, 0), |(cpu, memory), own| {
            (
                cpu + own.cpu_millis.unwrap_or(0),
                memory + own.memory_bytes.unwrap_or(0),
            )
        });
        Amounts {
            cpu_millis: spec.requests.cpu_millis.map(|own| own.max(cpu)),
            memory_bytes: spec.requests.memory_bytes.map(|own| own.max(memory)),
        }
    })
}

/// What a container asks for: little, or its share where pods cannot ask.
fn requests(resources: &Resources, share: &Amounts, cluster: &Cluster) -> Amounts {
    let limits = &resources.limits;
    let one =
        |share: Option<u64>, (least, little): (Option<u64>, Option<u64>), limit: Option<u64>| {
            // What a LimitRange wants more than that holds for those who ask for less, too.
            let wanted = least.filter(|least| Some(*least) > little).unwrap_or(0);
            share
                .filter(|_| !cluster.pod_resources)
                .map(|share| share.max(wanted))
                .or(least)
                .map(|own| own.min(limit.unwrap_or(u64::MAX)))
        };
    let least = &cluster.least;
    Amounts {
        cpu_millis: one(
            share.cpu_millis,
            (least.cpu_millis, LEAST.cpu_millis),
            limits.cpu_millis,
        ),
        memory_bytes: one(
            share.memory_bytes,
            (least.memory_bytes, LEAST.memory_bytes),
            limits.memory_bytes,
        ),
    }
}

/// The router, in the image of the first step so that no other has to be pulled, with its user and never its privileges.
fn lite_engine(spec: &Spec, first: &Container, cluster: &Cluster) -> Value {
    let grace = cluster.abandoned_s.to_string();
    let mut mounts: Vec<Value> = spec.volumes.iter().map(mount).collect();
    mounts.push(json!({"name": "addon", "mountPath": SLICES}));
    mounts.push(agent_mount(true));
    let security = ours(
        &spec.security,
        first.security.run_as_user.clone(),
        cluster,
        &first.name,
    );
    json!({
        "name": LITE_ENGINE,
        "image": first.image.reference,
        "imagePullPolicy": pull(&first.image),
        "command": [
            agent_binary(), "lite-engine", "--slices", SLICES, "--listen", LITE_ENGINE_SOCKET,
            "--abandoned", grace,
        ],
        "volumeMounts": mounts,
        "securityContext": security,
        "resources": asked(&Resources::default(), &Amounts::default(), cluster),
    })
}

fn step(spec: &Spec, own: &Container, cluster: &Cluster) -> Value {
    let mut mounts: Vec<Value> = spec.volumes.iter().map(mount).collect();
    mounts.push(json!({"name": "addon", "mountPath": ADDON, "subPath": own.name}));
    mounts.push(agent_mount(true));
    let security = security(&own.security, cluster, &own.name);
    let mut made = json!({
        "name": own.name,
        "image": own.image.reference,
        "imagePullPolicy": pull(&own.image),
        "command": [agent_binary(), "addon", "--abandoned", cluster.abandoned_s.to_string()],
        "workingDir": WORKSPACE,
        "volumeMounts": mounts,
        "resources": asked(&own.resources, &own.share, cluster),
    });
    if let (false, Some(object)) = (security.is_empty(), made.as_object_mut()) {
        object.insert("securityContext".to_owned(), security.into());
    }
    made
}

/// Copies the agent out of its image. It has the pod's user, or that image's own.
fn setup_addon(spec: &Spec, image: &Image, cluster: &Cluster) -> Value {
    let user = spec
        .security
        .run_as_user
        .clone()
        .or_else(|| spec.run_as_user.clone());
    json!({
        "name": SETUP_ADDON,
        "image": image.reference,
        "imagePullPolicy": pull(image),
        "command": [IN_IMAGE, "copy", format!("{ADDON}/bin")],
        "volumeMounts": [agent_mount(false)],
        "securityContext": ours(&spec.security, user, cluster, SETUP_ADDON),
        "resources": asked(&Resources::default(), &Amounts::default(), cluster),
    })
}

fn pull(image: &Image) -> String {
    format!("{:?}", image.pull)
}

fn agent_mount(read_only: bool) -> Value {
    json!({"name": "agent", "mountPath": format!("{ADDON}/bin"), "readOnly": read_only})
}

fn asked(resources: &Resources, share: &Amounts, cluster: &Cluster) -> Value {
    let mut made = Map::new();
    if let Some(requests) = amounts(&requests(resources, share, cluster)) {
        made.insert("requests".to_owned(), requests);
    }
    if let Some(limits) = amounts(&resources.limits) {
        made.insert("limits".to_owned(), limits);
    }
    made.into()
}

fn amounts(amounts: &Amounts) -> Option<Value> {
    let mut map = Map::new();
    if let Some(cpu) = amounts.cpu_millis {
        map.insert("cpu".to_owned(), json!(format!("{cpu}m")));
    }
    if let Some(bytes) = amounts.memory_bytes {
        map.insert("memory".to_owned(), json!(bytes_text(bytes)));
    }
    (!map.is_empty()).then_some(map.into())
}

fn bytes_text(bytes: u64) -> String {
    if bytes > 0 && bytes.is_multiple_of(1 << 20) {
        format!("{}Mi", bytes >> 20)
    } else {
        bytes.to_string()
    }
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
            if let Some(bytes) = size_bytes {
                dir.insert("sizeLimit".to_owned(), json!(bytes_text(*bytes)));
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

/// The context of a container of ours: no rights at all, whatever the group's containers have. `like` is the container whose
/// image and user it shares.
fn ours(group: &Security, user: Option<User>, cluster: &Cluster, like: &str) -> Map<String, Value> {
    let own = Security {
        allow_privilege_escalation: Some(false),
        read_only_root: Some(true),
        run_as_non_root: group.run_as_non_root,
        run_as_user: user,
        run_as_group: group.run_as_group,
        drop: vec!["ALL".to_owned()],
        ..Security::default()
    };
    security(&own, cluster, like)
}

fn security(own: &Security, cluster: &Cluster, container: &str) -> Map<String, Value> {
    let mut own = own.clone();
    // What is privileged by its own words is for the server to refuse.
    if let Some(users) = cluster
        .restricted
        .as_ref()
        .filter(|_| own.privileged != Some(true))
    {
        own.allow_privilege_escalation.get_or_insert(false);
        own.run_as_non_root.get_or_insert(true);
        if own.drop.is_empty() {
            own.drop.push("ALL".to_owned());
        }
        if own.run_as_user.is_none() {
            own.run_as_user = users.get(container).map(|id| User::Id(*id));
        }
    }
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
    // Kubernetes knows users by number only.
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
