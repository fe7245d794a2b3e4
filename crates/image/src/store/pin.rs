//! Pins: what must not be collected, because a pod uses it or a pull is about to hand it out.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::Store;
use crate::{Error, Image};

/// Keeps an image's layers for as long as one [`Image`] of this process lives: the pin's file is locked by it.
#[derive(Debug)]
pub struct Pin {
    path: PathBuf,
    _held: File,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// Of another boot: nothing that held it lives any more.
    boot: String,
    /// It counts only while its file is locked.
    locked: bool,
    diffs: BTreeSet<String>,
    blobs: BTreeSet<String>,
}

const BY_PROCESS: &str = "process-";

impl Store {
    /// Keeps these images under a name until [`Store::unpin`] or the next boot, beyond the life of this process.
    /// A backend pins a pod's images under the pod's name. Again with the same name: the images are added.
    pub fn pin(&self, name: &str, images: &[&Image]) -> Result<(), Error> {
        let fail = |e| self.err("(none)", self.path("pins", name), e);
        if name.is_empty()
            || name.contains('/')
            || name.starts_with('.')
            || name.starts_with(BY_PROCESS)
        {
            return Err(Error::Setting {
                what: "pin",
                text: name.into(),
                why: "it is not a file name of its own".into(),
            });
        }
        let _lock = self
            .lock("pins", FlockOperation::LockExclusive)
            .map_err(fail)?;
        let mut record = self
            .read_pin(name)
            .filter(|r| r.boot == self.inner.boot)
            .unwrap_or_else(|| self.record(false));
        for image in images {
            record.diffs.extend(image.diffs.iter().cloned());
            record.blobs.extend(image.blobs.iter().cloned());
        }
        let bytes = serde_json::to_vec(&record).unwrap_or_default();
        self.write(&self.path("pins", name), &bytes).map_err(fail)
    }

    /// Lets go of what was pinned under a name; nothing where there is none.
    pub fn unpin(&self, name: &str) -> Result<(), Error> {
        match fs::remove_file(self.path("pins", name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(self.err("(none)", self.path("pins", name), e))
            }
            _ => Ok(()),
        }
    }

    /// The names of [`Store::pin`] that hold something: a sweep removes those whose pods are gone.
    pub fn pins(&self) -> Result<Vec<String>, Error> {
        let dir = self.dir().join("pins");
        let entries = fs::read_dir(&dir).map_err(|e| self.err("(none)", &dir, e))?;
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .collect();
        names.retain(|n| !n.starts_with(BY_PROCESS));
        names.sort();
        Ok(names)
    }

    fn record(&self, locked: bool) -> Record {
        Record {
            boot: self.inner.boot.clone(),
            locked,
            diffs: BTreeSet::new(),
            blobs: BTreeSet::new(),
        }
    }

    fn read_pin(&self, name: &str) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.path("pins", name)).ok()?).ok()
    }

    /// A pin of this process; the caller keeps collectors out until it is there.
    pub(crate) fn hold(
        &self,
        image: &str,
        diffs: &[String],
        blobs: &[String],
    ) -> Result<Arc<Pin>, Error> {
        let base = self.temp();
        let base = base
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        let path = self.path("pins", &format!("{BY_PROCESS}{base}"));
        let made = (|| {
            let mut record = self.record(true);
            record.diffs.extend(diffs.iter().cloned());
            record.blobs.extend(blobs.iter().cloned());
            let mut file = File::create_new(&path)?;
            rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
            file.write_all(&serde_json::to_vec(&record).unwrap_or_default())?;
            Ok(file)
        })();
        match made {
            Ok(file) => Ok(Arc::new(Pin { path, _held: file })),
            Err(e) => {
                let _ = fs::remove_file(&path);
                Err(self.err(image, path, e))
            }
        }
    }

    /// Everything that live pins hold: diff ids and blobs. Removes the dead ones.
    pub(super) fn pinned(&self) -> std::io::Result<(BTreeSet<String>, BTreeSet<String>)> {
        let (mut diffs, mut blobs) = (BTreeSet::new(), BTreeSet::new());
        for entry in fs::read_dir(self.dir().join("pins"))?.flatten() {
            let name = entry.file_name();
            let Some(record) = name.to_str().and_then(|n| self.read_pin(n)) else {
                continue;
            };
            let free = || {
                File::open(entry.path()).is_ok_and(|f| {
                    rustix::fs::flock(&f, FlockOperation::NonBlockingLockExclusive).is_ok()
                })
            };
            if record.boot != self.inner.boot || record.locked && free() {
                let _ = fs::remove_file(entry.path());
                continue;
            }
            diffs.extend(record.diffs);
            blobs.extend(record.blobs);
        }
        Ok((diffs, blobs))
    }
}
