//! `cargo xtask check-macos`: the command compiles for macOS.
//!
//! Checked only, for what links a program for macOS is macOS's own. Some crates bring C: a compiler for that target is not
//! needed to check the Rust around it, so one is made up that leaves empty objects.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::command::{Cmd, target, which};

/// The targets: one that is installed is enough, and the first is asked for where none is.
const TARGETS: &[&str] = &["aarch64-apple-darwin", "x86_64-apple-darwin"];

/// Takes what cc takes and leaves an empty file where `-o` says.
const FAKE_CC: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
  if [ "$1" = -o ]; then : > "$2"; fi
  shift
done
"#;

/// Checks it for the first target that is installed or can be; says that it is skipped where none is.
pub(crate) fn check() -> Result<()> {
    let Some(triple) = had() else {
        println!(
            "skipped: no Rust target for macOS is here ({}); `rustup target add` gets one",
            TARGETS.join(", ")
        );
        return Ok(());
    };
    let dir = target().join("xtask-macos");
    fs::create_dir_all(&dir)?;
    let cc = dir.join("cc");
    executable(&cc, FAKE_CC).with_context(|| cc.display().to_string())?;
    // What the command carries to Linux is not built by a check: the target for it may not be here.
    let agent = dir.join("stepyard-agent");
    executable(&agent, "").with_context(|| agent.display().to_string())?;
    let suffix = triple.replace('-', "_");
    Cmd::cargo()
        .args(["check", "--target", triple, "-p", "stepyard"])
        .env("STEPYARD_AGENT", &agent)
        .env(&format!("CC_{suffix}"), &cc)
        .env(&format!("CXX_{suffix}"), &cc)
        .env(&format!("AR_{suffix}"), "true")
        .run()?;
    println!("the command compiles for {triple}");
    Ok(())
}

fn had() -> Option<&'static str> {
    let installed = |triple: &&&str| {
        Cmd::new("rustc")
            .args(["--print", "target-libdir", "--target", triple])
            .output()
            .is_ok_and(|dir| Path::new(dir.trim()).is_dir())
    };
    let found = TARGETS.iter().find(installed);
    if found.is_none() && which("rustup").is_some() {
        // Not to be had without a network; that is what is then said.
        let triple = TARGETS.first()?;
        let _ = Cmd::new("rustup").args(["target", "add", triple]).run();
        return TARGETS.iter().find(installed).copied();
    }
    found.copied()
}

fn executable(path: &Path, text: &str) -> std::io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
