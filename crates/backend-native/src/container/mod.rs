//! One container: from a plan to the addon as the first process in it.
//!
//! All of this runs in the child of the pod's first process, in a mount and a PID namespace of its own. What it mounts is in no
//! other namespace, so its end needs no cleaning up.

mod identity;
mod mounts;
mod root;
mod seccomp;

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use driver::backend::{Failure, FailureKind};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use serde::{Deserialize, Serialize};

use crate::cgroup::Own;
use crate::control::{Container, Pod};
use crate::sys;

/// Where the agent is in a container.
const AGENT: &str = "/addon/bin/stepyard-agent";
/// What a shell finds without any PATH: the engines' own default.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the building of a container says, one JSON value a line. Silence is success.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// It goes on without this.
    Warning(String),
    /// It ends.
    Failed(Failure),
}

/// Finds out, before there are containers, what is the same for all of them: each begins as a copy of this process.
pub(crate) fn learn() {
    crate::keeper::idmap::initial();
    root::submounts();
}

/// Makes the directories of a container, and the socket that its addon will listen on. Drivers may connect from now on: they wait in its
/// queue until the addon is there.
pub(crate) fn prepare(pod: &Pod, name: &str) -> Result<File, Failure> {
    let open = |dir: &Path, mode: u32| {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(mode))
    };
    let made = (|| {
        let (slice, work) = (pod.slice(name), pod.work(name));
        for dir in [&slice, &slice.join("bin"), &slice.join("tmp")] {
            // Whatever user the addon runs as: no other container sees this directory, and the pod's is closed to others.
            open(dir, 0o777)?;
        }
        fs::create_dir_all(work.join("root"))
    })();
    made.map_err(|e: std::io::Error| {
        crate::keeper::failed("make the container's directories", &e)
    })?;
    let listener = crate::addons::listen(&pod.dir, name);
    let listener = listener.map_err(|e| failed("listen for the driver", &e))?;
    Ok(File::from(OwnedFd::from(listener)))
}

/// Builds the container around this process and becomes its addon. Does not return.
pub(crate) fn become_container(
    pod: &Pod,
    plan: &Container,
    groups: &[Own],
    listener: &File,
    told: &OwnedFd,
) -> ! {
    let mut talk = Talk {
        to: told.try_clone().ok().map(File::from),
    };
    let failure = match build(pod, plan, groups, listener, &mut talk) {
        Ok(never) => match never {},
        Err(mut failure) => {
            failure.container = Some(plan.name.clone());
            failure
        }
    };
    talk.say(&Word::Failed(failure));
    // No destructor of the first process's state may run twice.
    std::process::exit(70)
}

/// Where warnings go.
pub(crate) struct Talk {
    to: Option<File>,
}

impl Talk {
    fn say(&mut self, word: &Word) {
        if let (Some(to), Ok(mut line)) = (&mut self.to, serde_json::to_vec(word)) {
            line.push(b'\n');
            // The reader is the parent: if it is gone, so is this process.
            let _ = to.write_all(&line);
        }
    }

    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        self.say(&Word::Warning(text.into()));
    }
}

/// A failure of this container.
fn failed(what: &str, error: &(impl std::fmt::Display + ?Sized)) -> Failure {
    crate::keeper::failed(what, error)
}

/// The pipeline asks for what cannot be.
fn refused(message: String) -> Failure {
    Failure {
        kind: FailureKind::Configuration,
        container: None,
        message,
        help: None,
    }
}

fn build(
    pod: &Pod,
    plan: &Container,
    groups: &[Own],
    listener: &File,
    talk: &mut Talk,
) -> Result<std::convert::Infallible, Failure> {
    for own in groups {
        if let Err(e) = own.enter() {
            talk.warn(format!(
                "{} is not limited: {}: {e}",
                plan.name,
                own.dir().display()
            ));
        }
    }
    let privileged = plan.security.privileged == Some(true);
    if !privileged {
        // A kernel without them hides nothing by this: the paths are all that is seen.
        let _ = unshare(CloneFlags::CLONE_NEWCGROUP);
    }
    let dir = pod.work(&plan.name);
    let spool = spool(pod, plan).map_err(|e| failed("make the container's spool", &e))?;
    let top = root::mount(pod, plan, privileged, talk)?;
    mounts::all(pod, plan, groups, &top, talk).map_err(|e| unfit(e, plan))?;
    enter_root(&dir.join("root"))?;
    let who = identity::resolve(plan, talk)?;
    // The first process blocks signals for its descriptor, and Rust ignores SIGPIPE: neither is for a step to inherit.
    SigSet::empty()
        .thread_set_mask()
        .map_err(|e| failed("unblock signals", &e))?;
    // As in any container, whatever this command was started with: under `nohup` a step would ignore SIGHUP.
    for own in Signal::iterator().filter(|own| !matches!(own, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: the default action runs no code of ours.
        unsafe { signal(own, SigHandler::SigDfl) }.map_err(|e| failed("reset signals", &e))?;
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|e| failed("open /dev/null", &e))?;
    let log = File::options()
        .create(true)
        .append(true)
        .open("/addon/tmp/agent.log")
        .or_else(|_| null.try_clone())
        .map_err(|e| failed("open the addon's log", &e))?;
    for (fd, to) in [(listener, 0), (&spool, 1), (&log, 2)] {
        dup(fd, to)?;
    }
    nix::unistd::chdir(pipeline::pod::WORKSPACE).map_err(|e| failed("enter /harness", &e))?;
    let filter = seccomp::program(&who, privileged, crate::keeper::idmap::one_id());
    who.assume(&plan.security, &filter)?;
    sys::close_on_exec_from(3);
    let argv = [
        AGENT,
        "addon",
        "--listening",
        "--spooling",
        "--run",
        &pod.run,
    ]
    .map(|word| CString::new(word).unwrap_or_default());
    let env = environment(plan, &who, &pod.name);
    match nix::unistd::execve(&argv[0], &argv, &env) {
        Ok(never) => Ok(never),
        Err(e) => Err(failed(&format!("start the addon ({AGENT})"), &e)),
    }
}

/// A file without a name, on the disk: what a step writes while nobody takes it may be large.
fn spool(pod: &Pod, plan: &Container) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = pod.disk(&plan.name, "spool");
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    let parent = path.parent().unwrap_or(&path);
    if let Ok(file) = options.clone().custom_flags(libc::O_TMPFILE).open(parent) {
        return Ok(file);
    }
    // Not every filesystem has such files.
    let file = options.create(true).truncate(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

fn dup(from: &File, to: i32) -> Result<(), Failure> {
    let result = match to {
        0 => nix::unistd::dup2_stdin(from.as_fd()),
        1 => nix::unistd::dup2_stdout(from.as_fd()),
        _ => nix::unistd::dup2_stderr(from.as_fd()),
    };
    result.map_err(|e| failed("redirect the addon's output", &e))
}

/// Makes `top` the root directory; the old one is gone.
fn enter_root(top: &Path) -> Result<(), Failure> {
    let done = (|| {
        nix::unistd::chdir(top)?;
        // Both arguments alike: the old root is stacked on the new one and taken off again.
        nix::unistd::pivot_root(".", ".")?;
        umount2(".", MntFlags::MNT_DETACH)?;
        nix::unistd::chdir("/")
    })();
    done.map_err(|e| failed("enter the container's root filesystem", &e))
}

/// The environment of the addon: the image's, with what engines add.
fn environment(plan: &Container, who: &identity::Identity, host: &str) -> Vec<CString> {
    let mut env: Vec<(&str, &str)> = vec![("PATH", PATH), ("HOSTNAME", host), ("HOME", &who.home)];
    for (name, value) in &plan.env {
        env.retain(|(n, _)| n != name);
        env.push((name, value));
    }
    env.iter()
        // A zero byte cannot come out of an image's JSON and into an environment.
        .filter_map(|(n, v)| CString::new(format!("{n}={v}")).ok())
        .collect()
}

/// What cannot be mounted in this image for what the image holds cannot be in another pod either: nothing is gained by one.
fn unfit(mut failure: Failure, plan: &Container) -> Failure {
    let lasting = [libc::ENOTDIR, libc::EISDIR, libc::EEXIST, libc::ELOOP];
    let is = |number: i32| {
        let error = std::io::Error::from_raw_os_error(number).to_string();
        failure.message.ends_with(&error)
    };
    if failure.kind == FailureKind::Infrastructure && lasting.into_iter().any(is) {
        failure.kind = FailureKind::Configuration;
        failure.container = Some(plan.name.clone());
        failure.help = Some(
            "the image has another thing at that path, such as a file where a directory is mounted: take another path or image"
                .to_owned(),
        );
    }
    failure
}
