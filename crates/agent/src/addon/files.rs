//! The slice of a container: spool, record, and what a step leaves for the addon to read.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use ::addon::frame::Record;
use ::addon::outputs::{DOTENV, Files, Left, SECRET};
use ::addon::spool::{SEGMENT, Store};
use rustix::fs::FallocateFlags;

/// Bytes of a file of outputs that are read: a hundred of the longest values with every byte escaped.
const LARGEST: u64 = 16 * 1024 * 1024;
/// Bytes set aside for the record when the container starts, so that a full disk cannot lose it.
const RECORD: usize = 64 * 1024;

/// The slice.
#[derive(Debug)]
pub(super) struct Home {
    dir: PathBuf,
    record: Option<File>,
    /// This container did not live before.
    fresh: bool,
    /// The next step's files are there, and nobody was after them.
    laid: bool,
}

impl Home {
    /// Makes what is needed in the slice.
    pub(super) fn prepare(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir).map_err(|e| named(dir, &e))?;
        let dir = dir.canonicalize().map_err(|e| named(dir, &e))?;
        let tmp = dir.join("tmp");
        std::fs::create_dir_all(&tmp).map_err(|e| named(&tmp, &e))?;
        // As /tmp: a step may become another user.
        let _ = std::fs::set_permissions(&tmp, std::fs::Permissions::from_mode(0o1777));
        let path = dir.join("record");
        let mut record = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| named(&path, &e))?;
        let kept = record.metadata().map_err(|e| named(&path, &e))?.len();
        if kept < RECORD as u64 {
            let flags = FallocateFlags::empty();
            if rustix::fs::fallocate(&record, flags, 0, RECORD as u64).is_err() {
                // Not every filesystem can.
                record
                    .write_all(&vec![b' '; RECORD])
                    .map_err(|e| named(&path, &e))?;
            }
        }
        Ok(Home {
            dir,
            record: Some(record),
            fresh: kept == 0,
            laid: false,
        })
    }

    /// Makes the directory of the spool, empty.
    pub(super) fn spool(&self) -> io::Result<PathBuf> {
        let spool = self.dir.join("spool");
        let _ = std::fs::remove_dir_all(&spool);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&spool)
            .map_err(|e| named(&spool, &e))?;
        Ok(spool)
    }

    /// Where a step finds its files.
    pub(super) fn step_files(&self) -> Files {
        let path = |name: &str| self.dir.join("tmp").join(name).display().to_string();
        Files {
            exported: path("exported"),
            dotenv: path("output.env"),
            secret: path("secret.env"),
            scratch: path("scratch"),
        }
    }

    /// Whether they are.
    pub(super) fn laid(&self) -> bool {
        self.laid
    }

    /// A process may have been at the step's files.
    pub(super) fn used(&mut self) {
        self.laid = false;
    }

    /// Makes the step's files anew, empty. Nothing is left to do where that was done ahead, and nobody was after them.
    pub(super) fn lay(&mut self) -> Result<(), String> {
        if self.laid {
            return Ok(());
        }
        let files = self.step_files();
        let make = || -> io::Result<()> {
            for path in [&files.exported, &files.dotenv, &files.secret] {
                remove(Path::new(path))?;
                let file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)?;
                // Steps that become another user still write them.
                let _ = file.set_permissions(std::fs::Permissions::from_mode(0o666));
            }
            if !Path::new(&files.scratch).is_dir() {
                std::fs::create_dir_all(&files.scratch)?;
                let _ = std::fs::set_permissions(
                    &files.scratch,
                    std::fs::Permissions::from_mode(0o1777),
                );
            }
            Ok(())
        };
        make().map_err(|error| {
            format!(
                "failed to make the step's output files in {}: {error}; the container's user needs to write there",
                self.dir.join("tmp").display()
            )
        })?;
        self.laid = true;
        Ok(())
    }

    /// What the step left in its files, which go; empty ones once the next are made.
    pub(super) fn left(&mut self) -> Left {
        self.laid = false;
        let files = self.step_files();
        let mut warnings = Vec::new();
        let mut read = |path: &str, file: &str| {
            let untouched = |meta: std::fs::Metadata| meta.is_file() && meta.len() == 0;
            if std::fs::symlink_metadata(path).is_ok_and(untouched) {
                return Vec::new();
            }
            let bytes = match bounded(Path::new(path)) {
                Ok(bytes) => bytes,
                Err(error) => {
                    warnings.push(format!("no output of {file} is read: {error}"));
                    Vec::new()
                }
            };
            let _ = remove(Path::new(path));
            bytes
        };
        let (exported, dotenv, secret) = (
            read(&files.exported, "the script's variables"),
            read(&files.dotenv, DOTENV),
            read(&files.secret, SECRET),
        );
        Left {
            exported,
            dotenv,
            secret,
            warnings,
        }
    }

    /// Writes the record where it survives this process. Values of secret outputs are not among it.
    pub(super) fn keep(&mut self, record: &Record) {
        let mut record = record.clone();
        for output in record.outputs.iter_mut().filter(|output| output.secret) {
            output.value.clear();
        }
        let Ok(mut bytes) = serde_json::to_vec(&record) else {
            return;
        };
        bytes.push(b'\n');
        // The record in memory is the one that is sent; this one is for a container that starts again.
        if let Some(file) = &mut self.record {
            let _ = file.rewind().and_then(|()| file.write_all(&bytes));
        }
    }

    pub(super) fn forget(&mut self) {
        if let Some(file) = &mut self.record {
            let _ = file.write_all_at(b" \n", 0);
        }
    }

    /// The record that an earlier life of this container left unsettled.
    pub(super) fn record(&self) -> Option<Record> {
        if self.fresh {
            return None;
        }
        let mut file = self.record.as_ref()?;
        file.rewind().ok()?;
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes).ok()?;
        let line = bytes.split(|&b| b == b'\n').next()?;
        let mut record: Record = serde_json::from_slice(line).ok()?;
        record.warnings.push(
            "the container started again after the step had ended: secret outputs are lost"
                .to_owned(),
        );
        Some(record)
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("failed to prepare {}: {error}", path.display()),
    )
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => std::fs::remove_dir_all(path),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads a file that a step may have made anything of: no link is followed, no pipe waited for.
fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = match OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
    {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    if meta.len() > LARGEST {
        return Err(io::Error::other(format!(
            "it has {} bytes; the limit is {LARGEST}. Write what is large to a file in /harness instead",
            meta.len()
        )));
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Segments of the spool: files of a directory, or places in one file.
#[derive(Debug)]
pub(super) enum Segments {
    /// Files by number.
    Below(PathBuf, BTreeMap<u32, File>),
    /// A file, and the segment in each of its places.
    Inside(File, Vec<Option<u32>>),
}

impl Segments {
    pub(super) fn below(dir: PathBuf) -> Self {
        Segments::Below(dir, BTreeMap::new())
    }

    pub(super) fn inside(file: File) -> Self {
        Segments::Inside(file, Vec::new())
    }
}

impl Store for Segments {
    fn write(&mut self, segment: u32, at: u64, bytes: &[u8]) -> bool {
        let (dir, open) = match self {
            Segments::Below(dir, open) => (dir, open),
            Segments::Inside(file, places) => {
                let here = |p: &Option<u32>| *p == Some(segment);
                let place = places
                    .iter()
                    .position(here)
                    .or_else(|| places.iter().position(Option::is_none))
                    .unwrap_or(places.len());
                if place == places.len() {
                    places.push(None);
                }
                places[place] = Some(segment);
                return file
                    .write_all_at(bytes, place as u64 * SEGMENT + at)
                    .is_ok();
            }
        };
        let file = match open.entry(segment) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let made = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(dir.join(segment.to_string()));
                match made {
                    Ok(file) => entry.insert(file),
                    Err(_) => return false,
                }
            }
        };
        file.write_all_at(bytes, at).is_ok()
    }

    fn read(&mut self, segment: u32, at: u64, into: &mut [u8]) -> bool {
        match self {
            Segments::Below(_, open) => open
                .get(&segment)
                .is_some_and(|file| file.read_exact_at(into, at).is_ok()),
            Segments::Inside(file, places) => places
                .iter()
                .position(|p| *p == Some(segment))
                .is_some_and(|place| {
                    file.read_exact_at(into, place as u64 * SEGMENT + at)
                        .is_ok()
                }),
        }
    }

    fn remove(&mut self, segment: u32) {
        match self {
            Segments::Below(dir, open) => {
                open.remove(&segment);
                let _ = std::fs::remove_file(dir.join(segment.to_string()));
            }
            Segments::Inside(file, places) => {
                let Some(place) = places.iter().position(|p| *p == Some(segment)) else {
                    return;
                };
                places[place] = None;
                // Where the filesystem cannot give the room back, the next segment uses it.
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                let _ = rustix::fs::fallocate(file, flags, place as u64 * SEGMENT, SEGMENT);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_in_one_file_take_the_places_of_those_that_went() {
        let file = tempfile::tempfile().unwrap();
        let length = file.try_clone().unwrap();
        let mut segments = Segments::inside(file);
        let mut found = [0; 3];
        for number in 0..40_u32 {
            let text = format!("{number:03}");
            assert!(segments.write(number, 0, text.as_bytes()));
            assert!(segments.write(number, SEGMENT - 3, b"end"));
            if number >= 2 {
                segments.remove(number - 2);
                assert!(!segments.read(number - 2, 0, &mut found));
            }
            for kept in number.saturating_sub(1)..=number {
                assert!(segments.read(kept, 0, &mut found));
                assert_eq!(found, *format!("{kept:03}").as_bytes());
                assert!(segments.read(kept, SEGMENT - 3, &mut found));
                assert_eq!(&found, b"end");
            }
        }
        assert_eq!(length.metadata().unwrap().len(), 3 * SEGMENT);
    }
}
