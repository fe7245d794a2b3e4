//! Garbage collection: the layers longest unused go first, what is pinned never.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;

use super::Store;
use super::layer::Record;
use crate::Error;

/// What may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// Bytes of unpacked layers; none: any number.
    pub max_bytes: Option<u64>,
    /// Layers unused for longer go; none: they may stay.
    pub older_than: Option<Duration>,
}

/// What a collection did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Layers removed.
    pub layers: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Layers that were due but are in use.
    pub in_use: u64,
    /// Nothing was done: images are being pulled right now.
    pub busy: bool,
}

struct Candidate {
    dir: PathBuf,
    diff: Option<String>,
    used: SystemTime,
    bytes: u64,
}

impl Store {
    /// Removes what is not to be kept, and all that crashes left. Blocks while it removes.
    pub fn gc(&self, keep: &Keep) -> Result<Swept, Error> {
        self.collect(keep)
            .map_err(|e| self.err("(none)", self.dir(), e))
    }

    fn collect(&self, keep: &Keep) -> io::Result<Swept> {
        // Pulls hold this lock shared from their first look at a layer to their pin.
        let lock = match self.lock("gc", FlockOperation::NonBlockingLockExclusive) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Swept {
                    busy: true,
                    ..Swept::default()
                });
            }
            lock => lock?,
        };
        let (diffs, blobs) = self.pinned()?;
        let now = SystemTime::now();
        let old = |used: SystemTime| {
            keep.older_than
                .is_some_and(|age| now.duration_since(used).is_ok_and(|d| d > age))
        };
        let mut candidates = self.candidates()?;
        candidates.sort_by_key(|c| c.used);
        let mut total: u64 = candidates.iter().map(|c| c.bytes).sum();
        let mut swept = Swept::default();
        let mut gone = Vec::new();
        for c in candidates {
            let broken = c.diff.as_ref().is_none_or(|d| self.layer(d).is_none());
            if !(broken || old(c.used) || keep.max_bytes.is_some_and(|max| total > max)) {
                continue;
            }
            if c.diff.as_ref().is_some_and(|d| diffs.contains(d)) {
                swept.in_use += 1;
                continue;
            }
            let away = self.temp();
            fs::rename(&c.dir, &away)?;
            gone.push(away);
            total -= c.bytes;
            swept.layers += 1;
            swept.bytes += c.bytes;
        }
        for (part, all) in [
            ("tmp", true),
            ("partial", false),
            ("blobs", false),
            ("names", false),
        ] {
            for entry in fs::read_dir(self.dir().join(part))?.flatten() {
                let held = part == "blobs"
                    && entry
                        .file_name()
                        .to_str()
                        .is_some_and(|hex| blobs.contains(&format!("sha256:{hex}")));
                let due = all || entry.metadata().and_then(|m| m.modified()).is_ok_and(old);
                if due && !held && !gone.contains(&entry.path()) {
                    gone.push(entry.path());
                }
            }
        }
        for path in &mut gone {
            if path.parent().is_some_and(|p| !p.ends_with("tmp")) {
                let away = self.temp();
                fs::rename(&*path, &away)?;
                *path = away;
            }
        }
        // Nobody can find them any more, so pulls need not wait. Another collector may remove them first.
        drop(lock);
        for path in gone {
            match Self::remove(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(swept)
    }

    fn candidates(&self) -> io::Result<Vec<Candidate>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(self.dir().join("layers"))?.flatten() {
            let dir = entry.path();
            let path = dir.join("layer.json");
            let record = fs::read(&path)
                .ok()
                .and_then(|b| serde_json::from_slice::<Record>(&b).ok());
            let used = fs::metadata(&path)
                .and_then(|m| m.modified())
                .unwrap_or(SystemTime::UNIX_EPOCH);
            let bytes = record.as_ref().map_or(0, |r| r.report.bytes);
            all.push(Candidate {
                dir,
                diff: record.map(|r| r.diff),
                used,
                bytes,
            });
        }
        Ok(all)
    }
}
