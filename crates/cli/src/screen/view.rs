//! The fold of a run's events into what every screen shows.

use std::collections::{BTreeMap, BTreeSet};

use addon::frame::Record;
use driver::backend::{EventKind, PodEvent};
use engine::carry::Carry;
use engine::event::{Event, Failure, Handling, Interrupt, Stamped, Status};
use pipeline::plan::{Gate, Kind, Node, NodeId, Step, Wait};

use super::tail::Tail;
use super::waits;

/// What a screen is told.
#[derive(Debug, Clone)]
pub(crate) enum Seen {
    /// An event of the run, as the journal has it.
    Event(Box<Stamped>),
    /// A line of a group's Initialize log.
    Pod {
        /// The group.
        group: NodeId,
        /// The pod's event.
        event: PodEvent,
    },
    /// Output of a step, masked.
    Output {
        /// The step.
        step: NodeId,
        /// When it was read, milliseconds since the Unix epoch.
        at_ms: u64,
        /// The bytes; a line may be split over several.
        bytes: Vec<u8>,
    },
}

/// A run, as far as it is known.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// The run's id.
    pub(crate) run: String,
    /// The root node.
    pub(crate) root: Option<NodeId>,
    /// Every node that is known.
    pub(crate) items: BTreeMap<NodeId, Item>,
    /// The steps of each container, with the groups that they are in.
    pub(crate) containers: BTreeMap<String, Vec<NodeId>>,
    /// When the run was accepted.
    pub(crate) began_ms: u64,
    /// The latest time that was seen.
    pub(crate) now_ms: u64,
    /// The end of the run.
    pub(crate) end: Option<(Status, u64)>,
    /// Nothing more begins until it is resumed.
    pub(crate) paused: bool,
    /// Nodes that wait for a person, those who wait longest first.
    pub(crate) open: Vec<NodeId>,
    /// Groups whose pod is no more.
    pub(crate) lost: BTreeSet<NodeId>,
    /// Of a retry: what it took over.
    pub(crate) carried: Option<Box<Carry>>,
}

/// A node and what became of it so far.
#[derive(Debug)]
pub(crate) struct Item {
    /// The node.
    pub(crate) node: Node,
    /// The one it is a child of.
    pub(crate) parent: Option<NodeId>,
    /// In order.
    pub(crate) children: Vec<NodeId>,
    /// When it was entered.
    pub(crate) began_ms: Option<u64>,
    /// When it was over.
    pub(crate) ended_ms: Option<u64>,
    /// Its end.
    pub(crate) status: Option<Status>,
    /// Why.
    pub(crate) failure: Option<Failure>,
    /// What else is to be said of its end.
    pub(crate) why: Option<String>,
    /// It did not run again: the run in which it ran.
    pub(crate) carried: Option<String>,
    /// What becomes of its failure, until it is tried again or over.
    pub(crate) handling: Option<Handling>,
    /// How often it was tried again.
    pub(crate) retries: u32,
    /// The times of its attempts, in order.
    pub(crate) attempts: Vec<Try>,
    /// A Background step that is ready.
    pub(crate) ready: bool,
    /// Of a step that runs nowhere: what it waits for.
    pub(crate) waits: Option<String>,
    /// It was asked before it began; what it waits for later is not told so.
    pub(crate) gated: bool,
    /// What is asked before it begins, until it is answered.
    pub(crate) gate: Option<Box<Gate>>,
    /// What is worth saying beside its end.
    pub(crate) warnings: Vec<String>,
    /// The end of its output; of Initialize, its log.
    pub(crate) tail: Tail,
    /// Of a step: how its container came to be.
    pub(crate) container: Making,
}

/// One attempt of a step.
#[derive(Debug, Default)]
pub(crate) struct Try {
    /// When its process ran.
    pub(crate) started_ms: Option<u64>,
    /// When it was over.
    pub(crate) ended_ms: Option<u64>,
    /// What the addon wrote.
    pub(crate) record: Option<Box<Record>>,
}

/// The making of a container: from and to, milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Making {
    /// Its image is being fetched.
    pub(crate) pulling: bool,
    /// Its image was fetched.
    pub(crate) pull: Option<(u64, u64)>,
    /// It was made and started.
    pub(crate) create: Option<(u64, u64)>,
}

impl Item {
    fn new(node: Node, parent: Option<NodeId>) -> Self {
        Self {
            node,
            parent,
            children: Vec::new(),
            began_ms: None,
            ended_ms: None,
            status: None,
            failure: None,
            why: None,
            carried: None,
            handling: None,
            retries: 0,
            attempts: Vec::new(),
            ready: false,
            waits: None,
            gated: false,
            gate: None,
            warnings: Vec::new(),
            tail: Tail::default(),
            container: Making::default(),
        }
    }

    /// As if it had not been entered; what it did before stays told by its attempts.
    fn again(&mut self) {
        self.began_ms = None;
        self.ended_ms = None;
        self.status = None;
        self.failure = None;
        self.why = None;
        self.carried = None;
        self.handling = None;
        self.waits = None;
        self.ready = false;
    }

    /// The step that it is.
    pub(crate) fn step(&self) -> Option<&Step> {
        match &self.node.kind {
            Kind::Step(step) => Some(step),
            _ => None,
        }
    }

    /// A leaf of the tree: a step or an Initialize.
    pub(crate) fn is_leaf(&self) -> bool {
        matches!(self.node.kind, Kind::Step(_) | Kind::Initialize)
    }

    /// It was entered and is not over.
    pub(crate) fn is_running(&self) -> bool {
        self.began_ms.is_some() && self.status.is_none()
    }

    /// Milliseconds from its beginning to its end, or to now.
    pub(crate) fn elapsed(&self, now_ms: u64) -> Option<u64> {
        Some(
            self.ended_ms
                .unwrap_or(now_ms)
                .saturating_sub(self.began_ms?),
        )
    }

    /// The name for a person.
    pub(crate) fn label(&self) -> &str {
        match &self.node.kind {
            Kind::Parallel => "parallel",
            Kind::Initialize => "Initialize",
            _ if self.node.name.is_empty() => &self.node.identifier,
            _ => &self.node.name,
        }
    }

    /// The record of its last attempt.
    pub(crate) fn record(&self) -> Option<&Record> {
        self.attempts.last()?.record.as_deref()
    }
}

impl View {
    /// Takes what was seen.
    pub(crate) fn see(&mut self, seen: &Seen) {
        match seen {
            Seen::Event(stamped) => {
                self.now_ms = self.now_ms.max(stamped.at_ms);
                self.event(stamped);
            }
            Seen::Pod { group, event } => {
                self.now_ms = self.now_ms.max(event.at_ms);
                self.pod(group, event);
            }
            Seen::Output { step, at_ms, bytes } => {
                self.now_ms = self.now_ms.max(*at_ms);
                if let Some(item) = self.items.get_mut(step) {
                    item.tail.push(bytes);
                }
            }
        }
    }

    fn event(&mut self, Stamped { at_ms, event }: &Stamped) {
        match event {
            Event::RunCreated {
                run, root, carried, ..
            } => {
                self.run.clone_from(run);
                self.carried.clone_from(carried);
                self.began_ms = *at_ms;
                self.root = Some(root.id.clone());
                self.items
                    .insert(root.id.clone(), Item::new(root.clone(), None));
            }
            Event::Expanded { node, children } => {
                for child in children {
                    if let Kind::Step(Step {
                        container: Some(container),
                        ..
                    }) = &child.kind
                    {
                        let steps = self.containers.entry(container.clone()).or_default();
                        steps.push(child.id.clone());
                    }
                    self.items.insert(
                        child.id.clone(),
                        Item::new(child.clone(), Some(node.clone())),
                    );
                }
                if let Some(item) = self.items.get_mut(node) {
                    item.children = children.iter().map(|c| c.id.clone()).collect();
                }
            }
            Event::NodeStarted { node } => {
                if let Some(item) = self.items.get_mut(node) {
                    item.began_ms.get_or_insert(*at_ms);
                }
            }
            Event::Waiting { node, wait, .. } => {
                if let Some(item) = self.items.get_mut(node) {
                    item.waits = Some(waits::says(wait));
                    item.gated = matches!(wait, Wait::Start(_));
                    item.gate = match wait {
                        Wait::Start(gate) => Some(gate.clone()),
                        _ => None,
                    };
                }
                if matches!(wait, Wait::Approval(_) | Wait::Start(_)) {
                    self.open.push(node.clone());
                }
            }
            Event::Answered { node, .. } => {
                if let Some(item) = self.items.get_mut(node).filter(|own| own.gated) {
                    item.waits = None;
                    item.gate = None;
                    self.open.retain(|own| own != node);
                }
            }
            Event::AttemptStarting { step, .. } => {
                if let Some(item) = self.items.get_mut(step) {
                    item.ready = false;
                    item.attempts.push(Try::default());
                }
            }
            Event::AttemptStarted { step, .. } => {
                // By the driver's clock: a waterfall of one clock cannot be torn by another one.
                if let Some(attempt) = self.attempt(step) {
                    attempt.started_ms = Some(*at_ms);
                }
            }
            Event::AttemptReady { step, warning, .. } => {
                if let Some(item) = self.items.get_mut(step) {
                    item.ready = true;
                    item.warnings.extend(warning.clone());
                }
            }
            Event::AttemptFinished { step, record } => {
                let record = record.clone();
                if let Some(item) = self.items.get_mut(step) {
                    item.warnings.extend(record.warnings.iter().cloned());
                    if let Some(attempt) = item.attempts.last_mut() {
                        attempt.ended_ms = Some(*at_ms);
                        attempt.record = Some(record);
                    }
                }
            }
            Event::AttemptLost { step, .. } => {
                if let Some(attempt) = self.attempt(step) {
                    attempt.ended_ms = Some(*at_ms);
                }
            }
            Event::NodeFinished {
                node,
                status,
                failure,
                why,
            } => {
                self.open.retain(|own| own != node);
                if let Some(item) = self.items.get_mut(node) {
                    item.ended_ms = Some(*at_ms);
                    item.status = Some(*status);
                    item.failure.clone_from(failure);
                    item.why.clone_from(why);
                    item.handling = None;
                }
            }
            Event::NodeCarried {
                node,
                run,
                status,
                why,
            } => {
                if let Some(item) = self.items.get_mut(node) {
                    item.carried = Some(run.clone());
                    item.status = Some(*status);
                    item.why.clone_from(why);
                }
            }
            Event::PodReady { group } => {
                self.lost.remove(group);
            }
            Event::PodLost { group, reason } => {
                self.lost.insert(group.clone());
                if let Some(init) = self.initialize(group) {
                    init.warnings.push(format!("the pod was lost: {reason}"));
                }
            }
            Event::InitializeAgain { node } => {
                if let Some(item) = self.items.get_mut(node) {
                    item.again();
                    item.began_ms = Some(*at_ms);
                }
            }
            Event::FailureHandled {
                node,
                failure,
                handling,
                ..
            } => {
                self.open.retain(|own| own != node);
                if matches!(handling, Handling::Ask { .. }) {
                    self.open.push(node.clone());
                }
                if let Some(item) = self.items.get_mut(node) {
                    item.failure = Some(failure.clone());
                    item.handling = Some(handling.clone());
                }
            }
            Event::RetryBegun { node } => {
                if let Some(item) = self.items.get_mut(node) {
                    item.handling = None;
                    item.retries += 1;
                }
            }
            Event::GroupRetried { group } => {
                for id in self.below(group) {
                    if let Some(item) = self.items.get_mut(&id) {
                        item.again();
                    }
                }
                if let Some(item) = self.items.get_mut(group) {
                    item.retries += 1;
                }
            }
            Event::RollbackStarted { of, node } => {
                let active = self.items.get(of).is_some_and(Item::is_running);
                let parent = match &self.root {
                    Some(root) if !active => root.clone(),
                    _ => of.clone(),
                };
                let mut item = Item::new(node.clone(), Some(parent.clone()));
                item.began_ms = Some(*at_ms);
                self.items.insert(node.id.clone(), item);
                if let Some(parent) = self.items.get_mut(&parent) {
                    parent.children.push(node.id.clone());
                }
            }
            Event::Interrupted { interrupt } => match interrupt {
                Interrupt::Pause => self.paused = true,
                Interrupt::Resume => self.paused = false,
                _ => {}
            },
            Event::RunFinished { status } => self.end = Some((*status, *at_ms)),
            // What is of no interest to a screen.
            _ => {}
        }
    }

    fn pod(&mut self, group: &NodeId, event: &PodEvent) {
        if let Some(init) = self.initialize(group) {
            let line = match event.kind {
                EventKind::Normal => event.message.clone(),
                EventKind::Warning => {
                    init.warnings.push(event.message.clone());
                    format!("warning: {}", event.message)
                }
            };
            init.tail.line(&line);
        }
        let Some(container) = &event.container else {
            return;
        };
        let at = event.at_ms;
        let steps = self.containers.get(container).cloned().unwrap_or_default();
        for id in steps {
            // Containers of other groups may have the same name.
            if !self.is_in(&id, group) {
                continue;
            }
            let Some(item) = self.items.get_mut(&id) else {
                continue;
            };
            let making = &mut item.container;
            match event.reason.as_str() {
                "Pulling" => {
                    making.pulling = true;
                    making.pull = Some((at, at));
                }
                "Pulled" => {
                    making.pulling = false;
                    let from = making.pull.map_or(at, |(from, _)| from);
                    making.pull = Some((from, at));
                }
                "Created" => making.create = Some((making.pull.map_or(at, |(_, to)| to), at)),
                "Started" => {
                    let from = making.create.map_or(at, |(from, _)| from);
                    making.create = Some((from, at));
                }
                _ => {}
            }
        }
    }

    fn attempt(&mut self, step: &NodeId) -> Option<&mut Try> {
        self.items.get_mut(step)?.attempts.last_mut()
    }

    /// The Initialize of a group.
    fn initialize(&mut self, group: &NodeId) -> Option<&mut Item> {
        let mut children = self.items.get(group)?.children.iter();
        let id = children.find(|id| {
            let child = self.items.get(*id);
            child.is_some_and(|i| i.node.kind == Kind::Initialize)
        })?;
        let id = id.clone();
        self.items.get_mut(&id)
    }

    /// Whether a node is somewhere below another.
    fn is_in(&self, node: &NodeId, around: &NodeId) -> bool {
        let mut at = self.items.get(node);
        while let Some(parent) = at.and_then(|item| item.parent.as_ref()) {
            if parent == around {
                return true;
            }
            at = self.items.get(parent);
        }
        false
    }

    /// All nodes below one, depth first.
    pub(crate) fn below(&self, node: &NodeId) -> Vec<NodeId> {
        let mut found = Vec::new();
        let mut open: Vec<_> = self.children(node).iter().rev().collect();
        while let Some(id) = open.pop() {
            found.push(id.clone());
            open.extend(self.children(id).iter().rev());
        }
        found
    }

    /// The children of a node.
    pub(crate) fn children(&self, node: &NodeId) -> &[NodeId] {
        self.items.get(node).map_or(&[], |item| &item.children)
    }

    /// What a node was asked last was asked before it began.
    pub(crate) fn asked(&self, node: &NodeId) -> bool {
        self.items.get(node).is_some_and(|item| item.gated)
    }

    /// Where a node is, in identifiers: `build/compile_group/compile`. The pipeline and `parallel` blocks are left out.
    pub(crate) fn path(&self, node: &NodeId) -> String {
        let mut parts = Vec::new();
        let mut at = Some(node);
        while let Some(item) = at.and_then(|id| self.items.get(id)) {
            match item.node.kind {
                Kind::Pipeline | Kind::Parallel | Kind::Loop => {}
                Kind::Initialize => parts.push("Initialize"),
                // What undoes a stage is the pipeline's when all are rolled back, and still that stage's.
                Kind::Rollback => {
                    parts.push(&item.node.identifier);
                    let undone = item.node.id.undone();
                    let undone = undone.and_then(|id| self.items.get_key_value(&id));
                    if let Some((id, _)) = undone {
                        at = Some(id);
                        continue;
                    }
                }
                _ => parts.push(&item.node.identifier),
            }
            at = item.parent.as_ref();
        }
        parts.reverse();
        parts.join("/")
    }
}
