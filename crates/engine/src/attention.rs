//! Which nodes something may follow for: so that an event costs what it changes, and not what runs beside it.
//!
//! Nothing follows for a node until an event changes what its decision looks at, or a time comes that it waits for. [`mark`] says
//! which nodes an event concerns; [`follows`] looks at those, in the order of their names, until something follows. What an event
//! changes for many (an interrupt, a time that is up around others, a first failure) marks all.
//!
//! This is memory and no part of a run: two states that differ in it alone are equal, and one that was folded from a journal has all to
//! look at. Builds with debug assertions compare each answer with a look at everything, so that every test tries [`mark`] too.

use std::collections::BTreeSet;

use pipeline::plan::{Kind, NodeId, Wait};

use crate::decide;
use crate::delegate;
use crate::event::{Event, Handling};
use crate::phase::Sort;
use crate::state::{Place, State, initialize};
use crate::wanted::wakes;

/// What is to be looked at.
#[derive(Debug, Clone)]
pub(crate) struct Attention {
    /// Everything.
    all: bool,
    /// These.
    nodes: BTreeSet<NodeId>,
    /// These as soon as anything happens: they wait for what happens elsewhere.
    watchers: BTreeSet<NodeId>,
    /// Everything, from this time on.
    until: Option<u64>,
}

impl Default for Attention {
    fn default() -> Self {
        Self {
            all: true,
            nodes: BTreeSet::new(),
            watchers: BTreeSet::new(),
            until: None,
        }
    }
}

/// It is no part of what a run is.
impl PartialEq for Attention {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Attention {
    /// Something changed for all.
    pub(crate) fn all(&mut self) {
        self.all = true;
    }

    fn on(&mut self, node: Option<&NodeId>) {
        if let Some(node) = node
            && !self.nodes.contains(node)
        {
            self.nodes.insert(node.clone());
        }
    }
}

/// What follows from the state and the time alone, as [`decide::Input::Now`] says it, by a look at what is new.
pub(crate) fn follows(state: &mut State, now: u64) -> Vec<Event> {
    let events = match decide::around(state) {
        Some(events) => events,
        None => news(state, now),
    };
    debug_assert_eq!(
        events,
        decide::follows(state, now),
        "something follows where nothing is new, or the other way round"
    );
    events
}

fn news(state: &mut State, now: u64) -> Vec<Event> {
    let mut attention = std::mem::take(&mut state.attention);
    if attention.all || attention.until.is_some_and(|at| now >= at) {
        attention = Attention {
            all: false,
            nodes: state.active.clone(),
            watchers: BTreeSet::new(),
            until: None,
        };
    }
    let mut events = Vec::new();
    while let Some(id) = attention.nodes.pop_first() {
        let Some(place) = state.nodes.get(&id).filter(|_| state.active.contains(&id)) else {
            continue;
        };
        events = decide::of(state, &id, place, now);
        if !events.is_empty() {
            // More may follow for it.
            attention.nodes.insert(id);
            break;
        }
        // What waits although its time is there waits for something else.
        let wake = wakes(state, &id, place).filter(|at| *at > now);
        attention.until = attention.until.into_iter().chain(wake).min();
        if watches(place) {
            attention.watchers.insert(id);
        }
    }
    state.attention = attention;
    events
}

/// Steps that wait for other steps and other runs.
fn watches(place: &Place) -> bool {
    let waiting = place.waiting.as_ref();
    waiting.is_some_and(|own| matches!(own.wait, Wait::Barrier { .. } | Wait::Queue { .. }))
}

/// An event was folded in: whom it concerns.
pub(crate) fn mark(state: &mut State, event: &Event) {
    let mut attention = std::mem::take(&mut state.attention);
    if !attention.all {
        let watchers = std::mem::take(&mut attention.watchers);
        attention.nodes.extend(watchers);
        concerned(state, event, &mut attention);
    }
    state.attention = attention;
}

fn concerned(state: &State, event: &Event, attention: &mut Attention) {
    let parent = |node| {
        let place: Option<&Place> = state.nodes.get(node);
        place.and_then(|place| place.parent.as_ref())
    };
    match event {
        Event::RunCreated { .. }
        | Event::NodeCarried { .. }
        | Event::Adopted { .. }
        | Event::Interrupted { .. }
        | Event::GroupEnding { .. }
        | Event::GroupRetried { .. }
        | Event::RollbackStarted { .. }
        | Event::InitializeAgain { .. }
        // Steps that waited for it have their time from now on.
        | Event::PodReady { .. }
        | Event::PodLost { .. }
        | Event::PodLeft { .. } => attention.all(),
        Event::TimedOut { node } => match state.nodes.get(node) {
            Some(place) if place.sort() != Sort::Composite => attention.on(Some(node)),
            _ => attention.all(),
        },
        Event::FailureHandled { node, handling, .. } => match handling {
            Handling::Abort | Handling::RetryStepGroup { .. } | Handling::Rollback { .. } => {
                attention.all();
            }
            _ => attention.on(Some(node)),
        },
        Event::PodRequested { group, .. } => {
            attention.on(Some(group));
            attention.on(initialize(state, group).as_ref());
        }
        Event::PodDeleted { group } => match state.nodes.get(group) {
            Some(place) if place.within.0 > 0 && !delegate::is_own(&place.node) => attention.all(),
            _ => attention.on(Some(group)),
        },
        Event::Expanded { node, .. }
        | Event::Waiting { node, .. }
        | Event::Admitted { node }
        | Event::Answered { node, .. } => attention.on(Some(node)),
        Event::AttemptStarting { step, .. } => attention.on(Some(step)),
        Event::AttemptStarted { step, .. }
        | Event::AttemptFinished { step, .. }
        | Event::AttemptLost { step, .. } => {
            attention.on(Some(step));
            begun(state, step, attention);
        }
        Event::NodeStarted { node }
        | Event::AttemptReady { step: node, .. }
        | Event::Judged { node, .. }
        | Event::Failed { node, .. }
        | Event::RetryBegun { node } => {
            attention.on(Some(node));
            attention.on(parent(node));
            begun(state, node, attention);
        }
        Event::NodeFinished { node, .. } => finished(state, node, attention),
        // Of workspaces: what is to be done is another thing from here on, and nothing is decided.
        Event::WorkspaceKept { .. }
        | Event::WorkspaceLost { .. }
        | Event::WorkspaceGiven { .. }
        | Event::RunFinished { .. } => {}
    }
}

/// A group ends when its Background steps have begun, whatever is between it and them.
fn begun(state: &State, step: &NodeId, attention: &mut Attention) {
    let place = state.nodes.get(step).filter(|own| own.is_background());
    attention.on(place.and_then(|own| own.group.as_ref()));
}

/// Those who count a node look again.
fn finished(state: &State, node: &NodeId, attention: &mut Attention) {
    let Some(place) = state.nodes.get(node) else {
        return;
    };
    if place.is_background() {
        // A group that begins again waits for those too that serve below it.
        for (around, _) in state.upwards(node) {
            attention.on(Some(around));
        }
        return;
    }
    let parent = place.parent.as_ref();
    attention.on(parent);
    attention.on(place.group.as_ref());
    let beside = parent.and_then(|parent| state.nodes.get(parent)?.group.as_ref());
    attention.on(beside.filter(|_| matches!(place.node.kind, Kind::Step(_))));
}
