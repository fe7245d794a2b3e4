//! What a step took: processor time and peak memory, from the kernel's own counts.

use ::addon::attempt::Usage;
use nix::sys::resource::{UsageWho, getrusage};

/// Counts from the start of an attempt.
#[derive(Debug, Default)]
pub(super) struct Meter {
    cpu_ms: u64,
    ooms: u64,
}

impl Meter {
    pub(super) fn start() -> Self {
        Meter {
            cpu_ms: children().0,
            ooms: ooms(),
        }
    }

    /// What was taken since. Processes that still live are not among it.
    pub(super) fn taken(&self) -> Usage {
        let (cpu_ms, largest) = children();
        Usage {
            cpu_ms: cpu_ms.saturating_sub(self.cpu_ms),
            // Of the container where its cgroup can be read, else of its largest process so far.
            peak_memory: peak().unwrap_or(largest),
            oom: ooms() > self.ooms,
        }
    }
}

/// Processor time (milliseconds) and largest resident set (bytes) of all reaped descendants.
fn children() -> (u64, u64) {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return (0, 0);
    };
    let millis =
        |time: nix::sys::time::TimeVal| time.tv_sec() as u64 * 1000 + time.tv_usec() as u64 / 1000;
    (
        millis(usage.user_time()) + millis(usage.system_time()),
        usage.max_rss() as u64 * 1024,
    )
}

/// The container's cgroup is at the root of its own view, where it has one. Elsewhere (a host's root cgroup has no
/// `memory.peak`) there is nothing to read.
fn peak() -> Option<u64> {
    // In a container of its own these are the container's; the numbers of a whole machine are not a step's.
    if rustix::process::getpid().as_raw_nonzero().get() != 1 {
        return None;
    }
    let text = |path: &str| std::fs::read_to_string(path).ok();
    let number = |path: &str| text(path)?.trim().parse::<u64>().ok();
    number("/sys/fs/cgroup/memory.peak").or_else(|| {
        // On the first version the root group of a machine is recognized by having no limit of its own.
        let limit = number("/sys/fs/cgroup/memory/memory.limit_in_bytes")?;
        (limit < 1 << 60)
            .then(|| number("/sys/fs/cgroup/memory/memory.max_usage_in_bytes"))
            .flatten()
    })
}

fn ooms() -> u64 {
    let count = |path: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill "))
            .and_then(|count| count.trim().parse().ok())
    };
    if rustix::process::getpid().as_raw_nonzero().get() != 1 {
        return 0;
    }
    count("/sys/fs/cgroup/memory.events")
        .or_else(|| count("/sys/fs/cgroup/memory/memory.oom_control"))
        .unwrap_or(0)
}
