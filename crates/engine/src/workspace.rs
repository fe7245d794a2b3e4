//! A workspace that is handed from one containerized group to a later one.
//!
//! The group that gives ([`Node::hands_over`](pipeline::plan::Node)) keeps its pod, after its last step and whatever came of it, until the
//! workspace is kept ([`Event::WorkspaceKept`]) or cannot be ([`Event::WorkspaceLost`]). The pod of the group that takes is ready
//! only once the workspace is in it ([`Event::WorkspaceGiven`]). Both may be done again by a driver that takes over: the first while that pod
//! stands, the second while no step has begun. What cannot be handed over fails whoever was to begin with it; nobody begins with
//! an empty one instead, but where the group that gives was skipped.

use pipeline::plan::NodeId;

use crate::classify;
use crate::decide::{initializing, needs_pod, pod_phase};
use crate::event::{Event, Failure, Status};
use crate::phase::Phase;
use crate::state::{Illegal, PodPhase, State, illegal};

/// What a group begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The archive of a group, in the directory of a run.
    Kept {
        /// The run.
        run: String,
        /// The group.
        of: NodeId,
        /// Its bytes.
        bytes: u64,
    },
    /// Nothing: the group that was to give was skipped.
    Empty {
        /// That group.
        of: NodeId,
    },
}

/// What this group begins with, or why that is not to be had; none where it takes nothing over.
pub fn source(state: &State, group: &NodeId) -> Option<Result<Source, String>> {
    let of = state.nodes.get(group)?.node.takes_over.as_ref()?;
    Some(left_by(state, of))
}

fn left_by(state: &State, of: &NodeId) -> Result<Source, String> {
    let kept = |run: &str, bytes| Source::Kept {
        run: run.to_owned(),
        of: of.clone(),
        bytes,
    };
    let empty = Source::Empty { of: of.clone() };
    if let Some(carried) = state.carried.get(of) {
        return match carried.workspace {
            Some(bytes) => Ok(kept(&carried.run, bytes)),
            None if carried.status == Status::Skipped => Ok(empty),
            None => Err(format!("the run {} did not keep it", carried.run)),
        };
    }
    match state.workspaces.get(of) {
        Some(Ok(bytes)) => return Ok(kept(&state.run, *bytes)),
        Some(Err(reason)) => return Err(reason.clone()),
        None => {}
    }
    // A group in something that was passed over as a whole is not even known.
    let mut around = std::iter::successors(Some(of.0.as_str()), |id| Some(id.rsplit_once('.')?.0));
    let known = around.find_map(|id| state.nodes.get(&NodeId(id.to_owned())));
    match (known.map(|place| place.phase), state.pods.get(of)) {
        (_, Some(pod)) => Err(match &pod.reason {
            Some(reason) => format!("its pod is gone: {reason}"),
            None => "its pod was removed before that".to_owned(),
        }),
        (Some(Phase::Finished(Status::Skipped)), None) => Ok(empty),
        _ => Err("it never had a pod".to_owned()),
    }
}

/// Bytes of the archive of a group, where there is one.
pub(crate) fn bytes(state: &State, group: &NodeId) -> Option<u64> {
    match state.workspaces.get(group) {
        Some(kept) => kept.as_ref().ok().copied(),
        None => state.carried.get(group)?.workspace,
    }
}

/// Why a group cannot begin with what it is to take over.
pub(crate) fn missing(state: &State, group: &NodeId) -> Option<Failure> {
    let of = state.nodes.get(group)?.node.takes_over.as_ref()?;
    let reason = left_by(state, of).err()?;
    Some(Failure {
        help: Some(
            "run that group again (`stepyard retry`), or take `workspaceFrom` out".to_owned(),
        ),
        ..not_taken(of, &reason)
    })
}

fn not_taken(of: &NodeId, reason: &str) -> Failure {
    classify::infrastructure(format!(
        "the workspace of the step group {of} cannot be taken over: {reason}"
    ))
}

/// The archive that is to be put into a group's pod before it is ready.
pub fn to_give(state: &State, group: &NodeId) -> Option<Source> {
    let pod = state.pods.get(group)?;
    if pod.given || pod.phase != PodPhase::Requested {
        return None;
    }
    match source(state, group)? {
        Ok(source @ Source::Kept { .. }) => Some(source),
        _ => None,
    }
}

/// The workspace of a group whose steps are over is to be kept, and is not yet.
pub(crate) fn keeps(state: &State, group: &NodeId) -> bool {
    let Some(place) = state.nodes.get(group).filter(|own| own.node.hands_over) else {
        return false;
    };
    // Of a run that ends nobody takes it; what begins again leaves another.
    state.interrupt.is_none()
        && !state.workspaces.contains_key(group)
        && place.phase.is_active()
        && !needs_pod(state, group)
        && state.upwards(group).all(|(_, own)| own.again.is_none())
}

pub(crate) fn kept(
    state: &State,
    group: NodeId,
    pod: &str,
    result: Result<u64, String>,
) -> Vec<Event> {
    if pod_phase(state, &group, pod) != Some(PodPhase::Ready) || !keeps(state, &group) {
        return Vec::new();
    }
    vec![match result {
        Ok(bytes) => Event::WorkspaceKept { group, bytes },
        Err(reason) => Event::WorkspaceLost { group, reason },
    }]
}

pub(crate) fn given(
    state: &State,
    group: NodeId,
    pod: &str,
    result: Result<u64, String>,
) -> Vec<Event> {
    let wanted = pod_phase(state, &group, pod).and(to_give(state, &group));
    let (Some(Source::Kept { of, .. }), Some(node)) = (wanted, initializing(state, &group)) else {
        return Vec::new();
    };
    vec![match result {
        Ok(bytes) => Event::WorkspaceGiven { group, bytes },
        Err(reason) => Event::Failed {
            node,
            failure: not_taken(&of, &reason),
        },
    }]
}

/// Folds in what became of a workspace.
pub(crate) fn evolve(state: &mut State, event: &Event) -> Result<(), Illegal> {
    let (group, kept) = match event {
        Event::WorkspaceKept { group, bytes } => (group, Ok(*bytes)),
        Event::WorkspaceLost { group, reason } => (group, Err(reason.clone())),
        Event::WorkspaceGiven { group, .. } => {
            if to_give(state, group).is_none() {
                return Err(illegal(group, "a workspace that it does not wait for"));
            }
            if let Some(pod) = state.pods.get_mut(group) {
                pod.given = true;
            }
            return Ok(());
        }
        _ => return Ok(()),
    };
    let ready = state.pods.get(group).map(|pod| pod.phase) == Some(PodPhase::Ready);
    if !ready || !keeps(state, group) {
        return Err(illegal(group, "a workspace that is not to be kept"));
    }
    state.workspaces.insert(group.clone(), kept);
    Ok(())
}
