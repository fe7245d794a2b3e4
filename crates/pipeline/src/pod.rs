//! The one description of a pod that every backend makes the same thing from.
//!
//! It names no secret and holds no environment: what a step needs travels to its own process when it starts.

mod capabilities;
mod delegate;
mod describe;
mod layout;
mod manifest;
mod names;
mod overlay;
mod requests;
#[cfg(test)]
mod tests;
mod yaml;

pub use capabilities::CAPABILITIES;
pub use delegate::{PROCESS, delegate, is_delegate};
pub use describe::{INIT_TIMEOUT_MS, Options, describe};
pub use layout::{Layout, MOST, layout, layout_around, slotted};
pub use manifest::{
    AGENT_FILE, ARCH_LABEL, AgentFrom, Cluster, GROUP_ANNOTATION, LITE_ENGINE_SOCKET, MANAGED_BY,
    RUN_LABEL, SLICE_SOCKET, STEPYARD, agent_binary, manifest,
};
pub use names::{NAMESPACES, is_namespace};
pub use yaml::yaml;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the workspace is mounted in every container: the working directory of every step.
pub const WORKSPACE: &str = "/harness";
/// Where the agent and each container's own slice (socket, spool, `tmp`) are mounted.
pub const ADDON: &str = "/addon";
/// The mount paths that a pipeline may not take for itself.
pub const RESERVED_PATHS: [&str; 2] = [WORKSPACE, ADDON];
/// The router's container.
pub const LITE_ENGINE: &str = "lite-engine";
/// The init container that puts the agent in place where an image brings it.
pub const SETUP_ADDON: &str = "setup-addon";

/// A containerized step group as one pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// `harnesscd-<group>-<8 random>`, unique in its namespace.
    pub name: String,
    /// The run's id.
    pub run: String,
    /// The group's node id.
    pub group: String,
    /// The cluster connector's reference as written; natively it is not looked up.
    pub connector: Option<String>,
    /// The namespace as written, white space stripped.
    pub namespace: Option<String>,
    /// Labels: ours, then the user's over them.
    pub labels: BTreeMap<String, String>,
    /// Annotations: ours, then the user's over them.
    pub annotations: BTreeMap<String, String>,
    /// `linux` or `windows`.
    pub os: String,
    /// `amd64` or `arm64` where the pipeline names it.
    pub arch: Option<String>,
    /// `serviceAccountName`.
    pub service_account: Option<String>,
    /// `automountServiceAccountToken`.
    pub automount: Option<bool>,
    /// `priorityClassName`.
    pub priority_class: Option<String>,
    /// `nodeSelector`.
    pub node_selector: BTreeMap<String, String>,
    /// `tolerations`.
    pub tolerations: Vec<Toleration>,
    /// Names that resolve to 127.0.0.1 inside.
    pub host_names: Vec<String>,
    /// `runAsUser` of the infrastructure: the pod's security context.
    pub run_as_user: Option<User>,
    /// The group's `containerSecurityContext`; already merged into each container, here for lite-engine.
    pub security: Security,
    /// How long containers may take to start, milliseconds (`initTimeout`, 480,000 by default).
    pub init_timeout_ms: u64,
    /// Every volume; each is mounted in every container at its path.
    pub volumes: Vec<Volume>,
    /// A container for each step, in the order in which the plan first needs them; lite-engine is not among them.
    pub containers: Vec<Container>,
    /// The most that is needed at one time: the maximum over serial steps of the sum over parallel ones, and every
    /// Background step.
    #[serde(default)]
    pub requests: Amounts,
    /// The image that brings the agent, where the pipeline (`harnessImageConnectorRef`) or the caller wants one.
    #[serde(default)]
    pub agent_image: Option<Image>,
    /// A strategic merge over the pod's spec (`podSpecOverlay`), parsed.
    pub overlay: Option<serde_json::Value>,
    /// Natively: the network of the pod.
    pub network: Network,
    /// What Initialize tells of it, such as iterations that take turns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Which network a native pod has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Network {
    /// Its own, with the way out where this machine can give one.
    #[default]
    Private,
    /// The host's.
    Host,
}

/// One container of the pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// `step-<id>`: lowercase, `_` removed, at most 63 characters, unique in the pod.
    pub name: String,
    /// The node ids of the steps that run in it, one after the other.
    pub steps: Vec<String>,
    /// Its image.
    pub image: Image,
    /// It holds a Background step.
    pub background: bool,
    /// The group's context with the step's `privileged` and `runAsUser` over it.
    pub security: Security,
    /// Its step's resources as written.
    pub resources: Resources,
    /// What it carries of [`Spec::requests`] where a cluster has no resources of whole pods.
    #[serde(default)]
    pub share: Amounts,
}

/// An image as the backend is to fetch it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The whole reference, its connector's registry included; or `host:/`, `oci:PATH`, `oci-archive:PATH`, `docker-archive:PATH`.
    pub reference: String,
    /// The image connector's reference as written.
    pub connector: Option<String>,
    /// When to ask the registry.
    pub pull: Pull,
}

/// `imagePullPolicy`, as Kubernetes means it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pull {
    /// Ask the registry for the digest at every start.
    Always,
    /// Pull what is not here.
    IfNotPresent,
    /// Fail where it is not here.
    Never,
}

/// A user to run as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum User {
    /// By number.
    Id(u32),
    /// By a name of the image's `/etc/passwd`.
    Name(String),
}

/// A security context. What is `None` is left to the image or to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Security {
    /// All capabilities, devices and no filters.
    pub privileged: Option<bool>,
    /// Whether `no_new_privs` stays off.
    pub allow_privilege_escalation: Option<bool>,
    /// The image's filesystem is mounted read-only.
    pub read_only_root: Option<bool>,
    /// Refuse to start as user 0.
    pub run_as_non_root: Option<bool>,
    /// The user.
    pub run_as_user: Option<User>,
    /// The group.
    pub run_as_group: Option<u32>,
    /// Capabilities added to the default set, without `CAP_`; `ALL` is known.
    pub add: Vec<String>,
    /// Capabilities dropped from it.
    pub drop: Vec<String>,
    /// `Default` or `Unmasked`.
    pub proc_mount: Option<String>,
}

/// Limits and requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// What it may use at most.
    pub limits: Amounts,
    /// What is set aside for it.
    pub requests: Amounts,
}

/// Amounts of the two resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amounts {
    /// Thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// Bytes.
    pub memory_bytes: Option<u64>,
}

/// A volume and where it is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// `harness`, `shared-<i>`, `volume-<i>`, `tree-<i>`.
    pub name: String,
    /// Absolute.
    pub mount_path: String,
    /// What is there.
    pub source: Source,
}

/// What a volume holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// An empty directory of the pod.
    EmptyDir {
        /// In memory (tmpfs) instead of on disk.
        memory: bool,
        /// Its bound in bytes.
        size_bytes: Option<u64>,
    },
    /// A directory or file of the host.
    HostPath {
        /// On the host.
        path: String,
        /// A Kubernetes hostPath type (`DirectoryOrCreate`, …).
        kind: Option<String>,
    },
    /// A claim; natively a named local volume.
    Claim {
        /// Its name.
        name: String,
        /// Mounted read-only.
        read_only: bool,
    },
    /// A ConfigMap of the namespace.
    ConfigMap {
        /// Its name.
        name: String,
        /// It may be absent.
        optional: bool,
    },
    /// A Kubernetes Secret of the namespace.
    Secret {
        /// Its name.
        name: String,
        /// It may be absent.
        optional: bool,
    },
}

/// A toleration, as Kubernetes has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Toleration {
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; none: all.
    pub effect: Option<String>,
    /// Of the taint.
    pub key: Option<String>,
    /// `Equal` or `Exists`.
    pub operator: Option<String>,
    /// Of the taint.
    pub value: Option<String>,
    /// For `NoExecute`.
    pub seconds: Option<i64>,
}
