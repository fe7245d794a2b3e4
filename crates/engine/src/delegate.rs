//! Steps that are a process of the delegate: each has a pod of its own, of that one process.
//!
//! To the rest of the engine such a step is its own group: its pod is requested when it is entered, it is started there, and the pod goes
//! when the step is over. What follows does not wait for that; the end of the run does.

use pipeline::plan::{Kind, Node, NodeId, Runs};

use crate::classify;
use crate::event::{ErrorKind, Failure};
use crate::phase::Phase;
use crate::state::{Place, PodPhase, State};
use crate::wanted::POD_ATTEMPTS;

/// A step with a pod of its own.
pub(crate) fn is_own(node: &Node) -> bool {
    matches!(&node.kind, Kind::Step(step) if step.runs() == Runs::Process)
}

/// Of a step with its own pod: it still waits for that, and a pod may be asked for.
pub(crate) fn awaits_pod(place: &Place) -> bool {
    is_own(&place.node) && place.phase == Phase::Entered
}

/// A step does not wait for its own pod any more: one that is still being made is being removed from here on, and must not be taken for
/// that of the step's next try.
pub(crate) fn given_up(state: &mut State, id: &NodeId) {
    let own = state.nodes.get(id).is_some_and(|place| is_own(&place.node));
    if own
        && let Some(pod) = state.pods.get_mut(id)
        && pod.phase == PodPhase::Requested
    {
        pod.phase = PodPhase::Lost;
    }
}

/// Why a step that was entered will have no pod; none while it may.
pub(crate) fn no_pod(state: &State, id: &NodeId) -> Option<Failure> {
    let pod = state.pods.get(id)?;
    let why = pod.reason.as_deref();
    match pod.phase {
        PodPhase::Left => Some(classify::infrastructure(format!(
            "the process of the delegate could not be removed: {}",
            why.unwrap_or_default()
        ))),
        PodPhase::Deleted if pod.attempt + 1 >= most(state.nodes.get(id)?) => {
            Some(classify::infrastructure(format!(
                "the process of the delegate is gone: {}",
                why.unwrap_or("it was removed")
            )))
        }
        _ => None,
    }
}

/// How many pods there may be: each attempt that began has used one up, and so has each try that was over before its pod was there.
pub(crate) fn most(place: &Place) -> u32 {
    place.pods_until.max(POD_ATTEMPTS + place.attempts)
}

/// Pods of steps may be there when all nodes are over: the run is not.
pub(crate) fn left_behind(state: &State) -> bool {
    state.pods.values().any(|pod| pod.phase.may_exist())
}

/// What a failing process of the delegate says of itself, where it is more than an exit code.
pub(crate) fn failure(node: &Node, record: &addon::frame::Record) -> Option<Failure> {
    let Kind::Step(step) = &node.kind else {
        return None;
    };
    if !matches!(&*step.r#type, "Http" | "CustomApproval") || record.stopped.is_some() {
        return None;
    }
    let addon::frame::Exit::Code(code) = record.exit else {
        return None;
    };
    let message = record.outputs.iter().find(|own| own.name == ERROR)?;
    let error = match code {
        REJECTED => ErrorKind::ApprovalRejection,
        UNREACHABLE => ErrorKind::Connectivity,
        MISWRITTEN => ErrorKind::ConfigurationFailure,
        UNAUTHENTICATED => ErrorKind::Authentication,
        FORBIDDEN => ErrorKind::Authorization,
        _ => ErrorKind::Unknown,
    };
    (code != 0).then(|| Failure {
        error,
        message: message.value.clone(),
        help: None,
    })
}

/// The output in which such a process says why it failed.
pub const ERROR: &str = "errorMsg";
/// Its exit code where the answer was no.
pub const REJECTED: i32 = 3;
/// Its exit code where nobody answered.
pub const UNREACHABLE: i32 = 4;
/// Its exit code where what is written cannot be done.
pub const MISWRITTEN: i32 = 5;
/// Its exit code where the answer was 401, and nobody said what an answer has to be.
pub const UNAUTHENTICATED: i32 = 6;
/// Its exit code where it was 403.
pub const FORBIDDEN: i32 = 7;
