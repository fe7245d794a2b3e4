//! What follows from an input, as events.
//!
//! An input is decided into the events that it means by itself. What follows from them follows from the state alone, and is decided by
//! [`Input::Now`] until nothing is left ([`advance`]): so a driver that dies between any two records of a batch leaves
//! a journal from which the next one goes on with the same words.
//!
//! [`leaf`] decides of a step and an Initialize, [`composite`] of what has children, [`turn`] whether a child is entered,
//! [`fail`] what becomes of a failure, [`interrupt`] what a person may ask, [`halt`] why nothing more may begin.

mod composite;
mod fail;
mod halt;
mod interrupt;
mod leaf;
mod turn;

use pipeline::plan::{Kind, NodeId};

use crate::attention;
use crate::classify;
use crate::event::{ErrorKind, Event, Failure, Stamped, Status, VERSION};
use crate::evolve::evolve;
use crate::input::Input;
use crate::phase::Phase;
use crate::state::{Illegal, Place, PodPhase, State};
use crate::wanted::deadline;
use crate::{delegate, waits, workspace};

pub(crate) use fail::{asks, strategy_for};
pub(crate) use halt::halted;
pub use interrupt::refusal;
pub(crate) use turn::judges;

/// Decides an input to its end: folds what it means and all that follows into the state. What comes back is to be committed before
/// any effect of the new state is performed.
pub fn advance(state: &mut State, input: Input, now_ms: u64) -> Result<Vec<Stamped>, Illegal> {
    let mut all = Vec::new();
    let mut events = decide(state, input, now_ms);
    let at_ms = now_ms.max(state.at_ms);
    loop {
        for event in events {
            let stamped = Stamped { at_ms, event };
            evolve(state, &stamped)?;
            all.push(stamped);
        }
        events = attention::follows(state, at_ms);
        if events.is_empty() {
            return Ok(all);
        }
    }
}

/// The events that an input means in this state; none where it comes too late or again.
pub fn decide(state: &State, input: Input, now_ms: u64) -> Vec<Event> {
    match input {
        Input::Create {
            run,
            root,
            awake,
            wishes,
        } if state.root.is_none() => vec![
            Event::RunCreated {
                version: VERSION,
                run,
                root: *root,
                carried: wishes.carried,
                keep_ms: wishes.keep_ms,
            },
            Event::Adopted { epoch: 1, awake },
        ],
        Input::Create { .. } => Vec::new(),
        Input::Adopt { awake } => vec![Event::Adopted {
            epoch: state.epoch + 1,
            awake,
        }],
        Input::Now => follows(state, now_ms.max(state.at_ms)),
        Input::Interrupt(interrupt) => interrupt::interrupted(state, interrupt, now_ms),
        Input::Judged { node, answer } => match state.nodes.get(&node) {
            Some(place) if place.judged.is_none() && fail::may_ask(state, place) => {
                vec![Event::Judged { node, answer }]
            }
            _ => Vec::new(),
        },
        Input::Expanded { node, children } => match state.nodes.get(&node) {
            Some(place) if place.phase == Phase::Entered && place.children.is_none() => {
                match children {
                    Ok(children) => vec![Event::Expanded { node, children }],
                    Err(failure) => vec![Event::Failed { node, failure }],
                }
            }
            _ => Vec::new(),
        },
        Input::PodNamed { group, pod } => pod_named(state, group, pod),
        Input::PodReady { group, pod } => match pod_phase(state, &group, &pod) {
            Some(PodPhase::Requested)
                if initializing(state, &group).is_some()
                    && workspace::to_give(state, &group).is_none() =>
            {
                vec![Event::PodReady { group }]
            }
            _ => Vec::new(),
        },
        Input::WorkspaceKept { group, pod, result } => workspace::kept(state, group, &pod, result),
        Input::WorkspaceGiven { group, pod, result } => {
            workspace::given(state, group, &pod, result)
        }
        Input::PodFailed {
            group,
            pod,
            failure,
        } => match (pod_phase(state, &group, &pod), initializing(state, &group)) {
            (Some(PodPhase::Requested), Some(_))
                if failure.error == ErrorKind::InfrastructureFailure =>
            {
                vec![Event::PodLost {
                    group,
                    reason: failure.message,
                }]
            }
            (Some(PodPhase::Requested), Some(node)) => vec![Event::Failed { node, failure }],
            // A part of it is gone that some step would miss: while none has begun, another pod costs nothing.
            (Some(PodPhase::Ready), None)
                if failure.error == ErrorKind::InfrastructureFailure
                    && state.pods.get(&group).is_some_and(|pod| {
                        !pod.used && crate::replaced::another(state, &group, pod)
                    }) =>
            {
                vec![Event::PodLost {
                    group,
                    reason: failure.message,
                }]
            }
            _ => Vec::new(),
        },
        Input::PodLost { group, pod, reason } => match pod_phase(state, &group, &pod) {
            Some(PodPhase::Requested | PodPhase::Ready) => vec![Event::PodLost { group, reason }],
            _ => Vec::new(),
        },
        Input::PodDeleted { group, pod } => match pod_phase(state, &group, &pod) {
            Some(phase) if phase.may_exist() => vec![Event::PodDeleted { group }],
            _ => Vec::new(),
        },
        Input::PodLeft { group, pod, reason } => match pod_phase(state, &group, &pod) {
            Some(phase) if phase.may_exist() => vec![Event::PodLeft { group, reason }],
            _ => Vec::new(),
        },
        Input::Starting { step, attempt } => match state.nodes.get(&step) {
            Some(place)
                if place.phase == Phase::Entered
                    && place.attempts == attempt
                    && pod_is_ready(state, place) =>
            {
                vec![Event::AttemptStarting { step, attempt }]
            }
            _ => Vec::new(),
        },
        Input::StartFailed {
            step,
            attempt,
            failure,
        } => match state.nodes.get(&step) {
            Some(place) if place.phase == Phase::Entered && place.attempts == attempt => {
                vec![Event::Failed {
                    node: step,
                    failure,
                }]
            }
            Some(place) if place.phase == Phase::Starting && place.attempt() == attempt => {
                vec![Event::AttemptLost {
                    step,
                    attempt,
                    reason: failure,
                    stored: 0,
                }]
            }
            _ => Vec::new(),
        },
        Input::Started {
            step,
            attempt,
            started_ms,
        } => match state.nodes.get(&step) {
            Some(place) if place.phase == Phase::Starting && place.attempt() == attempt => {
                vec![Event::AttemptStarted {
                    step,
                    attempt,
                    started_ms,
                }]
            }
            _ => Vec::new(),
        },
        Input::Ready {
            step,
            attempt,
            warning,
        } => match state.nodes.get(&step) {
            Some(place)
                if place.phase == Phase::Running
                    && place.attempt() == attempt
                    && place.is_background() =>
            {
                vec![Event::AttemptReady {
                    step,
                    attempt,
                    warning,
                }]
            }
            _ => Vec::new(),
        },
        Input::Finished { step, mut record } => match state.nodes.get(&step) {
            Some(place)
                if place.phase.may_run()
                    && place.attempt() == record.attempt.number
                    && record.attempt.run == state.run =>
            {
                // The journal is a file; what is secret stays in the memory of this driver.
                for output in record.outputs.iter_mut().filter(|output| output.secret) {
                    output.value.clear();
                }
                let mut events = Vec::new();
                if place.phase == Phase::Starting && record.started_ms > 0 {
                    events.push(Event::AttemptStarted {
                        step: step.clone(),
                        attempt: record.attempt.number,
                        started_ms: record.started_ms,
                    });
                }
                events.push(Event::AttemptFinished { step, record });
                events
            }
            _ => Vec::new(),
        },
        Input::Waits { node, wait } => waits::resolved(state, &node, wait, now_ms.max(state.at_ms)),
        Input::Admitted { node, result } => match (state.queues.get(&node), result) {
            (Some(queued), Ok(())) if !queued.admitted => vec![Event::Admitted { node }],
            (Some(queued), Err(failure)) if !queued.admitted => {
                vec![Event::Failed { node, failure }]
            }
            _ => Vec::new(),
        },
        Input::Answer { node, answer } => match waits::answer(state, &node, &answer) {
            Ok(()) => vec![Event::Answered { node, answer }],
            Err(_) => Vec::new(),
        },
        Input::AttemptLost {
            step,
            attempt,
            reason,
            stored,
        } => match state.nodes.get(&step) {
            Some(place) if place.phase.may_run() && place.attempt() == attempt => {
                vec![Event::AttemptLost {
                    step,
                    attempt,
                    reason,
                    stored,
                }]
            }
            _ => Vec::new(),
        },
    }
}

fn pod_named(state: &State, group: NodeId, pod: Result<String, Failure>) -> Vec<Event> {
    let Some(node) = initializing(state, &group) else {
        return Vec::new();
    };
    let attempt = match state.pods.get(&group) {
        None => 0,
        Some(last) if !last.phase.may_exist() => last.attempt + 1,
        Some(_) => return Vec::new(),
    };
    match pod {
        Ok(pod) => vec![Event::PodRequested {
            group,
            pod,
            attempt,
        }],
        Err(failure) => vec![Event::Failed { node, failure }],
    }
}

/// What follows from the state and the time alone: the first thing that does.
pub(crate) fn follows(state: &State, now: u64) -> Vec<Event> {
    if let Some(events) = around(state) {
        return events;
    }
    active(state)
        .map(|(id, place)| of(state, id, place, now))
        .find(|events| !events.is_empty())
        .unwrap_or_default()
}

/// What follows where not even the pipeline runs; none: it does.
pub(crate) fn around(state: &State) -> Option<Vec<Event>> {
    if state.finished.is_some() {
        return Some(Vec::new());
    }
    let Some(root) = state.root.as_ref().and_then(|root| state.nodes.get(root)) else {
        return Some(Vec::new());
    };
    match root.phase {
        Phase::Waiting => Some(vec![started(&root.node.id)]),
        // Pods of steps that are over are being removed.
        Phase::Finished(_) if delegate::left_behind(state) => Some(Vec::new()),
        Phase::Finished(status) => Some(vec![Event::RunFinished { status }]),
        _ => None,
    }
}

/// What follows for one node that is entered and not over.
pub(crate) fn of(state: &State, id: &NodeId, place: &Place, now: u64) -> Vec<Event> {
    if deadline(state, place).is_some_and(|at| now >= at) {
        return vec![Event::TimedOut { node: id.clone() }];
    }
    match (place.phase, &place.node.kind) {
        (Phase::Pausing | Phase::Asking | Phase::Handled, _) => {
            fail::follows(state, id, place, now)
        }
        (_, Kind::Step(_)) if waits::waits(place) => leaf::waiting(state, id, place, now),
        (_, Kind::Initialize) => leaf::initialize(state, id, place, now),
        (_, Kind::Step(step)) => leaf::step(state, id, place, step.container.is_some(), now),
        _ => composite::follows(state, id, place, now),
    }
}

fn active(state: &State) -> impl Iterator<Item = (&NodeId, &Place)> {
    state
        .active
        .iter()
        .filter_map(|id| state.nodes.get_key_value(id))
}

/// Whether a containerized group needs its pod: something in it runs, or may be entered yet.
pub(crate) fn needs_pod(state: &State, group: &NodeId) -> bool {
    state.nodes.get(group).is_some_and(|place| {
        if delegate::is_own(&place.node) {
            return place.phase.is_active();
        }
        let waits = place
            .children
            .as_ref()
            .is_some_and(|children| place.next < children.len());
        place.phase.is_active()
            && (place.within.0 > 0 || waits || composite::will_undo(state, group, place))
    })
}

/// What waits for this pod: the group's Initialize, or the step whose own it is.
pub(crate) fn initializing(state: &State, group: &NodeId) -> Option<NodeId> {
    if let Some(place) = state.nodes.get(group).filter(|p| delegate::is_own(&p.node)) {
        return delegate::awaits_pod(place).then(|| group.clone());
    }
    crate::state::initialize(state, group).filter(|id| {
        let place = state.nodes.get(id);
        place.is_some_and(|place| place.phase == Phase::Entered)
    })
}

pub(crate) fn pod_phase(state: &State, group: &NodeId, name: &str) -> Option<PodPhase> {
    let pod = state.pods.get(group).filter(|pod| pod.name == name)?;
    Some(pod.phase)
}

fn pod_is_ready(state: &State, place: &Place) -> bool {
    let pod = place.group.as_ref().and_then(|group| state.pods.get(group));
    pod.is_some_and(|pod| pod.phase == PodPhase::Ready)
}

fn started(node: &NodeId) -> Event {
    Event::NodeStarted { node: node.clone() }
}

pub(crate) fn finished(node: &NodeId, status: Status, failure: Option<Failure>) -> Event {
    Event::NodeFinished {
        node: node.clone(),
        status,
        failure,
        why: None,
    }
}

fn left(pod: &str, why: &str) -> Failure {
    Failure {
        help: Some("`stepyard sweep` removes it".to_owned()),
        ..classify::infrastructure(format!("the pod {pod} could not be removed: {why}"))
    }
}

fn configuration(message: &str) -> Failure {
    Failure {
        error: ErrorKind::ConfigurationFailure,
        message: message.to_owned(),
        help: None,
    }
}
