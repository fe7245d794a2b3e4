//! The content store: what of images lies on this machine's disk.
//!
//! ```text
//! blobs/<64 hex>        manifests, indexes and configs by digest
//! layers/<32 hex>/fs    a layer unpacked, by the digest of its tar (two compressions of one tar are one layer)
//! layers/<32 hex>/…     layer.json (its mtime is the last use), survived
//! names/<64 hex>        what a reference led to when its image was last pulled
//! partial/<64 hex>      a layer's blob on its way; a cut download goes on from here, also after a crash
//! pins/<name>           what must stay, and until when (see [`Store::pin`])
//! locks/, tmp/          locks between processes; what is not finished
//! ```
//!
//! Compressed layers are not kept: nothing reads them again. Everything appears by rename, so that there is never a
//! half one. What a crash of the *machine* could still lose are files whose names reached the disk before their bytes:
//! a layer is not synced, as that costs more than unpacking it (and holds up the end of the process that asks for it). Instead
//! its shape is recorded, and compared once when a later boot first uses it (see [`layer`]); one that lost something is
//! not here, and pulled again.

mod gc;
mod layer;
mod pin;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

pub use self::gc::{Keep, Swept};
pub(crate) use self::layer::Wanted;
pub use self::pin::Pin;
use crate::error::disk;
use crate::manifest::digest_of;
use crate::{Error, Reference};

/// A store; a clone is the same one.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    boot: String,
}

/// What a reference led to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) name: String,
    /// The digest that the registry gave for the reference: of an index, or of a manifest.
    pub(crate) digest: String,
}

/// A lock between processes; it goes when dropped, or with the process.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Store {
    /// Opens the store in a directory of its own, making it where it is not there.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let root: PathBuf = dir.into();
        for part in [
            "blobs", "layers", "names", "partial", "pins", "locks", "tmp",
        ] {
            let path = root.join(part);
            fs::create_dir_all(&path).map_err(|e| disk("(none)", &root, path, e))?;
        }
        let root = fs::canonicalize(&root).map_err(|e| disk("(none)", &root, &root, e))?;
        // Images may hold what only their users may read.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(&root, mode).map_err(|e| disk("(none)", &root, &root, e))?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .trim()
            .to_owned();
        Ok(Self {
            inner: Arc::new(Inner { root, boot }),
        })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.inner.root
    }

    pub(crate) fn path(&self, part: &str, name: &str) -> PathBuf {
        self.inner.root.join(part).join(name)
    }

    pub(crate) fn err(&self, image: &str, path: impl Into<PathBuf>, e: io::Error) -> Error {
        disk(image, &self.inner.root, path, e)
    }

    /// Takes a lock, waiting for whoever has it. Blocks: not for an async thread.
    pub(crate) fn lock(&self, name: &str, how: FlockOperation) -> io::Result<Lock> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path("locks", name))?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, how))?;
        Ok(Lock(file))
    }

    /// A manifest, index or config that is here; damaged ones are not.
    pub(crate) fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        let bytes = fs::read(self.path("blobs", hex(digest))).ok()?;
        (digest_of(&bytes) == digest).then_some(bytes)
    }

    /// Keeps a manifest, index or config; its digest was checked.
    pub(crate) fn put_blob(&self, image: &str, digest: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path("blobs", hex(digest));
        self.write(&path, bytes)
            .map_err(|e| self.err(image, path, e))
    }

    pub(crate) fn known(&self, reference: &Reference) -> Option<Known> {
        let name = reference.to_string();
        let bytes = fs::read(self.path("names", hex(&digest_of(name.as_bytes())))).ok()?;
        serde_json::from_slice::<Known>(&bytes)
            .ok()
            .filter(|k| k.name == name)
    }

    pub(crate) fn remember(&self, reference: &Reference, digest: &str) -> Result<(), Error> {
        let name = reference.to_string();
        let path = self.path("names", hex(&digest_of(name.as_bytes())));
        let known = Known {
            name: name.clone(),
            digest: digest.into(),
        };
        let bytes = serde_json::to_vec(&known).unwrap_or_default();
        self.write(&path, &bytes)
            .map_err(|e| self.err(&name, path, e))
    }

    /// Marks what names and describes an image as used now.
    pub(crate) fn touch_documents(&self, reference: &Reference, blobs: &[String]) {
        let name = self.path("names", hex(&digest_of(reference.to_string().as_bytes())));
        let blobs = blobs.iter().map(|b| self.path("blobs", hex(b)));
        for path in blobs.chain([name]) {
            // As for layers: only collection reads it.
            if let Ok(file) = File::options().write(true).open(path) {
                let _ = file.set_modified(std::time::SystemTime::now());
            }
        }
    }

    /// Whole or not at all. Not synced: on a journalling filesystem that would write out whole layers with it, and what a
    /// crash of the machine cuts is noticed where it is read (digests, JSON, the boot of a pin).
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temp = self.temp();
        let done = (|| {
            let mut file = File::create_new(&temp)?;
            file.write_all(bytes)?;
            fs::rename(&temp, path)
        })();
        if done.is_err() {
            let _ = fs::remove_file(&temp);
        }
        done
    }

    /// A fresh name under `tmp`.
    pub(crate) fn temp(&self) -> PathBuf {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let nanos = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |d| d.subsec_nanos());
        let name = format!(
            "{}-{}-{nanos:x}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        self.path("tmp", &name)
    }

    /// Removes a tree of this store; links are not followed.
    fn remove(path: &Path) -> io::Result<()> {
        let (Some(dir), Some(base)) = (path.parent(), path.file_name()) else {
            return Ok(());
        };
        crate::unpack::remove_tree(File::open(dir)?, OsStr::new(base))
    }
}

/// The digits of a digest.
pub(crate) fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}
