//! `cargo xtask images`: the repository's own images from Debian's packages, without any image registry.
//!
//! `images/NAME/image.json` says what is in one. apt resolves its packages against an empty machine, their files become
//! one tar with fixed times and a fixed order, and that becomes an OCI layout below `target/images/NAME`. No maintainer
//! script runs and nothing needs root, so the same packages always give the same digest.

#[cfg(test)]
mod clone_test;
mod describe;
mod layer;
mod layout;
mod packages;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use self::describe::Description;
pub(crate) use self::layout::{blob_path, read};
use crate::command::{Cmd, root, target};

/// The directory of the layout of an image.
pub(crate) fn layout_of(name: &str) -> PathBuf {
    target().join("images").join(name)
}

/// The names of all images.
pub(crate) fn names() -> Result<Vec<String>> {
    let folder = root().join("images");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        if entry.path().join("image.json").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The tag of an image. The agent's is the digest that `stepyard` knows its own agent by: driver and agent are of one build.
pub(crate) fn tag(name: &str) -> Result<String> {
    if name != "agent" {
        let described = Description::read(&root().join("images").join(name))?;
        return Ok(described.tag.unwrap_or_else(|| "1".to_owned()));
    }
    let digest = layout::sha256(&std::fs::read(agent()?)?)?;
    Ok(digest[..12].to_owned())
}

/// The agent that a build of `stepyard` carries.
fn agent() -> Result<PathBuf> {
    Cmd::cargo()
        .args(["build", "-q", "-p", "agent-embed"])
        .run()?;
    let built = ["musl", "gnu"].map(|libc| {
        let triple = format!("{}-unknown-linux-{libc}", std::env::consts::ARCH);
        target()
            .join("agent")
            .join(triple)
            .join("agent/stepyard-agent")
    });
    let found = built.into_iter().find(|path| path.is_file());
    found.context("the agent was built and is not there")
}

/// Builds the named images, or all. One that is built already from the same description is kept, unless `fresh`.
pub(crate) fn build(wanted: &[String], fresh: bool) -> Result<()> {
    let wanted = if wanted.is_empty() {
        names()?
    } else {
        wanted.to_vec()
    };
    for name in &wanted {
        build_one(name, fresh).with_context(|| format!("image `{name}`"))?;
    }
    Ok(())
}

fn build_one(name: &str, fresh: bool) -> Result<()> {
    let folder = root().join("images").join(name);
    let described = Description::read(&folder)?;
    let mut below = None;
    if let Some(base) = &described.base {
        build_one(base, fresh).with_context(|| format!("its base `{base}`"))?;
        below = Some(Description::read(&root().join("images").join(base))?);
    }
    let out = layout_of(name);
    let key = key(&folder, &described)?;
    if !fresh && std::fs::read_to_string(out.join("built-from")).is_ok_and(|was| was == key) {
        return Ok(());
    }
    let began = std::time::Instant::now();
    let mut debs = packages::resolve(&described)?;
    if let Some(below) = &below {
        let there = packages::resolve(below)?;
        debs.retain(|deb| !there.contains(deb));
    }
    let files = packages::fetch(&debs)?;
    let tar = layer::build(&folder, &described, &files)?;
    let below = described.base.as_deref().map(layout_of);
    let digest = layout::write(&out, &described, below.as_deref(), &tar)?;
    let mut list: Vec<String> = debs.iter().map(|d| d.file.clone()).collect();
    list.sort();
    std::fs::write(out.join("packages.txt"), list.join("\n") + "\n")?;
    // Last, so that a build that was cut off is not taken for one.
    std::fs::write(out.join("built-from"), key)?;
    println!(
        "image {name}: {} packages, {digest}, {:.1} s",
        list.len(),
        began.elapsed().as_secs_f32()
    );
    Ok(())
}

/// What an image is built from: its description, its files, and its base's.
fn key(folder: &Path, described: &Description) -> Result<String> {
    let mut bytes = std::fs::read(folder.join("image.json"))?;
    for file in described.files.values() {
        bytes.extend(std::fs::read(folder.join(&file.from)).with_context(|| file.from.clone())?);
    }
    if let Some(base) = &described.base {
        bytes.extend(std::fs::read(layout_of(base).join("built-from"))?);
    }
    layout::sha256(&bytes)
}
