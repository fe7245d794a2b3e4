//! `when`: whether a node is entered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use syntax::expr;
use syntax::{Diagnostic, Span, Spanned};

use crate::model::{self, Element, Param, StageEntry};
use crate::resolve::{At, Fact, Nodes, Values, World};

use super::{Body, Iteration, NodeId, Place, What};

/// `when`, resolved as far as it can be before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct When {
    /// What must have become of what was before; none where only a condition is written.
    #[serde(default)]
    pub status: Option<WhenStatus>,
    /// An expression that must also hold, as it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// What must have become of what was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhenStatus {
    /// Nothing failed.
    Success,
    /// Something failed.
    Failure,
    /// Either way.
    All,
}

/// The `when` at a place: its own, and for an iteration that of its loop's `strategy`.
pub(super) fn when(place: &Place<'_>, values: &Values<'_, '_>) -> Option<When> {
    if place.is_parallel() {
        // What is in it decides for itself: it is entered after a failure, too, where anything in it may be.
        let status = runs_after_failure(place.what).then_some(WhenStatus::All);
        return status.map(|_| When {
            status,
            condition: None,
        });
    }
    let own = values.get(place.when(), "when");
    let status =
        own.as_ref().map(
            |own| match own.status.map_or(model::Status::Success, |own| own.value) {
                model::Status::Success => WhenStatus::Success,
                model::Status::Failure => WhenStatus::Failure,
                model::Status::All => WhenStatus::All,
            },
        );
    let says = |text: &Param<String>| {
        Some(text.text().trim().to_owned())
            .filter(|text| !matches!(text.as_str(), "" | "true" | "<+true>"))
    };
    let own = own.and_then(|own| says(own.condition.as_ref()?));
    let of_loop = place
        .is_iteration()
        .then(|| values.read(place.strategy(), "strategy"))
        .flatten()
        .and_then(|strategy| says(strategy.when.as_ref()?));
    let condition = match (own, of_loop) {
        (Some(own), Some(other)) => Some(format!("({own}) && ({other})")),
        (own, other) => own.or(other),
    };
    (status.is_some() || condition.is_some()).then_some(When { status, condition })
}

/// Whether anything in a block or a loop says that it runs after a failure.
fn runs_after_failure(what: What<'_>) -> bool {
    let says = |when: &Option<Param<model::When>>| {
        let own = when.as_ref().and_then(Param::literal);
        let status = own.and_then(|own| own.status.as_ref());
        status.is_some_and(|own| own.value != model::Status::Success)
    };
    match what {
        What::Loop(Body::Stage(stage)) => says(&stage.common.when),
        What::Loop(Body::Group(group)) => says(&group.when),
        What::Loop(Body::Step(step)) => says(&step.when),
        What::Stages(entries) => entries.iter().any(|entry| match entry {
            StageEntry::Stage(stage) => says(&stage.common.when),
            StageEntry::Parallel(block) => runs_after_failure(What::Stages(&block.stages)),
            StageEntry::Insert(_) => false,
        }),
        What::Elements(elements) => elements.iter().any(|element| match element {
            Element::Step(step) => says(&step.when),
            Element::Group(group) => says(&group.when),
            Element::Parallel(block) => runs_after_failure(What::Elements(&block.elements)),
            Element::Insert(_) => false,
        }),
        _ => false,
    }
}

/// Whether an expression holds at a node, by what is known. What is not known is null here, as in every condition
/// (`reference/behaviour.md` §13); what is no truth value holds unless it is empty or says `false` (§10).
pub fn judge(world: &World<'_>, node: &NodeId, text: &str) -> Result<bool, Vec<Diagnostic>> {
    match Place::of(world, node) {
        Some(place) => holds(world, &place, text),
        None => Err(Vec::new()),
    }
}

fn holds(world: &World<'_>, place: &Place<'_>, text: &str) -> Result<bool, Vec<Diagnostic>> {
    let values = Values::new(world, place);
    let holds = expr::parse_condition(text).and_then(|own| own.holds(&At { world, place }));
    let holds = holds.unwrap_or_else(|error| {
        let text = Spanned::new(text.to_owned(), span(world, place, text));
        values.failed(&text, "condition", &error);
        false
    });
    values.finish(holds)
}

/// Why a node whose condition is this is not run.
pub fn does_not_hold(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("its condition does not hold: {short}{more}")
}

/// Where a condition of a place is written; a retry's is told by the place itself.
fn span(world: &World<'_>, place: &Place<'_>, text: &str) -> Span {
    let own = place.when().and_then(Param::literal);
    own.and_then(|when| when.condition.as_ref())
        .filter(|own| own.text().trim() == text)
        .map_or_else(
            || place.span().unwrap_or(world.pipeline.span).head(1),
            Param::span,
        )
}

/// Whether the condition of a place is known to be false when its group is entered: it needs no container then. A
/// condition that reads what is not over by then is not known.
pub(super) fn known_false(world: &World<'_>, place: &Place<'_>, text: &str) -> bool {
    let early = Early {
        inner: world.nodes,
        missed: AtomicBool::new(false),
    };
    let world = World {
        nodes: &early,
        ..*world
    };
    let holds = holds(&world, place, text);
    holds == Ok(false) && !early.missed.load(Ordering::Relaxed)
}

/// Why a node is known not to run, whatever happens before it; none: it may run.
pub fn known_skip(world: &World<'_>, node: &NodeId) -> Option<String> {
    let place = Place::of(world, node)?;
    let values = Values::new(world, &place);
    let text = when(&place, &values)?.condition?;
    known_false(world, &place, &text).then(|| does_not_hold(&text))
}

/// Whether what is written as the condition of a place is known to be false, by a world as of the group's entry.
pub(crate) fn known_false_at(world: &World<'_>, place: &Place<'_>) -> bool {
    let values = Values::new(world, place);
    when(place, &values)
        .and_then(|when| when.condition)
        .is_some_and(|text| known_false(world, place, &text))
}

/// Remembers whether it was asked for what is not over.
#[derive(Debug)]
struct Early<'n> {
    inner: &'n dyn Nodes,
    missed: AtomicBool,
}

impl Nodes for Early<'_> {
    fn fact(&self, node: &NodeId) -> Option<Fact> {
        let fact = self.inner.fact(node);
        if fact.as_ref().is_none_or(|fact| fact.status.is_none()) {
            self.missed.store(true, Ordering::Relaxed);
        }
        fact
    }

    fn iteration(&self, node: &NodeId) -> Option<Arc<Iteration>> {
        self.inner.iteration(node)
    }

    fn iterations(&self, node: &NodeId) -> Option<Vec<Arc<Iteration>>> {
        self.inner.iterations(node)
    }
}
