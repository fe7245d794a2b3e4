//! What a person may ask of a run while it goes, and why not.

use pipeline::plan::{Kind, NodeId};

use super::fail;
use crate::event::{Event, Interrupt, Intervention};
use crate::phase::{Phase, Sort};
use crate::state::{Place, State};

/// The events that an interrupt means; none where [`refusal`] has a reason.
pub(super) fn interrupted(state: &State, interrupt: Interrupt, now: u64) -> Vec<Event> {
    if refusal(state, &interrupt).is_some() {
        return Vec::new();
    }
    if let Interrupt::Node { node, action } = &interrupt
        && let Some(place) = state.nodes.get(node)
        && (place.phase == Phase::Asking || pauses(place, *action))
    {
        let now = now.max(state.at_ms);
        return fail::by_person(state, node, place, *action, now)
            .into_iter()
            .collect();
    }
    vec![Event::Interrupted { interrupt }]
}

/// Why an interrupt means nothing now; none: it is acted on.
pub fn refusal(state: &State, interrupt: &Interrupt) -> Option<String> {
    if state.finished.is_some() {
        return Some("the run is over".to_owned());
    }
    if state.root.is_none() {
        return Some("the run has not begun".to_owned());
    }
    match interrupt {
        Interrupt::Abort if state.interrupt.is_some() => Some("it ends already".to_owned()),
        Interrupt::Kill if matches!(state.interrupt, Some((Interrupt::Kill, _))) => {
            Some("it ends already".to_owned())
        }
        Interrupt::Pause if state.paused.is_some() => Some("it is paused already".to_owned()),
        Interrupt::Pause if state.interrupt.is_some() => Some("it ends".to_owned()),
        Interrupt::Resume if state.paused.is_none() => Some("it is not paused".to_owned()),
        Interrupt::Node { node, action } => {
            let Some(place) = state.nodes.get(node) else {
                return Some(format!("the run has no {node} yet"));
            };
            match place.phase {
                Phase::Waiting => Some(format!("{node} has not begun")),
                Phase::Finished(_) => Some(format!("{node} is over")),
                Phase::Asking => impossible(state, node, place, *action),
                _ if pauses(place, *action) => impossible(state, node, place, *action),
                _ if place.order.is_some() => Some(format!("{node} ends already")),
                _ => match (action, place.sort()) {
                    (Intervention::Abort, _)
                    | (Intervention::MarkAsFailure, Sort::Step | Sort::Wait) => None,
                    // It is ended, and what was decided becomes of it.
                    (_, Sort::Step) => impossible(state, node, place, *action),
                    // Somebody has seen what it waits for.
                    (_, Sort::Wait) if is_wait(place) => impossible(state, node, place, *action),
                    (Intervention::MarkAsFailure, _) => Some(format!(
                        "{node} is no step; only a step is marked as failed"
                    )),
                    _ => Some(format!("{node} does not wait for a decision")),
                },
            }
        }
        _ => None,
    }
}

/// It failed and waits for its next try: what a person decides by then is done at once. An abort ends it as it does a step that runs.
fn pauses(place: &Place, action: Intervention) -> bool {
    place.phase == Phase::Pausing && place.order.is_none() && action != Intervention::Abort
}

/// Why a decision about a step cannot be carried out.
fn impossible(state: &State, node: &NodeId, place: &Place, action: Intervention) -> Option<String> {
    match action {
        // The same container, in the same pod.
        Intervention::Retry if !may_retry(state, place) => Some(format!(
            "the pod of {node} is gone: it cannot be tried again there"
        )),
        Intervention::RetryStepGroup if fail::decided(state, node, place, action, 0).is_none() => {
            Some(format!("{node} is in no step group"))
        }
        _ => None,
    }
}

/// A step that lets time pass.
fn is_wait(place: &Place) -> bool {
    matches!(&place.node.kind, Kind::Step(step) if step.r#type == "Wait")
}

pub(super) fn may_retry(state: &State, place: &Place) -> bool {
    place.sort() != Sort::Step
        || crate::delegate::is_own(&place.node)
        || super::pod_is_ready(state, place)
}
