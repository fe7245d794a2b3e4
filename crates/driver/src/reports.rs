//! Files that the report paths of steps matched, kept with the run.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use addon::mask::Masker;
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

/// The files of a run's reports, for its one owner. None shows any of its secrets, as no log does.
pub(crate) struct Reports {
    dir: PathBuf,
    secrets: Vec<String>,
    /// The file of an attempt that is being written.
    open: BTreeMap<(NodeId, u32), Open>,
}

struct Open {
    path: PathBuf,
    file: File,
    masker: Masker,
}

impl Reports {
    /// Files below `dir`, which is made with the first.
    pub(crate) fn new(dir: PathBuf, secrets: Vec<String>) -> Self {
        Self {
            dir,
            secrets,
            open: BTreeMap::new(),
        }
    }

    /// Values to mask in files that begin from now on.
    pub(crate) fn mask(&mut self, values: &[String]) {
        self.secrets.extend_from_slice(values);
    }

    /// Takes the next piece of a file, whose pieces come in order; one at offset 0 begins it anew.
    ///
    /// # Errors
    /// In words, with the path.
    pub(crate) fn piece(
        &mut self,
        step: &NodeId,
        attempt: u32,
        file: &str,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), String> {
        let path = path(&self.dir, step, attempt, file);
        let key = (step.clone(), attempt);
        let same = self.open.get(&key).is_some_and(|open| open.path == path);
        if offset == 0 || !same {
            self.end(step, attempt)?;
            let open = Open::begin(path, offset == 0, &self.secrets)?;
            self.open.insert(key.clone(), open);
        }
        match self.open.get_mut(&key) {
            Some(open) => open.write(|masker, into| masker.push(bytes, into)),
            None => Ok(()),
        }
    }

    /// No more pieces of an attempt's files come.
    ///
    /// # Errors
    /// In words, with the path.
    pub(crate) fn end(&mut self, step: &NodeId, attempt: u32) -> Result<(), String> {
        match self.open.remove(&(step.clone(), attempt)) {
            Some(mut open) => open.write(Masker::finish),
            None => Ok(()),
        }
    }
}

impl Open {
    fn begin(path: PathBuf, anew: bool, secrets: &[String]) -> Result<Self, String> {
        let begun = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let opened = begun.and_then(|()| {
            let mut options = OpenOptions::new();
            options.create(true);
            if anew {
                options.write(true).truncate(true);
            } else {
                options.append(true);
            }
            options.open(&path)
        });
        match opened {
            Ok(file) => Ok(Self {
                path,
                file,
                masker: Masker::new(secrets),
            }),
            Err(error) => Err(unkept(&path, &error)),
        }
    }

    fn write(&mut self, mask: impl FnOnce(&mut Masker, &mut Vec<u8>)) -> Result<(), String> {
        let mut masked = Vec::new();
        mask(&mut self.masker, &mut masked);
        self.file
            .write_all(&masked)
            .map_err(|error| unkept(&self.path, &error))
    }
}

fn unkept(path: &Path, error: &std::io::Error) -> String {
    format!("cannot keep the report {}: {error}", path.display())
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

    #[test]
    fn a_kept_file_shows_no_secret_whatever_its_pieces() {
        let dir = tempfile::tempdir().expect("a directory");
        let step = NodeId::from("a");
        let mut reports = Reports::new(dir.path().to_owned(), vec!["hunter2&co".to_owned()]);
        let text = b"<failure message=\"hunter2&amp;co\">hunter2&co hunter</failure>";
        for (number, piece) in text.chunks(7).enumerate() {
            let offset = 7 * number as u64;
            reports
                .piece(&step, 0, "junit.xml", offset, piece)
                .expect("written");
        }
        // Another one begins before the end of the first was told, and is begun twice.
        for _ in 0..2 {
            reports
                .piece(&step, 0, "b/c", 0, b"whole")
                .expect("written");
        }
        reports.end(&step, 0).expect("written");
        let kept = |file: &str| {
            let kept = path(dir.path(), &step, 0, file);
            std::fs::read_to_string(kept).expect("kept")
        };
        let mask = addon::mask::MASK;
        assert_eq!(
            kept("junit.xml"),
            format!("<failure message=\"{mask}\">{mask} hunter</failure>")
        );
        assert_eq!(kept("b/c"), "whole");
    }
}
