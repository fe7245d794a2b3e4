//! Nodes of a run: what the engine orders and what a person sees.
//!
//! A node is expanded when it is entered, and the expansion is an event of the run; so the tree of a run grows
//! as it goes and never changes what was there.

mod axes;
pub(crate) mod barriers;
mod condition;
mod deadline;
mod delegate;
mod expand;
mod failure;
mod looping;
mod place;
mod runs;
mod seats;
mod several;
#[cfg(test)]
mod tests;
mod unsupported;
mod wait;
mod workspace;
mod written;

pub use axes::Axes;
pub use barriers::deadlocks;
pub(crate) use condition::known_false_at;
pub use condition::{When, WhenStatus, does_not_hold, judge, known_skip};
pub use deadline::over;
pub(crate) use deadline::{at as deadline, wrong as wrong_deadlines};
pub use expand::{GATE_TIMEOUT_MS, STEP_TIMEOUT_MS, expand, root};
pub use failure::{Action, ErrorKind, Errors, Retry, Strategy};
pub(crate) use looping::manner_limit;
pub use looping::{Iteration, Level, MAX_ITERATIONS, iterations};
pub use place::{Body, Place, ROLLBACK, ROOT, What};
pub use runs::{Runs, runs};
pub(crate) use several::is_several as several;
pub use unsupported::{unsupported, unsupported_at};
pub use wait::{ACTIVITIES, Approval, Auto, Entry, Gate, Question, Wait};
pub use workspace::handed_over;
pub use written::Written;

use serde::{Deserialize, Serialize};

/// The place of a node in its pipeline, unique in a run and the same in every run of the same text:
/// `pipeline`, `stages.deploy`, `stages.deploy.steps.build_group`, `stages.deploy.steps.build_group.steps.compile`,
/// `stages.deploy.rollbackSteps.undo`. What has a `strategy` is a loop in its own place, and its iterations are in it:
/// `….steps.compile.compile_0`. A `parallel` block, which has no identifier, takes its position, from 1: `….steps.parallel2`, and what is in it follows:
/// `….steps.parallel2.test`. The synthetic first child of a containerized group is `….build_group.Initialize`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub String);

impl NodeId {
    /// What this undoes: of `….rollbackSteps` what is before it.
    pub fn undone(&self) -> Option<Self> {
        let (of, last) = self.0.rsplit_once('.')?;
        (last == ROLLBACK).then(|| Self(of.to_owned()))
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for NodeId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The root.
    Pipeline,
    /// A stage of the type that the YAML names (`Deployment`, `Custom`).
    Stage(String),
    /// A step group; `pod` where it is containerized.
    StepGroup {
        /// It runs in one pod of its own.
        pod: bool,
    },
    /// A `parallel` block.
    Parallel,
    /// The iterations of what has a `strategy`.
    Loop,
    /// What undoes a stage, or a group: its `rollbackSteps`.
    Rollback,
    /// The synthetic first child of a containerized step group: its pod is made here.
    Initialize,
    /// A step.
    Step(Step),
}

/// What the engine needs to know of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// `type` in the YAML: `Run`, `Plugin`, …
    pub r#type: String,
    /// A Background step: what follows goes on once it is ready, and it ends with its group.
    pub background: bool,
    /// The container of the group's pod that it runs in; none for a step outside a pod.
    pub container: Option<String>,
}

impl Step {
    /// Where it does what it does.
    pub fn runs(&self) -> Runs {
        runs(&self.r#type)
    }
}

/// Whether children follow one another or run side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// One after the other; after a failure only what says so in its `when` is entered.
    Sequence,
    /// All at once; all end before the block does.
    Parallel,
}

/// One node of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its place.
    pub id: NodeId,
    /// What it is.
    pub kind: Kind,
    /// `identifier` in the YAML; empty for a `parallel` block.
    pub identifier: String,
    /// `name` in the YAML.
    pub name: String,
    /// How its children run.
    pub order: Order,
    /// Milliseconds it may take; none: no limit of its own.
    pub timeout_ms: Option<u64>,
    /// It is not to be entered, and why: known when what it is in was entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<String>,
    /// Whether it is entered when its turn comes; none: where nothing before it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// What becomes of a failure of it, or of what is in it; the first entry that holds counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strategies: Vec<Strategy>,
    /// Of a loop: how many of its children run at once; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Of a loop: once an iteration failed those that wait are skipped (`onFailure: SkipQueued`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_queued: bool,
    /// It has rollback steps.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rollback: bool,
    /// Of a loop in a pod whose iterations take turns: in so many containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    /// Of an iteration: which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iteration: Option<Box<Iteration>>,
    /// What a person gives before it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Box<Gate>>,
    /// Of a containerized group: its workspace is kept for another one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hands_over: bool,
    /// Of a containerized group: the one whose workspace it begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes_over: Option<NodeId>,
}

impl Node {
    /// What undoes this one, where it has rollback steps.
    #[must_use]
    pub fn undo(&self) -> Self {
        let id = NodeId(format!("{}.{ROLLBACK}", self.id));
        let name = format!("Rollback of {}", self.name);
        Self::new(id, Kind::Rollback, ROLLBACK, &name)
    }

    /// A node with nothing but its place: children one after the other, side by side in a block or a loop.
    pub fn new(id: NodeId, kind: Kind, identifier: &str, name: &str) -> Self {
        let order = match kind {
            Kind::Parallel | Kind::Loop => Order::Parallel,
            _ => Order::Sequence,
        };
        Self {
            id,
            kind,
            identifier: identifier.to_owned(),
            name: name.to_owned(),
            order,
            timeout_ms: None,
            skip: None,
            when: None,
            strategies: Vec::new(),
            limit: None,
            skip_queued: false,
            rollback: false,
            slots: None,
            iteration: None,
            gate: None,
            hands_over: false,
            takes_over: None,
        }
    }
}
