//! What follows for a node with children.

use pipeline::plan::{Kind, NodeId};

use super::halt::{closed, halted, outside};
use super::{fail, finished, left, turn};
use crate::event::{ErrorKind, Event, Failure, Status};
use crate::gate;
use crate::phase::Phase;
use crate::state::{Place, PodPhase, State, Undo};

pub(super) fn follows(state: &State, id: &NodeId, place: &Place, now: u64) -> Vec<Event> {
    if place.handled.is_none()
        && let (Phase::Lost, Some(Err(reason))) = (place.phase, &place.end)
    {
        return match outside(state, id) {
            Some(halt) => vec![finished(id, halt.status, Some(halt.failure))],
            None => fail::failed(state, id, place, Status::Failed, reason, now),
        };
    }
    if let Some(Err(failure)) = &place.judged {
        let failure = failure.clone();
        return vec![Event::Failed {
            node: id.clone(),
            failure,
        }];
    }
    let children = match &place.children {
        Some(children) => children.as_slice(),
        // It failed as a whole, and is rolled back before it is over.
        None if place.handled.is_some() => &[],
        None => {
            return match halted(state, id) {
                Some(halt) if place.timed_out.is_some() && outside(state, id).is_none() => {
                    fail::failed(state, id, place, halt.status, &halt.failure, now)
                }
                Some(halt) => vec![finished(id, halt.status, Some(halt.failure))],
                None => gate::follows(state, id, place, now).unwrap_or_default(),
            };
        }
    };
    if place.next < children.len() {
        let events = turn::take(state, place);
        if !events.is_empty() || place.busy > 0 {
            return events;
        }
        return Vec::new();
    }
    if let Some(event) = undoing(state, id, place) {
        return event.into_iter().collect();
    }
    if place.is_pod_group() {
        if let Some(events) = pod_ending(state, id, place) {
            return events;
        }
    } else if place.busy > 0 {
        return Vec::new();
    }
    if let Some((_, at)) = place.again
        && outside(state, id).is_none()
        && place.timed_out.is_none()
    {
        // A Background step that serves is not waited for elsewhere; here its container is to be free for its next start.
        let serves =
            |own: &&NodeId| *own != id && state.upwards(own).any(|(around, _)| around == id);
        let free = !state.active.iter().any(|own| serves(&own));
        return if free && now >= at && state.paused.is_none() {
            vec![Event::GroupRetried { group: id.clone() }]
        } else {
            Vec::new()
        };
    }
    over(state, id, place, now)
}

/// The end of a containerized group: its Background steps, then its pod. None: nothing is left of it.
fn pod_ending(state: &State, id: &NodeId, place: &Place) -> Option<Vec<Event>> {
    let (all, background) = place.within;
    if all > background {
        return Some(Vec::new());
    }
    if all > 0 {
        // Background steps that are not ready yet are not waited for: nobody is left who needs them. That they begin is.
        return Some(match place.ending {
            None if begins(state, id, place) => Vec::new(),
            None => vec![Event::GroupEnding { group: id.clone() }],
            Some(_) => Vec::new(),
        });
    }
    match state.pods.get(id) {
        Some(pod) if pod.phase.may_exist() => Some(Vec::new()),
        _ => None,
    }
}

/// A Background step of a group that goes well was entered, and its process does not run yet.
fn begins(state: &State, id: &NodeId, place: &Place) -> bool {
    let asked = place.order.is_some() || place.again.is_some();
    let well = place.bad.is_none() && place.timed_out.is_none() && !asked;
    let mut backgrounds = place
        .backgrounds
        .iter()
        .filter_map(|own| state.nodes.get(own));
    well && outside(state, id).is_none()
        && backgrounds.any(|own| matches!(own.phase, Phase::Entered | Phase::Starting))
}

/// A rollback that is asked of this node: it begins when nothing else runs in it. None: there is none, or it is over.
#[expect(
    clippy::option_option,
    reason = "nothing to do yet is not the same as nothing to undo"
)]
fn undoing(state: &State, id: &NodeId, place: &Place) -> Option<Option<Event>> {
    if place.undo == Undo::No || outside(state, id).is_some() {
        return None;
    }
    // Of a group's pod the Background steps stay: the rollback steps may need them.
    if place.busy > 0 {
        return (place.undo == Undo::Asked).then_some(None);
    }
    let of = match place.node.kind {
        Kind::Pipeline => next_stage(state)?,
        _ if place.undo == Undo::Asked && place.node.rollback => place,
        _ => return None,
    };
    if state.paused.is_some() {
        return Some(None);
    }
    Some(Some(Event::RollbackStarted {
        of: of.node.id.clone(),
        node: of.node.undo(),
    }))
}

/// Rollback steps of this group are to run, and have not begun.
pub(super) fn will_undo(state: &State, id: &NodeId, place: &Place) -> bool {
    place.undo == Undo::Asked && place.node.rollback && outside(state, id).is_none()
}

/// The stage that began last and is not rolled back yet.
fn next_stage(state: &State) -> Option<&Place> {
    let stages = state.stages.iter().rev();
    let mut places = stages.filter_map(|id| state.nodes.get(id));
    places.find(|place| place.undo != Undo::Begun && place.node.rollback)
}

fn over(state: &State, id: &NodeId, place: &Place, now: u64) -> Vec<Event> {
    if let Some(pod) = state.pods.get(id).filter(|pod| pod.phase == PodPhase::Left) {
        let failure = left(&pod.name, pod.reason.as_deref().unwrap_or_default());
        return vec![finished(id, Status::Failed, Some(failure))];
    }
    let empty = place.children.as_ref().is_some_and(Vec::is_empty);
    if empty && place.handled.is_none() && place.node.kind == Kind::Loop {
        return vec![Event::NodeFinished {
            node: id.clone(),
            status: Status::Skipped,
            failure: None,
            why: Some("its loop has no iterations".to_owned()),
        }];
    }
    // What its rollback could not undo does not change why it failed.
    if let Some(handled) = &place.handled {
        let (status, failure) = match outside(state, id) {
            Some(halt) => (halt.status, halt.failure),
            None => (handled.status, handled.failure.clone()),
        };
        return vec![finished(id, status, Some(failure))];
    }
    if place.bad.is_none() && !place.cut {
        return vec![finished(id, Status::Success, None)];
    }
    if let Some(halt) = outside(state, id) {
        return vec![finished(id, halt.status, Some(halt.failure))];
    }
    if let Some(halt) = halted(state, id) {
        return if place.timed_out.is_some() {
            fail::failed(state, id, place, halt.status, &halt.failure, now)
        } else {
            vec![finished(id, halt.status, Some(halt.failure))]
        };
    }
    match place
        .bad
        .as_ref()
        .and_then(|bad| state.nodes.get_key_value(bad))
    {
        Some((bad, failed)) => {
            let failure = failed.failure.clone().unwrap_or_else(|| Failure {
                error: ErrorKind::Unknown,
                message: format!("{bad} failed"),
                help: None,
            });
            let status = failed.status().unwrap_or(Status::Failed);
            vec![finished(id, status, Some(failure))]
        }
        // Some of it was left out, because what it is in is rolled back: that is no success, nor why what is around failed.
        None => match closed(state, id) {
            Some(halt) => vec![finished(id, Status::Skipped, Some(halt.failure))],
            None => vec![finished(id, Status::Success, None)],
        },
    }
}
