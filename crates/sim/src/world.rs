//! The world: a queue of what is to happen, a clock that jumps from one to the next, and everything that ships.

mod pods;

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use addon::link::Frame;
use driver::backend::{Deleted, Failure, FailureKind, ImageFacts, PodRef};
use driver::clock::Begun;
use driver::core::{Action, Core, Event, Limits, Planted};
use driver::fake;
use driver::planner::Planner;
use engine::event::{Awake, Interrupt, Intervention, Stamped, Status};
use engine::phase::Phase;
use engine::{State, Wishes};
use pipeline::plan::NodeId;
use pipeline::pod::Spec;

use crate::disk::{Disk, Log, Stored};
use crate::faults::Faults;
use crate::random::Random;

/// More than any run here needs; one that reaches it does not end.
const MOST_EVENTS: u64 = 100_000;
/// Milliseconds of the first driver's wall clock at the start.
const EPOCH_MS: u64 = 1_800_000_000_000;

/// How a world ended.
#[derive(Debug)]
pub struct Ended {
    /// The run's status, where it ended.
    pub status: Option<Status>,
    /// What the disk holds.
    pub disk: Disk,
    /// Every pod that ever was, with what ran in it.
    pub pods: BTreeMap<String, Fate>,
    /// Promises that were broken while it ran.
    pub broken: Vec<String>,
    /// Somebody aborted it.
    pub aborted: bool,
    /// Events that happened.
    pub events: u64,
}

/// A pod and how it ended.
pub struct Fate {
    /// What ran in it.
    pub pod: fake::Pod,
    /// The world took it.
    pub lost: bool,
    /// It is still there.
    pub there: bool,
    skew: u64,
    born: u64,
}

impl std::fmt::Debug for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fate")
            .field("lost", &self.lost)
            .field("there", &self.there)
            .finish_non_exhaustive()
    }
}

enum What {
    Tell(u64, Event),
    Make(u64, NodeId, Arc<Spec>),
    Container(u64, NodeId, Arc<Spec>, String),
    Connect(u64, String, u32),
    Ended(u64, PodRef, String),
    Delete(u64, NodeId, String),
    ToPod(u64, u32, Frame),
    FromPod(u64, u32, Frame),
    Cut(u64),
    Tick(String),
    Wake(u64, u64),
    Resume,
    /// The pause is over, for whoever drives the run by then.
    Resumed,
}

struct Item {
    at: u64,
    number: u64,
    what: What,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Item {}
impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Item {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The heap gives the greatest first.
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

struct Link {
    life: u64,
    connection: u32,
    pod: String,
    channels: BTreeMap<u32, String>,
    /// In order in both directions.
    to_pod: u64,
    from_pod: u64,
    /// It looks well from both sides, and carries nothing.
    mute: bool,
}

struct Ghost {
    core: Core,
    life: u64,
    skew: u64,
    timer: Option<u64>,
}

/// The world.
pub struct World {
    random: Random,
    faults: Faults,
    planted: Planted,
    planner: Arc<dyn Planner>,
    wishes: Wishes,
    now: u64,
    number: u64,
    queue: BinaryHeap<Item>,
    disk: Disk,
    core: Option<Core>,
    /// Counts drivers; what was sent to an earlier one is lost.
    life: u64,
    /// Of this driver's clock.
    skew: u64,
    timer: Option<u64>,
    /// A driver that lost the run and does not know: it cannot write the journal any more, but it can speak.
    ghost: Option<Ghost>,
    /// It is the ghost that acts now.
    haunted: bool,
    /// The disk answers in order.
    stored_at: u64,
    pods: BTreeMap<String, Fate>,
    links: BTreeMap<u64, Link>,
    /// The next time that each pod is looked at for what is due by itself.
    ticks: BTreeMap<String, u64>,
    watchers: Vec<(u64, NodeId, String)>,
    /// The latest life that each container welcomed.
    welcomed: BTreeMap<(String, String), u64>,
    /// Pods that a life is removing: what was under way for them is dropped.
    dropped: BTreeSet<(u64, String)>,
    /// The journal as folded, record by record.
    folded: State,
    crashes: u32,
    lost: u32,
    killed: u32,
    muted: u32,
    aborted: bool,
    status: Option<Status>,
    broken: Vec<String>,
}

/// What a driver takes at once of a pod: as little as lets its steps run, or as much as the shipped ones take.
fn limits(seed: u64) -> Limits {
    Limits {
        ahead: [0, 1, 3, usize::MAX][(seed % 4) as usize],
        channels: [6, Limits::default().channels][(seed / 4 % 2) as usize],
    }
}

impl World {
    /// A world from a seed.
    pub fn new(seed: u64, planner: Arc<dyn Planner>, faults: Faults, planted: Planted) -> Self {
        Self {
            random: Random::new(seed),
            faults,
            planted,
            planner,
            wishes: Wishes::default(),
            now: 0,
            number: 0,
            queue: BinaryHeap::new(),
            disk: Disk::default(),
            core: None,
            life: 0,
            skew: 0,
            timer: None,
            ghost: None,
            haunted: false,
            stored_at: 0,
            pods: BTreeMap::new(),
            links: BTreeMap::new(),
            ticks: BTreeMap::new(),
            watchers: Vec::new(),
            welcomed: BTreeMap::new(),
            dropped: BTreeSet::new(),
            folded: State::default(),
            crashes: 0,
            lost: 0,
            killed: 0,
            muted: 0,
            aborted: false,
            status: None,
            broken: Vec::new(),
        }
    }

    /// More is wanted of its run than what is written.
    #[must_use]
    pub fn wishing(mut self, wishes: Wishes) -> Self {
        self.wishes = wishes;
        self
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Ended {
        self.begin();
        let mut events = 0;
        while self.status.is_none() && self.broken.is_empty() && events < MOST_EVENTS {
            let Some(item) = self.queue.pop() else {
                break;
            };
            events += 1;
            self.now = self.now.max(item.at);
            self.happen(item.what);
            if self.faults.abort_at.is_some_and(|at| events >= at) && !self.aborted {
                self.aborted = self.core.is_some();
                self.tell(Event::Interrupt(Interrupt::Abort));
            }
            if self.random.chance(self.faults.ask) {
                self.meddle();
            }
        }
        if self.status.is_none() && self.broken.is_empty() {
            self.broken
                .push(format!("the run did not end after {events} events"));
        }
        Ended {
            status: self.status,
            disk: self.disk,
            pods: self.pods,
            broken: self.broken,
            aborted: self.aborted,
            events,
        }
    }

    /// Somebody asks something of the run; a pause does not last.
    fn meddle(&mut self) {
        const ACTIONS: [Intervention; 9] = [
            Intervention::Abort,
            Intervention::MarkAsFailure,
            Intervention::MarkAsSuccess,
            Intervention::Ignore,
            Intervention::Retry,
            Intervention::RetryStepGroup,
            Intervention::StageRollback,
            Intervention::StepGroupRollback,
            Intervention::PipelineRollback,
        ];
        let Some(core) = &self.core else {
            return;
        };
        if self.random.chance(300) {
            let at = self.now + self.random.below(500);
            self.at(at, What::Resumed);
            return self.tell(Event::Interrupt(Interrupt::Pause));
        }
        // Whoever waits for a decision is asked about most.
        let asking = |id: &&NodeId| core.state().nodes[*id].phase == Phase::Asking;
        let active = &core.state().active;
        let waits: Vec<&NodeId> = active.iter().filter(asking).collect();
        let all: Vec<&NodeId> = if waits.is_empty() {
            active.iter().collect()
        } else {
            waits
        };
        if all.is_empty() {
            return;
        }
        let node = all[self.random.below(all.len() as u64) as usize].clone();
        let action = ACTIONS[self.random.below(ACTIONS.len() as u64) as usize];
        self.tell(Event::Interrupt(Interrupt::Node { node, action }));
    }

    fn begin(&mut self) {
        self.life += 1;
        self.skew = self.random.below(self.faults.skew + 1);
        self.timer = None;
        let seed = self.random.bits();
        // Some drivers find the machine of the one before them, others come after a reboot of it.
        let awake = Awake {
            boot: if self.skew.is_multiple_of(3) {
                "first"
            } else {
                "other"
            }
            .to_owned(),
            ms: self.now,
        };
        let begun = Begun::new(&self.disk.journal, self.wall(), Some(awake));
        self.skew = begun.run_ms - EPOCH_MS - self.now;
        let core = if self.disk.journal.is_empty() {
            let (planner, wishes) = (self.planner.clone(), self.wishes.clone());
            Ok(Core::begin("run", planner, seed, &begun, wishes))
        } else {
            let logs = &self.disk.logs;
            Core::resume(
                &self.disk.journal,
                self.planner.clone(),
                seed,
                &begun,
                |step, attempt| logs.get(&(step.clone(), attempt)).map_or(0, |log| log.end),
            )
        };
        match core {
            Ok(mut core) => {
                core.plant(self.planted);
                core.limit(limits(seed));
                self.core = Some(core);
                self.perform();
            }
            Err(illegal) => self
                .broken
                .push(format!("the journal cannot be folded: {illegal}")),
        }
    }

    fn wall(&self) -> u64 {
        EPOCH_MS + self.skew + self.now
    }

    fn delay(&mut self) -> u64 {
        if self.random.chance(self.faults.slow) {
            self.random.below(4_000)
        } else {
            self.random.below(12)
        }
    }

    fn later(&mut self, what: What) {
        let at = self.now + self.delay();
        self.at(at, what);
    }

    fn at(&mut self, at: u64, what: What) {
        self.number += 1;
        let number = self.number;
        self.queue.push(Item { at, number, what });
    }

    /// An answer of the backend, perhaps twice.
    fn answer(&mut self, life: u64, mut event: impl FnMut() -> Event) {
        self.later(What::Tell(life, event()));
        if self.random.chance(self.faults.twice) {
            self.later(What::Tell(life, event()));
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Tell(life, event) => self.tell_to(life, event),
            What::Make(life, group, spec) => self.make(life, &group, &spec),
            What::Container(life, group, spec, container) => {
                let fate = self.pods.get_mut(&spec.name).filter(|fate| fate.there);
                let there = fate.is_some_and(|fate| fate.pod.container(&container));
                // Who waits for its addon hears of it at once.
                self.pumped(&spec.name);
                self.answer(life, || Event::Container {
                    group: group.clone(),
                    pod: spec.name.clone(),
                    container: container.clone(),
                    result: if there { Ok(()) } else { Err(gone()) },
                });
            }
            What::Connect(life, pod, connection) => self.connect(life, pod, connection),
            What::Delete(life, group, pod) => {
                if self.random.chance(self.faults.flaky / 4) {
                    return self.answer(life, || Event::Deleted {
                        group: group.clone(),
                        pod: pod.clone(),
                        result: Err(flaky()),
                    });
                }
                let there = self.pods.get(&pod).is_some_and(|fate| fate.there);
                self.end_pod(&pod);
                self.answer(life, || Event::Deleted {
                    group: group.clone(),
                    pod: pod.clone(),
                    result: Ok(if there {
                        Deleted::Deleted
                    } else {
                        Deleted::NotThere
                    }),
                });
            }
            What::Ended(life, pod, container) => {
                let dead = self.pods.get(&pod.name);
                let dead = dead.is_some_and(|fate| fate.there && fate.pod.is_dead(&container));
                // A backend may learn of it later than the driver.
                let told = dead && !self.random.chance(self.faults.flaky);
                self.answer(life, || Event::Ended {
                    group: NodeId(pod.group.clone()),
                    pod: pod.name.clone(),
                    container: container.clone(),
                    failure: told.then(gone),
                });
            }
            What::ToPod(link, channel, frame) => self.reach_pod(link, channel, frame),
            What::FromPod(link, channel, frame) => {
                let Some(known) = self.links.get(&link).filter(|link| !link.mute) else {
                    return;
                };
                let (life, connection) = (known.life, known.connection);
                let event = Event::Frame {
                    connection,
                    channel,
                    frame,
                };
                self.tell_to(life, event);
            }
            What::Cut(link) => self.cut(link),
            What::Tick(pod) => {
                self.ticks.remove(&pod);
                self.pumped(&pod);
            }
            What::Wake(life, at) => {
                if life == self.life && self.timer == Some(at) {
                    self.timer = None;
                    self.tell(Event::Wake);
                } else if let Some(ghost) = &mut self.ghost
                    && life == ghost.life
                    && ghost.timer == Some(at)
                {
                    ghost.timer = None;
                    self.tell_to(life, Event::Wake);
                }
            }
            What::Resumed => {
                self.tell(Event::Interrupt(Interrupt::Resume));
                // Whoever was told may have died of it: it is said again until the journal has it.
                if self.folded.paused.is_some() {
                    self.later(What::Resumed);
                }
            }
            What::Resume => {
                if self.core.is_none() {
                    self.begin();
                }
            }
        }
    }

    /// Tells the driver of this life, if it is the one that owns the run or the ghost of the one before.
    fn tell_to(&mut self, life: u64, event: Event) {
        if life == self.life {
            return self.tell(event);
        }
        let Some(ghost) = self.ghost.take_if(|ghost| ghost.life == life) else {
            return;
        };
        let owner = (self.core.take(), self.life, self.skew, self.timer);
        self.core = Some(ghost.core);
        (self.life, self.skew, self.timer) = (ghost.life, ghost.skew, ghost.timer);
        self.haunted = true;
        self.tell(event);
        self.haunted = false;
        self.ghost = self.core.take().map(|core| Ghost {
            core,
            life: self.life,
            skew: self.skew,
            timer: self.timer,
        });
        (self.core, self.life, self.skew, self.timer) = owner;
    }

    /// What a driver that lost the run can still do: speak on its connections. The journal is locked by its successor.
    fn haunt(&mut self, action: Action) {
        match action {
            Action::Send { .. } | Action::Connect { .. } | Action::Hangup(_) | Action::Timer(_) => {
                self.do_it(action);
            }
            Action::Commit(..) | Action::TakenOver { .. } => self.core = None,
            _ => {}
        }
    }

    fn tell(&mut self, event: Event) {
        let wall = self.wall();
        if let Some(core) = &mut self.core {
            core.handle(event, wall);
            self.perform();
        }
    }

    /// Does what the driver's machine wants, until it waits or dies.
    fn perform(&mut self) {
        while let Some(core) = &mut self.core
            && let Some(action) = core.poll()
        {
            if self.haunted {
                self.haunt(action);
            } else if self.random.chance(self.faults.crash_anywhere) && self.may_crash() {
                return self.crash();
            } else {
                self.do_it(action);
            }
        }
    }

    fn do_it(&mut self, action: Action) {
        let life = self.life;
        match action {
            Action::Commit(number, events) => {
                for stamped in events {
                    self.commit(stamped);
                    let here = self.faults.crash_after == Some(self.disk.journal.len());
                    if here || (self.random.chance(self.faults.crash) && self.may_crash()) {
                        return self.crash();
                    }
                }
                self.compare(number);
                if self.random.chance(300) {
                    self.later(What::Tell(life, Event::Committed(number)));
                } else {
                    let wall = self.wall();
                    if let Some(core) = &mut self.core {
                        core.handle(Event::Committed(number), wall);
                    }
                }
            }
            Action::Preflight { group, spec } => self.answer(life, || Event::Preflighted {
                group: group.clone(),
                pod: spec.name.clone(),
                answers: spec
                    .containers
                    .iter()
                    .map(|c| (c.name.clone(), Ok(ImageFacts::default())))
                    .collect(),
            }),
            Action::Create { group, spec } => self.later(What::Make(life, group, spec)),
            Action::Container {
                group,
                spec,
                container,
            } => self.later(What::Container(life, group, spec, container)),
            Action::Connect { pod, connection } => {
                self.later(What::Connect(life, pod.name, connection));
            }
            Action::Hangup(connection) => self.cut(id(life, connection)),
            Action::Watch { pod } => {
                let there = self.pods.get(&pod.name).is_some_and(|fate| fate.there);
                let group = NodeId(pod.group);
                if there {
                    self.watchers.push((life, group, pod.name));
                } else {
                    self.tell_gone(life, group, pod.name);
                }
            }
            Action::Ended { pod, container } => self.later(What::Ended(life, pod, container)),
            Action::Delete { pod } => {
                self.dropped.insert((life, pod.name.clone()));
                self.later(What::Delete(life, NodeId(pod.group), pod.name));
            }
            Action::Send {
                connection,
                channel,
                frame,
            } => {
                let link = id(life, connection);
                let delay = self.delay();
                if let Some(known) = self.links.get_mut(&link) {
                    known.to_pod = known.to_pod.max(self.now + delay);
                    let at = known.to_pod;
                    self.at(at, What::ToPod(link, channel, frame));
                }
            }
            Action::Store {
                step,
                attempt,
                offset,
                bytes,
                ..
            } => {
                let log = self.log(&step, attempt);
                let end = offset + bytes.len() as u64;
                if offset == log.end {
                    log.end = end;
                    log.pieces.push(Stored::Bytes(offset, bytes));
                } else {
                    let text = format!("{step}: stored at {offset}, the log ends at {}", log.end);
                    self.broken.push(text);
                }
                self.stored(life, step, attempt, end);
            }
            Action::Gap {
                step,
                attempt,
                offset,
                bytes,
            } => {
                let log = self.log(&step, attempt);
                log.pieces.push(Stored::Gap(offset, bytes));
                log.end = offset + bytes;
                let end = log.end;
                self.stored(life, step, attempt, end);
            }
            Action::Flush {
                step,
                attempt,
                offset,
            } => self.stored(life, step, attempt, offset),
            Action::Keep {
                group,
                offset,
                bytes,
            } => {
                let archive = self.disk.workspaces.entry(group.clone()).or_default();
                if offset == 0 {
                    archive.clear();
                }
                if archive.len() as u64 == offset {
                    archive.extend_from_slice(&bytes);
                } else {
                    let text = format!("{group}: kept at {offset}, not at {}", archive.len());
                    self.broken.push(text);
                }
            }
            Action::Fetch {
                group,
                container,
                id,
                of,
                offset,
                most,
                ..
            } => {
                let archive = self.disk.workspaces.get(&of);
                let rest = archive.and_then(|all| all.get(offset as usize..));
                let result = rest
                    .map(|rest| rest[..rest.len().min(most as usize)].to_vec())
                    .ok_or_else(|| format!("{of} has no archive that long"));
                self.later(What::Tell(
                    life,
                    Event::Fetched {
                        group,
                        container,
                        id,
                        result,
                    },
                ));
            }
            Action::Timer(at) => {
                self.timer = at;
                if let Some(at) = at {
                    let when = at.saturating_sub(EPOCH_MS + self.skew).max(self.now);
                    self.at(when, What::Wake(life, at));
                }
            }
            Action::Finish(outcome) => self.status = Some(outcome.status),
            Action::TakenOver { seen } => self
                .broken
                .push(format!("the only driver heard that epoch {seen} took over")),
            Action::Bug(illegal) => self.broken.push(illegal.to_string()),
            Action::Mask(_)
            | Action::File { .. }
            | Action::Filed { .. }
            | Action::Warn(_)
            | Action::Tell { .. }
            | Action::Reply { .. }
            | Action::GiveUp { .. }
            | Action::Enqueue { .. }
            | Action::Leave { .. } => {}
        }
    }

    fn stored(&mut self, life: u64, step: NodeId, attempt: u32, offset: u64) {
        let event = Event::Stored {
            step,
            attempt,
            offset,
        };
        // In order, as one disk is: at once, or some time later with all that follows behind it.
        if self.stored_at > self.now || self.random.chance(300) {
            let at = self.now + self.delay();
            self.stored_at = self.stored_at.max(at);
            self.at(self.stored_at, What::Tell(life, event));
        } else {
            let wall = self.wall();
            if let Some(core) = &mut self.core {
                core.handle(event, wall);
            }
        }
    }

    fn log(&mut self, step: &NodeId, attempt: u32) -> &mut Log {
        self.disk.logs.entry((step.clone(), attempt)).or_default()
    }

    fn commit(&mut self, stamped: Stamped) {
        if let Err(illegal) = engine::evolve(&mut self.folded, &stamped) {
            self.broken.push(illegal.to_string());
        }
        self.disk.journal.push(stamped);
    }

    /// The fold of the journal is the state of the driver.
    fn compare(&mut self, number: u64) {
        if let Some(core) = &self.core
            && core.commits() == number
            && *core.state() != self.folded
            && self.broken.is_empty()
        {
            self.broken
                .push("the journal folds into another state than the driver's".to_owned());
        }
    }

    fn may_crash(&self) -> bool {
        self.crashes < self.faults.crashes
    }

    /// The driver dies; what it had under way at the backend has happened or never will.
    fn crash(&mut self) {
        self.crashes += 1;
        self.faults.crash_after = None;
        let core = self.core.take();
        let haunts = self.random.chance(300);
        self.ghost = core.filter(|_| haunts).map(|core| Ghost {
            core,
            life: self.life,
            skew: self.skew,
            timer: self.timer,
        });
        let queue = std::mem::take(&mut self.queue);
        for item in queue.into_sorted_vec() {
            match item.what {
                What::Make(_, group, spec) => {
                    if self.random.chance(500) {
                        self.make(0, &group, &spec);
                    }
                }
                What::Container(..) => {}
                What::Connect(..) | What::Ended(..) | What::Tell(..) | What::Wake(..)
                    if !haunts => {}
                What::Delete(_, _, pod) => {
                    if self.random.chance(500) {
                        self.end_pod(&pod);
                    }
                }
                what => self.at(item.at, what),
            }
        }
        // Its connections stay for a while: what was on the way may still arrive, behind what the next driver says.
        let links: Vec<u64> = self.links.keys().copied().collect();
        for link in links.into_iter().filter(|_| !haunts) {
            let linger = if self.random.chance(300) { 5_000 } else { 40 };
            let at = self.now + self.random.below(linger);
            self.at(at, What::Cut(link));
        }
        self.watchers.clear();
        self.later(What::Resume);
    }
}

fn id(life: u64, connection: u32) -> u64 {
    life * 10_000 + u64::from(connection)
}

fn gone() -> Failure {
    Failure {
        kind: FailureKind::Gone,
        container: None,
        message: "the pod is gone".to_owned(),
        help: None,
    }
}

fn flaky() -> Failure {
    Failure {
        kind: FailureKind::Infrastructure,
        container: None,
        message: "something did not answer".to_owned(),
        help: None,
    }
}
