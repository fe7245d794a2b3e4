//! What becomes of a failure (`reference/behaviour.md` §9).
//!
//! The first entry that holds, at the innermost level that has one, wins: the step's, its groups', its stage's. What it says
//! becomes one event, [`Event::FailureHandled`]; the rest follows from that.

use pipeline::plan::{Action, Kind, NodeId, Retry, Strategy};

use super::halt::{closed, outside};
use super::interrupt::may_retry;
use super::{finished, pod_is_ready};
use crate::classify;
use crate::delegate;
use crate::event::{By, ErrorKind, Event, Failure, Handling, Interrupt, Intervention, Status};
use crate::phase::{Phase, Sort};
use crate::state::{Handled, Place, State};

/// A node failed: by itself, and not because of what happened around it.
pub(super) fn failed(
    state: &State,
    id: &NodeId,
    place: &Place,
    status: Status,
    failure: &Failure,
    now: u64,
) -> Vec<Event> {
    let asker = Asker {
        state,
        id,
        place,
        now,
    };
    // A person who ended it has said what becomes of it.
    if let Some((intervention, _)) = place.order
        && by_order(intervention)
        && (intervention != Intervention::Retry || may_retry(state, place))
        && let Some(handling) = decided(state, id, place, intervention, now)
    {
        return vec![Event::FailureHandled {
            node: id.clone(),
            failure: failure.clone(),
            status,
            handling,
            by: By::Person,
        }];
    }
    let found = strategy(state, id, failure);
    let written = found.map(|(_, strategy)| asker.handling(&strategy.action));
    let (handling, by) = match (found, written) {
        // A retry's condition is evaluated first.
        (_, Some(Err(_))) => return Vec::new(),
        (Some((level, _)), Some(Ok(handling))) if goes_on(&handling) => {
            (handling, By::Strategy(level.clone()))
        }
        (found, written) => {
            let handling = written.as_ref().and_then(|own| own.as_ref().ok());
            let then = found.map(|(_, strategy)| rest(&strategy.action, handling));
            match (asker.keep(failure, then), found, written) {
                (Some(handling), ..) => (handling, By::Keep),
                (None, Some((level, _)), Some(Ok(handling))) => {
                    (handling, By::Strategy(level.clone()))
                }
                _ => return vec![finished(id, status, Some(failure.clone()))],
            }
        }
    };
    vec![Event::FailureHandled {
        node: id.clone(),
        failure: failure.clone(),
        status,
        handling,
        by,
    }]
}

/// What was asked of a running step decides about it, also where a strategy would.
fn by_order(intervention: Intervention) -> bool {
    !matches!(
        intervention,
        Intervention::Abort | Intervention::MarkAsFailure
    )
}

/// What of an action is still to be done where retries that it begins with are used up.
fn rest<'a>(action: &'a Action, handling: Option<&Handling>) -> &'a Action {
    let group = matches!(handling, Some(Handling::RetryStepGroup { .. }));
    match action {
        Action::RetryStepGroup(_) if group => action,
        Action::Retry(retry) | Action::RetryStepGroup(retry) => match &retry.then {
            Some(then) => rest(then, handling),
            None => &Action::MarkAsFailure,
        },
        other => other,
    }
}

/// What follows runs in the same pod, or a person is asked anyway.
fn goes_on(handling: &Handling) -> bool {
    matches!(
        handling,
        Handling::Ignore | Handling::MarkAsSuccess | Handling::Retry { .. } | Handling::Ask { .. }
    )
}

/// The entry that holds for a failure of a node, and where it is written. A rollback step has its own and its groups': the
/// stage's is what asked for the rollback.
fn strategy<'s>(
    state: &'s State,
    id: &'s NodeId,
    failure: &Failure,
) -> Option<(&'s NodeId, &'s Strategy)> {
    for (level, place) in state.upwards(id) {
        let mut strategies = place.node.strategies.iter();
        if let Some(found) = strategies.find(|own| own.errors.holds(failure.error)) {
            return Some((level, found));
        }
        if place.node.kind == Kind::Rollback {
            return None;
        }
    }
    None
}

/// What is written for a failure of a node.
pub(crate) fn strategy_for<'s>(
    state: &'s State,
    id: &'s NodeId,
    failure: &Failure,
) -> Option<&'s Action> {
    strategy(state, id, failure).map(|(_, own)| &own.action)
}

/// What is decided for one failed node.
struct Asker<'s> {
    state: &'s State,
    id: &'s NodeId,
    place: &'s Place,
    now: u64,
}

impl Asker<'_> {
    /// What an action comes to here, or the condition that is to be evaluated first.
    fn handling<'a>(&self, action: &'a Action) -> Result<Handling, &'a str> {
        Ok(match action {
            Action::Ignore => Handling::Ignore,
            Action::MarkAsSuccess => Handling::MarkAsSuccess,
            // No input is waited for here: there is nothing to go on with.
            Action::MarkAsFailure | Action::ProceedWithDefaultValues => Handling::MarkAsFailure,
            Action::Abort => Handling::Abort,
            Action::StageRollback => self.rollback(|kind| matches!(kind, Kind::Stage(_))),
            Action::StepGroupRollback => {
                self.rollback(|kind| matches!(kind, Kind::StepGroup { .. }))
            }
            Action::PipelineRollback => self.rollback(|kind| *kind == Kind::Pipeline),
            Action::Retry(retry) => return self.retry(retry),
            Action::RetryStepGroup(retry) => match self.group().filter(|_| self.may_wait()) {
                Some((group, place)) if place.retries < retry.count => Handling::RetryStepGroup {
                    group: group.clone(),
                    number: place.retries + 1,
                    of: Some(retry.count),
                    at_ms: self.now + retry.wait_ms(place.retries),
                },
                _ => return self.after(retry),
            },
            Action::ManualIntervention { timeout_ms, then } => {
                if self.place.sort() == Sort::Composite || !self.may_wait() {
                    return self.handling(then);
                }
                Handling::Ask {
                    until_ms: self.now + timeout_ms,
                    then: (**then).clone(),
                }
            }
        })
    }

    /// A pod that is kept for a failed step: somebody may mend it there. `then` is what is written, and happens if nobody does.
    fn keep(&self, failure: &Failure, then: Option<&Action>) -> Option<Handling> {
        let place = self.place;
        let contained = place.sort() == Sort::Step
            && !place.is_background()
            && !delegate::is_own(&place.node)
            && pod_is_ready(self.state, place);
        // Whoever marked it as failed has decided.
        let decided = failure.error == ErrorKind::UserMarkedFailure;
        let keep_ms = self.state.keep_ms.filter(|_| contained && !decided)?;
        self.may_wait().then(|| Handling::Ask {
            until_ms: self.now.saturating_add(keep_ms),
            then: then.cloned().unwrap_or(Action::MarkAsFailure),
        })
    }

    fn retry<'a>(&self, retry: &'a Retry) -> Result<Handling, &'a str> {
        let place = self.place;
        let possible = place.sort() != Sort::Composite
            && !place.is_background()
            && place.retries < retry.count
            && self.may_wait()
            // The same container, in the same pod: where that is gone, only the whole group can begin again.
            && (place.sort() != Sort::Step
                || delegate::is_own(&place.node)
                || pod_is_ready(self.state, place));
        if !possible {
            return self.after(retry);
        }
        match (&retry.condition, &place.judged) {
            (Some(condition), None) => Err(condition),
            (Some(_), Some(Ok(false) | Err(_))) => self.after(retry),
            _ => Ok(Handling::Retry {
                number: place.retries + 1,
                of: Some(retry.count),
                at_ms: self.now + retry.wait_ms(place.retries),
            }),
        }
    }

    /// What is done when there is no further retry.
    fn after<'a>(&self, retry: &'a Retry) -> Result<Handling, &'a str> {
        match &retry.then {
            Some(then) => self.handling(then),
            None => Ok(Handling::MarkAsFailure),
        }
    }

    /// Whether it makes sense to wait for anything: not where all around it ends.
    fn may_wait(&self) -> bool {
        let around = self.place.parent.as_ref();
        around.is_none_or(|parent| closed(self.state, parent).is_none())
    }

    /// The step group around it.
    fn group(&self) -> Option<(&NodeId, &Place)> {
        let mut around = self.state.upwards(self.id);
        around
            .find(|(_, place)| {
                matches!(
                    place.node.kind,
                    Kind::StepGroup { .. } | Kind::Stage(_) | Kind::Rollback
                )
            })
            .filter(|(id, place)| {
                matches!(place.node.kind, Kind::StepGroup { .. }) && *id != self.id
            })
    }

    /// A rollback of the nearest of its surroundings of this kind; what is itself part of a rollback asks for none.
    fn rollback(&self, wanted: impl Fn(&Kind) -> bool) -> Handling {
        for (id, place) in self.state.upwards(self.id) {
            if wanted(&place.node.kind) {
                return Handling::Rollback { of: id.clone() };
            }
            if place.node.kind == Kind::Rollback {
                break;
            }
        }
        Handling::MarkAsFailure
    }
}

/// How a leaf failed by itself; none: it did not, or not yet.
pub(super) fn own(place: &Place) -> Option<(Status, Failure)> {
    let marked = place
        .order
        .and_then(|(intervention, _)| match intervention {
            Intervention::Abort => None,
            Intervention::MarkAsFailure => Some(classify::marked()),
            _ => Some(classify::ended()),
        });
    match (place.phase, &place.end) {
        (Phase::Recorded, Some(Ok(record))) => match (classify::record(record), marked) {
            ((Status::Aborted, _), Some(marked)) => Some((Status::Failed, marked)),
            ((Status::Failed, failure), _) => {
                let own = delegate::failure(&place.node, record);
                Some((Status::Failed, own.or(failure)?))
            }
            ((status, failure), _) => Some((status, failure?)),
        },
        (Phase::Lost, Some(Err(_))) if marked.is_some() => {
            marked.map(|marked| (Status::Failed, marked))
        }
        (Phase::Lost, Some(Err(_))) if place.timed_out.is_some() => {
            Some((Status::Expired, classify::expired()))
        }
        (Phase::Lost, Some(Err(reason))) => Some((Status::Failed, reason.clone())),
        _ => None,
    }
}

/// The condition of the retry that decides on a failed leaf, where it is not evaluated yet.
pub(crate) fn asks<'s>(state: &'s State, id: &'s NodeId, place: &'s Place) -> Option<&'s str> {
    if place.judged.is_some() || !matches!(place.phase, Phase::Recorded | Phase::Lost) {
        return None;
    }
    let (_, failure) = own(place)?;
    let (_, strategy) = strategy(state, id, &failure)?;
    let asker = Asker {
        state,
        id,
        place,
        now: state.at_ms,
    };
    asker.handling(&strategy.action).err()
}

/// Whether a condition may be asked for of this node now.
pub(super) fn may_ask(state: &State, place: &Place) -> bool {
    match place.phase {
        Phase::Waiting => true,
        Phase::Recorded | Phase::Lost => asks(state, &place.node.id, place).is_some(),
        _ => false,
    }
}

/// What follows where it was decided, or is waited for, what becomes of a failure.
pub(super) fn follows(state: &State, id: &NodeId, place: &Place, now: u64) -> Vec<Event> {
    let Some(handled) = &place.handled else {
        return Vec::new();
    };
    let failure = handled.failure.clone();
    if place.phase == Phase::Handled {
        return settled(state, id, handled);
    }
    if let Some(halt) = outside(state, id) {
        return vec![finished(id, halt.status, Some(halt.failure))];
    }
    if matches!(place.order, Some((Intervention::Abort, _))) {
        return vec![finished(id, Status::Aborted, Some(classify::aborted()))];
    }
    match &handled.handling {
        Handling::Retry { at_ms, .. } => {
            // A new pod is made only when the one before it is gone.
            let pod = place.group.as_ref().and_then(|group| state.pods.get(group));
            let waits =
                place.node.kind == Kind::Initialize && pod.is_some_and(|pod| pod.phase.may_exist());
            if now >= *at_ms && !waits && state.paused.is_none() {
                vec![Event::RetryBegun { node: id.clone() }]
            } else {
                Vec::new()
            }
        }
        Handling::Ask { until_ms, then } if now >= *until_ms => {
            let asker = Asker {
                state,
                id,
                place,
                now,
            };
            vec![Event::FailureHandled {
                node: id.clone(),
                failure,
                status: handled.status,
                handling: asker.handling(then).unwrap_or(Handling::MarkAsFailure),
                by: By::Timeout,
            }]
        }
        _ => Vec::new(),
    }
}

/// The end of a node whose failure was handled.
fn settled(state: &State, id: &NodeId, handled: &Handled) -> Vec<Event> {
    let failure = Some(handled.failure.clone());
    match &handled.handling {
        Handling::Ignore => vec![finished(id, Status::IgnoreFailed, failure)],
        Handling::MarkAsSuccess => vec![Event::NodeFinished {
            node: id.clone(),
            status: Status::Success,
            failure: None,
            why: Some(format!("marked as success: {}", handled.failure.message)),
        }],
        Handling::Abort if state.interrupt.is_none() => vec![Event::Interrupted {
            interrupt: Interrupt::Abort,
        }],
        _ => vec![finished(id, handled.status, failure)],
    }
}

/// What a person decided of a node that waits for it.
pub(super) fn by_person(
    state: &State,
    id: &NodeId,
    place: &Place,
    intervention: Intervention,
    now: u64,
) -> Option<Event> {
    let handled = place.handled.as_ref()?;
    Some(Event::FailureHandled {
        node: id.clone(),
        failure: handled.failure.clone(),
        status: handled.status,
        handling: decided(state, id, place, intervention, now)?,
        by: By::Person,
    })
}

/// What a person's decision comes to; none where it cannot be.
pub(super) fn decided(
    state: &State,
    id: &NodeId,
    place: &Place,
    intervention: Intervention,
    now: u64,
) -> Option<Handling> {
    let asker = Asker {
        state,
        id,
        place,
        now,
    };
    Some(match intervention {
        Intervention::Abort => Handling::Abort,
        Intervention::MarkAsFailure => Handling::MarkAsFailure,
        Intervention::MarkAsSuccess => Handling::MarkAsSuccess,
        Intervention::Ignore => Handling::Ignore,
        Intervention::StageRollback => asker.handling(&Action::StageRollback).ok()?,
        Intervention::StepGroupRollback => asker.handling(&Action::StepGroupRollback).ok()?,
        Intervention::PipelineRollback => asker.handling(&Action::PipelineRollback).ok()?,
        Intervention::Retry => Handling::Retry {
            number: place.retries + 1,
            of: None,
            at_ms: now,
        },
        Intervention::RetryStepGroup => {
            let (group, around) = asker.group()?;
            Handling::RetryStepGroup {
                group: group.clone(),
                number: around.retries + 1,
                of: None,
                at_ms: now,
            }
        }
    })
}
