//! A directory becomes an archive.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags, StatxAttributes, StatxFlags};

use super::at;
use super::header::{BLOCK, Header, Kind, NAME, record};

/// Writes all that is in `dir`, in the order of the names, and the directory's own mode first. An archive that would be larger than
/// `most` is an error.
pub fn pack(dir: &Path, most: u64, into: &mut dyn Write) -> io::Result<()> {
    let mut packing = Packing {
        into,
        left: most,
        most,
        links: BTreeMap::new(),
        chunk: vec![0; 256 * 1024],
    };
    let meta = dir.metadata().map_err(|error| at(dir, "read", &error))?;
    packing.begin(&of(Kind::Dir, b"./".to_vec(), &meta))?;
    // Directories last in: the order of an archive is each directory before what is in it.
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        let mut dirs = Vec::new();
        for name in names(&dir.join(&below))? {
            let path = below.join(name);
            if packing.entry(dir, &path)? {
                dirs.push(path);
            }
        }
        open.extend(dirs.into_iter().rev());
    }
    packing.write(&[0; 2 * BLOCK])
}

struct Packing<'w> {
    into: &'w mut dyn Write,
    left: u64,
    most: u64,
    /// Files with several names, by device and number: the first one.
    links: BTreeMap<(u64, u64), Vec<u8>>,
    chunk: Vec<u8>,
}

impl Packing<'_> {
    /// Writes one entry; whether it is a directory to go into.
    fn entry(&mut self, dir: &Path, path: &Path) -> io::Result<bool> {
        let full = dir.join(path);
        let meta = match full.symlink_metadata() {
            Ok(meta) => meta,
            // Whoever removed it meanwhile did not mean it to be handed over.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(at(&full, "read", &error)),
        };
        let mut name = path.as_os_str().as_bytes().to_vec();
        let kind = meta.file_type();
        if kind.is_dir() {
            name.push(b'/');
            self.begin(&of(Kind::Dir, name, &meta))?;
            return Ok(!is_mount(&full));
        }
        if is_mount(&full) {
            return Ok(false);
        }
        if kind.is_symlink() {
            let target = std::fs::read_link(&full).map_err(|error| at(&full, "read", &error))?;
            let mut header = of(Kind::Link, name, &meta);
            header.target = target.into_os_string().into_vec();
            self.begin(&header)?;
        } else if kind.is_file() {
            self.file(&full, name, &meta)?;
        }
        Ok(false)
    }

    fn file(&mut self, full: &Path, name: Vec<u8>, meta: &Metadata) -> io::Result<()> {
        if meta.nlink() > 1 {
            let key = (meta.dev(), meta.ino());
            if let Some(first) = self.links.get(&key) {
                let mut header = of(Kind::Again, name, meta);
                header.target.clone_from(first);
                return self.begin(&header);
            }
            self.links.insert(key, name.clone());
        }
        let file = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed())
            .open(full);
        let mut file = file.map_err(|error| at(full, "read", &error))?;
        let mut header = of(Kind::File, name, meta);
        header.size = meta.len();
        self.begin(&header)?;
        self.contents(full, &mut file, meta.len())
    }

    /// As many bytes as the header said: a file that shrinks meanwhile ends in zeros.
    fn contents(&mut self, full: &Path, file: &mut File, size: u64) -> io::Result<()> {
        let mut left = size;
        let mut chunk = std::mem::take(&mut self.chunk);
        while left > 0 {
            let most = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = match file.read(&mut chunk[..most]) {
                Ok(0) => {
                    chunk[..most].fill(0);
                    most
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(at(full, "read", &error)),
            };
            self.write(&chunk[..read])?;
            left -= read as u64;
        }
        self.chunk = chunk;
        self.pad(size)
    }

    /// Writes a header, and before it what does not fit.
    fn begin(&mut self, header: &Header) -> io::Result<()> {
        let mut more = Vec::new();
        for (key, value) in [("path", &header.path), ("linkpath", &header.target)] {
            if value.len() > NAME {
                record(key, value, &mut more);
            }
        }
        if !more.is_empty() {
            let before = Header {
                kind: Kind::More,
                path: b"./more".to_vec(),
                target: Vec::new(),
                mode: 0o644,
                size: more.len() as u64,
                modified: (0, 0),
            };
            self.write(&before.to_block())?;
            self.write(&more)?;
            self.pad(more.len() as u64)?;
        }
        self.write(&header.to_block())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = (size % BLOCK as u64) as usize;
        if over == 0 {
            return Ok(());
        }
        self.write(&[0; BLOCK][over..])
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!(
                    "it is larger than {} MiB, which is the most that is handed over",
                    self.most / (1024 * 1024)
                ),
            )
        })?;
        self.into.write_all(bytes)
    }
}

fn of(kind: Kind, path: Vec<u8>, meta: &Metadata) -> Header {
    Header {
        kind,
        path,
        target: Vec::new(),
        mode: meta.mode() & 0o7777,
        size: 0,
        modified: (
            u64::try_from(meta.mtime()).unwrap_or(0),
            u32::try_from(meta.mtime_nsec()).unwrap_or(0),
        ),
    }
}

fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    let read = || -> io::Result<Vec<OsString>> {
        std::fs::read_dir(dir)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    };
    let mut names = read().map_err(|error| at(dir, "read", &error))?;
    names.sort_unstable();
    Ok(names)
}

/// Something is mounted here: a volume, a file of the pod's. A kernel that does not say (before 5.8) mounts nothing.
fn is_mount(path: &Path) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let stat = rustix::fs::statx(rustix::fs::CWD, path, flags, StatxFlags::empty());
    stat.is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
