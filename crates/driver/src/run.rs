//! The shell around the machine: files, sockets, tasks and the clock.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use addon::link::{self, Frame};
use engine::event::{Event as Happened, Interrupt, Stamped};
use pipeline::plan::NodeId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use crate::backend::{Backend, EventKind, PodEvent, PodRef};
use crate::clock::Clock;
use crate::control::{self, Call, Reply};
use crate::core::{Action, Core, Event, Limits};
use crate::job::{Error, Job, Notice, OBSERVER_DEPTH, Observer, Outcome};
use crate::journal::{self, Journal};
use crate::queue::{self, Ticket};
use crate::reports::Reports;
use crate::store::{Logs, Written};
use crate::told::Told;
use crate::wire;
use crate::workspaces;

/// Batches of frames that may wait for the machine: a reader stays one read ahead for a few connections.
const BATCHES: usize = 8;
/// Asks of other commands that may wait: people are slower.
const ASKS: usize = 16;

/// Drives a run to its end, or to an error that leaves it for a later driver.
///
/// Its pods live on when this future is dropped: whoever wants them gone sends [`Interrupt::Abort`] and awaits the end.
pub async fn run(
    job: Job,
    observer: Observer,
    interrupts: mpsc::Receiver<Interrupt>,
) -> Result<Outcome, Error> {
    let path = job.dir.join("journal");
    let (journal, events) = if job.resume {
        Journal::open(&path)?
    } else {
        (Journal::create(&path)?, Vec::new())
    };
    let clock = Clock::new(&events);
    let mut logs = Logs::new(&job.dir.join("logs"), job.secrets.clone());
    let seed = std::hash::RandomState::new().build_hasher().finish();
    let mut core = if job.resume {
        let mut failed = None;
        let core = Core::resume(
            &events,
            job.planner.clone(),
            seed,
            clock.begun(),
            |step, attempt| {
                logs.stored(step, attempt).unwrap_or_else(|source| {
                    let path = logs.path(step, attempt);
                    failed.get_or_insert(Error::Store { path, source });
                    0
                })
            },
        )
        .map_err(|source| Error::Bug {
            run: job.run.clone(),
            source,
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        core
    } else {
        let (planner, wishes) = (job.planner.clone(), job.wishes.clone());
        Core::begin(&job.run, planner, seed, clock.begun(), wishes)
    };
    core.limit(Limits {
        ahead: job.backend.ahead(),
        ..Limits::default()
    });
    let (results, results_in) = mpsc::unbounded_channel();
    let (frames, frames_in) = mpsc::channel(BATCHES);
    let (pods, pods_in) = mpsc::unbounded_channel();
    let (calls, calls_in) = mpsc::channel(ASKS);
    // The journal is ours, so the socket is; where it cannot be made, only asking from elsewhere is not possible.
    let listener = control::listen(&job.dir, calls);
    let executor = std::fs::metadata(&job.dir).ok().map(|dir| dir.uid());
    let told = Told::new(job.resume);
    let reports = Reports::new(job.dir.join("reports"), job.secrets.clone());
    let mut shell = Shell {
        job,
        core,
        clock,
        journal,
        logs,
        reports,
        observer,
        backlog: VecDeque::new(),
        over: Vec::new(),
        tasks: JoinSet::new(),
        by_pod: BTreeMap::new(),
        connections: BTreeMap::new(),
        told,
        results,
        frames,
        pods,
        timer: None,
        replies: BTreeMap::new(),
        asks: 0,
        executor,
        places: BTreeMap::new(),
    };
    if let Err(error) = &listener {
        shell.tell(Notice::Warning(format!(
            "other commands cannot ask anything of this run: {error}"
        )));
    }
    let outcome = shell
        .drive(
            &events, interrupts, calls_in, results_in, frames_in, pods_in,
        )
        .await;
    if let Ok(listener) = listener {
        listener.end().await;
    }
    outcome
}

struct Connection {
    frames: mpsc::UnboundedSender<Vec<u8>>,
    task: AbortHandle,
}

struct Shell {
    job: Job,
    core: Core,
    clock: Clock,
    journal: Journal,
    logs: Logs,
    reports: Reports,
    observer: Observer,
    /// Notices that the owner has not got yet.
    backlog: VecDeque<Notice>,
    /// Attempts whose logs are complete, and still open.
    over: Vec<(NodeId, u32)>,
    /// All tasks end with the run.
    tasks: JoinSet<()>,
    /// What is under way for a pod by its name.
    by_pod: BTreeMap<String, Vec<AbortHandle>>,
    connections: BTreeMap<u32, Connection>,
    /// What a driver before this one told of pods.
    told: Told,
    // Unbounded: one answer for each question of the machine.
    results: mpsc::UnboundedSender<Event>,
    frames: mpsc::Sender<Vec<Event>>,
    pods: mpsc::UnboundedSender<(NodeId, PodEvent)>,
    timer: Option<u64>,
    /// Of what other commands asked, by number.
    replies: BTreeMap<u64, oneshot::Sender<Reply>>,
    asks: u64,
    /// The user who started the run.
    executor: Option<u32>,
    /// Places in queues.
    places: BTreeMap<NodeId, oneshot::Receiver<Ticket>>,
}

impl Shell {
    async fn drive(
        mut self,
        before: &[Stamped],
        mut interrupts: mpsc::Receiver<Interrupt>,
        mut calls: mpsc::Receiver<Call>,
        mut results: mpsc::UnboundedReceiver<Event>,
        mut frames: mpsc::Receiver<Vec<Event>>,
        mut pods: mpsc::UnboundedReceiver<(NodeId, PodEvent)>,
    ) -> Result<Outcome, Error> {
        for stamped in before {
            self.tell(Notice::Event(stamped.clone()));
        }
        let mut listening = true;
        let observer = self.observer.clone();
        loop {
            if let Some(outcome) = self.perform()? {
                while let Some(notice) = self.backlog.pop_front() {
                    let _ = self.observer.send(notice).await;
                }
                return Ok(outcome);
            }
            if !self.backlog.is_empty() || !self.over.is_empty() {
                // What is sent to steps goes out first: who looks at the run is woken, and takes a processor.
                tokio::task::yield_now().await;
                self.pass_on();
                for (step, attempt) in std::mem::take(&mut self.over) {
                    self.logs.close(&step, attempt);
                }
            }
            let timer = self.timer.map(|at| self.clock.until(at));
            let slow = self.backlog.len() >= OBSERVER_DEPTH;
            let event = tokio::select! {
                biased;
                interrupt = interrupts.recv(), if listening => {
                    listening = interrupt.is_some();
                    interrupt.into_iter().map(Event::Interrupt).collect()
                }
                Some(call) = calls.recv() => vec![self.asked(call)],
                event = results.recv() => event.into_iter().collect(),
                Some((group, event)) = pods.recv() => { self.pod_event(group, event)?; Vec::new() }
                // Frames that wait here are a sign of life, too.
                () = sleep(timer), if timer.is_some() && slow => vec![Event::Deaf, Event::Wake],
                () = sleep(timer), if timer.is_some() && !slow => vec![Event::Wake],
                batch = frames.recv(), if !slow => batch.unwrap_or_default(),
                permit = observer.reserve(), if !self.backlog.is_empty() => {
                    match (permit, self.backlog.pop_front()) {
                        (Ok(permit), Some(notice)) => permit.send(notice),
                        // Nobody listens any more.
                        _ => self.backlog.clear(),
                    }
                    Vec::new()
                }
            };
            if matches!(event.last(), Some(Event::Wake)) {
                self.timer = None;
            }
            // Pod events that were sent before an answer belong before what is decided on it.
            while let Ok((group, event)) = pods.try_recv() {
                self.pod_event(group, event)?;
            }
            for event in event {
                self.core.handle(event, self.clock.now());
                // Output is stored before more of it is taken: memory stays small.
                if let Some(outcome) = self.perform()? {
                    while let Some(notice) = self.backlog.pop_front() {
                        let _ = self.observer.send(notice).await;
                    }
                    return Ok(outcome);
                }
            }
        }
    }

    /// Does all that the machine wants; the outcome once the run is over.
    fn perform(&mut self) -> Result<Option<Outcome>, Error> {
        while let Some(action) = self.core.poll() {
            match action {
                Action::Commit(number, events) => {
                    self.journal.append(&events)?;
                    for stamped in events {
                        self.over.extend(ended(&stamped));
                        self.tell(Notice::Event(stamped));
                    }
                    self.core.handle(Event::Committed(number), self.clock.now());
                }
                Action::Preflight { group, spec } => {
                    let (backend, access) = self.backend();
                    let (pod, name) = (spec.name.clone(), spec.name.clone());
                    self.ask(&name, async move {
                        let answers = backend.preflight(&spec, &access).await;
                        Event::Preflighted {
                            group,
                            pod,
                            answers,
                        }
                    });
                }
                Action::Create { group, spec } => {
                    for note in &spec.notes {
                        let event = PodEvent {
                            at_ms: self.clock.now(),
                            container: None,
                            kind: EventKind::Normal,
                            reason: "Planned".to_owned(),
                            message: note.clone(),
                        };
                        self.pod_event(group.clone(), event)?;
                    }
                    let (backend, access) = self.backend();
                    let (events, told) = mpsc::unbounded_channel();
                    let (name, from) = (spec.name.clone(), (group.clone(), told));
                    self.ask_telling(&name, from, async move {
                        let result = backend.create(&spec, &access, events).await;
                        let pod = spec.name.clone();
                        Event::Created { group, pod, result }
                    });
                }
                Action::GiveUp { pod } => self.backend().0.give_up(&pod),
                Action::Container {
                    group,
                    spec,
                    container,
                } => {
                    let (backend, access) = self.backend();
                    let (events, told) = mpsc::unbounded_channel();
                    let (name, from) = (spec.name.clone(), (group.clone(), told));
                    self.ask_telling(&name, from, async move {
                        let result = backend.container(&spec, &access, &container, events).await;
                        Event::Container {
                            group,
                            pod: spec.name.clone(),
                            container,
                            result,
                        }
                    });
                }
                Action::Connect { pod, connection } => self.connect(pod, connection),
                Action::Hangup(connection) => {
                    if let Some(connection) = self.connections.remove(&connection) {
                        connection.task.abort();
                    }
                }
                Action::Watch { pod } => {
                    let (backend, _) = self.backend();
                    let name = pod.name.clone();
                    self.ask(&name, async move {
                        let failure = backend.gone(&pod).await;
                        Event::Gone {
                            group: NodeId(pod.group.clone()),
                            pod: pod.name.clone(),
                            failure,
                        }
                    });
                }
                Action::Ended { pod, container } => {
                    let (backend, _) = self.backend();
                    let name = pod.name.clone();
                    self.ask(&name, async move {
                        let failure = backend.ended(&pod, &container).await;
                        Event::Ended {
                            group: NodeId(pod.group.clone()),
                            pod: pod.name.clone(),
                            container,
                            failure,
                        }
                    });
                }
                Action::Delete { pod } => {
                    for task in self.by_pod.remove(&pod.name).unwrap_or_default() {
                        task.abort();
                    }
                    let (backend, _) = self.backend();
                    let name = pod.name.clone();
                    // Every step has ended or is lost: nothing is left that a grace would help.
                    self.ask(&name, async move {
                        let result = backend.delete(&pod, Duration::ZERO).await;
                        Event::Deleted {
                            group: NodeId(pod.group.clone()),
                            pod: pod.name.clone(),
                            result,
                        }
                    });
                }
                Action::Send {
                    connection,
                    channel,
                    frame,
                } => self.send(connection, channel, &frame),
                Action::Store {
                    step,
                    attempt,
                    at_ms,
                    bytes,
                    ..
                } => {
                    let written = self.logs.append(&step, attempt, at_ms, &bytes);
                    self.stored(step, attempt, at_ms, written)?;
                }
                Action::Gap {
                    step,
                    attempt,
                    bytes,
                    ..
                } => {
                    let written = self.logs.gap(&step, attempt, bytes);
                    let offset = self.stored(step.clone(), attempt, self.clock.now(), written)?;
                    self.tell(Notice::Gap {
                        step,
                        attempt,
                        offset,
                        bytes,
                    });
                }
                Action::Flush { step, attempt, .. } => {
                    let written = self.logs.flush(&step, attempt);
                    self.stored(step, attempt, self.clock.now(), written)?;
                }
                Action::Mask(values) => {
                    self.reports.mask(&values);
                    self.logs.mask(values).map_err(|source| Error::Store {
                        path: self.job.dir.join("logs"),
                        source,
                    })?;
                }
                Action::File {
                    step,
                    attempt,
                    path,
                    offset,
                    bytes,
                } => {
                    let kept = self.reports.piece(&step, attempt, &path, offset, &bytes);
                    kept.unwrap_or_else(|why| self.tell(Notice::Warning(why)));
                }
                Action::Filed { step, attempt } => {
                    let kept = self.reports.end(&step, attempt);
                    kept.unwrap_or_else(|why| self.tell(Notice::Warning(why)));
                }
                Action::Keep {
                    group,
                    offset,
                    bytes,
                } => {
                    let path = workspaces::path(&self.job.dir, &group);
                    if let Err(error) = workspaces::write(&path, offset, &bytes) {
                        let why = format!("cannot keep it as {}: {error}", path.display());
                        let event = Event::Unkept { group, why };
                        self.core.handle(event, self.clock.now());
                    }
                }
                Action::Fetch {
                    group,
                    container,
                    id,
                    run,
                    of,
                    offset,
                    most,
                } => {
                    let path = workspaces::path(&self.directory(&run), &of);
                    let result = workspaces::read(&path, offset, most)
                        .map_err(|error| format!("cannot read {}: {error}", path.display()));
                    let event = Event::Fetched {
                        group,
                        container,
                        id,
                        result,
                    };
                    self.core.handle(event, self.clock.now());
                }
                Action::Tell { group, message } => {
                    let event = PodEvent {
                        at_ms: self.clock.now(),
                        container: None,
                        kind: EventKind::Normal,
                        reason: "Workspace".to_owned(),
                        message,
                    };
                    self.pod_event(group, event)?;
                }
                Action::Timer(at) => self.timer = at,
                Action::Enqueue { node, key } => self.enqueue(node, key),
                Action::Leave { node } => {
                    // Of one that waits, the thread gives it back as soon as it has it.
                    self.places.remove(&node);
                }
                Action::Reply { number, reply } => {
                    if let Some(waits) = self.replies.remove(&number) {
                        // Whoever asked may have gone.
                        let _ = waits.send(reply);
                    }
                }
                Action::Warn(text) => self.tell(Notice::Warning(text)),
                Action::Finish(outcome) => {
                    if outcome.status.is_positive() {
                        workspaces::remove(&self.job.dir);
                    }
                    return Ok(Some(outcome));
                }
                Action::TakenOver { seen } => {
                    return Err(Error::TakenOver {
                        run: self.job.run.clone(),
                        seen,
                        ours: self.core.state().epoch,
                    });
                }
                Action::Bug(source) => {
                    return Err(Error::Bug {
                        run: self.job.run.clone(),
                        source,
                    });
                }
            }
        }
        Ok(None)
    }

    /// Where a run is: this one, or one beside it of which this is a retry.
    fn directory(&self, run: &str) -> PathBuf {
        match self.job.dir.parent() {
            Some(runs) if run != self.job.run => runs.join(run),
            _ => self.job.dir.clone(),
        }
    }

    fn enqueue(&mut self, node: NodeId, key: String) {
        let (results, run) = (self.results.clone(), self.job.run.clone());
        let Some(queues) = self.job.queues.clone() else {
            let result = Err("there are no queues here".to_owned());
            let _ = results.send(Event::Admitted { node, result });
            return;
        };
        let (give, place) = oneshot::channel();
        self.places.insert(node.clone(), place);
        tokio::task::spawn_blocking(move || {
            let result = match queue::enter(&queues, &key, &run, &node) {
                Ok(ticket) => match give.send(ticket) {
                    Ok(()) => Ok(()),
                    // Nobody waits for it any more: it is given back here.
                    Err(_) => return,
                },
                Err(error) => Err(error.to_string()),
            };
            let _ = results.send(Event::Admitted { node, result });
        });
    }

    fn asked(&mut self, call: Call) -> Event {
        self.asks += 1;
        self.replies.insert(self.asks, call.reply);
        Event::Asked {
            number: self.asks,
            by: control::user(call.uid),
            executor: self.executor == Some(call.uid),
            ask: call.ask,
        }
    }

    fn backend(&self) -> (Arc<dyn Backend>, crate::backend::Access) {
        (self.job.backend.clone(), self.job.access.clone())
    }

    /// Asks the backend in a task of its own; the answer comes as an event, or not at all once the pod is being removed.
    fn ask(&mut self, pod: &str, question: impl Future<Output = Event> + Send + 'static) {
        let results = self.results.clone();
        self.spawn(pod, async move {
            // The machine may have ended meanwhile.
            let _ = results.send(question.await);
        });
    }

    /// Asks the same way. What the backend tells of the group's pod before its answer is here before it, too.
    fn ask_telling(
        &mut self,
        pod: &str,
        (group, mut told): (NodeId, mpsc::UnboundedReceiver<PodEvent>),
        question: impl Future<Output = Event> + Send + 'static,
    ) {
        let (results, pods) = (self.results.clone(), self.pods.clone());
        self.spawn(pod, async move {
            let tell = |event| {
                let _ = pods.send((group.clone(), event));
            };
            let mut question = std::pin::pin!(question);
            let answer = loop {
                tokio::select! {
                    biased;
                    Some(event) = told.recv() => tell(event),
                    answer = &mut question => break answer,
                }
            };
            while let Ok(event) = told.try_recv() {
                tell(event);
            }
            let _ = results.send(answer);
            // A backend may have kept the sender for what comes later.
            while let Some(event) = told.recv().await {
                tell(event);
            }
        });
    }

    fn spawn(&mut self, pod: &str, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(task);
        let tasks = self.by_pod.entry(pod.to_owned()).or_default();
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
        while self.tasks.try_join_next().is_some() {}
    }

    fn connect(&mut self, pod: PodRef, connection: u32) {
        let (backend, _) = self.backend();
        let (results, batches) = (self.results.clone(), self.frames.clone());
        let (frames, queue) = mpsc::unbounded_channel();
        let task = self.tasks.spawn(async move {
            let carrier = match backend.connect(&pod).await {
                Ok(carrier) => carrier,
                Err(failure) => {
                    let result = Err(failure);
                    let _ = results.send(Event::Connected { connection, result });
                    return;
                }
            };
            let result = Ok(());
            let _ = results.send(Event::Connected { connection, result });
            let (from, to) = tokio::io::split(carrier);
            tokio::select! {
                () = wire::read(from, connection, &batches) => {}
                () = wire::write(to, queue) => {}
            }
            // Behind the frames that came before.
            let _ = batches.send(vec![Event::Disconnected { connection }]).await;
        });
        self.connections
            .insert(connection, Connection { frames, task });
    }

    fn send(&mut self, connection: u32, channel: u32, frame: &Frame) {
        let mut bytes = Vec::new();
        if let Err(error) = link::encode(channel, frame, &mut bytes) {
            self.tell(Notice::Warning(format!(
                "a message to a step's container cannot be sent: {error}"
            )));
            return;
        }
        if let Some(connection) = self.connections.get(&connection) {
            // A connection that has ended says so by itself.
            let _ = connection.frames.send(bytes);
        }
    }

    /// Tells the machine and the owner what is in the store; the offset where it was written.
    fn stored(
        &mut self,
        step: NodeId,
        attempt: u32,
        at_ms: u64,
        written: std::io::Result<Written>,
    ) -> Result<u64, Error> {
        let written = written.map_err(|source| Error::Store {
            path: self.logs.path(&step, attempt),
            source,
        })?;
        let end = written.offset + written.bytes.len() as u64;
        if !written.bytes.is_empty() {
            self.tell(Notice::Output {
                step: step.clone(),
                attempt,
                offset: written.offset,
                at_ms,
                bytes: written.bytes,
            });
        }
        let event = Event::Stored {
            step,
            attempt,
            offset: written.source,
        };
        self.core.handle(event, self.clock.now());
        Ok(end)
    }

    /// A line of the group's Initialize log.
    fn pod_event(&mut self, group: NodeId, event: PodEvent) -> Result<(), Error> {
        if let Some(node) = engine::initialize(self.core.state(), &group) {
            let mark = match event.kind {
                EventKind::Normal => "",
                EventKind::Warning => "warning: ",
            };
            let line = format!("{mark}{}\n", event.message);
            // A cluster tells a driver that takes the pod over all of its events again.
            let dir = self.job.dir.join("logs");
            if self.told.again(&dir, &node, event.at_ms, &line) {
                return Ok(());
            }
            let written = self.logs.append(&node, 0, event.at_ms, line.as_bytes());
            let written = written.and_then(|_| self.logs.flush(&node, 0));
            written.map_err(|source| Error::Store {
                path: self.logs.path(&node, 0),
                source,
            })?;
        }
        self.tell(Notice::Pod { group, event });
        Ok(())
    }

    fn tell(&mut self, notice: Notice) {
        self.backlog.push_back(notice);
    }

    /// Gives the owner what there is room for: all that was told at once wakes it once.
    fn pass_on(&mut self) {
        while let Some(notice) = self.backlog.pop_front() {
            match self.observer.try_send(notice) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(notice)) => {
                    self.backlog.push_front(notice);
                    return;
                }
                // Nobody listens any more.
                Err(mpsc::error::TrySendError::Closed(_)) => self.backlog.clear(),
            }
        }
    }
}

/// The attempt that is over with this.
fn ended(stamped: &Stamped) -> Option<(NodeId, u32)> {
    match &stamped.event {
        Happened::AttemptFinished { step, record } => Some((step.clone(), record.attempt.number)),
        Happened::AttemptLost { step, attempt, .. } => Some((step.clone(), *attempt)),
        _ => None,
    }
}

async fn sleep(until: Option<tokio::time::Instant>) {
    if let Some(until) = until {
        tokio::time::sleep_until(until).await;
    }
}

/// Where the journal of the run in this directory is.
pub fn journal_path(dir: &std::path::Path) -> PathBuf {
    dir.join("journal")
}

/// The events of the run in this directory, also while it is driven.
pub fn history(dir: &std::path::Path) -> Result<Vec<Stamped>, journal::Error> {
    journal::read(&journal_path(dir))
}
