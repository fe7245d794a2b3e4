//! What reaches the engine.

use addon::frame::Record;
use pipeline::plan::{Node, NodeId, Wait};

use crate::carry::Carry;
use crate::event::{Answer, Awake, Failure, Interrupt};

/// What is wanted of a run beside what is written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wishes {
    /// Of a retry: what it takes over.
    pub carried: Option<Box<Carry>>,
    /// A step that fails in a pod keeps it so many milliseconds: until somebody decides what becomes of that.
    pub keep_ms: Option<u64>,
}

/// What reaches the engine. Inputs may come twice or too late: those mean nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A run is to be.
    Create {
        /// Its id.
        run: String,
        /// Its root.
        root: Box<Node>,
        /// The clock of its first driver's machine.
        awake: Option<Awake>,
        /// What else is wanted of it.
        wishes: Wishes,
    },
    /// A new owner took the run over.
    Adopt {
        /// The clock of its machine.
        awake: Option<Awake>,
    },
    /// Time passed, or nothing happened.
    Now,
    /// Somebody wants something of it.
    Interrupt(Interrupt),
    /// The answer to [`crate::Effect::Judge`].
    Judged {
        /// The node.
        node: NodeId,
        /// Whether the condition holds, or what is wrong with it.
        answer: Result<bool, Failure>,
    },
    /// The answer to [`crate::Effect::Expand`].
    Expanded {
        /// The node.
        node: NodeId,
        /// Its children, or what the user wrote wrong.
        children: Result<Vec<Node>, Failure>,
    },
    /// The answer to [`crate::Effect::NamePod`].
    PodNamed {
        /// The group.
        group: NodeId,
        /// The pod's name, or why there can be none.
        pod: Result<String, Failure>,
    },
    /// Every image can be had and lite-engine answers.
    PodReady {
        /// The group.
        group: NodeId,
        /// Of this pod.
        pod: String,
    },
    /// The answer to [`crate::Effect::KeepWorkspace`].
    WorkspaceKept {
        /// The group.
        group: NodeId,
        /// From this pod.
        pod: String,
        /// Bytes of its archive, or why there is none.
        result: Result<u64, String>,
    },
    /// The workspace that a group takes over is in its pod.
    WorkspaceGiven {
        /// The group.
        group: NodeId,
        /// In this pod.
        pod: String,
        /// Bytes of its archive, or why it cannot be.
        result: Result<u64, String>,
    },
    /// The pod cannot be made.
    PodFailed {
        /// The group.
        group: NodeId,
        /// This one.
        pod: String,
        /// Why. An [`ErrorKind::InfrastructureFailure`] is tried again with another pod.
        failure: Failure,
    },
    /// The pod is no more.
    PodLost {
        /// The group.
        group: NodeId,
        /// This one.
        pod: String,
        /// Why.
        reason: String,
    },
    /// The pod is removed.
    PodDeleted {
        /// The group.
        group: NodeId,
        /// This one.
        pod: String,
    },
    /// The pod cannot be removed.
    PodLeft {
        /// The group.
        group: NodeId,
        /// This one.
        pod: String,
        /// Why.
        reason: String,
    },
    /// The step's addon waits for it: the start may be sent.
    Starting {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
    },
    /// The step cannot be started: its container, or what it says.
    StartFailed {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// Why.
        failure: Failure,
    },
    /// The step's process runs.
    Started {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// By the container's clock.
        started_ms: u64,
    },
    /// A Background step is ready.
    Ready {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// Set where its probe's deadline passed.
        warning: Option<String>,
    },
    /// The step's record. Secret outputs are taken out of the event here.
    Finished {
        /// The step.
        step: NodeId,
        /// The record.
        record: Box<Record>,
    },
    /// The answer to [`crate::Effect::AskWait`].
    Waits {
        /// The step.
        node: NodeId,
        /// What it waits for, or what the user wrote wrong.
        wait: Result<Wait, Failure>,
    },
    /// The answer to [`crate::Effect::Queue`]: its turn has come, or why it never will.
    Admitted {
        /// The step.
        node: NodeId,
        /// Which.
        result: Result<(), Failure>,
    },
    /// Somebody answers an approval; what means nothing ([`crate::answer`]) is passed over.
    Answer {
        /// The step.
        node: NodeId,
        /// What they say.
        answer: Answer,
    },
    /// There will be no record.
    AttemptLost {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// Why.
        reason: Failure,
        /// Bytes of its output that are stored.
        stored: u64,
    },
}
