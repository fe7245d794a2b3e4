//! Running the product and other programs, and taking times.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::command::{Cmd, which};
use crate::examples;
use crate::machine::is_root;

/// What all figures share: the release binary where any user may run it, and a place of our own.
pub(crate) struct Bench {
    /// Holds the binary, pipelines and states.
    pub(crate) dir: tempfile::TempDir,
    /// The copy of the release binary.
    pub(crate) binary: PathBuf,
}

/// Somebody who is not root and whom every Linux has.
const NOBODY: &str = "65534";

impl Bench {
    /// Builds the release binary.
    pub(crate) fn new() -> Result<Self> {
        let built = examples::binary(true)?;
        let dir = tempfile::tempdir()?;
        open_to_all(dir.path())?;
        let binary = dir.path().join("stepyard");
        std::fs::copy(&built, &binary).with_context(|| built.display().to_string())?;
        open_to_all(&binary)?;
        Ok(Self { dir, binary })
    }

    /// A file in our place.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// The product with its history in our place.
    pub(crate) fn stepyard(&self, state: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env("STEPYARD_HOME", self.dir.path().join(state))
            .stdin(Stdio::null());
        command
    }

    /// The product as an ordinary user.
    pub(crate) fn stepyard_as_nobody(&self) -> Result<Command> {
        let home = self.dir.path().join("nobody");
        if !home.is_dir() {
            std::fs::create_dir(&home)?;
            if is_root() {
                Cmd::new("chown")
                    .args([NOBODY, &home.to_string_lossy()])
                    .run()?;
            }
        }
        let mut command;
        if is_root() {
            ensure!(
                which("setpriv").is_some(),
                "setpriv is missing: apt-get install util-linux"
            );
            command = Command::new("setpriv");
            command
                .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
                .arg(&self.binary);
        } else {
            command = Command::new(&self.binary);
        }
        command
            .env("STEPYARD_HOME", home.join("state"))
            .env("HOME", &home)
            .stdin(Stdio::null())
            .current_dir(&home);
        Ok(command)
    }
}

fn open_to_all(path: &Path) -> Result<()> {
    Cmd::new("chmod").arg("0755").arg(path).run()
}

/// Runs it to its end; its failure is an error with what it said.
pub(crate) fn done(command: &mut Command) -> Result<(Duration, Output)> {
    let began = Instant::now();
    let out = command.output().with_context(|| format!("{command:?}"))?;
    let took = began.elapsed();
    ensure!(
        out.status.success(),
        "{command:?}: {}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    Ok((took, out))
}

/// The times of `n` runs, the first one (cold caches) left out.
pub(crate) fn times(n: usize, mut make: impl FnMut() -> Result<Command>) -> Result<Vec<Duration>> {
    done(&mut make()?)?;
    (0..n).map(|_| Ok(done(&mut make()?)?.0)).collect()
}

/// The value below which a share of them lies.
pub(crate) fn quantile(values: &[Duration], share: f64) -> Duration {
    let mut values = values.to_vec();
    values.sort();
    let at = ((values.len() as f64 - 1.0) * share).round() as usize;
    values.get(at).copied().unwrap_or_default()
}

/// The one in the middle.
pub(crate) fn median(values: &[Duration]) -> Duration {
    quantile(values, 0.5)
}

/// Milliseconds with two places.
pub(crate) fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// The machine in a line.
pub(crate) fn machine() -> String {
    let first = |path: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let load = first("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    format!(
        "Linux {}, {cpus} CPUs, load {load} at the end; medians unless told otherwise",
        first("/proc/sys/kernel/osrelease")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_values() {
        let values: Vec<Duration> = [5, 1, 3, 2, 4].map(Duration::from_millis).to_vec();
        assert_eq!(median(&values), Duration::from_millis(3));
        assert_eq!(quantile(&values, 1.0), Duration::from_millis(5));
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }
}
