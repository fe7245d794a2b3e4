//! What a tar entry says: a name that is safe to use, and what is set on its file.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{RawMode, Timespec};

use super::Trouble;
use super::tree::{Step, refused};

/// What of an entry is set on the file it became.
pub(super) struct Meta {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: RawMode,
    pub(super) mtime: Timespec,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The entry's name relative to the layer's root. Leading `/` and `./` mean the root, as every engine reads them.
pub(super) fn clean(bytes: &[u8]) -> Step<PathBuf> {
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

pub(super) fn link_name<R: Read>(entry: &tar::Entry<'_, R>, name: &str) -> Step<PathBuf> {
    match entry.link_name_bytes() {
        Some(bytes) if !bytes.is_empty() => Ok(Path::new(OsStr::from_bytes(&bytes)).to_owned()),
        _ => Err(refused(name, "a link to nothing")),
    }
}

pub(super) fn meta<R: Read>(entry: &mut tar::Entry<'_, R>) -> Step<Meta> {
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
