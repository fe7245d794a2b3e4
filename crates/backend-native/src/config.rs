//! Where and how native pods are made.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driver::backend::Failure;

use crate::keeper::failed;

/// The agent that runs in every container.
#[derive(Clone)]
pub enum Agent {
    /// A static executable on this machine.
    File(PathBuf),
    /// Its bytes and their hex sha256: written once to the state directory.
    Bytes(&'static [u8], String),
}

impl Agent {
    /// The agent as a file, written where it is not there.
    pub(crate) fn file(&self, state: &Path) -> Result<PathBuf, Failure> {
        let (bytes, digest) = match self {
            Self::File(path) => {
                return path
                    .canonicalize()
                    .map_err(|e| failed(&format!("find the agent {}", path.display()), &e));
            }
            Self::Bytes(bytes, digest) => (*bytes, digest),
        };
        let path = state.join("agent").join(digest);
        if path.exists() {
            return Ok(path);
        }
        let write = || {
            let dir = state.join("agent");
            fs::create_dir_all(&dir)?;
            let early = dir.join(format!(".{digest}-{}", std::process::id()));
            fs::write(&early, bytes)?;
            fs::set_permissions(&early, fs::Permissions::from_mode(0o555))?;
            fs::rename(&early, &path)
        };
        write().map_err(|e: io::Error| failed("write the agent", &e))?;
        Ok(path)
    }
}

/// Where and how native pods are made.
#[derive(Clone)]
pub struct Config {
    /// Where pods, claims and the agent are kept. Pods of another state directory are not seen.
    pub state: PathBuf,
    /// The agent.
    pub agent: Agent,
    /// A directory with `configmaps/NAME/KEY` and `secrets/NAME/KEY` for volumes of these kinds.
    pub entities: Option<PathBuf>,
    /// Where images are kept, and how their registries are reached. Several state directories may share one store.
    pub images: PathBuf,
    /// See `images`.
    pub registries: image::Settings,
    /// The program that is executed as keeper: one that calls [`crate::pod_main`]. None: this program.
    pub keeper: Option<PathBuf>,
    /// After this a pod ends whatever happens: 24 hours, as `activeDeadlineSeconds` of a pod in a cluster.
    pub deadline: Duration,
    /// A pod without any driver for this long, whose containers hold no process but the addon's, ends. A Background step
    /// keeps it until the deadline. 15 minutes.
    pub unattended: Duration,
}

impl Config {
    /// The defaults, for a state directory and an agent.
    pub fn new(state: PathBuf, agent: Agent) -> Self {
        Self {
            images: state.join("images"),
            registries: image::Settings::default(),
            state,
            agent,
            entities: None,
            keeper: None,
            deadline: Duration::from_hours(24),
            unattended: Duration::from_mins(15),
        }
    }
}
