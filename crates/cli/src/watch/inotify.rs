//! The watch of Linux: two directories are watched with all that is in them.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::inotify;

use crate::home::RunDir;
use crate::problem::Problem;

use super::{failed, logs};

/// Tells when a run's journal or logs grow, or when whoever wrote them is gone.
pub(crate) struct Watch(OwnedFd);

impl Watch {
    /// What happens from here on is told.
    pub(crate) fn new(dir: &RunDir) -> Result<Self, Problem> {
        let logs = logs(dir)?;
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC).map_err(failed)?;
        let flags = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::CLOSE_WRITE;
        inotify::add_watch(&fd, dir.path(), flags).map_err(failed)?;
        inotify::add_watch(&fd, &logs, flags).map_err(failed)?;
        Ok(Self(fd))
    }

    /// Ends once something happened since the last time.
    pub(crate) fn wait(&mut self) -> Result<(), Problem> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.0, &mut buffer);
        reader.next().map(|_| ()).map_err(failed)
    }
}
