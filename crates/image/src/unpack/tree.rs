//! The directory that a layer becomes, entry by entry.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RawMode, ResolveFlags, Timespec, Timestamps, Uid,
    XattrFlags, chmodat, chownat, fchmod, fsetxattr, futimens, linkat, lsetxattr, makedev, mkdirat,
    mknodat, openat, openat2, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::entry::{Meta, clean, link_name, meta};
use super::{CHUNK, Report, Trouble, remove_tree};

pub(super) struct Unpacker {
    root: OwnedFd,
    /// The directory of the last entry: most entries follow one of the same directory.
    last: Option<(PathBuf, OwnedFd)>,
    /// Modes and times of directories, set when nothing is written into them any more.
    dirs: BTreeMap<PathBuf, (RawMode, Timespec)>,
    as_root: bool,
    report: Report,
    buffer: Vec<u8>,
}

pub(super) type Step<T> = Result<T, Trouble>;

impl Unpacker {
    pub(super) fn new(into: &Path) -> Step<Self> {
        let root = openat(
            CWD,
            into,
            OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|e| Trouble::Disk {
            name: into.display().to_string(),
            source: e.into(),
        })?;
        Ok(Self {
            root,
            last: None,
            dirs: BTreeMap::new(),
            as_root: rustix::process::geteuid().is_root(),
            report: Report::default(),
            buffer: vec![0; CHUNK],
        })
    }

    pub(super) fn all<R: Read>(mut self, archive: &mut tar::Archive<R>) -> Step<Report> {
        for entry in archive.entries().map_err(Trouble::Stream)? {
            let mut entry = entry.map_err(Trouble::Stream)?;
            self.entry(&mut entry)?;
        }
        // Deepest first: a directory without write permission stops nothing that is still to come.
        self.last = None;
        for (path, (mode, mtime)) in std::mem::take(&mut self.dirs).into_iter().rev() {
            let path = if path.as_os_str().is_empty() {
                PathBuf::from(".")
            } else {
                path
            };
            let name = path.display().to_string();
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let fd = match openat2(&self.root, &path, flags, Mode::empty(), INSIDE) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue, // a later entry took its place
                Err(e) => return Err(disk(&name, e)),
            };
            fchmod(&fd, Mode::from_raw_mode(mode)).map_err(|e| disk(&name, e))?;
            futimens(&fd, &times(mtime)).map_err(|e| disk(&name, e))?;
        }
        Ok(self.report)
    }

    fn entry<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Step<()> {
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            return Ok(());
        }
        let path = clean(&entry.path_bytes())?;
        let meta = meta(entry)?;
        self.report.entries += 1;
        let Some(base) = path.file_name() else {
            return self.top(&meta);
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        let name = path.display().to_string();
        let dir = self.parent(parent, &name)?;
        if let Some(removed) = base.as_bytes().strip_prefix(b".wh.") {
            return self.whiteout(&dir, &path, removed, &name);
        }
        match kind {
            t if t.is_dir() => self.directory(&dir, base, &path, &meta, &name)?,
            t if t.is_file() || t.is_contiguous() || t.is_gnu_sparse() => {
                self.file(&dir, base, &meta, &name, entry)?;
            }
            t if t.is_symlink() => {
                let target = link_name(entry, &name)?;
                self.fresh(&dir, base, &name, || symlinkat(&target, &dir, base))?;
                self.finish(&dir, base, &meta, true, &name)?;
            }
            t if t.is_hard_link() => {
                let target = clean(entry.link_name_bytes().as_deref().unwrap_or_default())?;
                let from = self.parent_of_link(&target, &name)?;
                let Some(target_base) = target.file_name() else {
                    return Err(refused(&name, "a hard link to the root directory"));
                };
                let same = target == path;
                if !same {
                    self.fresh(&dir, base, &name, || {
                        linkat(&from, target_base, &dir, base, AtFlags::empty())
                    })
                    .map_err(|t| match t {
                        Trouble::Disk { source, .. }
                            if source.kind() == io::ErrorKind::NotFound =>
                        {
                            refused(
                                &name,
                                &format!(
                                    "a hard link to `{}`, which is not in this layer",
                                    target.display()
                                ),
                            )
                        }
                        other => other,
                    })?;
                }
            }
            t if t.is_fifo() => {
                let mode = Mode::from_raw_mode(meta.mode);
                self.fresh(&dir, base, &name, || {
                    mknodat(&dir, base, FileType::Fifo, mode, 0)
                })?;
                self.finish(&dir, base, &meta, false, &name)?;
            }
            t if t.is_character_special() || t.is_block_special() => {
                self.device(&dir, base, &meta, &name, entry)?;
            }
            other => {
                return Err(refused(
                    &name,
                    &format!("its tar type {:?} is not known", other.as_byte() as char),
                ));
            }
        }
        Ok(())
    }

    /// `./` itself.
    fn top(&mut self, meta: &Meta) -> Step<()> {
        let root = self.open_dir(Path::new("")).map_err(|e| disk("/", e))?;
        self.owner(&root, OsStr::new("."), meta, "/")?;
        self.dirs.insert(PathBuf::new(), (meta.mode, meta.mtime));
        Ok(())
    }

    fn directory(
        &mut self,
        dir: &OwnedFd,
        base: &OsStr,
        path: &Path,
        meta: &Meta,
        name: &str,
    ) -> Step<()> {
        match mkdirat(dir, base, Mode::from_raw_mode(0o700)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let there =
                    statat(dir, base, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| disk(name, e))?;
                match FileType::from_raw_mode(there.st_mode) {
                    FileType::Directory => {}
                    kind => {
                        self.fresh(dir, base, name, || {
                            mkdirat(dir, base, Mode::from_raw_mode(0o700))
                        })?;
                        if kind == FileType::CharacterDevice && there.st_rdev == 0 {
                            self.opaque(dir, base, name)?; // the whiteout hid what is below, so must the directory
                        }
                    }
                }
            }
            Err(e) => return Err(disk(name, e)),
        }
        self.owner(dir, base, meta, name)?;
        self.xattrs(dir, base, meta, name)?;
        self.dirs.insert(path.to_owned(), (meta.mode, meta.mtime));
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        dir: &OwnedFd,
        base: &OsStr,
        meta: &Meta,
        name: &str,
        entry: &mut tar::Entry<'_, R>,
    ) -> Step<()> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.fresh(dir, base, name, || {
            openat(dir, base, flags, Mode::from_raw_mode(0o600))
        })?;
        let mut file = std::fs::File::from(fd);
        loop {
            let n = match entry.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Trouble::Stream(e)),
            };
            file.write_all(&self.buffer[..n])
                .map_err(|source| Trouble::Disk {
                    name: name.into(),
                    source,
                })?;
            self.report.bytes += n as u64;
        }
        let given = self.owner(dir, base, meta, name)?;
        fchmod(&file, mode(meta, given)).map_err(|e| disk(name, e))?;
        for (key, value) in &meta.xattrs {
            self.xattr(
                fsetxattr(&file, OsStr::from_bytes(key), value, XattrFlags::empty()),
                name,
            )?;
        }
        futimens(&file, &times(meta.mtime)).map_err(|e| disk(name, e))
    }

    fn device<R: Read>(
        &mut self,
        dir: &OwnedFd,
        base: &OsStr,
        meta: &Meta,
        name: &str,
        entry: &tar::Entry<'_, R>,
    ) -> Step<()> {
        let number =
            |n: io::Result<Option<u32>>| n.map_err(Trouble::Stream).map(Option::unwrap_or_default);
        let (major, minor) = (
            number(entry.header().device_major())?,
            number(entry.header().device_minor())?,
        );
        let kind = if entry.header().entry_type().is_character_special() {
            FileType::CharacterDevice
        } else {
            FileType::BlockDevice
        };
        if kind == FileType::CharacterDevice && (major, minor) == (0, 0) {
            return Err(refused(
                name,
                "a character device 0/0, which only this machine's overlay may write",
            ));
        }
        if !self.as_root {
            self.report.devices += 1;
            return Ok(());
        }
        let mode = Mode::from_raw_mode(meta.mode);
        match self.fresh(dir, base, name, || {
            mknodat(dir, base, kind, mode, makedev(major, minor))
        }) {
            Ok(()) => self.finish(dir, base, meta, false, name),
            Err(Trouble::Disk { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                self.report.devices += 1; // root of a user namespace
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    fn whiteout(&mut self, dir: &OwnedFd, path: &Path, removed: &[u8], name: &str) -> Step<()> {
        if removed == b".wh..opq" {
            let parent = path.parent().unwrap_or(Path::new(""));
            // The top of a layer has nothing to hide but other layers: overlay reads the mark there too.
            return self.opaque(dir, OsStr::new("."), &parent.display().to_string());
        }
        if removed.starts_with(b".wh.") {
            return Ok(()); // aufs' own book-keeping
        }
        let base = OsStr::from_bytes(removed);
        if removed.is_empty() || removed == b"." || removed == b".." {
            return Err(refused(name, "a whiteout of no file"));
        }
        match mknodat(
            dir,
            base,
            FileType::CharacterDevice,
            Mode::empty(),
            makedev(0, 0),
        ) {
            Ok(()) => Ok(()),
            // A whiteout is about the layers below: what this layer itself has stays.
            Err(Errno::EXIST) => {
                let there =
                    statat(dir, base, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| disk(name, e))?;
                if FileType::from_raw_mode(there.st_mode) == FileType::Directory {
                    self.opaque(dir, base, name)?;
                }
                Ok(())
            }
            Err(e) => Err(disk(name, e)),
        }
    }

    /// Marks a directory as hiding the one of the layers below.
    fn opaque(&self, dir: &OwnedFd, base: &OsStr, name: &str) -> Step<()> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(dir, base, flags, Mode::empty()).map_err(|e| disk(name, e))?;
        let trusted = self.as_root
            && fsetxattr(&fd, "trusted.overlay.opaque", b"y", XattrFlags::empty()).is_ok();
        match fsetxattr(&fd, "user.overlay.opaque", b"y", XattrFlags::empty()) {
            Ok(()) => Ok(()),
            Err(_) if trusted => Ok(()),
            Err(e) => Err(disk(&format!("{name} (marking it opaque)"), e)),
        }
    }

    /// Makes something whose place may be taken by an earlier entry: the last one wins.
    fn fresh<T>(
        &mut self,
        dir: &OwnedFd,
        base: &OsStr,
        name: &str,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Step<T> {
        match make() {
            Err(Errno::EXIST) => {
                self.last = None;
                let there =
                    statat(dir, base, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| disk(name, e))?;
                if FileType::from_raw_mode(there.st_mode) == FileType::Directory {
                    remove_tree(dir, base).map_err(|source| Trouble::Disk {
                        name: name.into(),
                        source,
                    })?;
                } else {
                    unlinkat(dir, base, AtFlags::empty()).map_err(|e| disk(name, e))?;
                }
                make().map_err(|e| disk(name, e))
            }
            done => done.map_err(|e| disk(name, e)),
        }
    }

    /// Owner, mode, attributes and time of what is neither a file nor a directory.
    fn finish(
        &mut self,
        dir: &OwnedFd,
        base: &OsStr,
        meta: &Meta,
        link: bool,
        name: &str,
    ) -> Step<()> {
        self.owner(dir, base, meta, name)?;
        if !link {
            chmodat(dir, base, Mode::from_raw_mode(meta.mode), AtFlags::empty())
                .map_err(|e| disk(name, e))?;
        }
        self.xattrs(dir, base, meta, name)?;
        utimensat(dir, base, &times(meta.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| disk(name, e))
    }

    /// Whether it belongs to whom it should.
    fn owner(&mut self, dir: &OwnedFd, base: &OsStr, meta: &Meta, name: &str) -> Step<bool> {
        if !self.as_root {
            let given = (meta.uid, meta.gid) == (0, 0);
            self.report.owners += u64::from(!given);
            return Ok(given);
        }
        match chownat(
            dir,
            base,
            Some(uid(meta)),
            Some(gid(meta)),
            AtFlags::SYMLINK_NOFOLLOW,
        ) {
            Ok(()) => Ok(true),
            Err(Errno::PERM | Errno::INVAL) => {
                self.report.owners += 1;
                Ok(false)
            }
            Err(e) => Err(disk(name, e)),
        }
    }

    fn xattrs(&mut self, dir: &OwnedFd, base: &OsStr, meta: &Meta, name: &str) -> Step<()> {
        if meta.xattrs.is_empty() {
            return Ok(());
        }
        // There is no lsetxattrat before Linux 6.13: the directory is held, so its link in /proc is this very one.
        let place = PathBuf::from(format!(
            "/proc/self/fd/{}",
            rustix::fd::AsRawFd::as_raw_fd(dir)
        ))
        .join(base);
        for (key, value) in &meta.xattrs {
            self.xattr(
                lsetxattr(&place, OsStr::from_bytes(key), value, XattrFlags::empty()),
                name,
            )?;
        }
        Ok(())
    }

    fn xattr(&mut self, set: rustix::io::Result<()>, name: &str) -> Step<()> {
        match set {
            Ok(()) => Ok(()),
            Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::INVAL) => {
                self.report.xattrs += 1;
                Ok(())
            }
            Err(e) => Err(disk(name, e)),
        }
    }

    fn parent(&mut self, path: &Path, name: &str) -> Step<OwnedFd> {
        let again = |fd: &OwnedFd| {
            fd.try_clone().map_err(|source| Trouble::Disk {
                name: name.into(),
                source,
            })
        };
        if let Some((last, fd)) = &self.last
            && last == path
        {
            return again(fd);
        }
        let fd = match self.open_dir(path) {
            Err(Errno::NOENT) => self.make_dirs(path, name)?,
            done => done.map_err(|e| broken_path(name, e))?,
        };
        self.last = Some((path.to_owned(), again(&fd)?));
        Ok(fd)
    }

    fn parent_of_link(&self, target: &Path, name: &str) -> Step<OwnedFd> {
        self.open_dir(target.parent().unwrap_or(Path::new("")))
            .map_err(|e| match e {
                Errno::NOENT => refused(
                    name,
                    &format!(
                        "a hard link to `{}`, which is not in this layer",
                        target.display()
                    ),
                ),
                e => broken_path(name, e),
            })
    }

    fn open_dir(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        openat2(
            &self.root,
            path,
            OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
            INSIDE,
        )
    }

    /// Directories that the layer uses without naming them.
    fn make_dirs(&self, path: &Path, name: &str) -> Step<OwnedFd> {
        let mut at = PathBuf::new();
        let mut dir = self.open_dir(&at).map_err(|e| disk(name, e))?;
        for part in path.components() {
            at.push(part);
            dir = match self.open_dir(&at) {
                Ok(dir) => dir,
                Err(Errno::NOENT) => {
                    match mkdirat(&dir, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                        Ok(()) => {}
                        Err(Errno::EXIST) => {
                            return Err(refused(
                                name,
                                &format!("`{}` is a link to nowhere in this layer", at.display()),
                            ));
                        }
                        Err(e) => return Err(disk(name, e)),
                    }
                    self.open_dir(&at).map_err(|e| broken_path(name, e))?
                }
                Err(e) => return Err(broken_path(name, e)),
            };
        }
        Ok(dir)
    }
}

const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

fn disk(name: &str, e: Errno) -> Trouble {
    Trouble::Disk {
        name: name.into(),
        source: e.into(),
    }
}

pub(super) fn refused(name: &str, why: &str) -> Trouble {
    Trouble::Entry {
        name: name.into(),
        why: why.into(),
    }
}

/// A path through something that is not a directory is the layer's fault, the rest the disk's.
fn broken_path(name: &str, e: Errno) -> Trouble {
    match e {
        Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NAMETOOLONG => {
            refused(name, &format!("its directory cannot be used: {e}"))
        }
        e => disk(name, e),
    }
}

/// What runs as its owner must not become what runs as another one.
fn mode(meta: &Meta, given: bool) -> Mode {
    let mut mode = Mode::from_raw_mode(meta.mode);
    if !given && meta.uid != 0 {
        mode.remove(Mode::SUID);
    }
    if !given && meta.gid != 0 {
        mode.remove(Mode::SGID);
    }
    mode
}

fn times(mtime: Timespec) -> Timestamps {
    Timestamps {
        last_access: mtime,
        last_modification: mtime,
    }
}

fn uid(meta: &Meta) -> Uid {
    Uid::from_raw(meta.uid)
}

fn gid(meta: &Meta) -> Gid {
    Gid::from_raw(meta.gid)
}
