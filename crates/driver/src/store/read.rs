//! Reading logs, also while they are written.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use pipeline::plan::NodeId;

use super::index::{Entry, SIZE};
use super::paths;

/// Bytes read at once: many small pieces in one go, little memory for large ones.
const CHUNK: u64 = 256 * 1024;

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Output.
    Bytes {
        /// Of the first byte in the log.
        offset: u64,
        /// When it was read in the container, milliseconds since the Unix epoch.
        at_ms: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Lost output.
    Gap {
        /// Where it is missing.
        offset: u64,
        /// How many bytes are.
        bytes: u64,
    },
}

/// Reads one attempt's log from its beginning. At the end of what is there it says `None` and may be asked again.
pub struct Reader {
    log: PathBuf,
    bytes: Option<File>,
    index: File,
    torn: Vec<u8>,
    at: u64,
    /// The piece whose bytes are being read.
    piece: Option<Entry>,
}

impl Reader {
    /// Opens a log; an error of kind `NotFound` where the attempt wrote nothing yet.
    pub fn open(dir: &Path, step: &NodeId, attempt: u32) -> io::Result<Self> {
        let (log, index) = paths(dir, step, attempt);
        Ok(Self {
            index: File::open(index)?,
            log,
            bytes: None,
            torn: Vec::new(),
            at: 0,
            piece: None,
        })
    }

    /// The file that grows when there is more: what to watch.
    pub fn watched(dir: &Path, step: &NodeId, attempt: u32) -> PathBuf {
        paths(dir, step, attempt).1
    }

    /// The next piece that is whole.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        loop {
            if let Some(entry) = self.piece {
                let left = entry.end - self.at;
                if left > 0 {
                    let mut bytes = vec![0; left.min(CHUNK) as usize];
                    if self.bytes.is_none() {
                        self.bytes = Some(File::open(&self.log)?);
                    }
                    if let Some(file) = &mut self.bytes {
                        file.read_exact(&mut bytes)?;
                    }
                    let offset = self.at;
                    self.at += bytes.len() as u64;
                    return Ok(Some(Piece::Bytes {
                        offset,
                        at_ms: entry.at_ms,
                        bytes,
                    }));
                }
                self.piece = None;
                if entry.gap > 0 {
                    return Ok(Some(Piece::Gap {
                        offset: self.at,
                        bytes: entry.gap,
                    }));
                }
            }
            let mut record = [0; SIZE];
            let missing = SIZE - self.torn.len();
            let read = self.index.read(&mut record[..missing])?;
            if read == 0 {
                return Ok(None);
            }
            self.torn.extend_from_slice(&record[..read]);
            if let Ok(whole) = <[u8; SIZE]>::try_from(self.torn.as_slice()) {
                self.torn.clear();
                let entry = Entry::decode(&whole);
                if entry.end < self.at {
                    return Err(io::Error::other("the index of the log goes backwards"));
                }
                self.piece = Some(entry);
            }
        }
    }
}
