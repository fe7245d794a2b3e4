//! What expressions see of the loops around a place: `matrix`, `repeat`, `strategy`, and the same below `stage`, `stepGroup` and
//! `step`.

use std::sync::Arc;

use syntax::expr::{Lookup, Value};

use crate::plan::{Iteration, Level, NodeId};

use super::scope::{At, is_bad};

/// The roots of loops; none for a path that is none of theirs.
pub(super) fn lookup(at: &At<'_, '_>, path: &[&str]) -> Option<Lookup> {
    if let Some(&"identifierPostFix") = path.get(1)
        && let Some(level) = level(path[0])
    {
        // Of what is in no loop it is the empty text, so that an identifier with it after it goes both ways.
        let own = at.place.iterations.iter().rev();
        let suffix = own
            .filter(|(own, _)| *own == level)
            .map(|(_, own)| &*own.suffix);
        return Some(found(
            suffix.into_iter().next().unwrap_or_default().into(),
            2,
        ));
    }
    let (level, used) = match (path[0], path.get(1)) {
        ("matrix" | "repeat" | "strategy", _) => (None, 0),
        (root, Some(&("matrix" | "repeat" | "strategy"))) => (Some(level(root)?), 1),
        _ => return None,
    };
    let around = || {
        let all = at.place.iterations.iter().rev();
        all.filter(move |(own, _)| level.is_none_or(|level| level == *own))
            .map(|(_, iteration)| iteration)
    };
    let name = path.get(used + 1).copied();
    Some(match path[used] {
        "matrix" => matrix(around(), name, used),
        "repeat" => repeat(around(), name, used),
        _ => strategy(at, around().next(), path, used),
    })
}

fn level(root: &str) -> Option<Level> {
    Some(match root {
        "stage" => Level::Stage,
        "stepGroup" => Level::Group,
        "step" => Level::Step,
        _ => return None,
    })
}

fn unknown(part: usize, known: impl IntoIterator<Item = String>) -> Lookup {
    Lookup::Unknown {
        part,
        known: known.into_iter().collect(),
    }
}

fn found(value: Value, used: usize) -> Lookup {
    Lookup::Found { value, used }
}

/// The innermost loop that has the axis.
fn matrix<'i>(
    around: impl Iterator<Item = &'i Arc<Iteration>>,
    axis: Option<&str>,
    used: usize,
) -> Lookup {
    let mut known = Vec::new();
    for iteration in around {
        let Some(axis) = axis else {
            let map: syntax::expr::Map = iteration
                .matrix
                .iter()
                .map(|(name, value)| (Arc::from(name), Value::from_json(value)))
                .collect();
            return found(map.into(), used + 1);
        };
        if let Some(value) = iteration.matrix.get(axis) {
            return found(Value::from_json(value), used + 2);
        }
        known.extend(iteration.matrix.iter().map(|(name, _)| name.to_owned()));
    }
    unknown(
        used + usize::from(axis.is_some() && !known.is_empty()),
        known,
    )
}

fn repeat<'i>(
    mut around: impl Iterator<Item = &'i Arc<Iteration>>,
    name: Option<&str>,
    used: usize,
) -> Lookup {
    let Some(own) = around.find(|own| own.item.is_some()) else {
        return unknown(used, []);
    };
    match (name, &own.item) {
        (Some("item"), Some(item)) => found(item.as_str().into(), used + 2),
        (Some("partition"), _) => {
            let items = own.partition.iter().map(|item| Value::from(item.as_str()));
            found(items.collect::<Vec<_>>().into(), used + 2)
        }
        _ => unknown(
            used + usize::from(name.is_some()),
            ["item", "partition"].map(str::to_owned),
        ),
    }
}

fn strategy(at: &At<'_, '_>, own: Option<&Arc<Iteration>>, path: &[&str], used: usize) -> Lookup {
    let number = |number: u32| found(i64::from(number).into(), used + 2);
    match (path.get(used + 1).copied(), own) {
        (Some("iteration"), Some(own)) => number(own.index),
        (Some("iterations" | "totalIterations"), Some(own)) => number(own.total),
        (Some("identifierPostFix"), Some(own)) => found(own.suffix.as_str().into(), used + 2),
        // Outside of a loop it is the empty text, so that `steps.x<+strategy.identifierPostFix>` goes both ways.
        (Some("identifierPostFix"), None) => found("".into(), used + 2),
        (Some("currentStatus"), Some(_)) => {
            let loop_id = at.place.iterations.last().and_then(|_| parent_loop(at));
            match loop_id {
                Some(id) => found(status(at, &id), used + 2),
                None => unknown(used + 1, []),
            }
        }
        (Some("node"), _) if path.get(used + 3) == Some(&"currentStatus") => {
            let near = at.place.groups.iter().rev().map(|(_, id)| id);
            let near = near.chain(at.place.stage.as_ref().map(|(_, id)| id));
            let wanted = path[used + 2];
            let child = near
                .filter_map(|id| crate::plan::Place::of(at.world, id))
                .find_map(|place| place.child(at.world, wanted));
            match child {
                Some(place) => found(status(at, &place.id), used + 4),
                None => unknown(used + 2, []),
            }
        }
        (name, Some(_)) => unknown(
            used + usize::from(name.is_some()),
            [
                "iteration",
                "iterations",
                "totalIterations",
                "identifierPostFix",
                "currentStatus",
                "node",
            ]
            .map(str::to_owned),
        ),
        (_, None) => unknown(used, []),
    }
}

/// The loop whose iteration the innermost one is.
fn parent_loop(at: &At<'_, '_>) -> Option<NodeId> {
    let (level, iteration) = at.place.iterations.last()?;
    let own = match level {
        Level::Stage => &at.place.stage.as_ref()?.1,
        Level::Group => {
            let mut groups = at.place.groups.iter().rev();
            &groups
                .find(|(_, id)| id.0.ends_with(iteration.suffix.as_str()))?
                .1
        }
        Level::Step => &at.place.id,
    };
    let (head, _) = own.0.rsplit_once('.')?;
    Some(NodeId(head.to_owned()))
}

/// What became of a loop so far: `FAILED` as soon as one iteration did.
fn status(at: &At<'_, '_>, id: &NodeId) -> Value {
    let nodes = at.world.nodes;
    if let Some(status) = nodes.fact(id).and_then(|fact| fact.status) {
        return status.into();
    }
    let bad = nodes.below(id).into_iter().find(|status| is_bad(status));
    bad.unwrap_or_else(|| "RUNNING".to_owned()).into()
}
