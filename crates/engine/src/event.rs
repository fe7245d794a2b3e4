//! What happened in a run. This enum is the interface: the journal, the screen, `--output json` and `inspect` consume it.

use addon::frame::Record;
use pipeline::plan::{Node, NodeId, Wait};
use serde::{Deserialize, Serialize};

/// The version of the stored form. A journal of the release before is still read.
pub const VERSION: u16 = 1;

/// An event and when it was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// Milliseconds since the Unix epoch, by the driver's clock; never less than the event's before it.
    pub at_ms: u64,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The run was accepted: the first event of every journal.
    RunCreated {
        /// [`VERSION`].
        version: u16,
        /// The run's id.
        run: String,
        /// The root node.
        root: Node,
    },
    /// A driver took the run over; frames of older epochs are refused from here on.
    Adopted {
        /// 1 for the first driver.
        epoch: u64,
    },
    /// A node was entered and became these children.
    Expanded {
        /// The node.
        node: NodeId,
        /// In order.
        children: Vec<Node>,
    },
    /// A node was entered.
    NodeStarted {
        /// The node.
        node: NodeId,
    },
    /// A group's pod is wanted under this name. `attempt` counts the pods of this group.
    PodRequested {
        /// The group.
        group: NodeId,
        /// The pod's name.
        pod: String,
        /// 0 for the first.
        attempt: u32,
    },
    /// The pod is up: its lite-engine answers.
    PodReady {
        /// The group.
        group: NodeId,
    },
    /// The pod is no more, and not by our wish.
    PodLost {
        /// The group.
        group: NodeId,
        /// Why, as far as it is known.
        reason: String,
    },
    /// The pod and all it owned is removed.
    PodDeleted {
        /// The group.
        group: NodeId,
    },
    /// The pod could not be removed: `stepyard sweep` is needed.
    PodLeft {
        /// The group.
        group: NodeId,
        /// Why.
        reason: String,
    },
    /// All of a containerized group but its Background steps is over: those are stopped.
    GroupEnding {
        /// The group.
        group: NodeId,
    },
    /// A node's time was up: what runs in it is stopped.
    TimedOut {
        /// The node.
        node: NodeId,
    },
    /// A step is to run: its start may have been sent from here on.
    AttemptStarting {
        /// The step.
        step: NodeId,
        /// 0 for the first.
        attempt: u32,
    },
    /// The step's process runs.
    AttemptStarted {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// By the container's clock, milliseconds since the Unix epoch.
        started_ms: u64,
    },
    /// A Background step is ready: what follows may go on.
    AttemptReady {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// Set where its probe's deadline passed.
        warning: Option<String>,
    },
    /// The record of an attempt, applied once. Values of secret outputs are not in it.
    AttemptFinished {
        /// The step.
        step: NodeId,
        /// What the addon wrote.
        record: Box<Record>,
    },
    /// An attempt will never have a record.
    AttemptLost {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// Why.
        reason: Failure,
        /// Bytes of its output that are stored; what the step wrote after them is unknown.
        stored: u64,
    },
    /// What a step that runs nowhere waits for.
    Waiting {
        /// The step.
        node: NodeId,
        /// It.
        wait: Wait,
        /// When its time is there, milliseconds since the Unix epoch: whoever takes the run over waits for the rest only.
        until_ms: Option<u64>,
    },
    /// A step's turn in its queue has come.
    Admitted {
        /// The step.
        node: NodeId,
    },
    /// Somebody answered an approval.
    Answered {
        /// The step.
        node: NodeId,
        /// What.
        answer: Answer,
    },
    /// A user or the driver's owner asked the run to change its course.
    Interrupted {
        /// What was asked.
        interrupt: Interrupt,
    },
    /// A node is over.
    NodeFinished {
        /// The node.
        node: NodeId,
        /// Its end.
        status: Status,
        /// Why, unless it succeeded; for a skipped node, where it was not its condition that skipped it.
        failure: Option<Failure>,
    },
    /// The run is over and nothing of it is left on the backend.
    RunFinished {
        /// Its end.
        status: Status,
    },
}

/// What a person says to an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Who, as the system knows them.
    pub by: String,
    /// They started the run.
    pub executor: bool,
    /// Yes.
    pub approve: bool,
    /// Why, for others to read.
    pub comment: String,
    /// What they entered.
    pub inputs: std::collections::BTreeMap<String, String>,
}

/// What may be asked of a run from outside: by the terminal, or by another command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interrupt {
    /// End it: steps get SIGTERM, their grace, SIGKILL.
    Abort,
    /// End it now.
    Kill,
}

/// The end of a node, in the words of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It did what it should. A step only with its record.
    Success,
    /// It failed.
    Failed,
    /// It failed, and its failure strategy says to go on.
    IgnoreFailed,
    /// Somebody ended it.
    Aborted,
    /// Its time was up.
    Expired,
    /// It was not to run.
    Skipped,
}

impl Status {
    /// What follows may run.
    pub fn is_positive(self) -> bool {
        matches!(self, Self::Success | Self::IgnoreFailed | Self::Skipped)
    }
}

/// Why something failed: which error of the format it is, and the words for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The error of the format that a failure strategy names.
    pub error: ErrorKind,
    /// One sentence: the thing, the state, the reason.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

/// The errors of the format (`failureStrategies[].onFailure.errors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ErrorKind {
    /// A non-zero exit, and whatever has no better name.
    Unknown,
    /// A login was refused.
    Authentication,
    /// Something did not answer.
    Connectivity,
    /// Its time was up.
    Timeout,
    /// It was not allowed.
    Authorization,
    /// The pod, the node or the connection was lost.
    InfrastructureFailure,
    /// An image could not be had or does not hold what the step needs.
    PluginImageFailure,
    /// Memory, disk, quota.
    ResourceLimitsFailure,
    /// What is written cannot be run.
    ConfigurationFailure,
    /// Somebody said no.
    ApprovalRejection,
}
