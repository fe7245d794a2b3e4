//! What the API server says, as failures that a user can act on.

use driver::backend::{Failure, FailureKind};
use kube::Error;

/// The API server's answer as a failure. `doing` completes "failed to": it names the verb and the object.
pub(crate) fn failure(doing: &str, error: &Error) -> Failure {
    let (kind, help) = match error {
        Error::Api(status) => match status.code {
            401 => (
                FailureKind::Authentication,
                Some("the kubeconfig's credentials are missing or expired".to_owned()),
            ),
            // The message of a 403 already names the user, the verb, the resource and the namespace; a quota is one too.
            403 if status.message.contains("exceeded quota") => (FailureKind::Resources, None),
            403 if status.message.contains("violates PodSecurity") => {
                (FailureKind::Configuration, None)
            }
            403 => (
                FailureKind::Authorization,
                Some("bind the Role in deploy/kubernetes/ to this user".to_owned()),
            ),
            404 if status.message.starts_with("namespaces ") => (
                FailureKind::Configuration,
                Some("create the namespace, or name another one with --namespace".to_owned()),
            ),
            404 => (FailureKind::Gone, None),
            400 | 422 => (FailureKind::Configuration, None),
            429 | 500..=599 => (FailureKind::Connectivity, None),
            _ => (FailureKind::Infrastructure, None),
        },
        Error::Auth(_) => (
            FailureKind::Authentication,
            Some("check the user of the kubeconfig".to_owned()),
        ),
        Error::HyperError(_)
        | Error::Service(_)
        | Error::ReadEvents(_)
        | Error::UpgradeConnection(_) => (
            FailureKind::Connectivity,
            Some("check that the API server can be reached from here".to_owned()),
        ),
        _ => (FailureKind::Infrastructure, None),
    };
    let reason = match error {
        Error::Api(status) => status.message.clone(),
        other => chain(other),
    };
    Failure {
        kind,
        container: None,
        message: format!("failed to {doing}: {reason}"),
        help,
    }
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
