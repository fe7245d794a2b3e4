//! What is known of a run, as far as this crate needs it.

use std::collections::BTreeMap;
use std::sync::Arc;

use syntax::expr::Value;

use crate::model::{Entities, Pipeline};
use crate::plan::{Iteration, NodeId};

/// Everything that an answer of this crate depends on.
#[derive(Debug, Clone, Copy)]
pub struct World<'m> {
    /// What is written.
    pub pipeline: &'m Pipeline,
    /// Connectors and secrets beside it.
    pub entities: &'m Entities,
    /// What is known of the run.
    pub known: &'m Known,
    /// What is known of its nodes.
    pub nodes: &'m dyn Nodes,
}

/// Facts of nodes, asked for one by one: a step reads few of what may be thousands.
pub trait Nodes: std::fmt::Debug + Sync {
    /// Of one node; none for one that was not entered yet.
    fn fact(&self, node: &NodeId) -> Option<Fact>;

    /// Of the iteration that a node is; none for any other, or while its loop was not entered.
    fn iteration(&self, node: &NodeId) -> Option<Arc<Iteration>> {
        let _ = node;
        None
    }

    /// What was given for an input that was asked for when a step was reached; none while it was not.
    fn input(&self, step: &NodeId, name: &str) -> Option<String> {
        let _ = (step, name);
        None
    }

    /// The iterations of a loop, in order; none while it was not entered.
    fn iterations(&self, node: &NodeId) -> Option<Vec<Arc<Iteration>>> {
        let _ = node;
        None
    }

    /// What became of the iterations of a loop that are over.
    fn below(&self, node: &NodeId) -> Vec<String> {
        let _ = node;
        Vec::new()
    }

    /// A node was over when a group was entered, or is over while the group was not entered yet. What a group's pod is made
    /// of depends on such nodes alone, so that it is the same whenever it is asked for.
    fn over_before(&self, node: &NodeId, group: &NodeId) -> bool {
        let _ = group;
        self.fact(node).is_some_and(|fact| fact.status.is_some())
    }
}

/// What was known when a group was entered.
#[derive(Debug)]
pub(crate) struct AsOf<'n> {
    pub(crate) inner: &'n dyn Nodes,
    pub(crate) group: &'n NodeId,
}

impl Nodes for AsOf<'_> {
    fn fact(&self, node: &NodeId) -> Option<Fact> {
        self.inner
            .over_before(node, self.group)
            .then(|| self.inner.fact(node))?
    }

    fn iteration(&self, node: &NodeId) -> Option<Arc<Iteration>> {
        self.inner.iteration(node)
    }

    fn iterations(&self, node: &NodeId) -> Option<Vec<Arc<Iteration>>> {
        self.inner.iterations(node)
    }
}

impl Nodes for BTreeMap<NodeId, Fact> {
    fn fact(&self, node: &NodeId) -> Option<Fact> {
        self.get(node).cloned()
    }
}

/// Roots of what began a run: a trigger, what it brought with it, the code that it is about.
pub const EVENT: [&str; 3] = ["trigger", "eventPayload", "codebase"];

/// What is known of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    /// The run's id: `<+pipeline.executionId>`.
    pub run: String,
    /// Its number: `<+pipeline.sequenceId>`.
    pub sequence: Option<u64>,
    /// The run that it is a retry of: `<+pipeline.resumedExecutionId>`.
    pub resumed: Option<String>,
    /// When it was created, milliseconds since the Unix epoch: `<+pipeline.startTs>`, and the clock of `datetime`.
    pub created_ms: Option<u64>,
    /// The account's id.
    pub account: Option<String>,
    /// Who began it.
    pub user: Option<String>,
    /// What whoever began it says of an event that did not happen, by path: `trigger.branch`. See [`EVENT`].
    pub event: BTreeMap<String, String>,
    /// Working trees that stand in for clones.
    pub trees: Vec<Tree>,
    /// The file store, by path: `/p`, `org:/p`, `account:/p`.
    pub files: Arc<BTreeMap<String, Arc<[u8]>>>,
}

/// A working tree of this machine in place of a clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// What it stands in for: a GitClone step's identifier, a repository's name or its last part, a URL or its last part.
    pub repo: String,
    /// Where it is on this machine, absolute.
    pub path: String,
}

/// What is known of one node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fact {
    /// `SUCCEEDED`, `FAILED`, …, as expressions spell it; none while it runs.
    pub status: Option<String>,
    /// It was entered.
    pub begun: bool,
    /// It was begun at least once.
    pub ran: bool,
    /// Attempts after the first.
    pub retries: u32,
    /// Its output variables. A secret one is a [`Value::Secret`] with whatever reference the caller knows it by.
    pub outputs: BTreeMap<String, Value>,
}
