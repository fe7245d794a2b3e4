//! The watch of macOS: each file is watched by itself, and the directories for more of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

use crate::home::RunDir;
use crate::problem::Problem;

use super::{failed, logs};

/// Nothing here tells that a file was closed: whether its writer is gone is looked at after this long without news.
const LOOK: libc::timespec = libc::timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// Tells when a run's journal or logs grow, and now and then without a reason.
pub(crate) struct Watch {
    queue: Kqueue,
    directories: [PathBuf; 2],
    /// Open, for a file that is closed is not watched any more.
    watched: BTreeMap<PathBuf, File>,
}

impl Watch {
    /// What happens from here on is told.
    pub(crate) fn new(dir: &RunDir) -> Result<Self, Problem> {
        let directories = [dir.path().to_owned(), logs(dir)?];
        let mut watch = Self {
            queue: Kqueue::new().map_err(failed)?,
            directories: directories.clone(),
            watched: BTreeMap::new(),
        };
        for directory in directories {
            watch.add(&directory)?;
        }
        watch.add_new()?;
        Ok(watch)
    }

    /// Ends once something happened since the last time.
    pub(crate) fn wait(&mut self) -> Result<(), Problem> {
        // What a new file had before it was watched has not been told: the reader looks again.
        if self.add_new()? {
            return Ok(());
        }
        let nothing = KEvent::new(
            0,
            EventFilter::EVFILT_VNODE,
            EvFlags::empty(),
            FilterFlag::empty(),
            0,
            0,
        );
        let mut happened = [nothing; 16];
        self.queue
            .kevent(&[], &mut happened, Some(LOOK))
            .map(|_| ())
            .map_err(failed)
    }

    fn add_new(&mut self) -> Result<bool, Problem> {
        let before = self.watched.len();
        for directory in self.directories.clone() {
            for entry in fs::read_dir(directory).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                if path.is_file() && !self.watched.contains_key(&path) {
                    self.add(&path)?;
                }
            }
        }
        Ok(self.watched.len() > before)
    }

    fn add(&mut self, path: &Path) -> Result<(), Problem> {
        let file = File::open(path).map_err(failed)?;
        let change = KEvent::new(
            file.as_raw_fd() as usize,
            EventFilter::EVFILT_VNODE,
            EvFlags::EV_ADD | EvFlags::EV_CLEAR,
            FilterFlag::NOTE_WRITE | FilterFlag::NOTE_EXTEND,
            0,
            0,
        );
        self.queue
            .kevent(&[change], &mut [], None)
            .map_err(failed)?;
        self.watched.insert(path.to_owned(), file);
        Ok(())
    }
}
