//! Why nothing more may begin in a node, or what runs in it must end.

use pipeline::plan::{Kind, NodeId};

use crate::classify;
use crate::event::{Failure, Intervention, Status};
use crate::state::{Place, State, Undo};

/// Why what is inside a node must not go on.
pub(crate) struct Halt {
    pub(crate) status: Status,
    pub(crate) failure: Failure,
}

fn aborted() -> Halt {
    Halt {
        status: Status::Aborted,
        failure: classify::aborted(),
    }
}

/// What ends a node from outside: an interrupt, a time that is up around it, a step group that begins again. Its own time
/// and what was asked of itself are not among them.
pub(super) fn outside(state: &State, id: &NodeId) -> Option<Halt> {
    if !state.stirred {
        debug_assert!(ending(state, id).is_none(), "nothing stirred");
        return None;
    }
    ending(state, id)
}

fn ending(state: &State, id: &NodeId) -> Option<Halt> {
    let around = |(own, ..): &(&NodeId, &Place, bool)| *own != id;
    if state.interrupt.is_some() {
        return Some(aborted());
    }
    let mut halt = None;
    for (_, place, undone) in state.around(id).filter(around) {
        if matches!(place.order, Some((Intervention::Abort, _))) {
            return Some(aborted());
        }
        if undone {
            continue;
        }
        if place.timed_out.is_some() {
            halt = Some(Halt {
                status: Status::Expired,
                failure: classify::expired_around(&place.node),
            });
        } else if place.again.is_some() && halt.is_none() {
            halt = Some(Halt {
                status: Status::Aborted,
                failure: classify::again(),
            });
        }
    }
    halt
}

/// Whether what is in a node must end: what holds outside of it, its own time, what was asked of itself.
pub(crate) fn halted(state: &State, id: &NodeId) -> Option<Halt> {
    if let Some(halt) = outside(state, id) {
        return Some(halt);
    }
    let place = state.nodes.get(id)?;
    if matches!(place.order, Some((Intervention::Abort, _))) {
        return Some(aborted());
    }
    if place.timed_out.is_some() && place.undo != Undo::Begun {
        return Some(Halt {
            status: Status::Expired,
            failure: classify::expired(),
        });
    }
    place.again.map(|_| Halt {
        status: Status::Aborted,
        failure: classify::again(),
    })
}

/// Whether nothing more may be entered in a node: it is halted, or it, or something that it is in, is rolled back. What undoes
/// goes on.
pub(super) fn closed(state: &State, id: &NodeId) -> Option<Halt> {
    let undone = || {
        state.stirred
            && state
                .upwards(id)
                .take_while(|(_, place)| place.node.kind != Kind::Rollback)
                .any(|(_, place)| place.undo != Undo::No)
    };
    halted(state, id).or_else(|| {
        undone().then(|| Halt {
            status: Status::Failed,
            failure: classify::undone(),
        })
    })
}
