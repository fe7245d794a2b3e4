//! What a step took: processor time and peak memory, from the kernel's own counts.

use std::sync::OnceLock;

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

/// Directories in which the memory counts of this process's cgroup may be: of the second version of cgroups, then of the first.
/// Only where this is the first process of a container: anywhere else the group is not a step's alone.
fn groups() -> Vec<String> {
    if rustix::process::getpid().as_raw_nonzero().get() != 1 {
        return Vec::new();
    }
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = |of: &dyn Fn(&str) -> bool| {
        own.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            of(controllers).then(|| path.trim_end_matches('/').to_owned())
        })
    };
    let mut found = Vec::new();
    if let Some(path) = path(&|controllers| controllers.is_empty()) {
        found.push(format!("/sys/fs/cgroup{path}"));
        found.push(format!("/sys/fs/cgroup/unified{path}"));
    }
    if let Some(path) = path(&|controllers| controllers.split(',').any(|one| one == "memory")) {
        found.push(format!("/sys/fs/cgroup/memory{path}"));
        // Engines mount the container's own group there, and may still show its path as the machine knows it.
        found.push("/sys/fs/cgroup/memory".to_owned());
    }
    // The root group of the first version is the whole machine's; it is known by having no limit.
    found.retain(|dir| {
        number(&format!("{dir}/memory.limit_in_bytes")).is_none_or(|limit| limit < 1 << 60)
    });
    found
}

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The files in which this container's memory is counted.
#[derive(Debug)]
struct Counts {
    peak: Option<String>,
    ooms: Option<String>,
}

/// Looked for once: a container stays in its cgroup, and between two steps there is no time for it.
fn counts() -> &'static Counts {
    static COUNTS: OnceLock<Counts> = OnceLock::new();
    COUNTS.get_or_init(|| {
        let dirs = groups();
        let first = |files: [&str; 2], holds: &dyn Fn(&str) -> bool| {
            let paths = dirs
                .iter()
                .flat_map(|dir| files.map(|file| format!("{dir}/{file}")));
            paths.into_iter().find(|path| holds(path))
        };
        Counts {
            peak: first(["memory.peak", "memory.max_usage_in_bytes"], &|path| {
                number(path).is_some()
            }),
            ooms: first(["memory.events", "memory.oom_control"], &|path| {
                killed(path).is_some()
            }),
        }
    })
}

/// Finds the counts while no step waits.
pub(super) fn prepare() {
    counts();
}

fn peak() -> Option<u64> {
    number(counts().peak.as_ref()?)
}

fn killed(path: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill "))
        .and_then(|count| count.trim().parse().ok())
}

fn ooms() -> u64 {
    counts().ooms.as_deref().and_then(killed).unwrap_or(0)
}
