//! The first process of a step container: the shell around [`::addon::attempt::Machine`].

mod attached;
mod collect;
mod files;
mod probe;
mod process;
mod spawn;
mod usage;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use ::addon::attempt::{Action, Event, Launch, Machine};
use ::addon::frame::Exit;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid};

use crate::abandoned::Abandoned;
use crate::engine::SOCKET;
use crate::peer::{Peer, READ};
use crate::poll::{Readiness, Waits, now};
use crate::socket;

use attached::Attached;
use collect::Collection;
use files::{Home, Segments};
use probe::Probing;
use usage::Meter;

/// Connections at once: the driver's, one that takes over, some guests. More wait to be accepted.
const PEERS: usize = 32;
/// Reads of the step's output before others get their turn: a quarter of a megabyte.
const READS: usize = 4;

/// How an addon is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its slice: socket, spool, record, `tmp`.
    pub dir: PathBuf,
    /// What patterns of collections are relative to.
    pub workspace: PathBuf,
    /// The run that the container belongs to; none: the first hello says it.
    pub run: Option<String>,
    /// Standard input is its listening socket already.
    pub listening: bool,
    /// Standard output is a file for its spool, outside of its slice.
    pub spooling: bool,
    /// It ends, its step with it, when nobody was connected for so long.
    pub abandoned: Abandoned,
}

#[derive(Debug, Clone, Copy)]
enum Key {
    Signal,
    Listener,
    Output,
    Leftover(usize),
    Peer(u32),
    Probe,
    Attached(u32, u32),
    AttachedInput(u32, u32),
}

struct Addon {
    machine: Machine<Segments>,
    home: Home,
    workspace: PathBuf,
    peers: BTreeMap<u32, Peer>,
    next_peer: u32,
    /// The step's process, until it is reaped.
    child: Option<Pid>,
    /// Its group, which may live on.
    group: Option<Pid>,
    /// Where its output is read.
    output: Option<OwnedFd>,
    /// Where the output of the first one will be written, made while it was waited for.
    prepared: Option<process::Output>,
    /// A step has been here.
    begun: bool,
    /// Output of attempts that are over, held open by daemons: read and thrown away, so that they live on.
    leftovers: Vec<OwnedFd>,
    probing: Option<Probing>,
    attached: Attached,
    collections: Vec<Collection>,
    meter: Meter,
    buffer: Vec<u8>,
}

/// Serves until the container is told to end.
pub fn run(options: Options) -> io::Result<()> {
    // Secrets of a step are in this process's memory: no other process of the same user may look.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // As the first process orphans come here anyway; elsewhere (tests) this asks for them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGCHLD);
    signals.thread_block()?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let home = Home::prepare(&options.dir)?;
    let segments = if options.spooling {
        Segments::inside(socket::inherited_file()?)
    } else {
        Segments::below(home.spool()?)
    };
    let machine = match home.record() {
        Some(record) => Machine::restored(options.run, home.step_files(), segments, record),
        None => Machine::new(options.run, home.step_files(), segments),
    };
    let listener = if options.listening {
        socket::inherited()?
    } else {
        let dir = socket::directory(&options.dir)?;
        socket::listen(dir.as_fd(), SOCKET, 0o666)?
    };
    usage::prepare();
    let mut addon = Addon {
        machine,
        home,
        workspace: options.workspace,
        peers: BTreeMap::new(),
        next_peer: 0,
        child: None,
        group: None,
        output: None,
        prepared: None,
        begun: false,
        leftovers: Vec::new(),
        probing: None,
        attached: Attached::default(),
        collections: Vec::new(),
        meter: Meter::default(),
        buffer: Vec::new(),
    };
    let mut abandoned = options.abandoned;
    loop {
        addon.act();
        addon.collect();
        addon.write();
        addon.lay_ahead();
        if addon.machine.may_exit(now()) && !addon.peers.values().any(Peer::has_output) {
            return Ok(());
        }
        let mut waits = Waits::new();
        waits.add(Key::Signal, signals.as_fd(), true, false);
        waits.add(
            Key::Listener,
            listener.as_fd(),
            addon.peers.len() < PEERS,
            false,
        );
        let until = addon.waits(&mut waits);
        let alone = abandoned.until(!addon.peers.is_empty(), now().mono_ms);
        let ready = waits.wait(until.into_iter().chain(alone).min())?;
        let now = now();
        if alone.is_some_and(|at| at <= now.mono_ms) {
            abandoned.tell();
            addon.machine.handle(Event::Terminate, now);
            // Once is enough: what is left has its own times.
            abandoned = Abandoned::after(None);
        }
        if addon
            .machine
            .poll_timeout()
            .is_some_and(|at| at <= now.mono_ms)
        {
            addon.machine.handle_timeout(now);
        }
        if let Some(probing) = &addon.probing
            && probing.until() <= now.mono_ms
        {
            addon.probed(Err("no answer in time".to_owned()));
        }
        for (key, ready) in ready {
            match key {
                Key::Signal => addon.signals(&signals),
                Key::Listener => {
                    if let Some(socket) = socket::accept(&listener) {
                        addon.accepted(socket)?;
                    }
                }
                key => addon.ready(key, ready),
            }
        }
    }
}

impl Addon {
    fn waits<'a>(&'a self, waits: &mut Waits<'a, Key>) -> Option<u64> {
        if let Some(output) = &self.output {
            waits.add(
                Key::Output,
                output.as_fd(),
                self.machine.wants_output(),
                false,
            );
        }
        for (at, leftover) in self.leftovers.iter().enumerate() {
            waits.add(Key::Leftover(at), leftover.as_fd(), true, false);
        }
        for (&id, peer) in &self.peers {
            let read = !peer.ended() && !peer.closing && self.machine.wants_frames(id);
            waits.add(Key::Peer(id), peer.input(), read, peer.has_output());
        }
        if let Some(probing) = &self.probing
            && let Some((fd, read, write)) = probing.wait()
        {
            waits.add(Key::Probe, fd, read, write);
        }
        for (connection, id, wait) in self.attached.waits() {
            if let Some(output) = wait.output {
                let read = self.machine.wants_reply(connection);
                waits.add(Key::Attached(connection, id), output, read, false);
            }
            if let Some(input) = wait.input {
                waits.add(Key::AttachedInput(connection, id), input, false, true);
            }
        }
        self.machine
            .poll_timeout()
            .into_iter()
            .chain(self.probing.as_ref().map(Probing::until))
            .min()
    }

    fn ready(&mut self, key: Key, ready: Readiness) {
        match key {
            Key::Output => self.read_output(READS * READ),
            Key::Leftover(at) => self.read_leftover(at),
            Key::Peer(id) if ready.read => self.read_peer(id),
            Key::Signal | Key::Listener | Key::Peer(_) => {}
            Key::Probe => {
                let answer = self.probing.as_mut().and_then(Probing::go_on);
                if let Some(answer) = answer {
                    self.probed(answer);
                }
            }
            Key::Attached(connection, id) => {
                self.buffer.resize(READ, 0);
                if let Some(report) = self.attached.read(connection, id, &mut self.buffer) {
                    self.machine.handle(Event::Reply(connection, report), now());
                }
            }
            Key::AttachedInput(connection, id) => self.attached.write(connection, id),
        }
    }

    fn accepted(&mut self, socket: OwnedFd) -> io::Result<()> {
        let id = self.next_peer;
        self.next_peer += 1;
        self.peers.insert(id, Peer::socket(socket)?);
        self.machine.handle(Event::Connected(id), now());
        Ok(())
    }

    fn act(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Spawn(launch) => self.spawn(&launch),
                Action::Terminate => {
                    if let Some(group) = self.group {
                        process::terminate(group);
                    }
                }
                Action::Kill => process::kill_all(self.group),
                Action::Probe(probe, answer_ms) => {
                    match Probing::begin(probe, now().mono_ms.saturating_add(answer_ms)) {
                        Ok(Some(probing)) => self.probing = Some(probing),
                        Ok(None) => self.machine.handle(Event::Probed(Ok(())), now()),
                        Err(why) => self.machine.handle(Event::Probed(Err(why)), now()),
                    }
                }
                Action::Finish => {
                    if let Some(probing) = self.probing.take() {
                        probing.give_up();
                    }
                    self.leftovers.extend(self.output.take());
                    let left = Box::new(self.home.left());
                    let usage = self.meter.taken();
                    self.machine.handle(Event::Left(left, usage), now());
                }
                Action::Keep(record) => self.home.keep(&record),
                Action::Forget => self.home.forget(),
                Action::Close(id) => {
                    if let Some(peer) = self.peers.get_mut(&id) {
                        peer.closing = true;
                    }
                }
                Action::Collect {
                    connection,
                    id,
                    globs,
                    max_bytes,
                } => self.collections.push(Collection::find(
                    connection,
                    id,
                    &self.workspace,
                    &globs,
                    max_bytes,
                )),
                Action::Attach {
                    connection,
                    id,
                    argv,
                    tty,
                    env,
                    workdir,
                } => {
                    self.home.used();
                    if let Err(why) =
                        self.attached
                            .start(connection, id, &argv, tty, &env, workdir.as_deref())
                    {
                        let report = ::addon::frame::Report::Detached {
                            id,
                            exit: Exit::NotStarted(why),
                        };
                        self.machine.handle(Event::Reply(connection, report), now());
                    }
                }
                Action::Input(connection, id, bytes) => self.attached.input(connection, id, &bytes),
                Action::Resize(connection, id, size) => self.attached.resize(connection, id, size),
            }
        }
    }

    /// What the first step needs is made while it is waited for: that is not in the way between two steps. Later it would be: the step
    /// after this one, in another container, begins at that moment.
    fn lay_ahead(&mut self) {
        let greeted = self.next_peer > 0;
        if greeted && !self.begun && !self.home.laid() && self.machine.is_idle() && process::alone()
        {
            // What cannot be made is told when a step is to start.
            let _ = self.home.lay();
            self.prepared = process::Output::new().ok();
            process::look_ahead();
        }
    }

    fn spawn(&mut self, launch: &Launch) {
        // What an earlier occupant left neither sees nor disturbs the next one.
        for (pid, exit) in process::end_leftovers(self.group) {
            self.home.used();
            self.attached_ended(pid, exit);
        }
        self.leftovers.clear();
        self.group = None;
        self.meter = Meter::start();
        self.begun = true;
        let output = self.prepared.take();
        let started = self
            .home
            .lay()
            .and_then(|()| process::start(launch, output));
        match started {
            Ok((pid, output)) => {
                self.child = Some(pid);
                self.group = Some(pid);
                self.output = Some(output);
                self.machine.handle(Event::Spawned, now());
            }
            Err(why) => self.machine.handle(Event::NotStarted(why), now()),
        }
    }

    fn signals(&mut self, signals: &SignalFd) {
        let mut reap = false;
        while let Ok(Some(signal)) = signals.read_signal() {
            if signal.ssi_signo == Signal::SIGCHLD as u32 {
                reap = true;
            } else if !from_inside(signal.ssi_pid) {
                self.machine.handle(Event::Terminate, now());
            }
        }
        if !reap {
            return;
        }
        let mut ended = None;
        while let Some((pid, exit)) = process::reap() {
            if self.child == Some(pid) {
                ended = Some(exit);
            } else if self.probing.as_ref().is_some_and(|probing| probing.is(pid)) {
                self.probed(match exit {
                    Exit::Code(0) => Ok(()),
                    Exit::Code(code) => {
                        Err(format!("the probe's command ended with exit code {code}"))
                    }
                    Exit::Signal(number) => {
                        Err(format!("the probe's command ended by signal {number}"))
                    }
                    Exit::NotStarted(why) => Err(why),
                });
            } else {
                self.attached_ended(pid, exit);
            }
        }
        if let Some(exit) = ended {
            self.child = None;
            // What the process wrote before it ended is in the pipe; what comes later is not waited for here.
            let waiting = self
                .output
                .as_ref()
                .and_then(|output| rustix::io::ioctl_fionread(output).ok())
                .unwrap_or(0);
            // One more byte finds the end of it, where nobody else holds it open.
            self.read_output(waiting as usize + 1);
            let alive = self.group.is_some_and(process::group_lives);
            self.machine.handle(Event::Exited { exit, alive }, now());
        }
    }

    fn attached_ended(&mut self, pid: Pid, exit: Exit) {
        if let Some((connection, reports)) = self.attached.ended(pid, exit) {
            for report in reports {
                self.machine.handle(Event::Reply(connection, report), now());
            }
        }
    }

    fn probed(&mut self, answer: Result<(), String>) {
        if let Some(probing) = self.probing.take() {
            probing.give_up();
            self.machine.handle(Event::Probed(answer), now());
        }
    }

    /// Reads about so many bytes of the step's output.
    fn read_output(&mut self, bytes: usize) {
        self.buffer.resize(READ, 0);
        let mut left = bytes;
        while left > 0 {
            let Some(output) = &self.output else {
                return;
            };
            match rustix::io::read(output, &mut self.buffer[..]) {
                Ok(0) => {
                    self.output = None;
                    self.machine.handle(Event::Closed, now());
                }
                Ok(count) => {
                    left = left.saturating_sub(count);
                    self.machine
                        .handle(Event::Bytes(&self.buffer[..count]), now());
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.output = None;
                    self.machine.handle(Event::Closed, now());
                }
            }
        }
    }

    fn read_leftover(&mut self, at: usize) {
        self.buffer.resize(READ, 0);
        let Some(leftover) = self.leftovers.get(at) else {
            return;
        };
        match rustix::io::read(leftover, &mut self.buffer[..]) {
            Ok(1..) | Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(0) | Err(_) => {
                self.leftovers.remove(at);
            }
        }
    }

    fn read_peer(&mut self, id: u32) {
        self.buffer.resize(READ, 0);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let there = peer.fill(&mut self.buffer);
        loop {
            match peer.take() {
                // An addon's socket has one channel.
                Ok(Some((_, frame))) => self.machine.handle(Event::Frame(id, frame), now()),
                Ok(None) if there => return,
                Ok(None) | Err(_) => break,
            }
        }
        self.gone(id);
    }

    fn gone(&mut self, id: u32) {
        self.peers.remove(&id);
        self.machine.handle(Event::Disconnected(id), now());
        self.attached.gone(id);
        self.collections
            .retain(|collection| collection.connection != id);
    }

    fn collect(&mut self) {
        let (machine, buffer) = (&mut self.machine, &mut self.buffer);
        self.collections.retain_mut(|collection| {
            while machine.wants_reply(collection.connection) {
                buffer.resize(READ, 0);
                match collection.next(buffer) {
                    Some(report) => {
                        machine.handle(Event::Reply(collection.connection, report), now());
                    }
                    None => return false,
                }
            }
            true
        });
    }

    /// Writes what there is, as far as it goes. A connection that is closing and does not take its rest is not waited for.
    fn write(&mut self) {
        let mut gone = Vec::new();
        for (&id, peer) in &mut self.peers {
            loop {
                while peer.has_room()
                    && let Some(frame) = self.machine.poll_transmit(id)
                {
                    peer.send(0, &frame);
                }
                if !peer.has_output() {
                    if peer.closing {
                        gone.push(id);
                    }
                    break;
                }
                if !peer.flush() || (peer.closing && peer.has_output()) {
                    gone.push(id);
                    break;
                }
                if peer.has_output() {
                    break;
                }
            }
        }
        for id in gone {
            self.gone(id);
        }
        if self.output.is_none() && self.peers.is_empty() && !self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }
}

/// Whether a signal came from the container itself: a step may not end it. Who sends it from outside has no number here.
fn from_inside(sender: u32) -> bool {
    rustix::process::getpid() == Pid::INIT && sender != 0
}

/// A file descriptor of an attached process to wait for.
struct Wait<'a> {
    output: Option<BorrowedFd<'a>>,
    input: Option<BorrowedFd<'a>>,
}
