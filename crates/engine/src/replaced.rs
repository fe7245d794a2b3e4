//! A pod that was lost after it was ready and before anything may have begun in it: another one takes its place.
//!
//! Nothing of the group has happened by then but its Initialize, so that begins again ([`crate::event::Event::InitializeAgain`]), and whatever
//! was entered in the group waits for it. A pod in which an attempt was announced is not replaced: its first instruction may have run.

use pipeline::plan::NodeId;

use crate::classify;
use crate::event::{Failure, Status};
use crate::phase::{Phase, Sort};
use crate::state::{Place, Pod, PodPhase, State, initialize};
use crate::wanted::POD_ATTEMPTS;

/// The Initialize that is to begin again for another pod of this group.
pub(crate) fn again(state: &State, group: &NodeId) -> Option<NodeId> {
    let pod = state.pods.get(group)?;
    let over = matches!(pod.phase, PodPhase::Lost | PodPhase::Deleted);
    let id = initialize(state, group)?;
    let done = state.nodes.get(&id)?.phase == Phase::Finished(Status::Success);
    (over && pod.unused && done && another(state, group, pod)).then_some(id)
}

/// Whether there may be one pod more.
pub(crate) fn another(state: &State, group: &NodeId, pod: &Pod) -> bool {
    let until = state.nodes.get(group).map_or(0, |group| group.pods_until);
    pod.attempt + 1 < until
}

/// An entered step waits for its group's next pod.
pub(crate) fn awaits(state: &State, place: &Place) -> bool {
    if place.phase != Phase::Entered || place.sort() != Sort::Step {
        return false;
    }
    let group = place.group.as_ref();
    group
        .and_then(|group| state.nodes.get(&initialize(state, group)?))
        .is_some_and(|place| place.phase.is_active())
}

/// Why the last pod that may be made is gone, too.
pub(crate) fn too_often(why: Option<&str>) -> Failure {
    let why = why.unwrap_or("it was removed");
    classify::infrastructure(format!(
        "{POD_ATTEMPTS} pods were lost before any step began; the last: {why}"
    ))
}
