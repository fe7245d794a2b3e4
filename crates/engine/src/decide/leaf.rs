//! What follows for a step and for an Initialize.

use addon::frame::{Exit, Record};
use pipeline::plan::NodeId;

use super::halt::outside;
use super::{configuration, fail, finished, left, pod_is_ready, turn};
use crate::classify;
use crate::delegate;
use crate::event::{Event, Failure, Intervention, Status};
use crate::gate;
use crate::phase::Phase;
use crate::replaced;
use crate::state::{Place, PodPhase, State};
use crate::waits;
use crate::wanted::stop;
use crate::workspace;

pub(super) fn initialize(state: &State, id: &NodeId, place: &Place, now: u64) -> Vec<Event> {
    if place.phase == Phase::Recorded {
        return vec![finished(id, Status::Success, None)];
    }
    if let Some(halt) = outside(state, id) {
        return vec![finished(id, halt.status, Some(halt.failure))];
    }
    if let Some((status, failure)) = fail::own(place) {
        return fail::failed(state, id, place, status, &failure, now);
    }
    if place.order.is_some() {
        return vec![finished(id, Status::Aborted, Some(classify::aborted()))];
    }
    let Some(group) = &place.group else {
        return unable(
            id,
            configuration("it stands outside a containerized step group"),
        );
    };
    if let Some(failure) = workspace::missing(state, group) {
        return unable(id, failure);
    }
    let until = state.nodes.get(group).map_or(0, |group| group.pods_until);
    match state.pods.get(group) {
        Some(pod) if pod.phase == PodPhase::Left => {
            let why = pod.reason.as_deref().unwrap_or_default();
            unable(id, left(&pod.name, why))
        }
        Some(pod) if pod.phase == PodPhase::Deleted && pod.attempt + 1 >= until => {
            unable(id, replaced::too_often(pod.reason.as_deref()))
        }
        _ => Vec::new(),
    }
}

/// A step that runs nowhere.
pub(super) fn waiting(state: &State, id: &NodeId, place: &Place, now: u64) -> Vec<Event> {
    if let Some(halt) = outside(state, id) {
        return vec![finished(id, halt.status, Some(halt.failure))];
    }
    match asked(place) {
        Some(Intervention::Abort) => {
            return vec![finished(id, Status::Aborted, Some(classify::aborted()))];
        }
        Some(own) if place.phase == Phase::Entered => return unable(id, ended(own)),
        _ => {}
    }
    if let Some((status, failure)) = fail::own(place) {
        return fail::failed(state, id, place, status, &failure, now);
    }
    if let Some(Err(failure)) = &place.judged {
        return unable(id, failure.clone());
    }
    if place.timed_out.is_some() {
        return unable(id, classify::expired());
    }
    if let Some(events) = gate::follows(state, id, place, now) {
        return events;
    }
    waits::follows(state, id, place, now)
}

fn unable(id: &NodeId, failure: Failure) -> Vec<Event> {
    vec![Event::Failed {
        node: id.clone(),
        failure,
    }]
}

pub(super) fn step(
    state: &State,
    id: &NodeId,
    place: &Place,
    has_container: bool,
    now: u64,
) -> Vec<Event> {
    match (place.phase, &place.end) {
        (Phase::Recorded, Some(Ok(record))) => return recorded(state, id, place, record, now),
        (Phase::Lost, _) => {
            if let Some(halt) = outside(state, id) {
                return vec![finished(id, halt.status, Some(halt.failure))];
            }
            if asked(place) == Some(Intervention::Abort) {
                return vec![finished(id, Status::Aborted, Some(classify::aborted()))];
            }
            return match fail::own(place) {
                Some((status, failure)) => fail::failed(state, id, place, status, &failure, now),
                None => Vec::new(),
            };
        }
        _ => {}
    }
    let Some(group) = place.group.as_ref().filter(|_| has_container) else {
        return unable_now(
            place,
            id,
            configuration("steps outside a containerized step group are not executed"),
        );
    };
    if place.phase == Phase::Entered {
        if let Some(halt) = outside(state, id) {
            return vec![finished(id, halt.status, Some(halt.failure))];
        }
        match asked(place) {
            Some(Intervention::Abort) => {
                return vec![finished(id, Status::Aborted, Some(classify::aborted()))];
            }
            Some(own) => return unable(id, ended(own)),
            None => {}
        }
        if let Some(Err(failure)) = &place.judged {
            return unable(id, failure.clone());
        }
        if place.timed_out.is_some() {
            return unable(id, classify::expired());
        }
        if state
            .nodes
            .get(group)
            .is_some_and(|group| group.ending.is_some())
        {
            return vec![finished(id, Status::Skipped, None)];
        }
        let own = delegate::awaits_pod(place);
        if !own && !pod_is_ready(state, place) {
            return without_pod(state, id, place, group);
        }
        if let Some(events) = gate::follows(state, id, place, now) {
            return events;
        }
        if own {
            return match delegate::no_pod(state, id) {
                Some(failure) => unable(id, failure),
                None => Vec::new(),
            };
        }
    }
    match stop(state, id) {
        Some(stop) if now >= stop.deadline_ms && pod_is_ready(state, place) => {
            vec![Event::PodLost {
                group: group.clone(),
                reason: format!(
                    "{id} was told to end {} s ago and left no record",
                    now.saturating_sub(stop.since_ms) / 1000
                ),
            }]
        }
        _ => Vec::new(),
    }
}

/// An entered step whose pod is gone, or was never there.
fn without_pod(state: &State, id: &NodeId, place: &Place, group: &NodeId) -> Vec<Event> {
    if let Some(node) = replaced::again(state, group) {
        return vec![Event::InitializeAgain { node }];
    }
    if replaced::awaits(state, place) {
        return Vec::new();
    }
    // The pod that was to take the lost one's place could not be made.
    if let Some(failure) = turn::without_pod(state, place) {
        return vec![finished(
            id,
            Status::Skipped,
            Some(turn::not_started(&failure)),
        )];
    }
    let pod = state.pods.get(group);
    let why = pod.and_then(|pod| pod.reason.as_deref());
    let failure = match pod {
        Some(pod) if pod.unused && !replaced::another(state, group, pod) => {
            replaced::too_often(why)
        }
        _ => classify::infrastructure(why.unwrap_or("its pod is gone")),
    };
    unable(id, failure)
}

fn unable_now(place: &Place, id: &NodeId, failure: Failure) -> Vec<Event> {
    if place.phase == Phase::Entered {
        unable(id, failure)
    } else {
        Vec::new()
    }
}

/// The failure of what a person asked something of before it began.
fn ended(asked: Intervention) -> Failure {
    match asked {
        Intervention::MarkAsFailure => classify::marked(),
        _ => classify::ended(),
    }
}

/// What a person asked of the step itself.
fn asked(place: &Place) -> Option<Intervention> {
    place.order.map(|(intervention, _)| intervention)
}

/// The end of a step with its record. One that ended by itself although it was never told to is a Background step that ended
/// early.
fn recorded(state: &State, id: &NodeId, place: &Place, record: &Record, now: u64) -> Vec<Event> {
    let Some((status, failure)) = fail::own(place) else {
        return vec![finished(id, Status::Success, None)];
    };
    let outside = outside(state, id);
    let signalled = matches!(record.exit, Exit::Signal(_)) && !place.is_background();
    match status {
        // Told to end: by its group that begins again, or by whoever ended it or the run.
        Status::Aborted => {
            let failure = match outside {
                Some(halt) if halt.status == Status::Aborted => halt.failure,
                _ => failure,
            };
            vec![finished(id, Status::Aborted, Some(failure))]
        }
        Status::Expired if let Some(halt) = outside => {
            let around = halt.status == Status::Expired;
            let failure = if around { halt.failure } else { failure };
            vec![finished(id, status, Some(failure))]
        }
        // The addon's record says nothing of a stop that reached it too late or through its container's end.
        Status::Failed if signalled && let Some(halt) = outside => {
            vec![finished(id, halt.status, Some(halt.failure))]
        }
        Status::Failed if signalled && asked(place) == Some(Intervention::Abort) => {
            vec![finished(id, Status::Aborted, Some(classify::aborted()))]
        }
        _ => fail::failed(state, id, place, status, &failure, now),
    }
}
