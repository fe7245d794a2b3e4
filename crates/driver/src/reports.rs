//! Files that the report paths of steps matched, kept with the run.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Component, Path, PathBuf};

use pipeline::plan::NodeId;

use crate::store::file_name;

/// Where a collected file is kept: `reports/<step>/<attempt>/<path>`, whatever the path tries.
pub fn path(dir: &Path, step: &NodeId, attempt: u32, file: &str) -> PathBuf {
    let mut path = dir.join(file_name(step)).join(attempt.to_string());
    // The name comes from a container that nobody vouches for: only its plain parts are taken.
    path.extend(Path::new(file).components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    }));
    path
}

/// Writes a piece of a file; offset 0 begins it anew.
pub(crate) fn write(path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut file: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(offset == 0)
        .open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leaves_the_place_of_its_step() {
        let dir = Path::new("/r");
        for (file, kept) in [
            ("target/junit.xml", "/r/a.b/0/target/junit.xml"),
            ("/harness/x.xml", "/r/a.b/0/harness/x.xml"),
            ("../../../etc/passwd", "/r/a.b/0/etc/passwd"),
        ] {
            assert_eq!(path(dir, &NodeId::from("a.b"), 0, file), Path::new(kept));
        }
    }
}
