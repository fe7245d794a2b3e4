//! Programs from Debian's packages that are not installed but unpacked below `target/`: installing them would start services.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::command::{Cmd, target, which};
use crate::machine;

/// A program, the package that has it, and where it is in there.
const TOOLS: &[(&str, &str, &str)] = &[(
    "docker-registry",
    "docker-registry",
    "usr/bin/docker-registry",
)];

/// The path of an unpacked program, fetched where it is not here yet.
pub(crate) fn get(program: &str) -> Result<PathBuf> {
    if let Some(path) = which(program) {
        return Ok(path);
    }
    let (_, package, inside) = TOOLS
        .iter()
        .find(|t| t.0 == program)
        .with_context(|| format!("`{program}` is not on this machine"))?;
    let dir = target().join("tools");
    let path = dir.join(inside);
    if path.is_file() {
        return Ok(path);
    }
    let debs = dir.join("debs");
    std::fs::create_dir_all(&debs)?;
    machine::refresh_lists(package)?;
    let download = Cmd::new("apt-get")
        .args(["download", "-qq", package])
        .dir(&debs);
    download.output().with_context(|| {
        format!("`{program}` is not here, and Debian's package of it could not be fetched")
    })?;
    for deb in std::fs::read_dir(&debs)? {
        let deb = deb?.path();
        if deb
            .file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with(package))
        {
            Cmd::new("dpkg-deb").arg("-x").arg(&deb).arg(&dir).run()?;
        }
    }
    Ok(path)
}

/// `PATH` with what is unpacked behind it, every tool present. What cannot be had is told by the tests that want it.
pub(crate) fn path() -> Result<OsString> {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&old).collect();
    for (program, _, _) in TOOLS {
        match get(program) {
            Ok(path) => dirs.extend(path.parent().map(PathBuf::from)),
            Err(e) => {
                machine::lacking(&format!("{e:#}"))?;
            }
        }
    }
    dirs.push("/usr/sbin".into());
    Ok(std::env::join_paths(dirs)?)
}
