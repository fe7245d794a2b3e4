//! A pod's containers: when each is asked for, and when its channel is opened, closed and given up.

use std::collections::BTreeSet;
use std::ops::Range;

use addon::link::Frame;
use engine::event::{ErrorKind, Failure};
use pipeline::plan::NodeId;
use pipeline::pod;

use crate::backend;

use super::group::{Ask, Group};
use super::link::{Link, backoff};
use super::session::Session;
use super::{Action, Core, Limits, classify};

/// A channel that closes this often in a row, with no welcome between, belongs to an addon that is gone.
pub(super) const CHANNEL_TRIES: u32 = 8;

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
    pub(super) asked: bool,
    /// Those behind it were asked for.
    led: bool,
    wish: Wish,
    pub(super) up: Option<Result<(), Failure>>,
    /// Its backend has told how it came to be: what it says of that comes before what is decided on it.
    pub(super) told: bool,
    /// The channel, once it was opened or is being opened.
    pub(super) channel: Option<u32>,
    pub(super) tries: u32,
    pub(super) again_ms: u64,
    pub(super) session: Session,
}

impl Container {
    pub(super) fn new(at: usize) -> Self {
        Self {
            at,
            asked: false,
            led: false,
            wish: Wish::Ahead,
            up: None,
            told: false,
            channel: None,
            tries: 0,
            again_ms: 0,
            session: Session::default(),
        }
    }
}

impl Group {
    /// The containers that are attended to.
    pub(super) fn attended(&self) -> impl Iterator<Item = (&String, &Container)> {
        let known = |name| self.containers.get_key_value(name);
        self.attended.iter().filter_map(known)
    }

    /// Something may be due of this container.
    pub(super) fn attend_to(&mut self, container: &str) {
        if !self.attended.contains(container) {
            self.attended.insert(container.to_owned());
        }
    }

    /// The container of the spec behind this one.
    pub(super) fn behind(&self, container: &str) -> Option<&pod::Container> {
        let own = self.containers.get(container)?;
        self.spec.containers.get(own.at + 1)
    }

    /// Those of which nothing is due are not looked at again until something happens to them.
    pub(super) fn leave_alone(&mut self) {
        let containers = &self.containers;
        self.attended.retain(|name| {
            containers.get(name).is_some_and(|container| {
                container.asked
                    && container.wish != Wish::LetGo
                    && !(container.channel.is_some() && container.session.rests())
            })
        });
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
    pub(super) fn opens(&self, container: &Container, limits: Limits) -> bool {
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
}

impl Core {
    /// A step is to run in this container: it is asked for.
    pub(super) fn need(&mut self, group: &NodeId, container: &str) {
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        entry.attend_to(container);
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
                entry.attended.insert(container.name.clone());
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
        let (containers, out) = (&mut entry.containers, &mut self.out);
        entry.by_channel.retain(|channel, name| {
            if let Some(container) = containers.get_mut(name)
                && container.wish == Wish::Used
                && container.session.rests()
                && !used.contains(name)
            {
                container.channel = None;
                container.wish = Wish::LetGo;
                container.session.cut();
                out.push_back(Action::Send {
                    connection,
                    channel: *channel,
                    frame: Frame::Close("not needed any more".to_owned()),
                });
                return false;
            }
            true
        });
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
            container.told = true;
            // Whoever has answered is up, whatever is told later of how it came to be; its end shows by its channel.
            if container.session.welcomed {
                return self.maybe_ready(group, pod, now_ms);
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

    pub(super) fn open_channels(&mut self, group: &NodeId, now_ms: u64) {
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
                .attended()
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
        let (up, tries) = (container.up.is_some(), container.tries);
        entry.attend_to(name);
        if !up {
            // It is still being made: what becomes of that is told by who makes it.
        } else if tries >= CHANNEL_TRIES {
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
}
