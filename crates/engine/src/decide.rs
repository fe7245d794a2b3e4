//! What follows from an input, as events.
//!
//! An input is decided into the events that it means by itself. What follows from them follows from the state alone, and is decided by
//! [`Input::Now`] until nothing is left ([`advance`]): so a driver that dies between any two records of a batch leaves
//! a journal from which the next one goes on with the same words.

use addon::frame::Record;
use pipeline::plan::{Kind, Node, NodeId, Order, Wait};

use crate::classify;
use crate::event::{Answer, ErrorKind, Event, Failure, Interrupt, Stamped, Status, VERSION};
use crate::phase::Phase;
use crate::state::{Illegal, Place, PodPhase, State, evolve};
use crate::wanted::{POD_ATTEMPTS, deadline, stop};
use crate::{delegate, waits};

/// What reaches the engine. Inputs may come twice or too late: those mean nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A run is to be.
    Create {
        /// Its id.
        run: String,
        /// Its root.
        root: Box<Node>,
    },
    /// A new owner took the run over.
    Adopt,
    /// Time passed, or nothing happened.
    Now,
    /// Somebody wants it to end.
    Interrupt(Interrupt),
    /// The answer to [`crate::Effect::Expand`].
    Expanded {
        /// The node.
        node: NodeId,
        /// Its children, or what the user wrote wrong.
        children: Result<Vec<Node>, Failure>,
    },
    /// The answer to [`crate::Effect::NamePod`].
    PodNamed {
        /// The group.
        group: NodeId,
        /// The pod's name, or why there can be none.
        pod: Result<String, Failure>,
    },
    /// Every image can be had and lite-engine answers.
    PodReady {
        /// The group.
        group: NodeId,
        /// Of this pod.
        pod: String,
    },
    /// The pod cannot be made.
    PodFailed {
        /// The group.
        group: NodeId,
        /// This one.
        pod: String,
        /// Why. An [`ErrorKind::InfrastructureFailure`] is tried again with another pod.
        failure: Failure,
    },
    /// The pod is no more.
    PodLost {
        /// The group.
        group: NodeId,
        /// This one.
        pod: String,
        /// Why.
        reason: String,
    },
    /// The pod is removed.
    PodDeleted {
        /// The group.
        group: NodeId,
        /// This one.
        pod: String,
    },
    /// The pod cannot be removed.
    PodLeft {
        /// The group.
        group: NodeId,
        /// This one.
        pod: String,
        /// Why.
        reason: String,
    },
    /// The step's addon waits for it: the start may be sent.
    Starting {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
    },
    /// The step cannot be started: its container, or what it says.
    StartFailed {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// Why.
        failure: Failure,
    },
    /// The step's process runs.
    Started {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// By the container's clock.
        started_ms: u64,
    },
    /// A Background step is ready.
    Ready {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// Set where its probe's deadline passed.
        warning: Option<String>,
    },
    /// The step's record. Secret outputs are taken out of the event here.
    Finished {
        /// The step.
        step: NodeId,
        /// The record.
        record: Box<Record>,
    },
    /// The answer to [`crate::Effect::AskWait`].
    Waits {
        /// The step.
        node: NodeId,
        /// What it waits for, or what the user wrote wrong.
        wait: Result<Wait, Failure>,
    },
    /// The answer to [`crate::Effect::Queue`]: its turn has come, or why it never will.
    Admitted {
        /// The step.
        node: NodeId,
        /// Which.
        result: Result<(), Failure>,
    },
    /// Somebody answers an approval; what means nothing ([`crate::answer`]) is passed over.
    Answer {
        /// The step.
        node: NodeId,
        /// What they say.
        answer: Answer,
    },
    /// There will be no record.
    AttemptLost {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// Why.
        reason: Failure,
        /// Bytes of its output that are stored.
        stored: u64,
    },
}

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
        events = decide(state, Input::Now, now_ms);
        if events.is_empty() {
            return Ok(all);
        }
    }
}

/// The events that an input means in this state; none where it comes too late or again.
pub fn decide(state: &State, input: Input, now_ms: u64) -> Vec<Event> {
    match input {
        Input::Create { run, root } if state.root.is_none() => vec![
            Event::RunCreated {
                version: VERSION,
                run,
                root: *root,
            },
            Event::Adopted { epoch: 1 },
        ],
        Input::Create { .. } => Vec::new(),
        Input::Adopt => vec![Event::Adopted {
            epoch: state.epoch + 1,
        }],
        Input::Now => follows(state, now_ms.max(state.at_ms)),
        Input::Interrupt(interrupt) => match (&state.interrupt, &interrupt, state.finished) {
            (None, _, None) | (Some((Interrupt::Abort, _)), Interrupt::Kill, None) => {
                vec![Event::Interrupted { interrupt }]
            }
            _ => Vec::new(),
        },
        Input::Expanded { node, children } => match state.nodes.get(&node) {
            Some(place) if place.phase == Phase::Entered && place.children.is_none() => {
                match children {
                    Ok(children) => vec![Event::Expanded { node, children }],
                    Err(failure) => vec![finished(&node, Status::Failed, Some(failure))],
                }
            }
            _ => Vec::new(),
        },
        Input::PodNamed { group, pod } => pod_named(state, group, pod),
        Input::PodReady { group, pod } => match pod_phase(state, &group, &pod) {
            Some(PodPhase::Requested) if initializing(state, &group).is_some() => {
                vec![Event::PodReady { group }]
            }
            _ => Vec::new(),
        },
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
            (Some(PodPhase::Requested), Some(initialize)) => {
                vec![finished(&initialize, Status::Failed, Some(failure))]
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
                vec![finished(&step, Status::Failed, Some(failure))]
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
                vec![finished(&node, Status::Failed, Some(failure))]
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
    let Some(initialize) = initializing(state, &group) else {
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
        Err(failure) => vec![finished(&initialize, Status::Failed, Some(failure))],
    }
}

/// What follows from the state and the time alone: the first thing that does.
fn follows(state: &State, now: u64) -> Vec<Event> {
    if state.finished.is_some() {
        return Vec::new();
    }
    let Some(root) = state.root.as_ref().and_then(|root| state.nodes.get(root)) else {
        return Vec::new();
    };
    match root.phase {
        Phase::Waiting => {
            return vec![Event::NodeStarted {
                node: root.node.id.clone(),
            }];
        }
        // Pods of steps that are over are being removed.
        Phase::Finished(_) if delegate::left_behind(state) => return Vec::new(),
        Phase::Finished(status) => return vec![Event::RunFinished { status }],
        _ => {}
    }
    for (id, place) in active(state) {
        if deadline(place).is_some_and(|at| now >= at) {
            return vec![Event::TimedOut { node: id.clone() }];
        }
        let events = match &place.node.kind {
            Kind::Initialize => initialize_follows(state, id, place),
            Kind::Step(_) if waits::waits(place) => waits::follows(state, id, place, now),
            Kind::Step(step) => step_follows(state, id, place, step.container.is_some(), now),
            _ => composite_follows(state, id, place),
        };
        if !events.is_empty() {
            return events;
        }
    }
    Vec::new()
}

fn initialize_follows(state: &State, id: &NodeId, place: &Place) -> Vec<Event> {
    if place.phase == Phase::Recorded {
        return vec![finished(id, Status::Success, None)];
    }
    if let Some(halt) = outside(state, id) {
        return vec![finished(id, halt.status, Some(halt.failure))];
    }
    let Some(group) = &place.group else {
        let failure = configuration("it stands outside a containerized step group");
        return vec![finished(id, Status::Failed, Some(failure))];
    };
    match state.pods.get(group) {
        Some(pod) if pod.phase == PodPhase::Left => {
            let why = pod.reason.as_deref().unwrap_or_default();
            let failure = left(&pod.name, why);
            vec![finished(id, Status::Failed, Some(failure))]
        }
        Some(pod) if pod.phase == PodPhase::Deleted && pod.attempt + 1 >= POD_ATTEMPTS => {
            let why = pod.reason.as_deref().unwrap_or("it was removed");
            let text =
                format!("{POD_ATTEMPTS} pods were lost before any step began; the last: {why}");
            vec![finished(
                id,
                Status::Failed,
                Some(classify::infrastructure(text)),
            )]
        }
        _ => Vec::new(),
    }
}

fn step_follows(
    state: &State,
    id: &NodeId,
    place: &Place,
    has_container: bool,
    now: u64,
) -> Vec<Event> {
    match (place.phase, &place.end) {
        (Phase::Recorded, Some(Ok(record))) => {
            let (status, failure) = ended(state, id, place, record);
            return vec![finished(id, status, failure)];
        }
        (Phase::Lost, Some(Err(reason))) => {
            let (status, failure) = match outside(state, id) {
                Some(halt) => (halt.status, halt.failure),
                None => (Status::Failed, reason.clone()),
            };
            return vec![finished(id, status, Some(failure))];
        }
        _ => {}
    }
    let Some(group) = place.group.as_ref().filter(|_| has_container) else {
        let failure = configuration("steps outside a containerized step group are not executed");
        return vec![finished(id, Status::Failed, Some(failure))];
    };
    if place.phase == Phase::Entered {
        if let Some(halt) = outside(state, id) {
            return vec![finished(id, halt.status, Some(halt.failure))];
        }
        if state
            .nodes
            .get(group)
            .is_some_and(|group| group.ending.is_some())
        {
            return vec![finished(id, Status::Skipped, None)];
        }
        if delegate::awaits_pod(place) {
            return delegate::follows(state, id, place);
        }
        if !pod_is_ready(state, place) {
            let why = state.pods.get(group).and_then(|pod| pod.reason.clone());
            let why = why.unwrap_or_else(|| "its pod is gone".to_owned());
            let failure = classify::infrastructure(why);
            return vec![finished(id, Status::Failed, Some(failure))];
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

/// The status of a step with its record. One that ended by itself although it was never told to is a Background step that ended early.
fn ended(state: &State, id: &NodeId, place: &Place, record: &Record) -> (Status, Option<Failure>) {
    let (status, mut failure) = classify::record(record);
    if status == Status::Failed
        && let Some(own) = delegate::failure(&place.node, record)
    {
        failure = Some(own);
    }
    // The addon's record says nothing of a stop that reached it too late or through its container's end.
    match outside(state, id) {
        Some(halt) if status == Status::Failed && !place.is_background() => match record.exit {
            addon::frame::Exit::Signal(_) => (halt.status, Some(halt.failure)),
            _ => (status, failure),
        },
        _ => (status, failure),
    }
}

fn composite_follows(state: &State, id: &NodeId, place: &Place) -> Vec<Event> {
    let halt = halted(state, id);
    let Some(children) = &place.children else {
        return match halt {
            Some(halt) => vec![finished(id, halt.status, Some(halt.failure))],
            None => Vec::new(),
        };
    };
    let waiting = &children[place.next.min(children.len())..];
    if !waiting.is_empty() {
        return match (halt, place.node.order) {
            (Some(halt), _) => waiting
                .iter()
                .map(|child| finished(child, Status::Skipped, Some(not_started(&halt.failure))))
                .collect(),
            (None, Order::Parallel) => waiting.iter().map(|child| entered(state, child)).collect(),
            (None, Order::Sequence) if unfinished(state, id).next().is_none() => {
                vec![entered(state, &waiting[0])]
            }
            (None, Order::Sequence) => Vec::new(),
        };
    }
    if !place.is_pod_group() {
        return if unfinished(state, id).next().is_none() {
            vec![over(state, id, place)]
        } else {
            Vec::new()
        };
    }
    // Processes of the delegate are beside the pod, and waited for like what is in it.
    if inside(state, id)
        .chain(unfinished(state, id))
        .any(|(_, place)| !place.is_background())
    {
        return Vec::new();
    }
    if inside(state, id).next().is_some() {
        // Background steps that are not ready yet are not waited for: nobody is left who needs them.
        return if place.ending.is_none() {
            vec![Event::GroupEnding { group: id.clone() }]
        } else {
            Vec::new()
        };
    }
    match state.pods.get(id) {
        Some(pod) if pod.phase.may_exist() => Vec::new(),
        _ => vec![over(state, id, place)],
    }
}

/// Why what is inside a node must not go on.
pub(crate) struct Halt {
    pub(crate) status: Status,
    pub(crate) failure: Failure,
}

/// Whether a node must not enter more of what is in it.
pub(crate) fn halted(state: &State, id: &NodeId) -> Option<Halt> {
    if let Some(halt) = outside(state, id) {
        return Some(halt);
    }
    let place = state.nodes.get(id)?;
    // All of a parallel block began at once; nothing waits there.
    let bad = place.bad.as_ref()?;
    let failed = state.nodes.get(bad)?;
    Some(Halt {
        status: failed.status()?,
        failure: failed.failure.clone().unwrap_or_else(|| Failure {
            error: ErrorKind::Unknown,
            message: format!("{bad} failed"),
            help: None,
        }),
    })
}

/// An interrupt, or a time that is up around the node.
pub(crate) fn outside(state: &State, id: &NodeId) -> Option<Halt> {
    if state.interrupt.is_some() {
        return Some(Halt {
            status: Status::Aborted,
            failure: classify::aborted(),
        });
    }
    state.timed_out(id).map(|_| Halt {
        status: Status::Expired,
        failure: classify::expired(),
    })
}

fn over(state: &State, id: &NodeId, place: &Place) -> Event {
    if let Some(pod) = state.pods.get(id).filter(|pod| pod.phase == PodPhase::Left) {
        let failure = left(&pod.name, pod.reason.as_deref().unwrap_or_default());
        return finished(id, Status::Failed, Some(failure));
    }
    let spoiled = place.bad.is_some() || place.cut;
    let halt = if spoiled { halted(state, id) } else { None };
    match halt {
        Some(halt) => finished(id, halt.status, Some(halt.failure)),
        None => finished(id, Status::Success, None),
    }
}

/// Children of a node that are entered and that it waits for: not a Background step that is ready.
fn unfinished<'a>(
    state: &'a State,
    id: &'a NodeId,
) -> impl Iterator<Item = (&'a NodeId, &'a Place)> {
    active(state).filter(move |(_, place)| {
        place.parent.as_ref() == Some(id) && !(place.is_background() && place.phase == Phase::Ready)
    })
}

/// What is entered and not over in a containerized group, the group itself not counted.
pub(crate) fn inside<'a>(
    state: &'a State,
    group: &'a NodeId,
) -> impl Iterator<Item = (&'a NodeId, &'a Place)> {
    active(state).filter(move |(id, place)| place.group.as_ref() == Some(group) && *id != group)
}

fn active(state: &State) -> impl Iterator<Item = (&NodeId, &Place)> {
    state
        .active
        .iter()
        .filter_map(|id| state.nodes.get_key_value(id))
}

/// What waits for this pod: the group's Initialize, or the step whose own it is.
fn initializing(state: &State, group: &NodeId) -> Option<NodeId> {
    if let Some(place) = state.nodes.get(group).filter(|p| delegate::awaits_pod(p)) {
        return Some(place.node.id.clone());
    }
    inside(state, group)
        .find(|(_, place)| place.node.kind == Kind::Initialize)
        .filter(|(_, place)| place.phase == Phase::Entered)
        .map(|(id, _)| id.clone())
}

fn pod_phase(state: &State, group: &NodeId, name: &str) -> Option<PodPhase> {
    let pod = state.pods.get(group).filter(|pod| pod.name == name)?;
    Some(pod.phase)
}

fn pod_is_ready(state: &State, place: &Place) -> bool {
    let pod = place.group.as_ref().and_then(|group| state.pods.get(group));
    pod.is_some_and(|pod| pod.phase == PodPhase::Ready)
}

/// A child's turn: it is entered, or passed over where that was known before.
fn entered(state: &State, child: &NodeId) -> Event {
    let skip = state
        .nodes
        .get(child)
        .is_some_and(|place| place.node.skip.is_some());
    if skip {
        finished(child, Status::Skipped, None)
    } else {
        started(child)
    }
}

fn started(node: &NodeId) -> Event {
    Event::NodeStarted { node: node.clone() }
}

pub(crate) fn finished(node: &NodeId, status: Status, failure: Option<Failure>) -> Event {
    Event::NodeFinished {
        node: node.clone(),
        status,
        failure,
    }
}

fn not_started(failure: &Failure) -> Failure {
    Failure {
        error: failure.error,
        message: format!("not started: {}", failure.message),
        help: None,
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
