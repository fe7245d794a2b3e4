//! lite-engine's machine: channels of driver connections, each to one container's addon.
//!
//! It reads no message and stores none that a run depends on. Each channel sends to its driver only what the driver's
//! credit allows, and channels take turns, so a flood on one delays neither the others nor a cancel, which travels the
//! other way. Both sides are treated as hostile: every queue here is bounded, and what a peer must not do ends its own
//! connection or channel and nothing else.

use std::collections::{BTreeMap, VecDeque};

use crate::link::{Frame, INITIAL_CREDIT};

/// Channels that one driver connection may have open: a pod has at most 50 containers; some have a guest beside the driver.
pub const CHANNELS: usize = 256;
/// Bytes that may wait towards an addon before its driver is not read: a script and some secrets, more than an honest driver
/// ever has under way, since an addon always reads.
const TOWARDS_ADDON: usize = 16 * 1024 * 1024;
/// Bytes that may wait on one channel towards the driver before its addon is not read. A message beyond it is one that was
/// already read.
const TOWARDS_DRIVER: usize = 256 * 1024;
/// Frames that answer a driver (pongs, closes) before it is not read.
const ANSWERS: usize = 512;

/// A driver that has pinged once goes on to do so (see `link`). When nothing came from it for this long it is gone, even where its
/// connection looks well: its addons must not wait for it with what they read. Long enough for a driver that was suspended for a while.
pub const SILENCE_MS: u64 = 300_000;

/// A driver's connection, numbered by the shell.
pub type Driver = u32;
/// A connection to an addon, numbered by the router.
pub type Link = u32;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A driver connected.
    Connected(Driver),
    /// It sent a frame.
    FromDriver(Driver, u32, Frame),
    /// It is gone.
    Disconnected(Driver),
    /// An addon's socket was connected to.
    Linked(Link),
    /// It cannot be, or it was and is gone; why.
    Unlinked(Link, String),
    /// An addon sent a frame.
    FromAddon(Link, Frame),
}

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect to the addon of this container, waiting for its socket; answered by `Linked` or `Unlinked`.
    Connect(Link, String),
    /// End this connection to an addon, or the attempt to make it, when what waits for it is written.
    Drop(Link),
    /// End this driver's connection: it broke the rules, or is silent.
    Hang(Driver),
}

#[derive(Debug)]
struct Channel {
    link: Link,
    credit: i64,
    queue: VecDeque<Frame>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Conversation {
    channels: BTreeMap<u32, Channel>,
    answers: VecDeque<(u32, Frame)>,
    /// Whose turn it was last.
    turn: u32,
    heard_ms: u64,
    /// It sends pings: its silence means something.
    pings: bool,
}

#[derive(Debug)]
struct Addon {
    driver: Driver,
    channel: u32,
    queue: VecDeque<Frame>,
    bytes: usize,
    linked: bool,
}

/// The router.
#[derive(Debug, Default)]
pub struct Router {
    drivers: BTreeMap<Driver, Conversation>,
    addons: BTreeMap<Link, Addon>,
    next: Link,
    actions: VecDeque<Action>,
    now_ms: u64,
}

impl Router {
    /// One without connections.
    pub fn new() -> Self {
        Router::default()
    }

    /// Tells the router what happened.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Connected(driver) => {
                let conversation = Conversation {
                    heard_ms: self.now_ms,
                    ..Conversation::default()
                };
                self.drivers.insert(driver, conversation);
            }
            Event::Disconnected(driver) => {
                if let Some(gone) = self.drivers.remove(&driver) {
                    for channel in gone.channels.values() {
                        self.unlink(channel.link);
                    }
                }
            }
            Event::FromDriver(driver, channel, frame) => self.driver_says(driver, channel, frame),
            Event::Linked(link) => {
                if let Some(addon) = self.addons.get_mut(&link) {
                    addon.linked = true;
                    let (driver, channel) = (addon.driver, addon.channel);
                    self.answer(driver, channel, Frame::Opened);
                }
            }
            Event::Unlinked(link, why) => {
                if let Some(addon) = self.addons.remove(&link) {
                    self.end(addon.driver, addon.channel, why);
                }
            }
            Event::FromAddon(link, frame) => self.addon_says(link, frame),
        }
    }

    /// It is this late by the clock that does not jump: what is handled from here on happens now.
    pub fn at(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// When [`Router::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<u64> {
        let pinging = self.drivers.values().filter(|driver| driver.pings);
        pinging
            .map(|driver| driver.heard_ms.saturating_add(SILENCE_MS))
            .min()
    }

    /// Hangs up drivers that were silent for too long. To be called when all that they sent up to now was handled.
    pub fn handle_timeout(&mut self) {
        for (&id, driver) in &mut self.drivers {
            if driver.pings && driver.heard_ms.saturating_add(SILENCE_MS) <= self.now_ms {
                driver.pings = false;
                self.actions.push_back(Action::Hang(id));
            }
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next frame for a driver: answers first, then the channels in turn.
    pub fn poll_driver(&mut self, driver: Driver) -> Option<(u32, Frame)> {
        let conversation = self.drivers.get_mut(&driver)?;
        if let Some(answer) = conversation.answers.pop_front() {
            return Some(answer);
        }
        let turn = conversation.turn;
        let next = conversation
            .channels
            .range(turn.saturating_add(1)..)
            .chain(conversation.channels.range(..=turn))
            .find(|(_, channel)| channel.credit > 0 && !channel.queue.is_empty())
            .map(|(&id, _)| id)?;
        conversation.turn = next;
        let channel = conversation.channels.get_mut(&next)?;
        let frame = channel.queue.pop_front()?;
        let bytes = size(&frame);
        channel.bytes -= bytes;
        channel.credit -= bytes as i64;
        Some((next, frame))
    }

    /// The next frame for an addon, once its connection stands.
    pub fn poll_addon(&mut self, link: Link) -> Option<Frame> {
        let addon = self.addons.get_mut(&link)?;
        if !addon.linked {
            return None;
        }
        let frame = addon.queue.pop_front()?;
        addon.bytes -= size(&frame);
        Some(frame)
    }

    /// Whether more is to be read from this driver.
    pub fn wants_driver(&self, driver: Driver) -> bool {
        self.drivers.get(&driver).is_some_and(|conversation| {
            conversation.answers.len() < ANSWERS
                && conversation.channels.values().all(|channel| {
                    self.addons
                        .get(&channel.link)
                        .is_none_or(|addon| addon.bytes < TOWARDS_ADDON)
                })
        })
    }

    /// Whether more is to be read from this addon: not while what it sent before waits for its driver.
    pub fn wants_addon(&self, link: Link) -> bool {
        self.addons.get(&link).is_some_and(|addon| {
            self.drivers
                .get(&addon.driver)
                .and_then(|conversation| conversation.channels.get(&addon.channel))
                .is_some_and(|channel| channel.bytes < TOWARDS_DRIVER)
        })
    }

    /// The drivers whose [`Router::poll_driver`] may have something after an event of this addon.
    pub fn driver_of(&self, link: Link) -> Option<Driver> {
        self.addons.get(&link).map(|addon| addon.driver)
    }

    fn driver_says(&mut self, driver: Driver, id: u32, frame: Frame) {
        let Some(conversation) = self.drivers.get_mut(&driver) else {
            return;
        };
        conversation.heard_ms = self.now_ms;
        conversation.pings |= frame == Frame::Ping;
        match frame {
            Frame::Open(container) => {
                if conversation.channels.contains_key(&id)
                    || conversation.channels.len() >= CHANNELS
                {
                    self.actions.push_back(Action::Hang(driver));
                    return;
                }
                if !is_container(&container) {
                    let why = format!("{container:?} is not the name of a container");
                    return self.answer(driver, id, Frame::Close(why));
                }
                let link = self.next;
                self.next = self.next.wrapping_add(1);
                conversation.channels.insert(
                    id,
                    Channel {
                        link,
                        credit: i64::from(INITIAL_CREDIT),
                        queue: VecDeque::new(),
                        bytes: 0,
                    },
                );
                self.addons.insert(
                    link,
                    Addon {
                        driver,
                        channel: id,
                        queue: VecDeque::new(),
                        bytes: 0,
                        linked: false,
                    },
                );
                self.actions.push_back(Action::Connect(link, container));
            }
            Frame::Ping => self.answer(driver, id, Frame::Pong),
            Frame::Close(_) => {
                if let Some(channel) = conversation.channels.remove(&id) {
                    self.unlink(channel.link);
                }
            }
            Frame::Credit(bytes) => {
                // Credit for a channel that has just been closed from here is late, not wrong.
                if let Some(channel) = conversation.channels.get_mut(&id) {
                    channel.credit = channel
                        .credit
                        .saturating_add(i64::from(bytes))
                        .min(i64::MAX / 2);
                    let link = channel.link;
                    self.pass(link, Frame::Credit(bytes));
                }
            }
            Frame::Message(_) => {
                if let Some(channel) = conversation.channels.get(&id) {
                    let link = channel.link;
                    self.pass(link, frame);
                }
            }
            Frame::Opened | Frame::Pong => {}
        }
    }

    fn addon_says(&mut self, link: Link, frame: Frame) {
        let Some(addon) = self.addons.get(&link) else {
            return;
        };
        let (driver, id) = (addon.driver, addon.channel);
        match frame {
            Frame::Message(_) => {
                if let Some(channel) = self
                    .drivers
                    .get_mut(&driver)
                    .and_then(|conversation| conversation.channels.get_mut(&id))
                {
                    channel.bytes += size(&frame);
                    channel.queue.push_back(frame);
                }
            }
            Frame::Close(why) => {
                self.unlink(link);
                self.end(driver, id, why);
            }
            Frame::Ping => self.pass(link, Frame::Pong),
            Frame::Pong => {}
            Frame::Open(_) | Frame::Opened | Frame::Credit(_) => {
                self.unlink(link);
                self.end(
                    driver,
                    id,
                    "the addon does not keep to the protocol".to_owned(),
                );
            }
        }
    }

    /// The channel is over: what its addon sent before still goes out, whatever the credit, then the close.
    fn end(&mut self, driver: Driver, id: u32, why: String) {
        if let Some(conversation) = self.drivers.get_mut(&driver) {
            if let Some(channel) = conversation.channels.remove(&id) {
                conversation
                    .answers
                    .extend(channel.queue.into_iter().map(|frame| (id, frame)));
            }
            conversation.answers.push_back((id, Frame::Close(why)));
        }
    }

    fn unlink(&mut self, link: Link) {
        if self.addons.remove(&link).is_some() {
            self.actions.push_back(Action::Drop(link));
        }
    }

    fn pass(&mut self, link: Link, frame: Frame) {
        if let Some(addon) = self.addons.get_mut(&link) {
            addon.bytes += size(&frame);
            addon.queue.push_back(frame);
        }
    }

    fn answer(&mut self, driver: Driver, channel: u32, frame: Frame) {
        if let Some(conversation) = self.drivers.get_mut(&driver) {
            conversation.answers.push_back((channel, frame));
        }
    }
}

fn size(frame: &Frame) -> usize {
    match frame {
        Frame::Message(body) => body.len(),
        _ => 9,
    }
}

/// A label of DNS, as container names are: no path can be made of it.
fn is_container(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 63
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
