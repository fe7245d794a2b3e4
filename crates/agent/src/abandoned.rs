//! When nobody comes back: what no driver has spoken to for long enough ends by itself.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

/// What a container leaves here becomes part of its pod's status (`terminated.message`). The kubelet makes the file; where there
/// is none, nobody reads it.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Since when nobody is there.
#[derive(Debug, Clone, Copy)]
pub struct Abandoned {
    limit_ms: Option<u64>,
    since_ms: Option<u64>,
}

impl Abandoned {
    /// After so many seconds; none: never.
    pub fn after(seconds: Option<u64>) -> Self {
        Abandoned {
            limit_ms: seconds.map(|seconds| seconds.saturating_mul(1000)),
            since_ms: None,
        }
    }

    /// Takes in whether somebody is there; the time (of the clock that does not jump) at which it is over if nobody comes.
    pub fn until(&mut self, anybody: bool, now_ms: u64) -> Option<u64> {
        if anybody {
            self.since_ms = None;
            return None;
        }
        let since = *self.since_ms.get_or_insert(now_ms);
        self.limit_ms.map(|limit| since.saturating_add(limit))
    }

    /// Leaves behind why it ended.
    pub fn tell(&self) {
        let log = OpenOptions::new()
            .write(true)
            .truncate(true)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(TERMINATION_LOG);
        if let (Ok(mut log), Some(limit)) = (log, self.limit_ms) {
            let _ = log.write_all(::addon::abandoned::words(limit / 1000).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Abandoned;

    #[test]
    fn every_visit_counts_from_its_end() {
        let mut never = Abandoned::after(None);
        assert_eq!(never.until(false, 5), None);
        let mut abandoned = Abandoned::after(Some(2));
        assert_eq!(abandoned.until(false, 1_000), Some(3_000));
        assert_eq!(abandoned.until(false, 2_500), Some(3_000));
        assert_eq!(abandoned.until(true, 2_900), None);
        assert_eq!(abandoned.until(false, 4_000), Some(6_000));
    }
}
