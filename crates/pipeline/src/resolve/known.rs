//! What is known of a run, as far as this crate needs it.

use std::collections::BTreeMap;

use syntax::expr::Value;

use crate::model::{Entities, Pipeline};
use crate::plan::NodeId;

/// Everything that an answer of this crate depends on.
#[derive(Debug, Clone, Copy)]
pub struct World<'m> {
    /// What is written.
    pub pipeline: &'m Pipeline,
    /// Connectors and secrets beside it.
    pub entities: &'m Entities,
    /// What is known of the run.
    pub known: &'m Known,
}

/// What is known of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    /// The run's id: `<+pipeline.executionId>`.
    pub run: String,
    /// Its number: `<+pipeline.sequenceId>`.
    pub sequence: Option<u64>,
    /// When it was created, milliseconds since the Unix epoch: `<+pipeline.startTs>`, and the clock of `datetime`.
    pub created_ms: Option<u64>,
    /// The account's id.
    pub account: Option<String>,
    /// By node; one that was not entered yet is not there.
    pub nodes: BTreeMap<NodeId, Fact>,
}

/// What is known of one node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fact {
    /// `SUCCEEDED`, `FAILED`, …, as expressions spell it; none while it runs.
    pub status: Option<String>,
    /// Attempts after the first.
    pub retries: u32,
    /// Its output variables. A secret one is a [`Value::Secret`] with whatever reference the caller knows it by.
    pub outputs: BTreeMap<String, Value>,
}
