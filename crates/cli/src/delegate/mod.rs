//! What a process of the delegate does by itself, without a script's shell: a request, or a script that is asked again and again.
//!
//! Such a process is this program again, started by the addon like a script's shell: so its log, its outputs, its record, an abort and a
//! command that was killed meanwhile are what they are for every step. What it is to do stands in its environment, for secrets may be in it.

mod approval;
mod http;
mod scope;
mod task;

pub(crate) use task::{Asking, Computed, Condition, Criteria, Request, Task};

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use base64::Engine as _;
use engine::delegate::{ERROR, MISWRITTEN};

/// The hidden first argument that makes this program such a process.
pub(crate) const ARGUMENT: &str = "__delegate";

/// How a process of the delegate finds this program.
#[cfg(target_os = "linux")]
pub(crate) const HELPER: &str = backend_native::HELPER;
/// Elsewhere no such process is started.
#[cfg(not(target_os = "linux"))]
pub(crate) const HELPER: &str = "stepyard";

/// Where outputs go.
const OUTPUTS: &str = "HARNESS_OUTPUT_FILE";
const SECRET_OUTPUTS: &str = "HARNESS_OUTPUT_SECRET_FILE";

/// Why it did not succeed.
#[derive(Debug)]
struct Failed {
    code: i32,
    message: String,
}

/// What the step gives out.
#[derive(Debug, Default)]
struct Outputs {
    open: BTreeMap<String, String>,
    secret: BTreeMap<String, String>,
}

/// Does what the environment says, and exits as the engine reads it.
pub(crate) fn main() -> ExitCode {
    let mut outputs = Outputs::default();
    let done = run(&mut outputs);
    let code = match done {
        Ok(()) => 0,
        Err(Failed { code, message }) => {
            eprintln!("{message}");
            outputs.open.insert(ERROR.to_owned(), message);
            code
        }
    };
    let kept = [(OUTPUTS, &outputs.open), (SECRET_OUTPUTS, &outputs.secret)]
        .into_iter()
        .try_for_each(|(variable, outputs)| keep(variable, outputs));
    if let Err(message) = kept {
        eprintln!("{message}");
        return ExitCode::FAILURE;
    }
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn run(outputs: &mut Outputs) -> Result<(), Failed> {
    let task = Task::read().map_err(|message| Failed {
        code: MISWRITTEN,
        message,
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failed {
            code: 1,
            message: format!("failed to start: {error}"),
        })?;
    runtime.block_on(async {
        match task {
            Task::Http(request) => http::send(&request, outputs).await,
            Task::Approval(asking) => approval::ask(&asking, outputs).await,
        }
    })
}

fn keep(variable: &str, outputs: &BTreeMap<String, String>) -> Result<(), String> {
    if outputs.is_empty() {
        return Ok(());
    }
    let path = std::env::var_os(variable).ok_or_else(|| format!("{variable} is not set"))?;
    let mut text = String::new();
    for (name, value) in outputs {
        let value = base64::engine::general_purpose::STANDARD.encode(value);
        let _ = writeln!(text, "{name}=__B64__{value}");
    }
    std::fs::write(&path, text).map_err(|e| format!("failed to write {}: {e}", path.display()))
}
