//! lite-engine: the router's shell. It connects drivers with the addons in the pod's slices.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;

use ::addon::router::{Action, Event, Router};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::fs::inotify;
use rustix::io::Errno;

use crate::abandoned::Abandoned;
use crate::peer::{Peer, READ};
use crate::poll::{Waits, now};
use crate::socket;

/// The name of an addon's socket in its slice.
pub const SOCKET: &str = "socket";
/// Drivers at once: the one that runs the pod, one that takes over, some `exec`s. More wait to be accepted.
const DRIVERS: usize = 64;

#[derive(Debug, Clone, Copy)]
enum Key {
    Signal,
    Listener,
    Appeared,
    Driver(u32),
    DriverOut,
    Addon(u32),
}

/// A connection to an addon whose socket is not there yet.
struct Awaited {
    container: String,
    /// Its slice, once that is there.
    slice: Option<OwnedFd>,
}

struct Engine {
    router: Router,
    slices: OwnedFd,
    /// Says when a slice or a socket appears. Made when something is first waited for.
    appeared: Option<OwnedFd>,
    awaited: BTreeMap<u32, Awaited>,
    drivers: BTreeMap<u32, Peer>,
    addons: BTreeMap<u32, Peer>,
    next_driver: u32,
}

/// Where drivers come from.
#[derive(Debug, Clone, Copy)]
pub enum Listen<'a> {
    /// To a socket that is made at this path.
    At(&'a Path),
    /// One, over standard input and output.
    Stdio,
}

/// Serves until SIGTERM and what the pod's addons have to say then, until the one connection over standard input and output is over, or
/// until no driver was there for `abandoned`.
pub fn run(slices: &Path, listen: Listen<'_>, mut abandoned: Abandoned) -> io::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGCHLD);
    signals.thread_block()?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let mut engine = Engine::new(slices)?;
    let listener = match listen {
        Listen::At(path) => {
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            let dir = socket::directory(dir.unwrap_or(Path::new(".")))?;
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| io::Error::other("--listen names no socket"))?;
            Some(socket::listen(dir.as_fd(), name, 0o600)?)
        }
        Listen::Stdio => {
            let input = io::stdin().as_fd().try_clone_to_owned()?;
            let output = io::stdout().as_fd().try_clone_to_owned()?;
            engine.driver(Peer::pipes(input, output)?);
            None
        }
    };
    let mut buffer = vec![0; READ];
    let mut ending = false;
    loop {
        engine.act();
        engine.write();
        if listener.is_none() && engine.drivers.is_empty() {
            return Ok(());
        }
        // Every container of a pod is told to end at once: a step may still have its last words, and its record, for a driver.
        if ending && (engine.drivers.is_empty() || engine.addons.is_empty()) {
            return Ok(());
        }
        let mut waits = Waits::new();
        waits.add(Key::Signal, signals.as_fd(), true, false);
        if let Some(listener) = &listener {
            waits.add(
                Key::Listener,
                listener.as_fd(),
                engine.drivers.len() < DRIVERS,
                false,
            );
        }
        engine.waits(&mut waits);
        let until = abandoned.until(!engine.drivers.is_empty(), now().mono_ms);
        if until.is_some_and(|at| at <= now().mono_ms) {
            abandoned.tell();
            return Ok(());
        }
        let timeout = engine.router.poll_timeout();
        let woken = waits.wait(timeout.into_iter().chain(until).min())?;
        engine.router.at(now().mono_ms);
        for (key, ready) in woken {
            match key {
                Key::Signal => {
                    while let Ok(Some(signal)) = signals.read_signal() {
                        ending |= signal.ssi_signo != Signal::SIGCHLD as u32;
                    }
                    // As the first process of a container it inherits the orphans of exec streams.
                    while let Ok(Some(_)) =
                        rustix::process::wait(rustix::process::WaitOptions::NOHANG)
                    {
                    }
                }
                Key::Listener => {
                    if let Some(socket) = listener.as_ref().and_then(socket::accept) {
                        engine.driver(Peer::socket(socket)?);
                    }
                }
                Key::Appeared => engine.appeared(),
                Key::Driver(id) if ready.read => engine.read_driver(id, &mut buffer),
                Key::Addon(id) if ready.read => engine.read_addon(id, &mut buffer),
                Key::Driver(_) | Key::DriverOut | Key::Addon(_) => {}
            }
        }
        engine.router.handle_timeout();
    }
}

impl Engine {
    fn new(slices: &Path) -> io::Result<Self> {
        Ok(Engine {
            router: Router::new(),
            slices: socket::directory(slices).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("failed to open {}: {error}", slices.display()),
                )
            })?,
            appeared: None,
            awaited: BTreeMap::new(),
            drivers: BTreeMap::new(),
            addons: BTreeMap::new(),
            next_driver: 0,
        })
    }

    fn driver(&mut self, peer: Peer) {
        let id = self.next_driver;
        self.next_driver += 1;
        self.drivers.insert(id, peer);
        self.router.handle(Event::Connected(id));
    }

    fn waits<'a>(&'a self, waits: &mut Waits<'a, Key>) {
        if !self.awaited.is_empty()
            && let Some(appeared) = &self.appeared
        {
            waits.add(Key::Appeared, appeared.as_fd(), true, false);
        }
        for (&id, peer) in &self.drivers {
            let read = !peer.ended() && self.router.wants_driver(id);
            if peer.is_socket() {
                waits.add(Key::Driver(id), peer.input(), read, peer.has_output());
            } else {
                waits.add(Key::Driver(id), peer.input(), read, false);
                waits.add(Key::DriverOut, peer.output(), false, peer.has_output());
            }
        }
        for (&id, peer) in &self.addons {
            let read = !peer.ended() && !peer.closing && self.router.wants_addon(id);
            waits.add(Key::Addon(id), peer.input(), read, peer.has_output());
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.router.poll_action() {
            match action {
                Action::Connect(link, container) => {
                    self.awaited.insert(
                        link,
                        Awaited {
                            container,
                            slice: None,
                        },
                    );
                    self.reach(link);
                }
                Action::Drop(link) => {
                    self.awaited.remove(&link);
                    if let Some(peer) = self.addons.get_mut(&link) {
                        peer.closing = true;
                    }
                }
                Action::Hang(driver) => {
                    self.drivers.remove(&driver);
                    self.router.handle(Event::Disconnected(driver));
                }
            }
        }
    }

    /// Writes what there is, as far as it goes.
    fn write(&mut self) {
        let mut gone = Vec::new();
        for (&id, peer) in &mut self.drivers {
            loop {
                while peer.has_room()
                    && let Some((channel, frame)) = self.router.poll_driver(id)
                {
                    peer.send(channel, &frame);
                }
                if !peer.has_output() {
                    break;
                }
                if !peer.flush() {
                    gone.push(id);
                    break;
                }
                if peer.has_output() {
                    break;
                }
            }
        }
        for id in gone {
            self.drivers.remove(&id);
            self.router.handle(Event::Disconnected(id));
        }
        let mut gone = Vec::new();
        // The newest first: a step that starts is waited for more than the settling of the one before it.
        for (&id, peer) in self.addons.iter_mut().rev() {
            while peer.has_room()
                && let Some(frame) = self.router.poll_addon(id)
            {
                peer.send(0, &frame);
            }
            // One that is closing and does not take its rest is not waited for.
            if !peer.flush() || peer.closing {
                gone.push(id);
            }
        }
        for id in gone {
            if let Some(peer) = self.addons.remove(&id)
                && !peer.closing
            {
                self.unlinked(id, "the addon is gone");
            }
        }
        self.act_if_any();
    }

    fn act_if_any(&mut self) {
        // Disconnected drivers leave connections to drop.
        self.act();
        self.addons.retain(|_, peer| !peer.closing);
    }

    fn read_driver(&mut self, id: u32, buffer: &mut [u8]) {
        let Some(peer) = self.drivers.get_mut(&id) else {
            return;
        };
        let there = peer.fill(buffer);
        loop {
            match peer.take() {
                Ok(Some((channel, frame))) => {
                    self.router.handle(Event::FromDriver(id, channel, frame));
                }
                Ok(None) if there => return,
                Ok(None) | Err(_) => break,
            }
        }
        self.drivers.remove(&id);
        self.router.handle(Event::Disconnected(id));
    }

    fn read_addon(&mut self, id: u32, buffer: &mut [u8]) {
        let Some(peer) = self.addons.get_mut(&id) else {
            return;
        };
        let there = peer.fill(buffer);
        let why = loop {
            match peer.take() {
                Ok(Some((_, frame))) => self.router.handle(Event::FromAddon(id, frame)),
                Ok(None) if there => return,
                Ok(None) => break "the addon is gone".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        self.addons.remove(&id);
        self.unlinked(id, &why);
    }

    fn unlinked(&mut self, link: u32, why: &str) {
        self.router.handle(Event::Unlinked(link, why.to_owned()));
    }

    /// Something appeared in the slices: tries what waits.
    fn appeared(&mut self) {
        if let Some(appeared) = &self.appeared {
            let mut buffer = [0u8; 4096];
            while matches!(rustix::io::read(appeared, &mut buffer), Ok(1..)) {}
        }
        let waiting: Vec<u32> = self.awaited.keys().copied().collect();
        for link in waiting {
            self.reach(link);
        }
    }

    fn reach(&mut self, link: u32) {
        match self.try_reach(link) {
            Ok(Some(socket)) => {
                self.awaited.remove(&link);
                match Peer::socket(socket) {
                    Ok(peer) => {
                        self.addons.insert(link, peer);
                        self.router.handle(Event::Linked(link));
                    }
                    Err(error) => self.unlinked(link, &error.to_string()),
                }
            }
            Ok(None) => {}
            Err(error) => {
                let container = self.awaited.remove(&link).map(|awaited| awaited.container);
                let container = container.unwrap_or_default();
                let why = match error {
                    Errno::CONNREFUSED => format!("the addon of {container} is gone"),
                    Errno::LOOP | Errno::NOTDIR | Errno::NOTSOCK => {
                        format!("the slice of {container} was tampered with: its socket is none")
                    }
                    Errno::AGAIN => format!("the addon of {container} does not accept connections"),
                    error => format!("failed to connect to the addon of {container}: {error}"),
                };
                self.unlinked(link, &why);
            }
        }
    }

    /// `None`: not there yet, and watched.
    fn try_reach(&mut self, link: u32) -> Result<Option<OwnedFd>, Errno> {
        let Some(awaited) = self.awaited.get_mut(&link) else {
            return Ok(None);
        };
        if awaited.slice.is_none() {
            match socket::subdirectory(self.slices.as_fd(), &awaited.container) {
                Ok(slice) => awaited.slice = Some(slice),
                Err(Errno::NOENT) => {
                    watch(&mut self.appeared, &self.slices)?;
                    // It may have come between the look and the watch.
                    match socket::subdirectory(self.slices.as_fd(), &awaited.container) {
                        Ok(slice) => awaited.slice = Some(slice),
                        Err(Errno::NOENT) => return Ok(None),
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let Some(slice) = &awaited.slice else {
            return Ok(None);
        };
        match socket::connect(slice.as_fd(), SOCKET) {
            Ok(socket) => Ok(Some(socket)),
            Err(Errno::NOENT) => {
                watch(&mut self.appeared, slice)?;
                match socket::connect(slice.as_fd(), SOCKET) {
                    Ok(socket) => Ok(Some(socket)),
                    Err(Errno::NOENT) => Ok(None),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }
}

fn watch(appeared: &mut Option<OwnedFd>, dir: &OwnedFd) -> Result<(), Errno> {
    let watcher = match appeared {
        Some(watcher) => watcher,
        None => appeared.insert(inotify::init(
            inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK,
        )?),
    };
    inotify::add_watch(
        watcher,
        format!("/proc/self/fd/{}", dir.as_raw_fd()),
        inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO,
    )?;
    Ok(())
}
