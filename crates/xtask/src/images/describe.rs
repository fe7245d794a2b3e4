//! What `image.json` may say.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// In the place of a file beside the description: the agent, built from this repository.
const AGENT: &str = "@agent";

/// An image in the terms of Debian's packages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    /// What it is for, in a sentence.
    pub(crate) about: String,
    /// The image of this repository whose layers are below.
    pub(crate) base: Option<String>,
    /// Its tag in a registry; `1` where nothing is said.
    pub(crate) tag: Option<String>,
    /// Debian packages; what they depend on comes along.
    #[serde(default)]
    pub(crate) packages: Vec<String>,
    /// Packages that others depend on and that nothing here uses; `name*` takes all that begin so.
    #[serde(default)]
    pub(crate) without: Vec<String>,
    /// Directories and their modes.
    #[serde(default)]
    pub(crate) directories: BTreeMap<String, String>,
    /// Files beside the description.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, File>,
    /// Symbolic links and what they point to.
    #[serde(default)]
    pub(crate) links: BTreeMap<String, String>,
    /// Files that a package's script would have made: all that match `prefix*suffix`, one after the other.
    #[serde(default)]
    pub(crate) collect: BTreeMap<String, String>,
    /// As in an OCI configuration.
    #[serde(default)]
    pub(crate) entrypoint: Vec<String>,
    /// As in an OCI configuration.
    #[serde(default)]
    pub(crate) cmd: Vec<String>,
    /// As in an OCI configuration.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// As in an OCI configuration.
    pub(crate) user: Option<String>,
    /// As in an OCI configuration.
    pub(crate) working_dir: Option<String>,
}

/// A file of ours.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// Beside the description.
    pub(crate) from: String,
    /// Octal.
    pub(crate) mode: String,
}

impl Description {
    /// Reads `image.json` of a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("image.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("could not read {}", path.display()))?;
        let mut described: Self =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        for file in described.files.values_mut() {
            if file.from == AGENT {
                // An absolute path stays one when it is joined to the folder.
                file.from = super::agent()?.display().to_string();
            }
        }
        Ok(described)
    }

    /// Whether the package is left out.
    pub(crate) fn leaves_out(&self, package: &str) -> bool {
        self.without.iter().any(|w| match w.strip_suffix('*') {
            Some(head) => package.starts_with(head),
            None => package == w,
        })
    }
}

/// An octal mode.
pub(crate) fn mode(text: &str) -> Result<u32> {
    u32::from_str_radix(text, 8).with_context(|| format!("`{text}` is not an octal mode"))
}
