//! What is known of a run while it goes: what expressions of later nodes may read.
//!
//! A fold of the events beside [`crate::State`]. The values of secret outputs are in no event: the driver that received
//! a record puts them in with [`Facts::reveal`], and a driver that took the run over knows only that they were there.

use std::collections::BTreeMap;

use addon::frame::Output;
use pipeline::plan::{Approval, NodeId, Wait};

use crate::event::{Event, Stamped, Status};
use crate::waits;

/// What is known of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// The run's id.
    pub run: String,
    /// When it was created, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// By node; one that was not entered yet is not there.
    pub nodes: BTreeMap<NodeId, Fact>,
    /// What approvals ask for.
    pub approvals: BTreeMap<NodeId, Box<Approval>>,
}

/// What is known of one node.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fact {
    /// When it was entered, milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// When it was over.
    pub ended_ms: Option<u64>,
    /// Its end; none while it runs.
    pub status: Option<Status>,
    /// Attempts that were begun.
    pub attempts: u32,
    /// Its output variables by name, of its last attempt.
    pub outputs: BTreeMap<String, Value>,
}

/// An output variable's value.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// For everybody to read.
    Plain(String),
    /// To be masked wherever it shows.
    Secret(String),
    /// A secret that a driver before this one received: no journal holds it. What needs it fails and says so.
    Forgotten,
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(text) => f.debug_tuple("Plain").field(text).finish(),
            Self::Secret(_) => f.write_str("Secret"),
            Self::Forgotten => f.write_str("Forgotten"),
        }
    }
}

impl Facts {
    /// Takes in what happened.
    pub fn apply(&mut self, stamped: &Stamped) {
        let at = stamped.at_ms;
        match &stamped.event {
            Event::RunCreated { run, .. } => {
                self.run.clone_from(run);
                self.created_ms = at;
            }
            Event::NodeStarted { node } => {
                self.nodes.entry(node.clone()).or_default().started_ms = at;
            }
            Event::AttemptStarting { step, attempt } => {
                let fact = self.nodes.entry(step.clone()).or_default();
                fact.attempts = attempt + 1;
                fact.outputs.clear();
            }
            Event::AttemptFinished { step, record } => {
                let fact = self.nodes.entry(step.clone()).or_default();
                fact.outputs = record
                    .outputs
                    .iter()
                    .map(|output| {
                        let value = if output.secret {
                            Value::Forgotten
                        } else {
                            Value::Plain(output.value.clone())
                        };
                        (output.name.clone(), value)
                    })
                    .collect();
            }
            Event::Waiting {
                node,
                wait: Wait::Approval(approval),
                ..
            } => {
                self.approvals.insert(node.clone(), approval.clone());
            }
            Event::Answered { node, answer } => {
                let entered = self
                    .approvals
                    .get(node)
                    .map_or_else(Vec::new, |approval| waits::entered(approval, answer));
                let fact = self.nodes.entry(node.clone()).or_default();
                for (name, value) in entered {
                    fact.outputs.insert(name, Value::Plain(value));
                }
            }
            Event::NodeFinished { node, status, .. } => {
                let fact = self.nodes.entry(node.clone()).or_default();
                fact.status = Some(*status);
                fact.ended_ms = Some(at);
            }
            _ => {}
        }
    }

    /// Puts the values of secret outputs in, which no event carries.
    pub fn reveal(&mut self, step: &NodeId, outputs: &[Output]) {
        let Some(fact) = self.nodes.get_mut(step) else {
            return;
        };
        for output in outputs.iter().filter(|output| output.secret) {
            fact.outputs
                .insert(output.name.clone(), Value::Secret(output.value.clone()));
        }
    }
}
