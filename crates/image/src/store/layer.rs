//! Layers on the disk: unpacked under another name, then renamed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Store, hex};
use crate::Error;
use crate::unpack::{Report, Trouble, unpack};

/// Half of a digest names a layer's directory: overlay's mount options have room for one page of paths.
const SHORT: usize = 32;

/// A layer that is here.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) fs: PathBuf,
    pub(crate) report: Report,
}

/// `layer.json`
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// The whole diff id.
    pub(super) diff: String,
    /// The boot it was written in.
    pub(super) boot: String,
    /// See [`shape`].
    pub(super) shape: u64,
    pub(super) report: Report,
}

/// Which layer of which image: for messages and checks.
pub(crate) struct Wanted<'a> {
    pub(crate) image: &'a str,
    /// From 1.
    pub(crate) number: usize,
    /// Of the tar.
    pub(crate) diff: &'a str,
    /// Of the blob as the manifest names it; none in a docker-archive.
    pub(crate) blob: Option<&'a str>,
}

impl Store {
    fn layer_dir(&self, diff: &str) -> PathBuf {
        self.path("layers", &hex(diff)[..SHORT])
    }

    /// The layer, where it is here and whole.
    pub(crate) fn layer(&self, diff: &str) -> Option<Layer> {
        let dir = self.layer_dir(diff);
        let record: Record =
            serde_json::from_slice(&fs::read(dir.join("layer.json")).ok()?).ok()?;
        let fs = dir.join("fs");
        if record.diff != diff {
            return None;
        }
        let fresh = record.boot == self.inner.boot && !record.boot.is_empty();
        let survived = dir.join("survived");
        if !fresh && !survived.exists() {
            if shape(&fs) != record.shape {
                return None;
            }
            // Looked at once: where the mark cannot be made, it is looked at again.
            let _ = File::create(survived);
        }
        Some(Layer {
            fs,
            report: record.report,
        })
    }

    /// Marks the layer as used now.
    pub(crate) fn touch(&self, diff: &str) {
        // Only garbage collection reads it: a clock or a disk that refuses costs a later pull at worst.
        if let Ok(file) = File::options()
            .write(true)
            .open(self.layer_dir(diff).join("layer.json"))
        {
            let _ = file.set_modified(SystemTime::now());
        }
    }

    /// The lock under which one layer is fetched and unpacked. Blocks.
    pub(crate) fn layer_lock(&self, diff: &str) -> io::Result<super::Lock> {
        self.lock(
            &format!("layer-{}", &hex(diff)[..2]),
            FlockOperation::LockExclusive,
        )
    }

    /// Unpacks a layer from its blob; the caller has its lock. Blocks.
    pub(crate) fn add_layer(
        &self,
        wanted: &Wanted<'_>,
        blob: impl Read + Send,
    ) -> Result<Layer, Error> {
        let temp = self.temp();
        let done = self.add_in(wanted, blob, &temp);
        if done.is_err() {
            let _ = Self::remove(&temp);
        }
        done
    }

    fn add_in(
        &self,
        wanted: &Wanted<'_>,
        blob: impl Read + Send,
        temp: &Path,
    ) -> Result<Layer, Error> {
        let Wanted {
            image,
            number,
            diff,
            blob: want,
        } = *wanted;
        let file = |e| self.err(image, temp, e);
        let fs = temp.join("fs");
        fs::create_dir_all(&fs).map_err(file)?;
        fs::set_permissions(&fs, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(file)?;
        let unpacked = unpack(blob, &fs);
        let check = |what: String, want: &str, got: String| {
            if want == got {
                return Ok(());
            }
            Err(Error::Digest {
                image: image.into(),
                what,
                want: want.into(),
                got,
            })
        };
        let got = match &unpacked {
            Ok((_, got, _)) | Err(Trouble::Spoiled { got, .. }) => Some(got),
            Err(_) => None,
        };
        if let (Some(want), Some(got)) = (want, got) {
            check(format!("layer {number}"), want, got.clone())?;
        }
        let (report, _, got_diff) = unpacked.map_err(|t| self.trouble(wanted, t))?;
        check(format!("the content of layer {number}"), diff, got_diff)?;
        let record = Record {
            diff: diff.into(),
            boot: self.inner.boot.clone(),
            shape: shape(&fs),
            report,
        };
        let json = serde_json::to_vec(&record).unwrap_or_default();
        fs::write(temp.join("layer.json"), json).map_err(file)?;
        let dir = self.layer_dir(diff);
        if dir.exists() {
            // Not whole, or of a boot that lost it: nobody can be using it.
            let old = self.temp();
            fs::rename(&dir, &old).map_err(file)?;
            let _ = Self::remove(&old);
        }
        fs::rename(temp, &dir).map_err(file)?;
        Ok(Layer {
            fs: dir.join("fs"),
            report,
        })
    }

    fn trouble(&self, wanted: &Wanted<'_>, trouble: Trouble) -> Error {
        let layer = wanted.blob.unwrap_or(wanted.diff);
        let layer = layer.get(..19).unwrap_or(layer).to_owned();
        match trouble {
            // The stream of a download that ended carries its own error.
            Trouble::Stream(e)
                if e.get_ref()
                    .is_some_and(<dyn std::error::Error + Send + Sync>::is::<Error>) =>
            {
                match e
                    .into_inner()
                    .map(<dyn std::error::Error + Send + Sync>::downcast::<Error>)
                {
                    Some(Ok(e)) => *e,
                    _ => Error::Broken {
                        image: wanted.image.into(),
                        why: "its download failed".into(),
                    },
                }
            }
            Trouble::Disk { name, source } => self.err(wanted.image, name, source),
            other => Error::Layer {
                image: wanted.image.into(),
                layer,
                why: other.to_string(),
            },
        }
    }
}

/// What a tree looks like: the sum, over its entries in any order, of a hash of path, kind, mode and size. A filesystem
/// that lost a file's bytes with its power has it shorter, or not at all.
fn shape(root: &Path) -> u64 {
    let mut sum = 0_u64;
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        // A directory that denies its owner is as closed at every look.
        let Ok(entries) = fs::read_dir(root.join(&dir)) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = dir.join(entry.file_name());
            let Ok(about) = entry.metadata() else {
                continue;
            };
            let size = if about.is_dir() { 0 } else { about.size() };
            let hash = Sha256::new_with_prefix(path.as_os_str().as_bytes())
                .chain_update([0])
                .chain_update(about.mode().to_le_bytes())
                .chain_update(size.to_le_bytes())
                .finalize();
            let first = hash.first_chunk::<8>().copied().unwrap_or_default();
            sum = sum.wrapping_add(u64::from_le_bytes(first));
            if about.is_dir() {
                dirs.push(path);
            }
        }
    }
    sum
}
