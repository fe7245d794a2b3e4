//! What a driver and a keeper say to each other: one JSON value a line on a Unix socket.
//!
//! Both are the same program of the same version, except after an upgrade in the middle of a run: then unknown
//! fields are ignored and new ones have defaults.

use std::path::PathBuf;

use driver::backend::Failure;
use pipeline::pod;
use serde::{Deserialize, Serialize};

/// The largest line: a plan with a long environment fits.
pub(crate) const MAX_LINE: usize = 4 * 1024 * 1024;

/// All that a keeper is told when it starts, on its standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum First {
    /// Hold a pod.
    Pod(Box<Pod>),
    /// Hold a process of the delegate.
    Process(Box<crate::host::Process>),
    /// Remove a directory whose files may belong to subordinate users, and end.
    Remove(PathBuf),
}

/// A pod as its keeper makes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pod {
    /// Its name, and the host name inside.
    pub(crate) name: String,
    /// The run it belongs to.
    pub(crate) run: String,
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// Files of `/etc` that its containers share: name and text.
    #[serde(default)]
    pub(crate) etc: Vec<(String, String)>,
    /// The state directory: hidden from containers of this machine's own root filesystem.
    pub(crate) state: PathBuf,
    /// The agent, an executable file.
    pub(crate) agent: PathBuf,
    /// Which network.
    pub(crate) network: pod::Network,
    /// A container of it has limits or requests.
    #[serde(default)]
    pub(crate) limited: bool,
    /// Volumes, prepared as far as the driver can.
    pub(crate) volumes: Vec<Volume>,
    /// Milliseconds after which the pod ends whatever happens.
    pub(crate) deadline_ms: u64,
    /// Milliseconds without any driver after which a pod whose containers do nothing ends.
    pub(crate) unattended_ms: u64,
}

/// What only the pod's processes see is in memory, on one filesystem that goes with them; what may be large is on the disk.
impl Pod {
    /// Where that filesystem is.
    pub(crate) fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// The shared memory of its containers.
    pub(crate) fn shm(&self) -> PathBuf {
        self.dir.join("run/shm")
    }

    /// A file of `/etc`.
    pub(crate) fn etc_file(&self, name: &str) -> PathBuf {
        self.dir.join("run/etc").join(name)
    }

    /// The slices of `/addon`, one a container.
    pub(crate) fn slices(&self) -> PathBuf {
        self.dir.join("run/addon")
    }

    /// A container's slice.
    pub(crate) fn slice(&self, container: &str) -> PathBuf {
        self.slices().join(container)
    }

    /// Where a container's root filesystem is put together.
    pub(crate) fn work(&self, container: &str) -> PathBuf {
        self.dir.join("run/containers").join(container)
    }

    /// Of a container on the disk: the directories `upper` and `work`, the file `spool`. No container's name has a dot.
    pub(crate) fn disk(&self, container: &str, what: &str) -> PathBuf {
        self.dir.join("disk").join(format!("{container}.{what}"))
    }
}

/// A volume, mounted in every container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// On the host; made by the driver.
    pub(crate) source: PathBuf,
    /// In the containers.
    pub(crate) target: String,
    /// Not to be written.
    pub(crate) read_only: bool,
    /// A tmpfs is mounted at `source` first, with this bound in bytes (0: the kernel's own).
    pub(crate) memory: Option<u64>,
    /// A file system in a file, mounted at `source` first: it is full when the volume is.
    #[serde(default)]
    pub(crate) image: Option<PathBuf>,
}

/// A container as the keeper makes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Container {
    /// `step-<id>`.
    pub(crate) name: String,
    /// Its place in the plan: of those that wait to be made the lowest is made first.
    #[serde(default)]
    pub(crate) order: usize,
    /// What its root filesystem is made of.
    pub(crate) root: Root,
    /// The image's environment.
    pub(crate) env: Vec<(String, String)>,
    /// The image's USER, where the pipeline names none.
    pub(crate) image_user: Option<String>,
    /// The security context.
    pub(crate) security: pod::Security,
    /// Limits and requests.
    pub(crate) resources: pod::Resources,
}

/// What a root filesystem is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Root {
    /// This machine's own.
    Host,
    /// Unpacked layers, the lowest first.
    Layers(Vec<PathBuf>),
}

/// From a driver.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Call {
    /// Make this container unless it is there; answered when its addon can be reached.
    Make(Box<Container>),
    /// Say [`Answer::Ready`] when the socket of this container's addon is there, or [`Answer::Failed`] where that cannot be made.
    Reach {
        /// Its name.
        container: String,
    },
    /// Say how this container ended: [`Answer::Failed`], or [`Answer::Ready`] at once where it has not.
    Ended {
        /// Its name.
        container: String,
    },
    /// End the pod: SIGTERM to every container, after `grace_ms` SIGKILL.
    Delete {
        /// Between the two signals.
        grace_ms: u64,
    },
}

/// From a keeper.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The pod stands. What could not be given is named.
    Ready {
        /// For the pod's log.
        warnings: Vec<String>,
    },
    /// The container stands and its addon can be connected to.
    Made {
        /// It was made by this call.
        new: bool,
        /// For the pod's log.
        warnings: Vec<String>,
    },
    /// Nothing of the pod is left but what the driver itself removes.
    Deleted,
    /// It could not be done.
    Failed(Failure),
}
