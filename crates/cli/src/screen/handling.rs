//! What becomes of a failure, in words.

use engine::event::{By, Handling, Interrupt, Intervention};

use super::view::View;
use super::words;

/// What was decided, as the end of a sentence that begins with the failure.
pub(crate) fn decided(view: &View, handling: &Handling, by: &By, at_ms: u64) -> String {
    let who = match by {
        By::Strategy(level) => {
            let path = view.path(level);
            if path.is_empty() {
                "by the pipeline's failure strategy".to_owned()
            } else {
                format!("by the failure strategy of {path}")
            }
        }
        By::Person => "by a person".to_owned(),
        By::Timeout => "since nobody decided in time".to_owned(),
        By::Keep => "by --keep-pod-on-failure".to_owned(),
    };
    let wait = |until: u64| match until.saturating_sub(at_ms) {
        0 => String::new(),
        ms => format!(" in {}", words::took(ms)),
    };
    let count = |number: u32, of: Option<u32>| match of {
        Some(of) => format!("retry {number} of {of}"),
        None => format!("retry {number}"),
    };
    match handling {
        Handling::Ignore => format!("ignored {who}"),
        Handling::MarkAsSuccess => format!("marked as success {who}"),
        Handling::MarkAsFailure => format!("marked as failed {who}"),
        Handling::Abort => format!("the run is aborted {who}"),
        Handling::Retry {
            number,
            of,
            at_ms: until,
        } => format!("{}{} {who}", count(*number, *of), wait(*until)),
        Handling::RetryStepGroup {
            group,
            number,
            of,
            at_ms: until,
        } => format!(
            "{} begins again, {}{} {who}",
            view.path(group),
            count(*number, *of),
            wait(*until)
        ),
        Handling::Rollback { of } => {
            let path = view.path(of);
            if path.is_empty() {
                format!("all stages are rolled back {who}")
            } else {
                format!("{path} is rolled back {who}")
            }
        }
        Handling::Ask { until_ms, then } => format!(
            "{}waits for a decision{}, then {}",
            match by {
                By::Keep => "its pod is kept, and ",
                _ => "",
            },
            match until_ms.saturating_sub(at_ms) {
                0 => String::new(),
                ms => format!(" for {}", words::took(ms)),
            },
            then.name()
        ),
    }
}

/// What is said beside a node while its failure is being handled.
pub(crate) fn pending(handling: &Handling) -> Option<String> {
    Some(match handling {
        Handling::Retry {
            number,
            of: Some(of),
            ..
        } => format!("waiting for retry {number} of {of}"),
        Handling::Retry { .. } => "waiting to try again".to_owned(),
        Handling::Ask { .. } => "waits for a decision".to_owned(),
        _ => return None,
    })
}

/// What was asked of the run.
pub(crate) fn interrupt(view: &View, interrupt: &Interrupt) -> String {
    match interrupt {
        Interrupt::Abort => "aborting".to_owned(),
        Interrupt::Kill => "ending at once".to_owned(),
        Interrupt::Pause => "paused: nothing more begins until it is resumed".to_owned(),
        Interrupt::Resume => "resumed".to_owned(),
        Interrupt::Node { node, action } => {
            let what = match action {
                Intervention::Abort => "aborting",
                Intervention::MarkAsFailure => "marked as failed:",
                _ => "decided on",
            };
            format!("{what} {}", view.path(node))
        }
    }
}
