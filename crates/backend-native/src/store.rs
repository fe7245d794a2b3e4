//! What pods leave on the disk, and its removal.
//!
//! ```text
//! <state>/pods/<name>/   pod.json lock control
//!                        addons/<container>                the sockets of its addons
//!                        volumes/<name>/                   volumes that end with the pod
//!                        disk/<container>.{upper,work}     what its containers write to their root filesystems
//!                        run/                              in memory, seen by the pod's processes alone:
//!                            addon/<container>/ containers/<container>/ etc/ shm/
//! <state>/claims/<name>/ a PersistentVolumeClaim as a local volume
//! <state>/agent/<digest> the agent
//! ```

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// Makes the directory of all pods.
pub(crate) fn make_pods(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if dir.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    // Pods have nothing to do with each other: ext4 then spreads them, and does not look for room among what those before this one
    // have just left. Other filesystems do not know the word.
    let flags = rustix::fs::IFlags::TOPDIR;
    if let Ok(dir) = fs::File::open(dir)
        && let Ok(have) = rustix::fs::ioctl_getflags(&dir)
    {
        let _ = rustix::fs::ioctl_setflags(&dir, have | flags);
    }
    Ok(())
}

/// Removes a tree, also directories whose owner may not write them. Links are not followed.
pub(crate) fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            open_up(dir);
            fs::remove_dir_all(dir)
        }
        done => done,
    }
}

/// Gives this process the right to remove what is below directories of its own.
fn open_up(dir: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// What of a pod's directory is removed last: by these it is known that it is one, and whether anything of it lives.
pub(crate) const LAST: [&str; 3] = ["lock", "control", "pod.json"];

/// Removes all that is in a directory but these names.
pub(crate) fn clear(dir: &Path, keep: &[&str]) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if keep.iter().any(|k| entry.file_name() == *k) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Kills the keeper of a pod whose control socket nobody listens at; with it goes all of the pod. Nothing happens where it is not there.
pub(crate) fn end_keeper(dir: &Path) {
    let path = dir.join("lock");
    let Ok(text) = fs::read_to_string(&path) else {
        return;
    };
    let held = fs::File::open(&path).is_ok_and(|file| file.try_lock().is_err());
    let Some(pid) = text.trim().parse().ok().filter(|_| held) else {
        return;
    };
    // The number may be another process's by now: the keeper is who has the lock open.
    let open = fs::read_dir(format!("/proc/{pid}/fd"));
    let keeper = open.into_iter().flatten().flatten().any(|fd| {
        fs::metadata(fd.path()).is_ok_and(|its| {
            fs::metadata(&path).is_ok_and(|ours| (its.dev(), its.ino()) == (ours.dev(), ours.ino()))
        })
    });
    if keeper {
        // One that has just ended is what is wanted.
        let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// A path of `name` in `dir` that is short enough for a socket (107 bytes), as long as the file is kept.
pub(crate) fn near(dir: &Path, name: &str) -> io::Result<(fs::File, PathBuf)> {
    let dir = fs::File::open(dir)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()));
    Ok((dir, path))
}
