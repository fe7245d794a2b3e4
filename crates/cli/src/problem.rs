//! What keeps a command from doing as it was told, in words for the person who told it.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde_json::json;
use syntax::diagnostic::Report;

use crate::args::Output;
use crate::out;

/// The command's end as its caller's script sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Success,
    /// The run failed, or the command could not do its work.
    Failed,
    /// What was given cannot be used: an option, a file, a pipeline.
    Invalid,
    /// Somebody ended it.
    Aborted,
    /// The exit code of what was executed inside a container.
    Code(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::Invalid => 2,
            Exit::Aborted => 130,
            Exit::Code(code) => code,
        })
    }
}

/// A problem: the place or the thing, what is wrong with it, and how it is mended.
#[derive(Debug)]
pub(crate) struct Problem {
    exit: Exit,
    message: String,
    help: Option<String>,
    /// What is wrong with the texts, where that is the problem.
    diagnostics: Vec<Report>,
}

impl Problem {
    /// The caller gave something that cannot be used.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Invalid,
            message: message.into(),
            help: None,
            diagnostics: Vec::new(),
        }
    }

    /// The work could not be done.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            message: message.into(),
            help: None,
            diagnostics: Vec::new(),
        }
    }

    /// An error of the system while doing something: `failed to read x: permission denied`.
    pub(crate) fn system(doing: impl fmt::Display, error: &dyn std::error::Error) -> Self {
        let mut message = format!("failed to {doing}: {}", plain(error));
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&plain(error));
            cause = error.source();
        }
        Self::failed(message)
    }

    /// How it is mended.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What is wrong.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The exit of the command.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// With what is wrong with the texts.
    pub(crate) fn diagnostics(mut self, diagnostics: Vec<Report>) -> Self {
        self.diagnostics = diagnostics;
        self
    }

    /// Says it on standard error; to machines also on standard output, as one line of JSON like those of a run.
    pub(crate) fn say(&self, output: Output) {
        out::tell(self);
        if output == Output::Json {
            let told = json!({
                "kind": "error",
                "message": self.message,
                "help": self.help,
                "diagnostics": self.diagnostics,
            });
            // Where nobody reads there is nobody to tell.
            let _ = writeln!(io::stdout(), "{told}");
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some(help) = &self.help {
            for (i, line) in help.lines().enumerate() {
                let head = if i == 0 { "  help: " } else { "        " };
                write!(f, "\n{head}{line}")?;
            }
        }
        Ok(())
    }
}

/// `No such file or directory (os error 2)` as people say it.
pub(crate) fn plain(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if chars.clone().next().is_none_or(char::is_lowercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}
