//! The few calls of the kernel that have no safe form.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::unistd::Pid;

/// `fork` into new namespaces (`CLONE_NEW…` flags).
///
/// Returns the child's id, or `None` in the child.
///
/// # Errors
///
/// As `clone(2)`.
pub(crate) fn fork_into(flags: libc::c_int) -> io::Result<Option<Pid>> {
    assert_single_threaded();
    // SAFETY: without CLONE_VM and with a null stack this is a fork: the child runs on a copy of this stack and of all
    // memory. The process has one thread (checked above), so no lock of the allocator or of anything else can be held by a
    // thread that does not exist in the child.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::c_long::from(flags | libc::SIGCHLD),
            0,
            0,
            0,
            0,
        )
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(Pid::from_raw(pid as libc::pid_t))),
    }
}

/// Panics where this process has a second thread: a fork would copy locks that nobody will ever release.
fn assert_single_threaded() {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    assert_eq!(threads, 1, "a keeper has one thread");
}

/// Makes a tree of mounts read-only, and (where asked) free of usable device nodes and set-uid programs.
///
/// # Errors
///
/// As `mount_setattr(2)`.
pub(crate) fn restrict_mount(
    at: BorrowedFd<'_>,
    attributes: u64,
    recursive: bool,
) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the descriptor is borrowed and open, the path is an empty C string, and the structure outlives the call and
    // is given with its own size.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sets the loopback interface of the current network namespace up.
///
/// # Errors
///
/// As `ioctl(SIOCSIFFLAGS)`.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: an all-zero ifreq is a valid value: it is plain old data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the socket is open, and the request is a whole ifreq with a terminated name that outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes a network interface for packets in the current network namespace that stays when who reads it is gone: its removal, for which
/// the kernel waits long, is then left to that of the namespace.
///
/// # Errors
///
/// As `open(2)` of `/dev/net/tun`, and its `ioctl`s.
pub(crate) fn lasting_tap(name: &str) -> io::Result<()> {
    /// `_IOW('T', 202, int)` and `_IOW('T', 203, int)` of `linux/if_tun.h`.
    const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
    const TUNSETPERSIST: libc::Ioctl = 0x4004_54cb;
    let tun = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    // SAFETY: an all-zero ifreq is a valid value: it is plain old data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name.as_bytes()) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open, and the request is a whole ifreq with a terminated name that outlives the call.
    let made = unsafe { libc::ioctl(tun.as_raw_fd(), TUNSETIFF, &raw const request) };
    if made != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open; this call takes a number and no memory.
    let kept = unsafe { libc::ioctl(tun.as_raw_fd(), TUNSETPERSIST, 1) };
    if kept == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Marks every descriptor from `first` on to be closed by the next exec.
pub(crate) fn close_on_exec_from(first: u32) {
    // SAFETY: only a flag of this process's descriptors changes; none is closed here. A kernel without the call leaves
    // them as they are: ours are made with that flag already.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}

/// Installs a seccomp filter for this process and what it executes.
///
/// # Errors
///
/// As `prctl(PR_SET_SECCOMP)`.
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions from `filter`, which points at exactly that many; it writes nothing.
    let done = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
