//! A group's pod: made, connected to, watched and removed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use addon::link::Frame;
use engine::Input;
use engine::State;
use engine::event::{ErrorKind, Failure, Interrupt};
use pipeline::plan::{Kind, NodeId, Order};
use pipeline::pod;

use crate::backend::{self, Created, Deleted, FailureKind, ImageFacts, PodRef};

use super::session::Session;
use super::{Action, Core, Limits, classify};

/// The first wait before a connection, a channel or a removal is tried again; the very first try again is at once.
const RETRY_MS: u64 = 50;
/// The longest wait between two tries.
const RETRY_LONGEST_MS: u64 = 5_000;
/// A channel that closes this often in a row, with no welcome between, belongs to an addon that is gone.
const CHANNEL_TRIES: u32 = 8;
/// A connection is asked for a sign of life this often: lite-engine needs it, too, to know a driver that is gone.
const PING_MS: u64 = 10_000;
/// Without any frame for this long after it was asked, a connection is taken for cut: half of it may be gone unnoticed, as by a
/// firewall that forgets, a laptop that changes its network, a node that lost its power. Both together are well below the time after
/// which a step that was told to end counts as lost.
const SILENCE_MS: u64 = 10_000;
/// A removal that failed this often is left to `sweep`.
const DELETE_TRIES: u32 = 6;
/// For so long the removal is tried where nobody answers: an API server that starts again takes a minute. Who does not want to wait
/// interrupts the run once more.
const DELETE_LONGEST_MS: u64 = 180_000;

/// The channel of what is said to lite-engine itself. Those of containers count from 1.
const LITE_ENGINE: u32 = 0;

/// A time that does not come: a pod that is being removed is not connected to again.
const NEVER_MS: u64 = u64::MAX - RETRY_LONGEST_MS;

/// A question to the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    No,
    Asked,
    Done,
}

/// The connection to lite-engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down { again_ms: u64 },
    Connecting(u32),
    Up(u32),
}

/// What is heard on a connection that stands.
#[derive(Debug, Clone, Copy)]
struct Pulse {
    /// When the next ping is due.
    ping_ms: u64,
    /// When silence is the end; none while nothing is awaited.
    until_ms: Option<u64>,
}

impl Pulse {
    /// Of a connection that was heard now.
    fn new(now_ms: u64) -> Self {
        Self {
            ping_ms: now_ms + PING_MS,
            until_ms: None,
        }
    }
}

/// What is under way for one pod.
pub(super) struct Group {
    spec: Arc<pod::Spec>,
    pub(super) pod: PodRef,
    preflight: Ask,
    pub(super) images: BTreeMap<String, Result<ImageFacts, Failure>>,
    create: Ask,
    /// Whoever makes it knows that nobody waits for it.
    given_up: bool,
    watching: bool,
    link: Link,
    link_tries: u32,
    pulse: Pulse,
    channels: u32,
    /// Whose channel it is, of those that are open or being opened.
    by_channel: BTreeMap<u32, String>,
    pub(super) containers: BTreeMap<String, Container>,
    delete: Ask,
    delete_tries: u32,
    delete_again_ms: u64,
    /// When it was first tried.
    delete_since_ms: u64,
}

/// What a container's channel is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// A step that comes soon finds its addon waiting.
    Ahead,
    /// A step is about to start in it.
    Needed,
    /// A step was started in it.
    Used,
    /// Its step is over, and the channel was wanted elsewhere.
    LetGo,
}

/// One container of it.
pub(super) struct Container {
    /// Its place in the spec, from 0.
    at: usize,
    asked: bool,
    /// Those behind it were asked for.
    led: bool,
    wish: Wish,
    pub(super) up: Option<Result<(), Failure>>,
    /// The channel, once it was opened or is being opened.
    pub(super) channel: Option<u32>,
    tries: u32,
    again_ms: u64,
    pub(super) session: Session,
}

impl Group {
    fn new(group: &NodeId, spec: pod::Spec) -> Self {
        let pod = PodRef {
            name: spec.name.clone(),
            namespace: spec.namespace.clone(),
            run: spec.run.clone(),
            group: group.0.clone(),
            connector: spec.connector.clone(),
        };
        let container = |(at, c): (usize, &pod::Container)| {
            let container = Container {
                at,
                asked: false,
                led: false,
                wish: Wish::Ahead,
                up: None,
                channel: None,
                tries: 0,
                again_ms: 0,
                session: Session::default(),
            };
            (c.name.clone(), container)
        };
        Self {
            containers: spec.containers.iter().enumerate().map(container).collect(),
            spec: Arc::new(spec),
            pod,
            preflight: Ask::No,
            images: BTreeMap::new(),
            create: Ask::No,
            given_up: false,
            watching: false,
            link: Link::Down { again_ms: 0 },
            link_tries: 0,
            pulse: Pulse::new(0),
            channels: 0,
            by_channel: BTreeMap::new(),
            delete: Ask::No,
            delete_tries: 0,
            delete_again_ms: 0,
            delete_since_ms: 0,
        }
    }

    /// The connection, where it stands.
    pub(super) fn connection(&self) -> Option<u32> {
        match self.link {
            Link::Up(connection) => Some(connection),
            _ => None,
        }
    }

    /// A welcome came: tries are counted from here again.
    pub(super) fn welcomed(&mut self, container: &str) {
        self.link_tries = 0;
        if let Some(container) = self.containers.get_mut(container) {
            container.tries = 0;
            container.up = Some(Ok(()));
        }
    }

    /// The container of an open channel.
    pub(super) fn on_channel(&self, channel: u32) -> Option<&String> {
        self.by_channel.get(&channel)
    }

    /// Whether a channel to this container is to be opened as soon as its time has come.
    fn opens(&self, container: &Container, limits: Limits) -> bool {
        let room = match container.wish {
            Wish::Needed | Wish::Used => limits.channels,
            Wish::Ahead => limits.channels / 2,
            Wish::LetGo => 0,
        };
        container.asked
            && container.channel.is_none()
            && !matches!(container.up, Some(Err(_)))
            && self.by_channel.len() < room
    }

    fn down(&mut self, now_ms: u64) {
        self.link = Link::Down {
            again_ms: now_ms + backoff(self.link_tries),
        };
        self.link_tries += 1;
        self.by_channel.clear();
        for container in self.containers.values_mut() {
            container.channel = None;
            container.session.cut();
        }
    }
}

/// What is wrong with a pod's images, each reason told once with the containers it holds for.
fn bad_images(images: &BTreeMap<String, Result<ImageFacts, Failure>>) -> Option<Failure> {
    let mut reasons: Vec<(&Failure, Vec<&str>)> = Vec::new();
    for (container, answer) in images {
        let Err(failure) = answer else { continue };
        match reasons.iter_mut().find(|(known, _)| *known == failure) {
            Some((_, containers)) => containers.push(container),
            None => reasons.push((failure, vec![container])),
        }
    }
    let first = reasons.first()?.0;
    if let [(failure, containers)] = &reasons[..] {
        let mut failure = (*failure).clone();
        if containers.len() > 1 {
            failure.message = format!("{}: {}", containers.join(", "), failure.message);
        }
        return Some(failure);
    }
    let all: Vec<_> = reasons
        .iter()
        .map(|(failure, containers)| format!("{}: {}", containers.join(", "), failure.message))
        .collect();
    let mut helps: Vec<&str> = Vec::new();
    for help in reasons.iter().filter_map(|(f, _)| f.help.as_deref()) {
        if !helps.contains(&help) {
            helps.push(help);
        }
    }
    Some(Failure {
        error: first.error,
        message: format!(
            "{} images cannot be used: {}",
            reasons.len(),
            all.join("; ")
        ),
        help: (!helps.is_empty()).then(|| helps.join("; ")),
    })
}

/// The containers of the steps that a node begins with, as far as it is expanded.
fn first_containers(state: &State, id: &NodeId, into: &mut Vec<String>) {
    let Some(place) = state.nodes.get(id) else {
        return;
    };
    into.extend(state.container(id));
    let begins = place.children.iter().flatten().filter(|child| {
        let child = state.nodes.get(child);
        child.is_some_and(|c| c.node.kind != Kind::Initialize && c.node.skip.is_none())
    });
    let count = match place.node.order {
        Order::Sequence => 1,
        Order::Parallel => place.node.limit.map_or(usize::MAX, |limit| limit as usize),
    };
    for child in begins.take(count) {
        first_containers(state, child, into);
    }
}

/// None for the first try again, then doubling.
fn backoff(tries: u32) -> u64 {
    match tries {
        0 => 0,
        n => (RETRY_MS << (n - 1).min(10)).min(RETRY_LONGEST_MS),
    }
}

impl Core {
    pub(super) fn name_pod(&mut self, group: NodeId, now_ms: u64) {
        let suffix = self.suffix();
        let pod = match self.planner.pod(&group, &self.facts, &suffix) {
            Ok(spec) => {
                let name = spec.name.clone();
                self.groups.insert(group.clone(), Group::new(&group, spec));
                Ok(name)
            }
            Err(failure) => Err(failure),
        };
        self.decide(Input::PodNamed { group, pod }, now_ms);
    }

    /// The group's entry for this pod; made again from its name where this driver took the run over.
    fn known(&mut self, group: &NodeId, pod: &str, now_ms: u64) -> bool {
        if self
            .groups
            .get(group)
            .is_some_and(|known| known.pod.name == pod)
        {
            return true;
        }
        let suffix = &pod[pod.len().saturating_sub(8)..];
        match self.planner.pod(group, &self.facts, suffix) {
            Ok(spec) if spec.name == pod => {
                self.groups.insert(group.clone(), Group::new(group, spec));
                true
            }
            other => {
                let reason = match other {
                    Ok(spec) => format!("the pipeline now describes another pod, {}", spec.name),
                    Err(failure) => failure.message,
                };
                self.decide(
                    Input::PodLost {
                        group: group.clone(),
                        pod: pod.to_owned(),
                        reason,
                    },
                    now_ms,
                );
                false
            }
        }
    }

    pub(super) fn make_pod(&mut self, group: &NodeId, pod: &str, now_ms: u64) {
        if !self.known(group, pod, now_ms) {
            return;
        }
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        if entry.preflight == Ask::No {
            entry.preflight = Ask::Asked;
            self.out.push_back(Action::Preflight {
                group: group.clone(),
                spec: entry.spec.clone(),
            });
        }
        if entry.create == Ask::No {
            entry.create = Ask::Asked;
            self.out.push_back(Action::Create {
                group: group.clone(),
                spec: entry.spec.clone(),
            });
        }
        if entry.create == Ask::Done {
            self.attend(group, now_ms);
        }
    }

    pub(super) fn keep_pod(&mut self, group: &NodeId, pod: &str, now_ms: u64) {
        if !self.known(group, pod, now_ms) {
            return;
        }
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        // Taken over: steps that have not begun still need to know their images.
        if entry.preflight == Ask::No {
            entry.preflight = Ask::Asked;
            self.out.push_back(Action::Preflight {
                group: group.clone(),
                spec: entry.spec.clone(),
            });
        }
        self.attend(group, now_ms);
    }

    /// A pod that is there is watched, connected to, and its containers are asked for.
    fn attend(&mut self, group: &NodeId, now_ms: u64) {
        let connection = self.connections + 1;
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        if !entry.watching {
            entry.watching = true;
            let pod = entry.pod.clone();
            self.out.push_back(Action::Watch { pod });
        }
        if let Link::Down { again_ms } = entry.link
            && now_ms >= again_ms
        {
            entry.link = Link::Connecting(connection);
            let pod = entry.pod.clone();
            self.next_connection();
            self.out.push_back(Action::Connect { pod, connection });
        }
        let mut first = Vec::new();
        first_containers(&self.state, group, &mut first);
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        if first.is_empty() || self.limits.ahead == usize::MAX {
            first.extend(entry.spec.containers.first().map(|c| c.name.clone()));
        }
        first.retain(|name| entry.containers.get(name).is_some_and(|c| !c.asked));
        for container in first {
            self.need(group, &container);
            self.need_behind(group, &container);
        }
    }

    /// A step is to run in this container: it is asked for.
    pub(super) fn need(&mut self, group: &NodeId, container: &str) {
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        let at = match entry.containers.get_mut(container) {
            Some(known) if known.asked && matches!(known.wish, Wish::Needed | Wish::Used) => return,
            Some(known) => {
                known.wish = Wish::Needed;
                known.at
            }
            None => return,
        };
        self.ask_for(group, at..at + 1);
    }

    /// Asks for the containers of the steps behind this one, once. Where a step was just handed over to, only when it runs: making a
    /// container is work that would be in its way.
    pub(super) fn need_behind(&mut self, group: &NodeId, container: &str) {
        let many = self.limits.ahead;
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        if let Some(known) = entry.containers.get_mut(container)
            && !std::mem::replace(&mut known.led, true)
        {
            // The spec has them in the order of the plan.
            let from = known.at + 1;
            self.ask_for(group, from..from.saturating_add(many));
        }
    }

    fn ask_for(&mut self, group: &NodeId, which: Range<usize>) {
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        let containers = entry.spec.containers.iter().skip(which.start);
        for container in containers.take(which.len()) {
            if let Some(state) = entry.containers.get_mut(&container.name)
                && !state.asked
            {
                state.asked = true;
                self.out.push_back(Action::Container {
                    group: group.clone(),
                    spec: entry.spec.clone(),
                    container: container.name.clone(),
                });
            }
        }
    }

    /// A step is started in this container.
    pub(super) fn use_up(&mut self, group: &NodeId, container: &str) {
        let entry = self.groups.get_mut(group);
        if let Some(container) = entry.and_then(|entry| entry.containers.get_mut(container)) {
            container.wish = Wish::Used;
        }
    }

    /// Closes channels to containers that no step needs any more, where they get scarce.
    fn let_go(&mut self, group: &NodeId) {
        let Some(entry) = self.groups.get(group) else {
            return;
        };
        let Some(connection) = entry.connection() else {
            return;
        };
        if entry.by_channel.len() < self.limits.channels / 2 {
            return;
        }
        let used: BTreeSet<String> = self
            .state
            .active
            .iter()
            .filter_map(|id| self.whereabouts(id))
            .filter(|(of, _)| of == group)
            .map(|(_, container)| container)
            .collect();
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        for (name, container) in &mut entry.containers {
            if container.wish == Wish::Used
                && container.session.rests()
                && !used.contains(name)
                && let Some(channel) = container.channel.take()
            {
                container.wish = Wish::LetGo;
                container.session.cut();
                entry.by_channel.remove(&channel);
                self.out.push_back(Action::Send {
                    connection,
                    channel,
                    frame: Frame::Close("not needed any more".to_owned()),
                });
            }
        }
    }

    pub(super) fn delete_pod(&mut self, group: &NodeId, pod: &str, now_ms: u64) {
        let known = self
            .groups
            .get(group)
            .is_some_and(|known| known.pod.name == pod);
        if !known {
            // Only its name is needed, and where it is; a spec that cannot be made any more must not keep the pod.
            let suffix = &pod[pod.len().saturating_sub(8)..];
            let mut spec = match self.planner.pod(group, &self.facts, suffix) {
                Ok(spec) => spec,
                Err(failure) => {
                    self.decide(
                        Input::PodLeft {
                            group: group.clone(),
                            pod: pod.to_owned(),
                            reason: failure.message,
                        },
                        now_ms,
                    );
                    return;
                }
            };
            pod.clone_into(&mut spec.name);
            self.groups.insert(group.clone(), Group::new(group, spec));
        }
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        if let Link::Connecting(connection) | Link::Up(connection) = entry.link {
            self.out.push_back(Action::Hangup(connection));
        }
        entry.down(NEVER_MS);
        if entry.create == Ask::Asked && !std::mem::replace(&mut entry.given_up, true) {
            let pod = entry.pod.clone();
            self.out.push_back(Action::GiveUp { pod });
        }
        // A pod that is still being made could come up behind its removal: that begins when the making has its answer.
        if entry.delete == Ask::No && entry.create != Ask::Asked && now_ms >= entry.delete_again_ms
        {
            entry.delete = Ask::Asked;
            if entry.delete_tries == 0 {
                entry.delete_since_ms = now_ms;
            }
            let pod = entry.pod.clone();
            self.out.push_back(Action::Delete { pod });
        }
    }

    fn entry(&mut self, group: &NodeId, pod: &str) -> Option<&mut Group> {
        self.groups
            .get_mut(group)
            .filter(|entry| entry.pod.name == pod)
    }

    pub(super) fn preflighted(
        &mut self,
        group: &NodeId,
        pod: &str,
        answers: BTreeMap<String, Result<ImageFacts, backend::Failure>>,
        now_ms: u64,
    ) {
        let Some(entry) = self.entry(group, pod) else {
            return;
        };
        entry.preflight = Ask::Done;
        entry.images = answers
            .into_iter()
            .map(|(name, answer)| (name, answer.map_err(|failure| classify(&failure))))
            .collect();
        if let Some(failure) = bad_images(&entry.images) {
            // Of a pod that is up already it means only that those steps cannot start (see `prepare`).
            self.pod_failed(group, pod, failure, now_ms);
        } else {
            self.maybe_ready(group, pod, now_ms);
        }
    }

    fn pod_failed(&mut self, group: &NodeId, pod: &str, failure: Failure, now_ms: u64) {
        self.decide(
            Input::PodFailed {
                group: group.clone(),
                pod: pod.to_owned(),
                failure,
            },
            now_ms,
        );
    }

    pub(super) fn created(
        &mut self,
        group: &NodeId,
        pod: &str,
        result: Result<Created, backend::Failure>,
        now_ms: u64,
    ) {
        let Some(entry) = self.entry(group, pod) else {
            return;
        };
        entry.create = Ask::Done;
        match result {
            Ok(_) => self.maybe_ready(group, pod, now_ms),
            Err(failure) => self.pod_failed(group, pod, classify(&failure), now_ms),
        }
    }

    /// The pod is ready once the addons of the first steps answer too, or cannot be: that is then their steps' failure.
    pub(super) fn maybe_ready(&mut self, group: &NodeId, pod: &str, now_ms: u64) {
        let mut first = Vec::new();
        first_containers(&self.state, group, &mut first);
        if self.entry(group, pod).is_some_and(|entry| {
            if first.is_empty() {
                // In a group that is not expanded yet.
                first.extend(entry.spec.containers.first().map(|c| c.name.clone()));
            }
            let mut first = first.iter().filter_map(|name| entry.containers.get(name));
            entry.create == Ask::Done
                && entry.preflight == Ask::Done
                && first.all(|container| match &container.up {
                    Some(Ok(())) => container.session.welcomed,
                    Some(Err(_)) => true,
                    None => false,
                })
        }) {
            self.decide(
                Input::PodReady {
                    group: group.clone(),
                    pod: pod.to_owned(),
                },
                now_ms,
            );
        }
    }

    pub(super) fn container_up(
        &mut self,
        group: &NodeId,
        pod: &str,
        container: &str,
        result: Result<(), backend::Failure>,
        now_ms: u64,
    ) {
        let Some(entry) = self.entry(group, pod) else {
            return;
        };
        if let Some(container) = entry.containers.get_mut(container) {
            // Whoever has answered is up, whatever is told later of how it came to be; its end shows by its channel.
            if container.session.welcomed {
                return;
            }
            // Tries before it was there say nothing.
            (container.tries, container.again_ms) = (0, now_ms);
            container.up = Some(Ok(()));
        }
        if let Err(failure) = result {
            self.container_lost(group, pod, container, classify(&failure), now_ms);
        }
        self.maybe_ready(group, pod, now_ms);
        self.open_channels(group, now_ms);
    }

    pub(super) fn connected(
        &mut self,
        connection: u32,
        result: Result<(), backend::Failure>,
        now_ms: u64,
    ) {
        let Some((group, entry)) = self
            .groups
            .iter_mut()
            .find(|(_, entry)| entry.link == Link::Connecting(connection))
        else {
            return;
        };
        let (group, pod) = (group.clone(), entry.pod.name.clone());
        match result {
            Ok(()) => {
                entry.link = Link::Up(connection);
                entry.pulse = Pulse::new(now_ms);
                self.open_channels(&group, now_ms);
            }
            Err(failure) if failure.kind == FailureKind::Gone => {
                entry.down(now_ms);
                self.decide(
                    Input::PodLost {
                        group,
                        pod,
                        reason: failure.message,
                    },
                    now_ms,
                );
            }
            Err(failure) => {
                if entry.link_tries == CHANNEL_TRIES {
                    self.out.push_back(Action::Warn(format!(
                        "pod {pod} cannot be reached: {}; trying on",
                        failure.message
                    )));
                }
                entry.down(now_ms);
            }
        }
    }

    pub(super) fn disconnected(&mut self, connection: u32, now_ms: u64) {
        for entry in self.groups.values_mut() {
            if let Link::Up(this) | Link::Connecting(this) = entry.link
                && this == connection
            {
                entry.down(now_ms);
            }
        }
    }

    fn open_channels(&mut self, group: &NodeId, now_ms: u64) {
        self.let_go(group);
        let limits = self.limits;
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        let Link::Up(connection) = entry.link else {
            return;
        };
        // One that is still being made is opened too: lite-engine waits for its addon, and says so sooner than any event of a cluster,
        // which tells of the first few containers of a pod only.
        for ahead in [false, true] {
            let due: Vec<String> = entry
                .containers
                .iter()
                .filter(|(_, c)| (c.wish == Wish::Ahead) == ahead)
                .filter(|(_, c)| now_ms >= c.again_ms && entry.opens(c, limits))
                .map(|(name, _)| name.clone())
                .collect();
            for name in due {
                let Some(container) = entry.containers.get(&name) else {
                    continue;
                };
                if !entry.opens(container, limits) {
                    break;
                }
                entry.channels += 1;
                let channel = entry.channels;
                if let Some(container) = entry.containers.get_mut(&name) {
                    container.channel = Some(channel);
                }
                entry.by_channel.insert(channel, name.clone());
                self.out.push_back(Action::Send {
                    connection,
                    channel,
                    frame: Frame::Open(name),
                });
            }
        }
    }

    /// A frame came on this connection.
    pub(super) fn heard(&mut self, connection: u32) {
        let entry = self
            .groups
            .values_mut()
            .find(|entry| entry.connection() == Some(connection));
        if let Some(entry) = entry {
            entry.pulse.until_ms = None;
        }
    }

    /// Nothing was listened to: every connection is given its time again.
    pub(super) fn deaf(&mut self, now_ms: u64) {
        for entry in self.groups.values_mut() {
            if let Some(until) = &mut entry.pulse.until_ms {
                *until = now_ms + SILENCE_MS;
            }
        }
    }

    /// Asks connections for a sign of life, and gives up those that gave none.
    fn mind_links(&mut self, now_ms: u64) {
        for entry in self.groups.values_mut() {
            let Link::Up(connection) = entry.link else {
                continue;
            };
            if entry.pulse.until_ms.is_some_and(|until| now_ms >= until) {
                self.out.push_back(Action::Hangup(connection));
                entry.down(now_ms);
            } else if now_ms >= entry.pulse.ping_ms {
                entry.pulse.ping_ms = now_ms + PING_MS;
                entry.pulse.until_ms.get_or_insert(now_ms + SILENCE_MS);
                self.out.push_back(Action::Send {
                    connection,
                    channel: LITE_ENGINE,
                    frame: Frame::Ping,
                });
            }
        }
    }

    /// A channel is over: lite-engine cannot reach its addon, or not any more.
    pub(super) fn closed(&mut self, group: &NodeId, name: &str, why: &str, now_ms: u64) {
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        let Some(container) = entry.containers.get_mut(name) else {
            return;
        };
        if let Some(channel) = container.channel.take() {
            entry.by_channel.remove(&channel);
        }
        container.session.cut();
        container.tries += 1;
        container.again_ms = now_ms + backoff(container.tries);
        if container.up.is_none() {
            // It is still being made: what becomes of that is told by who makes it.
        } else if container.tries >= CHANNEL_TRIES {
            let failure =
                engine::classify::infrastructure(format!("the container {name} is gone: {why}"));
            let pod = entry.pod.name.clone();
            self.container_lost(group, &pod, name, failure, now_ms);
        } else {
            // Its backend may know more than that there is no answer.
            self.out.push_back(Action::Ended {
                pod: entry.pod.clone(),
                container: name.to_owned(),
            });
        }
    }

    /// What the backend knows of a container whose addon does not answer.
    pub(super) fn ended(
        &mut self,
        group: &NodeId,
        pod: &str,
        container: &str,
        failure: Option<&backend::Failure>,
        now_ms: u64,
    ) {
        if let Some(failure) = failure {
            self.container_lost(group, pod, container, classify(failure), now_ms);
        }
    }

    /// A container that stood is no more: its step's failure, but before any step has run the loss of a pod that another one replaces.
    fn container_lost(
        &mut self,
        group: &NodeId,
        pod: &str,
        container: &str,
        failure: Failure,
        now_ms: u64,
    ) {
        if let Some(entry) = self.entry(group, pod)
            && let Some(container) = entry.containers.get_mut(container)
        {
            container.up = Some(Err(failure.clone()));
            let removed = entry.delete != Ask::No || entry.delete_tries > 0;
            if failure.error == ErrorKind::InfrastructureFailure && !removed {
                // Means nothing to a pod that was used already.
                self.pod_failed(group, pod, failure, now_ms);
            }
        }
    }

    /// The pod is no more; news only where this driver is not removing it.
    pub(super) fn gone(
        &mut self,
        group: NodeId,
        pod: String,
        failure: backend::Failure,
        now_ms: u64,
    ) {
        if self
            .entry(&group, &pod)
            .is_some_and(|entry| entry.delete == Ask::No && entry.delete_tries == 0)
        {
            let reason = failure.message;
            self.decide(Input::PodLost { group, pod, reason }, now_ms);
        }
    }

    pub(super) fn deleted(
        &mut self,
        group: NodeId,
        pod: String,
        result: Result<Deleted, backend::Failure>,
        now_ms: u64,
    ) {
        let hurried = matches!(self.state.interrupt, Some((Interrupt::Kill, _)));
        let Some(entry) = self.entry(&group, &pod) else {
            return;
        };
        match result {
            Ok(_) => {
                self.groups.remove(&group);
                self.decide(Input::PodDeleted { group, pod }, now_ms);
            }
            Err(failure) => {
                entry.delete = Ask::No;
                entry.delete_tries += 1;
                entry.delete_again_ms = now_ms + backoff(entry.delete_tries);
                let patient = failure.kind == FailureKind::Connectivity
                    && !hurried
                    && now_ms < entry.delete_since_ms + DELETE_LONGEST_MS;
                if entry.delete_tries >= DELETE_TRIES && !patient {
                    let reason = failure.message;
                    self.out.push_back(Action::Warn(format!(
                        "pod {pod} could not be removed: {reason}; `stepyard sweep` does it"
                    )));
                    self.decide(Input::PodLeft { group, pod, reason }, now_ms);
                }
            }
        }
    }

    /// What waits for nothing but time, and what reports of steps are due.
    pub(super) fn tend(&mut self, now_ms: u64) {
        self.mind_links(now_ms);
        let groups: Vec<NodeId> = self.groups.keys().cloned().collect();
        for group in groups {
            self.open_channels(&group, now_ms);
            self.tend_records(&group, now_ms);
        }
    }

    /// When something is to be tried again.
    pub(super) fn retries(&self) -> impl Iterator<Item = u64> {
        let mut times = Vec::new();
        for entry in self.groups.values() {
            if let Link::Down { again_ms } = entry.link
                && entry.create != Ask::Asked
                && entry.watching
                && entry.delete == Ask::No
                && again_ms < NEVER_MS
            {
                times.push(again_ms);
            }
            if entry.connection().is_some() {
                times.push(entry.pulse.ping_ms);
                times.extend(entry.pulse.until_ms);
            }
            if entry.delete == Ask::No && entry.delete_tries > 0 {
                times.push(entry.delete_again_ms);
            }
            for container in entry.containers.values() {
                if entry.connection().is_some() && entry.opens(container, self.limits) {
                    times.push(container.again_ms);
                }
                times.extend(container.session.deadline());
            }
        }
        times.into_iter()
    }
}
