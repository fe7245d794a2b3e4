//! `cargo xtask test`: every test of the workspace, summed in one line.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail};

use crate::cluster::{self, Access, Instance};
use crate::command::{Cmd, target};
use crate::{machine, tools};

/// Tests that find this variable append a line `name: reason` to the file it names when they cannot run here.
const SKIPS: &str = "STEPYARD_TEST_SKIPS";

/// Which cases properties try.
const CASES: &str = "PROPTEST_RNG_SEED";

/// Tests that disturb a cluster find the state of one that is theirs to disturb here.
const CLUSTER: &str = "STEPYARD_TEST_CLUSTER";
/// Packages with tests that use a cluster.
const WITH_CLUSTER: [&str; 2] = ["backend-kube", "stepyard"];
/// What is run against the oldest server. Of the whole workspace, as all tests are: a package by itself would be built once more.
const SMOKE: [&[&str]; 2] = [
    &["--workspace", "--test", "kube-conformance"],
    &["--workspace", "--test", "cluster", "smoke"],
];

/// What became of the tests.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Prepares the machine, brings the test cluster up, runs every test, and prints `N passed, N failed, N skipped`. `--repeat N` in
/// front runs them so often, on a machine that is kept busy: what depends on timing fails there, and not in CI.
pub(crate) fn run(more: &[String]) -> Result<()> {
    let (times, more) = match more {
        [flag, times, more @ ..] if flag == "--repeat" => {
            let times = times.parse::<usize>();
            (times.context("`--repeat` wants a number")?, more)
        }
        more => (1, more),
    };
    machine::prepare()?;
    let access = if uses_cluster(more) {
        cluster::for_tests(&Instance::newest())?
    } else {
        None
    };
    // Cargo would not look at the packages that are named beside it.
    let all = packages(more).next().is_none();
    let mut args = Vec::from_iter(all.then(|| "--workspace".to_owned()));
    args.extend(more.iter().cloned());
    let _load = (times > 1).then(Load::new);
    tests(&vec![args; times], access.as_ref())
}

/// Threads that leave the tests a third of each processor, until this ends.
struct Load(Arc<AtomicBool>);

impl Load {
    fn new() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..2 * processors {
            let over = over.clone();
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(over)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The smoke suite against the oldest server.
pub(crate) fn smoke() -> Result<()> {
    machine::prepare()?;
    let Some(access) = cluster::for_tests(&Instance::oldest())? else {
        return Ok(());
    };
    let calls: Vec<Vec<String>> = SMOKE
        .iter()
        .map(|words| words.iter().map(|w| (*w).to_owned()).collect())
        .collect();
    tests(&calls, Some(&access))
}

/// Whether a call of `cargo test` with these arguments runs tests that use a cluster.
fn uses_cluster(args: &[String]) -> bool {
    let mut packages = packages(args).peekable();
    packages.peek().is_none() || packages.any(|name| WITH_CLUSTER.contains(&name))
}

/// The packages that these arguments of `cargo test` name.
fn packages(args: &[String]) -> impl Iterator<Item = &str> {
    args.iter()
        .zip(args.iter().skip(1))
        .filter(|(flag, _)| *flag == "-p" || *flag == "--package")
        .map(|(_, name)| name.as_str())
}

/// `PATH` with the tools that are unpacked, and with the cluster's `kubectl` before another one.
fn path(access: Option<&Access>) -> Result<OsString> {
    let path = tools::path()?;
    let first = access.and_then(|access| access.programs.clone());
    Ok(std::env::join_paths(
        first.into_iter().chain(std::env::split_paths(&path)),
    )?)
}

/// Runs `cargo test` with each of these argument lists, and prints their sum.
fn tests(calls: &[Vec<String>], access: Option<&Access>) -> Result<()> {
    let skips = target().join("xtask-skips");
    std::fs::create_dir_all(target())?;
    std::fs::write(&skips, "")?;
    let mut sum = Sum::default();
    let mut failed = None;
    let mut stdout = std::io::stdout().lock();
    for args in calls {
        let mut command = Cmd::cargo()
            .args(["test", "--no-fail-fast"])
            .args(args)
            .env(SKIPS, &skips)
            .env("PATH", path(access)?)
            // A golden that differs is a failed test, never a new golden.
            .env("INSTA_UPDATE", "no");
        if std::env::var_os(CASES).is_none() {
            // The same cases every time: a change is judged by what it changes. Hunts name another seed.
            command = command.env(CASES, "1");
        }
        if let Some(access) = access {
            command = command.env("KUBECONFIG", &access.kubeconfig);
            if let Some(state) = &access.state {
                command = command.env(CLUSTER, state);
            }
        }
        let mut child = command.spawn(|c| {
            c.stdout(Stdio::piped());
        })?;
        let out = child.stdout.take().context("the tests have no output")?;
        for line in BufReader::new(out).split(b'\n') {
            let line = line?;
            let text = String::from_utf8_lossy(&line);
            sum.add(&text);
            // Cargo's own lines of files without tests are most of its output; they say nothing.
            if !is_noise(&text) {
                stdout.write_all(&line)?;
                stdout.write_all(b"\n")?;
            }
        }
        let status = child.wait()?;
        if !status.success() {
            failed = Some(status);
        }
    }
    let said = told(&skips)?;
    sum.passed = sum.passed.saturating_sub(said.len() as u64);
    sum.skipped += said.len() as u64;
    for line in &said {
        writeln!(stdout, "skipped here: {line}")?;
    }
    writeln!(
        stdout,
        "\n{} passed, {} failed, {} skipped",
        sum.passed, sum.failed, sum.skipped
    )?;
    if let Some(status) = failed {
        bail!("the tests failed ({status})");
    }
    if sum.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

impl Sum {
    /// Counts one of libtest's summaries: `test result: ok. 5 passed; 0 failed; 0 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else {
            return;
        };
        let Some((_, counts)) = rest.split_once(". ") else {
            return;
        };
        for part in counts.split("; ") {
            let Some((n, what)) = part.trim().split_once(' ') else {
                continue;
            };
            let Ok(n) = n.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += n,
                "failed" => self.failed += n,
                "ignored" => self.skipped += n,
                _ => {}
            }
        }
    }
}

fn is_noise(line: &str) -> bool {
    line.is_empty()
        || line == "running 0 tests"
        || (line.starts_with("test result: ok. 0 passed; 0 failed; 0 ignored"))
}

fn told(file: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(text
        .lines()
        .filter(|l| !l.trim().is_empty())
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_for_whoever_uses_one() {
        let uses = |args: &str| {
            let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
            uses_cluster(&args)
        };
        for (args, wanted) in [
            ("", true),
            ("some_test", true),
            ("-p engine", false),
            ("-p engine --package backend-kube", true),
            ("-p stepyard --test cluster", true),
        ] {
            assert_eq!(uses(args), wanted, "{args}");
        }
    }

    #[test]
    fn summaries_are_added_and_nothing_else_is() {
        let mut sum = Sum::default();
        for line in [
            "running 3 tests",
            "test a ... ok",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.01s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
            "  test result: ok. 100 passed; 0 failed",
            "7 passed, 0 failed, 0 skipped",
        ] {
            sum.add(line);
        }
        assert_eq!(
            sum,
            Sum {
                passed: 15,
                failed: 2,
                skipped: 1
            }
        );
    }
}
