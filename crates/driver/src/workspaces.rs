//! Archives of workspaces, kept in the run's directory between two groups.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use pipeline::plan::NodeId;

use crate::store::file_name;

/// Where the archive of a group's workspace is: `workspaces/<group>.tar` of the run.
pub fn path(dir: &Path, group: &NodeId) -> PathBuf {
    dir.join("workspaces")
        .join(format!("{}.tar", file_name(group)))
}

/// Writes a piece of an archive; offset 0 begins it anew. It may hold what only its user is to read.
pub(crate) fn write(path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
    }
    let mut file: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(offset == 0)
        .mode(0o600)
        .open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

/// Reads a piece of an archive; nothing is its end.
pub(crate) fn read(path: &Path, offset: u64, most: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A run that succeeded is not retried: nobody needs them any more.
pub(crate) fn remove(dir: &Path) {
    // What is left costs room only.
    let _ = std::fs::remove_dir_all(dir.join("workspaces"));
}
