//! `strategy`: a stage, a group or a step becomes its iterations.
//!
//! Identifiers depend on the text and on the values of the axes alone: `<id>_<i>` for `repeat` and `parallelism`,
//! `<id>_<i>_<j>` for a matrix, an index for each axis in the order of the text; `nodeName` takes the suffix's place.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use syntax::yaml::{Kind, Node, Value};
use syntax::{Diagnostic, Span, Spanned, code};

use crate::model::{Looping, Matrix, OnFailure, Param, Repeat, Strategy, Unit};
use crate::resolve::{Values, World};

use super::several::{self, Several};
use super::{Axes, Place, What};

/// Iterations of one loop. Each is a node of the run's tree, and all of them are in one record of its journal.
pub const MAX_ITERATIONS: u64 = 10_000;
/// The longest identifier of an iteration (`reference/behaviour.md` §11).
const LONGEST: usize = 126;

/// One iteration, as expressions see it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Iteration {
    /// From 0.
    pub index: u32,
    /// How many there are.
    pub total: u32,
    /// What follows the identifier: `_0`, `_1_0`.
    pub suffix: String,
    /// The values of the axes by name.
    #[serde(default, skip_serializing_if = "Axes::is_empty")]
    pub matrix: Axes,
    /// `<+repeat.item>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// `<+repeat.partition>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition: Vec<String>,
}

/// What is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A stage.
    Stage,
    /// A step group.
    Group,
    /// A step.
    Step,
}

/// How the iterations of a loop run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Manner {
    /// At once; none: all of them.
    pub(super) limit: Option<u32>,
    /// Once one failed, those that wait are skipped.
    pub(super) skip_queued: bool,
}

fn bad(at: Span, message: impl Into<String>, help: &str) -> Diagnostic {
    Diagnostic::error(code::BAD_LOOP, message)
        .at(at, "")
        .help(help)
}

fn too_many(at: Span, what: &Place<'_>, count: u64) -> Diagnostic {
    bad(
        at,
        format!(
            "the loop of `{}` has {count} iterations; at most {MAX_ITERATIONS} are run",
            what.identifier()
        ),
        "make it smaller, or give each iteration several items with `partitionSize`",
    )
}

/// How the iterations at a loop's place run.
pub(super) fn manner(world: &World<'_>, place: &Place<'_>) -> Result<Manner, Vec<Diagnostic>> {
    let values = Values::new(world, place);
    let several = several_at(place, &values);
    let deployed = several.as_ref().and_then(|own| own.limit);
    let Some(strategy) = strategy(place, &values) else {
        return values.finish(Manner {
            limit: deployed,
            skip_queued: false,
        });
    };
    let own = match &strategy.looping {
        Looping::Matrix(own) => values
            .get(Some(own), "matrix")
            .and_then(|own| own.max_concurrency),
        Looping::Repeat(own) => values
            .get(Some(own), "repeat")
            .and_then(|own| own.max_concurrency),
        Looping::Parallelism(_) => None,
    };
    let written = own.as_ref().or(strategy.max_concurrency.as_ref());
    let on_failure = values.get(strategy.on_failure.as_ref(), "onFailure");
    let limit = values
        .get(written, "maxConcurrency")
        .filter(|limit| *limit > 0);
    let manner = Manner {
        limit: match (limit, deployed, &several) {
            (Some(1), Some(deployed), _) => Some(deployed),
            // The strategy counts its iterations, each of which is all services at all places.
            (Some(limit), None, Some(several)) => {
                Some(limit.saturating_mul(several.iterations.len() as u32))
            }
            (limit, None, _) => limit,
            (_, Some(_), _) => {
                values.push(bad(
                    strategy.span.head(1),
                    format!(
                        "`{}` is repeated at once, and what it deploys is to go one after the other",
                        place.identifier()
                    ),
                    "write `maxConcurrency: 1` into the strategy, or remove `parallel: false`",
                ));
                None
            }
        },
        skip_queued: on_failure == Some(OnFailure::SkipQueued),
    };
    values.finish(manner)
}

/// How many iterations at a loop's place run at once; none: all.
pub(crate) fn manner_limit(
    world: &World<'_>,
    place: &Place<'_>,
) -> Result<Option<u32>, Vec<Diagnostic>> {
    manner(world, place).map(|manner| manner.limit)
}

fn strategy<'m>(place: &Place<'m>, values: &Values<'_, '_>) -> Option<Cow<'m, Strategy>> {
    let What::Loop(body) = place.what else {
        return None;
    };
    values.read(body.strategy(), "strategy")
}

/// The iterations at a loop's place, by what is known.
pub fn iterations(world: &World<'_>, place: &Place<'_>) -> Result<Vec<Iteration>, Vec<Diagnostic>> {
    let values = Values::new(world, place);
    let several = several_at(place, &values);
    let Some(strategy) = strategy(place, &values) else {
        let one = [Iteration::default()];
        let made = deploying(place, several.as_ref(), &one, &values);
        return Ok(shortened(place, numbered(values.finish(made)?)));
    };
    let mut node_name = None;
    let made = match &strategy.looping {
        Looping::Parallelism(times) => {
            let times = values.get(Some(times), "parallelism").unwrap_or_default();
            counted(place, times, strategy.span, &values)
        }
        Looping::Repeat(own) => values
            .get(Some(own), "repeat")
            .map_or_else(Vec::new, |own| {
                node_name.clone_from(&own.node_name);
                repeat(place, &own, &values)
            }),
        Looping::Matrix(own) => values
            .get(Some(own), "matrix")
            .map_or_else(Vec::new, |own| {
                node_name.clone_from(&own.node_name);
                matrix(place, &own, &values)
            }),
    };
    let made = numbered(values.finish(made)?);
    let made = name(world, place, node_name.as_ref(), made)?;
    if several.is_none() {
        return Ok(made);
    }
    let values = Values::new(world, place);
    let made = deploying(place, several.as_ref(), &made, &values);
    Ok(shortened(place, numbered(values.finish(made)?)))
}

fn several_at(place: &Place<'_>, values: &Values<'_, '_>) -> Option<Several> {
    let What::Loop(body) = place.what else {
        return None;
    };
    body.several().map(|own| several::several(own, values))
}

/// Each iteration for everything that is deployed.
fn deploying(
    place: &Place<'_>,
    several: Option<&Several>,
    iterations: &[Iteration],
    values: &Values<'_, '_>,
) -> Vec<Iteration> {
    let all = several
        .map(|own| own.iterations.as_slice())
        .unwrap_or_default();
    let count = iterations.len() as u64 * all.len() as u64;
    if count > MAX_ITERATIONS {
        let at = place.span().unwrap_or(values.world().pipeline.span);
        values.push(too_many(at.head(1), place, count));
        return Vec::new();
    }
    let both = iterations
        .iter()
        .flat_map(|own| all.iter().map(move |one| (own, one)));
    both.map(|(own, one)| {
        let mut made = own.clone();
        made.suffix.push_str(&one.suffix);
        for (name, value) in one.matrix() {
            made.matrix.insert(name, value);
        }
        made
    })
    .collect()
}

fn numbered(mut made: Vec<Iteration>) -> Vec<Iteration> {
    let total = made.len() as u32;
    for (index, iteration) in made.iter_mut().enumerate() {
        iteration.index = index as u32;
        iteration.total = total;
    }
    made
}

/// So many that are alike.
fn counted(place: &Place<'_>, times: u32, at: Span, values: &Values<'_, '_>) -> Vec<Iteration> {
    if u64::from(times) > MAX_ITERATIONS {
        values.push(too_many(at.head(1), place, times.into()));
        return Vec::new();
    }
    (0..times).map(|at| plain(format!("_{at}"))).collect()
}

fn plain(suffix: String) -> Iteration {
    Iteration {
        suffix,
        ..Iteration::default()
    }
}

fn repeat(place: &Place<'_>, own: &Repeat, values: &Values<'_, '_>) -> Vec<Iteration> {
    let at = own.span.head(1);
    let Some(written) = &own.items else {
        let times = values.get(own.times.as_ref(), "times").unwrap_or_default();
        let mut made = counted(place, times, own.span, values);
        for (index, iteration) in made.iter_mut().enumerate() {
            iteration.item = Some(index.to_string());
        }
        return made;
    };
    let mut items = items(written, values);
    let end = values.get(own.end.as_ref(), "end").map(|end| end as usize);
    let start = values.get(own.start.as_ref(), "start").unwrap_or_default() as usize;
    items.truncate(end.unwrap_or(usize::MAX));
    items.drain(..start.min(items.len()));
    let Some(size) = values.get(own.partition_size.as_ref(), "partitionSize") else {
        if items.len() as u64 > MAX_ITERATIONS {
            values.push(too_many(at, place, items.len() as u64));
            return Vec::new();
        }
        let made = items.into_iter().enumerate().map(|(at, item)| Iteration {
            item: Some(item),
            ..plain(format!("_{at}"))
        });
        return made.collect();
    };
    let size = match values.get(own.unit.as_ref(), "unit") {
        // `round(pct·n/100)`, at least one and at most all (`reference/behaviour.md` §11).
        Some(Unit::Percentage) => {
            let all = items.len() as u64;
            ((u64::from(size) * all + 50) / 100).clamp(1, all.max(1)) as usize
        }
        _ => size.max(1) as usize,
    };
    let parts = items.len().div_ceil(size) as u64;
    if parts > MAX_ITERATIONS {
        values.push(too_many(at, place, parts));
        return Vec::new();
    }
    let made = items.chunks(size).enumerate().map(|(at, part)| Iteration {
        item: part.first().cloned(),
        partition: part.to_vec(),
        ..plain(format!("_{at}"))
    });
    made.collect()
}

/// A list, or a text with commas.
fn items(written: &Param<Vec<Param<String>>>, values: &Values<'_, '_>) -> Vec<String> {
    if let Some(list) = values.listed(written, "items") {
        return list
            .iter()
            .filter_map(|node| value(node, "items", values))
            .map(|value| text(&value))
            .collect();
    }
    let list = values.get(Some(written), "items").unwrap_or_default();
    list.iter()
        .filter_map(|item| values.get(Some(item), "items"))
        .collect()
}

/// A value of an axis. A number that would not be written the same again is a text: `3.10` is a version.
fn value(node: &Node, name: &str, values: &Values<'_, '_>) -> Option<Json> {
    match &node.value {
        Value::Scalar(scalar) => {
            let json: Json = match scalar.kind {
                Kind::Bool(own) => own.into(),
                Kind::Int(own) => own.into(),
                Kind::Float(own) => own.into(),
                Kind::Null => Json::Null,
                Kind::String => {
                    let written = Spanned::new(scalar.text.to_string(), node.span);
                    if !written.value.contains("<+") {
                        return Some(written.value.into());
                    }
                    return values.open(&Param::Expr(written), name).map(Json::from);
                }
            };
            let again = json.to_string();
            Some(if *again == *scalar.text {
                json
            } else {
                Json::String(scalar.text.to_string())
            })
        }
        Value::Sequence(items) => {
            let items: Option<Vec<_>> =
                items.iter().map(|item| value(item, name, values)).collect();
            Some(Json::Array(items?))
        }
        Value::Mapping(mapping) => {
            let entries = mapping.entries.iter().map(|entry| {
                Some((
                    entry.key.text.to_string(),
                    value(&entry.value, name, values)?,
                ))
            });
            let entries: Option<_> = entries.collect();
            Some(Json::Object(entries?))
        }
    }
}

/// An axis.
struct Axis {
    name: String,
    values: Vec<Json>,
}

fn matrix(place: &Place<'_>, own: &Matrix, values: &Values<'_, '_>) -> Vec<Iteration> {
    let at = own.span.head(1);
    let mut axes = Vec::new();
    for (name, written) in &own.axes {
        let list = values
            .listed(written, name)
            .unwrap_or_else(|| written.literal().cloned().unwrap_or_default());
        axes.push(Axis {
            name: name.clone(),
            values: list
                .iter()
                .filter_map(|node| value(node, name, values))
                .collect(),
        });
    }
    let product = axes.iter().try_fold(1_u64, |product, axis| {
        product.checked_mul(axis.values.len() as u64)
    });
    let product = product.unwrap_or(u64::MAX);
    if product > MAX_ITERATIONS {
        values.push(too_many(at, place, product));
        return Vec::new();
    }
    let excluded = exclusions(own, &axes, values);
    let names: Vec<Arc<str>> = axes.iter().map(|axis| axis.name.as_str().into()).collect();
    let mut made = Vec::with_capacity(product as usize);
    let mut indexes = vec![0_usize; axes.len()];
    for _ in 0..product {
        let out = excluded.iter().any(|exclusion| {
            exclusion
                .iter()
                .all(|(axis, allowed)| allowed.contains(&indexes[*axis]))
        });
        if !out {
            let mut suffix = String::new();
            let mut matrix = Axes::default();
            for ((axis, name), index) in axes.iter().zip(&names).zip(&indexes) {
                suffix.push('_');
                suffix.push_str(&index.to_string());
                matrix.insert(name.clone(), axis.values[*index].clone());
            }
            made.push(Iteration {
                matrix,
                ..plain(suffix)
            });
        }
        // The last axis turns fastest.
        for (axis, index) in axes.iter().zip(indexes.iter_mut()).rev() {
            *index += 1;
            if *index < axis.values.len() {
                break;
            }
            *index = 0;
        }
    }
    if made.is_empty() && product > 0 {
        values.push(bad(
            at,
            format!("`exclude` leaves no iteration of `{}`", place.identifier()),
            "name fewer combinations there, or remove `strategy`",
        ));
    }
    made
}

/// Of each exclusion, by axis, the values that it names. One that names an axis that is not there excludes nothing, and is
/// told.
fn exclusions(
    own: &Matrix,
    axes: &[Axis],
    values: &Values<'_, '_>,
) -> Vec<Vec<(usize, BTreeSet<usize>)>> {
    let list = values
        .get(own.exclude.as_ref(), "exclude")
        .unwrap_or_default();
    let mut all = Vec::new();
    for combination in &list {
        let mut parts = Vec::new();
        for (name, written) in combination {
            let Some(wanted) = values.get(Some(written), name) else {
                continue;
            };
            let Some(axis) = axes.iter().position(|axis| axis.name == *name) else {
                values.push(bad(
                    written.span(),
                    format!("`exclude` names `{name}`, which is no axis of the matrix"),
                    "name an axis, with one of its values",
                ));
                continue;
            };
            let named = axes[axis].values.iter().enumerate();
            let named = named.filter(|(_, value)| text(value) == wanted);
            parts.push((axis, named.map(|(index, _)| index).collect()));
        }
        if !parts.is_empty() {
            all.push(parts);
        }
    }
    all
}

/// A value as an exclusion writes it.
fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Gives the iterations the suffixes that `nodeName` says: no two are alike, none is too long.
fn name(
    world: &World<'_>,
    place: &Place<'_>,
    node_name: Option<&Param<String>>,
    mut made: Vec<Iteration>,
) -> Result<Vec<Iteration>, Vec<Diagnostic>> {
    let What::Loop(body) = place.what else {
        return Ok(made);
    };
    if let Some(written) = node_name {
        for iteration in &mut made {
            let inner = place.iterated(body, Arc::new(iteration.clone()));
            let values = Values::new(world, &inner);
            let name: Option<String> = values.get(Some(written), "nodeName");
            let name = values.finish(name)?.unwrap_or_default();
            let clean = name.trim().chars().map(|own| {
                if own.is_ascii_alphanumeric() {
                    own
                } else {
                    '_'
                }
            });
            let clean: String = clean.collect();
            if !clean.is_empty() {
                iteration.suffix = format!("_{clean}");
            }
        }
    }
    Ok(shortened(place, made))
}

/// No two suffixes are alike, none is too long.
fn shortened(place: &Place<'_>, mut made: Vec<Iteration>) -> Vec<Iteration> {
    let room = LONGEST.saturating_sub(place.identifier().len()).max(16);
    let mut seen = HashSet::with_capacity(made.len());
    let mut all = made.iter().map(|own| own.suffix.as_str());
    if all.all(|suffix| suffix.len() <= room && seen.insert(suffix)) {
        return made;
    }
    let mut taken = BTreeSet::new();
    for iteration in &mut made {
        let tail = format!("_{}", iteration.index);
        if iteration.suffix.len() > room {
            iteration.suffix.truncate(room - tail.len());
            iteration.suffix.push_str(&tail);
        }
        while !taken.insert(iteration.suffix.clone()) {
            iteration.suffix.truncate(room.saturating_sub(tail.len()));
            iteration.suffix.push_str(&tail);
        }
    }
    made
}
