//! What a step that runs nowhere waits for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::NodeId;
use crate::model::Input;

/// The output of an approval that says who answered it, a JSON list as text: expressions see it as a list,
/// `output.approvalActivities[0].user.name`.
pub const ACTIVITIES: &str = "approvalActivities";

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
    /// A person starts the node, or gives what it asks for. Any node may wait so, before it begins.
    Start(Box<Gate>),
}

/// What has to be given before a node begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Inputs that are asked for now; none of a stage that a person starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Question>,
    /// How long it waits.
    pub timeout_ms: u64,
}

/// An input that is asked for when its step is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its place below the step's `spec`.
    pub name: String,
    /// As written: `<+input>.allowedValues(a,b).executionInput()`.
    pub input: String,
}

impl Question {
    /// What may be given; a journal holds only what could be understood.
    pub fn input(&self) -> Input {
        Input::parse(&self.input).unwrap_or_default()
    }
}

impl Gate {
    /// The values of its inputs, defaults in the place of what is not given; the name of the first that lacks one.
    pub fn values(
        &self,
        given: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, String> {
        let mut values = BTreeMap::new();
        for own in &self.inputs {
            let value = given.get(&own.name).cloned();
            match value.or_else(|| own.input().default) {
                Some(value) => values.insert(own.name.clone(), value),
                None => return Err(own.name.clone()),
            };
        }
        Ok(values)
    }
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
    /// `autoApproval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto: Option<Auto>,
}

/// An approval that is given by itself where nobody answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auto {
    /// When: milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The same as it is written, with its zone.
    pub when: String,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
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
    /// Several of the allowed, with commas between them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub many: bool,
    /// What the whole of it must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

impl Entry {
    /// What is to be entered instead of a text that is not allowed; none where it is.
    pub fn refuses(&self, text: &str) -> Option<String> {
        let input = Input {
            allowed: Some(self.allowed.clone()).filter(|allowed| !allowed.is_empty()),
            many: self.many,
            regex: self.regex.clone(),
            ..Input::default()
        };
        input.refuses(text)
    }
}
