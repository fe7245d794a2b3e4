//! The helper that gives a program its terminal: a new session whose controlling terminal is its standard input.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The command by which the agent starts itself as the helper.
pub const HELPER: &str = "terminal-exec";

/// Becomes the program, on the terminal that is standard input. Returns only where that fails.
pub fn become_program(mut words: impl Iterator<Item = OsString>) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::ioctl_tiocsctty(io::stdin())?;
    let program = words.next().ok_or_else(|| io::Error::other("no program"))?;
    let error = Command::new(&program).args(words).exec();
    Err(io::Error::new(
        error.kind(),
        format!("failed to start {}: {error}", program.display()),
    ))
}
