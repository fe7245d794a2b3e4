//! Processes of the delegate: a step's process on this machine as it is, in a directory of its own, without any namespace.
//!
//! The same agent holds it as in a container: an addon supervises the one process, and a keeper holds that, detached from whoever started
//! it. So its log, its outputs, its record, an abort and a taken-over run work as in a pod.
//!
//! ```text
//! <state>/delegate/<name>/   pod.json lock uid control addons/process
//!                 files/     addon/process/ work/ tmp/     (where another user runs it: in the directory for temporary files)
//! ```
//!
//! Where root runs the driver, the process has a user of its own that nobody else has, and no way back to root.

mod files;
mod keeper;
mod left;
mod user;

pub use user::ScriptUser;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use driver::backend::{
    Access, Backend, Carrier, Created, Deleted, Events, Failure, ImageFacts, PodRef,
};
use pipeline::pod;
use serde::{Deserialize, Serialize};
use tokio::io::BufReader;
use tokio::net::UnixStream;

use crate::backend::{Marker, boot, execute, gone, read_answer, write_line};
use crate::config::Agent;
use crate::control::{Answer, Call, First};
use crate::keeper::failed;
use crate::{addons, store};

pub(crate) use keeper::hold;

/// How a process of the delegate finds the program that drives it, for steps that this does itself: an open file of every such
/// process.
pub const HELPER: &str = "/proc/self/fd/100";
/// The number of that file.
pub(crate) const HELPER_FD: i32 = 100;

/// Where and how processes of the delegate are made.
#[derive(Clone)]
pub struct HostConfig {
    /// Where they are kept; those of another state directory are not seen.
    pub state: PathBuf,
    /// The agent.
    pub agent: Agent,
    /// Who they run as.
    pub user: ScriptUser,
    /// The program that is executed as keeper: one that calls [`crate::pod_main`]. None: this program.
    pub keeper: Option<PathBuf>,
    /// After this a process ends whatever happens: 24 hours, as a pod.
    pub deadline: Duration,
    /// Without any driver for this long, and with no process but the addon's, one ends: 15 minutes, as a pod.
    pub unattended: Duration,
}

impl HostConfig {
    /// The defaults, for a state directory, an agent and a user.
    pub fn new(state: PathBuf, agent: Agent, user: ScriptUser) -> Self {
        Self {
            state,
            agent,
            user,
            keeper: None,
            deadline: Duration::from_hours(24),
            unattended: Duration::from_mins(15),
        }
    }
}

/// Processes of the delegate on this machine.
pub struct Host {
    config: HostConfig,
}

/// All that the keeper of such a process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its name.
    pub(crate) name: String,
    /// The run it belongs to.
    pub(crate) run: String,
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// Where its own files are.
    pub(crate) files: PathBuf,
    /// The agent, an executable file.
    pub(crate) agent: PathBuf,
    /// Who it runs as.
    pub(crate) user: ScriptUser,
    /// Milliseconds after which it ends whatever happens.
    pub(crate) deadline_ms: u64,
    /// Milliseconds without any driver after which one that does nothing ends.
    pub(crate) unattended_ms: u64,
}

impl Host {
    /// A backend over a state directory.
    pub fn new(config: HostConfig) -> Self {
        Self { config }
    }

    fn all(&self) -> PathBuf {
        self.config.state.join("delegate")
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.all().join(name)
    }

    /// Another user may not pass through the directories of this one.
    fn files(&self, name: &str) -> PathBuf {
        if self.config.user == ScriptUser::Same {
            self.dir(name).join("files")
        } else {
            std::env::temp_dir().join(format!("stepyard-{name}"))
        }
    }

    async fn control(&self, name: &str) -> Result<BufReader<UnixStream>, Failure> {
        addons::control(name, &self.dir(name)).await
    }

    async fn make(&self, spec: &pod::Spec) -> Result<(), Failure> {
        let sockets = self.dir(&spec.name).join(addons::DIR);
        fs::create_dir(&sockets).map_err(|e| failed(&format!("make {}", sockets.display()), &e))?;
        let process = Process {
            name: spec.name.clone(),
            run: spec.run.clone(),
            dir: self.dir(&spec.name),
            files: self.files(&spec.name),
            agent: self.config.agent.file(&self.config.state)?,
            user: self.config.user.clone(),
            deadline_ms: self.config.deadline.as_millis() as u64,
            unattended_ms: self.config.unattended.as_millis() as u64,
        };
        let first = First::Process(Box::new(process));
        let (mut connection, reaped) = execute(self.config.keeper.as_deref(), &first).await?;
        match read_answer(&mut connection).await {
            Some(Answer::Ready { .. }) => Ok(()),
            Some(Answer::Failed(failure)) => {
                let _ = reaped.await;
                Err(failure)
            }
            _ => {
                let _ = reaped.await;
                let what = format!("start the process {}", spec.name);
                Err(failed(&what, "its keeper ended without an answer"))
            }
        }
    }

    /// Removes what one that is no more has left: processes first, then files.
    fn sweep(&self, name: &str) -> Result<(), Failure> {
        let dir = self.dir(name);
        left::kill(name, left::uid(&dir));
        // The user may have changed between: both places are looked at.
        let elsewhere = std::env::temp_dir().join(format!("stepyard-{name}"));
        for path in [&elsewhere, &dir] {
            store::remove_tree(path)
                .map_err(|e| failed(&format!("remove {}", path.display()), &e))?;
        }
        Ok(())
    }

    /// Ends when the keeper and what it started are no more: they hold a lock.
    async fn released(&self, name: &str) -> Result<(), Failure> {
        let dir = self.dir(name);
        let name = name.to_owned();
        let wait = tokio::task::spawn_blocking(move || {
            let lock = match fs::File::open(dir.join("lock")) {
                Ok(lock) => lock,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(e),
            };
            if lock.try_lock().is_err() {
                // A keeper that was killed leaves processes that hold its lock: nobody else ends them.
                let (_dir, control) = store::near(&dir, "control")?;
                if std::os::unix::net::UnixStream::connect(control).is_err() {
                    left::kill(&name, left::uid(&dir));
                }
                lock.lock()?;
            }
            Ok(())
        });
        wait.await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|e| failed("await the end of the process", &e))
    }
}

#[async_trait]
impl Backend for Host {
    fn name(&self) -> &'static str {
        "delegate"
    }

    async fn preflight(
        &self,
        spec: &pod::Spec,
        _: &Access,
    ) -> BTreeMap<String, Result<ImageFacts, Failure>> {
        let facts = |own: &pod::Container| (own.name.clone(), Ok(ImageFacts::default()));
        spec.containers.iter().map(facts).collect()
    }

    async fn create(&self, spec: &pod::Spec, _: &Access, _: Events) -> Result<Created, Failure> {
        let dir = self.dir(&spec.name);
        let what = || format!("make the directory {}", dir.display());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.all())
            .map_err(|e| failed(&what(), &e))?;
        match fs::DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                // Made by an earlier call: it stands, or what is left of it goes.
                if self.control(&spec.name).await.is_ok() {
                    return Ok(Created::AlreadyThere);
                }
                return Err(gone(&spec.name, "an earlier one of this name has ended"));
            }
            Err(e) => return Err(failed(&what(), &e)),
        }
        let marker = Marker {
            pod: PodRef {
                name: spec.name.clone(),
                namespace: None,
                run: spec.run.clone(),
                group: spec.group.clone(),
                connector: None,
            },
            boot: boot(),
        };
        let text = serde_json::to_vec(&marker).expect("a marker is JSON");
        let made = match fs::write(dir.join("pod.json"), text) {
            Ok(()) => self.make(spec).await,
            Err(e) => Err(failed(&what(), &e)),
        };
        if let Err(failure) = made {
            // Half of it is of no use; that it cannot be removed says less than why it could not be made.
            let _ = self.released(&spec.name).await;
            let _ = self.sweep(&spec.name);
            return Err(failure);
        }
        Ok(Created::Created)
    }

    async fn container(
        &self,
        spec: &pod::Spec,
        _: &Access,
        _: &str,
        _: Events,
    ) -> Result<(), Failure> {
        // It was made with its one process's supervisor.
        self.control(&spec.name).await.map(|_| ())
    }

    async fn connect(&self, pod: &PodRef) -> Result<Box<dyn Carrier>, Failure> {
        addons::connect(&pod.name, self.dir(&pod.name)).await
    }

    async fn gone(&self, pod: &PodRef) -> Failure {
        let mut connection = match self.control(&pod.name).await {
            Ok(connection) => connection,
            Err(failure) => return failure,
        };
        match read_answer(&mut connection).await {
            Some(Answer::Failed(failure)) => gone(&pod.name, &failure.message),
            _ => gone(&pod.name, "its keeper ended"),
        }
    }

    async fn ended(&self, _: &PodRef, _: &str) -> Option<Failure> {
        None
    }

    async fn delete(&self, pod: &PodRef, grace: Duration) -> Result<Deleted, Failure> {
        if !self.dir(&pod.name).exists() {
            return Ok(Deleted::NotThere);
        }
        if let Ok(mut connection) = self.control(&pod.name).await {
            let grace_ms = grace.as_millis() as u64;
            // A keeper that ends before it answers has done as it was told.
            if write_line(connection.get_mut(), &Call::Delete { grace_ms })
                .await
                .is_ok()
            {
                let _ = read_answer(&mut connection).await;
            }
        }
        self.released(&pod.name).await?;
        self.sweep(&pod.name)?;
        Ok(Deleted::Deleted)
    }

    async fn list(&self) -> Result<Vec<PodRef>, Failure> {
        list(&self.all())
    }
}

fn list(all: &Path) -> Result<Vec<PodRef>, Failure> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(all) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(e) => return Err(failed(&format!("read {}", all.display()), &e)),
    };
    for entry in entries.flatten() {
        found.push(Marker::of(&entry));
    }
    found.sort();
    Ok(found)
}
