//! Which packages an image needs, and getting them: apt resolves and checks, on a machine that has nothing installed.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::describe::Description;
use crate::command::{Cmd, target};
use crate::machine;

/// One package in the version that apt would install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deb {
    /// Its name.
    pub(crate) name: String,
    /// Its file's name, which holds version and architecture.
    pub(crate) file: String,
}

/// The packages and all that they depend on, without recommendations.
pub(crate) fn resolve(described: &Description) -> Result<Vec<Deb>> {
    let Some(first) = described.packages.first() else {
        return Ok(Vec::new());
    };
    machine::refresh_lists(first)?;
    let text = Cmd::new("apt-get")
        .args([
            "-o",
            "Dir::State::status=/dev/null",
            "-o",
            "APT::Install-Recommends=false",
            "-o",
            "Debug::NoLocking=1",
        ])
        .args(["-qq", "-y", "--print-uris", "install"])
        .args(&described.packages)
        .env("LC_ALL", "C")
        .output()
        .context("apt could not resolve its packages")?;
    let debs = parse(&text);
    if debs.is_empty() {
        bail!("apt named no package for {}", described.packages.join(" "));
    }
    Ok(debs
        .into_iter()
        .filter(|d| !described.leaves_out(&d.name))
        .collect())
}

/// `'URI' FILE SIZE HASH` a line.
fn parse(text: &str) -> Vec<Deb> {
    let mut debs: Vec<Deb> = text
        .lines()
        .filter(|l| l.starts_with('\''))
        .filter_map(|l| l.split_whitespace().nth(1))
        .filter_map(|file| {
            Some(Deb {
                name: file.split_once('_')?.0.to_owned(),
                file: file.to_owned(),
            })
        })
        .collect();
    debs.sort_by(|a, b| a.file.cmp(&b.file));
    debs
}

/// The packages' files, fetched where they are not here yet. apt checks signatures and hashes.
pub(crate) fn fetch(debs: &[Deb]) -> Result<Vec<PathBuf>> {
    let dir = target().join("images/debs");
    std::fs::create_dir_all(&dir)?;
    let missing: Vec<&str> = debs
        .iter()
        .filter(|d| !dir.join(&d.file).is_file())
        .map(|d| d.name.as_str())
        .collect();
    if !missing.is_empty() {
        // Beside, and then renamed: a file of a fetch that was cut off is never taken for a package.
        let fetched = tempfile::tempdir_in(&dir)?;
        Cmd::new("apt-get")
            .args(["download", "-qq"])
            .args(&missing)
            .dir(fetched.path())
            .output()
            .context("could not fetch packages")?;
        for file in std::fs::read_dir(fetched.path())? {
            let file = file?;
            std::fs::rename(file.path(), dir.join(file.file_name()))?;
        }
    }
    debs.iter()
        .map(|d| {
            let path = dir.join(&d.file);
            if !path.is_file() {
                bail!(
                    "apt fetched another version of {} than it resolved: run `apt-get update`",
                    d.file
                );
            }
            Ok(path)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_prints_becomes_packages() {
        let text = "Reading package lists...\n\
            'http://mirror/pool/z/zlib1g_1.2%2bx_amd64.deb' zlib1g_1%3a1.2+x_amd64.deb 86684 SHA256:aa\n\
            'http://mirror/pool/d/dash_0.5_amd64.deb' dash_0.5_amd64.deb 97 SHA256:bb\n";
        let names: Vec<String> = parse(text).into_iter().map(|d| d.name).collect();
        assert_eq!(names, ["dash", "zlib1g"]);
    }
}
