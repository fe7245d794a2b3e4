//! A run as it is after its events: what decisions are made of. [`crate::evolve`] makes it.

use std::collections::{BTreeMap, BTreeSet};

use addon::frame::Record;
use pipeline::plan::{Kind, Node, NodeId, Runs};

use crate::attention::Attention;
use crate::carry::Carried;
use crate::delegate;
use crate::event::{Failure, Handling, Interrupt, Intervention, Status};
use crate::phase::{Phase, Sort};
use crate::waits::{Queued, Waiting};
use crate::wanted::POD_ATTEMPTS;

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
    /// Archives of workspaces that are kept, by the group that they are of: their bytes, or why there is none.
    pub workspaces: BTreeMap<NodeId, Result<u64, String>>,
    /// Places in queues, by the step that asked for them, as long as they are waited for or held.
    pub queues: BTreeMap<NodeId, Queued>,
    /// Attempts of rollback steps that went with a group which began again: counted on where it is rolled back again.
    pub undid: BTreeMap<NodeId, u32>,
    /// What is carried over from another run, with all that is in it: it is not entered.
    pub carried: BTreeMap<NodeId, Carried>,
    /// A step that fails in a pod keeps it so long, until somebody decides.
    pub keep_ms: Option<u64>,
    /// An Abort or a Kill that was asked of the run, and when; a Kill stays over an Abort.
    pub interrupt: Option<(Interrupt, u64)>,
    /// Nothing more is entered, since then.
    pub paused: Option<u64>,
    /// Something in it was interrupted, ran out of time, ends, begins again or is rolled back, now or before. Where nothing ever was,
    /// nobody has to look for that around a node.
    pub stirred: bool,
    /// Stages in the order in which they were entered.
    pub stages: Vec<NodeId>,
    /// The run's end.
    pub finished: Option<Status>,
    /// Of the last event: time does not go back.
    pub at_ms: u64,
    /// Where something may follow.
    pub(crate) attention: Attention,
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
    /// Children that are entered and that it waits for: not a Background step that is ready.
    pub busy: u32,
    /// Of a containerized group: what is entered and not over in it, and how much of that are Background steps.
    pub within: (u32, u32),
    /// The first child (or, for a containerized group, Background step in it) that ended badly.
    pub bad: Option<NodeId>,
    /// A child ended badly and was not rolled back.
    pub unmended: bool,
    /// A child was not entered because of what happened outside.
    pub cut: bool,
    /// Where it stands.
    pub phase: Phase,
    /// When it was entered, or its last retry began.
    pub entered_ms: u64,
    /// When its time was up.
    pub timed_out: Option<u64>,
    /// When its group had nothing left to do but end (Background steps).
    pub ending: Option<u64>,
    /// What a person asked of it while it ran, and when.
    pub order: Option<(Intervention, u64)>,
    /// What its condition came to, or its retry's.
    pub judged: Option<Result<bool, Failure>>,
    /// Of its end.
    pub failure: Option<Failure>,
    /// What becomes of its failure.
    pub handled: Option<Handled>,
    /// Retries that were begun or are waited for; of a group, how often it began again.
    pub retries: u32,
    /// A step group that begins again: when it was decided, and not before when.
    pub again: Option<(u64, u64)>,
    /// Of a stage, a group or the pipeline: whether it is rolled back.
    pub undo: Undo,
    /// Attempts that were begun.
    pub attempts: u32,
    /// The record of its last attempt, or why there is none.
    pub end: Option<Result<Box<Record>, Failure>>,
    /// For a step that runs nowhere: what it waits for, once that is known.
    pub waiting: Option<Waiting>,
    /// What is asked before it begins, and was answered; none while it was not entered.
    pub gate: Option<Waiting>,
    /// A Background step that was ready: nobody waits for it any more.
    pub served: bool,
    /// For a containerized group: the Background steps in it that were entered.
    pub backgrounds: Vec<NodeId>,
    /// For a containerized group: pods before this one may not be made again.
    pub pods_until: u32,
    /// Of an iteration whose loop takes turns in containers: its turn.
    pub slot: Option<u32>,
    /// Of such a loop: the slots that are taken.
    pub taken: BTreeSet<u32>,
}

/// What was decided of a failure.
#[derive(Debug, Clone, PartialEq)]
pub struct Handled {
    /// The failure.
    pub failure: Failure,
    /// The node's end, where it stands.
    pub status: Status,
    /// What becomes of it.
    pub handling: Handling,
}

/// Whether something is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Undo {
    /// No.
    #[default]
    No,
    /// As soon as nothing in it runs any more.
    Asked,
    /// Its rollback steps run, or are over.
    Begun,
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
    /// It was lost after it was ready and before anything may have begun in it.
    pub unused: bool,
    /// The workspace that its group takes over is in it.
    pub given: bool,
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
    pub(crate) fn new(node: Node, parent: Option<NodeId>, group: Option<NodeId>) -> Self {
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
            busy: 0,
            within: (0, 0),
            bad: None,
            unmended: false,
            cut: false,
            phase: Phase::Waiting,
            entered_ms: 0,
            timed_out: None,
            ending: None,
            order: None,
            judged: None,
            failure: None,
            handled: None,
            retries: 0,
            again: None,
            undo: Undo::No,
            attempts: 0,
            end: None,
            waiting: None,
            gate: None,
            served: false,
            backgrounds: Vec::new(),
            pods_until: POD_ATTEMPTS,
            slot: None,
            taken: BTreeSet::new(),
        }
    }

    /// As it was before it was entered; attempts are counted on, since logs and addons know them by number.
    pub(crate) fn reset(&mut self) {
        let node = std::mem::replace(
            &mut self.node,
            Node::new(NodeId(String::new()), Kind::Pipeline, "", ""),
        );
        let fresh = Self::new(node, self.parent.take(), self.group.take());
        let (children, attempts) = (self.children.take(), self.attempts);
        let pods_until = self.pods_until;
        // What was answered is not asked again.
        let gate = self.gate.take().filter(|own| !own.answers.is_empty());
        *self = Self {
            children,
            attempts,
            gate,
            pods_until,
            ..fresh
        };
    }

    /// It is a step of the Background kind.
    pub fn is_background(&self) -> bool {
        matches!(&self.node.kind, Kind::Step(step) if step.background)
    }

    /// It is a containerized group.
    pub fn is_pod_group(&self) -> bool {
        matches!(self.node.kind, Kind::StepGroup { pod: true })
    }

    /// What failed in it was rolled back, all of it.
    pub(crate) fn is_mended(&self) -> bool {
        match self.node.kind {
            Kind::Stage(_) => self.undo == Undo::Begun,
            Kind::Parallel | Kind::Loop => self.bad.is_some() && !self.unmended,
            _ => false,
        }
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

    /// The container that a step runs in.
    pub fn container(&self, id: &NodeId) -> Option<String> {
        let place = self.nodes.get(id)?;
        let Kind::Step(step) = &place.node.kind else {
            return None;
        };
        let base = step.container.clone()?;
        let mut slots: Vec<u32> = self
            .upwards(id)
            .filter_map(|(_, place)| place.slot)
            .collect();
        slots.reverse();
        Some(pipeline::pod::slotted(&base, &slots))
    }

    /// The node's surroundings that still hold for it, from `id` outwards, itself first: what a rollback step is in does not
    /// end with the time of the stage that it undoes.
    pub(crate) fn around<'a>(
        &'a self,
        id: &'a NodeId,
    ) -> impl Iterator<Item = (&'a NodeId, &'a Place, bool)> {
        let mut undoing = false;
        self.upwards(id).map(move |(id, place)| {
            let undone = undoing && place.node.kind != Kind::Pipeline;
            undoing = place.node.kind == Kind::Rollback;
            (id, place, undone)
        })
    }

    /// When the first of this node's surroundings, or itself, ran out of time.
    pub fn timed_out(&self, id: &NodeId) -> Option<u64> {
        self.around(id)
            .filter(|(.., undone)| !undone)
            .filter_map(|(_, place, _)| place.timed_out)
            .min()
    }
}

/// The Initialize node of a containerized group: its first child.
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

pub(crate) fn illegal(node: &NodeId, what: impl Into<String>) -> Illegal {
    Illegal {
        node: node.0.clone(),
        what: what.into(),
    }
}
