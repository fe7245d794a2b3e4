//! A layer's tar stream becomes a directory that overlay can use as a lower one.
//!
//! Layers are written by strangers. Names are resolved by the kernel inside the layer's directory
//! (`openat2` with `RESOLVE_IN_ROOT`): a link in the layer may point anywhere, but nothing is ever opened, made or
//! linked outside, as `..` and absolute links end at the layer's own root. A name with a `..` of its own is refused.
//!
//! Whiteouts become what overlay reads: a character device 0/0 for a removed file (any user may make that one since
//! Linux 5.8), and `overlay.opaque=y` for a directory that hides the one below. The latter is set both as
//! `trusted.` (where this process may) and as `user.`, so that one directory serves mounts with and without `userxattr`.
//!
//! Ownership: root gives files the owners that the layer names. Anybody else owns all of them, and in a user namespace
//! with one uid they are root's in the container; [`Report::owners`] counts what that changed. There is no record of the
//! lost owners beside a layer: a container that needs real uids needs a store that root (or root of a namespace with a
//! full range of uids) unpacked.

mod ahead;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod entry;
mod remove;
#[cfg(target_os = "linux")]
mod tree;

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(crate) use self::remove::remove_tree;
#[cfg(target_os = "linux")]
use self::tree::Unpacker;
#[cfg(not(target_os = "linux"))]
use elsewhere::Unpacker;

/// Bytes read at once from a blob: large enough that a system call costs nothing beside inflating.
const CHUNK: usize = 128 * 1024;

/// What unpacking a layer could not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Entries unpacked.
    pub entries: u64,
    /// Bytes of regular files.
    pub bytes: u64,
    /// Entries whose owner could not be set.
    pub owners: u64,
    /// Device nodes that could not be made.
    pub devices: u64,
    /// Extended attributes that this user or filesystem does not take.
    pub xattrs: u64,
}

/// Why a stream could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The stream itself: cut, not gzip, not tar.
    #[error("its data cannot be read: {0}")]
    Stream(io::Error),
    /// The same, of a stream that was read to its end: its digest.
    #[error("its data cannot be read: {source}")]
    Spoiled { got: String, source: io::Error },
    /// An entry that is refused or makes no sense.
    #[error("entry `{name}`: {why}")]
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "only Linux unpacks")
    )]
    Entry { name: String, why: String },
    /// This machine's disk.
    #[error("`{name}`: {source}")]
    Disk { name: String, source: io::Error },
}

/// Unpacks the stream (plain, gzip or zstd) into `into`, an empty directory, and returns what it could not keep,
/// the digest of the stream as it came and the digest of the tar within (the diff id). The stream is read to its end.
pub(crate) fn unpack(
    stream: impl Read + Send,
    into: &Path,
) -> Result<(Report, String, String), Trouble> {
    let mut hashed = Hashed::new(stream);
    match decode(&mut hashed, into) {
        // A decoder stumbles over what was changed before its digest is known: the rest of it tells.
        Err(Trouble::Stream(source)) => match io::copy(&mut hashed, &mut io::sink()) {
            Ok(_) => Err(Trouble::Spoiled {
                got: crate::manifest::digest_text(hashed.hasher),
                source,
            }),
            Err(_) => Err(Trouble::Stream(source)),
        },
        Err(other) => Err(other),
        Ok((report, diff)) => Ok((report, crate::manifest::digest_text(hashed.hasher), diff)),
    }
}

/// The stream is read, hashed and inflated on a thread of its own: with the writing of files beside it, a layer keeps two cores
/// busy, and an image of one layer is here in the time of the slower half.
fn decode(stream: &mut Hashed<impl Read + Send>, into: &Path) -> Result<(Report, String), Trouble> {
    let mut blob = BufReader::with_capacity(CHUNK, stream);
    let magic = blob.fill_buf().map_err(Trouble::Stream)?;
    let (gzip, zstd) = (
        magic.starts_with(&[0x1f, 0x8b]),
        magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]),
    );
    if gzip {
        let decoder = flate2::bufread::MultiGzDecoder::new(blob);
        beside(decoder, flate2::bufread::MultiGzDecoder::into_inner, into)
    } else if zstd {
        let decoder = zstd::Decoder::with_buffer(blob).map_err(Trouble::Stream)?;
        beside(decoder, zstd::Decoder::finish, into)
    } else {
        beside(blob, |blob| blob, into)
    }
}

/// Unpacks what the decoder gives while it goes on decoding; what is behind its end is read too, for the digest.
fn beside<D: Read + Send, R: Read>(
    mut decoder: D,
    inner: impl FnOnce(D) -> R + Send,
    into: &Path,
) -> Result<(Report, String), Trouble> {
    let (mut ahead, behind) = ahead::pipe();
    std::thread::scope(|scope| {
        let decoding = move || {
            let done = ahead.fill(&mut decoder);
            let done = done.and_then(|()| io::copy(&mut inner(decoder), &mut io::sink()));
            ahead.end(done.map(drop));
        };
        std::thread::Builder::new()
            .name("inflate".into())
            .spawn_scoped(scope, decoding)
            .map_err(Trouble::Stream)?;
        tarball(behind, into)
    })
}

fn tarball(stream: impl Read, into: &Path) -> Result<(Report, String), Trouble> {
    let mut archive = tar::Archive::new(Hashed::new(stream));
    let report = Unpacker::new(into)?.all(&mut archive)?;
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(Trouble::Stream)?;
    Ok((report, crate::manifest::digest_text(rest.hasher)))
}

/// A reader that hashes what passes.
struct Hashed<R> {
    inner: R,
    hasher: Sha256,
}

impl<R> Hashed<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
        }
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        Ok(n)
    }
}
