//! What is known of a run while it goes: what expressions of later nodes may read.
//!
//! A fold of the events beside [`crate::State`]. The values of secret outputs are in no event: the driver that received
//! a record puts them in with [`Facts::reveal`], and a driver that took the run over knows only that they were there.

use std::collections::BTreeMap;
use std::sync::Arc;

use addon::frame::Output;
use pipeline::plan::{ACTIVITIES, Approval, Gate, Iteration, NodeId, Wait};

use crate::carry::{Carried, below};
use crate::event::{Answer, ErrorKind, Event, Stamped, Status};
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
    /// Of every iteration of a loop that was entered.
    pub iterations: BTreeMap<NodeId, Arc<Iteration>>,
    /// What approvals ask for.
    pub approvals: BTreeMap<NodeId, Box<Approval>>,
    /// What is carried over from another run, until its turn comes.
    pub carried: BTreeMap<NodeId, Carried>,
    /// What is asked before nodes begin, and not answered yet.
    pub gates: BTreeMap<NodeId, Box<Gate>>,
    /// What was given for it.
    pub inputs: BTreeMap<NodeId, BTreeMap<String, String>>,
    /// Events that were taken in.
    pub seen: u64,
}

/// What is known of one node.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fact {
    /// When it was entered, milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// When it was over.
    pub ended_ms: Option<u64>,
    /// The number of the event by which it was entered, from 1.
    pub entered: u64,
    /// The number of the event by which it was over.
    pub ended: Option<u64>,
    /// Its end; none while it runs.
    pub status: Option<Status>,
    /// A person, or a script that asks for one, said no.
    pub rejected: bool,
    /// Attempts that were begun.
    pub attempts: u32,
    /// Its output variables by name, of its last attempt.
    pub outputs: BTreeMap<String, Value>,
    /// What else was said of its end.
    pub why: Option<String>,
    /// It was carried: the run in which it ran.
    pub run: Option<String>,
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

/// The list with one more answer.
fn with_activity(before: Option<&Value>, answer: &Answer, at_ms: u64) -> Option<String> {
    let mut all: Vec<serde_json::Value> = match before {
        Some(Value::Plain(text)) => serde_json::from_str(text).ok()?,
        _ => Vec::new(),
    };
    all.push(serde_json::json!({
        "user": {"name": answer.by, "email": answer.by},
        "action": if answer.approve { "APPROVE" } else { "REJECT" },
        "comments": answer.comment,
        "approvedAt": at_ms,
        "approverInputs": answer
            .inputs
            .iter()
            .map(|(name, value)| serde_json::json!({"name": name, "value": value}))
            .collect::<Vec<_>>(),
    }));
    serde_json::to_string(&all).ok()
}

/// Of a node and of what is in it.
fn within<'m, T>(
    all: &'m BTreeMap<NodeId, T>,
    node: &'m NodeId,
) -> impl Iterator<Item = (&'m NodeId, &'m T)> {
    let inside = all.range(NodeId(format!("{node}."))..);
    all.get_key_value(node)
        .into_iter()
        .chain(inside.take_while(move |(id, _)| below(node, id)))
}

impl Facts {
    /// Takes in what happened.
    pub fn apply(&mut self, stamped: &Stamped) {
        let at = stamped.at_ms;
        self.seen += 1;
        match &stamped.event {
            Event::RunCreated { run, carried, .. } => {
                self.run.clone_from(run);
                self.created_ms = at;
                if let Some(carry) = carried {
                    self.carried.clone_from(&carry.nodes);
                }
            }
            Event::NodeCarried { node, .. } => self.carry(node),
            Event::NodeStarted { node } => {
                let seen = self.seen;
                let fact = self.nodes.entry(node.clone()).or_default();
                fact.started_ms = at;
                fact.entered = seen;
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
            Event::Waiting {
                node,
                wait: Wait::Start(gate),
                ..
            } => {
                self.gates.insert(node.clone(), gate.clone());
            }
            Event::Answered { node, answer } if self.gates.contains_key(node) => {
                let values = self
                    .gates
                    .remove(node)
                    .and_then(|gate| gate.values(&answer.inputs).ok());
                self.inputs.insert(node.clone(), values.unwrap_or_default());
            }
            Event::Failed { node, .. } => {
                self.gates.remove(node);
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
                let activities = fact.outputs.get(ACTIVITIES);
                let Some(text) = with_activity(activities, answer, at) else {
                    return;
                };
                fact.outputs
                    .insert(ACTIVITIES.to_owned(), Value::Plain(text));
            }
            Event::Expanded { node: _, children } => {
                for child in children {
                    if let Some(iteration) = &child.iteration {
                        let iteration = Arc::new((**iteration).clone());
                        self.iterations.insert(child.id.clone(), iteration);
                    }
                }
            }
            Event::NodeFinished {
                node,
                status,
                why,
                failure,
            } => {
                let seen = self.seen;
                let fact = self.nodes.entry(node.clone()).or_default();
                fact.why.clone_from(why);
                fact.status = Some(*status);
                fact.rejected = failure
                    .as_ref()
                    .is_some_and(|own| own.error == ErrorKind::ApprovalRejection);
                fact.ended_ms = Some(at);
                fact.ended = Some(seen);
            }
            Event::InitializeAgain { node } => {
                let fact = self.nodes.entry(node.clone()).or_default();
                (fact.status, fact.ended_ms, fact.ended) = (None, None, None);
            }
            Event::GroupRetried { group } => {
                // It is as if nothing in it had been entered.
                self.nodes.retain(|id, _| !below(group, id));
                self.iterations.retain(|id, _| !below(group, id));
                self.carried.retain(|id, _| !below(group, id));
            }
            _ => {}
        }
    }

    /// A node's turn came, and it is carried with all that is in it: from here on it is known.
    fn carry(&mut self, node: &NodeId) {
        let known = within(&self.carried, node);
        let known: Vec<_> = known.map(|(id, _)| id.clone()).collect();
        for id in known {
            let Some(carried) = self.carried.remove(&id) else {
                continue;
            };
            if let Some(iteration) = carried.iteration {
                self.iterations.insert(id.clone(), Arc::from(iteration));
            }
            let output = |value: Option<String>| value.map_or(Value::Forgotten, Value::Plain);
            let outputs = carried.outputs.into_iter();
            let fact = Fact {
                rejected: false,
                started_ms: carried.started_ms,
                ended_ms: Some(carried.ended_ms),
                entered: self.seen,
                ended: Some(self.seen),
                status: Some(carried.status),
                attempts: carried.attempts,
                outputs: outputs.map(|(name, value)| (name, output(value))).collect(),
                why: carried.why,
                run: Some(carried.run),
            };
            self.nodes.insert(id, fact);
        }
    }

    /// What is known of a node and of what is in it.
    pub(crate) fn within<'f>(
        &'f self,
        node: &'f NodeId,
    ) -> impl Iterator<Item = (&'f NodeId, &'f Fact)> {
        within(&self.nodes, node)
    }

    /// A node was over when a group was entered; where the group was not entered yet, it is over.
    pub fn over_before(&self, node: &NodeId, group: &NodeId) -> bool {
        let Some(ended) = self.nodes.get(node).and_then(|fact| fact.ended) else {
            return false;
        };
        let entered = self.nodes.get(group).map(|fact| fact.entered);
        entered.is_none_or(|entered| entered == 0 || ended < entered)
    }

    /// What is directly below a loop, with its iteration.
    pub fn iterations<'f>(
        &'f self,
        node: &NodeId,
    ) -> impl Iterator<Item = (&'f NodeId, &'f Arc<Iteration>)> {
        let head = format!("{node}.");
        self.iterations
            .range(NodeId(head.clone())..)
            .take_while(move |(id, _)| id.0.starts_with(&head))
            .filter({
                let parts = node.0.matches('.').count() + 1;
                move |(id, _)| id.0.matches('.').count() == parts
            })
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
