//! The one table from how an attempt ended to what the format calls it.

use addon::frame::{Exit, Record, StopReason};
use pipeline::plan::{Kind, Node};

use crate::event::{ErrorKind, Failure, Status};

/// The status of a step whose attempt left this record, and why it is not a success.
pub fn record(record: &Record) -> (Status, Option<Failure>) {
    if let Exit::NotStarted(why) = &record.exit {
        return failed(ErrorKind::PluginImageFailure, why.clone(), None);
    }
    match record.stopped {
        Some(StopReason::GroupEnd) => return (Status::Success, None),
        Some(StopReason::Abort) => return (Status::Aborted, Some(aborted())),
        Some(StopReason::Timeout) => return (Status::Expired, Some(expired())),
        Some(StopReason::Terminated) => {
            return failed(
                ErrorKind::InfrastructureFailure,
                "its container was told to end from outside (an eviction or a deletion)".to_owned(),
                None,
            );
        }
        Some(StopReason::NotReady) => {
            let why = record.warnings.last();
            return failed(
                ErrorKind::Timeout,
                why.map_or_else(|| "not ready in time".to_owned(), Clone::clone),
                Some("see what it wrote, or raise `readiness.timeout`".to_owned()),
            );
        }
        None => {}
    }
    // A script that goes on without the process that was killed decides by its own exit.
    if record.oom && record.exit != Exit::Code(0) {
        return failed(
            ErrorKind::ResourceLimitsFailure,
            format!(
                "killed for memory, of which it had {} MiB",
                record.peak_memory >> 20
            ),
            Some("raise spec.resources.limits.memory of the step".to_owned()),
        );
    }
    match &record.exit {
        Exit::Code(0) => (Status::Success, None),
        Exit::Code(code @ 126) => failed(
            ErrorKind::Unknown,
            format!("exit code {code}: a command was found but may not be executed"),
            None,
        ),
        Exit::Code(code @ 127) => failed(
            ErrorKind::Unknown,
            format!("exit code {code}: a command was not found"),
            Some("the step's image lacks it, or it is not in PATH".to_owned()),
        ),
        Exit::Code(code) => failed(ErrorKind::Unknown, format!("exit code {code}"), None),
        Exit::Signal(signal) => failed(
            ErrorKind::Unknown,
            format!("killed by {}", signal_name(*signal)),
            None,
        ),
        Exit::NotStarted(why) => failed(ErrorKind::PluginImageFailure, why.clone(), None),
    }
}

/// The failure of what somebody ended.
pub fn aborted() -> Failure {
    Failure {
        error: ErrorKind::Unknown,
        message: "aborted".to_owned(),
        help: None,
    }
}

/// The failure of what took too long.
pub fn expired() -> Failure {
    Failure {
        error: ErrorKind::Timeout,
        message: "its time was up".to_owned(),
        help: Some("raise its timeout".to_owned()),
    }
}

/// The failure of what is ended because something that it is in took too long.
pub fn expired_around(around: &Node) -> Failure {
    let what = match around.kind {
        Kind::Pipeline => "pipeline",
        Kind::Stage(_) => "stage",
        Kind::StepGroup { .. } => "step group",
        _ => return expired(),
    };
    let message = match around.kind {
        Kind::Pipeline => "the time of the pipeline was up".to_owned(),
        _ => format!("the time of the {what} {} was up", around.identifier),
    };
    Failure {
        error: ErrorKind::Timeout,
        message,
        help: Some(format!("raise the timeout of the {what}")),
    }
}

/// The failure of what a person marked as failed.
pub fn marked() -> Failure {
    Failure {
        error: ErrorKind::UserMarkedFailure,
        message: "marked as failed by a person".to_owned(),
        help: None,
    }
}

/// The failure of what a person ended to have something else done about it.
pub fn ended() -> Failure {
    Failure {
        error: ErrorKind::UserMarkedFailure,
        message: "ended by a person".to_owned(),
        help: None,
    }
}

/// The failure of what is in a step group that begins again.
pub fn again() -> Failure {
    Failure {
        error: ErrorKind::Unknown,
        message: "ended: its step group begins again".to_owned(),
        help: None,
    }
}

/// The failure of what is not entered any more because what it is in is rolled back.
pub fn undone() -> Failure {
    Failure {
        error: ErrorKind::Unknown,
        message: "what it is in is rolled back".to_owned(),
        help: None,
    }
}

/// A loss of what the run stands on.
pub fn infrastructure(message: impl Into<String>) -> Failure {
    Failure {
        error: ErrorKind::InfrastructureFailure,
        message: message.into(),
        help: None,
    }
}

fn failed(error: ErrorKind, message: String, help: Option<String>) -> (Status, Option<Failure>) {
    let failure = Failure {
        error,
        message,
        help,
    };
    (Status::Failed, Some(failure))
}

fn signal_name(signal: i32) -> String {
    // The same numbers on every Linux that the agent runs on.
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}
