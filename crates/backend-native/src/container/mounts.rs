//! What is mounted into a root filesystem: the kernel's filesystems, devices, files of the pod, volumes.
//!
//! The root filesystem is a stranger's: a target is always resolved below it (`RESOLVE_IN_ROOT`), so that a link in an image cannot
//! lead a mount anywhere else.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use driver::backend::Failure;
use nix::mount::{MsFlags, mount};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};

use super::{Talk, failed};
use crate::cgroup::Own;
use crate::control::{Container, Pod};
use crate::sys;

const NONE: Option<&str> = None;
/// Devices of every container.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// What the engines hide of `/proc` and `/sys`.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// What they let be read only.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The root of a container that is being built.
pub(super) struct Top {
    fd: OwnedFd,
    /// Mounts below it that belong to the root filesystem.
    parts: Vec<PathBuf>,
}

impl Top {
    /// Opens a mounted root filesystem.
    pub(super) fn open(at: &Path, parts: Vec<PathBuf>) -> Result<Self, Failure> {
        let fd = rustix::fs::openat(
            CWD,
            at,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|e| failed("open the container's root filesystem", &e))?;
        Ok(Self { fd, parts })
    }

    fn find(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        rustix::fs::openat2(
            &self.fd,
            path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    }

    /// A directory below the root, made where it is missing.
    fn dir(&self, path: &str) -> io::Result<OwnedFd> {
        if let Ok(found) = self.find(path) {
            return Ok(found);
        }
        let mut at = self.find("/")?;
        let mut done = String::new();
        for part in path.split('/').filter(|p| !p.is_empty()) {
            done.push('/');
            done.push_str(part);
            at = match self.find(&done) {
                Ok(found) => found,
                Err(rustix::io::Errno::NOENT) => {
                    rustix::fs::mkdirat(&at, part, Mode::from_raw_mode(0o755))?;
                    self.find(&done)?
                }
                Err(e) => return Err(e.into()),
            };
        }
        Ok(at)
    }

    /// A file below the root, made where it is missing; a link that leads nowhere is replaced by one.
    fn file(&self, path: &str) -> io::Result<OwnedFd> {
        if let Ok(found) = self.find(path) {
            return Ok(found);
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.dir(if parent.is_empty() { "/" } else { parent })?;
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))?;
        Ok(self.find(path)?)
    }
}

/// A descriptor as a path that a mount understands.
fn path_of(fd: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Mounts everything.
pub(super) fn all(
    pod: &Pod,
    plan: &Container,
    own: &[Own],
    top: &Top,
    talk: &mut Talk,
) -> Result<(), Failure> {
    let privileged = plan.security.privileged == Some(true);
    kernel(pod, top, privileged)?;
    // A privileged one sees the machine's.
    if !privileged && let Err(e) = groups(own, top) {
        talk.warn(format!(
            "{} does not see its limits in /sys/fs/cgroup: {e}",
            plan.name
        ));
    }
    devices(pod, top, privileged)?;
    for (name, path) in [
        ("hosts", "/etc/hosts"),
        ("hostname", "/etc/hostname"),
        ("resolv.conf", "/etc/resolv.conf"),
    ] {
        let source = pod.etc_file(name);
        let done = top.file(path).and_then(|to| bind(&source, &to, false));
        if let Err(e) = done {
            talk.warn(format!("{path} of {} is the image's own: {e}", plan.name));
        }
    }
    for volume in &pod.volumes {
        let what = format!("mount the volume {}", volume.target);
        let to = if volume.source.is_dir() {
            top.dir(&volume.target)
        } else {
            top.file(&volume.target)
        }
        .map_err(|e| failed(&what, &e))?;
        bind(&volume.source, &to, true).map_err(|e| failed(&what, &e))?;
        // What was mounted on it is another thing than what was found there before.
        let to = top.find(&volume.target).map_err(|e| failed(&what, &e))?;
        let mut flags = 0;
        if volume.read_only {
            flags |= libc::MOUNT_ATTR_RDONLY;
        }
        if !privileged {
            flags |= libc::MOUNT_ATTR_NODEV;
        }
        if flags != 0 {
            sys::restrict_mount(to.as_fd(), flags, true).map_err(|e| failed(&what, &e))?;
        }
    }
    addon(pod, plan, top).map_err(|e| failed("mount /addon", &e))?;
    if plan.security.read_only_root == Some(true) {
        // Of the root alone: volumes, /dev and /addon stay as they are.
        let what = "make the root filesystem read-only";
        let volumes = |part: &&PathBuf| pod.volumes.iter().all(|v| Path::new(&v.target) != **part);
        let parts = top.parts.iter().filter(volumes);
        for part in parts.map(PathBuf::as_path).chain([Path::new("/")]) {
            // One that a later mount covers is out of reach.
            let Ok(found) = top.find(&part.to_string_lossy()) else {
                continue;
            };
            sys::restrict_mount(found.as_fd(), libc::MOUNT_ATTR_RDONLY, false)
                .map_err(|e| failed(what, &e))?;
        }
    }
    if !privileged && plan.security.proc_mount.as_deref() != Some("Unmasked") {
        mask(top)?;
    }
    Ok(())
}

/// The container's own slice of `/addon`, with the agent in it.
fn addon(pod: &Pod, plan: &Container, top: &Top) -> io::Result<()> {
    let slice = pod.slice(&plan.name);
    let agent = slice.join("bin/stepyard-agent");
    File::options().create(true).append(true).open(&agent)?;
    bind(&slice, &top.dir("/addon")?, false)?;
    let mounted = top.dir("/addon")?;
    let flags = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    sys::restrict_mount(mounted.as_fd(), flags, false)?;
    // The directory first, so that nothing can be put beside the agent, then the agent itself.
    let bin = top.dir("/addon/bin")?;
    bind(&slice.join("bin"), &bin, false)?;
    let bin = top.dir("/addon/bin")?;
    let to = top.file("/addon/bin/stepyard-agent")?;
    bind(&pod.agent, &to, false)?;
    for (fd, recursive) in [
        (bin, false),
        (top.file("/addon/bin/stepyard-agent")?, false),
    ] {
        sys::restrict_mount(
            fd.as_fd(),
            libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
            recursive,
        )?;
    }
    Ok(())
}

fn bind(from: &Path, to: &OwnedFd, recursive: bool) -> io::Result<()> {
    let mut flags = MsFlags::MS_BIND;
    if recursive {
        flags |= MsFlags::MS_REC;
    }
    mount(Some(from), &path_of(to), NONE, flags, NONE)?;
    Ok(())
}

/// `/proc` and `/sys`.
fn kernel(pod: &Pod, top: &Top, privileged: bool) -> Result<(), Failure> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let proc = top.dir("/proc").map_err(|e| failed("make /proc", &e))?;
    mount(Some("proc"), &path_of(&proc), Some("proc"), quiet, NONE)
        .map_err(|e| failed("mount /proc", &e))?;
    let sys = top.dir("/sys").map_err(|e| failed("make /sys", &e))?;
    let flags = if privileged {
        quiet
    } else {
        quiet | MsFlags::MS_RDONLY
    };
    // The kernel gives a fresh one only to who owns the network namespace.
    let fresh = pod.network == pipeline::pod::Network::Private || crate::keeper::idmap::initial();
    let mounted = fresh && mount(Some("sysfs"), &path_of(&sys), Some("sysfs"), flags, NONE).is_ok();
    let done = if mounted {
        if privileged {
            let groups = Path::new("/sys/fs/cgroup");
            top.dir("/sys/fs/cgroup")
                .and_then(|to| bind(groups, &to, true))
        } else {
            Ok(())
        }
    } else {
        bind(Path::new("/sys"), &sys, true).and_then(|()| {
            let sys = top.dir("/sys")?;
            if privileged {
                return Ok(());
            }
            sys::restrict_mount(sys.as_fd(), libc::MOUNT_ATTR_RDONLY, true)
        })
    };
    done.map_err(|e| failed("mount /sys", &e))
}

/// The container's own control groups, where the engines have them and to be read only: runtimes choose the sizes of their heaps
/// by what is there, and the addon reads peak memory and kills from it.
fn groups(own: &[Own], top: &Top) -> io::Result<()> {
    let place = "/sys/fs/cgroup";
    let locked = libc::MOUNT_ATTR_RDONLY
        | libc::MOUNT_ATTR_NOSUID
        | libc::MOUNT_ATTR_NODEV
        | libc::MOUNT_ATTR_NOEXEC;
    let many = own.iter().any(|one| one.place() != Path::new(place));
    if many {
        mount(
            Some("tmpfs"),
            &path_of(&top.dir(place)?),
            Some("tmpfs"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
            Some("mode=0755,size=16k"),
        )?;
    }
    for one in own {
        let at = one.place();
        let at = at.to_string_lossy();
        bind(one.dir(), &top.dir(&at)?, false)?;
        sys::restrict_mount(top.dir(&at)?.as_fd(), locked, false)?;
    }
    if many {
        sys::restrict_mount(top.dir(place)?.as_fd(), locked, false)?;
    }
    Ok(())
}

/// `/dev`.
fn devices(pod: &Pod, top: &Top, privileged: bool) -> Result<(), Failure> {
    let what = "mount /dev";
    let dev = top.dir("/dev").map_err(|e| failed(what, &e))?;
    if privileged {
        // All of the machine's devices; the terminals and the shared memory below stay the pod's own.
        bind(Path::new("/dev"), &dev, true).map_err(|e| failed(what, &e))?;
    } else {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        let options = Some("mode=0755,size=64k");
        // `nodev`: the devices are mounts of their own, what a step makes here is of no use.
        mount(
            Some("tmpfs"),
            &path_of(&dev),
            Some("tmpfs"),
            flags | MsFlags::MS_NODEV,
            options,
        )
        .map_err(|e| failed(what, &e))?;
        let dev = top.dir("/dev").map_err(|e| failed(what, &e))?;
        for name in DEVICES {
            let done = top
                .file(&format!("/dev/{name}"))
                .and_then(|to| bind(&Path::new("/dev").join(name), &to, false));
            done.map_err(|e| failed(&format!("mount /dev/{name}"), &e))?;
        }
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ] {
            rustix::fs::symlinkat(target, &dev, name).map_err(|e| failed(what, &e))?;
        }
    }
    let pts = top.dir("/dev/pts").map_err(|e| failed(what, &e))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let with_group = "newinstance,ptmxmode=0666,mode=0620,gid=5";
    // A user namespace may not know the group of terminals.
    for options in [with_group, "newinstance,ptmxmode=0666,mode=0620"] {
        match mount(
            Some("devpts"),
            &path_of(&pts),
            Some("devpts"),
            flags,
            Some(options),
        ) {
            Err(nix::errno::Errno::EINVAL) if options == with_group => {}
            done => {
                done.map_err(|e| failed("mount /dev/pts", &e))?;
                break;
            }
        }
    }
    let shm = top.dir("/dev/shm").map_err(|e| failed(what, &e))?;
    bind(&pod.shm(), &shm, false).map_err(|e| failed("mount /dev/shm", &e))
}

/// Hides and protects what the engines do.
fn mask(top: &Top) -> Result<(), Failure> {
    let what = "mask /proc";
    for path in READ_ONLY {
        let Ok(found) = top.find(path) else { continue };
        mount(
            Some(&path_of(&found)),
            &path_of(&found),
            NONE,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            NONE,
        )
        .map_err(|e| failed(what, &e))?;
        let found = top.find(path).map_err(|e| failed(what, &e))?;
        sys::restrict_mount(found.as_fd(), libc::MOUNT_ATTR_RDONLY, true)
            .map_err(|e| failed(what, &e))?;
    }
    let null = top.find("/dev/null").map_err(|e| failed(what, &e))?;
    for path in MASKED {
        let Ok(found) = top.find(path) else { continue };
        let kind = rustix::fs::fstat(&found).map_err(|e| failed(what, &e))?;
        let directory = rustix::fs::FileType::from_raw_mode(kind.st_mode).is_dir();
        let done = if directory {
            let flags =
                MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(
                Some("tmpfs"),
                &path_of(&found),
                Some("tmpfs"),
                flags,
                Some("size=0k"),
            )
        } else {
            mount(
                Some(&path_of(&null)),
                &path_of(&found),
                NONE,
                MsFlags::MS_BIND,
                NONE,
            )
        };
        done.map_err(|e| failed(&format!("mask {path}"), &e))?;
    }
    Ok(())
}
