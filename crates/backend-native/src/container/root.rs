//! The root filesystem of a container: an overlay whose upper directory goes with the pod.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use driver::backend::Failure;
use nix::mount::{MsFlags, mount as sys_mount};

use super::mounts::Top;
use super::{Talk, failed};
use crate::control::{Container, Pod, Root};

const NONE: Option<&str> = None;

/// Directories of this machine that a container of it gets afresh, or not at all.
const NOT_OF_HOST: [&str; 10] = [
    "proc",
    "sys",
    "dev",
    "tmp",
    "run",
    "harness",
    "addon",
    "mnt",
    "media",
    "lost+found",
];

/// Mounts the root filesystem of a container where it is put together.
pub(super) fn mount(
    pod: &Pod,
    plan: &Container,
    privileged: bool,
    talk: &mut Talk,
) -> Result<Top, Failure> {
    let dir = &pod.work(&plan.name);
    let at = dir.join("root");
    // A device node that a step makes is of no use to it; those in /dev are mounts of their own. This is what keeps
    // CAP_MKNOD, which is in the engines' default set, from the machine's disks.
    let flags = if privileged {
        MsFlags::empty()
    } else {
        MsFlags::MS_NODEV
    };
    match &plan.root {
        Root::Layers(layers) => {
            on_disk(pod, &plan.name, dir)?;
            layered(dir, &at, layers, flags, talk)?;
        }
        Root::Host => {
            let parts = host(pod, &plan.name, dir, &at, flags, talk)?;
            return Top::open(&at, parts);
        }
    }
    Top::open(&at, Vec::new())
}

/// Lets `<dir>/upper` and `<dir>/work` be directories on the disk.
fn on_disk(pod: &Pod, container: &str, dir: &Path) -> Result<(), Failure> {
    let made = (|| {
        for (name, mode) in [("upper", 0o755), ("work", 0o700)] {
            let place = pod.disk(container, name);
            match fs::DirBuilder::new().mode(mode).create(&place) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => symlink(place, dir.join(name))?,
            }
        }
        Ok(())
    })();
    made.map_err(|e| failed("make the container's directories", &e))
}

/// An overlay over unpacked layers; where the kernel refuses, its upper directory in memory, and then a copy.
fn layered(
    dir: &Path,
    at: &Path,
    layers: &[PathBuf],
    flags: MsFlags,
    talk: &mut Talk,
) -> Result<(), Failure> {
    match overlay(dir, at, layers, flags) {
        Ok(()) => Ok(()),
        Err(first) => {
            in_memory(dir).map_err(|e| failed("mount a tmpfs for the container's writes", &e))?;
            if overlay(dir, at, layers, flags).is_ok() {
                talk.warn(format!(
                    "what this container writes to its root filesystem is kept in memory: the state directory's filesystem cannot \
                     hold an overlay's upper layer ({first})"
                ));
                return Ok(());
            }
            Err(failed("mount the container's root filesystem", &first))
        }
    }
}

/// `<dir>/root` becomes an overlay of `layers`, lowest first, under `<dir>/upper`.
fn overlay(dir: &Path, at: &Path, layers: &[PathBuf], flags: MsFlags) -> io::Result<()> {
    // Short relative names: a mount's options are one page at most, and a path may hold a comma or a colon.
    let names = dir.join("l");
    match fs::create_dir(&names) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let mut lower = Vec::new();
    for (i, layer) in layers.iter().enumerate().rev() {
        match symlink(layer, names.join(i.to_string())) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => lower.push(format!("l/{i}")),
        }
    }
    if lower.is_empty() {
        // An image may have no layer at all.
        fs::DirBuilder::new()
            .recursive(true)
            .create(names.join("none"))?;
        lower.push("l/none".to_owned());
    }
    nix::unistd::chdir(dir)?;
    let done = overlay_here(&lower.join(":"), "upper", "work", at, flags);
    nix::unistd::chdir("/")?;
    done
}

fn overlay_here(lower: &str, upper: &str, work: &str, at: &Path, flags: MsFlags) -> io::Result<()> {
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let overlay = Some("overlay");
    // In a user namespace only user.* attributes may be written; `volatile` saves the sync of what is thrown away.
    let user = if crate::keeper::idmap::initial() {
        ""
    } else {
        ",userxattr"
    };
    let mut last = None;
    for more in [format!("{user},volatile"), user.to_owned()] {
        match sys_mount(
            overlay,
            at,
            overlay,
            flags,
            Some(format!("{options}{more}").as_str()),
        ) {
            Ok(()) => return Ok(()),
            Err(e) => last = Some(e),
        }
    }
    Err(last.expect("it was tried").into())
}

/// Puts a tmpfs over `<dir>` that holds the overlay's directories from now on, in this mount namespace only.
fn in_memory(dir: &Path) -> io::Result<()> {
    sys_mount(
        Some("tmpfs"),
        dir,
        Some("tmpfs"),
        MsFlags::MS_NOSUID,
        Some("mode=0755"),
    )?;
    for name in ["root", "upper", "work"] {
        fs::create_dir(dir.join(name))?;
    }
    Ok(())
}

/// A throw-away overlay of this machine's own root filesystem, with overlays of the other filesystems mounted in it. Returns where
/// these are: a read-only root filesystem is read-only there too.
fn host(
    pod: &Pod,
    container: &str,
    dir: &Path,
    at: &Path,
    flags: MsFlags,
    talk: &mut Talk,
) -> Result<Vec<PathBuf>, Failure> {
    let mut parts = Vec::new();
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let submounts = submounts();
    let whole = crate::keeper::idmap::initial() && {
        let layers = [PathBuf::from("/")];
        on_disk(pod, container, dir)?;
        layered(dir, at, &layers, flags, talk).is_ok()
    };
    if whole {
        for mount in submounts.iter().filter(|m| !pod.dir.starts_with(m)) {
            parts.extend(nested(dir, at, mount, flags, talk));
        }
    } else {
        parts = by_directory(pod, dir, at, flags, submounts, talk)?;
    }
    for (name, mode) in [("tmp", "mode=1777"), ("run", "mode=0755")] {
        let path = at.join(name);
        fs::create_dir_all(&path).map_err(|e| failed(&format!("create /{name}"), &e))?;
        sys_mount(Some("tmpfs"), &path, Some("tmpfs"), plain, Some(mode))
            .map_err(|e| failed(&format!("mount /{name}"), &e))?;
        parts.push(Path::new("/").join(name));
    }
    // The state directory holds what other runs left. It may be in what was just covered.
    if let Ok(rest) = pod.state.strip_prefix("/")
        && at.join(rest).is_dir()
    {
        let options = Some("mode=0755,size=4k");
        sys_mount(Some("tmpfs"), &at.join(rest), Some("tmpfs"), plain, options)
            .map_err(|e| failed("hide the state directory", &e))?;
    }
    Ok(parts)
}

/// The directories at the top of this machine, each an overlay of its own, all of them written in memory.
///
/// `/` itself cannot be a lower layer in a user namespace: its submounts are locked there. What such a container may write there is
/// little, as the files of this machine belong to users that it does not have.
fn by_directory(
    pod: &Pod,
    dir: &Path,
    at: &Path,
    flags: MsFlags,
    submounts: &[PathBuf],
    talk: &mut Talk,
) -> Result<Vec<PathBuf>, Failure> {
    let mut parts = Vec::new();
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    in_memory(dir).map_err(|e| failed("mount a tmpfs for the container's writes", &e))?;
    sys_mount(Some("tmpfs"), at, Some("tmpfs"), plain, Some("mode=0755"))
        .map_err(|e| failed("mount the container's root filesystem", &e))?;
    for entry in fs::read_dir("/")
        .map_err(|e| failed("read /", &e))?
        .flatten()
    {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let (from, to) = (entry.path(), at.join(name));
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_symlink() {
            if let Ok(target) = fs::read_link(&from) {
                let _ = symlink(target, &to);
            }
        } else if kind.is_dir() {
            fs::create_dir(&to).map_err(|e| failed(&format!("create {}", to.display()), &e))?;
            // Root's home is closed to an ordinary user, whose container's root has it as home: an empty one serves.
            if !NOT_OF_HOST.contains(&name) && name != "root" {
                over(dir, &from, &to, flags, talk);
                parts.push(from.clone());
                let below = submounts
                    .iter()
                    .filter(|m| m.starts_with(&from) && **m != from && !pod.dir.starts_with(m));
                for mount in below {
                    parts.extend(nested(dir, at, mount, flags, talk));
                }
            }
        }
    }
    Ok(parts)
}

/// Another filesystem of this machine, below a root filesystem that is there already.
fn nested(dir: &Path, at: &Path, mount: &Path, flags: MsFlags, talk: &mut Talk) -> Option<PathBuf> {
    let to = at.join(mount.strip_prefix("/").ok()?);
    to.is_dir().then(|| {
        over(dir, mount, &to, flags, talk);
        mount.to_owned()
    })
}

/// An overlay of one directory of this machine; read-only where it can have none.
fn over(dir: &Path, from: &Path, to: &Path, flags: MsFlags, talk: &mut Talk) {
    let name: String = from
        .to_string_lossy()
        .trim_start_matches('/')
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let (lower, upper, work) = (
        format!("l/{name}"),
        format!("more/{name}/upper"),
        format!("more/{name}/work"),
    );
    let attempt = || -> io::Result<()> {
        for part in ["l", &upper, &work] {
            fs::create_dir_all(dir.join(part))?;
        }
        let meta = fs::metadata(from)?;
        fs::set_permissions(dir.join(&upper), meta.permissions())?;
        symlink(from, dir.join(&lower))?;
        nix::unistd::chdir(dir)?;
        let done = overlay_here(&lower, &upper, &work, to, flags);
        nix::unistd::chdir("/")?;
        done
    };
    let Err(first) = attempt() else { return };
    let recursive = MsFlags::MS_BIND | MsFlags::MS_REC;
    let bound = sys_mount(Some(from), to, NONE, recursive, NONE)
        .map_err(io::Error::from)
        .and_then(|()| {
            let fd = OwnedFd::from(File::open(to)?);
            let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV;
            crate::sys::restrict_mount(fd.as_fd(), attributes, true)
        });
    let from = from.display();
    match bound {
        Ok(()) => talk.warn(format!("{from} is read-only in this container: {first}")),
        Err(e) => talk.warn(format!("{from} is missing in this container: {e}")),
    }
}

/// Where other filesystems with files of this machine are mounted: read once for all containers of a pod, by the first process.
pub(crate) fn submounts() -> &'static [PathBuf] {
    static FOUND: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(read_submounts)
}

fn read_submounts() -> Vec<PathBuf> {
    // Not `overlay`: those are other containers.
    const REAL: [&str; 13] = [
        "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "nfs", "nfs4", "9p",
        "virtiofs", "fuseblk",
    ];
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // In the order of their making: one below another comes after it.
    text.lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let at = left.split(' ').nth(4)?;
            let kind = right.split(' ').next()?;
            let top = at.trim_start_matches('/').split('/').next()?;
            // What is below a directory that a container gets afresh is covered anyway.
            (REAL.contains(&kind) && at != "/" && !NOT_OF_HOST.contains(&top))
                .then(|| PathBuf::from(at.replace("\\040", " ")))
        })
        .collect()
}
