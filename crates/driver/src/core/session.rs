//! The conversation with one container's addon: starts, output, records.
//!
//! Nothing is remembered over a connection but what was received: on each one the hello says what this driver has, the
//! welcome says what the addon is doing, and the difference is made up.

use addon::frame::{
    Attempt, Hello, Refusal, Report, Request, Start, State as AddonState, StopReason, VERSION,
};
use addon::link::Frame;
use engine::event::Failure;
use engine::{Input, classify};
use pipeline::plan::NodeId;

use super::records::Pending;
use super::workspace::Moving;
use super::{Action, Core, hurries};

/// The conversation on the current channel, and what is kept beyond it.
#[derive(Default)]
pub(super) struct Session {
    /// The hello was sent on this channel: an addon takes nothing before it.
    pub(super) greeted: bool,
    pub(super) welcomed: bool,
    /// The addon waits for a start.
    pub(super) idle: bool,
    /// Whose output streams now.
    pub(super) streaming: Option<Attempt>,
    /// The stop that was sent on this channel.
    pub(super) stop: Option<(StopReason, u64)>,
    /// Bytes of messages since credit was granted last.
    pub(super) owed: u64,
    pub(super) collecting: Option<u32>,
    /// A workspace on its way from or to this container.
    pub(super) moving: Option<Moving>,
    /// Resolved for the attempt that is to start next. Kept over connections.
    pub(super) start: Option<Box<Start>>,
    /// What a step will execute whose turn has not come: nothing of it depends on what is still to happen. Kept over connections.
    pub(super) ahead: Option<(NodeId, Box<Start>)>,
    /// Where this attempt's reports are, found out while it runs: its end is the next step's start. Kept over connections.
    pub(super) reports: Option<(Attempt, Vec<String>)>,
    /// Received, not applied yet: output or files are missing. Kept over connections.
    pub(super) pending: Option<Pending>,
    /// Records of attempts that are over: to be settled once all is committed.
    pub(super) settle: Vec<Attempt>,
    /// Only a planted bug keeps it.
    pub(super) again: Option<Box<Start>>,
}

impl Session {
    /// The channel is gone.
    pub(super) fn cut(&mut self) {
        self.greeted = false;
        self.welcomed = false;
        self.idle = false;
        self.streaming = None;
        self.stop = None;
        self.owed = 0;
        self.collecting = None;
        self.moving = None;
        self.settle.clear();
    }

    /// Nothing is under way: the addon waits, and all that it had to say is here.
    pub(super) fn rests(&self) -> bool {
        self.welcomed
            && self.idle
            && self.start.is_none()
            && self.streaming.is_none()
            && self.pending.is_none()
            && self.collecting.is_none()
            && self.moving.is_none()
            && self.settle.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        let pending = self.pending.as_ref().filter(|own| !own.collected);
        let collecting = pending.and_then(|own| own.collect_until_ms);
        let moving = self.moving.as_ref().map(|own| own.until_ms);
        collecting.into_iter().chain(moving).min()
    }
}

impl Core {
    /// What is done to a conversation may leave something to do: its container is attended to.
    pub(super) fn session(&mut self, group: &NodeId, container: &str) -> Option<&mut Session> {
        let entry = self.groups.get_mut(group)?;
        entry.attend_to(container);
        let container = entry.containers.get_mut(container)?;
        Some(&mut container.session)
    }

    /// Sends a request on a container's channel, if there is one and it was greeted.
    pub(super) fn request(&mut self, group: &NodeId, container: &str, request: &Request) {
        let Some(entry) = self.groups.get(group) else {
            return;
        };
        let greeted = entry
            .containers
            .get(container)
            .filter(|c| c.session.greeted);
        let channel = greeted.and_then(|c| c.channel);
        if let (Some(connection), Some(channel)) = (entry.connection(), channel) {
            self.out.push_back(Action::Send {
                connection,
                channel,
                frame: Frame::Message(request.to_bytes()),
            });
        }
    }

    pub(super) fn key(&self, step: &NodeId, number: u32) -> Attempt {
        Attempt {
            run: self.state.run.clone(),
            step: step.0.clone(),
            number,
        }
    }

    /// Whether this attempt is the one that the state believes to run.
    pub(super) fn runs(&self, attempt: &Attempt) -> bool {
        attempt.run == self.state.run
            && self
                .state
                .nodes
                .get(&NodeId(attempt.step.clone()))
                .is_some_and(|place| place.phase.may_run() && place.attempt() == attempt.number)
    }

    /// The attempt that the state believes to run in a container.
    fn running_in(&self, group: &NodeId, container: &str) -> Option<Attempt> {
        self.state.active.iter().find_map(|id| {
            let place = self.state.nodes.get(id)?;
            let (its_group, its_container) = self.whereabouts(id)?;
            (place.phase.may_run() && its_group == *group && its_container == container)
                .then(|| self.key(id, place.attempt()))
        })
    }

    /// A frame came. The answer is whether it was output, or a record that waits for the store: nothing follows from these yet.
    pub(super) fn frame(
        &mut self,
        connection: u32,
        channel: u32,
        frame: Frame,
        now_ms: u64,
    ) -> bool {
        self.heard(connection);
        if frame == Frame::Ping {
            let frame = Frame::Pong;
            self.out.push_back(Action::Send {
                connection,
                channel,
                frame,
            });
            return false;
        }
        let Some((group, container)) = self.groups.iter().find_map(|(group, entry)| {
            if entry.connection() != Some(connection) {
                return None;
            }
            Some((group.clone(), entry.on_channel(channel)?.clone()))
        }) else {
            return false;
        };
        let mut quiet = false;
        match frame {
            Frame::Opened => self.hello(&group, &container),
            Frame::Close(why) => self.closed(&group, &container, &why, now_ms),
            Frame::Message(body) => {
                let length = body.len() as u64;
                match Report::from_bytes(&body) {
                    Ok(report) => {
                        let output = matches!(report, Report::Output { .. });
                        let record = matches!(report, Report::Finished(_));
                        self.report(&group, &container, report, now_ms);
                        let waits = |session: &mut Session| session.pending.is_some();
                        quiet =
                            output || record && self.session(&group, &container).is_some_and(waits);
                    }
                    Err(error) => self.out.push_back(Action::Warn(format!(
                        "the addon of {container} sent what cannot be read: {error}"
                    ))),
                }
                self.grant(&group, &container, length);
            }
            Frame::Open(_) | Frame::Credit(_) | Frame::Ping | Frame::Pong => {}
        }
        quiet
    }

    fn hello(&mut self, group: &NodeId, container: &str) {
        let attempt = self.running_in(group, container);
        let acked = attempt.as_ref().map_or(0, |attempt| {
            let key = (NodeId(attempt.step.clone()), attempt.number);
            let log = self.logs.get(&key).copied().unwrap_or_default();
            if self.planted.lost_line {
                log.received + 1
            } else {
                log.stored
            }
        });
        let mut epoch = self.state.epoch;
        if self.planted.old_epoch {
            epoch = 1;
        }
        let hello = Request::Hello(Hello {
            version: VERSION,
            run: self.state.run.clone(),
            epoch,
            attempt,
            acked,
        });
        if let Some(session) = self.session(group, container) {
            session.greeted = true;
        }
        self.request(group, container, &hello);
    }

    fn report(&mut self, group: &NodeId, container: &str, report: Report, now_ms: u64) {
        match report {
            Report::Welcome { state, .. } => self.welcome(group, container, state, now_ms),
            Report::Refused(refusal) => self.refused(group, container, refusal, now_ms),
            Report::Started { attempt, at_ms } => {
                let step = NodeId(attempt.step.clone());
                if self.runs(&attempt) {
                    let globs = self.planner.reports(&step, &self.facts);
                    let input = Input::Started {
                        step,
                        attempt: attempt.number,
                        started_ms: at_ms,
                    };
                    if let Some(session) = self.session(group, container) {
                        session.reports = Some((attempt, globs));
                    }
                    self.look_ahead(group, container);
                    self.decide(input, now_ms);
                }
            }
            Report::Ready {
                attempt, warning, ..
            } => self.ready(&attempt, warning, now_ms),
            Report::Output {
                offset,
                at_ms,
                bytes,
            } => self.output(group, container, offset, at_ms, bytes),
            Report::Gap { offset, bytes } => self.gap(group, container, offset, bytes),
            Report::Finished(record) => self.record(group, container, record, now_ms),
            Report::File {
                id,
                path,
                offset,
                bytes,
            } => {
                let Some(session) = self.session(group, container) else {
                    return;
                };
                let ours = session.collecting == Some(id);
                if let Some(pending) = session.pending.as_ref().filter(|_| ours) {
                    let attempt = &pending.record.attempt;
                    let (step, attempt) = (NodeId(attempt.step.clone()), attempt.number);
                    self.out.push_back(Action::File {
                        step,
                        attempt,
                        path,
                        offset,
                        bytes,
                    });
                }
            }
            Report::Collected { id, left, .. } => {
                let Some(session) = self.session(group, container) else {
                    return;
                };
                if session.collecting == Some(id) {
                    session.collecting = None;
                    let mut step = String::new();
                    if let Some(pending) = &mut session.pending {
                        pending.collected = true;
                        step.clone_from(&pending.record.attempt.step);
                    }
                    for (path, why) in left {
                        self.out.push_back(Action::Warn(format!(
                            "report files of {step}: {path}: {why}"
                        )));
                    }
                }
            }
            Report::Attached { id, bytes } => self.moved(group, container, id, bytes, now_ms),
            Report::Detached { id, exit } => self.detached(group, container, id, &exit, now_ms),
        }
    }

    fn ready(&mut self, attempt: &Attempt, warning: Option<String>, now_ms: u64) {
        if self.runs(attempt) {
            let input = Input::Ready {
                step: NodeId(attempt.step.clone()),
                attempt: attempt.number,
                warning,
            };
            self.decide(input, now_ms);
        }
    }

    fn welcome(&mut self, group: &NodeId, container: &str, state: AddonState, now_ms: u64) {
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        entry.welcomed(container);
        let pod = entry.pod.name.clone();
        let Some(session) = self.session(group, container) else {
            return;
        };
        session.welcomed = true;
        self.maybe_ready(group, &pod, now_ms);
        let Some(session) = self.session(group, container) else {
            return;
        };
        match state {
            AddonState::Idle => session.idle = true,
            AddonState::Running {
                attempt,
                at_ms,
                ready,
                ..
            } => {
                session.streaming = Some(attempt.clone());
                if self.runs(&attempt) {
                    let input = Input::Started {
                        step: NodeId(attempt.step.clone()),
                        attempt: attempt.number,
                        started_ms: at_ms,
                    };
                    self.decide(input, now_ms);
                    if ready {
                        self.ready(&attempt, None, now_ms);
                    }
                } else {
                    // Given up by this run before: it must not hold the container.
                    let stop = Request::Stop {
                        attempt,
                        grace_ms: 0,
                        reason: StopReason::Abort,
                    };
                    self.request(group, container, &stop);
                }
            }
            AddonState::Done(record) => {
                session.streaming = Some(record.attempt.clone());
                // Of one that is over in this run its addon may still send output, and then the record again. Only behind that is nothing
                // of it on the way which could be taken for what runs here next.
                if self.runs(&record.attempt) {
                    self.record(group, container, record, now_ms);
                }
            }
        }
    }

    fn refused(&mut self, group: &NodeId, container: &str, refusal: Refusal, now_ms: u64) {
        match refusal {
            Refusal::OldEpoch { seen } if seen > self.state.epoch => {
                self.over = true;
                self.out.push_back(Action::TakenOver { seen });
            }
            // A connection of our own that we have replaced already.
            Refusal::OldEpoch { .. } => {}
            Refusal::Busy(attempt) if !self.runs(&attempt) => {
                if let Some(session) = self.session(group, container) {
                    session.settle.push(attempt);
                }
            }
            refusal => {
                let why = match refusal {
                    Refusal::OtherRun => "it belongs to another run".to_owned(),
                    Refusal::Busy(attempt) => format!("it still runs {}", attempt.step),
                    Refusal::Protocol(why) => why,
                    Refusal::OldEpoch { .. } => return,
                };
                let failure =
                    classify::infrastructure(format!("the addon of {container} refused: {why}"));
                if let Some(entry) = self.groups.get_mut(group)
                    && let Some(container) = entry.containers.get_mut(container)
                {
                    container.up = Some(Err(failure));
                }
                self.reconcile(now_ms);
            }
        }
    }

    /// An entered step: as soon as its addon waits for it, its start is resolved and may be recorded.
    /// What the step behind this one executes is found out while this one runs: its end is that one's start.
    fn look_ahead(&mut self, group: &NodeId, container: &str) {
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        let Some(next) = entry.behind(container) else {
            return;
        };
        let image = entry
            .images
            .get(&next.name)
            .and_then(|own| own.as_ref().ok());
        let (Some(step), Some(image)) = (next.steps.first(), image) else {
            return;
        };
        let step = NodeId(step.clone());
        let start = self.planner.start_ahead(&step, &self.facts, image);
        let name = next.name.clone();
        if let Some(next) = entry.containers.get_mut(&name) {
            next.session.ahead = start.map(|start| (step, Box::new(start)));
        }
    }

    pub(super) fn prepare(&mut self, step: &NodeId, attempt: u32, now_ms: u64) {
        let Some((group, container)) = self.whereabouts(step) else {
            return;
        };
        self.need(&group, &container);
        let Some(entry) = self.groups.get(&group) else {
            return;
        };
        let Some(known) = entry.containers.get(&container) else {
            let failure = Failure {
                error: engine::event::ErrorKind::ConfigurationFailure,
                message: format!("the pod {} has no container {container}", entry.pod.name),
                help: None,
            };
            return self.start_failed(step, attempt, failure, now_ms);
        };
        if let Some(Err(failure)) = &known.up {
            return self.start_failed(step, attempt, failure.clone(), now_ms);
        }
        let image = match entry.images.get(&container) {
            Some(Ok(image)) => image,
            Some(Err(failure)) => {
                return self.start_failed(step, attempt, failure.clone(), now_ms);
            }
            None => return,
        };
        if !known.session.welcomed || !known.session.idle {
            return;
        }
        let ahead = known.session.ahead.as_ref();
        let start = match ahead.filter(|(of, _)| of == step && attempt == 0) {
            Some((_, start)) => Ok((**start).clone()),
            None => self.planner.start(step, attempt, &self.facts, image),
        };
        match start {
            Ok(mut start) => {
                start.attempt = self.key(step, attempt);
                if let Some(session) = self.session(&group, &container) {
                    session.start = Some(Box::new(start));
                    session.ahead = None;
                    session.pending = None;
                }
                let step = step.clone();
                self.decide(Input::Starting { step, attempt }, now_ms);
            }
            Err(failure) => self.start_failed(step, attempt, failure, now_ms),
        }
    }

    fn start_failed(&mut self, step: &NodeId, attempt: u32, failure: Failure, now_ms: u64) {
        let input = Input::StartFailed {
            step: step.clone(),
            attempt,
            failure,
        };
        self.decide(input, now_ms);
    }

    /// A start that is in the journal: sent to an addon that waits, again on every connection until it says that it runs.
    pub(super) fn start(&mut self, step: &NodeId, attempt: u32, now_ms: u64) {
        if self.broken(step, attempt, now_ms) {
            return;
        }
        let Some((group, container)) = self.whereabouts(step) else {
            return;
        };
        self.need(&group, &container);
        let key = self.key(step, attempt);
        let twice = self.planted.start_twice;
        let Some(entry) = self.groups.get_mut(&group) else {
            return;
        };
        let image = entry.images.get(&container).cloned();
        let Some(session) = self.session(&group, &container) else {
            return;
        };
        if !session.welcomed || !session.idle {
            return;
        }
        let resolved = session
            .start
            .as_ref()
            .is_some_and(|start| start.attempt == key);
        if !resolved {
            // Taken over between the record of the start and the addon having it.
            let image = match image {
                Some(Ok(image)) => image,
                Some(Err(failure)) => return self.start_failed(step, attempt, failure, now_ms),
                None => return,
            };
            match self.planner.start(step, attempt, &self.facts, &image) {
                Ok(mut start) => {
                    start.attempt = key.clone();
                    if let Some(session) = self.session(&group, &container) {
                        session.start = Some(Box::new(start));
                    }
                }
                Err(failure) => return self.start_failed(step, attempt, failure, now_ms),
            }
        }
        let Some(session) = self.session(&group, &container) else {
            return;
        };
        let Some(start) = session.start.clone() else {
            return;
        };
        session.idle = false;
        // What the attempt before it was told does not hold for this one.
        session.stop = None;
        session.streaming = Some(key);
        if twice {
            session.again = Some(start.clone());
        }
        self.request(&group, &container, &Request::Start(start));
        self.use_up(&group, &container);
    }

    /// A running attempt: an addon that knows nothing of it has lost it.
    pub(super) fn follow(&mut self, step: &NodeId, attempt: u32, now_ms: u64) {
        if self.broken(step, attempt, now_ms) {
            return;
        }
        let Some((group, container)) = self.whereabouts(step) else {
            return;
        };
        self.need(&group, &container);
        self.use_up(&group, &container);
        self.need_behind(&group, &container);
        if let Some(session) = self.session(&group, &container) {
            // It runs: what it was started with, secrets among it, is not needed any more.
            session.start = None;
            if session.welcomed && session.idle {
                let reason = classify::infrastructure(format!(
                    "the addon of {container} does not know the attempt any more"
                ));
                self.lose(step, attempt, reason, now_ms);
            }
        }
    }

    /// Whether the container of a running attempt is gone; then the attempt is lost.
    fn broken(&mut self, step: &NodeId, attempt: u32, now_ms: u64) -> bool {
        let Some((group, container)) = self.whereabouts(step) else {
            return false;
        };
        let failure = self
            .groups
            .get(&group)
            .and_then(|entry| entry.containers.get(&container))
            .and_then(|container| container.up.as_ref()?.as_ref().err())
            .cloned();
        match failure {
            Some(failure) => {
                self.lose(step, attempt, failure, now_ms);
                true
            }
            None => false,
        }
    }

    pub(super) fn stop(&mut self, step: &NodeId, attempt: u32, reason: StopReason, grace_ms: u64) {
        let Some((group, container)) = self.whereabouts(step) else {
            return;
        };
        let key = self.key(step, attempt);
        let Some(session) = self.session(&group, &container) else {
            return;
        };
        // An addon that waits has not had the start yet: that goes first, then this.
        if session.welcomed && !session.idle && hurries(session.stop, grace_ms) {
            session.stop = Some((reason, grace_ms));
            let stop = Request::Stop {
                attempt: key,
                grace_ms,
                reason,
            };
            self.request(&group, &container, &stop);
        }
    }

    /// There will be no more of this attempt: its record, if it came, with what is missing of its output; else its loss.
    pub(super) fn lose(&mut self, step: &NodeId, attempt: u32, reason: Failure, now_ms: u64) {
        let log = self
            .logs
            .get(&(step.clone(), attempt))
            .copied()
            .unwrap_or_default();
        let pending = self.whereabouts(step).and_then(|(group, container)| {
            let session = self.session(&group, &container)?;
            let ours = session.pending.as_ref().is_some_and(|p| {
                p.record.attempt.number == attempt && p.record.attempt.step == step.0
            });
            session.pending.take().filter(|_| ours)
        });
        self.out.push_back(Action::Flush {
            step: step.clone(),
            attempt,
            offset: log.received,
        });
        if let Some(pending) = pending {
            let missing = pending.record.output_bytes.saturating_sub(log.received);
            if missing > 0 {
                self.out.push_back(Action::Gap {
                    step: step.clone(),
                    attempt,
                    offset: log.received,
                    bytes: missing,
                });
            }
            self.apply(step, pending.record, now_ms);
        } else {
            let input = Input::AttemptLost {
                step: step.clone(),
                attempt,
                reason,
                stored: log.received,
            };
            self.decide(input, now_ms);
        }
    }
}
