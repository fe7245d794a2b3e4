//! A process that was forked off when the command began, small and of one thread: keepers are forked from it.
//!
//! To execute the whole command again for each keeper costs more than all else that a keeper does before its pod has its first process.
//! It ends when the command does; its keepers stay.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;

use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

use crate::sys;

/// To the process, where there is one.
static PROCESS: OnceLock<OwnedFd> = OnceLock::new();

/// Forks the process off from which the keepers of this command's pods will be forked. A program that makes native pods may
/// call this first of all in `main`, before any thread. Without it each keeper is executed, which does the same, later. The variables
/// `secret` of the environment are empty in that process, in the keepers, and in what they start on the machine.
///
/// # Errors
///
/// There is no socket or no process to be had.
pub fn keepers_early(secret: &[OsString]) -> io::Result<()> {
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    if sys::fork_into(0)?.is_some() {
        // A second call finds the first one's process.
        let _ = PROCESS.set(ours);
        return Ok(());
    }
    drop(ours);
    let code = match serve(&theirs, secret) {
        Ok(()) => 0,
        Err(_) => 1,
    };
    // No destructor of the command's state may run twice.
    std::process::exit(code)
}

/// Has a keeper forked that holds this connection. `false`: there is nothing to fork it from.
pub(crate) fn fork(connection: &UnixStream) -> bool {
    let Some(process) = PROCESS.get() else {
        return false;
    };
    let fds = [connection.as_raw_fd()];
    let sent = sendmsg::<()>(
        process.as_raw_fd(),
        &[IoSlice::new(&[0])],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    );
    sent.is_ok()
}

/// Forks keepers until the command is gone.
fn serve(socket: &OwnedFd, secret: &[OsString]) -> io::Result<()> {
    // The terminal and its signals are the command's.
    let _ = nix::unistd::setsid();
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(null.as_fd())?;
    nix::unistd::dup2_stdout(null.as_fd())?;
    nix::unistd::dup2_stderr(null.as_fd())?;
    drop(null);
    forget(secret);
    // SAFETY: that children are not waited for runs no code of ours.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
    while let Some(connection) = next(socket)? {
        if sys::fork_into(0)?.is_some() {
            continue;
        }
        // SAFETY: the default action runs no code of ours.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        nix::unistd::close(socket.as_raw_fd())?;
        std::process::exit(i32::from(super::hold_for(&connection).is_err()));
    }
    Ok(())
}

/// The next keeper's connection; none when the command is gone.
fn next(socket: &OwnedFd) -> io::Result<Option<UnixStream>> {
    let mut byte = [0];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let mut into = [IoSliceMut::new(&mut byte)];
    let message = loop {
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<()>(socket.as_raw_fd(), &mut into, Some(&mut space), flags) {
            Err(nix::errno::Errno::EINTR) => {}
            got => break got?,
        }
    };
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let [fd] = fds[..]
        {
            // SAFETY: the kernel has just made this descriptor for this process, and nothing else knows it.
            return Ok(Some(UnixStream::from(unsafe { OwnedFd::from_raw_fd(fd) })));
        }
    }
    Ok(None)
}

/// Overwrites the words of the command line, as `ps` shows them, and the values of the variables `secret`: a keeper outlives its command,
/// and what it starts on the machine has its environment.
fn forget(secret: &[OsString]) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in parentheses; fields 48 to 50 are where the words begin and end, and where the environment begins.
    let Some((_, rest)) = stat.rsplit_once(") ") else {
        return;
    };
    let mut fields = rest.split(' ').skip(45).map(str::parse::<u64>);
    let (Some(Ok(from)), Some(Ok(to)), Some(Ok(environment))) =
        (fields.next(), fields.next(), fields.next())
    else {
        return;
    };
    let mut words = vec![0; to.saturating_sub(from) as usize];
    let name = b"stepyard\0__pod";
    let len = name.len().min(words.len());
    words[..len].copy_from_slice(&name[..len]);
    let Ok(memory) = File::options().write(true).open("/proc/self/mem") else {
        return;
    };
    let _ = memory.write_all_at(&words, from);
    let all = std::fs::read("/proc/self/environ").unwrap_or_default();
    let mut at = environment;
    for entry in all.split(|byte| *byte == 0) {
        let name = entry.iter().position(|byte| *byte == b'=');
        if let Some(name) = name
            && secret.iter().any(|own| own.as_bytes() == &entry[..name])
        {
            // What is left is a variable with nothing in it.
            let nothing = vec![0; entry.len() - name - 1];
            let _ = memory.write_all_at(&nothing, at + name as u64 + 1);
        }
        at += entry.len() as u64 + 1;
    }
}
