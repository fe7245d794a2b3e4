//! The one table of legal changes of a node.

use crate::event::Status;

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Known, not entered.
    Waiting,
    /// Entered: a group expands or its children run, a step waits for its container.
    Entered,
    /// A step's start may have been sent.
    Starting,
    /// A step's process runs.
    Running,
    /// A Background step is ready.
    Ready,
    /// A step has its record, or (Initialize) its pod.
    Recorded,
    /// A step will never have a record; anything else cannot be made.
    Lost,
    /// It failed and is tried again later.
    Pausing,
    /// It failed, and a person is asked what becomes of that.
    Asking,
    /// It failed, and it was decided what becomes of that.
    Handled,
    /// Over.
    Finished(Status),
}

/// What may happen to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is entered.
    Enter,
    /// An attempt is about to start.
    Starting,
    /// The attempt's process runs.
    Started,
    /// It is ready.
    Ready,
    /// Its record is there.
    Record,
    /// Its record will never be there; it cannot be made.
    Lose,
    /// Its failure was handled: it is tried again later.
    Pause,
    /// Its failure was handled: a person is asked.
    Ask,
    /// Its failure was handled.
    Handle,
    /// It is tried again.
    Retry,
    /// It is over, and what it gave is gone unused: it begins again.
    Again,
    /// It is over.
    Finish(Status),
    /// It was over in another run.
    Carry(Status),
}

/// Which rules hold for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// It has children.
    Composite,
    /// It needs its pod to succeed.
    Initialize,
    /// It needs its record to succeed.
    Step,
    /// It runs nowhere and waits: it needs nothing to succeed but the end of that.
    Wait,
}

impl Phase {
    /// The phase after a change, or `None` where the change is illegal.
    pub fn next(self, sort: Sort, change: Change) -> Option<Self> {
        use Change as C;
        use Phase as P;
        use Sort::{Composite, Initialize, Step, Wait};
        Some(match (sort, self, change) {
            (_, P::Waiting, C::Enter)
            | (Initialize | Step | Wait, P::Pausing, C::Retry)
            | (Initialize, P::Finished(Status::Success), C::Again) => P::Entered,
            // What was not entered can only be skipped: nothing of it ran, so it can neither succeed nor fail.
            (_, P::Waiting, C::Finish(Status::Skipped)) => P::Finished(Status::Skipped),
            // What it did is in the journal of the run that did it.
            (Composite | Step | Wait, P::Waiting, C::Carry(status)) if status.is_positive() => {
                P::Finished(status)
            }
            (Step, P::Entered, C::Starting) => P::Starting,
            (Step, P::Starting, C::Started) => P::Running,
            (Step, P::Running, C::Ready) => P::Ready,
            (Step, P::Starting | P::Running | P::Ready, C::Record)
            | (Initialize, P::Entered, C::Record) => P::Recorded,
            (Step, P::Starting | P::Running | P::Ready, C::Lose) | (_, P::Entered, C::Lose) => {
                P::Lost
            }
            // What succeeded by itself has nothing to be handled: a record may be one of a failure.
            (_, P::Recorded | P::Lost | P::Pausing | P::Asking, C::Handle)
            | (Composite, P::Entered, C::Handle) => P::Handled,
            (
                Initialize | Step | Wait,
                P::Recorded | P::Lost | P::Pausing | P::Asking,
                C::Pause,
            ) => P::Pausing,
            (Initialize | Step | Wait, P::Recorded | P::Lost | P::Asking, C::Ask) => P::Asking,
            // Nothing is green without its record or its pod, unless somebody decided so and the journal says it.
            (Composite | Wait, P::Entered, C::Finish(status))
            | (Initialize | Step, P::Recorded, C::Finish(status))
            | (_, P::Handled, C::Finish(status)) => P::Finished(status),
            (Initialize | Step, P::Entered, C::Finish(status))
            | (_, P::Lost | P::Pausing | P::Asking, C::Finish(status))
                if status != Status::Success =>
            {
                P::Finished(status)
            }
            _ => return None,
        })
    }

    /// Entered and not over.
    pub fn is_active(self) -> bool {
        !matches!(self, Self::Waiting | Self::Finished(_))
    }

    /// A process of it may run.
    pub fn may_run(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Ready)
    }
}
