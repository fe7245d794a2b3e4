//! Unix sockets by directory and name: no path is too long, and no link is followed.
//!
//! A path of a socket may have 107 bytes, and a name in a directory that others may write can be a link to anywhere. Both go
//! away with an open directory and `/proc/self/fd/N/name`.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Connections that may wait to be accepted: the kernel's own bound for most systems.
const BACKLOG: i32 = 128;

/// Opens a directory to find things in, following links (its path is the caller's own).
pub fn directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        CWD,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Opens `name` in `dir`, where it is a directory and no link.
pub fn subdirectory(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(
        dir,
        name,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Connects to the socket `name` in `dir`, without waiting: where its queue is full that is an error too.
pub fn connect(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let file = rustix::fs::openat(
        dir,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    if kind != rustix::fs::FileType::Socket {
        return Err(Errno::NOTSOCK);
    }
    let socket = stream()?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// Listens on `name` in `dir`. The name appears when connecting to it works, in place of what was there.
pub fn listen(dir: BorrowedFd<'_>, name: &str, mode: u32) -> io::Result<OwnedFd> {
    let early = format!(".{name}");
    let _ = rustix::fs::unlinkat(dir, &*early, AtFlags::empty());
    let socket = stream()?;
    let path = format!("/proc/self/fd/{}/{early}", dir.as_raw_fd());
    rustix::net::bind(&socket, &SocketAddrUnix::new(&*path)?)?;
    rustix::fs::chmodat(dir, &*early, Mode::from_raw_mode(mode), AtFlags::empty())?;
    rustix::net::listen(&socket, BACKLOG)?;
    rustix::fs::renameat(dir, &*early, dir, name)?;
    Ok(socket)
}

/// Standard input as a listening socket that was made before this process; what is started later does not inherit it.
///
/// Who starts this process need not wait for it then: a connection waits in the socket's queue.
pub fn inherited() -> io::Result<OwnedFd> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::fs::fcntl_setfl(&socket, OFlags::NONBLOCK)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    nix::unistd::dup2_stdin(null)?;
    Ok(socket)
}

/// Standard output as a file that was made before this process; nothing is printed there, and what is started later does not inherit it.
pub fn inherited_file() -> io::Result<std::fs::File> {
    let file = io::stdout().as_fd().try_clone_to_owned()?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    nix::unistd::dup2_stdout(null)?;
    Ok(file.into())
}

/// A connection that waits, if one does.
pub fn accept(listener: &OwnedFd) -> Option<OwnedFd> {
    rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).ok()
}

fn stream() -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}
