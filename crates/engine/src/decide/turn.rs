//! Whether a child is entered when its turn comes: its `when`, and all that goes before it.

use pipeline::plan::{self, Kind, NodeId, Order, WhenStatus};

use super::halt::closed;
use super::{finished, started};
use crate::event::{ErrorKind, Event, Failure, Status};
use crate::phase::Phase;
use crate::state::{Place, State, initialize};

/// What becomes of a child whose turn it is.
enum Turn {
    /// It is entered.
    Enter,
    /// It is passed over because something failed, or was asked of the run.
    Cut(Failure),
    /// It is passed over, and that is no failure.
    Skip(Option<String>),
    /// Its condition decides.
    Judge,
    /// It was over in another run.
    Carry,
}

/// The children whose turn it is now, as events; a condition that is not evaluated yet holds up what is after it.
pub(super) fn take(state: &State, parent: &Place) -> Vec<Event> {
    let mut events = Vec::new();
    let mut busy = parent.busy;
    for child in waiting(state, parent) {
        if !admits(parent, busy) && closed(state, &parent.node.id).is_none() {
            break;
        }
        match turn(state, parent, child) {
            Turn::Judge => break,
            Turn::Enter if state.paused.is_some() => break,
            Turn::Enter => {
                busy += 1;
                events.push(started(&child.node.id));
            }
            Turn::Carry => events.extend(carried(state, &child.node.id)),
            Turn::Cut(failure) => {
                events.push(finished(&child.node.id, Status::Skipped, Some(failure)));
            }
            Turn::Skip(why) => events.push(Event::NodeFinished {
                node: child.node.id.clone(),
                status: Status::Skipped,
                failure: None,
                why,
            }),
        }
        // What comes after a node in order depends on how it ends.
        if parent.node.order == Order::Sequence {
            break;
        }
    }
    events
}

/// The condition that decides on the next child, where nothing else does.
pub(crate) fn judges<'s>(state: &'s State, parent: &'s Place) -> Option<(&'s Place, &'s str)> {
    let child = waiting(state, parent).next()?;
    let judge = admits(parent, parent.busy)
        && state.paused.is_none()
        && matches!(turn(state, parent, child), Turn::Judge);
    let when = child.node.when.as_ref().filter(|_| judge)?;
    Some((child, when.condition.as_deref()?))
}

fn waiting<'s>(state: &'s State, parent: &'s Place) -> impl Iterator<Item = &'s Place> {
    let children = parent.children.as_deref().unwrap_or_default();
    children[parent.next.min(children.len())..]
        .iter()
        .filter_map(|id| state.nodes.get(id))
}

/// Whether one more child may run beside those that do.
fn admits(parent: &Place, busy: u32) -> bool {
    match parent.node.order {
        Order::Sequence => busy == 0,
        Order::Parallel => parent.node.limit.is_none_or(|limit| busy < limit.max(1)),
    }
}

fn turn(state: &State, parent: &Place, child: &Place) -> Turn {
    // Nothing is started: it makes no difference what became of the run until now.
    if state.carried.contains_key(&child.node.id) {
        return Turn::Carry;
    }
    if let Some(halt) = closed(state, &parent.node.id) {
        return Turn::Cut(not_started(&halt.failure));
    }
    if child.node.skip.is_some() {
        return Turn::Skip(None);
    }
    if parent.node.skip_queued && parent.bad.is_some() {
        return Turn::Skip(Some(
            "an iteration failed, and `onFailure` is SkipQueued".to_owned(),
        ));
    }
    if child.node.kind == Kind::Initialize {
        return Turn::Enter;
    }
    if let Some(turn) = by_status(state, parent, child) {
        return turn;
    }
    if let Some(failure) = without_pod(state, child) {
        return Turn::Cut(not_started(&failure));
    }
    let condition = child.node.when.as_ref();
    match condition.and_then(|when| Some((when.condition.as_ref()?, &child.judged))) {
        Some((_, None)) => Turn::Judge,
        Some((text, Some(Ok(false)))) => Turn::Skip(Some(plan::does_not_hold(text))),
        // One that cannot be evaluated fails the node once it is entered.
        _ => Turn::Enter,
    }
}

fn carried(state: &State, id: &NodeId) -> Option<Event> {
    let carried = state.carried.get(id)?;
    Some(Event::NodeCarried {
        node: id.clone(),
        run: carried.run.clone(),
        status: carried.status,
        why: carried.why.clone(),
    })
}

/// What `stageStatus` or `pipelineStatus` says; none: it may be entered.
///
/// What was *before* a node is what is over in the sequences that it is in, up to its stage (of a stage: up to the
/// pipeline). What runs beside it, in a `parallel` block or a loop, is not: so the answer does not depend on who was faster.
fn by_status(state: &State, parent: &Place, child: &Place) -> Option<Turn> {
    // A block or a loop is entered if anything in it may be: that decides for itself.
    let status = child.node.when.as_ref().and_then(|when| when.status);
    let status = match child.node.kind {
        Kind::Parallel | Kind::Loop if status.is_some() => return None,
        _ => status,
    };
    let before = before(state, parent, status.is_none());
    match status.unwrap_or(WhenStatus::Success) {
        WhenStatus::All => None,
        // Said in so many words it holds for what undoes a failure, too; what says nothing there runs.
        WhenStatus::Success if status.is_some() && before.undone => Some(Turn::Skip(Some(
            "runs only where nothing failed before".to_owned(),
        ))),
        WhenStatus::Success => before.bad.map(|failure| Turn::Cut(not_started(&failure))),
        WhenStatus::Failure if before.unmended || before.undoing => None,
        WhenStatus::Failure => Some(Turn::Skip(Some(if before.bad.is_some() {
            "runs only after a failure; what failed was rolled back".to_owned()
        } else {
            "runs only after a failure".to_owned()
        }))),
    }
}

#[derive(Default)]
struct Before {
    /// The nearest failure.
    bad: Option<Failure>,
    /// Something failed and was not rolled back.
    unmended: bool,
    /// It is a rollback step: something failed, else it would not run.
    undoing: bool,
    /// What it undoes failed itself, and not only something else in the pipeline.
    undone: bool,
}

/// What became of what is before the children of a node. Where a child says nothing itself, what was before a group that is
/// entered after failures does not count: the group was meant to run then, and so is what is in it.
fn before(state: &State, parent: &Place, silent: bool) -> Before {
    let mut before = Before::default();
    for (_, place) in state.upwards(&parent.node.id) {
        if place.node.order == Order::Sequence
            && let Some(bad) = &place.bad
        {
            before.unmended |= place.unmended;
            if before.bad.is_none() {
                before.bad = Some(failure_of(state, bad));
            }
        }
        match place.node.kind {
            Kind::Stage(_) => break,
            Kind::Rollback => {
                before.undoing = true;
                let undone = place.node.id.undone();
                let undone = undone.and_then(|id| state.nodes.get(&id));
                before.undone = undone.is_some_and(|own| own.bad.is_some());
                break;
            }
            Kind::StepGroup { .. } if silent => {
                let when = place.node.when.as_ref().and_then(|when| when.status);
                if matches!(when, Some(WhenStatus::Failure | WhenStatus::All)) {
                    break;
                }
            }
            _ => {}
        }
    }
    before
}

fn failure_of(state: &State, bad: &NodeId) -> Failure {
    let failure = state.nodes.get(bad).and_then(|place| place.failure.clone());
    failure.unwrap_or_else(|| Failure {
        error: ErrorKind::Unknown,
        message: format!("{bad} failed"),
        help: None,
    })
}

/// A step needs the pod of its group: where that could not be made, it cannot run, whatever its `when` says.
pub(super) fn without_pod(state: &State, child: &Place) -> Option<Failure> {
    let group = child.group.as_ref().filter(|_| child.parent.is_some())?;
    if !matches!(&child.node.kind, Kind::Step(step) if step.container.is_some()) {
        return None;
    }
    let initialize = initialize(state, group).and_then(|id| state.nodes.get(&id))?;
    match initialize.phase {
        Phase::Finished(status) if !status.is_positive() => initialize.failure.clone(),
        _ => None,
    }
}

pub(super) fn not_started(failure: &Failure) -> Failure {
    let message = match failure.message.strip_prefix("not started: ") {
        Some(rest) => format!("not started: {rest}"),
        None => format!("not started: {}", failure.message),
    };
    Failure {
        error: failure.error,
        message,
        help: None,
    }
}
