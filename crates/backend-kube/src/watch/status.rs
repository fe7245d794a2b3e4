//! A pod's status: containers that wait for good or have ended, and the end of the pod.

use addon::abandoned;
use driver::backend::{Failure, FailureKind};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use pipeline::pod::SETUP_ADDON;

use super::{Seen, cannot_start, gone};

/// Ends of a container whose process never began.
const NEVER_BEGAN: [&str; 3] = ["StartError", "ContainerCannotRun", "ContainerStatusUnknown"];

/// What a pod's status says.
pub(super) fn fold(seen: &mut Seen, pod: &Pod) {
    let Some(status) = &pod.status else { return };
    let end = end(pod);
    for container in status.container_statuses.iter().flatten() {
        fold_container(seen, container, end.as_deref());
    }
    for container in status.init_container_statuses.iter().flatten() {
        fold_init(seen, container);
    }
    let phase = status.phase.as_deref().unwrap_or_default();
    if phase == "Failed" || phase == "Succeeded" || status.reason.as_deref() == Some("Evicted") {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let over =
            || end.unwrap_or_else(|| format!("the pod {name} is over: its phase is {phase}"));
        seen.gone.get_or_insert_with(|| gone(over()));
    }
}

/// Why the pod as a whole is over or about to be: who told it to end, or that it ended itself since nobody came; none: not known.
fn end(pod: &Pod) -> Option<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.as_ref()?;
    // Evictions, preemption and lost nodes are told by a condition.
    let conditions = status.conditions.iter().flatten();
    let disruption = conditions
        .filter(|c| c.type_ == "DisruptionTarget" && c.status == "True")
        .find_map(|c| c.message.as_deref());
    let said = [status.reason.as_deref(), status.message.as_deref()];
    let why: Vec<&str> = said
        .into_iter()
        .chain([disruption])
        .flatten()
        .filter(|text| !text.is_empty())
        .collect();
    if pod.metadata.deletion_timestamp.is_some() {
        return Some(match &why[..] {
            [] => format!("the pod {name} was deleted"),
            why => format!("the pod {name} was deleted: {}", why.join(": ")),
        });
    }
    let left = status.container_statuses.iter().flatten();
    let alone = left
        .filter_map(|own| own.state.as_ref()?.terminated.as_ref()?.message.as_deref())
        .find_map(abandoned::read);
    if let Some(alone) = alone {
        return Some(format!("the pod {name} ended itself: {alone}"));
    }
    (!why.is_empty()).then(|| format!("the pod {name} is over: {}", why.join(": ")))
}

/// `pod`: why the whole pod is over, if it is.
fn fold_container(seen: &mut Seen, status: &ContainerStatus, pod: Option<&str>) {
    let name = &status.name;
    if status.image_id.contains('@') {
        seen.images.insert(name.clone(), status.image_id.clone());
    }
    let Some(state) = &status.state else { return };
    if state.running.is_some() {
        seen.started.insert(name.clone());
    }
    if let Some(end) = &state.terminated {
        let reason = end.reason.as_deref().unwrap_or_default();
        if NEVER_BEGAN.contains(&reason) && !seen.started.contains(name) {
            let why = ended(end);
            let failure = cannot_start(FailureKind::Configuration, name, &why);
            seen.failed.entry(name.clone()).or_insert(failure);
        } else {
            seen.started.insert(name.clone());
            seen.ended.insert(
                name.clone(),
                Failure {
                    kind: if reason == "OOMKilled" {
                        FailureKind::Resources
                    } else {
                        FailureKind::Gone
                    },
                    container: Some(name.clone()),
                    message: over(name, end, pod),
                    help: (reason == "OOMKilled")
                        .then(|| "raise spec.resources.limits.memory of the step".to_owned()),
                },
            );
        }
    }
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        if let Some(kind) = for_good(reason) {
            let why = because(seen, name, reason, waiting.message.as_deref());
            let failure = cannot_start(kind, name, &why);
            seen.failed.entry(name.clone()).or_insert(failure);
        }
    }
}

/// How a container ended, and with what: by itself `Completed` says nothing of a pod that was told to end.
fn over(name: &str, end: &ContainerStateTerminated, pod: Option<&str>) -> String {
    let left = end.message.as_deref().and_then(abandoned::read);
    match (left, pod) {
        (Some(_), Some(pod)) => pod.to_owned(),
        (_, Some(pod)) => format!("the container {name} is over: {}; {pod}", ended(end)),
        (_, None) => format!("the container {name} is over: {}", ended(end)),
    }
}

/// An init container that fails takes the whole pod with it.
fn fold_init(seen: &mut Seen, status: &ContainerStatus) {
    let name = &status.name;
    let Some(state) = &status.state else { return };
    if let Some(end) = state.terminated.as_ref().filter(|end| end.exit_code != 0) {
        // Killed from outside it may do better next time; by itself it will not.
        let kind = if end.exit_code == 137 {
            FailureKind::Infrastructure
        } else {
            FailureKind::Configuration
        };
        let mut failure = cannot_start(kind, name, &ended(end));
        failure.message = format!("the init container {name} failed: {}", ended(end));
        if name == SETUP_ADDON {
            failure.help = Some(
                "it copies the agent out of its image: is that one of Stepyard, of this release and for this architecture?"
                    .to_owned(),
            );
        }
        seen.gone.get_or_insert(failure);
    }
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        if let Some(kind) = for_good(reason) {
            let why = because(seen, name, reason, waiting.message.as_deref());
            seen.gone.get_or_insert(cannot_start(kind, name, &why));
        }
    }
}

/// States of waiting that do not end by themselves.
fn for_good(reason: &str) -> Option<FailureKind> {
    match reason {
        "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError" => {
            Some(FailureKind::Image)
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(FailureKind::Configuration)
        }
        _ => None,
    }
}

/// The state, and the most that is known of its reason.
fn because(seen: &Seen, container: &str, reason: &str, message: Option<&str>) -> String {
    let known = seen
        .trouble
        .get(container)
        .map(String::as_str)
        .or(message)
        .filter(|text| !text.is_empty());
    known.map_or_else(|| reason.to_owned(), |text| format!("{reason}: {text}"))
}

/// `OOMKilled (exit code 137)`, and what else is said.
fn ended(end: &ContainerStateTerminated) -> String {
    let reason = end.reason.as_deref().unwrap_or("Error");
    let mut text = match end.signal {
        Some(signal) => format!("{reason} (signal {signal})"),
        None => format!("{reason} (exit code {})", end.exit_code),
    };
    if let Some(message) = end.message.as_deref().map(str::trim)
        && !message.is_empty()
    {
        text = format!("{text}: {message}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn seen(status: &Value) -> Seen {
        let pod = json!({"metadata": {"name": "p"}, "status": status});
        let mut seen = Seen::default();
        fold(&mut seen, &serde_json::from_value(pod).expect("a pod"));
        seen
    }

    fn container(state: &Value) -> Value {
        json!({"name": "step-a", "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": state})
    }

    #[test]
    fn a_pod_that_is_over_says_who_told_it_to_end() {
        let status = |more: Value| {
            let mut status = json!({"phase": "Failed"});
            let object = status.as_object_mut().expect("an object");
            object.extend(more.as_object().expect("an object").clone());
            status
        };
        let condition = json!({"type": "DisruptionTarget", "status": "True", "message": "Eviction API: evicting"});
        for (deleted, more, words) in [
            (false, json!({}), "the pod p is over: its phase is Failed"),
            (
                false,
                json!({"reason": "Evicted", "message": "The node was low on memory."}),
                "the pod p is over: Evicted: The node was low on memory.",
            ),
            (true, json!({}), "the pod p was deleted"),
            (
                true,
                json!({"conditions": [condition]}),
                "the pod p was deleted: Eviction API: evicting",
            ),
        ] {
            let mut pod = json!({"metadata": {"name": "p"}, "status": status(more)});
            if deleted {
                pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            let mut seen = Seen::default();
            fold(&mut seen, &serde_json::from_value(pod).expect("a pod"));
            assert_eq!(seen.gone.expect("it is over").message, words);
        }
    }

    /// A container that is over with its pod says so, however its own process ended.
    #[test]
    fn a_container_that_ends_with_its_pod_says_why_the_pod_ended() {
        let left = |message: &str| {
            let state =
                json!({"terminated": {"exitCode": 0, "reason": "Completed", "message": message}});
            json!({"phase": "Running", "containerStatuses": [container(&state)]})
        };
        let alone = seen(&left("no driver came for 20 s"));
        let words = "the pod p ended itself: no driver came for 20 s";
        assert_eq!(alone.ended["step-a"].message, words);
        let mut over = left("no driver came for 20 s");
        over["phase"] = json!("Succeeded");
        assert_eq!(
            seen(&over).gone.map(|own| own.message).as_deref(),
            Some(words)
        );

        let pod = json!({
            "metadata": {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "status": left("bye"),
        });
        let mut deleted = Seen::default();
        fold(&mut deleted, &serde_json::from_value(pod).expect("a pod"));
        assert_eq!(
            deleted.ended["step-a"].message,
            "the container step-a is over: Completed (exit code 0): bye; the pod p was deleted"
        );
    }

    #[test]
    fn ends_and_waits_of_containers() {
        let oom = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let seen = seen(&json!({"phase": "Running", "containerStatuses": [container(&oom)]}));
        assert_eq!(
            seen.ended["step-a"].message,
            "the container step-a is over: OOMKilled (exit code 137)"
        );
        assert_eq!(seen.ended["step-a"].kind, FailureKind::Resources);

        let never = json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": "no such file"}});
        let seen = self::seen(&json!({"containerStatuses": [container(&never)]}));
        assert!(seen.started.is_empty());
        assert_eq!(
            seen.failed["step-a"].message,
            "the container step-a cannot start: StartError (exit code 128): no such file"
        );

        let waits = json!({"waiting": {"reason": "ContainerCreating"}});
        let seen = self::seen(&json!({"containerStatuses": [container(&waits)]}));
        assert!(seen.failed.is_empty());
    }

    #[test]
    fn the_end_of_the_pod() {
        let seen = seen(
            &json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
        );
        assert_eq!(
            seen.gone.map(|own| own.message).as_deref(),
            Some("the pod p is over: Evicted: The node was low on resource: memory.")
        );
    }
}
