//! Waiting for a run that another command drives: its directory tells when there is more to read.

#[cfg(target_os = "linux")]
mod inotify;
#[cfg(target_os = "linux")]
pub(crate) use inotify::Watch;

#[cfg(not(target_os = "linux"))]
mod kqueue;
#[cfg(not(target_os = "linux"))]
pub(crate) use kqueue::Watch;

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::home::RunDir;
use crate::problem::Problem;

/// The directory of the run's logs. The driver makes it when the first log begins; a watch needs it now.
fn logs(dir: &RunDir) -> Result<PathBuf, Problem> {
    let logs = dir.join("logs");
    fs::create_dir_all(&logs)
        .map_err(|e| Problem::system(format_args!("make {}", logs.display()), &e))?;
    Ok(logs)
}

fn failed(error: impl Into<io::Error>) -> Problem {
    Problem::system("watch the run's directory", &error.into())
}
