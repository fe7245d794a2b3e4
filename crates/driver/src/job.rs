//! What the owner of a run says and hears: the public side of the driver.

use std::path::PathBuf;
use std::sync::Arc;

use engine::Wishes;
use engine::event::{Failure, Stamped, Status};
use pipeline::plan::NodeId;
use tokio::sync::mpsc;

use crate::backend::{Access, Backend, PodEvent};
use crate::planner::Planner;

/// A run to be driven to its end.
pub struct Job {
    /// Its id.
    pub run: String,
    /// Its directory: `journal`, `logs/`, `reports/`. Made where it is not there.
    pub dir: PathBuf,
    /// What its nodes become.
    pub planner: Arc<dyn Planner>,
    /// Where its pods are made.
    pub backend: Arc<dyn Backend>,
    /// Logins of registries.
    pub access: Access,
    /// Where queues of this machine's runs are; none: there are none.
    pub queues: Option<PathBuf>,
    /// Values that no log of this run may show.
    pub secrets: Vec<String>,
    /// Go on with what the directory's journal holds; `false` where there is a journal is an error, and the other way round.
    pub resume: bool,
    /// Of a new run: what else is wanted of it.
    pub wishes: Wishes,
}

/// Where the owner hears what happens. While it is full, the driver goes on with everything but granting more output: a slow
/// screen slows the log down (back-pressure to the step), never a decision.
pub type Observer = mpsc::Sender<Notice>;

/// Notices that may wait for the owner: enough for a screen that draws ten times a second, few enough to stay small
/// when each carries a piece of output.
pub const OBSERVER_DEPTH: usize = 256;

/// One thing that an owner may want to show.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "an event is moved once, from the journal to whoever shows it"
)]
pub enum Notice {
    /// It is in the journal.
    Event(Stamped),
    /// An event of a group's pod; it is in the log of the group's Initialize node.
    Pod {
        /// The group.
        group: NodeId,
        /// What the backend said.
        event: PodEvent,
    },
    /// Output of an attempt; it is in the log store.
    Output {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// Of the first byte in the stored log.
        offset: u64,
        /// When it was read in the container, milliseconds since the Unix epoch.
        at_ms: u64,
        /// Masked bytes, any piece of lines.
        bytes: Vec<u8>,
    },
    /// Output that was lost: it is marked in the log store.
    Gap {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// Where in the stored log it is missing.
        offset: u64,
        /// How much is missing.
        bytes: u64,
    },
    /// Something that the owner should read.
    Warning(String),
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its status.
    pub status: Status,
    /// Why, unless it succeeded.
    pub failure: Option<Failure>,
}

/// Why a run could not be driven further. What the journal holds stays, and a later driver may take the run over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal could not be had, read or written.
    #[error(transparent)]
    Journal(#[from] crate::journal::Error),
    /// The log store could not be written.
    #[error("cannot write the log {}: {source}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another driver with a higher epoch has taken the run over.
    #[error("run {run} was taken over by another stepyard (its epoch is {seen}, ours {ours})")]
    TakenOver {
        /// The run.
        run: String,
        /// The highest epoch seen by an addon.
        seen: u64,
        /// This driver's.
        ours: u64,
    },
    /// The engine refused an event: a bug of ours.
    #[error(
        "run {run}: {source}; this is a bug in stepyard: please report it with the run's journal"
    )]
    Bug {
        /// The run.
        run: String,
        /// What was refused.
        source: engine::Illegal,
    },
}
