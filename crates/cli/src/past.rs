//! A run as its directory tells of it: the journal folded, and who drives it.

use std::fs::{File, TryLockError};

use engine::event::{Stamped, Status};

use crate::home::RunDir;
use crate::problem::Problem;
use crate::screen::view::{Seen, View};

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// A command drives it.
    Running,
    /// No command drives it and it is not over.
    Lost,
    /// It is over.
    Over(Status),
}

impl State {
    /// For people and for JSON.
    pub(crate) fn word(self, view: &View) -> &'static str {
        match self {
            Self::Running if view.paused => "paused",
            Self::Running => "running",
            Self::Lost => "lost",
            Self::Over(Status::Success) => "succeeded",
            Self::Over(Status::Failed) => "failed",
            Self::Over(Status::IgnoreFailed) => "succeeded with ignored failures",
            Self::Over(Status::Aborted) => "aborted",
            Self::Over(Status::Expired) => "timed out",
            Self::Over(Status::Skipped) => "skipped",
        }
    }
}

/// The events of a run so far.
pub(crate) fn events(run: &RunDir) -> Result<Vec<Stamped>, Problem> {
    match driver::journal::read(&run.join("journal")) {
        Ok(events) => Ok(events),
        // Its command was lost before the first event, or is about to write it.
        Err(driver::journal::Error::Missing(_)) => Ok(Vec::new()),
        Err(error) => Err(Problem::failed(error.to_string())),
    }
}

/// Its events, folded.
pub(crate) fn view(run: &RunDir) -> Result<View, Problem> {
    let mut view = View {
        run: run.id.clone(),
        ..View::default()
    };
    for stamped in events(run)? {
        view.see(&Seen::Event(Box::new(stamped)));
    }
    Ok(view)
}

/// Whether something in a run has this identifier.
pub(crate) fn holds(run: &RunDir, identifier: &str) -> bool {
    let mut state = engine::State::default();
    let events = events(run).unwrap_or_default();
    // What cannot be followed any more is told by whoever reads the run.
    let _ = events
        .iter()
        .try_for_each(|stamped| engine::evolve(&mut state, stamped));
    let mut nodes = state.nodes.values();
    nodes.any(|place| place.node.identifier == identifier)
}

/// How far a run has come, also where its journal cannot be read: that of a run that is swept, with others, is no reason to leave them.
pub(crate) fn standing(run: &RunDir) -> State {
    state(run, &view(run).unwrap_or_default())
}

/// How far it has come.
pub(crate) fn state(run: &RunDir, view: &View) -> State {
    if let Some((status, _)) = view.end {
        return State::Over(status);
    }
    // Whoever drives a run holds its journal locked.
    let locked = File::open(run.join("journal"))
        .is_ok_and(|journal| matches!(journal.try_lock_shared(), Err(TryLockError::WouldBlock)));
    if locked { State::Running } else { State::Lost }
}
