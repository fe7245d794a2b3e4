//! Waiting for the first of many file descriptors, and the two clocks.

use std::io;
use std::os::fd::BorrowedFd;

use ::addon::attempt::Now;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::time::{ClockId, clock_gettime};

/// The two clocks now.
pub fn now() -> Now {
    let millis = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
    };
    Now {
        mono_ms: millis(ClockId::Monotonic),
        wall_ms: millis(ClockId::Realtime),
    }
}

/// File descriptors to wait for, each under a key of the caller's.
#[derive(Debug)]
pub struct Waits<'a, K> {
    keys: Vec<K>,
    fds: Vec<PollFd<'a>>,
}

/// What a file descriptor is ready for.
#[derive(Debug, Clone, Copy)]
pub struct Readiness {
    /// Reading does not block; also when the other end is gone.
    pub read: bool,
    /// Writing does not block; also when the other end is gone.
    pub write: bool,
}

impl<'a, K: Copy> Waits<'a, K> {
    /// None yet.
    pub fn new() -> Self {
        Waits {
            keys: Vec::with_capacity(8),
            fds: Vec::with_capacity(8),
        }
    }

    /// Adds one. One that wants neither is left out: its hang-up must not wake anybody for ever.
    pub fn add(&mut self, key: K, fd: BorrowedFd<'a>, read: bool, write: bool) {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, read);
        flags.set(PollFlags::OUT, write);
        if !flags.is_empty() {
            self.keys.push(key);
            self.fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
    }

    /// Waits until one is ready or the time (of the clock that does not jump) has come.
    pub fn wait(mut self, until_ms: Option<u64>) -> io::Result<Vec<(K, Readiness)>> {
        let timeout = until_ms.map(|at| {
            let left = at.saturating_sub(now().mono_ms);
            Timespec {
                tv_sec: (left / 1000) as i64,
                tv_nsec: (left % 1000) as i64 * 1_000_000,
            }
        });
        match rustix::event::poll(&mut self.fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        Ok(self
            .keys
            .iter()
            .zip(&self.fds)
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(&key, fd)| {
                let ready = Readiness {
                    read: fd.revents().intersects(PollFlags::IN | gone),
                    write: fd.revents().intersects(PollFlags::OUT | gone),
                };
                (key, ready)
            })
            .collect())
    }
}

impl<K: Copy> Default for Waits<'_, K> {
    fn default() -> Self {
        Waits::new()
    }
}
