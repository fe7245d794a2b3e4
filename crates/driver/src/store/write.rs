//! Writing logs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use addon::mask::Masker;
use pipeline::plan::NodeId;

use super::index::{Entry, SIZE};
use super::paths;

/// The logs of a run, for its one owner.
pub struct Logs {
    dir: PathBuf,
    secrets: Vec<String>,
    open: BTreeMap<(NodeId, u32), Log>,
    /// Closed again.
    closed: BTreeSet<(NodeId, u32)>,
    /// A driver before this one may have left logs.
    taken_over: bool,
}

/// What one call wrote.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Offset of its first byte in the file.
    pub offset: u64,
    /// The masked bytes.
    pub bytes: Vec<u8>,
    /// Output below this is stored, in the addon's count.
    pub source: u64,
}

struct Log {
    bytes: File,
    index: File,
    masker: Masker,
    end: u64,
    /// Pushed into the masker, in the addon's count.
    pushed: u64,
    at_ms: u64,
}

impl Logs {
    /// The logs below `dir`, which is made when the first is opened. No log shows any of `secrets`.
    pub fn new(dir: &Path, secrets: Vec<String>) -> Self {
        Self {
            dir: dir.to_owned(),
            secrets,
            open: BTreeMap::new(),
            closed: BTreeSet::new(),
            taken_over: dir.exists(),
        }
    }

    /// Values to mask from now on, in logs that are open too.
    pub fn mask(&mut self, values: Vec<String>) -> io::Result<()> {
        self.secrets.extend(values);
        let keys: Vec<_> = self.open.keys().cloned().collect();
        for (step, attempt) in keys {
            self.flush(&step, attempt)?;
            if let Some(log) = self.open.get_mut(&(step, attempt)) {
                log.masker = Masker::new(&self.secrets);
            }
        }
        Ok(())
    }

    /// Where an attempt's log is, for messages.
    pub fn path(&self, step: &NodeId, attempt: u32) -> PathBuf {
        paths(&self.dir, step, attempt).0
    }

    /// How much of an attempt's output is stored, in the addon's count; opens its log, cut to what is whole.
    pub fn stored(&mut self, step: &NodeId, attempt: u32) -> io::Result<u64> {
        self.log(step, attempt).map(|log| log.pushed)
    }

    /// Appends output that begins at `source` in the addon's count and follows what was appended before.
    pub fn append(
        &mut self,
        step: &NodeId,
        attempt: u32,
        at_ms: u64,
        bytes: &[u8],
    ) -> io::Result<Written> {
        let log = self.log(step, attempt)?;
        let mut masked = Vec::with_capacity(bytes.len());
        log.masker.push(bytes, &mut masked);
        log.pushed += bytes.len() as u64;
        log.at_ms = at_ms;
        log.write(masked)
    }

    /// Marks output as lost.
    pub fn gap(&mut self, step: &NodeId, attempt: u32, bytes: u64) -> io::Result<Written> {
        let written = self.flush(step, attempt)?;
        let log = self.log(step, attempt)?;
        log.pushed += bytes;
        let entry = Entry {
            end: log.end,
            source: log.pushed,
            at_ms: log.at_ms,
            gap: bytes,
        };
        log.index.write_all(&entry.encode())?;
        Ok(Written {
            source: log.pushed,
            ..written
        })
    }

    /// Writes what masking holds back: nothing follows that could make a secret of it.
    pub fn flush(&mut self, step: &NodeId, attempt: u32) -> io::Result<Written> {
        // A step that printed nothing has no files: making them would be in the way of the next step.
        let key = (step.clone(), attempt);
        let there = self.open.contains_key(&key)
            || self.closed.contains(&key)
            || (self.taken_over && self.path(step, attempt).exists());
        if !there {
            return Ok(Written::default());
        }
        let log = self.log(step, attempt)?;
        let mut masked = Vec::new();
        log.masker.finish(&mut masked);
        log.write(masked)
    }

    /// The attempt is over: its files are closed, until something comes for them after all. What masking still holds back is not in them,
    /// and does not count as stored.
    pub fn close(&mut self, step: &NodeId, attempt: u32) {
        let key = (step.clone(), attempt);
        if self.open.remove(&key).is_some() {
            self.closed.insert(key);
        }
    }

    fn log(&mut self, step: &NodeId, attempt: u32) -> io::Result<&mut Log> {
        let key = (step.clone(), attempt);
        match self.open.entry(key) {
            std::collections::btree_map::Entry::Occupied(log) => Ok(log.into_mut()),
            std::collections::btree_map::Entry::Vacant(place) => {
                std::fs::create_dir_all(&self.dir)?;
                let log = Log::open(&self.dir, step, attempt, &self.secrets)?;
                Ok(place.insert(log))
            }
        }
    }
}

impl Log {
    fn open(dir: &Path, step: &NodeId, attempt: u32, secrets: &[String]) -> io::Result<Self> {
        let (bytes, index) = paths(dir, step, attempt);
        let open = |path: &Path| {
            OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .open(path)
        };
        let (bytes, mut index) = (open(&bytes)?, open(&index)?);
        let length = bytes.metadata()?.len();
        let mut entries = Vec::new();
        index.read_to_end(&mut entries)?;
        // The last record whose bytes are there: a torn one, or one whose bytes were lost, is cut.
        let (mut last, mut whole) = (Entry::default(), 0);
        for (number, record) in entries.as_chunks::<SIZE>().0.iter().enumerate() {
            let entry = Entry::decode(record);
            if entry.end > length || entry.end < last.end {
                break;
            }
            (last, whole) = (entry, (number + 1) * SIZE);
        }
        index.set_len(whole as u64)?;
        bytes.set_len(last.end)?;
        Ok(Self {
            bytes,
            index,
            masker: Masker::new(secrets),
            end: last.end,
            pushed: last.source,
            at_ms: last.at_ms,
        })
    }

    fn write(&mut self, bytes: Vec<u8>) -> io::Result<Written> {
        let source = self.pushed - (self.masker.held() as u64).min(self.pushed);
        let offset = self.end;
        if !bytes.is_empty() {
            if let Err(error) = self.bytes.write_all(&bytes) {
                // No space left: the piece is not there, what was before stays whole.
                self.bytes.set_len(self.end)?;
                return Err(error);
            }
            self.end += bytes.len() as u64;
            let entry = Entry {
                end: self.end,
                source,
                at_ms: self.at_ms,
                gap: 0,
            };
            self.index.write_all(&entry.encode())?;
        }
        Ok(Written {
            offset,
            bytes,
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Piece, Reader};
    use super::*;

    fn all(dir: &Path, step: &NodeId) -> (Vec<u8>, Vec<(u64, u64)>) {
        let (mut bytes, mut gaps) = (Vec::new(), Vec::new());
        let mut reader = Reader::open(dir, step, 0).unwrap();
        while let Some(piece) = reader.next_piece().unwrap() {
            match piece {
                Piece::Bytes {
                    offset, bytes: b, ..
                } => {
                    assert_eq!(offset, bytes.len() as u64);
                    bytes.extend(b);
                }
                Piece::Gap { offset, bytes, .. } => gaps.push((offset, bytes)),
            }
        }
        (bytes, gaps)
    }

    #[test]
    fn secrets_are_masked_over_pieces_and_the_count_says_what_is_safe() {
        let dir = tempfile::tempdir().unwrap();
        let step = NodeId::from("a.b");
        let mut logs = Logs::new(dir.path(), vec!["hunter22".to_owned()]);
        let written = logs.append(&step, 0, 5, b"it is hunt").unwrap();
        // "hunt" may become the secret: a driver that takes over here must get it again.
        assert_eq!(
            (written.bytes.as_slice(), written.source),
            (&b"it is "[..], 6)
        );
        let written = logs.append(&step, 0, 6, b"er22!\n").unwrap();
        assert_eq!((written.offset, written.source), (6, 16));
        logs.gap(&step, 0, 100).unwrap();
        logs.mask(vec!["later-secret".to_owned()]).unwrap();
        logs.append(&step, 0, 7, b"later-secret hunter22").unwrap();
        assert_eq!(logs.flush(&step, 0).unwrap().source, 137);
        let (bytes, gaps) = all(dir.path(), &step);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text, "it is **************!\n************** **************");
        assert_eq!(gaps, [(22, 100)]);
    }

    #[test]
    fn a_closed_log_goes_on_and_silence_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("logs");
        let (said, silent) = (NodeId::from("a.said"), NodeId::from("a.silent"));
        let mut logs = Logs::new(&dir, vec!["hunter22".to_owned()]);
        logs.append(&said, 0, 1, b"one hunt").unwrap();
        logs.close(&said, 0);
        assert_eq!(logs.flush(&said, 0).unwrap().source, 4);
        logs.append(&said, 0, 2, b"two\n").unwrap();
        assert_eq!(logs.flush(&silent, 0).unwrap(), Written::default());
        drop(logs);
        // A driver that takes over looks at what is there.
        let mut logs = Logs::new(&dir, Vec::new());
        assert_eq!(logs.flush(&said, 0).unwrap().source, 8);
        assert_eq!(logs.flush(&silent, 0).unwrap(), Written::default());
        assert_eq!(all(&dir, &said).0, b"one two\n");
        assert!(!paths(&dir, &silent, 0).0.exists());
    }

    #[test]
    fn a_log_cut_anywhere_goes_on_where_its_index_says() {
        let dir = tempfile::tempdir().unwrap();
        let step = NodeId::from("a.b");
        let mut logs = Logs::new(dir.path(), Vec::new());
        logs.append(&step, 0, 1, b"first\n").unwrap();
        logs.append(&step, 0, 2, b"second\n").unwrap();
        drop(logs);
        let (log, idx) = paths(dir.path(), &step, 0);
        let (log_bytes, idx_bytes) = (std::fs::read(&log).unwrap(), std::fs::read(&idx).unwrap());
        for log_len in 0..=log_bytes.len() {
            for idx_len in 0..=idx_bytes.len() {
                std::fs::write(&log, &log_bytes[..log_len]).unwrap();
                std::fs::write(&idx, &idx_bytes[..idx_len]).unwrap();
                let mut logs = Logs::new(dir.path(), Vec::new());
                let stored = logs.stored(&step, 0).unwrap();
                assert!([0, 6, 13].contains(&stored));
                logs.append(&step, 0, 3, &b"first\nsecond\n"[stored as usize..])
                    .unwrap();
                assert_eq!(all(dir.path(), &step).0, b"first\nsecond\n");
            }
        }
    }
}
