//! A step's output on its way to the store, and the credit that lets more of it come.

use addon::link::{Frame, INITIAL_CREDIT};
use pipeline::plan::NodeId;

use super::{Action, Core};

/// Credit is granted, and output acknowledged, in steps of this: often enough that a flood never waits, rarely enough
/// that single lines cost no messages.
pub(super) const STEP: u64 = INITIAL_CREDIT as u64 / 4;

impl Core {
    pub(super) fn grant(&mut self, group: &NodeId, container: &str, length: u64) {
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        let connection = entry.connection();
        let Some(container) = entry.containers.get_mut(container) else {
            return;
        };
        container.session.owed += length;
        let owed = container.session.owed;
        if owed >= STEP
            && let (Some(connection), Some(channel)) = (connection, container.channel)
        {
            container.session.owed = 0;
            self.out.push_back(Action::Send {
                connection,
                channel,
                frame: Frame::Credit(owed as u32),
            });
        }
    }

    pub(super) fn output(
        &mut self,
        group: &NodeId,
        container: &str,
        offset: u64,
        at_ms: u64,
        mut bytes: Vec<u8>,
    ) {
        let Some((step, attempt)) = self.streams(group, container) else {
            return;
        };
        let log = self.logs.entry((step.clone(), attempt)).or_default();
        let end = offset + bytes.len() as u64;
        if end <= log.received {
            return;
        }
        if offset > log.received {
            // The addon tells its gaps; what is missing without being told is marked all the same.
            let (from, missing) = (log.received, offset - log.received);
            self.out.push_back(Action::Gap {
                step: step.clone(),
                attempt,
                offset: from,
                bytes: missing,
            });
        } else {
            bytes.drain(..(log.received - offset) as usize);
        }
        let offset = end - bytes.len() as u64;
        log.received = end;
        self.out.push_back(Action::Store {
            step,
            attempt,
            offset,
            at_ms,
            bytes,
        });
    }

    pub(super) fn gap(&mut self, group: &NodeId, container: &str, offset: u64, bytes: u64) {
        let Some((step, attempt)) = self.streams(group, container) else {
            return;
        };
        let log = self.logs.entry((step.clone(), attempt)).or_default();
        let end = offset + bytes;
        if end > log.received {
            let from = log.received;
            log.received = end;
            self.out.push_back(Action::Gap {
                step,
                attempt,
                offset: from,
                bytes: end - from,
            });
        }
    }

    /// The attempt whose output streams, if the run still takes it.
    fn streams(&mut self, group: &NodeId, container: &str) -> Option<(NodeId, u32)> {
        let attempt = self.session(group, container)?.streaming.clone()?;
        self.runs(&attempt)
            .then_some((NodeId(attempt.step), attempt.number))
    }
}
