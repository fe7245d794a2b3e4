//! Running other programs: what was run is named in the error, and its output is never lost.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// A command line. Its standard input is always empty: nothing here waits for a person.
#[derive(Debug)]
pub(crate) struct Cmd {
    inner: Command,
    words: Vec<OsString>,
}

impl Cmd {
    /// A program of this machine.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut inner = Command::new(program.as_ref());
        inner.stdin(Stdio::null());
        Self {
            inner,
            words: vec![program.as_ref().to_owned()],
        }
    }

    /// The cargo that runs us, in the repository's root.
    pub(crate) fn cargo() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Self::new(cargo).dir(root())
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.inner.arg(arg.as_ref());
        self.words.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.inner.current_dir(dir);
        self
    }

    /// Runs it with our own output; fails where it does.
    pub(crate) fn run(mut self) -> Result<()> {
        let status = self
            .inner
            .status()
            .with_context(|| format!("could not start `{}`", self.line()))?;
        if !status.success() {
            bail!("`{}` failed: {status}", self.line());
        }
        Ok(())
    }

    /// Its standard output as text. Where it fails, its standard error is in the error.
    pub(crate) fn output(self) -> Result<String> {
        String::from_utf8(self.bytes()?).context("its output is not UTF-8")
    }

    /// Its standard output.
    pub(crate) fn bytes(mut self) -> Result<Vec<u8>> {
        let out = self
            .inner
            .output()
            .with_context(|| format!("could not start `{}`", self.line()))?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr);
            bail!(
                "`{}` failed: {}\n{}",
                self.line(),
                out.status,
                said.trim_end()
            );
        }
        Ok(out.stdout)
    }

    /// Whether it runs and succeeds; its output is nobody's.
    pub(crate) fn succeeds(mut self) -> bool {
        self.inner
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    }

    /// Starts it; `change` sets what is special about its streams.
    pub(crate) fn spawn(mut self, change: impl FnOnce(&mut Command)) -> Result<Child> {
        change(&mut self.inner);
        self.inner
            .spawn()
            .with_context(|| format!("could not start `{}`", self.line()))
    }

    /// The words as a person would type them.
    pub(crate) fn line(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|w| w.to_string_lossy()).collect();
        words.join(" ")
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("crates/xtask is two below the root")
        .to_owned()
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The path of a program, if this machine has it.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Debian keeps some of what we need where ordinary users do not look.
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(more)
        .map(|dir| dir.join(program))
        .find(|p| p.is_file())
}

/// Whether this is a machine that nobody watches: what must run there must not be skipped.
pub(crate) fn ci() -> bool {
    std::env::var("CI").is_ok_and(|v| !v.is_empty() && v != "false" && v != "0")
}
