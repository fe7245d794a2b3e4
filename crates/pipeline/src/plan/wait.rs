//! What a step that runs nowhere waits for.

use serde::{Deserialize, Serialize};

use super::NodeId;

/// What a step waits for, resolved when it is entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// Time passes.
    Time {
        /// Milliseconds from when the step was entered.
        ms: u64,
    },
    /// All that meet at a barrier are there.
    Barrier {
        /// `barrierRef`.
        barrier: String,
        /// The other steps that meet there.
        with: Vec<NodeId>,
    },
    /// Its turn in a queue of this machine's runs.
    Queue {
        /// `key`.
        key: String,
        /// The place is held until this node is over.
        until: NodeId,
    },
    /// People say yes, or one of them no.
    Approval(Box<Approval>),
}

/// What people are asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// `approvalMessage`.
    pub message: String,
    /// `includePipelineExecutionHistory`.
    pub history: bool,
    /// `approvers.userGroups`: for people to read.
    pub groups: Vec<String>,
    /// `approvers.minimumCount`: how many different people have to say yes.
    pub minimum: u32,
    /// `approvers.disallowPipelineExecutor`.
    pub not_executor: bool,
    /// `approverInputs`.
    pub inputs: Vec<Entry>,
}

/// One of `approverInputs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Where nothing is entered.
    pub default: String,
    /// It must not be empty.
    pub required: bool,
    /// What may be entered; empty: anything.
    pub allowed: Vec<String>,
}
