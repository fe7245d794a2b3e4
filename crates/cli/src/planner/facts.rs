//! The facts of a run as the pipeline's expressions see them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::event::Status;
use engine::facts::{Facts, Value as Output};
use pipeline::plan::{Iteration, NodeId};
use pipeline::resolve::{Fact, Nodes, SecretRef};
use syntax::expr::Value;

/// In a [`SecretRef`]: the secret is not one of the store but an output of a step. No reference begins like that.
const OF_STEP: char = '\u{1}';

/// The facts, with the outputs that were given for steps which do not run.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    facts: &'a Facts,
    /// By step and name.
    given: &'a BTreeMap<(String, String), String>,
    asked: AtomicBool,
}

impl<'a> Seen<'a> {
    pub(super) fn new(facts: &'a Facts, given: &'a BTreeMap<(String, String), String>) -> Self {
        let asked = AtomicBool::new(false);
        Self {
            facts,
            given,
            asked,
        }
    }

    /// Whether an answer depends on anything of the run's nodes: it may be another later.
    pub(super) fn were_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    fn facts(&self) -> &'a Facts {
        self.asked.store(true, Ordering::Relaxed);
        self.facts
    }
}

impl Nodes for Seen<'_> {
    fn fact(&self, node: &NodeId) -> Option<Fact> {
        let mut fact = self
            .facts()
            .nodes
            .get(node)
            .map_or_else(Fact::default, |own| Fact {
                status: own
                    .status
                    .map(|status| word(status, own.rejected).to_owned()),
                begun: true,
                ran: own.attempts > 0,
                retries: own.attempts.saturating_sub(1),
                outputs: own
                    .outputs
                    .iter()
                    .map(|(name, value)| (name.clone(), output(node, name, value)))
                    .collect(),
            });
        let identifier = node.0.rsplit('.').next().unwrap_or(&node.0);
        for ((step, name), value) in self.given {
            if step == identifier {
                fact.outputs
                    .insert(name.clone(), Value::from(value.as_str()));
            }
        }
        (fact != Fact::default()).then_some(fact)
    }

    fn iteration(&self, node: &NodeId) -> Option<Arc<Iteration>> {
        self.facts().iterations.get(node).cloned()
    }

    fn input(&self, step: &NodeId, name: &str) -> Option<String> {
        self.facts().inputs.get(step)?.get(name).cloned()
    }

    fn iterations(&self, node: &NodeId) -> Option<Vec<Arc<Iteration>>> {
        let mut all: Vec<_> = self
            .facts()
            .iterations(node)
            .map(|(_, iteration)| iteration.clone())
            .collect();
        all.sort_by_key(|own| own.index);
        (!all.is_empty()).then_some(all)
    }

    fn below(&self, node: &NodeId) -> Vec<String> {
        let over = self.facts().iterations(node).filter_map(|(id, _)| {
            let fact = self.facts().nodes.get(id)?;
            Some(word(fact.status?, fact.rejected).to_owned())
        });
        over.collect()
    }

    fn over_before(&self, node: &NodeId, group: &NodeId) -> bool {
        self.facts().over_before(node, group)
    }
}

fn output(node: &NodeId, name: &str, value: &Output) -> Value {
    match value {
        Output::Plain(text) => text.as_str().into(),
        Output::Secret(_) | Output::Forgotten => {
            Value::Secret(SecretRef(format!("{OF_STEP}{node}{OF_STEP}{name}").into()))
        }
    }
}

/// The step and the output that a secret is; none: it is one of the store.
pub(super) fn output_of(secret: &SecretRef) -> Option<(NodeId, &str)> {
    let (node, name) = secret.0.strip_prefix(OF_STEP)?.split_once(OF_STEP)?;
    Some((NodeId::from(node), name))
}

/// The engine's spelling, which expressions see.
fn word(status: Status, rejected: bool) -> &'static str {
    match status {
        Status::Failed if rejected => "APPROVAL_REJECTED",
        Status::Success => "SUCCEEDED",
        Status::Failed => "FAILED",
        Status::IgnoreFailed => "IGNORE_FAILED",
        Status::Aborted => "ABORTED",
        Status::Expired => "EXPIRED",
        Status::Skipped => "SKIPPED",
    }
}
