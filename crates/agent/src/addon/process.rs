//! Starting a step's process, telling it to end, and reaping whatever ends.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ::addon::attempt::Launch;
use ::addon::frame::Exit;
use rustix::process::{Pid, Signal, WaitIdOptions, WaitOptions};

use super::spawn::{Program, Wires, Wiring};

/// Bytes of the pipe of a step's output: a process that writes in bursts is not held up by each of them.
const PIPE: usize = 1024 * 1024;
/// Where programs are looked for when no PATH is set, as the kernel's own first process has it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a dynamically linked program is loaded by and with, where the common C libraries have it.
const LOADED: &[&str] = &[
    "/etc/ld.so.cache",
    #[cfg(target_arch = "x86_64")]
    "/lib64/ld-linux-x86-64.so.2",
    #[cfg(target_arch = "x86_64")]
    "/lib/x86_64-linux-gnu/libc.so.6",
    #[cfg(target_arch = "x86_64")]
    "/lib/ld-musl-x86_64.so.1",
    #[cfg(target_arch = "aarch64")]
    "/lib/ld-linux-aarch64.so.1",
    #[cfg(target_arch = "aarch64")]
    "/lib/aarch64-linux-gnu/libc.so.6",
    #[cfg(target_arch = "aarch64")]
    "/lib/ld-musl-aarch64.so.1",
];
/// Bytes of the longest argument, and of the longest `NAME=value`, the NUL behind it aside (`MAX_ARG_STRLEN` of Linux).
const LONGEST: usize = 128 * 1024 - 1;
/// Bytes that the start of a step takes for what it is told, its environment and its arguments, where none of them is large.
const START: usize = 64 * 1024;
/// Milliseconds for what was killed to be gone before the next occupant starts; a process stuck in the kernel is left.
const GONE_MS: u64 = 2_000;

/// The pipe of a step's output, both ends, and nothing for its input.
#[derive(Debug)]
pub(super) struct Output {
    read: OwnedFd,
    /// The end that is the process's, which the wires name.
    _write: OwnedFd,
    wires: Wires,
}

impl Output {
    pub(super) fn new() -> io::Result<Self> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&read, true)?;
        // Where the user's quota of pipes is used up, the usual size does too.
        let _ = rustix::pipe::fcntl_setpipe_size(&read, PIPE);
        let wires = Wires::new([None, Some(write.as_fd()), Some(write.as_fd())])?;
        Ok(Self {
            read,
            _write: write,
            wires,
        })
    }
}

/// Has the kernel look up what most steps begin with, and give the memory that a start takes. In a container's fresh root filesystem the
/// first look at each directory takes as long as all else that is done here between two steps.
pub(super) fn look_ahead() {
    // It stays with the allocator, which would ask for it page by page.
    drop(std::hint::black_box(vec![1_u8; START]));
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
    for program in ["sh", "bash"] {
        let _ = find(program, &path);
    }
    for file in LOADED {
        let _ = std::fs::metadata(file);
    }
}

/// Starts the process in a group of its own, its output on one pipe: the one that was made ahead, or a new one. An error is in words for
/// the user.
pub(super) fn start(launch: &Launch, output: Option<Output>) -> Result<(Pid, OwnedFd), String> {
    let workdir = Path::new(&launch.workdir);
    if !workdir.is_dir() {
        std::fs::create_dir_all(workdir).map_err(|error| {
            format!(
                "failed to make the working directory {}: {error}",
                launch.workdir
            )
        })?;
    }
    let env = environment(&launch.env)?;
    let (argv, _script) = in_memory(&launch.argv)
        .map_err(|error| format!("failed to keep the script in memory: {error}"))?;
    let program = prepare(&argv, &env)?;
    let output = output.map_or_else(Output::new, Ok);
    let output = output.map_err(|error| format!("failed to make a pipe: {error}"))?;
    let wiring = Wiring {
        wires: &output.wires,
        workdir: Some(workdir),
        group: true,
    };
    let pid = program
        .spawn(&wiring)
        .map_err(|error| explain(&error, &launch.argv, program.path()))?;
    Ok((pid, output.read))
}

/// A script that is longer than one argument may be goes to its shell as a file that is only in memory: it may hold secrets.
/// The file is open for the shell under the same number.
fn in_memory(argv: &[String]) -> io::Result<(Vec<String>, Option<OwnedFd>)> {
    match argv {
        [shell, flag, script]
            if flag == "-c"
                && script.len() >= LONGEST
                && matches!(&**shell, "sh" | "bash" | "python3") =>
        {
            let memory = rustix::fs::memfd_create("script", rustix::fs::MemfdFlags::empty())?;
            let mut file = std::fs::File::from(memory);
            io::Write::write_all(&mut file, script.as_bytes())?;
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            Ok((vec![shell.clone(), path], Some(file.into())))
        }
        _ => Ok((argv.to_vec(), None)),
    }
}

/// A command whose program has been found, with its whole environment.
pub(super) fn prepare(
    argv: &[String],
    env: &BTreeMap<OsString, OsString>,
) -> Result<Program, String> {
    let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
        return Err(
            "there is no command to run: the image has no entrypoint, and the step names none; set `entrypoint` or `command`"
                .to_owned(),
        );
    };
    let path = env
        .get(OsStr::new("PATH"))
        .cloned()
        .unwrap_or_else(|| PATH.into());
    let found = find(program, &path)?;
    Ok(Program::new(found, argv, env))
}

/// This process's environment (the image's) with the step's over it.
/// An error is in words for the user.
pub(super) fn environment(
    over: &[(String, String)],
) -> Result<BTreeMap<OsString, OsString>, String> {
    let mut env: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    for (name, value) in over {
        // A process that is told less than was written would do something else.
        if value.contains('\0') {
            return Err(format!(
                "the value of the environment variable {name} holds a NUL byte, which no process can be given: take it out where the step's value comes from, or encode the value as base64"
            ));
        }
        // `NAME=value` and the NUL behind it.
        let bytes = name.len() + value.len() + 2;
        if bytes > LONGEST + 1 {
            return Err(format!(
                "the environment variable {name} is too long ({bytes} bytes with its name; the kernel takes {}): put the value into a file of the workspace",
                LONGEST + 1
            ));
        }
        // What no environment can hold would keep the process from starting.
        if !name.is_empty() && !name.contains(['=', '\0']) {
            env.insert(name.into(), value.into());
        }
    }
    env.entry("PATH".into()).or_insert_with(|| PATH.into());
    Ok(env)
}

fn find(program: &str, path: &OsStr) -> Result<PathBuf, String> {
    if program.contains('/') {
        return Ok(PathBuf::from(program));
    }
    let mut refused = None;
    for dir in std::env::split_paths(path) {
        let candidate = dir.join(program);
        if let Ok(meta) = std::fs::metadata(&candidate)
            && meta.is_file()
        {
            if meta.permissions().mode() & 0o111 != 0 {
                return Ok(candidate);
            }
            refused = Some(candidate);
        }
    }
    if let Some(path) = refused {
        return Err(format!("{} is not executable", path.display()));
    }
    let mend = match program {
        "bash" => "use `shell: Sh`, or an image that has bash",
        "sh" => "use an image that has a shell, or a step with an `entrypoint`",
        "pwsh" => "use another shell, or an image that has PowerShell",
        "python3" => "use another shell, or an image that has Python 3",
        _ => "name a program of the image, or use an image that has it",
    };
    Err(format!(
        "the image has no `{program}` (looked in {}): {mend}",
        path.display()
    ))
}

fn explain(error: &io::Error, argv: &[String], program: &Path) -> String {
    use rustix::io::Errno;
    let name = program.display();
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) if program.exists() => format!(
            "{name} is there, but what runs it is not: the interpreter of its first line (`#!`), or the loader of a dynamically linked program; use an image that has it"
        ),
        Some(Errno::NOENT | Errno::NOTDIR) => {
            format!(
                "the image has no {name}: name a program of the image, or use an image that has it"
            )
        }
        Some(Errno::ACCESS) => format!(
            "{name} may not be executed by user {}: set `runAsUser`, or make it executable in the image",
            rustix::process::getuid().as_raw()
        ),
        Some(Errno::NOEXEC) => format!(
            "{name} is not a program for this machine: the image is for another platform, or a script has no `#!` line"
        ),
        Some(Errno::TOOBIG) => format!(
            "the command and its environment are too long ({} bytes of arguments; the kernel takes 131,072 for each): put the script into a file of the workspace",
            argv.iter().map(String::len).sum::<usize>()
        ),
        _ => format!("failed to start {name}: {error}"),
    }
}

/// SIGTERM to a group; one that is stopped is woken to hear it.
pub(super) fn terminate(group: Pid) {
    let _ = rustix::process::kill_process_group(group, Signal::TERM);
    let _ = rustix::process::kill_process_group(group, Signal::CONT);
}

/// Whether a group has members.
pub(super) fn group_lives(group: Pid) -> bool {
    rustix::process::test_kill_process_group(group).is_ok()
}

/// SIGKILL to everything in the container. Only the first process of one may mean that by "everything": anywhere else it is
/// the attempt's group and the orphans that came here.
pub(super) fn kill_all(group: Option<Pid>) {
    if rustix::process::getpid() == Pid::INIT {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(-1), nix::sys::signal::SIGKILL);
        return;
    }
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    for child in children() {
        let _ = rustix::process::kill_process(child, Signal::KILL);
    }
}

/// Children of this process, adopted ones included.
fn children() -> Vec<Pid> {
    let me = rustix::process::getpid();
    std::fs::read_to_string(format!("/proc/self/task/{me}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|word| Pid::from_raw(word.parse().ok()?))
        .collect()
}

/// The next process that has ended.
pub(super) fn reap() -> Option<(Pid, Exit)> {
    let (pid, status) = rustix::process::wait(WaitOptions::NOHANG).ok().flatten()?;
    let exit = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => return None,
    };
    Some((pid, exit))
}

/// Kills what an earlier occupant left, and waits until it is gone: the children of the dead come here and die in turn.
/// The answer is who ended.
pub(super) fn end_leftovers(group: Option<Pid>) -> Vec<(Pid, Exit)> {
    let until = crate::poll::now().mono_ms + GONE_MS;
    let mut ended = Vec::new();
    loop {
        while let Some(one) = reap() {
            ended.push(one);
        }
        // No child, adopted ones included, means that no process of an earlier step lives.
        if alone() {
            return ended;
        }
        kill_all(group);
        let left = until.saturating_sub(crate::poll::now().mono_ms);
        if left == 0 || !await_child(left) {
            return ended;
        }
    }
}

/// Whether no process but this one is here, orphans that it would inherit included.
pub(super) fn alone() -> bool {
    let nobody = rustix::process::waitid(
        rustix::process::WaitId::All,
        WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT,
    );
    matches!(nobody, Err(rustix::io::Errno::CHILD))
}

/// Waits for SIGCHLD, which is blocked here and read by a descriptor of its own.
fn await_child(millis: u64) -> bool {
    use nix::sys::signal::{SigSet, Signal as Number};
    use nix::sys::signalfd::{SfdFlags, SignalFd};
    let mut set = SigSet::empty();
    set.add(Number::SIGCHLD);
    let Ok(signals) = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
    else {
        return false;
    };
    let mut waits = crate::poll::Waits::new();
    waits.add((), std::os::fd::AsFd::as_fd(&signals), true, false);
    let came = waits
        .wait(Some(crate::poll::now().mono_ms + millis))
        .is_ok_and(|ready| !ready.is_empty());
    let _ = signals.read_signal();
    came
}
