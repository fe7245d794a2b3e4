//! What a pod must not leave.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::Pid;

/// `Err` names what is left of pods with this prefix below this state directory.
pub(crate) fn nothing(state: &Path, prefix: &str) -> Result<(), String> {
    let mut left = Vec::new();
    for entry in fs::read_dir(state.join("pods"))
        .into_iter()
        .flatten()
        .flatten()
    {
        left.push(format!("directory {}", entry.path().display()));
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let below = state.display().to_string();
    left.extend(
        mounts
            .lines()
            .filter(|l| l.contains(&below))
            .map(|l| format!("mount {l}")),
    );
    groups(
        Path::new("/sys/fs/cgroup"),
        &format!("stepyard-{prefix}"),
        0,
        &mut left,
    );
    processes(state, &mut left);
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!("left: {}", left.join("; ")))
    }
}

fn groups(dir: &Path, prefix: &str, depth: usize, left: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            left.push(format!("control group {}", entry.path().display()));
        } else if depth < 4 {
            groups(&entry.path(), prefix, depth + 1, left);
        }
    }
}

/// Keepers of this very program, and agents of this state directory.
fn processes(state: &Path, left: &mut Vec<String>) {
    let identity = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    let mut ours: Vec<_> = fs::read_dir(state.join("agent"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| identity(&e.path()))
        .collect();
    let program = identity(Path::new("/proc/self/exe"));
    ours.extend(program);
    let own = std::process::id().to_string();
    let parent = std::os::unix::process::parent_id().to_string();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if !pid.bytes().all(|b| b.is_ascii_digit()) || pid == own || pid == parent {
            continue;
        }
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let field = |name: &str| {
            status
                .lines()
                .find_map(|l| l.strip_prefix(name))
                .unwrap_or("")
        };
        let exe = identity(&entry.path().join("exe"));
        // An ordinary user may not see what a process in a user namespace executes: for it every process in one counts.
        let user = nix::unistd::getuid();
        let nested = field("NSpid:").split_whitespace().count() > 1
            && !user.is_root()
            && field("Uid:").split_whitespace().next() == Some(&user.to_string());
        let found = exe.is_some_and(|e| ours.contains(&e)) || nested;
        // What ends at this moment is not left.
        if found && let Err(why) = pid.parse().map_or(Ok(()), |p| end_of(Pid::from_raw(p))) {
            left.push(why);

            left.push(format!("({})", field("Name:").trim()));
        }
    }
}

/// Waits for the end of a process that is about to end.
pub(crate) fn end_of(pid: Pid) -> Result<(), String> {
    let Some(raw) = rustix::process::Pid::from_raw(pid.as_raw()) else {
        return Ok(());
    };
    let Ok(fd) = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty()) else {
        return Ok(());
    };
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, 3000_u16) {
        Ok(0) => Err(format!("process {pid} runs on")),
        _ => Ok(()),
    }
}
