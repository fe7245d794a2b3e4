//! A pod's events: lines of the Initialize log, and what they say of its containers.

use driver::backend::{EventKind, FailureKind, PodEvent};
use k8s_openapi::api::core::v1::Event;

use super::{Seen, cannot_start};

/// Settings that a kubelet refuses for good, by words of its message.
const REFUSED: [&str; 3] = ["runAsNonRoot", "non-root", "allowPrivilegeEscalation"];

/// When it happened, milliseconds since the Unix epoch.
pub(super) fn at_ms(event: &Event) -> u64 {
    let at = match (&event.event_time, &event.last_timestamp) {
        (Some(at), _) => Some(at.0.as_millisecond()),
        (None, Some(at)) => Some(at.0.as_millisecond()),
        (None, None) => event
            .first_timestamp
            .as_ref()
            .map(|at| at.0.as_millisecond()),
    };
    at.and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default()
}

/// An event in the words that people know.
pub(super) fn read(event: &Event) -> PodEvent {
    let container = event
        .involved_object
        .field_path
        .as_deref()
        .and_then(container_of)
        .map(str::to_owned);
    let reason = event.reason.clone().unwrap_or_default();
    let message = words(
        &reason,
        event.message.as_deref().unwrap_or_default(),
        container.as_deref(),
    );
    PodEvent {
        at_ms: at_ms(event),
        container,
        kind: if event.type_.as_deref() == Some("Warning") {
            EventKind::Warning
        } else {
            EventKind::Normal
        },
        reason,
        message,
    }
}

/// What an event says of a container, or of the whole pod.
pub(super) fn fold(seen: &mut Seen, event: &PodEvent) {
    let message = &event.message;
    match (event.reason.as_str(), &event.container) {
        ("Started", Some(name)) => {
            seen.started.insert(name.clone());
            seen.trouble.remove(name);
        }
        ("Pulled" | "Created", Some(name)) => {
            seen.trouble.remove(name);
        }
        ("ErrImageNeverPull" | "InspectFailed", Some(name)) => {
            let failure = cannot_start(FailureKind::Image, name, message);
            seen.failed.entry(name.clone()).or_insert(failure);
        }
        // With every try; the kubelet tries again until it backs off. `Error: …` repeats in a word what came before.
        ("Failed", Some(name)) => match message.strip_prefix("Error: ") {
            Some(why) if REFUSED.iter().any(|word| why.contains(word)) => {
                let failure = cannot_start(FailureKind::Configuration, name, why);
                seen.failed.entry(name.clone()).or_insert(failure);
            }
            Some("ErrImageNeverPull") => {
                let why = "its image is not on the node, and its imagePullPolicy is Never";
                let failure = cannot_start(FailureKind::Image, name, why);
                seen.failed.entry(name.clone()).or_insert(failure);
            }
            Some(why) => {
                seen.trouble
                    .entry(name.clone())
                    .or_insert_with(|| why.to_owned());
            }
            None => {
                seen.trouble.insert(name.clone(), message.clone());
            }
        },
        ("BackOff", Some(name)) => {
            let why = seen.trouble.get(name).unwrap_or(message);
            let failure = cannot_start(FailureKind::Image, name, why);
            seen.failed.entry(name.clone()).or_insert(failure);
        }
        (
            "FailedScheduling" | "FailedMount" | "FailedAttachVolume" | "FailedCreatePodSandBox",
            _,
        ) => seen.blocked = Some(message.clone()),
        ("Scheduled", _) => seen.blocked = None,
        _ => {}
    }
}

/// `spec.containers{step-a}` and `spec.initContainers{setup-addon}`.
fn container_of(field_path: &str) -> Option<&str> {
    field_path.split_once('{')?.1.strip_suffix('}')
}

/// The words that people know: servers since 1.35 say only `Container created` and leave the name to the field path.
fn words(reason: &str, message: &str, container: Option<&str>) -> String {
    match (reason, message, container) {
        ("Created", "Container created" | "Created container", Some(name)) => {
            format!("Created container {name}")
        }
        ("Created", _, Some(name)) if message == format!("Created container: {name}") => {
            format!("Created container {name}")
        }
        ("Started", "Container started" | "Started container", Some(name)) => {
            format!("Started container {name}")
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(reason: &str, message: &str) -> PodEvent {
        PodEvent {
            at_ms: 0,
            container: Some("step-a".to_owned()),
            kind: EventKind::Warning,
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn the_words_of_old_and_new_servers_are_the_same() {
        let name = container_of("spec.containers{step-a}");
        assert_eq!(name, Some("step-a"));
        for said in [
            "Container created",
            "Created container step-a",
            "Created container: step-a",
        ] {
            assert_eq!(words("Created", said, name), "Created container step-a");
        }
        let pulled = "Successfully pulled image \"a\" in 437ms (437ms including waiting)";
        assert_eq!(words("Pulled", pulled, name), pulled);
    }

    #[test]
    fn a_pull_that_is_given_up_says_what_the_registry_said() {
        let mut seen = Seen::default();
        let why = "Failed to pull image \"a\": 401 Unauthorized";
        for (reason, message) in [
            ("Failed", why),
            ("Failed", "Error: ErrImagePull"),
            ("BackOff", "Back-off pulling image \"a\""),
        ] {
            assert!(seen.failed.is_empty(), "given up before {reason}");
            fold(&mut seen, &event(reason, message));
        }
        let failure = &seen.failed["step-a"];
        assert_eq!(failure.kind, FailureKind::Image);
        assert_eq!(
            failure.message,
            format!("the container step-a cannot start: {why}")
        );
    }

    #[test]
    fn a_setting_that_the_kubelet_refuses_fails_at_once() {
        let mut seen = Seen::default();
        let why = "Error: container has runAsNonRoot and image will run as root";
        fold(&mut seen, &event("Failed", why));
        assert_eq!(seen.failed["step-a"].kind, FailureKind::Configuration);
    }
}
