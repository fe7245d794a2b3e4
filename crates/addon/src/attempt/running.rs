//! The attempt that runs, from its start to its record.

use std::collections::VecDeque;

use crate::frame::{Attempt, Exit, Probe, Readiness, Record, Report, Start, State, StopReason};
use crate::mask::Masker;
use crate::outputs::{self, Files, Left};
use crate::spool::{Spool, Store};

use super::{Action, GRACE_MS, Now};

/// How often a probe asks where nothing is said.
const DEFAULT_PERIOD_MS: u64 = 1_000;
/// How soon it asks again in the beginning.
const FIRST_PERIOD_MS: u64 = 20;
/// After the process has ended: how long the rest of its own process group may still write (`exec > >(tee log)`), where
/// it holds the output open. A daemon that left the group is not waited for.
const LINGER_MS: u64 = 500;

/// A process to start.
#[derive(Clone, PartialEq, Eq)]
pub struct Launch {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Set over the container's own environment, later entries win.
    pub env: Vec<(String, String)>,
    /// Created if it is not there.
    pub workdir: String,
    /// To be made, empty, before.
    pub files: Files,
}

impl std::fmt::Debug for Launch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launch")
            .field("workdir", &self.workdir)
            .finish_non_exhaustive()
    }
}

/// What a process and its descendants took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, milliseconds.
    pub cpu_ms: u64,
    /// Bytes.
    pub peak_memory: u64,
    /// The kernel killed one for memory.
    pub oom: bool,
}

#[derive(Debug)]
struct Stopping {
    reason: StopReason,
    kill_at: Option<u64>,
}

#[derive(Debug)]
enum Ready {
    /// Nothing is asked.
    No,
    /// It is, or its deadline passed with a warning.
    Yes,
    /// An answer is awaited.
    Asked,
    /// The next asking is due then.
    Waiting(u64),
}

#[derive(Debug)]
pub(super) struct Running {
    attempt: Attempt,
    /// Without its environment and secrets: they are not kept longer than needed.
    start: Box<Start>,
    masker: Masker,
    spool: Spool,
    scratch: Vec<u8>,
    begun: Now,
    /// Set when the process runs.
    spawned: Option<Now>,
    ended: Option<Now>,
    exit: Option<Exit>,
    closed: bool,
    finishing: bool,
    linger_until: Option<u64>,
    stopping: Option<Stopping>,
    timeout_at: Option<u64>,
    ready: Ready,
    ready_until: Option<u64>,
    last_answer: String,
    warnings: Vec<String>,
}

impl Running {
    pub(super) fn new(mut start: Box<Start>, files: &Files, now: Now) -> (Self, Launch) {
        let mut env = start.env.clone();
        env.extend(outputs::env(files));
        let launch = Launch {
            argv: outputs::argv(&start, files),
            env,
            workdir: start.workdir.clone(),
            files: files.clone(),
        };
        let masker = Masker::new(&start.secrets);
        start.secrets = Vec::new();
        start.env = Vec::new();
        let running = Running {
            attempt: start.attempt.clone(),
            masker,
            spool: Spool::default(),
            scratch: Vec::new(),
            begun: now,
            spawned: None,
            ended: None,
            exit: None,
            closed: false,
            finishing: false,
            linger_until: None,
            stopping: None,
            timeout_at: (start.timeout_ms > 0)
                .then(|| now.mono_ms.saturating_add(start.timeout_ms)),
            ready: Ready::No,
            ready_until: None,
            last_answer: String::new(),
            warnings: Vec::new(),
            start,
        };
        (running, launch)
    }

    /// One that ended in an earlier life: only its record is left.
    pub(super) fn over(record: &Record) -> Self {
        let start = Start {
            attempt: record.attempt.clone(),
            program: crate::frame::Program::Exec {
                argv: Vec::new(),
                before: None,
            },
            env: Vec::new(),
            workdir: String::new(),
            secrets: Vec::new(),
            outputs: Vec::new(),
            background: false,
            readiness: None,
            timeout_ms: 0,
        };
        let files = Files {
            exported: String::new(),
            dotenv: String::new(),
            secret: String::new(),
            scratch: String::new(),
        };
        let now = Now {
            mono_ms: 0,
            wall_ms: record.started_ms,
        };
        let (mut running, _) = Running::new(Box::new(start), &files, now);
        running.spool = Spool::lost(record.output_bytes);
        running
    }

    pub(super) fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    pub(super) fn spool(&self) -> &Spool {
        &self.spool
    }

    pub(super) fn spool_mut(&mut self) -> &mut Spool {
        &mut self.spool
    }

    pub(super) fn started_at(&self) -> Option<u64> {
        self.spawned.map(|now| now.wall_ms)
    }

    pub(super) fn state(&self) -> State {
        State::Running {
            attempt: self.attempt.clone(),
            at_ms: self.spawned.unwrap_or(self.begun).wall_ms,
            offset: self.spool.end(),
            ready: matches!(self.ready, Ready::Yes),
        }
    }

    pub(super) fn spawned(&mut self, now: Now, actions: &mut VecDeque<Action>) -> Option<Report> {
        self.spawned = Some(now);
        if !self.start.background {
            return None;
        }
        match &self.start.readiness {
            None => {
                self.ready = Ready::Yes;
                Some(self.is_ready(now, None))
            }
            Some(readiness) => {
                self.ready_until = Some(now.mono_ms.saturating_add(readiness.deadline_ms));
                self.ready = Ready::Asked;
                actions.push_back(ask(readiness));
                None
            }
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8], now: Now, store: &mut impl Store) {
        if self.finishing {
            return;
        }
        self.scratch.clear();
        self.masker.push(bytes, &mut self.scratch);
        self.spool.append(&self.scratch, now.wall_ms, store);
    }

    pub(super) fn not_started(
        &mut self,
        why: &str,
        now: Now,
        actions: &mut VecDeque<Action>,
        store: &mut impl Store,
    ) {
        self.closed = true;
        self.exited(
            Exit::NotStarted(self.masker.text(why)),
            false,
            now,
            actions,
            store,
        );
    }

    pub(super) fn closed(
        &mut self,
        now: Now,
        actions: &mut VecDeque<Action>,
        store: &mut impl Store,
    ) {
        self.closed = true;
        self.conclude(now, actions, store);
    }

    pub(super) fn exited(
        &mut self,
        exit: Exit,
        alive: bool,
        now: Now,
        actions: &mut VecDeque<Action>,
        store: &mut impl Store,
    ) {
        if self.exit.is_some() {
            return;
        }
        self.exit = Some(exit);
        self.ended = Some(now);
        if self.stopping.is_some() {
            // It was told to end: what is left of it ends too.
            if alive {
                actions.push_back(Action::Kill);
            }
            self.linger_until = Some(now.mono_ms);
        } else if alive {
            self.linger_until = Some(now.mono_ms + LINGER_MS);
        } else {
            self.linger_until = Some(now.mono_ms);
        }
        self.conclude(now, actions, store);
    }

    /// Ends the attempt when its process has ended and its output is read as far as it will be.
    fn conclude(&mut self, now: Now, actions: &mut VecDeque<Action>, store: &mut impl Store) {
        let over = self.closed || self.linger_until.is_some_and(|at| now.mono_ms >= at);
        if self.exit.is_none() || self.finishing || !over {
            return;
        }
        self.finishing = true;
        self.scratch.clear();
        self.masker.finish(&mut self.scratch);
        self.spool.append(&self.scratch, now.wall_ms, store);
        self.scratch = Vec::new();
        actions.push_back(Action::Finish);
    }

    pub(super) fn stop(
        &mut self,
        grace_ms: u64,
        reason: StopReason,
        now: Now,
        actions: &mut VecDeque<Action>,
    ) {
        if self.exit.is_some() {
            return;
        }
        let kill_at = now.mono_ms.saturating_add(grace_ms);
        match &mut self.stopping {
            None => {
                self.stopping = Some(Stopping {
                    reason,
                    kill_at: Some(kill_at),
                });
                if grace_ms > 0 {
                    actions.push_back(Action::Terminate);
                }
            }
            Some(stopping) => {
                if let Some(at) = &mut stopping.kill_at {
                    *at = kill_at.min(*at);
                }
            }
        }
        self.kill_if_due(now, actions);
    }

    fn kill_if_due(&mut self, now: Now, actions: &mut VecDeque<Action>) {
        if let Some(stopping) = &mut self.stopping
            && stopping.kill_at.is_some_and(|at| now.mono_ms >= at)
        {
            stopping.kill_at = None;
            actions.push_back(Action::Kill);
        }
    }

    pub(super) fn probed(&mut self, answer: Result<(), String>, now: Now) -> Option<Report> {
        if !matches!(self.ready, Ready::Asked) || self.exit.is_some() {
            return None;
        }
        let period = self.start.readiness.as_ref();
        let period = period.map_or(DEFAULT_PERIOD_MS, |r| r.period_ms);
        match answer {
            Ok(()) => {
                self.ready = Ready::Yes;
                Some(self.is_ready(now, None))
            }
            Err(why) => {
                self.last_answer = why;
                // What is up at once is not found a second later: a quarter of the time that it has taken so far is waited. Who
                // wants to be asked rarely is asked as written.
                let so_far = now
                    .mono_ms
                    .saturating_sub(self.spawned.unwrap_or(self.begun).mono_ms);
                let wait = match period {
                    ..=DEFAULT_PERIOD_MS => period.min((so_far / 4).max(FIRST_PERIOD_MS)),
                    period => period,
                };
                self.ready = Ready::Waiting(now.mono_ms.saturating_add(wait.max(10)));
                None
            }
        }
    }

    fn is_ready(&self, now: Now, warning: Option<String>) -> Report {
        Report::Ready {
            attempt: self.attempt.clone(),
            after_ms: now
                .mono_ms
                .saturating_sub(self.spawned.unwrap_or(self.begun).mono_ms),
            warning,
        }
    }

    pub(super) fn timeout(&self) -> Option<u64> {
        if self.finishing {
            return None;
        }
        if self.exit.is_some() {
            return self.linger_until;
        }
        let unready = matches!(self.ready, Ready::Asked | Ready::Waiting(_));
        [
            self.stopping.as_ref().and_then(|stopping| stopping.kill_at),
            self.timeout_at.filter(|_| self.stopping.is_none()),
            match self.ready {
                Ready::Waiting(at) => Some(at),
                _ => None,
            },
            self.ready_until.filter(|_| unready),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn due(
        &mut self,
        now: Now,
        actions: &mut VecDeque<Action>,
        store: &mut impl Store,
    ) -> Option<Report> {
        self.conclude(now, actions, store);
        if self.exit.is_some() {
            return None;
        }
        self.kill_if_due(now, actions);
        if self.stopping.is_none() && self.timeout_at.is_some_and(|at| now.mono_ms >= at) {
            self.stop(GRACE_MS, StopReason::Timeout, now, actions);
        }
        let readiness = self.start.readiness.as_ref()?;
        if matches!(self.ready, Ready::Asked | Ready::Waiting(_))
            && self.ready_until.is_some_and(|at| now.mono_ms >= at)
        {
            let why = if self.last_answer.is_empty() {
                String::new()
            } else {
                format!(": {}", self.last_answer)
            };
            let warning = self.masker.text(&format!(
                "not ready after {} ms{why}",
                readiness.deadline_ms
            ));
            if readiness.required {
                self.ready = Ready::No;
                self.warnings.push(warning);
                self.stop(GRACE_MS, StopReason::NotReady, now, actions);
                return None;
            }
            self.ready = Ready::Yes;
            return Some(self.is_ready(now, Some(warning)));
        }
        if let Ready::Waiting(at) = self.ready
            && now.mono_ms >= at
        {
            actions.push_back(ask(readiness));
            self.ready = Ready::Asked;
        }
        None
    }

    pub(super) fn record(&self, left: &Left, usage: Usage) -> Record {
        let started = self.spawned.unwrap_or(self.begun);
        let ended = self.ended.unwrap_or(started);
        let (mut outputs, mut warnings) = outputs::collect(&self.start, left);
        // What a journal or a screen would show of it is a secret, whatever type was declared.
        for output in outputs.iter_mut().filter(|output| !output.secret) {
            output.secret = self.masker.text(&output.value) != output.value;
            if output.secret {
                warnings.push(format!(
                    "output variable {} holds a secret: it counts as one of `type: Secret`, and its value is not kept with the run",
                    output.name
                ));
            }
        }
        Record {
            attempt: self.attempt.clone(),
            exit: self.exit.clone().unwrap_or(Exit::Code(-1)),
            stopped: self.stopping.as_ref().map(|stopping| stopping.reason),
            oom: usage.oom,
            started_ms: started.wall_ms,
            ended_ms: ended.wall_ms,
            elapsed_ms: ended.mono_ms.saturating_sub(started.mono_ms),
            cpu_ms: usage.cpu_ms,
            peak_memory: usage.peak_memory,
            output_bytes: self.spool.end(),
            outputs,
            warnings: self.warnings.iter().cloned().chain(warnings).collect(),
        }
    }
}

fn ask(readiness: &Readiness) -> Action {
    let probe: Probe = readiness.probe.clone();
    Action::Probe(probe, readiness.answer_ms)
}
