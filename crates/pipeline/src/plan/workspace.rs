//! Which step group begins with the workspace of which other one (`workspaceFrom`).
//!
//! A workspace is named by the group that leaves it, `build`, or with its stage, `compile.build`. That group has a pod of its own, and is
//! over, for certain and as one, when the pod of the other is made.

use syntax::{Diagnostic, Spanned, code};

use crate::model::lower::nearest;
use crate::model::{Element, Pipeline};
use crate::resolve::World;

use super::{NodeId, Place, What};

/// What is written under `workspaceFrom` of a group.
fn wish<'m>(place: &Place<'m>) -> Option<&'m Spanned<String>> {
    match place.what {
        What::Group(group) => group.kubernetes()?.workspace_from.as_ref(),
        _ => None,
    }
}

/// The groups that a name may mean for a group in this stage, as they are written: those of its own stage before any others.
fn named<'m>(all: &[Place<'m>], taker: &Place<'m>, name: &str) -> Vec<Place<'m>> {
    let stage_of = |place: &Place<'m>| {
        place
            .stage
            .as_ref()
            .map(|(own, _)| own.identifier().as_str())
    };
    let (stage, group) = match name.split_once('.') {
        Some((stage, group)) => (Some(stage), group),
        None => (None, name),
    };
    let fits = |place: &&Place<'m>| {
        matches!(place.what, What::Group(own) if own.identifier.as_str() == group)
            && stage.is_none_or(|stage| stage_of(place) == Some(stage))
    };
    let found: Vec<_> = all.iter().filter(fits).cloned().collect();
    let here = |place: &&Place<'m>| stage_of(place) == stage_of(taker);
    let own: Vec<_> = found.iter().filter(here).cloned().collect();
    if own.is_empty() { found } else { own }
}

/// The group in a run whose workspace this one begins with.
pub(super) fn taken(world: &World<'_>, place: &Place<'_>) -> Option<NodeId> {
    let name = wish(place).filter(|_| place.makes_pod())?;
    let all = Place::all(world.pipeline);
    let [giver] = &named(&all, place, &name.value)[..] else {
        return None;
    };
    match &giver.runs_seen_from(world, place)[..] {
        [only] => Some(only.clone()),
        _ => None,
    }
}

/// Whether another group begins with the workspace of this one.
pub(super) fn is_given(pipeline: &Pipeline, place: &Place<'_>) -> bool {
    let What::Group(group) = place.what else {
        return false;
    };
    let mut stages = pipeline.all_stages().into_iter();
    // Most pipelines hand nothing over, and loops ask once for each iteration.
    let any = stages.any(|stage| stage.execution().is_some_and(|own| asked_in(&own.steps)));
    if !any || !place.makes_pod() {
        return false;
    }
    let all = Place::all(pipeline);
    all.iter().any(|taker| {
        wish(taker).is_some_and(|name| {
            let givers = named(&all, taker, &name.value);
            let this = |giver: &Place<'_>| matches!(giver.what, What::Group(own) if std::ptr::eq(own, group));
            givers.iter().any(this)
        })
    })
}

fn asked_in(list: &[Element]) -> bool {
    list.iter().any(|element| match element {
        Element::Step(_) => false,
        Element::Group(group) => {
            let own = group.kubernetes();
            own.is_some_and(|own| own.workspace_from.is_some()) || asked_in(&group.steps)
        }
        Element::Parallel(_) | Element::Insert(_) => asked_in(element.children()),
    })
}

/// Every `workspaceFrom` that cannot be.
pub fn handed_over(pipeline: &Pipeline) -> Vec<Diagnostic> {
    let all = Place::all(pipeline);
    let takers = all.iter().filter_map(|place| Some((place, wish(place)?)));
    takers
        .filter_map(|(taker, name)| wrong(pipeline, &all, taker, name))
        .collect()
}

fn wrong<'m>(
    pipeline: &'m Pipeline,
    all: &[Place<'m>],
    taker: &Place<'m>,
    name: &Spanned<String>,
) -> Option<Diagnostic> {
    let text = &name.value;
    let error = |message: String, help: &str| {
        Some(
            Diagnostic::error(code::WORKSPACE_FROM, message)
                .at(name.span, "")
                .help(help),
        )
    };
    let own = taker.identifier();
    if !taker.makes_pod() {
        return error(
            format!(
                "the step group `{own}` takes no workspace over: it runs in the pod of the group around it"
            ),
            "put `workspaceFrom` into the group that has the pod",
        );
    }
    let givers = named(all, taker, text);
    let giver = match &givers[..] {
        [] => {
            let groups = all.iter().filter_map(|place| match place.what {
                What::Group(group) => Some(group.identifier.as_str()),
                _ => None,
            });
            let near = nearest(text, groups.filter(|other| *other != own));
            let help = near.map_or_else(
                || "name a containerized step group that runs before this one".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            return error(format!("no step group has the identifier `{text}`"), &help);
        }
        [only] => only,
        [first, ..] => {
            let stage = first
                .stage
                .as_ref()
                .map_or("stage", |(own, _)| own.identifier().as_str());
            return error(
                format!("`{text}` may mean several step groups"),
                &format!("name its stage, too: `{stage}.{}`", first.identifier()),
            );
        }
    };
    if giver.id == taker.id {
        return error(
            format!("the step group `{own}` cannot begin with the workspace that it leaves itself"),
            "name a step group that runs before it, or take `workspaceFrom` out",
        );
    }
    if !giver.makes_pod() {
        return error(
            format!("the step group `{text}` has no pod, and so no workspace, of its own"),
            "name a step group with `stepGroupInfra` that is in no other such group",
        );
    }
    let (from, to) = (
        Place::way(pipeline, &giver.id)?,
        Place::way(pipeline, &taker.id)?,
    );
    let undoes = |way: &[Place<'_>]| {
        way.iter()
            .any(|place| matches!(place.what, What::Rollback(_)))
    };
    if undoes(&from) || undoes(&to) {
        return error(
            "a step group in `rollbackSteps` hands no workspace over, and takes none".to_owned(),
            "take `workspaceFrom` out",
        );
    }
    let shared = from
        .iter()
        .zip(&to)
        .take_while(|(a, b)| a.id == b.id)
        .count();
    let around = &from[shared - 1];
    let at = |way: &[Place<'_>]| {
        let next = &way.get(shared)?.id;
        around.children().iter().position(|child| child.id == *next)
    };
    if around.is_parallel() || at(&from) >= at(&to) {
        return error(
            format!("the step group `{text}` is not over for certain when `{own}` begins"),
            "name a step group before it, in the same sequence of steps or in an earlier stage",
        );
    }
    if from[shared..]
        .iter()
        .any(|place| matches!(place.what, What::Loop(_)))
    {
        return error(
            format!(
                "the step group `{text}` runs several times: nobody can say which of its workspaces is meant"
            ),
            "put both groups into what is repeated, or name a group outside of the loop",
        );
    }
    None
}
