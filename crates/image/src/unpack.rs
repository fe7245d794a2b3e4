//! A layer's tar stream becomes a directory that overlay can use as a lower one.
//!
//! Layers are written by strangers. Names are resolved by the kernel inside the layer's directory
//! (`openat2` with `RESOLVE_IN_ROOT`): a link in the layer may point anywhere, but nothing is ever opened, made or
//! linked outside, as `..` and absolute links end at the layer's own root. A name with a `..` of its own is refused.
//!
//! Whiteouts become what overlay reads: a character device 0/0 for a removed file (any user may make that one since
//! Linux 5.8), and `overlay.opaque=y` for a directory that hides the one below. The latter is set both as
//! `trusted.` (where this process may) and as `user.`, so that one directory serves mounts with and without `userxattr`.
//!
//! Ownership: root gives files the owners that the layer names. Anybody else owns all of them, and in a user namespace
//! with one uid they are root's in the container; [`Report::owners`] counts what that changed. There is no record of the
//! lost owners beside a layer: a container that needs real uids needs a store that root (or root of a namespace with a
//! full range of uids) unpacked.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RawMode, ResolveFlags, Timespec, Timestamps, Uid,
    XattrFlags, chmodat, chownat, fchmod, fchown, fsetxattr, futimens, linkat, lsetxattr, makedev,
    mkdirat, mknodat, openat, openat2, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Bytes read at once from a blob: large enough that a system call costs nothing beside inflating.
const CHUNK: usize = 128 * 1024;

/// What unpacking a layer could not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Entries unpacked.
    pub entries: u64,
    /// Bytes of regular files.
    pub bytes: u64,
    /// Entries whose owner could not be set.
    pub owners: u64,
    /// Device nodes that could not be made.
    pub devices: u64,
    /// Extended attributes that this user or filesystem does not take.
    pub xattrs: u64,
}

/// Why a stream could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The stream itself: cut, not gzip, not tar.
    #[error("its data cannot be read: {0}")]
    Stream(io::Error),
    /// An entry that is refused or makes no sense.
    #[error("entry `{name}`: {why}")]
    Entry { name: String, why: String },
    /// This machine's disk.
    #[error("`{name}`: {source}")]
    Disk { name: String, source: io::Error },
}

/// Unpacks the stream (plain, gzip or zstd) into `into`, an empty directory, and returns what it could not keep,
/// the digest of the stream as it came and the digest of the tar within (the diff id). The stream is read to its end.
pub(crate) fn unpack(stream: impl Read, into: &Path) -> Result<(Report, String, String), Trouble> {
    let mut blob = BufReader::with_capacity(CHUNK, Hashed::new(stream));
    let magic = blob.fill_buf().map_err(Trouble::Stream)?;
    if magic.starts_with(&[0x1f, 0x8b]) {
        let (report, diff, inner) = tarball(flate2::bufread::MultiGzDecoder::new(blob), into)?;
        Ok((report, finish(inner.into_inner())?, diff))
    } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = zstd::Decoder::with_buffer(blob).map_err(Trouble::Stream)?;
        let (report, diff, inner) = tarball(decoder, into)?;
        Ok((report, finish(inner.finish())?, diff))
    } else {
        let (report, diff, inner) = tarball(blob, into)?;
        Ok((report, finish(inner)?, diff))
    }
}

fn finish<R: Read>(mut blob: BufReader<Hashed<R>>) -> Result<String, Trouble> {
    io::copy(&mut blob, &mut io::sink()).map_err(Trouble::Stream)?;
    Ok(crate::manifest::digest_text(blob.into_inner().hasher))
}

fn tarball<R: Read>(stream: R, into: &Path) -> Result<(Report, String, R), Trouble> {
    let mut archive = tar::Archive::new(Hashed::new(stream));
    let report = Unpacker::new(into)?.all(&mut archive)?;
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(Trouble::Stream)?;
    Ok((
        report,
        crate::manifest::digest_text(rest.hasher),
        rest.inner,
    ))
}

/// A reader that hashes what passes.
struct Hashed<R> {
    inner: R,
    hasher: Sha256,
}

impl<R> Hashed<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
        }
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        Ok(n)
    }
}

struct Unpacker {
    root: OwnedFd,
    /// The directory of the last entry: most entries follow one of the same directory.
    last: Option<(PathBuf, OwnedFd)>,
    /// Modes and times of directories, set when nothing is written into them any more.
    dirs: BTreeMap<PathBuf, (RawMode, Timespec)>,
    as_root: bool,
    report: Report,
    buffer: Vec<u8>,
}

/// What of an entry is set on the file it became.
struct Meta {
    uid: u32,
    gid: u32,
    mode: RawMode,
    mtime: Timespec,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

type Step<T> = Result<T, Trouble>;

impl Unpacker {
    fn new(into: &Path) -> Step<Self> {
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

    fn all<R: Read>(mut self, archive: &mut tar::Archive<R>) -> Step<Report> {
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
                self.finish(&dir, base, &path, &meta, true, &name)?;
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
                self.finish(&dir, base, &path, &meta, false, &name)?;
            }
            t if t.is_character_special() || t.is_block_special() => {
                self.device(&dir, base, &path, &meta, &name, entry)?;
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
        if self.as_root && fchown(&self.root, uid(meta), gid(meta)).is_err() {
            self.report.owners += 1;
        }
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
        self.xattrs(dir, base, path, meta, name)?;
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
        if self.as_root && fchown(&file, uid(meta), gid(meta)).is_err() {
            self.report.owners += 1;
        } else if !self.as_root && (meta.uid, meta.gid) != (0, 0) {
            self.report.owners += 1;
        }
        fchmod(&file, Mode::from_raw_mode(meta.mode)).map_err(|e| disk(name, e))?;
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
        path: &Path,
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
            Ok(()) => self.finish(dir, base, path, meta, false, name),
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
        path: &Path,
        meta: &Meta,
        link: bool,
        name: &str,
    ) -> Step<()> {
        self.owner(dir, base, meta, name)?;
        if !link {
            chmodat(dir, base, Mode::from_raw_mode(meta.mode), AtFlags::empty())
                .map_err(|e| disk(name, e))?;
        }
        self.xattrs(dir, base, path, meta, name)?;
        utimensat(dir, base, &times(meta.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| disk(name, e))
    }

    fn owner(&mut self, dir: &OwnedFd, base: &OsStr, meta: &Meta, name: &str) -> Step<()> {
        if !self.as_root {
            self.report.owners += u64::from((meta.uid, meta.gid) != (0, 0));
            return Ok(());
        }
        match chownat(dir, base, uid(meta), gid(meta), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) => Ok(()),
            Err(Errno::PERM | Errno::INVAL) => {
                self.report.owners += 1;
                Ok(())
            }
            Err(e) => Err(disk(name, e)),
        }
    }

    fn xattrs(
        &mut self,
        dir: &OwnedFd,
        base: &OsStr,
        _path: &Path,
        meta: &Meta,
        name: &str,
    ) -> Step<()> {
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

fn refused(name: &str, why: &str) -> Trouble {
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

/// The entry's name relative to the layer's root. Leading `/` and `./` mean the root, as every engine reads them.
fn clean(bytes: &[u8]) -> Step<PathBuf> {
    let path = Path::new(OsStr::from_bytes(bytes));
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => out.push(part),
            Component::RootDir | Component::CurDir => {}
            _ => {
                return Err(refused(
                    &path.display().to_string(),
                    "its name leads out of the layer with `..`",
                ));
            }
        }
    }
    if bytes.contains(&0) {
        return Err(refused(
            &path.display().to_string(),
            "its name holds a zero byte",
        ));
    }
    Ok(out)
}

fn link_name<R: Read>(entry: &tar::Entry<'_, R>, name: &str) -> Step<PathBuf> {
    match entry.link_name_bytes() {
        Some(bytes) if !bytes.is_empty() => Ok(Path::new(OsStr::from_bytes(&bytes)).to_owned()),
        _ => Err(refused(name, "a link to nothing")),
    }
}

fn meta<R: Read>(entry: &mut tar::Entry<'_, R>) -> Step<Meta> {
    let header = entry.header();
    let id = |n: io::Result<u64>| {
        n.map_err(Trouble::Stream)
            .map(|n| u32::try_from(n).unwrap_or(0))
    };
    let mut meta = Meta {
        uid: id(header.uid())?,
        gid: id(header.gid())?,
        mode: header.mode().map_err(Trouble::Stream)? as RawMode & 0o7777,
        mtime: Timespec {
            tv_sec: header.mtime().unwrap_or(0).cast_signed(),
            tv_nsec: 0,
        },
        xattrs: Vec::new(),
    };
    let Some(pax) = entry.pax_extensions().map_err(Trouble::Stream)? else {
        return Ok(meta);
    };
    for record in pax {
        let record = record.map_err(Trouble::Stream)?;
        let (key, value) = (record.key_bytes(), record.value_bytes());
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            // These are overlay's own words: a layer that speaks them could show files it must not.
            if !name.starts_with(b"trusted.") && !name.starts_with(b"user.overlay.") {
                meta.xattrs.push((name.to_owned(), value.to_owned()));
            }
        } else if key == b"mtime"
            && let Some(time) = std::str::from_utf8(value).ok().and_then(pax_time)
        {
            meta.mtime = time;
        }
    }
    Ok(meta)
}

/// `1700000000.25`
fn pax_time(text: &str) -> Option<Timespec> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let tv_sec = whole.parse().ok()?;
    let digits: String = part.chars().chain("000000000".chars()).take(9).collect();
    Some(Timespec {
        tv_sec,
        tv_nsec: digits.parse().ok()?,
    })
}

fn times(mtime: Timespec) -> Timestamps {
    Timestamps {
        last_access: mtime,
        last_modification: mtime,
    }
}

fn uid(meta: &Meta) -> Option<Uid> {
    Some(Uid::from_raw(meta.uid))
}

fn gid(meta: &Meta) -> Option<Gid> {
    Some(Gid::from_raw(meta.gid))
}

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
