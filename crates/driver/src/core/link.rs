//! The one connection to a pod's lite-engine: made, listened to, taken for cut, made again.

use addon::link::Frame;
use engine::Input;

use crate::backend::{self, FailureKind};

use super::channels::CHANNEL_TRIES;
use super::group::Group;
use super::{Action, Core};

/// The first wait before a connection, a channel or a removal is tried again; the very first try again is at once.
const RETRY_MS: u64 = 50;
/// The longest wait between two tries.
const RETRY_LONGEST_MS: u64 = 5_000;
/// A connection is asked for a sign of life this often: lite-engine needs it, too, to know a driver that is gone.
const PING_MS: u64 = 10_000;
/// Without any frame for this long after it was asked, a connection is taken for cut: half of it may be gone unnoticed, as by a
/// firewall that forgets, a laptop that changes its network, a node that lost its power. Both together are well below the time after
/// which a step that was told to end counts as lost.
const SILENCE_MS: u64 = 10_000;
/// The channel of what is said to lite-engine itself. Those of containers count from 1.
const LITE_ENGINE: u32 = 0;

/// A time that does not come: a pod that is being removed is not connected to again.
pub(super) const NEVER_MS: u64 = u64::MAX - RETRY_LONGEST_MS;

/// The connection to lite-engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Down { again_ms: u64 },
    Connecting(u32),
    Up(u32),
}

/// What is heard on a connection that stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pulse {
    /// When the next ping is due.
    pub(super) ping_ms: u64,
    /// When silence is the end; none while nothing is awaited.
    pub(super) until_ms: Option<u64>,
}

impl Pulse {
    /// Of a connection that was heard now.
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            ping_ms: now_ms + PING_MS,
            until_ms: None,
        }
    }
}

/// None for the first try again, then doubling.
pub(super) fn backoff(tries: u32) -> u64 {
    match tries {
        0 => 0,
        n => (RETRY_MS << (n - 1).min(10)).min(RETRY_LONGEST_MS),
    }
}

impl Group {
    /// The connection, where it stands.
    pub(super) fn connection(&self) -> Option<u32> {
        match self.link {
            Link::Up(connection) => Some(connection),
            _ => None,
        }
    }

    pub(super) fn down(&mut self, now_ms: u64) {
        self.link = Link::Down {
            again_ms: now_ms + backoff(self.link_tries),
        };
        self.link_tries += 1;
        for container in std::mem::take(&mut self.by_channel).into_values() {
            self.attended.insert(container);
        }
        for container in self.containers.values_mut() {
            container.channel = None;
            container.session.cut();
        }
    }
}

impl Core {
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
    pub(super) fn mind_links(&mut self, now_ms: u64) {
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
}
