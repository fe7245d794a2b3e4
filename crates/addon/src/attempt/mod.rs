//! The addon's machine: one attempt after another, told by whoever may tell it.
//!
//! It is driven as quinn's machines are: [`Machine::handle`] takes what happened, [`Machine::poll_action`] says what the
//! shell is to do, [`Machine::poll_transmit`] gives the next frame for a connection whenever that can take one, and
//! [`Machine::poll_timeout`] / [`Machine::handle_timeout`] are its clock. It never touches the world, so `sim` runs it as it is.
//!
//! ```text
//!            Start                      process over, output drained            Settled
//!   Idle ───────────► Running ─────────────────────────────────────────► Done ─────────► Idle
//! ```
//!
//! * At most one connection is the driver's: the newest of the highest epoch. The others are closed, older epochs refused.
//! * A connection with [`GUEST_EPOCH`] takes nothing over: it may attach and collect, and gets no output of the attempt.
//! * An attempt that was started once is never started again, also not after its record was settled.

mod connection;
mod running;

use std::collections::{BTreeMap, VecDeque};

use crate::frame::{Attempt, Hello, Record, Refusal, Report, Request, State, StopReason, VERSION};
use crate::link::Frame;
use crate::message;
use crate::outputs::{Files, Left};
use crate::spool::{Piece, Store};

use connection::Connection;
use running::Running;

pub use running::{Launch, Usage};

/// The epoch of a connection that takes nothing over: `stepyard exec` beside the driver.
pub const GUEST_EPOCH: u64 = u64::MAX;
/// Between SIGTERM and SIGKILL where nobody says otherwise: the attempt's own timeout, the container's end.
pub const GRACE_MS: u64 = 10_000;
/// After the container was told to end: how long a record waits to be settled. Below the grace that clusters give.
pub const LEAVE_MS: u64 = 5_000;
/// Keys of settled attempts that are remembered: what a late duplicate of a start could still name.
const REMEMBERED: usize = 64;

/// The two clocks, as the shell reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that does not jump.
    pub mono_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A connection was accepted; ids are never used again.
    Connected(u32),
    /// A frame came on it.
    Frame(u32, Frame),
    /// It is gone, or what it sent could not be read.
    Disconnected(u32),
    /// The launched process runs.
    Spawned,
    /// It could not be started; what is missing and how to mend it.
    NotStarted(String),
    /// The process wrote this.
    Bytes(&'a [u8]),
    /// Nobody has its output open any more.
    Closed,
    /// It ended. `alive`: members of its process group still live.
    Exited {
        /// How.
        exit: crate::frame::Exit,
        /// Whether its process group has members left.
        alive: bool,
    },
    /// The answer to [`Action::Finish`].
    Left(Box<Left>, Usage),
    /// The answer to [`Action::Probe`].
    Probed(Result<(), String>),
    /// Something for one connection, of an attached process or a collection.
    Reply(u32, Report),
    /// The container was told to end.
    Terminate,
}

/// What the shell is to do.
#[derive(Debug)]
pub enum Action {
    /// Kill what an earlier occupant left, then start this; answered by [`Event::Spawned`] or [`Event::NotStarted`].
    Spawn(Box<Launch>),
    /// SIGTERM to the attempt's process group.
    Terminate,
    /// SIGKILL: as PID 1 to all processes of the container, else to the attempt's process group.
    Kill,
    /// Ask once; answered by [`Event::Probed`].
    Probe(crate::frame::Probe, u64),
    /// The attempt is over: read its files; answered by [`Event::Left`]. Output that still comes is thrown away.
    Finish,
    /// Write the record where it survives, before it is sent.
    Keep(Box<Record>),
    /// The record is settled: remove it and the attempt's files.
    Forget,
    /// Send what was said, then close this connection.
    Close(u32),
    /// Send files to this connection by [`Event::Reply`].
    Collect {
        /// Who asks.
        connection: u32,
        /// Its id.
        id: u32,
        /// Patterns.
        globs: Vec<String>,
        /// Bound in bytes.
        max_bytes: u64,
    },
    /// Start a process beside the step.
    Attach {
        /// Who asks.
        connection: u32,
        /// Its id.
        id: u32,
        /// Program and arguments; empty: the container's shell.
        argv: Vec<String>,
        /// Terminal size.
        tty: Option<(u16, u16)>,
        /// Environment: the attempt's without its secrets, then the caller's.
        env: Vec<(String, String)>,
        /// Working directory of the attempt, if one ran.
        workdir: Option<String>,
    },
    /// Bytes for an attached process.
    Input(u32, u32, Vec<u8>),
    /// A terminal's new size.
    Resize(u32, u32, (u16, u16)),
}

#[derive(Debug)]
enum Phase {
    Idle,
    Running(Box<Running>),
    Done(Box<Running>, Box<Record>),
}

/// Whether the container was told to end.
#[derive(Debug)]
enum Leaving {
    No,
    /// When the attempt is over and its record settled.
    WhenDone,
    /// Then at the latest.
    At(u64),
}

/// The machine. `S` keeps the segments of the spool.
#[derive(Debug)]
pub struct Machine<S> {
    run: Option<String>,
    files: Files,
    store: S,
    epoch: u64,
    connections: BTreeMap<u32, Connection>,
    driver: Option<u32>,
    phase: Phase,
    settled: VecDeque<Attempt>,
    /// For attached processes: of the attempt that runs or ran last.
    last_env: Vec<(String, String)>,
    last_workdir: Option<String>,
    actions: VecDeque<Action>,
    leaving: Leaving,
}

impl<S: Store> Machine<S> {
    /// An idle machine. With no `run` the first hello decides whose it is.
    pub fn new(run: Option<String>, files: Files, store: S) -> Self {
        Machine {
            run,
            files,
            store,
            epoch: 0,
            connections: BTreeMap::new(),
            driver: None,
            phase: Phase::Idle,
            settled: VecDeque::new(),
            last_env: Vec::new(),
            last_workdir: None,
            actions: VecDeque::new(),
            leaving: Leaving::No,
        }
    }

    /// A machine that finds the record of an earlier life of its container.
    pub fn restored(run: Option<String>, files: Files, store: S, record: Record) -> Self {
        let mut machine = Machine::new(run, files, store);
        let running = Running::over(&record);
        machine.phase = Phase::Done(Box::new(running), Box::new(record));
        machine
    }

    /// The segments' keeper.
    pub fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// Tells the machine what happened.
    pub fn handle(&mut self, event: Event<'_>, now: Now) {
        match event {
            Event::Connected(id) => {
                self.connections.insert(id, Connection::default());
            }
            Event::Disconnected(id) => self.disconnect(id),
            Event::Frame(id, frame) => self.frame(id, frame, now),
            Event::Reply(id, report) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.piece(report.to_bytes());
                }
            }
            Event::Terminate => {
                if matches!(self.leaving, Leaving::No) {
                    self.leaving = Leaving::WhenDone;
                }
                if let Phase::Running(running) = &mut self.phase {
                    running.stop(GRACE_MS, StopReason::Terminated, now, &mut self.actions);
                }
                self.leave(now);
            }
            Event::Spawned => {
                if let Phase::Running(running) = &mut self.phase {
                    let attempt = running.attempt().clone();
                    let ready = running.spawned(now, &mut self.actions);
                    self.tell(&Report::Started {
                        attempt,
                        at_ms: now.wall_ms,
                    });
                    if let Some(report) = ready {
                        self.tell(&report);
                    }
                }
            }
            Event::Bytes(bytes) => {
                if let Phase::Running(running) = &mut self.phase {
                    running.bytes(bytes, now, &mut self.store);
                }
            }
            Event::Probed(answer) => {
                if let Phase::Running(running) = &mut self.phase
                    && let Some(report) = running.probed(answer, now)
                {
                    self.tell(&report);
                }
            }
            Event::NotStarted(why) => {
                if let Phase::Running(running) = &mut self.phase {
                    running.not_started(&why, now, &mut self.actions, &mut self.store);
                }
            }
            Event::Closed => {
                if let Phase::Running(running) = &mut self.phase {
                    running.closed(now, &mut self.actions, &mut self.store);
                }
            }
            Event::Exited { exit, alive } => {
                if let Phase::Running(running) = &mut self.phase {
                    running.exited(exit, alive, now, &mut self.actions, &mut self.store);
                }
            }
            Event::Left(left, usage) => {
                if let Phase::Running(_) = &self.phase {
                    let Phase::Running(running) = std::mem::replace(&mut self.phase, Phase::Idle)
                    else {
                        return;
                    };
                    let record = Box::new(running.record(&left, usage));
                    self.actions.push_back(Action::Keep(record.clone()));
                    self.phase = Phase::Done(running, record);
                    self.leave(now);
                }
            }
        }
    }

    /// The next thing to do, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Machine::handle_timeout`] wants to be called, by the clock that does not jump.
    pub fn poll_timeout(&self) -> Option<u64> {
        let running = match &self.phase {
            Phase::Running(running) => running.timeout(),
            _ => None,
        };
        let leaving = match self.leaving {
            Leaving::At(at) => Some(at),
            _ => None,
        };
        running.into_iter().chain(leaving).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        if let Phase::Running(running) = &mut self.phase
            && let Some(report) = running.due(now, &mut self.actions, &mut self.store)
        {
            self.tell(&report);
        }
    }

    /// Whether the process's output is to be read now. `false` is back-pressure, only ever with a driver there.
    pub fn wants_output(&self) -> bool {
        match &self.phase {
            Phase::Running(running) => {
                let Some(driver) = self.driver.and_then(|id| self.connections.get(&id)) else {
                    return true;
                };
                let spool = running.spool();
                !spool.full() && spool.end().saturating_sub(driver.cursor) < BEHIND
            }
            _ => true,
        }
    }

    /// Whether what comes on this connection is to be read now: not while it does not take its answers.
    pub fn wants_frames(&self, id: u32) -> bool {
        self.connections.get(&id).is_some_and(Connection::calm)
    }

    /// Whether more of an attached process or a collection may be queued for this connection.
    pub fn wants_reply(&self, id: u32) -> bool {
        self.connections.get(&id).is_some_and(Connection::roomy)
    }

    /// The next frame for a connection, when there is one and its credit allows.
    pub fn poll_transmit(&mut self, id: u32) -> Option<Frame> {
        let driver = self.driver == Some(id);
        let connection = self.connections.get_mut(&id)?;
        if let Some(frame) = connection.next() {
            return Some(frame);
        }
        if !driver || connection.credit <= 0 {
            return None;
        }
        let (running, record) = match &self.phase {
            Phase::Idle => return None,
            Phase::Running(running) => (running, None),
            Phase::Done(running, record) => (running, Some(record)),
        };
        let body = match running.spool().read(connection.cursor, &mut self.store) {
            Some(Piece::Bytes {
                offset,
                at_ms,
                bytes,
            }) => {
                connection.cursor = offset + bytes.len() as u64;
                message::output(offset, at_ms, &bytes)
            }
            Some(Piece::Gap { offset, bytes }) => {
                connection.cursor = offset + bytes;
                Report::Gap { offset, bytes }.to_bytes()
            }
            None => {
                let record = record.filter(|_| !connection.finished)?;
                connection.finished = true;
                Report::Finished(record.clone()).to_bytes()
            }
        };
        Some(connection.message(body))
    }

    /// The container may end: it was told to, and nothing is left that somebody should still fetch.
    pub fn may_exit(&self, now: Now) -> bool {
        match self.leaving {
            Leaving::No => false,
            Leaving::WhenDone => matches!(self.phase, Phase::Idle),
            Leaving::At(at) => matches!(self.phase, Phase::Idle) || now.mono_ms >= at,
        }
    }

    /// Whether it waits for a start.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        match &self.phase {
            Phase::Idle => State::Idle,
            Phase::Running(running) => running.state(),
            Phase::Done(_, record) => State::Done(record.clone()),
        }
    }

    fn leave(&mut self, now: Now) {
        if let (Leaving::WhenDone, Phase::Done(..)) = (&self.leaving, &self.phase) {
            self.leaving = Leaving::At(now.mono_ms + LEAVE_MS);
        }
    }

    fn disconnect(&mut self, id: u32) {
        self.connections.remove(&id);
        if self.driver == Some(id) {
            self.driver = None;
        }
    }

    fn frame(&mut self, id: u32, frame: Frame, now: Now) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match frame {
            Frame::Credit(bytes) => connection.grant(bytes),
            Frame::Ping => connection.answer(Frame::Pong),
            Frame::Pong => {}
            Frame::Close(_) => self.close(id, "closed by the other end"),
            Frame::Open(_) | Frame::Opened => {
                self.close(id, "an addon has no channels to open");
            }
            Frame::Message(body) => match Request::from_bytes(&body) {
                Ok(request) => self.request(id, request, now),
                Err(error) => {
                    self.refuse(id, Refusal::Protocol(error.to_string()));
                    self.close(id, "a message cannot be read");
                }
            },
        }
    }

    fn request(&mut self, id: u32, request: Request, now: Now) {
        if let Request::Hello(hello) = request {
            return self.hello(id, &hello);
        }
        let guest = match self.connections.get(&id).and_then(|c| c.epoch) {
            None => {
                self.refuse(
                    id,
                    Refusal::Protocol("the first message is a hello".to_owned()),
                );
                return self.close(id, "no hello");
            }
            Some(epoch) => epoch == GUEST_EPOCH,
        };
        match request {
            Request::Attach {
                id: process,
                argv,
                tty,
                mut env,
            } => {
                env.splice(0..0, self.last_env.iter().cloned());
                self.actions.push_back(Action::Attach {
                    connection: id,
                    id: process,
                    argv,
                    tty,
                    env,
                    workdir: self.last_workdir.clone(),
                });
            }
            Request::Input { id: process, bytes } => {
                self.actions.push_back(Action::Input(id, process, bytes));
            }
            Request::Resize { id: process, size } => {
                self.actions.push_back(Action::Resize(id, process, size));
            }
            Request::Collect {
                id: collection,
                globs,
                max_bytes,
            } => self.actions.push_back(Action::Collect {
                connection: id,
                id: collection,
                globs,
                max_bytes,
            }),
            _ if guest => self.refuse(
                id,
                Refusal::Protocol("a guest may attach and collect only".to_owned()),
            ),
            Request::Start(start) => self.start(id, start, now),
            Request::Stop {
                attempt,
                grace_ms,
                reason,
            } => {
                if let Phase::Running(running) = &mut self.phase
                    && *running.attempt() == attempt
                {
                    running.stop(grace_ms, reason, now, &mut self.actions);
                }
            }
            Request::Acked { attempt, offset } => {
                if let Phase::Running(running) | Phase::Done(running, _) = &mut self.phase
                    && *running.attempt() == attempt
                {
                    running.spool_mut().ack(offset, &mut self.store);
                }
            }
            Request::Settled { attempt } => {
                if let Phase::Done(running, record) = &mut self.phase
                    && record.attempt == attempt
                {
                    running.spool_mut().clear(&mut self.store);
                    self.phase = Phase::Idle;
                    if self.settled.len() >= REMEMBERED {
                        self.settled.pop_front();
                    }
                    self.settled.push_back(attempt);
                    self.actions.push_back(Action::Forget);
                }
            }
            Request::Hello(_) => {}
        }
    }

    fn hello(&mut self, id: u32, hello: &Hello) {
        if *self.run.get_or_insert_with(|| hello.run.clone()) != hello.run {
            self.refuse(id, Refusal::OtherRun);
            return self.close(id, "another run's container");
        }
        if hello.epoch < self.epoch {
            self.refuse(id, Refusal::OldEpoch { seen: self.epoch });
            return self.close(id, "an older epoch");
        }
        let guest = hello.epoch == GUEST_EPOCH;
        if !guest {
            self.epoch = hello.epoch;
            if let Some(old) = self.driver.filter(|&old| old != id) {
                self.refuse(old, Refusal::OldEpoch { seen: self.epoch });
                self.close(old, "a newer connection took over");
            }
            self.driver = Some(id);
        }
        let mut cursor = 0;
        if let Phase::Running(running) | Phase::Done(running, _) = &mut self.phase
            && !guest
        {
            if hello.attempt.as_ref() == Some(running.attempt()) {
                running.spool_mut().ack(hello.acked, &mut self.store);
                cursor = hello.acked.min(running.spool().end());
            } else {
                cursor = running.spool().acked();
            }
        }
        let state = self.state();
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.epoch = Some(hello.epoch);
        connection.cursor = cursor;
        connection.finished = false;
        self.say(
            id,
            &Report::Welcome {
                version: VERSION,
                state,
            },
        );
    }

    fn start(&mut self, id: u32, start: Box<crate::frame::Start>, now: Now) {
        if !matches!(self.leaving, Leaving::No) {
            return self.refuse(id, Refusal::Protocol("the container is ending".to_owned()));
        }
        match &self.phase {
            Phase::Running(running) if *running.attempt() == start.attempt => {
                // A repeated start is answered, not obeyed.
                if let Some(at_ms) = running.started_at() {
                    self.say(
                        id,
                        &Report::Started {
                            attempt: start.attempt,
                            at_ms,
                        },
                    );
                }
                return;
            }
            Phase::Done(_, record) if record.attempt == start.attempt => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.finished = false;
                }
                return;
            }
            Phase::Running(running) | Phase::Done(running, _) => {
                let busy = running.attempt().clone();
                return self.refuse(id, Refusal::Busy(busy));
            }
            Phase::Idle => {}
        }
        if self.settled.contains(&start.attempt) {
            return self.refuse(
                id,
                Refusal::Protocol(format!(
                    "attempt {} of {} is settled: it never starts again",
                    start.attempt.number, start.attempt.step
                )),
            );
        }
        self.last_env = start
            .env
            .iter()
            .filter(|(_, value)| {
                !start
                    .secrets
                    .iter()
                    .any(|s| !s.is_empty() && value.contains(s.as_str()))
            })
            .cloned()
            .collect();
        self.last_workdir = Some(start.workdir.clone());
        for connection in self.connections.values_mut() {
            connection.cursor = 0;
            connection.finished = false;
        }
        let (running, launch) = Running::new(start, &self.files, now);
        self.phase = Phase::Running(Box::new(running));
        self.actions.push_back(Action::Spawn(Box::new(launch)));
    }

    /// To the driver, if one is there: who comes later learns it from the welcome.
    fn tell(&mut self, report: &Report) {
        if let Some(id) = self.driver {
            self.say(id, report);
        }
    }

    fn say(&mut self, id: u32, report: &Report) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.say(report.to_bytes());
        }
    }

    fn refuse(&mut self, id: u32, refusal: Refusal) {
        self.say(id, &Report::Refused(refusal));
    }

    fn close(&mut self, id: u32, why: &str) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.close(why);
            self.actions.push_back(Action::Close(id));
        }
        if self.driver == Some(id) {
            self.driver = None;
        }
    }
}

/// Output that may wait for the driver's credit before the process is held up: one read more than a pipe holds, so that
/// the next piece is there when credit comes.
const BEHIND: u64 = 1024 * 1024;
