//! The journal: an append-only file of events, the one truth of a run.
//!
//! A header, then records: `length u32 LE | crc32 u32 LE | JSON of one [`Stamped`]`. A batch goes out in one `write`, so that what was
//! decided together survives a kill together or, torn, not at all from the torn record on: the tail that does not check is
//! cut by the next owner and skipped by readers. What does not check and has whole records behind it was not torn but damaged, and is
//! refused: cut, it would make steps that have run run again. Power loss is not what a laptop's journal guards against; there is no `fsync`.
//!
//! One owner at a time: the file is locked (`flock`) for as long as the [`Journal`] lives, and every owner writes an
//! [`Event::Adopted`] with an epoch one higher than the last, which addons use to refuse a driver that lost the run.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use engine::event::{Event, Stamped};

/// The first bytes of a journal: what it is, and the version of the layout.
const HEADER: &[u8; 16] = b"stepyard-jrnl 1\n";

/// The largest record: a script's outputs fit, a length read from garbage does not exhaust memory.
const MAX_RECORD: usize = 16 * 1024 * 1024;

/// Bytes before a record's JSON.
const PREFIX: usize = 8;

/// How the JSON of every record begins.
const BEGIN: &[u8] = b"{\"at_ms\":";

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is one already where a new run was to begin.
    #[error("{} exists already: a run's id is used once", .0.display())]
    Exists(PathBuf),
    /// There is none where a run was to be taken over.
    #[error("there is no journal at {}: this run never began here", .0.display())]
    Missing(PathBuf),
    /// Another process drives this run.
    #[error("{} is locked: another stepyard drives this run", .0.display())]
    Locked(PathBuf),
    /// It is not a journal, or of a version that this release cannot read.
    #[error("{} is not a journal that this release reads", .0.display())]
    Foreign(PathBuf),
    /// A record whose checksum is right cannot be read.
    #[error("record {record} of {} cannot be read: {source}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Which, from 0.
        record: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// What cannot be read has whole records behind it.
    #[error(
        "{} is damaged at byte {at}: records of the run follow that cannot be told from what is missing; restore it, or begin a new run",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where what cannot be read begins.
        at: usize,
    },
    /// The system refused. `No space left` among them: nothing that was written before is harmed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A journal that this process owns.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes that are whole.
    len: u64,
    /// A write failed half-way and could not be taken back: nothing may follow it.
    torn: bool,
}

impl Journal {
    /// Begins the journal of a new run.
    pub fn create(path: &Path) -> Result<Self, Error> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(|source| io("make", dir, source))?;
        }
        let mut file = match OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .open(path)
        {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists(path.to_owned()));
            }
            Err(source) => return Err(io("create", path, source)),
        };
        lock(&file, path)?;
        file.write_all(HEADER)
            .map_err(|source| io("write", path, source))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            len: HEADER.len() as u64,
            torn: false,
        })
    }

    /// Takes a journal over: locks it, cuts a torn tail, and gives what it holds.
    pub fn open(path: &Path) -> Result<(Self, Vec<Stamped>), Error> {
        let file = match OpenOptions::new().read(true).append(true).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::Missing(path.to_owned()));
            }
            Err(source) => return Err(io("open", path, source)),
        };
        lock(&file, path)?;
        let (events, whole) = scan(&file, path)?;
        let len = file
            .metadata()
            .map_err(|source| io("read", path, source))?
            .len();
        if whole < len {
            file.set_len(whole)
                .map_err(|source| io("cut", path, source))?;
        }
        let journal = Self {
            path: path.to_owned(),
            file,
            len: whole,
            torn: false,
        };
        Ok((journal, events))
    }

    /// Appends a batch in one `write`. After an error the journal is as it was before the batch, and still usable.
    pub fn append(&mut self, batch: &[Stamped]) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        if self.torn {
            let source = std::io::Error::other("an earlier write to it failed half-way");
            return Err(io("write", &self.path, source));
        }
        let mut bytes = Vec::with_capacity(batch.len() * 256);
        for stamped in batch {
            encode(stamped, &mut bytes);
        }
        match self.file.write_all(&bytes) {
            Ok(()) => {
                self.len += bytes.len() as u64;
                Ok(())
            }
            Err(source) => {
                // Part of the batch may be there (no space left): take it back, so that the next record follows a whole one.
                self.torn = self.file.set_len(self.len).is_err();
                Err(io("write", &self.path, source))
            }
        }
    }
}

/// Reads a journal that another process may be writing: whole records only, a torn tail is not there yet.
pub fn read(path: &Path) -> Result<Vec<Stamped>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::Missing(path.to_owned()));
        }
        Err(source) => return Err(io("open", path, source)),
    };
    scan(&file, path).map(|(events, _)| events)
}

/// The epoch of the last owner in these events; 0 where there was none.
pub fn epoch(events: &[Stamped]) -> u64 {
    events
        .iter()
        .filter_map(|stamped| match stamped.event {
            Event::Adopted { epoch, .. } => Some(epoch),
            _ => None,
        })
        .max()
        .unwrap_or(0)
}

fn lock(file: &File, path: &Path) -> Result<(), Error> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked(path.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(io("lock", path, source)),
    }
}

/// Appends one record.
pub fn encode(stamped: &Stamped, into: &mut Vec<u8>) {
    let at = into.len();
    into.extend_from_slice(&[0; PREFIX]);
    serde_json::to_writer(&mut *into, stamped).expect("events have only string keys");
    let body = &into[at + PREFIX..];
    let (len, crc) = (body.len() as u32, crc32fast::hash(body));
    into[at..at + 4].copy_from_slice(&len.to_le_bytes());
    into[at + 4..at + PREFIX].copy_from_slice(&crc.to_le_bytes());
}

/// The whole records of a file and the offset where they end.
fn scan(mut file: &File, path: &Path) -> Result<(Vec<Stamped>, u64), Error> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut bytes))
        .map_err(|source| io("read", path, source))?;
    let Some(mut rest) = bytes.strip_prefix(HEADER.as_slice()) else {
        return Err(Error::Foreign(path.to_owned()));
    };
    let mut events = Vec::new();
    while let Some((body, after)) = record(rest) {
        let stamped = serde_json::from_slice(body).map_err(|source| Error::Record {
            path: path.to_owned(),
            record: events.len(),
            source,
        })?;
        events.push(stamped);
        rest = after;
    }
    let at = bytes.len() - rest.len();
    // A batch that was torn has nothing whole behind the tear.
    let begins = |from: &usize| {
        let record_of = &rest[*from..];
        record_of
            .get(PREFIX..)
            .is_some_and(|body| body.starts_with(BEGIN))
            && record(record_of).is_some()
    };
    if (1..rest.len()).any(|from| begins(&from)) {
        return Err(Error::Damaged {
            path: path.to_owned(),
            at,
        });
    }
    Ok((events, at as u64))
}

/// The first record of `bytes`, if it is whole and its checksum is right.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let len = u32::from_le_bytes(*len) as usize;
    if len > MAX_RECORD {
        return None;
    }
    let (body, rest) = rest.split_at_checked(len)?;
    (crc32fast::hash(body) == u32::from_le_bytes(*crc)).then_some((body, rest))
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(epoch: u64) -> Stamped {
        Stamped {
            at_ms: epoch,
            event: Event::Adopted { epoch, awake: None },
        }
    }

    #[test]
    fn what_was_appended_is_read_back_and_one_owner_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/journal");
        let mut journal = Journal::create(&path).unwrap();
        journal.append(&[event(1), event(2)]).unwrap();
        assert_eq!(read(&path).unwrap(), [event(1), event(2)]);
        assert!(matches!(Journal::open(&path), Err(Error::Locked(_))));
        assert!(matches!(Journal::create(&path), Err(Error::Exists(_))));
        drop(journal);
        let (mut journal, events) = Journal::open(&path).unwrap();
        assert_eq!(epoch(&events), 2);
        journal.append(&[event(3)]).unwrap();
        assert_eq!(read(&path).unwrap().len(), 3);
    }

    #[test]
    fn a_journal_cut_or_flipped_at_any_byte_keeps_what_is_whole_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        Journal::create(&path)
            .unwrap()
            .append(&[event(1), event(2), event(3)])
            .unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut ends = vec![HEADER.len()];
        for number in 1..=3 {
            let mut bytes = Vec::new();
            encode(&event(number), &mut bytes);
            ends.push(ends[ends.len() - 1] + bytes.len());
        }
        for at in HEADER.len()..whole.len() {
            let intact = ends.iter().filter(|end| **end <= at).count() - 1;
            for flip in [false, true] {
                let mut bytes = whole.clone();
                if flip {
                    bytes[at] ^= 0x55;
                } else {
                    bytes.truncate(at);
                }
                std::fs::write(&path, &bytes).unwrap();
                if flip && intact < 2 {
                    // Whole records follow: nothing is cut.
                    let damaged =
                        |error| matches!(error, Error::Damaged { at, .. } if at == ends[intact]);
                    assert!(damaged(read(&path).unwrap_err()), "at byte {at}");
                    assert!(damaged(Journal::open(&path).unwrap_err()), "at byte {at}");
                    assert_eq!(std::fs::read(&path).unwrap(), bytes);
                    continue;
                }
                let (mut journal, events) = Journal::open(&path).unwrap();
                assert_eq!(events.len(), intact, "at byte {at}, flipped: {flip}");
                journal.append(&[event(9)]).unwrap();
                drop(journal);
                let events = read(&path).unwrap();
                assert_eq!(events.len(), intact + 1);
                assert_eq!(events.last(), Some(&event(9)));
            }
        }
    }

    #[test]
    fn a_file_that_is_none_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        assert!(matches!(read(&path), Err(Error::Missing(_))));
        std::fs::write(&path, "kind: Pipeline").unwrap();
        assert!(matches!(read(&path), Err(Error::Foreign(_))));
    }
}
