//! An archive becomes a directory.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, OFlags, Timespec, Timestamps};

use super::at;
use super::header::{BLOCK, Header, Kind, broken, first_record};

/// The longest that a path or a target may be, with its record.
const LONGEST: u64 = 64 * 1024;

/// What the next header has no room for.
#[derive(Default)]
struct More {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

/// Reads an archive into `dir`. What is there already under one of its names is replaced; nothing is written outside of `dir`.
pub fn unpack(dir: &Path, from: &mut dyn Read) -> io::Result<()> {
    let mut dirs = Vec::new();
    let mut more = More::default();
    while let Some(mut header) = next(from)? {
        if header.kind == Kind::More {
            more = records(&header, from)?;
            continue;
        }
        header.path = more.path.take().unwrap_or(header.path);
        header.target = more.target.take().unwrap_or(header.target);
        let path = inside(dir, &header.path)?;
        match header.kind {
            Kind::Dir => {
                make_dir(&path).map_err(|error| at(&path, "make the directory", &error))?;
                // Its own times and mode come when nothing is written into it any more.
                dirs.push((path, header));
                continue;
            }
            Kind::File => file(&path, &header, from),
            Kind::Link => {
                away(&path).and_then(|()| symlink(OsStr::from_bytes(&header.target), &path))
            }
            Kind::Again => {
                let first = inside(dir, &header.target)?;
                away(&path).and_then(|()| std::fs::hard_link(first, &path))
            }
            Kind::More => Ok(()),
        }
        .map_err(|error| at(&path, "unpack", &error))?;
        if header.kind != Kind::Again {
            modified(&path, &header);
        }
    }
    for (path, header) in dirs.into_iter().rev() {
        let own = path == dir;
        let mode = Permissions::from_mode(header.mode);
        match std::fs::set_permissions(&path, mode) {
            // The workspace itself may belong to somebody else.
            Err(error) if !own => return Err(at(&path, "unpack", &error)),
            _ => modified(&path, &header),
        }
    }
    Ok(())
}

/// The next header; none at the end.
fn next(from: &mut dyn Read) -> io::Result<Option<Header>> {
    let mut block = [0; BLOCK];
    from.read_exact(&mut block).map_err(short)?;
    Header::of(&block)
}

fn records(header: &Header, from: &mut dyn Read) -> io::Result<More> {
    if header.size > LONGEST {
        return Err(broken("a path is too long"));
    }
    let mut bytes = vec![0; header.size as usize];
    from.read_exact(&mut bytes).map_err(short)?;
    skip(header.size, from)?;
    let mut more = More::default();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (key, value, after) =
            first_record(rest).ok_or_else(|| broken("a record cannot be read"))?;
        match key {
            b"path" => more.path = Some(value.to_vec()),
            b"linkpath" => more.target = Some(value.to_vec()),
            _ => {}
        }
        rest = after;
    }
    Ok(more)
}

/// A path of the archive below `dir`, through directories only.
fn inside(dir: &Path, name: &[u8]) -> io::Result<PathBuf> {
    let name = Path::new(OsStr::from_bytes(name));
    let escapes = || broken(&format!("{} is outside of it", name.display()));
    let mut path = dir.to_owned();
    let mut parts = name.components().peekable();
    while let Some(part) = parts.next() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => path.push(part),
            _ => return Err(escapes()),
        }
        let between = parts.peek().is_some() && path != dir;
        if between && !path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            return Err(escapes());
        }
    }
    Ok(path)
}

fn make_dir(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => return Ok(()),
        Ok(_) => std::fs::remove_file(path)?,
        Err(_) => {}
    }
    std::fs::create_dir(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// What is there under this name makes room.
fn away(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

fn file(path: &Path, header: &Header, from: &mut dyn Read) -> io::Result<()> {
    away(path)?;
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    let copied = io::copy(&mut (&mut *from).take(header.size), &mut file)?;
    if copied < header.size {
        return Err(short(io::ErrorKind::UnexpectedEof.into()));
    }
    skip(header.size, from)?;
    file.set_permissions(Permissions::from_mode(header.mode))
}

/// What fills the last block of contents.
fn skip(size: u64, from: &mut dyn Read) -> io::Result<()> {
    let over = (size % BLOCK as u64) as usize;
    if over > 0 {
        let mut rest = [0; BLOCK];
        from.read_exact(&mut rest[over..]).map_err(short)?;
    }
    Ok(())
}

fn short(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        broken("it ends early")
    } else {
        error
    }
}

/// A file system without times loses them.
fn modified(path: &Path, header: &Header) {
    let time = Timespec {
        tv_sec: i64::try_from(header.modified.0).unwrap_or(0),
        tv_nsec: header.modified.1.into(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    let _ = rustix::fs::utimensat(rustix::fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
}
