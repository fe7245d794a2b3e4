//! What a run was asked for: enough to list it, and to go on with it in another process. No secret is in it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use syntax::{Sources, Span};

use crate::home::RunDir;
use crate::problem::Problem;
use crate::target::Target;

/// The version of the file. A later release still reads it.
pub(crate) const VERSION: u32 = 1;

/// `meta.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// When it was made, milliseconds since the Unix epoch.
    pub(crate) created_ms: u64,
    /// Its number among the runs of its pipeline.
    #[serde(default = "first")]
    pub(crate) sequence: u64,
    /// The run that it is a retry of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resumed: Option<String>,
    /// The pipeline's name.
    pub(crate) name: String,
    /// Its file, absolute; `-` for standard input.
    pub(crate) pipeline: PathBuf,
    /// The directories of entities, absolute: where secrets are read from again.
    pub(crate) entities: Vec<PathBuf>,
    /// The texts that the run was planned from, beside this file: the pipeline's first.
    pub(crate) texts: Vec<Snapshot>,
    /// `--set`, as given.
    pub(crate) set: Vec<String>,
    /// `--input-set`, as given.
    #[serde(default)]
    pub(crate) input_sets: Vec<String>,
    /// `--file-store`, absolute.
    #[serde(default)]
    pub(crate) file_store: Option<PathBuf>,
    /// `--only`.
    pub(crate) only: Option<String>,
    /// `--from`.
    pub(crate) from: Option<String>,
    /// `--local`, its directories absolute.
    pub(crate) local: Vec<(String, PathBuf)>,
    /// `--secrets-file`, absolute.
    pub(crate) secrets_file: Option<PathBuf>,
    /// What makes its pods.
    pub(crate) backend: Target,
    /// Its pods have this machine's network.
    pub(crate) host_network: bool,
    /// The image of its GitClone steps.
    pub(crate) git_image: String,
}

/// Of a run that an older release began, which did not count.
const fn first() -> u64 {
    1
}

/// A text that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// The file in the run's directory.
    pub(crate) file: String,
    /// What diagnostics call it.
    pub(crate) name: String,
    /// What it is.
    pub(crate) role: Role,
}

/// What a text is to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// The pipeline's file.
    Pipeline,
    /// A file of entities.
    Entities,
    /// A file of inputs.
    Inputs,
}

impl Meta {
    /// Of a run.
    pub(crate) fn read(run: &RunDir) -> Result<Self, Problem> {
        let path = run.join("meta.json");
        let text = fs::read(&path)
            .map_err(|e| Problem::system(format_args!("read {}", path.display()), &e))?;
        serde_json::from_slice(&text).map_err(|e| {
            Problem::failed(format!(
                "{} is not one that this release reads: {e}",
                path.display()
            ))
        })
    }

    /// Into a run's directory.
    pub(crate) fn write(&self, run: &RunDir) -> Result<(), Problem> {
        let text =
            serde_json::to_vec_pretty(self).map_err(|e| Problem::system("write JSON", &e))?;
        write(&run.join("meta.json"), &text)
    }
}

/// Stores a text without what is in `redact`: each of those places becomes an empty text.
pub(crate) fn snapshot(
    run: &RunDir,
    sources: &Sources,
    id: syntax::SourceId,
    file: &str,
    redact: &[Span],
) -> Result<(), Problem> {
    let source = sources.get(id);
    let mut spans: Vec<_> = redact.iter().filter(|s| s.source == id).collect();
    spans.sort_by_key(|s| s.start);
    let mut text = String::with_capacity(source.text().len());
    let mut at = 0;
    for span in spans {
        let (start, end) = (span.start as usize, span.end as usize);
        if start < at {
            continue;
        }
        text.push_str(&source.text()[at..start]);
        text.push_str("\"\"");
        // A block of text ends with its line: the next key begins a new one.
        if source.text()[start..end].ends_with('\n') {
            text.push('\n');
        }
        at = end;
    }
    text.push_str(&source.text()[at..]);
    write(&run.join(file), text.as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|e| Problem::system(format_args!("write {}", path.display()), &e))
}
