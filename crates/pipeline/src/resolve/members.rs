//! What may follow a path, for an editor: the scope of the run is asked, with nothing known of one.

use std::collections::BTreeMap;

use syntax::expr::{Lookup, Scope as _, Value};

use crate::model::{Entities, Param, Pipeline, StepSpec};
use crate::plan::{NodeId, Place, What};

use super::known::{Known, World};
use super::scope::{At, NONE};

/// The names that may follow a path of an expression, written where the identifiers of stages, groups and steps lead. An empty
/// path asks for the roots.
pub fn members(
    pipeline: &Pipeline,
    entities: &Entities,
    identifiers: &[String],
    path: &[&str],
) -> Vec<String> {
    asked(pipeline, entities, identifiers, |at| {
        let mut asked: Vec<&str> = path.to_vec();
        asked.push(NONE);
        let mut names = match at.lookup(&asked) {
            Lookup::Unknown { part, known } if part == path.len() => known,
            Lookup::Found {
                value: Value::Map(map),
                used,
            } if used == path.len() => map.keys().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        if path.last() == Some(&"outputVariables") {
            names.extend(declared(at, path));
        }
        names.sort();
        names.dedup();
        names
    })
}

/// What a path is worth as far as that is known before a run.
pub fn known_value(
    pipeline: &Pipeline,
    entities: &Entities,
    identifiers: &[String],
    path: &[&str],
) -> Option<String> {
    asked(pipeline, entities, identifiers, |at| {
        let template = match at.lookup(path) {
            Lookup::Found { value, used } if used == path.len() => return value.to_text(),
            Lookup::Template { template, used } if used == path.len() => template,
            _ => return None,
        };
        template.value(at).ok()?.to_text()
    })
    .map(|text| text.to_string())
}

fn asked<T>(
    pipeline: &Pipeline,
    entities: &Entities,
    identifiers: &[String],
    question: impl FnOnce(&At<'_, '_>) -> T,
) -> T {
    let known = Known::default();
    let nodes: BTreeMap<NodeId, super::Fact> = BTreeMap::new();
    let world = World {
        pipeline,
        entities,
        known: &known,
        nodes: &nodes,
    };
    let mut place = Place::root(pipeline);
    for identifier in identifiers {
        match below(&place, identifier) {
            Some(next) => place = next,
            None => break,
        }
    }
    question(&At {
        world: &world,
        place: &place,
    })
}

/// The nearest place below with this identifier.
fn below<'m>(place: &Place<'m>, identifier: &str) -> Option<Place<'m>> {
    place
        .children()
        .into_iter()
        .find_map(|child| match child.what {
            // What is repeated is in its loop, under the same identifier.
            What::Stages(_) | What::Elements(_) | What::Loop(_) => below(&child, identifier),
            What::Initialize(_) => None,
            _ => (child.identifier() == identifier).then_some(child),
        })
}

/// The output variables that the step of a path declares.
fn declared(at: &At<'_, '_>, path: &[&str]) -> Vec<String> {
    let Some(identifier) = path.iter().rev().nth(2) else {
        return Vec::new();
    };
    Place::all(at.world.pipeline)
        .iter()
        .filter(|place| place.identifier() == *identifier)
        .filter_map(|place| match place.what {
            What::Step(step) => match &step.spec {
                StepSpec::Run(run) => run.outputs.as_ref().and_then(Param::literal),
                _ => None,
            },
            _ => None,
        })
        .flatten()
        .filter_map(|own| Some(own.name.as_ref()?.value.clone()))
        .collect()
}
