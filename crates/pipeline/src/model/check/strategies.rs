//! Failure strategies: of the entries of one place the first that is for an error wins, and what one of them does has to be possible
//! where it stands.

use syntax::{Diagnostic, Span, code};

use super::super::failure::{Action, ActionKind, ActionType, ErrorKind, FailureStrategy};
use super::super::lower::Cx;

/// What is around a failure strategy.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Around {
    /// A step group is, or what it is of is one or holds some.
    pub(super) group: bool,
    /// It is of what undoes something.
    pub(super) rollback: bool,
}

impl Around {
    /// Of what undoes a stage or a group: groups count from there.
    pub(super) const ROLLBACK: Self = Self {
        group: false,
        rollback: true,
    };
}

/// Tells of actions that cannot be done where they stand, or that lead back to themselves.
pub(super) fn contradictions(list: &[FailureStrategy], around: Around, cx: &mut Cx) {
    for strategy in list {
        let Some(action) = &strategy.action else {
            continue;
        };
        possible(action, around, cx);
        let asks = strategy
            .errors
            .iter()
            .find(|own| own.value != ErrorKind::InputTimeoutError);
        let proceeds = action.kind.action_type() == ActionType::ProceedWithDefaultValues;
        if let Some(other) = asks.filter(|_| proceeds) {
            cx.push(
                Diagnostic::warning(
                    code::CONTRADICTION,
                    format!(
                        "`ProceedWithDefaultValues` does nothing for `{}`",
                        other.value
                    ),
                )
                .at(action.span.head(1), "")
                .at(other.span, "it is for `InputTimeoutError` alone")
                .help("name another action for this error"),
            );
        }
    }
}

/// An action and what follows it.
fn possible(action: &Action, around: Around, cx: &mut Cx) {
    let kind = action.kind.action_type();
    match kind {
        ActionType::RetryStepGroup | ActionType::StepGroupRollback if !around.group => {
            cx.push(
                Diagnostic::error(
                    code::CONTRADICTION,
                    format!("`{kind}` is for what is in a step group, and this is in none"),
                )
                .at(action.span.head(1), "")
                .help("put the step into a step group, or name another action"),
            );
        }
        ActionType::StageRollback | ActionType::PipelineRollback if around.rollback => {
            cx.push(
                Diagnostic::warning(
                    code::CONTRADICTION,
                    format!("`{kind}` stands in rollback steps: nothing rolls them back"),
                )
                .at(action.span.head(1), "as `MarkAsFailure` here")
                .help("write `MarkAsFailure`, `Ignore`, `Retry` or `ManualIntervention`"),
            );
        }
        _ => {}
    }
    let (next, key, when, help) = match &action.kind {
        ActionKind::Retry(retry) | ActionKind::RetryStepGroup(retry) => (
            &retry.on_retry_failure,
            "onRetryFailure",
            "when all tries have failed",
            "raise `retryCount`, and name what is done after the last try",
        ),
        ActionKind::ManualIntervention(manual) => (
            &manual.on_timeout,
            "onTimeout",
            "when nobody has answered",
            "raise `timeout`, and name what is done when nobody answers",
        ),
        ActionKind::Plain(_) => return,
    };
    let Some(next) = next.as_ref().and_then(|own| own.action.as_ref()) else {
        return;
    };
    if next.kind.action_type() == kind {
        cx.push(
            Diagnostic::error(
                code::CONTRADICTION,
                format!("`{kind}` follows itself in `{key}`"),
            )
            .at(next.span.head(1), when)
            .help(help),
        );
    }
    possible(next, around, cx);
}

/// Tells of every error that an earlier entry takes away from a later one.
pub(super) fn never_used(list: &[FailureStrategy], cx: &mut Cx) {
    let mut earlier: Vec<(ErrorKind, Span)> = Vec::new();
    for strategy in list {
        for error in &strategy.errors {
            let first = earlier.iter().find(|(own, _)| covers(*own, error.value));
            let Some((_, first)) = first else { continue };
            cx.push(
                Diagnostic::warning(
                    code::UNUSED_STRATEGY,
                    format!("this failure strategy is never used for `{}`", error.value),
                )
                .at(error.span, "too late")
                .at(*first, "the first one that is for it wins")
                .help("leave it out of one of them, or write the narrower one first"),
            );
        }
        // An error that one entry names twice is no contradiction.
        earlier.extend(strategy.errors.iter().map(|own| (own.value, own.span)));
    }
}

/// Whether an entry for one error is for all that another stands for.
fn covers(entry: ErrorKind, error: ErrorKind) -> bool {
    use ErrorKind as E;
    entry == error
        || match entry {
            E::AllErrors => error != E::InputTimeoutError,
            E::RetryableTransientFailure => matches!(
                error,
                E::Connectivity | E::InfrastructureFailure | E::DelegateRestart
            ),
            _ => false,
        }
}
