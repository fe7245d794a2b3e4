//! The log store: for each attempt of a step a file of masked bytes and an index.
//!
//! `logs/<step>.<attempt>.log` holds nothing but the output, dense from offset 0. `logs/<step>.<attempt>.idx` has a record of 32 bytes
//! for each piece: where it ends in the file, where it ends in the addon's count, when it was read, and for lost output how
//! many bytes are missing there. Bytes are written before their index record, and an addon hears only then that they are stored: what a kill
//! leaves behind the last index record is cut and asked for again.
//!
//! The addon has masked the step's own secrets; here all of the run's are masked again, over the borders of pieces. Where that
//! changes lengths, the two counts differ: the index keeps both.

mod index;
mod read;
mod write;

use std::path::{Path, PathBuf};

use pipeline::plan::NodeId;

pub use read::{Piece, Reader};
pub use write::{Logs, Written};

/// The longest name of a file made from a step's id; file systems allow 255 bytes.
const LONGEST: usize = 180;

/// A step's id as the name of a file: every id has another one.
pub fn file_name(step: &NodeId) -> String {
    let mut name = String::with_capacity(step.0.len());
    for byte in step.0.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => {
                name.push(char::from(byte));
            }
            other => {
                use std::fmt::Write as _;
                let _ = write!(name, "%{other:02X}");
            }
        }
    }
    if name.len() > LONGEST {
        let hash = crc32fast::hash(step.0.as_bytes());
        // The end tells steps apart; the beginning is the same for all of a group.
        name = format!("%{hash:08x}{}", &name[name.len() - LONGEST + 9..]);
    }
    if name.starts_with('.') {
        name.insert(0, '%');
    }
    name
}

/// The files of an attempt: bytes and index.
fn paths(dir: &Path, step: &NodeId, attempt: u32) -> (PathBuf, PathBuf) {
    let name = format!("{}.{attempt}", file_name(step));
    (
        dir.join(format!("{name}.log")),
        dir.join(format!("{name}.idx")),
    )
}
