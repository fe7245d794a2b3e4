//! What the API server says, as failures that a user can act on.

use driver::backend::{Failure, FailureKind};
use kube::Error;
use kube::client::AuthError;

/// What an admission plugin refuses a pod for, by words of its message.
const REFUSED: [(&str, FailureKind, Option<&str>); 6] = [
    ("exceeded quota", FailureKind::Resources, None),
    (
        "failed quota",
        FailureKind::Resources,
        Some("the namespace's quota wants every step to say this: write it under spec.resources"),
    ),
    (
        "violates PodSecurity",
        FailureKind::Configuration,
        Some(
            "the namespace's Pod Security Standard forbids it: change the settings that it names, or take another namespace",
        ),
    ),
    (
        "error looking up service account",
        FailureKind::Configuration,
        Some("create the service account, or name another one with serviceAccountName"),
    ),
    (
        "no PriorityClass with name",
        FailureKind::Configuration,
        Some("create the priority class, or name another one with priorityClassName"),
    ),
    (
        "usage per",
        FailureKind::Resources,
        Some("the namespace's LimitRange says so: write spec.resources of the steps within it"),
    ),
];

const CREDENTIALS: &str =
    "the credentials of the kubeconfig's or the connector's user are missing, wrong or expired";

/// The API server's answer as a failure. `doing` completes "failed to": it names the verb and the object.
pub(crate) fn failure(doing: &str, error: &Error) -> Failure {
    let (kind, help) = match error {
        Error::Api(status) => match status.code {
            401 => (FailureKind::Authentication, Some(CREDENTIALS)),
            403 => forbidden(&status.message),
            404 if status.message.starts_with("namespaces ") => (
                FailureKind::Configuration,
                Some("create the namespace, or name another one with --namespace"),
            ),
            404 => (FailureKind::Gone, None),
            400 | 413 | 422 => (FailureKind::Configuration, None),
            429 | 500..=599 => (FailureKind::Connectivity, None),
            _ => (FailureKind::Infrastructure, None),
        },
        Error::Auth(_) => (
            FailureKind::Authentication,
            Some("check the user of the kubeconfig"),
        ),
        Error::RustlsTls(_) => (
            FailureKind::Configuration,
            Some("check the certificates of the kubeconfig"),
        ),
        Error::HyperError(_)
        | Error::Service(_)
        | Error::ReadEvents(_)
        | Error::UpgradeConnection(_) => unreachable_server(error),
        Error::SerdeError(_) => (
            FailureKind::Configuration,
            Some("what answers at this address is no Kubernetes API server"),
        ),
        _ => (FailureKind::Infrastructure, None),
    };
    let reason = match error {
        Error::Api(status) => status.message.clone(),
        // The library shows the command with its environment, and its output as programmers read it.
        Error::Auth(AuthError::AuthExecRun { out, .. }) => {
            let said = String::from_utf8_lossy(&out.stderr);
            let said = said.trim();
            let space = if said.is_empty() { "" } else { ": " };
            format!("it ended with {}{space}{said}", out.status)
        }
        other => chain(other),
    };
    Failure {
        kind,
        container: None,
        message: format!("failed to {doing}: {reason}"),
        help: help.map(str::to_owned),
    }
}

/// The message of a 403 names the user, the verb, the resource and the namespace; or what an admission plugin refuses.
fn forbidden(message: &str) -> (FailureKind, Option<&'static str>) {
    let refused = REFUSED.iter().find(|(words, ..)| message.contains(words));
    match refused {
        Some((_, kind, help)) => (*kind, *help),
        // It took what was shown for nothing at all.
        None if message.contains("User \"system:anonymous\"") => {
            (FailureKind::Authentication, Some(CREDENTIALS))
        }
        None if message.contains("cannot ") => (
            FailureKind::Authorization,
            Some("bind the Role in deploy/kubernetes/role.yaml to this user"),
        ),
        None => (FailureKind::Configuration, None),
    }
}

fn unreachable_server(error: &Error) -> (FailureKind, Option<&'static str>) {
    let text = chain(error);
    if text.contains("certificate") {
        // It answers, and waiting does not change what it shows or wants to see.
        (
            FailureKind::Configuration,
            Some("check the cluster's certificate-authority and the user's client certificate"),
        )
    } else {
        (
            FailureKind::Connectivity,
            Some("check that the API server runs and can be reached from here"),
        )
    }
}

/// The Pod Security Standard that refuses a pod: `restricted`, `baseline`.
pub(crate) fn violated(error: &Error) -> Option<&str> {
    let Error::Api(status) = error else {
        return None;
    };
    let rest = status.message.split_once("violates PodSecurity \"")?.1;
    rest.split([':', '"']).next()
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let next = error.to_string();
        // Many an error repeats its cause at its end.
        if let Some(last) = parts.last_mut()
            && let Some(head) = last.strip_suffix(&next)
        {
            *last = head.trim_end_matches([':', ' ']).to_owned();
        }
        parts.push(next);
        cause = error.source();
    }
    parts.retain(|part| !part.is_empty() && part != "ServiceError" && part != "HyperError");
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn answered(code: u16, message: &str) -> Failure {
        let mut status = Status::failure(message, "");
        status.code = code;
        failure("create a pod", &Error::Api(Box::new(status)))
    }

    #[test]
    fn answers_are_told_apart() {
        let table = [
            (
                403,
                "pods is forbidden: User \"u\" cannot create resource \"pods\"",
                FailureKind::Authorization,
            ),
            (
                403,
                "pods \"x\" is forbidden: exceeded quota: q, requested: pods=1",
                FailureKind::Resources,
            ),
            (
                403,
                "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": y",
                FailureKind::Configuration,
            ),
            (
                403,
                "pods \"x\" is forbidden: error looking up service account a/b: serviceaccount \"b\" not found",
                FailureKind::Configuration,
            ),
            (
                403,
                "pods \"x\" is forbidden: minimum cpu usage per Container is 100m, but request is 10m",
                FailureKind::Resources,
            ),
            (
                404,
                "namespaces \"a\" not found",
                FailureKind::Configuration,
            ),
            (404, "pods \"a\" not found", FailureKind::Gone),
            (401, "Unauthorized", FailureKind::Authentication),
            (503, "busy", FailureKind::Connectivity),
        ];
        for (code, message, kind) in table {
            let failure = answered(code, message);
            assert_eq!(failure.kind, kind, "{message}");
            assert_eq!(
                failure.message,
                format!("failed to create a pod: {message}")
            );
        }
    }

    #[test]
    fn the_standard_that_is_violated() {
        let message = "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": y";
        let mut status = Status::failure(message, "Forbidden");
        status.code = 403;
        assert_eq!(violated(&Error::Api(Box::new(status))), Some("restricted"));
    }
}
