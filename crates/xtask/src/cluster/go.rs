//! The Go that builds the cluster's one binary.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::command::{Cmd, which};
use crate::machine;

/// Where Go's own archive is unpacked by custom, often outside of `PATH`.
const USUAL: &str = "/usr/local/go/bin/go";
/// Debian's package.
const PACKAGE: &str = "golang-go";

/// A Go that is new enough for every version that is pinned; from Debian where it is new enough there.
pub(crate) fn find(scripts: &Path) -> Result<PathBuf> {
    let wanted = wanted(scripts)?;
    let here = which("go").or_else(|| Some(PathBuf::from(USUAL)).filter(|p| p.is_file()));
    let mut is = "none is here".to_owned();
    if let Some(go) = here {
        // Never another one from the network in place of the one that is here.
        let said = Cmd::new(&go)
            .args(["env", "GOVERSION"])
            .env("GOTOOLCHAIN", "local")
            .output()?;
        let said = said.trim();
        if version(said.trim_start_matches("go")).is_some_and(|v| v >= wanted) {
            return Ok(go);
        }
        is = format!("{} is {said}", go.display());
    }
    machine::refresh_lists(PACKAGE)?;
    let policy = Cmd::new("apt-cache").args(["policy", PACKAGE]).output()?;
    let candidate = policy
        .lines()
        .find_map(|l| l.trim().strip_prefix("Candidate:"))
        // `2:1.26~1`: an epoch, and Debian's own part.
        .map(|v| v.trim().rsplit(':').next().unwrap_or_default());
    if candidate.and_then(version).is_some_and(|v| v >= wanted) {
        machine::install(&[PACKAGE])?;
        return which("go").context("Debian's package golang-go brought no `go`");
    }
    bail!(
        "a test cluster needs Go {}.{} or newer ({is}): unpack Go's archive to /usr/local/go",
        wanted.0,
        wanted.1
    )
}

/// `PATH` with this Go first.
pub(crate) fn path(go: &Path) -> Result<OsString> {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let first = go.parent().map(PathBuf::from);
    Ok(std::env::join_paths(
        first.into_iter().chain(std::env::split_paths(&old)),
    )?)
}

/// The newest Go that a pinned module asks for.
fn wanted(scripts: &Path) -> Result<(u32, u32)> {
    let mut newest = (0, 0);
    let dir = scripts.join("kube");
    for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
        let Ok(text) = std::fs::read_to_string(entry?.path().join("go.mod")) else {
            continue;
        };
        let asked = text
            .lines()
            .find_map(|l| l.strip_prefix("go "))
            .and_then(version);
        newest = newest.max(asked.unwrap_or_default());
    }
    Ok(newest)
}

/// The first two numbers of a version.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(version("1.26.8"), Some((1, 26)));
        assert_eq!(version("1.19~1"), Some((1, 19)));
        assert_eq!(version("1.27-rc1"), Some((1, 27)));
        assert_eq!(version("(none)"), None);
        assert!(version("1.9") < version("1.26"));
    }
}
