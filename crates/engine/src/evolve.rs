//! The fold: one event into the state, or why it cannot follow.

use std::collections::BTreeSet;

use pipeline::plan::{Kind, Node, NodeId, Wait};

use crate::attention;
use crate::carry::below;
use crate::delegate;
use crate::event::{Event, Failure, Handling, Interrupt, Stamped, Status};
use crate::gate;
use crate::phase::{Change, Phase, Sort};
use crate::replaced;
use crate::state::{Handled, Illegal, Place, Pod, PodPhase, State, Undo, illegal, initialize};
use crate::waits;
use crate::wanted::POD_ATTEMPTS;
use crate::workspace;

/// Folds one event in. An illegal one leaves the state as it was.
pub fn evolve(state: &mut State, stamped: &Stamped) -> Result<(), Illegal> {
    let at = stamped.at_ms;
    if at < state.at_ms {
        return Err(Illegal {
            node: state.run.clone(),
            what: format!("time went back from {} to {at}", state.at_ms),
        });
    }
    match &stamped.event {
        Event::RunCreated {
            run,
            root,
            carried,
            keep_ms,
            ..
        } => {
            if state.root.is_some() {
                return Err(illegal(&root.id, "the run was created before"));
            }
            state.run.clone_from(run);
            state.keep_ms = *keep_ms;
            state.root = Some(root.id.clone());
            let place = Place::new(root.clone(), None, None);
            state.nodes.insert(root.id.clone(), place);
            if let Some(carry) = carried {
                state.carried.clone_from(&carry.nodes);
            }
        }
        Event::Adopted { epoch, .. } => {
            if *epoch <= state.epoch {
                return Err(Illegal {
                    node: state.run.clone(),
                    what: format!("epoch {epoch} after {}", state.epoch),
                });
            }
            state.epoch = *epoch;
            state.adopted_ms = at;
        }
        Event::Expanded { node, children } => expanded(state, node, children)?,
        Event::NodeStarted { node } => {
            change(state, node, Change::Enter)?;
            entered(state, node, at)?;
            passed(state, node);
        }
        Event::NodeCarried { node, status, .. } => carried(state, node, *status)?,
        Event::PodRequested {
            group,
            pod,
            attempt,
        } => {
            let expected = state.pods.get(group).map_or(0, |pod| pod.attempt + 1);
            let busy = state
                .pods
                .get(group)
                .is_some_and(|pod| pod.phase.may_exist());
            let owner = state.place(group)?;
            let may = owner.is_pod_group() || delegate::awaits_pod(owner);
            if busy || *attempt != expected || !may {
                return Err(illegal(group, format!("pod {pod} requested as {attempt}")));
            }
            let pod = Pod {
                name: pod.clone(),
                attempt: *attempt,
                phase: PodPhase::Requested,
                used: false,
                unused: false,
                given: false,
                reason: None,
            };
            state.pods.insert(group.clone(), pod);
        }
        Event::WorkspaceKept { .. }
        | Event::WorkspaceLost { .. }
        | Event::WorkspaceGiven { .. } => workspace::evolve(state, &stamped.event)?,
        Event::PodReady { group } => {
            if workspace::to_give(state, group).is_some() {
                return Err(illegal(
                    group,
                    "a pod without the workspace that it takes over",
                ));
            }
            pod(state, group, &[PodPhase::Requested], PodPhase::Ready)?;
            if !delegate::is_own(&state.place(group)?.node) {
                awaited(state, group, at);
                let initialize = initialize(state, group)
                    .ok_or_else(|| illegal(group, "a pod without its Initialize"))?;
                change(state, &initialize, Change::Record)?;
            }
        }
        Event::PodLost { group, reason } => {
            // Journals of before say it also of a pod that its step has given up.
            let from = [PodPhase::Requested, PodPhase::Ready, PodPhase::Lost];
            let ready = state.pods.get(group).map(|pod| pod.phase) == Some(PodPhase::Ready);
            let pod = pod(state, group, &from, PodPhase::Lost)?;
            pod.reason = Some(reason.clone());
            pod.unused |= ready && !pod.used;
        }
        Event::InitializeAgain { node } => initialize_again(state, node, at)?,
        Event::PodDeleted { group } => {
            let from = [PodPhase::Requested, PodPhase::Ready, PodPhase::Lost];
            pod(state, group, &from, PodPhase::Deleted)?;
        }
        Event::PodLeft { group, reason } => {
            let from = [PodPhase::Requested, PodPhase::Ready, PodPhase::Lost];
            pod(state, group, &from, PodPhase::Left)?.reason = Some(reason.clone());
        }
        Event::TimedOut { node } => {
            let place = get(state, node)?;
            if !place.phase.is_active() || place.timed_out.is_some() {
                return Err(illegal(node, "its time was up, but it does not run"));
            }
            place.timed_out = Some(at);
        }
        Event::AttemptStarting { step, attempt } => {
            let place = state.place(step)?;
            let ready = place.group.as_ref().is_some_and(|group| {
                state
                    .pods
                    .get(group)
                    .is_some_and(|pod| pod.phase == PodPhase::Ready)
            });
            if *attempt != place.attempts || !ready {
                return Err(illegal(step, format!("attempt {attempt} cannot start")));
            }
            let group = place.group.clone();
            change(state, step, Change::Starting)?;
            let place = get(state, step)?;
            place.attempts += 1;
            place.end = None;
            if let Some(pod) = group.and_then(|group| state.pods.get_mut(&group)) {
                pod.used = true;
            }
        }
        Event::AttemptStarted { step, attempt, .. } => {
            current(state, step, *attempt)?;
            change(state, step, Change::Started)?;
        }
        Event::AttemptReady { step, attempt, .. } => {
            current(state, step, *attempt)?;
            change(state, step, Change::Ready)?;
            let place = get(state, step)?;
            if place.is_background() && !place.served {
                place.served = true;
                let parent = place.parent.clone();
                busy(state, parent.as_ref(), -1);
            }
        }
        Event::AttemptFinished { step, record } => {
            current(state, step, record.attempt.number)?;
            change(state, step, Change::Record)?;
            get(state, step)?.end = Some(Ok(record.clone()));
        }
        Event::AttemptLost {
            step,
            attempt,
            reason,
            ..
        } => {
            current(state, step, *attempt)?;
            change(state, step, Change::Lose)?;
            get(state, step)?.end = Some(Err(reason.clone()));
        }
        Event::GroupEnding { group } => {
            let place = get(state, group)?;
            if !place.phase.is_active() || place.ending.is_some() {
                return Err(illegal(group, "it ends, but it does not run"));
            }
            place.ending = Some(at);
        }
        Event::Interrupted { interrupt } => interrupted(state, interrupt, at)?,
        Event::Waiting {
            node,
            wait: wait @ Wait::Start(_),
            until_ms,
        } => gate::asked(state, node, wait, *until_ms)?,
        Event::Answered { node, answer } if gate::answered(state, node, answer, at) => {}
        Event::Waiting { .. } | Event::Admitted { .. } | Event::Answered { .. } => {
            waits::evolve(state, &stamped.event)?;
        }
        Event::Judged { node, answer } => {
            let place = get(state, node)?;
            if place.judged.is_some() {
                return Err(illegal(node, "its condition was evaluated before"));
            }
            place.judged = Some(answer.clone());
        }
        Event::Failed { node, failure } => {
            change(state, node, Change::Lose)?;
            let place = get(state, node)?;
            place.end = Some(Err(failure.clone()));
            place.judged = None;
            waits::over(state, node, Status::Failed);
            delegate::given_up(state, node);
        }
        Event::FailureHandled {
            node,
            failure,
            status,
            handling,
            ..
        } => handled(state, node, failure, *status, handling, at)?,
        Event::RetryBegun { node } => {
            change(state, node, Change::Retry)?;
            let place = get(state, node)?;
            place.entered_ms = at;
            place.timed_out = None;
            place.order = None;
            place.judged = None;
            place.handled = None;
            place.end = None;
            place.waiting = None;
            place.gate = place.gate.take().filter(|own| !own.answers.is_empty());
            let group = place.group.clone();
            if std::mem::take(&mut place.served) {
                let parent = place.parent.clone();
                busy(state, parent.as_ref(), 1);
            }
            let place = get(state, node)?;
            if place.node.kind == Kind::Initialize
                && let Some(group) = group
            {
                pods_again(state, &group)?;
            } else if delegate::is_own(&get(state, node)?.node) {
                pods_again(state, node)?;
            }
        }
        Event::GroupRetried { group } => group_retried(state, group)?,
        Event::RollbackStarted { of, node } => rollback_started(state, of, node, at)?,
        Event::NodeFinished {
            node,
            status,
            failure,
            ..
        } => {
            let place = state.place(node)?;
            let (waiting, served) = (place.phase == Phase::Waiting, place.served);
            change(state, node, Change::Finish(*status))?;
            get(state, node)?.failure.clone_from(failure);
            if waiting {
                passed(state, node);
            } else {
                left(state, node, served);
            }
            waits::over(state, node, *status);
            delegate::given_up(state, node);
            blame(state, node, *status, failure.is_some());
        }
        Event::RunFinished { status } => {
            if !state.active.is_empty() || state.finished.is_some() {
                return Err(Illegal {
                    node: state.run.clone(),
                    what: "it ends while something of it runs, or again".to_owned(),
                });
            }
            state.finished = Some(*status);
        }
    }
    state.at_ms = at;
    state.stirred |= stirs(&stamped.event);
    attention::mark(state, &stamped.event);
    Ok(())
}

/// What runs elsewhere in the run may have to end, or may not begin, because of this.
fn stirs(event: &Event) -> bool {
    match event {
        Event::Interrupted { .. }
        | Event::TimedOut { .. }
        | Event::GroupEnding { .. }
        | Event::RollbackStarted { .. } => true,
        Event::FailureHandled { handling, .. } => matches!(
            handling,
            Handling::RetryStepGroup { .. } | Handling::Rollback { .. }
        ),
        _ => false,
    }
}

/// A node is over without having been entered.
fn carried(state: &mut State, node: &NodeId, status: Status) -> Result<(), Illegal> {
    if state.carried.get(node).map(|own| own.status) != Some(status) {
        return Err(illegal(node, format!("carried as {status:?}")));
    }
    change(state, node, Change::Carry(status))?;
    // What it did may have to be undone here.
    let is_stage = matches!(state.place(node)?.node.kind, Kind::Stage(_));
    if is_stage && status != Status::Skipped {
        state.stages.push(node.clone());
    }
    passed(state, node);
    Ok(())
}

/// A node is entered: those who count it know.
fn entered(state: &mut State, node: &NodeId, at: u64) -> Result<(), Illegal> {
    let place = get(state, node)?;
    place.entered_ms = at;
    place.judged = place.judged.take().filter(Result::is_err);
    let background = place.is_background();
    let parent = place.parent.clone();
    let is_stage = matches!(place.node.kind, Kind::Stage(_));
    if delegate::is_own(&place.node) {
        pods_again(state, node)?;
    }
    state.active.insert(node.clone());
    if is_stage {
        state.stages.push(node.clone());
    }
    busy(state, parent.as_ref(), 1);
    if let Some(group) = counted_in(state, node)
        && let Some(group) = state.nodes.get_mut(&group)
    {
        group.within.0 += 1;
        if background {
            group.within.1 += 1;
            group.backgrounds.push(node.clone());
        }
    }
    if let Some(around) = parent.and_then(|parent| state.nodes.get_mut(&parent))
        && let Some(slots) = around.node.slots
    {
        let free = (0..slots).find(|slot| !around.taken.contains(slot));
        let slot = free.ok_or_else(|| illegal(node, "it begins, but no slot is free"))?;
        around.taken.insert(slot);
        get(state, node)?.slot = Some(slot);
    }
    Ok(())
}

/// The containerized group that waits for a node. A process of the delegate is beside its pod, and waited for like what is
/// in it.
fn counted_in(state: &State, node: &NodeId) -> Option<NodeId> {
    let place = state.nodes.get(node)?;
    let group = if delegate::is_own(&place.node) {
        let parent = place.parent.as_ref()?;
        &state.nodes.get(parent)?.group
    } else {
        &place.group
    };
    group.clone().filter(|group| group != node)
}

/// An entered node is over.
fn left(state: &mut State, node: &NodeId, served: bool) {
    state.active.remove(node);
    let Some(place) = state.nodes.get(node) else {
        return;
    };
    let (parent, slot) = (place.parent.clone(), place.slot);
    let background = place.is_background();
    let group = counted_in(state, node);
    if !served {
        busy(state, parent.as_ref(), -1);
    }
    if let Some(group) = group.and_then(|group| state.nodes.get_mut(&group)) {
        group.within.0 = group.within.0.saturating_sub(1);
        group.within.1 = group.within.1.saturating_sub(u32::from(background));
    }
    if let (Some(slot), Some(parent)) = (slot, parent)
        && let Some(around) = state.nodes.get_mut(&parent)
    {
        around.taken.remove(&slot);
    }
}

fn busy(state: &mut State, parent: Option<&NodeId>, by: i32) {
    if let Some(parent) = parent.and_then(|parent| state.nodes.get_mut(parent)) {
        parent.busy = parent.busy.saturating_add_signed(by);
    }
}

fn interrupted(state: &mut State, interrupt: &Interrupt, at: u64) -> Result<(), Illegal> {
    match interrupt {
        Interrupt::Abort | Interrupt::Kill => {
            let hurried = matches!(
                (&state.interrupt, interrupt),
                (None, _) | (Some((Interrupt::Abort, _)), Interrupt::Kill)
            );
            if hurried {
                state.interrupt = Some((interrupt.clone(), at));
            }
        }
        Interrupt::Pause => {
            state.paused.get_or_insert(at);
        }
        Interrupt::Resume => state.paused = None,
        Interrupt::Node { node, action } => {
            let place = get(state, node)?;
            if !place.phase.is_active() {
                return Err(illegal(node, format!("{action:?}, but it does not run")));
            }
            place.order.get_or_insert((*action, at));
        }
    }
    Ok(())
}

fn handled(
    state: &mut State,
    node: &NodeId,
    failure: &Failure,
    status: Status,
    handling: &Handling,
    at: u64,
) -> Result<(), Illegal> {
    let place = state.place(node)?;
    let itself = place.sort() == Sort::Composite
        && matches!(handling, Handling::Rollback { of } if of == node);
    match handling {
        Handling::Retry { .. } => {
            change(state, node, Change::Pause)?;
            get(state, node)?.retries += 1;
        }
        Handling::Ask { .. } => change(state, node, Change::Ask)?,
        // What is rolled back itself is over only after that.
        Handling::Rollback { .. } if itself => {}
        _ => change(state, node, Change::Handle)?,
    }
    get(state, node)?.handled = Some(Handled {
        failure: failure.clone(),
        status,
        handling: handling.clone(),
    });
    match handling {
        Handling::RetryStepGroup { group, at_ms, .. } => {
            let group = get(state, group)?;
            group.again.get_or_insert((at, *at_ms));
        }
        Handling::Rollback { of } => {
            let of = get(state, of)?;
            if of.undo == Undo::No {
                of.undo = Undo::Asked;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Another pod is to take the place of one that was lost unused.
fn initialize_again(state: &mut State, node: &NodeId, at: u64) -> Result<(), Illegal> {
    let group = state.place(node)?.group.as_ref();
    if group
        .and_then(|group| replaced::again(state, group))
        .as_ref()
        != Some(node)
    {
        return Err(illegal(
            node,
            "it begins again, but its pod was not lost unused",
        ));
    }
    change(state, node, Change::Again)?;
    let place = get(state, node)?;
    place.timed_out = None;
    place.handled = None;
    place.end = None;
    entered(state, node, at)
}

/// Steps that were entered for a pod that was lost unused have waited for this one: their time begins now.
fn awaited(state: &mut State, group: &NodeId, at: u64) {
    for id in &state.active {
        if let Some(place) = state.nodes.get_mut(id)
            && place.group.as_ref() == Some(group)
            && place.sort() == Sort::Step
            && place.phase == Phase::Entered
        {
            place.entered_ms = at;
        }
    }
}

/// The pods of a group are counted anew: as many may be lost again before a first instruction.
fn pods_again(state: &mut State, group: &NodeId) -> Result<(), Illegal> {
    let made = state.pods.get(group).map_or(0, |pod| pod.attempt + 1);
    get(state, group)?.pods_until = made + POD_ATTEMPTS;
    Ok(())
}

fn group_retried(state: &mut State, group: &NodeId) -> Result<(), Illegal> {
    let place = state.place(group)?;
    if place.again.is_none() || place.busy > 0 || place.phase != Phase::Entered {
        return Err(illegal(group, "it begins again, but is not to, or not yet"));
    }
    let mut open = vec![(group.clone(), false)];
    while let Some((id, gone)) = open.pop() {
        // A place that is held beyond the group is held while it begins again, too.
        state.queues.retain(|step, queued| {
            let inside = queued.until == *group || below(group, &queued.until);
            (*step != id || (queued.admitted && !inside)) && (id == *group || queued.until != id)
        });
        state.workspaces.remove(&id);
        let place = get(state, &id)?;
        // What a loop goes over may be another thing by the time that it is entered again.
        let loops = !gone && place.node.kind == Kind::Loop;
        let inside = if loops {
            place.children.take()
        } else {
            place.children.clone()
        };
        if gone {
            let gone = state.nodes.remove(&id);
            if let Some(gone) = gone.filter(|own| own.attempts > 0) {
                state.undid.insert(id.clone(), gone.attempts);
            }
        } else if id != *group {
            place.reset();
        }
        for child in inside.unwrap_or_default() {
            // What undid it the last time is no part of it.
            let undoes = get(state, &child)?.node.kind == Kind::Rollback;
            if undoes
                && let Some(children) = state.nodes.get_mut(&id).and_then(|p| p.children.as_mut())
            {
                children.retain(|own| *own != child);
            }
            open.push((child, gone || undoes || loops));
        }
    }
    // It begins as a whole.
    state.carried.retain(|id, _| !below(group, id));
    let place = get(state, group)?;
    place.undo = Undo::No;
    place.again = None;
    place.retries += 1;
    place.next = 0;
    place.bad = None;
    place.unmended = false;
    place.cut = false;
    place.ending = None;
    place.backgrounds.clear();
    if place.is_pod_group() {
        pods_again(state, group)?;
    }
    Ok(())
}

fn rollback_started(state: &mut State, of: &NodeId, node: &Node, at: u64) -> Result<(), Illegal> {
    let place = get(state, of)?;
    if place.undo == Undo::Begun || state.nodes.contains_key(&node.id) {
        return Err(illegal(of, "it is rolled back again"));
    }
    let place = get(state, of)?;
    place.undo = Undo::Begun;
    let (active, group) = (place.phase.is_active(), place.group.clone());
    // A stage that is over is undone by the pipeline.
    let parent = match &state.root {
        Some(root) if !active => root.clone(),
        _ => of.clone(),
    };
    let mut child = Place::new(node.clone(), Some(parent.clone()), group);
    child.phase = Phase::Entered;
    state.nodes.insert(node.id.clone(), child);
    let around = get(state, &parent)?;
    around
        .children
        .get_or_insert_default()
        .push(node.id.clone());
    around.next += 1;
    entered(state, &node.id, at)
}

/// A child is not waiting any more.
fn passed(state: &mut State, node: &NodeId) {
    let parent = state.nodes.get(node).and_then(|place| place.parent.clone());
    if let Some(parent) = parent.and_then(|parent| state.nodes.get_mut(&parent)) {
        parent.next += 1;
    }
}

/// What rolled a node back did not fail itself.
fn is_undone_well(state: &State, place: &Place) -> bool {
    let children = place.children.iter().flatten().rev();
    children
        .filter_map(|id| state.nodes.get(id))
        .find(|child| child.node.kind == Kind::Rollback)
        .and_then(Place::status)
        .is_none_or(Status::is_positive)
}

/// Tells the surroundings how a node ended.
fn blame(state: &mut State, node: &NodeId, status: Status, because: bool) {
    let Some(place) = state.nodes.get(node) else {
        return;
    };
    let (parent, mended) = (
        place.parent.clone(),
        place.is_mended() && is_undone_well(state, place),
    );
    let group = place.is_background().then(|| place.group.clone()).flatten();
    for id in [parent.clone(), group].into_iter().flatten() {
        if let Some(around) = state.nodes.get_mut(&id) {
            if !status.is_positive() {
                if around.bad.is_none() || !(around.unmended || mended) {
                    // What is below it may look at what was before.
                    state.attention.all();
                }
                around.bad.get_or_insert_with(|| node.clone());
                around.unmended |= !mended;
            }
            around.cut |= status == Status::Skipped && because && parent.as_ref() == Some(&id);
        }
    }
}

fn expanded(state: &mut State, node: &NodeId, children: &[Node]) -> Result<(), Illegal> {
    let place = state.place(node)?;
    let group = place.group.clone();
    if place.sort() != Sort::Composite || place.phase != Phase::Entered || place.children.is_some()
    {
        return Err(illegal(node, "it expands, but is not to"));
    }
    let mut ids = BTreeSet::new();
    if let Some(twice) = children
        .iter()
        .find(|child| state.nodes.contains_key(&child.id) || !ids.insert(&child.id))
    {
        return Err(illegal(&twice.id, "the id is there already"));
    }
    for child in children {
        let mut place = Place::new(child.clone(), Some(node.clone()), group.clone());
        place.attempts = state.undid.get(&child.id).copied().unwrap_or_default();
        state.nodes.insert(child.id.clone(), place);
    }
    get(state, node)?.children = Some(children.iter().map(|child| child.id.clone()).collect());
    Ok(())
}

fn change(state: &mut State, node: &NodeId, change: Change) -> Result<(), Illegal> {
    let place = get(state, node)?;
    match place.phase.next(place.sort(), change) {
        Some(next) => {
            place.phase = next;
            Ok(())
        }
        None => Err(illegal(node, format!("{change:?} in {:?}", place.phase))),
    }
}

fn pod<'a>(
    state: &'a mut State,
    group: &NodeId,
    from: &[PodPhase],
    to: PodPhase,
) -> Result<&'a mut Pod, Illegal> {
    match state.pods.get_mut(group) {
        Some(pod) if from.contains(&pod.phase) => {
            pod.phase = to;
            Ok(pod)
        }
        other => Err(illegal(
            group,
            format!("pod {to:?} in {:?}", other.map(|pod| pod.phase)),
        )),
    }
}

fn current(state: &State, step: &NodeId, attempt: u32) -> Result<(), Illegal> {
    let place = state.place(step)?;
    if place.attempts == attempt + 1 {
        Ok(())
    } else {
        Err(illegal(
            step,
            format!("attempt {attempt}, but {} were begun", place.attempts),
        ))
    }
}

fn get<'a>(state: &'a mut State, node: &NodeId) -> Result<&'a mut Place, Illegal> {
    state
        .nodes
        .get_mut(node)
        .ok_or_else(|| illegal(node, "the node is not known"))
}
