//! The driver's machine: the engine, the pods and the conversations with their addons, without clock, files or sockets.
//!
//! ```text
//!            Event (what happened)                    Action (what the shell is to do)
//!   shell ──────────────────────────► Core::handle ──────────────────────────────────► shell
//!                                       │  advance(engine) ──► Commit ─► Committed
//!                                       └─ reconcile: wanted(state) against what is under way
//! ```
//!
//! Effects leave only when every event that was decided is committed ([`Event::Committed`]). Everything else here is
//! memory: a core made again from the journal ([`Core::resume`]) asks the same questions of the backend and the addons,
//! and they answer what is there.

mod asked;
mod channels;
mod group;
mod link;
mod output;
mod records;
mod session;
mod waits;
mod workspace;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use addon::frame::{Record, StopReason};
use addon::link::Frame;
use engine::event::{ErrorKind, Failure, Interrupt, Stamped, Status};
use engine::facts::Facts;
use engine::{Effect, Illegal, Input, State, Wishes};
use pipeline::plan::NodeId;
use pipeline::pod;

use crate::backend::{self, Created, Deleted, ImageFacts, PodRef};
use crate::clock::Begun;
use crate::control::{Ask, Reply};
use crate::job::Outcome;
use crate::planner::Planner;

use group::Group;

pub use workspace::MOST as WORKSPACE_MOST;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The events of this commit and of all before it are in the journal.
    Committed(u64),
    /// The answer to [`Action::Preflight`].
    Preflighted {
        /// The group.
        group: NodeId,
        /// The pod.
        pod: String,
        /// By container.
        answers: BTreeMap<String, Result<ImageFacts, backend::Failure>>,
    },
    /// The answer to [`Action::Create`].
    Created {
        /// The group.
        group: NodeId,
        /// The pod.
        pod: String,
        /// Whether it is there.
        result: Result<Created, backend::Failure>,
    },
    /// The answer to [`Action::Container`].
    Container {
        /// The group.
        group: NodeId,
        /// The pod.
        pod: String,
        /// The container.
        container: String,
        /// Whether its addon can be reached.
        result: Result<(), backend::Failure>,
    },
    /// The answer to [`Action::Connect`].
    Connected {
        /// Chosen by the core.
        connection: u32,
        /// Whether it stands.
        result: Result<(), backend::Failure>,
    },
    /// A connection is gone.
    Disconnected {
        /// Which.
        connection: u32,
    },
    /// A frame came.
    Frame {
        /// On this connection.
        connection: u32,
        /// Of this channel.
        channel: u32,
        /// The frame.
        frame: Frame,
    },
    /// The answer to [`Action::Watch`]: the pod is no more.
    Gone {
        /// The group.
        group: NodeId,
        /// The pod.
        pod: String,
        /// What is known.
        failure: backend::Failure,
    },
    /// The answer to [`Action::Ended`].
    Ended {
        /// The group.
        group: NodeId,
        /// The pod.
        pod: String,
        /// The container.
        container: String,
        /// How it ended, if it did.
        failure: Option<backend::Failure>,
    },
    /// Frames were not taken for a while because the owner had no room: that a connection was silent means nothing.
    Deaf,
    /// The answer to [`Action::Delete`].
    Deleted {
        /// The group.
        group: NodeId,
        /// The pod.
        pod: String,
        /// Whether it is gone.
        result: Result<Deleted, backend::Failure>,
    },
    /// Output below `offset` is in the log store.
    Stored {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// In the addon's count.
        offset: u64,
    },
    /// [`Action::Keep`] could not be done.
    Unkept {
        /// The group.
        group: NodeId,
        /// Why.
        why: String,
    },
    /// The answer to [`Action::Fetch`].
    Fetched {
        /// The group that takes the workspace over.
        group: NodeId,
        /// In this container.
        container: String,
        /// As in the question.
        id: u32,
        /// The bytes, none at the end of the archive; or why there are none.
        result: Result<Vec<u8>, String>,
    },
    /// The time of [`Action::Timer`] is there.
    Wake,
    /// Somebody wants the run to end.
    Interrupt(Interrupt),
    /// The answer to [`Action::Enqueue`].
    Admitted {
        /// The step.
        node: NodeId,
        /// Its turn has come, or why it never will.
        result: Result<(), String>,
    },
    /// Another command asks for something; [`Action::Reply`] with the same number follows.
    Asked {
        /// Chosen by the shell.
        number: u64,
        /// The user who asks, as the system knows them.
        by: String,
        /// They started the run.
        executor: bool,
        /// What.
        ask: Ask,
    },
}

/// What the shell is to do, in this order.
#[derive(Debug)]
pub enum Action {
    /// Append to the journal; then [`Event::Committed`] with this number.
    Commit(u64, Vec<Stamped>),
    /// [`backend::Backend::preflight`].
    Preflight {
        /// The group.
        group: NodeId,
        /// The pod.
        spec: Arc<pod::Spec>,
    },
    /// [`backend::Backend::create`].
    Create {
        /// The group.
        group: NodeId,
        /// The pod.
        spec: Arc<pod::Spec>,
    },
    /// [`backend::Backend::give_up`].
    GiveUp {
        /// The pod.
        pod: PodRef,
    },
    /// [`backend::Backend::container`].
    Container {
        /// The group.
        group: NodeId,
        /// The pod.
        spec: Arc<pod::Spec>,
        /// Its name.
        container: String,
    },
    /// [`backend::Backend::connect`].
    Connect {
        /// The pod.
        pod: PodRef,
        /// The connection's number from now on.
        connection: u32,
    },
    /// End a connection.
    Hangup(u32),
    /// [`backend::Backend::gone`].
    Watch {
        /// The pod.
        pod: PodRef,
    },
    /// [`backend::Backend::ended`].
    Ended {
        /// The pod.
        pod: PodRef,
        /// Its container.
        container: String,
    },
    /// [`backend::Backend::delete`]; all that is under way for this pod is dropped first.
    Delete {
        /// The pod.
        pod: PodRef,
    },
    /// Send a frame.
    Send {
        /// On this connection.
        connection: u32,
        /// Of this channel.
        channel: u32,
        /// The frame.
        frame: Frame,
    },
    /// Write output to the log store; then [`Event::Stored`].
    Store {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// Of the first byte, in the addon's count.
        offset: u64,
        /// When it was read.
        at_ms: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Mark lost output in the log store; then [`Event::Stored`] with its end.
    Gap {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// Of the first byte that is missing, in the addon's count.
        offset: u64,
        /// How many are.
        bytes: u64,
    },
    /// The log is complete up to here: give out what masking holds back; then [`Event::Stored`].
    Flush {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// The end, in the addon's count.
        offset: u64,
    },
    /// Values to mask from now on.
    Mask(Vec<String>),
    /// A piece of a collected file.
    File {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// As the addon calls it: not to be trusted.
        path: String,
        /// Offset in the file.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// No more pieces of an attempt's files come.
    Filed {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
    },
    /// A piece of the archive of a group's workspace; offset 0 begins it anew.
    Keep {
        /// The group.
        group: NodeId,
        /// Offset in the archive.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Read a piece of an archive; then [`Event::Fetched`].
    Fetch {
        /// The group that takes the workspace over.
        group: NodeId,
        /// In this container.
        container: String,
        /// For the answer.
        id: u32,
        /// The run that kept it.
        run: String,
        /// The group that it is of.
        of: NodeId,
        /// From here.
        offset: u64,
        /// So many bytes at most.
        most: u64,
    },
    /// A line of a group's Initialize log.
    Tell {
        /// The group.
        group: NodeId,
        /// It.
        message: String,
    },
    /// Send [`Event::Wake`] at this time, and at none set before.
    Timer(Option<u64>),
    /// For the owner to read.
    Warn(String),
    /// Wait for a place in a queue; then [`Event::Admitted`], and the place is kept.
    Enqueue {
        /// The step.
        node: NodeId,
        /// The queue.
        key: String,
    },
    /// Give a place in a queue back, or wait for it no longer.
    Leave {
        /// The step.
        node: NodeId,
    },
    /// What became of an [`Event::Asked`]: its events are committed before.
    Reply {
        /// Of the ask.
        number: u64,
        /// What.
        reply: Reply,
    },
    /// The run is over.
    Finish(Outcome),
    /// An addon obeys a driver with a higher epoch: this one must not do anything more.
    TakenOver {
        /// That epoch.
        seen: u64,
    },
    /// The engine refused an event: a bug.
    Bug(Illegal),
}

/// Bugs for `sim` to find: the world proves that it can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Planted {
    /// A record that comes again is applied again.
    pub result_twice: bool,
    /// An addon hears that its record is settled before the journal has it.
    pub settled_before_commit: bool,
    /// A hello claims one byte more than was received.
    pub lost_line: bool,
    /// A reattached driver uses the epoch of the one before it.
    pub old_epoch: bool,
    /// What ended is started once more, as if it were to be retried, without any event that says so.
    pub start_twice: bool,
}

/// What a driver takes at once of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Containers that are asked for behind one that a step needs, in the order of the plan: a step that comes next finds its own
    /// waiting. `usize::MAX` for a backend that makes them all with the pod ([`backend::Backend::ahead`]).
    pub ahead: usize,
    /// Channels on one connection; lite-engine refuses more than [`addon::router::CHANNELS`]. Beyond half of it those to containers
    /// that no step needs are closed.
    pub channels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ahead: usize::MAX,
            channels: addon::router::CHANNELS,
        }
    }
}

/// How much of an attempt's output is where, in the addon's count.
#[derive(Debug, Clone, Copy, Default)]
struct Log {
    received: u64,
    stored: u64,
    acked: u64,
}

/// The machine.
pub struct Core {
    state: State,
    facts: Facts,
    planner: Arc<dyn Planner>,
    groups: BTreeMap<NodeId, Group>,
    logs: BTreeMap<(NodeId, u32), Log>,
    /// Numbers of commits: asked for, and done.
    asked: u64,
    done: u64,
    connections: u32,
    collections: u32,
    /// Steps that have, or wait for, a place in a queue.
    queued: BTreeSet<NodeId>,
    seed: u64,
    timer: Option<u64>,
    out: VecDeque<Action>,
    over: bool,
    limits: Limits,
    planted: Planted,
}

impl Core {
    /// A new run. `seed` chooses the names of its pods.
    pub fn create(run: &str, planner: Arc<dyn Planner>, seed: u64, begun: &Begun) -> Self {
        Self::begin(run, planner, seed, begun, Wishes::default())
    }

    /// A new run of which more is wanted than what is written.
    pub fn begin(
        run: &str,
        planner: Arc<dyn Planner>,
        seed: u64,
        begun: &Begun,
        wishes: Wishes,
    ) -> Self {
        let root = Box::new(planner.root());
        let mut core = Self::empty(planner, seed);
        let input = Input::Create {
            run: run.to_owned(),
            root,
            awake: begun.awake.clone(),
            wishes,
        };
        core.decide(input, begun.run_ms);
        core
    }

    /// A run that a driver before this one began. `stored` says how much of an attempt's output the log store has.
    pub fn resume(
        events: &[Stamped],
        planner: Arc<dyn Planner>,
        seed: u64,
        begun: &Begun,
        mut stored: impl FnMut(&NodeId, u32) -> u64,
    ) -> Result<Self, Illegal> {
        let mut core = Self::empty(planner, seed);
        for stamped in events {
            engine::evolve(&mut core.state, stamped)?;
            core.facts.apply(stamped);
        }
        for id in &core.state.active {
            let place = core.state.place(id)?;
            if place.phase.may_run() {
                let offset = stored(id, place.attempt());
                let log = Log {
                    received: offset,
                    stored: offset,
                    acked: offset,
                };
                core.logs.insert((id.clone(), place.attempt()), log);
            }
        }
        if let Some(status) = core.state.finished {
            core.finish(status);
        } else {
            let awake = begun.awake.clone();
            core.decide(Input::Adopt { awake }, begun.run_ms);
        }
        Ok(core)
    }

    fn empty(planner: Arc<dyn Planner>, seed: u64) -> Self {
        Self {
            state: State::default(),
            facts: Facts::default(),
            planner,
            groups: BTreeMap::new(),
            logs: BTreeMap::new(),
            asked: 0,
            done: 0,
            connections: 0,
            collections: 0,
            queued: BTreeSet::new(),
            seed,
            timer: None,
            out: VecDeque::new(),
            over: false,
            limits: Limits::default(),
            planted: Planted::default(),
        }
    }

    /// Plants bugs, for a world that is to find them.
    pub fn plant(&mut self, planted: Planted) {
        self.planted = planted;
    }

    /// Sets what is taken at once of a pod.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The run as folded, uncommitted events included.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The number of the last commit that was asked for.
    pub fn commits(&self) -> u64 {
        self.asked
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Action> {
        self.out.pop_front()
    }

    /// Takes in what happened.
    pub fn handle(&mut self, event: Event, now_ms: u64) {
        if self.over {
            return;
        }
        let asked = self.asked;
        let mut quiet = false;
        match event {
            Event::Committed(number) => self.done = self.done.max(number),
            Event::Preflighted {
                group,
                pod,
                answers,
            } => self.preflighted(&group, &pod, answers, now_ms),
            Event::Created { group, pod, result } => self.created(&group, &pod, result, now_ms),
            Event::Container {
                group,
                pod,
                container,
                result,
            } => self.container_up(&group, &pod, &container, result, now_ms),
            Event::Connected { connection, result } => self.connected(connection, result, now_ms),
            Event::Disconnected { connection } => self.disconnected(connection, now_ms),
            Event::Frame {
                connection,
                channel,
                frame,
            } => quiet = self.frame(connection, channel, frame, now_ms),
            Event::Gone {
                group,
                pod,
                failure,
            } => self.gone(group, pod, failure, now_ms),
            Event::Ended {
                group,
                pod,
                container,
                failure,
            } => self.ended(&group, &pod, &container, failure.as_ref(), now_ms),
            Event::Deaf => self.deaf(now_ms),
            Event::Deleted { group, pod, result } => self.deleted(group, pod, result, now_ms),
            Event::Stored {
                step,
                attempt,
                offset,
            } => quiet = self.stored(&step, attempt, offset, now_ms),
            Event::Unkept { group, why } => self.unkept(&group, &why, now_ms),
            Event::Fetched {
                group,
                container,
                id,
                result,
            } => self.fetched(&group, &container, id, result, now_ms),
            Event::Wake => {
                // That timer is spent: the next one is news even for the same time.
                self.timer = None;
                self.decide(Input::Now, now_ms);
            }
            Event::Interrupt(interrupt) => self.decide(Input::Interrupt(interrupt), now_ms),
            Event::Admitted { node, result } => self.admitted(node, result, now_ms),
            Event::Asked {
                number,
                by,
                executor,
                ask,
            } => self.hear(number, by, executor, ask, now_ms),
        }
        // Output on its way changes nothing of what is wanted: a look at that for each line would be in the way of what comes behind it.
        if !quiet || self.asked != asked {
            self.reconcile(now_ms);
        }
    }

    /// Lets the engine decide, and asks for the commit of what it did.
    fn decide(&mut self, input: Input, now_ms: u64) {
        if self.over {
            return;
        }
        match engine::advance(&mut self.state, input, now_ms) {
            Ok(events) if events.is_empty() => {}
            Ok(events) => {
                for stamped in &events {
                    self.facts.apply(stamped);
                }
                self.asked += 1;
                self.out.push_back(Action::Commit(self.asked, events));
            }
            Err(illegal) => {
                self.over = true;
                self.out.push_back(Action::Bug(illegal));
            }
        }
    }

    fn committed(&self) -> bool {
        self.asked == self.done
    }

    fn finish(&mut self, status: Status) {
        self.over = true;
        let root = self.state.root.as_ref();
        let failure = root
            .and_then(|root| self.state.nodes.get(root))
            .and_then(|place| place.failure.clone());
        self.out.push_back(Action::Timer(None));
        self.out
            .push_back(Action::Finish(Outcome { status, failure }));
    }

    /// Compares what the state wants with what is under way, and does the difference.
    fn reconcile(&mut self, now_ms: u64) {
        if self.over || !self.committed() {
            return;
        }
        if let Some(status) = self.state.finished {
            return self.finish(status);
        }
        // First: a container whose record is settled is free for the next step, which may be wanted by now.
        self.settle_committed();
        let mut timer: Option<u64> = None;
        let mut queues = BTreeMap::new();
        for effect in engine::wanted(&self.state) {
            match effect {
                Effect::Expand { node } => {
                    let children = self.planner.expand(&node, &self.facts);
                    self.decide(Input::Expanded { node, children }, now_ms);
                }
                Effect::Judge { node, condition } => {
                    let answer = self.planner.judge(&node, &condition, &self.facts);
                    self.decide(Input::Judged { node, answer }, now_ms);
                }
                Effect::NamePod { group, .. } => self.name_pod(group, now_ms),
                Effect::MakePod { group, pod } => self.make_pod(&group, &pod, now_ms),
                Effect::KeepPod { group, pod } => self.keep_pod(&group, &pod, now_ms),
                Effect::KeepWorkspace { group, pod } => self.keep_workspace(&group, &pod, now_ms),
                Effect::DeletePod { group, pod } => self.delete_pod(&group, &pod, now_ms),
                Effect::Prepare { step, attempt } => self.prepare(&step, attempt, now_ms),
                Effect::Start { step, attempt } => self.start(&step, attempt, now_ms),
                Effect::Follow { step, attempt } => self.follow(&step, attempt, now_ms),
                Effect::Stop {
                    step,
                    attempt,
                    reason,
                    grace_ms,
                } => self.stop(&step, attempt, reason, grace_ms),
                Effect::Lose {
                    step,
                    attempt,
                    reason,
                } => self.lose(&step, attempt, reason, now_ms),
                Effect::AskWait { node } => self.ask_wait(node, now_ms),
                Effect::Queue { node, key } => {
                    queues.insert(node, key);
                }
                Effect::Wake { at_ms } => timer = Some(at_ms),
            }
            // What was decided just now is not committed: the rest of the effects is of a state that is gone.
            if !self.committed() || self.over {
                return;
            }
        }
        self.queue(queues);
        self.tend(now_ms);
        if !self.committed() || self.over {
            return;
        }
        let timer = timer.into_iter().chain(self.retries()).min();
        if timer != self.timer {
            self.timer = timer;
            self.out.push_back(Action::Timer(timer));
        }
    }

    /// The record of an attempt is complete: its output is stored and its files are here.
    fn apply(&mut self, step: &NodeId, record: Box<Record>, now_ms: u64) {
        let secrets: Vec<_> = record
            .outputs
            .iter()
            .filter(|output| output.secret)
            .cloned()
            .collect();
        if !secrets.is_empty() {
            let values = secrets.iter().map(|output| output.value.clone()).collect();
            self.out.push_back(Action::Mask(values));
        }
        let input = Input::Finished {
            step: step.clone(),
            record,
        };
        self.decide(input, now_ms);
        self.facts.reveal(step, &secrets);
    }

    /// The group and the container of a step.
    fn whereabouts(&self, step: &NodeId) -> Option<(NodeId, String)> {
        let place = self.state.nodes.get(step)?;
        Some((place.group.clone()?, self.state.container(step)?))
    }

    fn next_connection(&mut self) -> u32 {
        self.connections += 1;
        self.connections
    }

    /// Eight characters of the alphabet of pod names.
    fn suffix(&mut self) -> String {
        const LETTERS: &[u8; 30] = b"123456789bcdfghjklmnpqrstvwxyz";
        (0..8)
            .map(|_| {
                // splitmix64: names have to differ, nobody has to be unable to guess them.
                self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut z = self.seed;
                z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                char::from(LETTERS[((z ^ (z >> 31)) % 30) as usize])
            })
            .collect()
    }
}

/// What a backend could not do, in the errors of the format.
pub fn classify(failure: &backend::Failure) -> Failure {
    use backend::FailureKind as K;
    let error = match failure.kind {
        K::Image => ErrorKind::PluginImageFailure,
        K::Authentication => ErrorKind::Authentication,
        K::Authorization => ErrorKind::Authorization,
        K::Connectivity => ErrorKind::Connectivity,
        K::Resources => ErrorKind::ResourceLimitsFailure,
        K::Configuration => ErrorKind::ConfigurationFailure,
        K::Timeout => ErrorKind::Timeout,
        K::Gone | K::Infrastructure => ErrorKind::InfrastructureFailure,
    };
    Failure {
        error,
        message: failure.message.clone(),
        help: failure.help.clone(),
    }
}

/// A stop is worth sending again when it hurries.
fn hurries(sent: Option<(StopReason, u64)>, grace_ms: u64) -> bool {
    sent.is_none_or(|(_, sent)| grace_ms < sent)
}
