//! Barriers that nobody can pass are found before anything runs.
//!
//! The steps of a barrier wait until all of them are there. So they have to be in branches that run side by side, each in a branch of its
//! own; and no two barriers may be passed in different orders by the branches that meet at both.

use std::collections::{BTreeMap, BTreeSet};

use syntax::{Diagnostic, Span, code};

use crate::model::{Param, Pipeline, StepSpec};

use super::{NodeId, Place, What};

/// A step that waits at a barrier.
struct Party {
    barrier: String,
    span: Span,
    id: NodeId,
    /// From the root to it: each place, whether its children run side by side.
    way: Vec<(NodeId, bool)>,
}

/// The other steps that meet `step` at its barrier, in the order of the text.
pub(crate) fn others(pipeline: &Pipeline, step: &NodeId, barrier: &str) -> Vec<NodeId> {
    parties(pipeline)
        .into_iter()
        .filter(|party| party.barrier == barrier && party.id != *step)
        .map(|party| party.id)
        .collect()
}

fn parties(pipeline: &Pipeline) -> Vec<Party> {
    let all = Place::all(pipeline);
    let found = all.iter().filter_map(|place| {
        let What::Step(step) = place.what else {
            return None;
        };
        let StepSpec::Barrier(spec) = &step.spec else {
            return None;
        };
        let Some(Param::Literal(barrier)) = &spec.barrier else {
            return None;
        };
        let way = Place::way(pipeline, &place.id)?;
        Some(Party {
            barrier: barrier.value.clone(),
            span: barrier.span,
            id: place.id.clone(),
            way: way
                .iter()
                .map(|place| (place.id.clone(), place.is_parallel()))
                .collect(),
        })
    });
    found.collect()
}

/// Whether two steps can wait at the same time: where their ways part, the branches run side by side.
fn side_by_side(a: &Party, b: &Party) -> bool {
    let shared = a.way.iter().zip(&b.way).take_while(|(a, b)| a.0 == b.0);
    shared.last().is_some_and(|((_, parallel), _)| *parallel)
}

/// Barriers at which a run would stand for ever, each told once.
pub fn deadlocks(pipeline: &Pipeline) -> Vec<Diagnostic> {
    let parties = parties(pipeline);
    let mut found = Vec::new();
    let mut by_barrier: BTreeMap<&str, Vec<&Party>> = BTreeMap::new();
    for party in &parties {
        by_barrier.entry(&party.barrier).or_default().push(party);
    }
    let declared: Vec<&str> = pipeline
        .flow_control
        .iter()
        .flat_map(|own| &own.barriers)
        .map(|own| own.identifier.as_str())
        .collect();
    let mut sound = true;
    for (barrier, parties) in &by_barrier {
        if !declared.contains(barrier) {
            sound = false;
            found.push(
                Diagnostic::error(
                    code::BARRIER,
                    format!("the barrier `{barrier}` is not declared"),
                )
                .at(parties[0].span, "")
                .help("add it to `flowControl.barriers` of the pipeline"),
            );
        }
        if let [only] = parties[..] {
            sound = false;
            found.push(
                Diagnostic::error(
                    code::BARRIER,
                    format!(
                        "a deadlock: only one step reaches the barrier `{barrier}`, and would wait there for ever"
                    ),
                )
                .at(only.span, "nobody else comes here")
                .help("add a Barrier step with this `barrierRef` to a parallel stage or group, or remove this one"),
            );
        }
        for (at, one) in parties.iter().enumerate() {
            let later = parties[at + 1..].iter();
            if let Some(other) = later.clone().find(|other| !side_by_side(one, other)) {
                sound = false;
                found.push(
                    Diagnostic::error(
                        code::BARRIER,
                        format!(
                            "a deadlock: two steps wait at the barrier `{barrier}`, and one of them begins only after the other has passed it"
                        ),
                    )
                    .at(one.span, "it waits here")
                    .at(other.span, "for one that comes later")
                    .help("put the two into branches of one `parallel` block"),
                );
                break;
            }
        }
    }
    if sound && let Some((first, second)) = crossing(&parties) {
        found.push(
            Diagnostic::error(
                code::BARRIER,
                format!(
                    "a deadlock: the barriers `{}` and `{}` are reached in different orders",
                    first.barrier, second.barrier
                ),
            )
            .at(first.span, format!("`{}` comes first here", first.barrier))
            .at(second.span, format!("and here `{}` does", second.barrier))
            .help("let every branch reach them in the same order"),
        );
    }
    found
}

/// Two barriers each of which is waited for by somebody before the other, at times over several more.
fn crossing(parties: &[Party]) -> Option<(&Party, &Party)> {
    // An edge from each party to those that the same branch reaches after it, with the party where that is so.
    let mut after: BTreeMap<&str, Vec<(&str, &Party)>> = BTreeMap::new();
    for (at, one) in parties.iter().enumerate() {
        for later in &parties[at + 1..] {
            if one.barrier != later.barrier && !side_by_side(one, later) {
                after
                    .entry(&one.barrier)
                    .or_default()
                    .push((&later.barrier, one));
            }
        }
    }
    for (first, edges) in &after {
        for (second, here) in edges {
            let mut open = vec![*second];
            let mut seen = BTreeSet::new();
            while let Some(barrier) = open.pop() {
                if !seen.insert(barrier) {
                    continue;
                }
                for (next, there) in after.get(barrier).into_iter().flatten() {
                    if next == first {
                        return Some((here, there));
                    }
                    open.push(next);
                }
            }
        }
    }
    None
}
