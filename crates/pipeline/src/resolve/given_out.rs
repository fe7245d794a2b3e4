//! What steps without a script give out beside output variables (`reference/entities.md` §9), and the approval of a stage by its
//! short root.

use syntax::expr::{Lookup, Value};

use crate::model::StepSpec;
use crate::plan::{ACTIVITIES, Place, What};

use super::known::Fact;
use super::scope::{At, found, text, unknown};

/// What is asked of a step from part `at` on; none: it gives out nothing of this name.
pub(super) fn lookup(
    place: &Place<'_>,
    fact: Option<&Fact>,
    path: &[&str],
    at: usize,
) -> Option<Lookup> {
    let What::Step(step) = place.what else {
        return None;
    };
    let name = path.get(at + 1).copied();
    match (&step.spec, path.get(at).copied()?) {
        (StepSpec::Barrier(own), "barrier") => Some(match name {
            Some("barrierRef") => match &own.barrier {
                Some(own) => text(own, at + 2),
                None => unknown(at + 1, []),
            },
            // It says why one was not passed; then nothing comes that could read it.
            Some("message") => found("", at + 2),
            _ => unknown((at + 1).min(path.len() - 1), ["barrierRef", "message"]),
        }),
        (StepSpec::Queue(own), "output") => Some(match name {
            // Every queue has one place, and its key for a name.
            Some("name" | "resourceUnit") => match &own.key {
                Some(own) => text(own, at + 2),
                None => unknown(at + 1, []),
            },
            Some("capacity" | "usage") => found(1_i64, at + 2),
            Some("alreadyAcquiredPermits") => found(0_i64, at + 2),
            _ => unknown(
                (at + 1).min(path.len() - 1),
                [
                    "name",
                    "capacity",
                    "resourceUnit",
                    "usage",
                    "alreadyAcquiredPermits",
                ],
            ),
        }),
        (StepSpec::Http(_), "output") if name.is_some_and(|own| own != "outputVariables") => {
            Some(output(fact, path, at, 2))
        }
        (StepSpec::HarnessApproval(_), "output") if name == Some("approverInputs") => {
            Some(output(fact, path, at, 3))
        }
        (StepSpec::HarnessApproval(_), "output") if name == Some(ACTIVITIES) => {
            Some(activities(fact, at + 2))
        }
        _ => None,
    }
}

/// `approval.approvalActivities…`: of the approval of this stage that was answered last.
pub(super) fn approval(at: &At<'_, '_>, path: &[&str]) -> Lookup {
    if path.get(1).is_some_and(|own| *own != ACTIVITIES) {
        return unknown(1, [ACTIVITIES]);
    }
    let stage = at.place.stage.as_ref();
    let stage = stage.and_then(|(_, id)| Place::of(at.world, id));
    let mut facts = Vec::new();
    if let Some(stage) = stage {
        answered(at, &stage, &mut facts);
    }
    match facts.pop() {
        Some(fact) => activities(Some(&fact), 2.min(path.len())),
        None => unknown(0, []),
    }
}

fn answered(at: &At<'_, '_>, place: &Place<'_>, into: &mut Vec<Fact>) {
    for child in place.children() {
        let fact = at.world.nodes.fact(&child.id);
        match child.what {
            What::Step(step) if matches!(step.spec, StepSpec::HarnessApproval(_)) => {
                into.extend(fact.filter(|own| own.outputs.contains_key(ACTIVITIES)));
            }
            _ => answered(at, &child, into),
        }
    }
}

/// A list, which the engine keeps as its JSON.
fn activities(fact: Option<&Fact>, used: usize) -> Lookup {
    match fact.and_then(|own| own.outputs.get(ACTIVITIES)) {
        Some(Value::Text(text)) => {
            let list = serde_json::from_str(text).unwrap_or_default();
            found(Value::from_json(&list), used)
        }
        _ => unknown(used - 1, []),
    }
}

/// An output by its name, which is the `skip`-th part from `at` on.
fn output(fact: Option<&Fact>, path: &[&str], at: usize, skip: usize) -> Lookup {
    let outputs = fact.map(|fact| &fact.outputs);
    let name = path.get(at + skip - 1);
    match name.and_then(|name| outputs?.get(*name)) {
        Some(value) => found(value.clone(), at + skip),
        None => unknown(
            (at + skip - 1).min(path.len() - 1),
            outputs.into_iter().flatten().map(|(name, _)| name.as_str()),
        ),
    }
}
