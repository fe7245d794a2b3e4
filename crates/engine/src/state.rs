//! A run as the fold of its events.

use std::collections::{BTreeMap, BTreeSet};

use addon::frame::Record;
use pipeline::plan::{Kind, Node, NodeId, Runs};

use crate::delegate;
use crate::event::{Event, Failure, Interrupt, Stamped, Status};
use crate::phase::{Change, Phase, Sort};
use crate::waits::{self, Queued, Waiting};

/// An event that cannot follow what was before it: a bug of whoever decided it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("illegal event for {node}: {what}")]
pub struct Illegal {
    /// What it is about.
    pub node: String,
    /// The event and the state it met.
    pub what: String,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Its id; empty before it was created.
    pub run: String,
    /// The last owner's.
    pub epoch: u64,
    /// When it took over.
    pub adopted_ms: u64,
    /// The root's id, once the run was created.
    pub root: Option<NodeId>,
    /// Every node that is known.
    pub nodes: BTreeMap<NodeId, Place>,
    /// Nodes that are entered and not over: what decisions look at.
    pub active: BTreeSet<NodeId>,
    /// By containerized group, or step with a pod of its own, from the first request of its pod on.
    pub pods: BTreeMap<NodeId, Pod>,
    /// What was asked of the run, and when; a Kill stays over an Abort.
    pub interrupt: Option<(Interrupt, u64)>,
    /// Places in queues, by the step that asked for them, as long as they are waited for or held.
    pub queues: BTreeMap<NodeId, Queued>,
    /// The run's end.
    pub finished: Option<Status>,
    /// Of the last event: time does not go back.
    pub at_ms: u64,
}

/// A node in its run.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// As expanded.
    pub node: Node,
    /// What it is in.
    pub parent: Option<NodeId>,
    /// The containerized group it is in (or is).
    pub group: Option<NodeId>,
    /// None: not expanded yet.
    pub children: Option<Vec<NodeId>>,
    /// Children before this place were entered or skipped.
    pub next: usize,
    /// The first child (or, for a containerized group, Background step in it) that ended badly.
    pub bad: Option<NodeId>,
    /// A child was not entered because of what happened outside.
    pub cut: bool,
    /// Where it stands.
    pub phase: Phase,
    /// When it was entered.
    pub entered_ms: u64,
    /// When its time was up.
    pub timed_out: Option<u64>,
    /// When its group had nothing left to do but end (Background steps).
    pub ending: Option<u64>,
    /// Of its end.
    pub failure: Option<Failure>,
    /// Attempts that were begun.
    pub attempts: u32,
    /// The record of its last attempt, or why there is none.
    pub end: Option<Result<Box<Record>, Failure>>,
    /// For a containerized group: the Background steps in it that were entered.
    pub backgrounds: Vec<NodeId>,
    /// For a step that runs nowhere: what it waits for, once that is known.
    pub waiting: Option<Waiting>,
}

/// A group's pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// 0 for the group's first.
    pub attempt: u32,
    /// Where it stands.
    pub phase: PodPhase,
    /// An attempt of some step of this group may have begun: from here on its loss is not retried.
    pub used: bool,
    /// Why it was lost or left.
    pub reason: Option<String>,
}

/// Where a pod stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodPhase {
    /// To be made, or being made.
    Requested,
    /// Its lite-engine answers.
    Ready,
    /// It is no more, or must not be used any more; what is left of it is to be removed.
    Lost,
    /// Removed.
    Deleted,
    /// It could not be removed.
    Left,
}

impl PodPhase {
    /// Something of it may be there.
    pub fn may_exist(self) -> bool {
        matches!(self, Self::Requested | Self::Ready | Self::Lost)
    }
}

impl Place {
    fn new(node: Node, parent: Option<NodeId>, group: Option<NodeId>) -> Self {
        let group = match node.kind {
            Kind::StepGroup { pod: true } => Some(node.id.clone()),
            // A process of the delegate is in no group's pod.
            _ if delegate::is_own(&node) => Some(node.id.clone()),
            _ => group,
        };
        Self {
            node,
            parent,
            group,
            children: None,
            next: 0,
            bad: None,
            cut: false,
            phase: Phase::Waiting,
            entered_ms: 0,
            timed_out: None,
            ending: None,
            failure: None,
            attempts: 0,
            end: None,
            backgrounds: Vec::new(),
            waiting: None,
        }
    }

    /// It is a step of the Background kind.
    pub fn is_background(&self) -> bool {
        matches!(&self.node.kind, Kind::Step(step) if step.background)
    }

    /// It is a containerized group.
    pub fn is_pod_group(&self) -> bool {
        matches!(self.node.kind, Kind::StepGroup { pod: true })
    }

    /// The number of the attempt that was begun last.
    pub fn attempt(&self) -> u32 {
        self.attempts.saturating_sub(1)
    }

    /// Its end.
    pub fn status(&self) -> Option<Status> {
        match self.phase {
            Phase::Finished(status) => Some(status),
            _ => None,
        }
    }

    /// Which rules hold for it.
    pub fn sort(&self) -> Sort {
        match self.node.kind {
            Kind::Initialize => Sort::Initialize,
            Kind::Step(ref step) if step.runs() == Runs::Nowhere => Sort::Wait,
            Kind::Step(_) => Sort::Step,
            _ => Sort::Composite,
        }
    }
}

impl State {
    /// A node, or the bug report.
    pub fn place(&self, id: &NodeId) -> Result<&Place, Illegal> {
        self.nodes
            .get(id)
            .ok_or_else(|| illegal(id, "the node is not known"))
    }

    /// The nodes from `id` outwards, itself first.
    pub fn upwards<'a>(&'a self, id: &'a NodeId) -> impl Iterator<Item = (&'a NodeId, &'a Place)> {
        let mut next = Some(id);
        std::iter::from_fn(move || {
            let id = next?;
            let place = self.nodes.get(id)?;
            next = place.parent.as_ref();
            Some((id, place))
        })
    }

    /// When the first of this node's surroundings ran out of time.
    pub fn timed_out(&self, id: &NodeId) -> Option<u64> {
        self.upwards(id)
            .filter_map(|(_, place)| place.timed_out)
            .min()
    }
}

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
        Event::RunCreated { run, root, .. } => {
            if state.root.is_some() {
                return Err(illegal(&root.id, "the run was created before"));
            }
            state.run.clone_from(run);
            state.root = Some(root.id.clone());
            let place = Place::new(root.clone(), None, None);
            state.nodes.insert(root.id.clone(), place);
        }
        Event::Adopted { epoch } => {
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
            let place = get(state, node)?;
            place.entered_ms = at;
            let background = place.is_background();
            let group = place.group.clone();
            passed(state, node);
            state.active.insert(node.clone());
            if background && let Some(group) = group {
                get(state, &group)?.backgrounds.push(node.clone());
            }
        }
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
                reason: None,
            };
            state.pods.insert(group.clone(), pod);
        }
        Event::PodReady { group } => {
            pod(state, group, &[PodPhase::Requested], PodPhase::Ready)?;
            if !delegate::is_own(&state.place(group)?.node) {
                let initialize = initialize(state, group)
                    .ok_or_else(|| illegal(group, "a pod without its Initialize"))?;
                change(state, &initialize, Change::Record)?;
            }
        }
        Event::PodLost { group, reason } => {
            let from = [PodPhase::Requested, PodPhase::Ready];
            pod(state, group, &from, PodPhase::Lost)?.reason = Some(reason.clone());
        }
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
        Event::Waiting { .. } | Event::Admitted { .. } | Event::Answered { .. } => {
            waits::evolve(state, &stamped.event)?;
        }
        Event::Interrupted { interrupt } => {
            let hurried = matches!(
                (&state.interrupt, interrupt),
                (None, _) | (Some((Interrupt::Abort, _)), Interrupt::Kill)
            );
            if hurried {
                state.interrupt = Some((interrupt.clone(), at));
            }
        }
        Event::NodeFinished {
            node,
            status,
            failure,
        } => {
            let waiting = state.place(node)?.phase == Phase::Waiting;
            change(state, node, Change::Finish(*status))?;
            get(state, node)?.failure.clone_from(failure);
            state.active.remove(node);
            waits::over(state, node, *status);
            if waiting {
                passed(state, node);
            }
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
    Ok(())
}

/// A child is not waiting any more.
fn passed(state: &mut State, node: &NodeId) {
    let parent = state.nodes.get(node).and_then(|place| place.parent.clone());
    if let Some(parent) = parent.and_then(|parent| state.nodes.get_mut(&parent)) {
        parent.next += 1;
    }
}

/// Tells the surroundings how a node ended.
fn blame(state: &mut State, node: &NodeId, status: Status, because: bool) {
    let Some(place) = state.nodes.get(node) else {
        return;
    };
    let parent = place.parent.clone();
    let group = place.is_background().then(|| place.group.clone()).flatten();
    for id in [parent.clone(), group].into_iter().flatten() {
        if let Some(around) = state.nodes.get_mut(&id) {
            if !status.is_positive() && around.bad.is_none() {
                around.bad = Some(node.clone());
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
        let place = Place::new(child.clone(), Some(node.clone()), group.clone());
        state.nodes.insert(child.id.clone(), place);
    }
    get(state, node)?.children = Some(children.iter().map(|child| child.id.clone()).collect());
    Ok(())
}

/// The Initialize node of a containerized group.
pub fn initialize(state: &State, group: &NodeId) -> Option<NodeId> {
    let children = state.nodes.get(group)?.children.as_ref()?;
    children
        .iter()
        .find(|child| {
            state
                .nodes
                .get(child)
                .is_some_and(|place| place.node.kind == Kind::Initialize)
        })
        .cloned()
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

fn illegal(node: &NodeId, what: impl Into<String>) -> Illegal {
    Illegal {
        node: node.0.clone(),
        what: what.into(),
    }
}
