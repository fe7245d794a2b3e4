//! Processes that outlived whoever held them: found by their user, or by the name that each has in its environment.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::{Pid, Signal};

/// The variable that every process of the delegate, and what it starts, has in its environment.
pub(super) const MARK: &str = "STEPYARD_PROCESS";
/// The file with the user's id, where a process has one of its own.
pub(super) const UID: &str = "uid";

/// The user that nobody else has.
pub(super) fn uid(dir: &Path) -> Option<u32> {
    fs::read_to_string(dir.join(UID)).ok()?.trim().parse().ok()
}

/// Kills them, and what they still start while that goes on.
pub(super) fn kill(name: &str, uid: Option<u32>) {
    let mark = format!("{MARK}={name}");
    // Each round ends what is there: what forks faster than this is not met in practice, and does not hold the caller for ever.
    for _ in 0..100 {
        let found: Vec<Pid> = all()
            .filter(|(path, _)| {
                let owner = fs::metadata(path).map(|own| own.uid()).ok();
                let own = uid.is_some() && owner == uid;
                own || marked(path, &mark)
            })
            .map(|(_, pid)| pid)
            .collect();
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        std::thread::yield_now();
    }
}

fn marked(path: &Path, mark: &str) -> bool {
    // Of another user's process it cannot be read, and of one that has ended it is empty.
    fs::read(path.join("environ")).is_ok_and(|environ| {
        environ
            .split(|byte| *byte == 0)
            .any(|pair| pair == mark.as_bytes())
    })
}

fn all() -> impl Iterator<Item = (std::path::PathBuf, Pid)> {
    let me = rustix::process::getpid();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((entry.path(), Pid::from_raw(pid)?))
        })
        .filter(move |(path, pid)| *pid != me && !is_zombie(path))
}

fn is_zombie(path: &Path) -> bool {
    fs::read_to_string(path.join("stat")).is_ok_and(|stat| {
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    })
}
