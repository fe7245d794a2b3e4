//! What a retry takes over from the run before it: what succeeded is not run again.
//!
//! [`plan`] decides it once, from that run's end. The first event of the new run keeps the answer, so that neither its text nor
//! the run before it is asked again; [`crate::event::Event::NodeCarried`] ends each such node when its turn comes.
//!
//! In order, nothing after the first node that runs again is carried. Side by side, what succeeded is. What a step left in a pod
//! is gone with the pod: in a group that runs again its Initialize, its Background and its GitClone steps run again, and so
//! do steps that meet or queue with others.

use std::collections::BTreeMap;

use pipeline::plan::{Iteration, Kind, NodeId, Order, Wait};
use serde::{Deserialize, Serialize};

use crate::event::Status;
use crate::facts::{Facts, Value};
use crate::phase::Phase;
use crate::state::{Place, State, Undo};

/// What a run takes over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Carry {
    /// The run that is retried.
    pub run: String,
    /// What was carried, with all that is in it.
    pub nodes: BTreeMap<NodeId, Carried>,
}

/// A node as it was in the run before, or in one before that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// The run in which it ran.
    pub run: String,
    /// Its end.
    pub status: Status,
    /// What else was said of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When it was entered there, milliseconds since the Unix epoch; 0 where it was not.
    pub started_ms: u64,
    /// When it was over.
    pub ended_ms: u64,
    /// Attempts that were begun there.
    pub attempts: u32,
    /// Its output variables; of a secret one nothing is known but its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Option<String>>,
    /// Of an iteration: which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iteration: Option<Box<Iteration>>,
    /// Of a group whose workspace was kept there: bytes of its archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<u64>,
}

/// Why a run cannot be retried from a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The run has no such node, or it is one that a run makes by itself.
    Unknown,
    /// This one is before it, and did not succeed: it has to run again first.
    Behind(NodeId),
}

/// The stage that a retry begins with where nothing else is said: the first that did not succeed. The root where no stage was
/// begun.
pub fn failed(state: &State) -> Option<NodeId> {
    let mut at = state.root.clone()?;
    loop {
        let children = state
            .nodes
            .get(&at)?
            .children
            .as_deref()
            .unwrap_or_default();
        let bad = children.iter().find(|id| {
            let place = state.nodes.get(*id);
            place.is_some_and(|place| place.node.kind != Kind::Rollback && !succeeded(place))
        });
        match bad.and_then(|id| state.nodes.get_key_value(id)) {
            Some((id, place)) => match place.node.kind {
                Kind::Parallel | Kind::Loop if place.children.is_some() => at = id.clone(),
                _ => return Some(id.clone()),
            },
            None => return Some(at),
        }
    }
}

/// What a retry of an ended run takes over, if it begins with `from`.
pub fn plan(state: &State, facts: &Facts, from: &NodeId) -> Result<Carry, Refusal> {
    let mut planning = Planning {
        state,
        facts,
        from,
        nodes: BTreeMap::new(),
    };
    let undoes = |place: &Place| place.node.kind == Kind::Rollback;
    if !state.nodes.contains_key(from) || state.upwards(from).any(|(_, place)| undoes(place)) {
        return Err(Refusal::Unknown);
    }
    // What was undone has to be done again, all of it.
    let undone = state.upwards(from).any(|(id, place)| {
        id != from && place.node.kind == Kind::Pipeline && place.undo != Undo::No
    });
    if let Some(root) = state.root.as_ref().filter(|root| *root != from && !undone) {
        planning.enter(root, false)?;
    }
    Ok(Carry {
        run: state.run.clone(),
        nodes: planning.nodes,
    })
}

struct Planning<'s> {
    state: &'s State,
    facts: &'s Facts,
    from: &'s NodeId,
    nodes: BTreeMap<NodeId, Carried>,
}

impl Planning<'_> {
    /// A node that is entered again, and what of it is carried. `pod`: it is in a pod, which is a new one. True: something in it
    /// runs again, so that nothing after it is carried.
    fn enter(&mut self, id: &NodeId, pod: bool) -> Result<bool, Refusal> {
        let state = self.state;
        let Some(place) = state.nodes.get(id) else {
            return Ok(true);
        };
        let pod = pod || place.is_pod_group();
        let in_order = place.node.order == Order::Sequence;
        let mut again = place.children.is_none();
        for child in place.children.as_deref().unwrap_or_default() {
            let Some(own) = state.nodes.get(child) else {
                continue;
            };
            match own.node.kind {
                Kind::Rollback | Kind::Initialize => continue,
                _ if again && in_order => return Ok(true),
                _ => {}
            }
            let way = below(child, self.from);
            // Left out because an iteration failed, not because it was not to run.
            let queued = place.node.skip_queued
                && place.bad.is_some()
                && own.status() == Some(Status::Skipped);
            if child == self.from {
                again = true;
            } else if effects(own, pod) {
                // It runs again however it ended.
            } else if succeeded(own) && !way && !queued {
                if self.whole(child, own, pod) {
                    self.carry(child);
                } else {
                    again |= self.enter(child, pod)?;
                }
            } else {
                // Where `from` is in what is in order here, it comes after this: else all had been said by now.
                let around = || state.upwards(self.from).any(|(own, _)| own == id);
                if in_order && !way && around() {
                    return Err(Refusal::Behind(child.clone()));
                }
                // Of what was undone nothing is left that could be carried.
                let parts = way || matches!(own.node.kind, Kind::Parallel | Kind::Loop);
                if parts && own.undo == Undo::No {
                    self.enter(child, pod)?;
                }
                again = true;
            }
        }
        Ok(again)
    }

    /// Whether a node can be carried with all that is in it.
    fn whole(&self, id: &NodeId, place: &Place, pod: bool) -> bool {
        // Stages are carried one by one: each of them may be rolled back with the pipeline.
        if self.state.stages.iter().any(|stage| below(id, stage)) {
            return false;
        }
        let pod = pod && !place.is_pod_group();
        let range = self.state.nodes.range(NodeId(format!("{id}."))..);
        let mut inside = range.take_while(|(own, _)| below(id, own));
        !inside.any(|(_, own)| {
            let waits = own.waiting.as_ref().map(|waiting| &waiting.wait);
            // A place in a queue that is held beyond this node has to be had again.
            let held = matches!(waits, Some(Wait::Queue { until, .. }) if until != id && !below(id, until));
            held || (pod && effects(own, pod))
        })
    }

    fn carry(&mut self, id: &NodeId) {
        for (own, fact) in self.facts.within(id) {
            let Some(status) = fact.status else { continue };
            let output = |value: &Value| match value {
                Value::Plain(text) => Some(text.clone()),
                Value::Secret(_) | Value::Forgotten => None,
            };
            let outputs = fact.outputs.iter();
            let iteration = self.facts.iterations.get(own);
            let carried = Carried {
                run: fact.run.clone().unwrap_or_else(|| self.state.run.clone()),
                status,
                why: fact.why.clone(),
                started_ms: fact.started_ms,
                ended_ms: fact.ended_ms.unwrap_or_default(),
                attempts: fact.attempts,
                outputs: outputs
                    .map(|(name, value)| (name.clone(), output(value)))
                    .collect(),
                iteration: iteration.map(|own| Box::new((**own).clone())),
                workspace: crate::workspace::bytes(self.state, own),
            };
            self.nodes.insert(own.clone(), carried);
        }
    }
}

/// Whether it counts as done: what was passed over because something else failed was not.
fn succeeded(place: &Place) -> bool {
    let passed_over = place.status() == Some(Status::Skipped) && place.failure.is_some();
    matches!(place.phase, Phase::Finished(status) if status.is_positive())
        && !passed_over
        && place.undo == Undo::No
}

/// Whether a node is somewhere in another.
pub(crate) fn below(around: &NodeId, id: &NodeId) -> bool {
    let rest = id.0.strip_prefix(&around.0);
    rest.is_some_and(|rest| rest.starts_with('.'))
}

/// A step whose effect is gone with its pod, or with its run.
fn effects(place: &Place, pod: bool) -> bool {
    let Kind::Step(step) = &place.node.kind else {
        return false;
    };
    match &*step.r#type {
        "Background" | "GitClone" => pod && place.status() != Some(Status::Skipped),
        "Queue" | "Barrier" => place.status() != Some(Status::Skipped),
        _ => step.background && pod,
    }
}
