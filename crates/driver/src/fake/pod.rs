//! A pod in memory, without a clock of its own.

use std::collections::{BTreeMap, BTreeSet};

use addon::attempt::{self, Machine, Now, Usage};
use addon::frame::{Attempt, Exit, Report, State};
use addon::link::Frame;
use addon::outputs::{Files, Left};
use addon::router::{self, Router};

use super::process::{Act, Memory, Process};

/// A pod: lite-engine's router, and an addon for each container that was made.
pub struct Pod {
    router: Router,
    addons: BTreeMap<String, Addon>,
    links: BTreeMap<u32, String>,
    /// Connections that wait for their container.
    awaited: BTreeMap<u32, String>,
    /// Numbers of links differ between lives of the router; the machines never see one twice.
    born: u32,
    /// How often each attempt's process was started: what a promise is checked against.
    pub starts: BTreeMap<Attempt, u32>,
    /// All that each attempt's process wrote.
    pub written: BTreeMap<Attempt, Vec<u8>>,
    /// How each attempt's process ended.
    pub ended: BTreeMap<Attempt, Exit>,
    /// Attempts that were lost with their container: what ran, and what was recorded and not settled.
    pub lost: BTreeSet<Attempt>,
    /// Containers that were killed.
    pub dead: BTreeSet<String>,
    /// What is in its workspace.
    pub workspace: Vec<u8>,
    /// What was put into it from another pod.
    pub unpacked: Option<Vec<u8>>,
}

struct Addon {
    machine: Machine<Memory>,
    process: Option<(Attempt, Process)>,
    /// Left by the process that ended.
    left: Left,
    /// Workspaces that come, by connection and process.
    coming: BTreeMap<(u32, u32), Vec<u8>>,
}

impl Default for Pod {
    fn default() -> Self {
        Self::new()
    }
}

impl Pod {
    /// One with nothing but its lite-engine.
    pub fn new() -> Self {
        Self {
            router: Router::new(),
            addons: BTreeMap::new(),
            links: BTreeMap::new(),
            awaited: BTreeMap::new(),
            born: 0,
            starts: BTreeMap::new(),
            written: BTreeMap::new(),
            ended: BTreeMap::new(),
            lost: BTreeSet::new(),
            dead: BTreeSet::new(),
            workspace: Vec::new(),
            unpacked: None,
        }
    }

    /// Makes a container, unless it is there; `false` where it was and is no more.
    pub fn container(&mut self, name: &str) -> bool {
        if self.is_dead(name) {
            return false;
        }
        self.addons.entry(name.to_owned()).or_insert_with(|| {
            let files = Files {
                exported: String::new(),
                dotenv: String::new(),
                secret: String::new(),
                scratch: String::new(),
            };
            Addon {
                machine: Machine::new(None, files, Memory::default()),
                process: None,
                left: Left::default(),
                coming: BTreeMap::new(),
            }
        });
        let here: Vec<u32> = self
            .awaited
            .iter()
            .filter(|(_, awaited)| *awaited == name)
            .map(|(link, _)| *link)
            .collect();
        for link in here {
            self.awaited.remove(&link);
            self.link(link, name);
        }
        true
    }

    fn link(&mut self, link: u32, name: &str) {
        let Some(addon) = self.addons.get_mut(name) else {
            return;
        };
        // A machine takes note of who connects, not of when.
        let now = Now {
            mono_ms: 0,
            wall_ms: 0,
        };
        addon.machine.handle(attempt::Event::Connected(link), now);
        self.links.insert(link, name.to_owned());
        self.router.handle(router::Event::Linked(link));
    }

    /// Whether this container was killed.
    pub fn is_dead(&self, name: &str) -> bool {
        self.dead.contains(name)
    }

    /// Kills the first process of a container: all that runs in it ends with it, and what its addon knew is gone.
    pub fn kill(&mut self, name: &str) {
        let Some(addon) = self.addons.remove(name) else {
            return;
        };
        self.dead.insert(name.to_owned());
        match addon.machine.state() {
            State::Idle => {}
            State::Running { attempt, .. } => {
                self.lost.insert(attempt);
            }
            State::Done(record) => {
                self.lost.insert(record.attempt);
            }
        }
        let links: Vec<u32> = self
            .links
            .iter()
            .filter(|(_, to)| *to == name)
            .map(|(link, _)| *link)
            .collect();
        for link in links {
            self.links.remove(&link);
            let why = format!("the addon of {name} is gone");
            self.router.handle(router::Event::Unlinked(link, why));
        }
    }

    /// A driver connected.
    pub fn connect(&mut self, driver: u32) {
        self.router.handle(router::Event::Connected(driver));
    }

    /// It is gone.
    pub fn disconnect(&mut self, driver: u32, now: Now) {
        self.router.handle(router::Event::Disconnected(driver));
        self.pump(now);
    }

    /// It sent a frame.
    pub fn from_driver(&mut self, driver: u32, channel: u32, frame: Frame, now: Now) {
        self.router.at(now.mono_ms);
        self.router
            .handle(router::Event::FromDriver(driver, channel, frame));
        self.pump(now);
    }

    /// The next frame for it.
    pub fn to_driver(&mut self, driver: u32, now: Now) -> Option<(u32, Frame)> {
        let frame = self.router.poll_driver(driver);
        if frame.is_none() {
            self.pump(now);
            return self.router.poll_driver(driver);
        }
        frame
    }

    /// lite-engine dies and another takes its place: every connection is gone, the addons live on.
    pub fn restart_lite_engine(&mut self) {
        self.router = Router::new();
        self.awaited.clear();
        let links = std::mem::take(&mut self.links);
        for (link, name) in links {
            if let Some(addon) = self.addons.get_mut(&name) {
                let now = Now {
                    mono_ms: 0,
                    wall_ms: 0,
                };
                addon
                    .machine
                    .handle(attempt::Event::Disconnected(link), now);
            }
        }
        self.born += 1;
    }

    /// When something happens by itself, by the clock that does not jump.
    pub fn next_ms(&self) -> Option<u64> {
        self.addons
            .values()
            .flat_map(|addon| {
                let process = addon
                    .process
                    .as_ref()
                    .filter(|(_, p)| !p.serves && addon.machine.wants_output())
                    .map(|(_, p)| p.at_ms);
                process.into_iter().chain(addon.machine.poll_timeout())
            })
            .chain(self.router.poll_timeout())
            .min()
    }

    /// Does all that is due, until nothing moves.
    pub fn pump(&mut self, now: Now) {
        self.router.at(now.mono_ms);
        self.router.handle_timeout();
        loop {
            let mut moved = false;
            while let Some(action) = self.router.poll_action() {
                moved = true;
                self.routed(action, now);
            }
            for (&link, name) in &self.links {
                let Some(addon) = self.addons.get_mut(name) else {
                    continue;
                };
                while addon.machine.wants_frames(link) {
                    let Some(frame) = self.router.poll_addon(link) else {
                        break;
                    };
                    moved = true;
                    addon
                        .machine
                        .handle(attempt::Event::Frame(link, frame), now);
                }
            }
            let names: Vec<String> = self.addons.keys().cloned().collect();
            for name in names {
                moved |= self.act(&name, now);
            }
            for (&link, name) in &self.links {
                let Some(addon) = self.addons.get_mut(name) else {
                    continue;
                };
                while self.router.wants_addon(link) {
                    let Some(frame) = addon.machine.poll_transmit(link) else {
                        break;
                    };
                    moved = true;
                    self.router.handle(router::Event::FromAddon(link, frame));
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn routed(&mut self, action: router::Action, now: Now) {
        match action {
            router::Action::Connect(link, name) => match self.addons.get(&name) {
                Some(_) => self.link(link, &name),
                None if self.is_dead(&name) => self.router.handle(router::Event::Unlinked(
                    link,
                    format!("the addon of {name} is gone"),
                )),
                None => {
                    self.awaited.insert(link, name);
                }
            },
            router::Action::Drop(link) => {
                self.awaited.remove(&link);
                if let Some(name) = self.links.remove(&link)
                    && let Some(addon) = self.addons.get_mut(&name)
                {
                    addon.coming.retain(|(of, _), _| *of != link);
                    addon
                        .machine
                        .handle(attempt::Event::Disconnected(link), now);
                }
            }
            router::Action::Hang(driver) => {
                self.router.handle(router::Event::Disconnected(driver));
            }
        }
    }

    /// Runs one addon and its process as far as time goes; whether anything moved.
    fn act(&mut self, name: &str, now: Now) -> bool {
        let Some(addon) = self.addons.get_mut(name) else {
            return false;
        };
        let mut moved = false;
        if addon
            .machine
            .poll_timeout()
            .is_some_and(|at| at <= now.mono_ms)
        {
            addon.machine.handle_timeout(now);
            moved = true;
        }
        while let Some(action) = addon.machine.poll_action() {
            moved = true;
            match action {
                attempt::Action::Spawn(launch) => {
                    let State::Running { attempt, .. } = addon.machine.state() else {
                        continue;
                    };
                    *self.starts.entry(attempt.clone()).or_default() += 1;
                    self.written.entry(attempt.clone()).or_default();
                    addon.left = Left::default();
                    addon.process = Some((attempt, Process::new(&launch.argv, now.mono_ms)));
                    addon.machine.handle(attempt::Event::Spawned, now);
                }
                attempt::Action::Terminate => {
                    if addon.process.as_ref().is_some_and(|(_, p)| !p.deaf) {
                        addon.end(Exit::Signal(15), &mut self.ended, now);
                    }
                }
                attempt::Action::Kill => addon.end(Exit::Signal(9), &mut self.ended, now),
                attempt::Action::Probe(..) => {
                    addon.machine.handle(attempt::Event::Probed(Ok(())), now);
                }
                attempt::Action::Finish => {
                    let left = Box::new(std::mem::take(&mut addon.left));
                    addon
                        .machine
                        .handle(attempt::Event::Left(left, Usage::default()), now);
                }
                attempt::Action::Close(link) => {
                    while let Some(frame) = addon.machine.poll_transmit(link) {
                        self.router.handle(router::Event::FromAddon(link, frame));
                    }
                    addon
                        .machine
                        .handle(attempt::Event::Disconnected(link), now);
                    self.links.remove(&link);
                    let why = "the addon closed it".to_owned();
                    self.router.handle(router::Event::Unlinked(link, why));
                }
                attempt::Action::Collect { connection, id, .. } => {
                    let file = Report::File {
                        id,
                        path: "report.xml".to_owned(),
                        offset: 0,
                        bytes: b"<testsuite tests=\"1\"/>".to_vec(),
                    };
                    addon
                        .machine
                        .handle(attempt::Event::Reply(connection, file), now);
                    let done = Report::Collected {
                        id,
                        files: 1,
                        left: Vec::new(),
                    };
                    addon
                        .machine
                        .handle(attempt::Event::Reply(connection, done), now);
                }
                attempt::Action::Attach {
                    connection,
                    id,
                    argv,
                    ..
                } => match argv.get(1).map(String::as_str) {
                    Some("pack") => {
                        let mut reports: Vec<_> = self
                            .workspace
                            .chunks(PIECE)
                            .map(|piece| Report::Attached {
                                id,
                                bytes: piece.to_vec(),
                            })
                            .collect();
                        reports.push(detached(id));
                        addon.reply(connection, reports, now);
                    }
                    Some("unpack") => {
                        addon.coming.insert((connection, id), Vec::new());
                    }
                    _ => addon.reply(connection, vec![detached(id)], now),
                },
                attempt::Action::Input(connection, id, bytes) => {
                    let key = (connection, id);
                    if bytes.is_empty() {
                        if let Some(come) = addon.coming.remove(&key) {
                            self.workspace.clone_from(&come);
                            self.unpacked = Some(come);
                            addon.reply(connection, vec![detached(id)], now);
                        }
                    } else if let Some(come) = addon.coming.get_mut(&key) {
                        let before = come.len() / PIECE;
                        come.extend_from_slice(&bytes);
                        let dots = come.len() / PIECE - before;
                        let bytes = vec![b'.'; dots];
                        let told = (dots > 0).then_some(Report::Attached { id, bytes });
                        addon.reply(connection, told, now);
                    }
                }
                attempt::Action::Keep(_)
                | attempt::Action::Forget
                | attempt::Action::Resize(..) => {}
            }
        }
        moved | addon.run(&mut self.written, &mut self.ended, &mut self.workspace, now)
    }
}

/// Bytes that the agent takes before it says how far it is.
const PIECE: usize = addon::workspace::STEP as usize;

fn detached(id: u32) -> Report {
    Report::Detached {
        id,
        exit: Exit::Code(0),
    }
}

impl Addon {
    fn reply(&mut self, connection: u32, reports: impl IntoIterator<Item = Report>, now: Now) {
        for report in reports {
            self.machine
                .handle(attempt::Event::Reply(connection, report), now);
        }
    }

    /// Runs the process until it waits.
    fn run(
        &mut self,
        written: &mut BTreeMap<Attempt, Vec<u8>>,
        ended: &mut BTreeMap<Attempt, Exit>,
        workspace: &mut Vec<u8>,
        now: Now,
    ) -> bool {
        let mut moved = false;
        loop {
            let wants = self.machine.wants_output();
            let Some((attempt, process)) = &mut self.process else {
                return moved;
            };
            if process.serves || process.at_ms > now.mono_ms {
                return moved;
            }
            let act = process.acts.pop_front().unwrap_or(Act::Exit(0));
            let bytes = match act {
                Act::Echo(_) | Act::Flood(_) | Act::Show if !wants => {
                    process.acts.push_front(act);
                    return moved;
                }
                Act::Echo(text) => format!("{text}\n").into_bytes(),
                Act::Flood(0) => Vec::new(),
                Act::Flood(bytes) => {
                    // Numbered, so that a lost or doubled line shows.
                    let line = format!("{:<99}\n", process.flooded).into_bytes();
                    process.flooded += 1;
                    process
                        .acts
                        .push_front(Act::Flood(bytes.saturating_sub(line.len() as u64)));
                    line
                }
                Act::Sleep(ms) => {
                    process.at_ms = now.mono_ms + ms;
                    Vec::new()
                }
                Act::Out(text) => {
                    process.dotenv.extend_from_slice(text.as_bytes());
                    process.dotenv.push(b'\n');
                    Vec::new()
                }
                Act::Secret(text) => {
                    process.secret.extend_from_slice(text.as_bytes());
                    process.secret.push(b'\n');
                    Vec::new()
                }
                Act::Put(text) => {
                    workspace.extend_from_slice(text.as_bytes());
                    workspace.push(b'\n');
                    Vec::new()
                }
                Act::Show => workspace.clone(),
                Act::Serve => {
                    process.serves = true;
                    Vec::new()
                }
                Act::Deaf => {
                    process.deaf = true;
                    Vec::new()
                }
                Act::Exit(code) => {
                    self.end(Exit::Code(code), ended, now);
                    return true;
                }
                Act::Die(signal) => {
                    self.end(Exit::Signal(signal), ended, now);
                    return true;
                }
            };
            moved = true;
            if !bytes.is_empty() {
                written
                    .entry(attempt.clone())
                    .or_default()
                    .extend_from_slice(&bytes);
                self.machine.handle(attempt::Event::Bytes(&bytes), now);
            }
        }
    }

    fn end(&mut self, exit: Exit, ended: &mut BTreeMap<Attempt, Exit>, now: Now) {
        let Some((attempt, process)) = self.process.take() else {
            return;
        };
        self.left = Left {
            dotenv: process.dotenv,
            secret: process.secret,
            ..Left::default()
        };
        ended.insert(attempt, exit.clone());
        let alive = false;
        self.machine
            .handle(attempt::Event::Exited { exit, alive }, now);
        self.machine.handle(attempt::Event::Closed, now);
    }
}
