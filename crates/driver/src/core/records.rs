//! Records: taken in, completed by what belongs to them, applied once, settled.

use addon::frame::{Attempt, Record, Request};
use engine::event::{Event as Happened, Stamped};
use pipeline::plan::NodeId;

use super::output::STEP;
use super::{Action, Core};

/// Bytes of report files that one attempt may hand over.
const COLLECT_MAX: u64 = 64 * 1024 * 1024;
/// How long an addon may take to hand its report files over before the step's end is recorded without them: less than a step that is told
/// to end may take to leave its record, and counted from the first time that they are asked for, however often the connection breaks.
const COLLECT_MS: u64 = 20_000;

/// A record that was received and is not applied yet.
pub(super) struct Pending {
    pub(super) record: Box<Record>,
    /// The files of its reports are here, or given up.
    pub(super) collected: bool,
    /// When they are given up, once they were asked for.
    pub(super) collect_until_ms: Option<u64>,
    pub(super) flushed: bool,
}

impl Core {
    pub(super) fn record(
        &mut self,
        group: &NodeId,
        container: &str,
        record: Box<Record>,
        now_ms: u64,
    ) {
        let runs = self.runs(&record.attempt);
        let planted = self.planted;
        let Some(session) = self.session(group, container) else {
            return;
        };
        if !runs {
            // Applied before, or given up: in the journal either way, once all is committed.
            session.settle.push(record.attempt.clone());
            if planted.result_twice {
                self.out.push_back(Action::Commit(
                    self.asked,
                    vec![Stamped {
                        at_ms: now_ms,
                        event: Happened::AttemptFinished {
                            step: NodeId(record.attempt.step.clone()),
                            record,
                        },
                    }],
                ));
            }
            return;
        }
        let attempt = record.attempt.clone();
        let same = session
            .pending
            .as_ref()
            .is_some_and(|pending| pending.record.attempt == attempt);
        if !same {
            session.pending = Some(Pending {
                record,
                collected: false,
                collect_until_ms: None,
                flushed: false,
            });
        }
        if planted.settled_before_commit {
            self.request(group, container, &Request::Settled { attempt });
        }
        self.tend_records(group, now_ms);
    }

    /// The shell has stored output. The answer is whether nothing follows from that: no record waits for it.
    pub(super) fn stored(&mut self, step: &NodeId, attempt: u32, offset: u64, now_ms: u64) -> bool {
        let Some(log) = self.logs.get_mut(&(step.clone(), attempt)) else {
            return true;
        };
        log.stored = log.stored.max(offset);
        let (stored, due) = (log.stored, log.stored >= log.acked + STEP);
        let Some((group, container)) = self.whereabouts(step) else {
            return true;
        };
        let Some(session) = self.session(&group, &container) else {
            return true;
        };
        let waits = session.pending.is_some();
        // On a channel that is only being opened the hello says it.
        if due && session.greeted {
            if let Some(log) = self.logs.get_mut(&(step.clone(), attempt)) {
                log.acked = stored;
            }
            let acked = Request::Acked {
                attempt: self.key(step, attempt),
                offset: stored,
            };
            self.request(&group, &container, &acked);
        }
        if waits {
            self.tend_records(&group, now_ms);
        }
        !waits
    }

    /// Brings pending records to their application: flush, collect, apply; and settles what is committed.
    pub(super) fn tend_records(&mut self, group: &NodeId, now_ms: u64) {
        let Some(entry) = self.groups.get(group) else {
            return;
        };
        let waiting: Vec<String> = entry
            .attended()
            .filter(|(_, c)| c.session.pending.is_some() || !c.session.settle.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        for container in waiting {
            self.tend_record(group, &container, now_ms);
            if self.committed() {
                self.settle(group, &container);
            }
        }
    }

    /// Settles what the journal has, in every group.
    pub(super) fn settle_committed(&mut self) {
        let due: Vec<(NodeId, String)> = self
            .groups
            .iter()
            .flat_map(|(group, entry)| entry.attended().map(move |own| (group, own)))
            .filter(|(_, (_, container))| !container.session.settle.is_empty())
            .map(|(group, (name, _))| (group.clone(), name.clone()))
            .collect();
        for (group, container) in due {
            self.settle(&group, &container);
        }
    }

    fn settle(&mut self, group: &NodeId, container: &str) {
        let Some(session) = self.session(group, container).filter(|s| s.welcomed) else {
            return;
        };
        let settle = std::mem::take(&mut session.settle);
        for attempt in settle {
            // A record that came twice is settled twice; the next attempt may be under way by then.
            let next = |own: &Attempt| *own != attempt;
            if let Some(session) = self
                .session(group, container)
                .filter(|session| !session.streaming.as_ref().is_some_and(next))
            {
                // The channel keeps its order: a start sent after this finds the addon idle.
                session.idle = true;
                session.start = None;
                session.streaming = None;
                session.stop = None;
            }
            self.logs
                .remove(&(NodeId(attempt.step.clone()), attempt.number));
            self.request(group, container, &Request::Settled { attempt });
            let again = self.session(group, container).and_then(|s| s.again.take());
            if let Some(mut start) = again {
                start.attempt.number += 1;
                self.request(group, container, &Request::Start(start));
            }
        }
    }

    pub(super) fn tend_record(&mut self, group: &NodeId, container: &str, now_ms: u64) {
        let Some(pending) = self
            .session(group, container)
            .and_then(|session| session.pending.as_ref())
        else {
            return;
        };
        let attempt = pending.record.attempt.clone();
        let (end, flushed, collected) = (
            pending.record.output_bytes,
            pending.flushed,
            pending.collected,
        );
        let step = NodeId(attempt.step.clone());
        if !self.runs(&attempt) {
            if let Some(session) = self.session(group, container) {
                session.pending = None;
                session.settle.push(attempt);
            }
            return;
        }
        let log = self.logs.entry((step.clone(), attempt.number)).or_default();
        if log.received < end {
            return;
        }
        if !flushed {
            let offset = log.received;
            if let Some(pending) = self
                .session(group, container)
                .and_then(|s| s.pending.as_mut())
            {
                pending.flushed = true;
            }
            self.out.push_back(Action::Flush {
                step,
                attempt: attempt.number,
                offset,
            });
            return;
        }
        if log.stored < end {
            return;
        }
        if !collected && !self.collect(group, container, &step, now_ms) {
            return;
        }
        self.out.push_back(Action::Filed {
            step: step.clone(),
            attempt: attempt.number,
        });
        if let Some(pending) = self.session(group, container).and_then(|s| {
            s.collecting = None;
            s.settle.push(attempt);
            s.pending.take()
        }) {
            self.apply(&step, pending.record, now_ms);
        }
    }

    /// Asks for the files of a step's reports; whether there is nothing more to wait for.
    pub(super) fn collect(
        &mut self,
        group: &NodeId,
        container: &str,
        step: &NodeId,
        now_ms: u64,
    ) -> bool {
        let Some(session) = self.session(group, container) else {
            return true;
        };
        let attempt = session.pending.as_ref().map(|own| &own.record.attempt);
        let known = session.reports.as_ref();
        let known = known.filter(|(of, _)| attempt.is_some_and(|own| own == of));
        let globs = match known {
            Some((_, globs)) => globs.clone(),
            // It was started by a driver before this one.
            None => self.planner.reports(step, &self.facts),
        };
        if globs.is_empty() {
            return true;
        }
        let id = self.collections + 1;
        let Some(session) = self.session(group, container) else {
            return true;
        };
        let until_ms = session.pending.as_ref().and_then(|p| p.collect_until_ms);
        if until_ms.is_some_and(|at| now_ms >= at) {
            self.out.push_back(Action::Warn(format!(
                "the report files of {step} did not come within {} s",
                COLLECT_MS / 1000
            )));
            return true;
        }
        if !session.welcomed {
            return false;
        }
        if session.collecting.is_none() {
            session.collecting = Some(id);
            if let Some(pending) = &mut session.pending {
                pending.collect_until_ms.get_or_insert(now_ms + COLLECT_MS);
            }
            self.collections = id;
            let collect = Request::Collect {
                id,
                globs,
                max_bytes: COLLECT_MAX,
            };
            self.request(group, container, &collect);
        }
        false
    }
}
