//! The process that is the pod.
//!
//! A driver has threads and must not fork: `create` has a keeper forked from a process that was there before them ([`early`]), or
//! executes this program again (`/proc/self/exe __pod`). What then runs is two processes of one thread each:
//!
//! ```text
//! driver ──spawns──► keeper (session of its own, the host's namespaces: id maps, the way out, cgroups; cleans up last)
//!                      └─ first process of the pod's namespaces (control socket, containers)
//!                           ├─ stepyard-agent addon      step-a: its own mount, PID and cgroup namespace
//!                           └─ stepyard-agent addon      step-b
//! ```
//!
//! The drivers come to each addon by a socket of its own: there is no lite-engine here.
//!
//! Neither needs the driver to live. If the keeper is killed, the kernel kills the first process with it (parent-death signal),
//! and with that every process of the pod, its mounts and its namespaces.

pub(crate) mod early;
mod first;
pub(crate) mod idmap;
mod mounts;
mod network;

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use driver::backend::{Failure, FailureKind};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};

use crate::cgroup::Cgroups;
use crate::control::{Answer, First, Pod};
use crate::sys;

/// The hidden first argument that makes a program a keeper.
pub const ARGUMENT: &str = "__pod";

/// Runs a keeper to its end. A program that makes native pods calls this first in `main` when its first argument is
/// [`ARGUMENT`], before any thread.
pub fn pod_main() -> std::process::ExitCode {
    // Standard input is the first driver's connection.
    let Ok(connection) = io::stdin().as_fd().try_clone_to_owned() else {
        return std::process::ExitCode::FAILURE;
    };
    match hold_for(&UnixStream::from(connection)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(()) => std::process::ExitCode::FAILURE,
    }
}

/// Runs a keeper to its end; its driver is told what went wrong.
fn hold_for(connection: &UnixStream) -> Result<(), ()> {
    run(connection).map_err(|failure| {
        // The driver may be gone: then nobody wants to know.
        let _ = say(connection, &Answer::Failed(failure));
    })
}

fn run(connection: &UnixStream) -> Result<(), Failure> {
    let line = first_line(connection).map_err(|e| failed("read what pod to hold", &e))?;
    let first: First =
        serde_json::from_slice(&line).map_err(|e| failed("read what pod to hold", &e))?;
    // The terminal's signals are for the driver. It fails where this is a group leader already, which is as good.
    let _ = nix::unistd::setsid();
    match first {
        First::Pod(pod) => hold(connection, &pod),
        First::Process(process) => crate::host::hold(connection, &process),
        First::Remove(dir) => remove(connection, &dir),
    }
}

/// The first line of a connection, its end included, and nothing of what follows it: that is for who reads on. Looked at before it is
/// taken, so that it is not read byte by byte.
fn first_line(mut connection: &UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut chunk = [0; 4096];
    while line.last() != Some(&b'\n') {
        let (seen, _) = rustix::net::recv(connection, &mut chunk, rustix::net::RecvFlags::PEEK)?;
        let seen = &chunk[..seen];
        let taken = seen.iter().position(|b| *b == b'\n');
        let taken = taken.map_or(seen.len(), |end| end + 1);
        if taken == 0 || line.len() + taken > crate::control::MAX_LINE {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let begun = line.len();
        line.resize(begun + taken, 0);
        connection.read_exact(&mut line[begun..])?;
    }
    Ok(line)
}

/// Makes the namespaces, lets the first process run in them, and cleans up behind it.
fn hold(connection: &UnixStream, pod: &Pod) -> Result<(), Failure> {
    // What is made for containers is for their users, whatever the command's own files are.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    // Held for life, by the first process too: who gets this lock knows that no process of the pod is left.
    // Who it is stands in it before: that is for who wants the pod to end while nobody listens yet.
    let mut lock =
        File::create(pod.dir.join("lock")).map_err(|e| failed("create the pod's lock", &e))?;
    write!(lock, "{}", std::process::id())
        .and_then(|()| lock.lock())
        .map_err(|e| failed("lock the pod", &e))?;
    let mut warnings = Vec::new();
    let cgroups = Cgroups::for_pod(&pod.name, pod.limited, &mut warnings);
    let child = split(pod.network, &mut warnings, |warnings, network| {
        first::run(connection, pod, &cgroups, warnings, network)
    })?;
    // The first process closes its end when the pod begins to end, or by its own end.
    let _ = File::from(child.lives).read(&mut [0]);
    // It takes as long to end as the rest of the pod: beside that.
    let way_out = child.way_out.map(|mut way_out| {
        way_out.kill();
        way_out
    });
    let end = reap(child.pid);
    drop(way_out);
    cgroups.remove();
    drop(lock);
    match end {
        Some(WaitStatus::Exited(_, 0)) => Ok(()),
        end => Err(Failure {
            kind: FailureKind::Gone,
            container: None,
            message: format!("the pod {} ended: {}", pod.name, words(end)),
            help: None,
        }),
    }
}

/// Removes a directory as the root of a fresh user namespace.
fn remove(connection: &UnixStream, dir: &Path) -> Result<(), Failure> {
    let mut warnings = Vec::new();
    let child = split(pipeline::pod::Network::Host, &mut warnings, |_, _| {
        let answer = match crate::store::remove_tree(dir) {
            Ok(()) => Answer::Deleted,
            Err(e) => Answer::Failed(failed(&format!("remove {}", dir.display()), &e)),
        };
        i32::from(say(connection, &answer).is_err())
    })?;
    reap(child.pid);
    Ok(())
}

/// The first process of a pod, seen from its keeper.
struct Child {
    pid: Pid,
    way_out: Option<network::WayOut>,
    /// Ends when the first process says that the pod is ending, or ends.
    lives: OwnedFd,
}

/// What the first process has of its keeper.
struct Link {
    /// A line about the way out of the network will come.
    network: File,
    /// To be closed when the pod begins to end.
    lives: OwnedFd,
}

/// Forks into new namespaces and runs `inside` there as root of them; its result is the exit code.
fn split(
    network: pipeline::pod::Network,
    warnings: &mut Vec<String>,
    inside: impl FnOnce(&mut Vec<String>, Link) -> i32,
) -> Result<Child, Failure> {
    let user = !geteuid().is_root();
    let private = network == pipeline::pod::Network::Private;
    let mut flags =
        libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if user {
        flags |= libc::CLONE_NEWUSER;
    }
    if private {
        flags |= libc::CLONE_NEWNET;
    }
    // The maps and the network are made from outside; what could not be given is told over the same pipe.
    let (told, tell) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)
        .map_err(|e| failed("create a pipe", &e))?;
    let (ends, lives) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)
        .map_err(|e| failed("create a pipe", &e))?;
    let pid = match sys::fork_into(flags) {
        Ok(Some(pid)) => pid,
        Ok(None) => {
            drop((tell, ends));
            let code = match arrive(told, user) {
                Ok((mut told, network)) => {
                    warnings.append(&mut told);
                    inside(warnings, Link { network, lives })
                }
                Err(_) => 1,
            };
            // No destructor of the keeper's state may run twice.
            std::process::exit(code);
        }
        Err(error) => return Err(refused(&error, user)),
    };
    drop((told, lives));
    let mut more = Vec::new();
    let mapped = if user {
        idmap::write(pid, &mut more)
    } else {
        Ok(())
    };
    match mapped {
        Ok(()) => {
            let mut tell = File::from(tell);
            // A child that is gone is seen by `reap`.
            let mut line = |texts: &[String]| {
                let text = serde_json::to_string(texts).expect("strings are JSON");
                let _ = writeln!(tell, "{text}");
            };
            line(&more);
            more.clear();
            // Beside what the child does meanwhile.
            let way_out = if private {
                network::open(pid, user, &mut more)
            } else {
                None
            };
            line(&more);
            Ok(Child {
                pid,
                way_out,
                lives: ends,
            })
        }
        Err(failure) => {
            // The pipe's end without a line ends the child.
            drop(tell);
            reap(pid);
            Err(failure)
        }
    }
}

/// The child's side of [`split`]: waits for its maps, becomes root of its user namespace. A second line, about the network, is left
/// to be read.
fn arrive(told: OwnedFd, user: bool) -> io::Result<(Vec<String>, File)> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mut text = String::new();
    let told = File::from(told);
    BufReader::with_capacity(1, &told).read_line(&mut text)?;
    let warnings = serde_json::from_str(&text)?;
    if user {
        nix::unistd::setresgid(0.into(), 0.into(), 0.into())?;
        nix::unistd::setresuid(0.into(), 0.into(), 0.into())?;
        // A change of ids clears it.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    }
    Ok((warnings, told))
}

fn reap(pid: Pid) -> Option<WaitStatus> {
    loop {
        match waitpid(pid, None) {
            Err(nix::errno::Errno::EINTR) => {}
            Ok(status) => return Some(status),
            Err(_) => return None,
        }
    }
}

fn words(end: Option<WaitStatus>) -> String {
    match end {
        Some(WaitStatus::Exited(_, code)) => format!("its first process exited with {code}"),
        Some(WaitStatus::Signaled(_, signal, _)) => {
            format!("its first process was killed by {signal}")
        }
        _ => "its first process is no more".to_owned(),
    }
}

fn refused(error: &io::Error, user: bool) -> Failure {
    let mut failure = failed("create the pod's namespaces", error);
    failure.kind = FailureKind::Authorization;
    if user {
        failure.help = Some(
            "this machine restricts user namespaces: allow them (sysctl user.max_user_namespaces=10000; where they are there, \
             kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0), run as root, or use \
             --backend docker"
                .to_owned(),
        );
    } else {
        failure.help = Some(
            "root without CAP_SYS_ADMIN cannot make namespaces: run outside of this container, or give it the capability"
                .to_owned(),
        );
    }
    failure
}

/// One answer as a line.
pub(crate) fn say(to: &UnixStream, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let mut to = to;
    to.write_all(&line)
}

/// What could not be done, in words.
pub(crate) fn failed(what: &str, error: &(impl std::fmt::Display + ?Sized)) -> Failure {
    Failure {
        kind: FailureKind::Infrastructure,
        container: None,
        message: format!("failed to {what}: {error}"),
        help: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_is_taken_and_no_more() {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        let long = "x".repeat(10_000);
        let said = std::thread::spawn(move || {
            let text = format!("{long}\nnext");
            for piece in text.as_bytes().chunks(3_000) {
                ours.write_all(piece).expect("it is read");
            }
        });
        let line = first_line(&theirs).expect("a line");
        assert_eq!((line.len(), line.last()), (10_001, Some(&b'\n')));
        said.join().expect("no panic");
        let mut rest = String::new();
        (&theirs).read_to_string(&mut rest).expect("the rest");
        assert_eq!(rest, "next");
        // One that ends before.
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        (&ours).write_all(b"half").expect("room");
        drop(ours);
        assert!(first_line(&theirs).is_err());
    }
}
