//! What makes pods. The driver knows pods only through this trait.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use pipeline::pod;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// Bytes to and from a pod's lite-engine: a Unix socket, an exec stream, memory.
pub trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Carrier for T {}

/// Makes, finds and removes pods. Every call may be made again after a crash of the caller: it then finds what
/// is there. Nothing here is polled: what takes time ends when the thing itself says so.
#[async_trait]
pub trait Backend: Send + Sync {
    /// `native`, `docker`, `kube`: for messages.
    fn name(&self) -> &'static str;

    /// Asks for every image of the pod: that it can be had, for this platform, and what it starts. Begins to fetch
    /// where the backend itself does that. Answers for each container by name; all are asked side by side.
    async fn preflight(
        &self,
        spec: &pod::Spec,
        access: &Access,
    ) -> BTreeMap<String, Result<ImageFacts, Failure>>;

    /// Makes the pod, up to its lite-engine being ready to be connected to. Its containers follow by [`Backend::container`].
    async fn create(
        &self,
        spec: &pod::Spec,
        access: &Access,
        events: Events,
    ) -> Result<Created, Failure>;

    /// Nobody waits for this pod any more: a [`Backend::create`] that is under way for it ends soon, as failed, where it would wait on.
    /// Its removal comes after that answer, so that nothing comes up behind it.
    fn give_up(&self, pod: &PodRef) {
        let _ = pod;
    }

    /// Ends when this container's addon can be reached through lite-engine: makes it natively, awaits it in a cluster.
    async fn container(
        &self,
        spec: &pod::Spec,
        access: &Access,
        container: &str,
        events: Events,
    ) -> Result<(), Failure>;

    /// How many containers it is asked for ahead of those that steps need. All of them, unless it makes each when it is asked for it.
    fn ahead(&self) -> usize {
        usize::MAX
    }

    /// A new connection to the pod's lite-engine (see `addon::link`). `Failure::gone` where the pod is no more.
    async fn connect(&self, pod: &PodRef) -> Result<Box<dyn Carrier>, Failure>;

    /// A connection to the pod for a guest beside its driver. It speaks as the one to lite-engine does, and need not wait for it.
    async fn visit(&self, pod: &PodRef) -> Result<Box<dyn Carrier>, Failure> {
        self.connect(pod).await
    }

    /// Ends when the pod is gone for whatever reason, with what is known of it. Cancelled by dropping.
    async fn gone(&self, pod: &PodRef) -> Failure;

    /// Why a container of a pod that stands is no more; none where it stands, or where nothing is known of its end. Asked each
    /// time its addon does not answer: what is learned late is told then.
    async fn ended(&self, pod: &PodRef, container: &str) -> Option<Failure>;

    /// Removes the pod and all it owns. Processes are given `grace` between SIGTERM and SIGKILL.
    async fn delete(&self, pod: &PodRef, grace: Duration) -> Result<Deleted, Failure>;

    /// The pods of this backend that a Stepyard made here, whoever runs them.
    async fn list(&self) -> Result<Vec<PodRef>, Failure>;
}

/// A pod that was made, enough to find it again in another process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodRef {
    /// Its name.
    pub name: String,
    /// Its namespace, in a cluster.
    pub namespace: Option<String>,
    /// The run it belongs to.
    pub run: String,
    /// The group's node id.
    pub group: String,
    /// The connector of its cluster, as the pipeline names it: the pods of a run may be in several.
    #[serde(default)]
    pub connector: Option<String>,
}

/// The outcome of making a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    Created,
    /// It was there, made by an earlier call for the same run and group.
    AlreadyThere,
}

/// The outcome of removing a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It was there.
    Deleted,
    /// It was not.
    NotThere,
}

/// Where a pod's events go: the lines of its Initialize log. Unbounded: a pod has a few events for each container.
pub type Events = mpsc::UnboundedSender<PodEvent>;

/// One event of a pod, in the words of a kubelet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodEvent {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The container it is about.
    pub container: Option<String>,
    /// How much it matters.
    pub kind: EventKind,
    /// `Pulling`, `Pulled`, `Created`, `Started`, `Failed`, `Scheduled`, …
    pub reason: String,
    /// The line: `Successfully pulled image "…" in 437ms`.
    pub message: String,
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// As it should be.
    Normal,
    /// Something that this backend cannot give, or that went wrong.
    Warning,
}

/// What is known of an image before a container of it starts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageFacts {
    /// `sha256:…` of the manifest; none for `host:/`.
    pub digest: Option<String>,
    /// ENTRYPOINT.
    pub entrypoint: Vec<String>,
    /// CMD.
    pub cmd: Vec<String>,
    /// ENV, in order.
    pub env: Vec<(String, String)>,
    /// USER as written.
    pub user: Option<String>,
    /// `linux/amd64`.
    pub platform: String,
}

/// Credentials for image registries, by the connector's reference. Holds secrets: neither printed nor stored.
#[derive(Clone, Default)]
pub struct Access {
    /// By connector reference as written in the pipeline.
    pub registries: BTreeMap<String, Login>,
}

/// How to log in to a registry.
#[derive(Clone)]
pub struct Login {
    /// Host and port of the registry.
    pub server: String,
    /// The user; none: anonymous.
    pub username: Option<String>,
    /// The password or token.
    pub password: Option<String>,
}

/// What a backend could not do, in words that a user can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Failure {
    /// Which sort of trouble: the failure strategy chooses by it.
    pub kind: FailureKind,
    /// The container it is about.
    pub container: Option<String>,
    /// One sentence: the thing, the state, the reason.
    pub message: String,
    /// How to mend it, where that is known.
    pub help: Option<String>,
}

/// Sorts of trouble a backend meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// An image is not there, not for this platform, or broken.
    Image,
    /// A login was refused or is missing.
    Authentication,
    /// This user may not.
    Authorization,
    /// A registry or an API server did not answer.
    Connectivity,
    /// No room, no memory, no quota, no node.
    Resources,
    /// The pod as written cannot be made.
    Configuration,
    /// It took longer than it may.
    Timeout,
    /// The pod, or this container of it, is no more.
    Gone,
    /// Anything else the infrastructure did.
    Infrastructure,
}
