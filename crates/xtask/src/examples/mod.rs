//! `cargo xtask examples`: every pipeline under `examples/` is run for real by the built binary, and what comes out is
//! compared with two files beside it: `.expected` says what matters most, `.screen` is all that it prints.
//!
//! An example runs in a copy of its folder. Where its expectation says `uses: servers`, two registries with the
//! repository's images and a git server with the folder's `app` are up meanwhile.

mod expected;
mod normal;
mod screen;
mod servers;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use self::expected::Expected;
use self::servers::Servers;
use crate::command::{Cmd, root, target};
use crate::machine;
use crate::registry::free_port;

/// Seconds for one example on a slow machine with nothing in its caches; here the longest takes five.
const LONGEST: &str = "600";
/// Where the server that an example starts itself listens.
const SERVED: u16 = 28473;

/// Runs all examples, or those whose name holds one of the words.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let binary = binary(false)?;
    let mut files = Vec::new();
    find(&root().join("examples"), "expected", &mut files)?;
    files.sort();
    let mut screens = Vec::new();
    find(&root().join("examples"), "screen", &mut screens)?;
    for screen in screens {
        if !screen.with_extension("expected").is_file() {
            bail!(
                "{} is of no example: remove it, or name it as its .expected file is named",
                screen.display()
            );
        }
    }
    files.retain(|f| {
        words.is_empty()
            || words
                .iter()
                .any(|w| f.to_string_lossy().contains(w.as_str()))
    });
    if files.is_empty() {
        bail!("no example is named so");
    }
    let mut servers = None;
    let mut wrong = 0;
    for file in &files {
        let shown = file.strip_prefix(root()).unwrap_or(file).with_extension("");
        let began = Instant::now();
        match one(&binary, file, &mut servers).with_context(|| shown.display().to_string()) {
            Ok(false) => {}
            Ok(true) => println!(
                "example {} as expected, {:.1} s",
                shown.display(),
                began.elapsed().as_secs_f32()
            ),
            Err(e) => {
                wrong += 1;
                println!("example {e:#}");
            }
        }
    }
    if wrong > 0 {
        bail!(
            "{wrong} of {} examples did not end as expected",
            files.len()
        );
    }
    Ok(())
}

/// The binary that a person would run: for examples as the README's first command builds it, for what is measured with the release
/// profile.
pub(crate) fn binary(release: bool) -> Result<PathBuf> {
    // One that is built already, for trying changes.
    if let Some(ready) = std::env::var_os("STEPYARD_BIN") {
        return Ok(root().join(ready));
    }
    let profile: &[&str] = if release { &["--release"] } else { &[] };
    Cmd::cargo()
        .args(["build", "--bin", "stepyard"])
        .args(profile)
        .run()?;
    Ok(target()
        .join(if release { "release" } else { "debug" })
        .join("stepyard"))
}

/// All files below a folder whose name ends so.
fn find(folder: &Path, ending: &str, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, ending, files)?;
        } else if path.extension().is_some_and(|e| e == ending) {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether it ran at all; else why not was told.
fn one(binary: &Path, file: &Path, servers: &mut Option<Servers>) -> Result<bool> {
    let expected = Expected::parse(&std::fs::read_to_string(file)?)?;
    if expected.needs_root && !machine::is_root() {
        return machine::lacking(&format!("{} is left out: it needs root", file.display()));
    }
    let folder = file.parent().context("a file without a folder")?;
    let work = tempfile::tempdir()?;
    let copy = work.path().join("example");
    // Several may run at one time, on the machine's network.
    let mut ports = vec![(SERVED.to_string(), free_port()?.to_string())];
    if expected.uses_servers {
        if servers.is_none() {
            *servers = Some(Servers::start(false)?);
        }
        let servers = servers.as_ref().context("just started")?;
        ports.extend(servers.ports());
    }
    copy_with(folder, &copy, &ports)?;
    let pipeline = expected
        .pipeline
        .clone()
        .map_or_else(|| file.with_extension("yaml"), |p| folder.join(p));
    let pipeline = pipeline.file_name().context("a pipeline without a name")?;
    let state = work.path().join("state");
    // One that hangs is told to end, and what it printed until then is shown.
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=30", LONGEST])
        .arg(binary)
        .args(["run", "--output", "plain"])
        .args(&expected.args)
        .arg(pipeline)
        .current_dir(&copy)
        .stdin(Stdio::null());
    // What the person has set for their own runs is not for these, and their servers are on loopback.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STEPYARD_") {
            command.env_remove(name);
        }
    }
    command
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("no_proxy", "127.0.0.1,localhost")
        // History of its own; images are shared with the person's, as they are costly.
        .env("STEPYARD_HOME", &state)
        .envs(expected.env.iter().map(|(k, v)| (k, v)));
    let out = command
        .output()
        .with_context(|| format!("could not start {}", binary.display()))?;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    let wrong = expected.compare(out.status.code(), &text);
    if !wrong.is_empty() {
        bail!(
            "\n{}\n--- what it printed ---\n{}",
            wrong.join("\n"),
            text.trim_end()
        )
    }
    let golden = file.with_extension("screen");
    if !expected.screen {
        if golden.is_file() {
            bail!("\nits .expected says that it has no screen, and there is one: remove either");
        }
        return Ok(true);
    }
    // The ports that stand in the example, and words for its directories.
    let on_loopback = |port: &str| format!("127.0.0.1:{}", port.trim_start_matches("127.0.0.1:"));
    let mut own: Vec<_> = ports
        .iter()
        .map(|(usual, now)| (on_loopback(now), on_loopback(usual)))
        .collect();
    for (path, word) in [(&state, "STATE"), (&copy, "EXAMPLE")] {
        own.push((path.to_string_lossy().into_owned(), word.to_owned()));
    }
    let screen = normal::normal(&text, &own, &expected.silent)?;
    let name = file.strip_prefix(root()).unwrap_or(file).with_extension("");
    match screen::check(&golden, &name.to_string_lossy(), &screen)? {
        None => Ok(true),
        Some(wrong) => bail!("\n{wrong}"),
    }
}

/// Copies a folder; in its YAML files the usual ports become those that the servers have.
fn copy_with(from: &Path, to: &Path, ports: &[(String, String)]) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().context("no name")?);
        if path.is_dir() {
            copy_with(&path, &target, ports)?;
        } else if path.extension().is_some_and(|e| e == "yaml") {
            let mut text = std::fs::read_to_string(&path)?;
            for (usual, now) in ports {
                text = text.replace(usual, now);
            }
            std::fs::write(target, text)?;
        } else {
            std::fs::copy(&path, target)?;
        }
    }
    Ok(())
}

/// `cargo xtask serve`: what `examples/real` and `examples/docker` need, on the usual ports, until somebody ends it.
pub(crate) fn serve() -> Result<()> {
    let _servers = Servers::start(true)?;
    println!("{}", servers::WORDS);
    println!("Ctrl-C ends them.");
    loop {
        std::thread::park();
    }
}
