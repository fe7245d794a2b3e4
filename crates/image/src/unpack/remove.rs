//! The way back.

use std::ffi::OsStr;
use std::io::{self};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Mode, OFlags, chmodat, fchmod, openat, unlinkat};
use rustix::io::Errno;

/// Removes a tree without ever following a link, also where its directories deny their owner.
pub(crate) fn remove_tree(dir: impl AsFd, base: &OsStr) -> io::Result<()> {
    match unlinkat(&dir, base, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e.into()),
    }
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match openat(&dir, base, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            chmodat(&dir, base, Mode::from_raw_mode(0o700), AtFlags::empty())?;
            openat(&dir, base, flags, Mode::empty())?
        }
        done => done?,
    };
    let mut widened = false;
    for entry in rustix::fs::Dir::read_from(&fd)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        if let Err(e) = remove_tree(&fd, name) {
            if widened || e.kind() != io::ErrorKind::PermissionDenied {
                return Err(e);
            }
            fchmod(&fd, Mode::from_raw_mode(0o700))?;
            widened = true;
            remove_tree(&fd, name)?;
        }
    }
    Ok(unlinkat(&dir, base, AtFlags::REMOVEDIR)?)
}
