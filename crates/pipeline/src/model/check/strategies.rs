//! Failure strategies: of the entries of one place the first that is for an error wins.

use syntax::{Diagnostic, Span, code};

use super::super::failure::{ErrorKind, FailureStrategy};
use super::super::lower::Cx;

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
