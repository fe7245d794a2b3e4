//! What happened in a run. This enum is the interface: the journal, the screen, `--output json` and `inspect` consume it.

use addon::frame::Record;
pub use pipeline::plan::ErrorKind;
use pipeline::plan::{Action, Node, NodeId, Wait};
use serde::{Deserialize, Serialize};

use crate::carry::Carry;

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

/// Where a clock stood that nobody sets: a driver that takes over on the same boot tells by it how much time passed, whatever
/// the machine's date says by then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awake {
    /// Which boot of which machine.
    pub boot: String,
    /// Milliseconds that the machine was awake since.
    pub ms: u64,
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
        /// Of a retry: what it takes over from the run before it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        carried: Option<Box<Carry>>,
        /// A step that fails in a pod keeps it so many milliseconds, until somebody decides.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep_ms: Option<u64>,
    },
    /// A driver took the run over; frames of older epochs are refused from here on.
    Adopted {
        /// 1 for the first driver.
        epoch: u64,
        /// Where the clock of its machine stood, of which the event's own time is the other side.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        awake: Option<Awake>,
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
    /// A node did not run again: it succeeded in another run, and what it gave there is known here.
    NodeCarried {
        /// The node.
        node: NodeId,
        /// The run in which it ran.
        run: String,
        /// Its end there.
        status: Status,
        /// What else was said of its end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
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
    /// A pod was lost that was ready and in which nothing had begun: its Initialize, which was over, begins again, for another pod.
    InitializeAgain {
        /// The Initialize.
        node: NodeId,
    },
    /// The workspace of a group whose steps are over is kept for another group.
    WorkspaceKept {
        /// The group.
        group: NodeId,
        /// Of its archive.
        bytes: u64,
    },
    /// It cannot be kept: whoever is to take it over fails.
    WorkspaceLost {
        /// The group.
        group: NodeId,
        /// Why.
        reason: String,
    },
    /// The workspace of another group is in this one's pod, in which no step has begun.
    WorkspaceGiven {
        /// The group that took it over.
        group: NodeId,
        /// Of its archive.
        bytes: u64,
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
    /// A user or the driver's owner asked the run to change its course.
    Interrupted {
        /// What was asked.
        interrupt: Interrupt,
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
    /// A condition was evaluated: a node's `when` before it is entered, or a retry's after it failed.
    Judged {
        /// The node.
        node: NodeId,
        /// Whether it holds, or why that cannot be said.
        answer: Result<bool, Failure>,
    },
    /// What a node needs cannot be had or made: its children, its pod, its container. It never began.
    Failed {
        /// The node.
        node: NodeId,
        /// Why.
        failure: Failure,
    },
    /// It was decided what becomes of a failure.
    FailureHandled {
        /// What failed.
        node: NodeId,
        /// Why it failed.
        failure: Failure,
        /// Its end, where the failure stands.
        status: Status,
        /// What becomes of it.
        handling: Handling,
        /// Who decided.
        by: By,
    },
    /// A failed node is tried again.
    RetryBegun {
        /// The node.
        node: NodeId,
    },
    /// A step group begins again: all in it is as if it had not been entered, only attempts are counted on.
    GroupRetried {
        /// The group.
        group: NodeId,
    },
    /// What a stage or a group did is undone. The node is new: a child of what is rolled back, or, where that is over, of the
    /// pipeline.
    RollbackStarted {
        /// What is rolled back.
        of: NodeId,
        /// Its children are the rollback steps.
        node: Node,
    },
    /// A node is over.
    NodeFinished {
        /// The node.
        node: NodeId,
        /// Its end.
        status: Status,
        /// Why, unless it succeeded; for a skipped node, where a failure or an interrupt before it skipped it.
        failure: Option<Failure>,
        /// What else is worth saying: why its `when` skipped it, or who made a success of a failure.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
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
    /// Nobody said it: a time was reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,
    /// Why, for others to read.
    pub comment: String,
    /// What they entered.
    pub inputs: std::collections::BTreeMap<String, String>,
}

/// What becomes of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handling {
    /// It does not matter.
    Ignore,
    /// It counts as a success.
    MarkAsSuccess,
    /// It stands.
    MarkAsFailure,
    /// The run ends.
    Abort,
    /// Tried again, in the same container.
    Retry {
        /// 1 for the first retry.
        number: u32,
        /// At most; none where a person asked for it.
        of: Option<u32>,
        /// Not before, milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// The step group around it begins again, in a new pod where it has one.
    RetryStepGroup {
        /// The group.
        group: NodeId,
        /// 1 for the first retry.
        number: u32,
        /// At most; none where a person asked for it.
        of: Option<u32>,
        /// Not before, milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// What this node did is undone: a stage, a group, or all stages.
    Rollback {
        /// What is rolled back.
        of: NodeId,
    },
    /// A person is asked.
    Ask {
        /// Until then, milliseconds since the Unix epoch.
        until_ms: u64,
        /// What is done after that.
        then: Action,
    },
}

/// Who decided what becomes of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    /// The failure strategy that is written at this node.
    Strategy(NodeId),
    /// A person.
    Person,
    /// Nobody answered in time.
    Timeout,
    /// Whoever began the run wants the pod of a failed step to be kept.
    Keep,
}

/// What may be asked of a run from outside: by the terminal, or by another command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interrupt {
    /// End it: steps get SIGTERM, their grace, SIGKILL.
    Abort,
    /// End it now.
    Kill,
    /// Enter nothing more until it is resumed; what runs goes on.
    Pause,
    /// Go on.
    Resume,
    /// About one node.
    Node {
        /// The node.
        node: NodeId,
        /// What is asked.
        action: Intervention,
    },
}

/// What a person may ask about one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intervention {
    /// End it, whatever is in it; what follows is decided as after a failure.
    Abort,
    /// A running step: it failed (`UserMarkedFailure`). One that waits for a decision: its failure stands.
    MarkAsFailure,
    /// One that waits for a decision counts as a success.
    MarkAsSuccess,
    /// One that waits for a decision failed, and that does not matter.
    Ignore,
    /// One that waits for a decision is tried again.
    Retry,
    /// The step group of one that waits for a decision begins again.
    RetryStepGroup,
    /// The stage of one that waits for a decision is rolled back.
    StageRollback,
    /// The step group of one that waits for a decision is rolled back.
    StepGroupRollback,
    /// All stages are rolled back.
    PipelineRollback,
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
