//! What happens to one pod: its events as they come, its status for what events do not say.

use std::collections::{BTreeMap, BTreeSet};

use driver::backend::{EventKind, Events, Failure, FailureKind, PodEvent};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is known of the pod so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Containers whose process runs or ran.
    pub(crate) started: BTreeSet<String>,
    /// Containers that cannot start, with the reason.
    pub(crate) failed: BTreeMap<String, Failure>,
    /// Containers that ran and are over, with how they ended.
    pub(crate) ended: BTreeMap<String, Failure>,
    /// The pod is no more, or over.
    pub(crate) gone: Option<Failure>,
    /// The last thing that stands in the way of the whole pod: unschedulable, a volume that does not mount.
    pub(crate) blocked: Option<String>,
}

/// A watch on one pod. Dropping it ends it.
pub(crate) struct Watch {
    seen: watch::Receiver<Seen>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Watch {
    /// Watches the pod of this name from now on; it need not be there yet. Its events go to `to`.
    pub(crate) fn start(client: &Client, namespace: &str, pod: &str, to: Events) -> Self {
        let (tell, seen) = watch::channel(Seen::default());
        let events: Api<Event> = Api::namespaced(client.clone(), namespace);
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let of_pod = watcher::Config::default().fields(&format!("involvedObject.name={pod}"));
        let by_name = watcher::Config::default().fields(&format!("metadata.name={pod}"));
        let (tell2, name) = (tell.clone(), pod.to_owned());
        let events = tokio::spawn(async move {
            let mut told = BTreeSet::new();
            let mut stream = std::pin::pin!(watcher(events, of_pod));
            while let Some(next) = stream.next().await {
                // An error is a connection that the watcher makes anew; what was missed comes with its next list.
                if let Ok(watcher::Event::Apply(event) | watcher::Event::InitApply(event)) = next {
                    // A server may say one thing by two events, and counts one up that comes again.
                    let about = event.involved_object.field_path.clone();
                    let key = (about, event.reason.clone(), event.message.clone());
                    if told.insert(key) {
                        note(&event, &tell, &to);
                    }
                }
            }
        });
        let pods = tokio::spawn(async move {
            let mut there = false;
            let mut stream = std::pin::pin!(watcher(pods, by_name));
            let mut listed = false;
            while let Some(next) = stream.next().await {
                match next {
                    Ok(watcher::Event::Apply(pod)) => {
                        there = true;
                        tell2.send_modify(|seen| fold(seen, &pod));
                    }
                    Ok(watcher::Event::InitApply(pod)) => {
                        there = true;
                        listed = true;
                        tell2.send_modify(|seen| fold(seen, &pod));
                    }
                    Ok(watcher::Event::Init) => listed = false,
                    // It was there and a fresh list no longer has it: it was removed while nobody watched.
                    Ok(watcher::Event::InitDone) if there && !listed => {
                        tell2.send_modify(|s| removed(s, &name));
                    }
                    Ok(watcher::Event::Delete(_)) => tell2.send_modify(|seen| removed(seen, &name)),
                    Ok(watcher::Event::InitDone) | Err(_) => {}
                }
            }
        });
        Self {
            seen,
            tasks: [events, pods],
        }
    }

    /// A receiver of all that is seen.
    pub(crate) fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.clone()
    }
}

fn removed(seen: &mut Seen, pod: &str) {
    seen.gone
        .get_or_insert_with(|| gone(format!("the pod {pod} was deleted")));
}

fn gone(message: String) -> Failure {
    Failure {
        kind: FailureKind::Gone,
        container: None,
        message,
        help: None,
    }
}

/// An event: told on, and folded where it says that a container started or cannot.
fn note(event: &Event, tell: &watch::Sender<Seen>, to: &Events) {
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
    let warning = event.type_.as_deref() == Some("Warning");
    tell.send_modify(|seen| match (reason.as_str(), &container) {
        ("Started", Some(name)) => {
            seen.started.insert(name.clone());
        }
        // `Failed` comes with every try; the kubelet tries again until it backs off.
        ("BackOff" | "ErrImageNeverPull" | "InspectFailed", Some(name))
            if warning || message.contains("Back-off pulling") =>
        {
            seen.failed
                .entry(name.clone())
                .or_insert_with(|| image_failure(name, &message));
        }
        (
            "FailedScheduling" | "FailedMount" | "FailedAttachVolume" | "FailedCreatePodSandBox",
            _,
        ) => {
            seen.blocked = Some(message.clone());
        }
        ("Scheduled", _) => seen.blocked = None,
        _ => {}
    });
    let at = event
        .event_time
        .as_ref()
        .map(|t| t.0.as_millisecond())
        .or_else(|| {
            event
                .last_timestamp
                .as_ref()
                .or(event.first_timestamp.as_ref())
                .map(|t| t.0.as_millisecond())
        });
    let _ = to.send(PodEvent {
        at_ms: at.and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default(),
        container,
        kind: if warning {
            EventKind::Warning
        } else {
            EventKind::Normal
        },
        reason,
        message,
    });
}

/// `spec.containers{step-a}` and `spec.initContainers{setup-addon}`.
fn container_of(field_path: &str) -> Option<&str> {
    field_path.split_once('{')?.1.strip_suffix('}')
}

/// The words that people know: servers since 1.35 say only `Container created` and leave the name to the field path, those
/// before it `Created container: NAME`.
fn words(reason: &str, message: &str, container: Option<&str>) -> String {
    match (reason, message, container) {
        ("Created", said, Some(name)) if said.strip_prefix("Created container: ") == Some(name) => {
            format!("Created container {name}")
        }
        ("Created", "Container created" | "Created container", Some(name)) => {
            format!("Created container {name}")
        }
        ("Started", "Container started" | "Started container", Some(name)) => {
            format!("Started container {name}")
        }
        _ => message.to_owned(),
    }
}

fn image_failure(container: &str, message: &str) -> Failure {
    Failure {
        kind: FailureKind::Image,
        container: Some(container.to_owned()),
        message: format!("the container {container} cannot start: {message}"),
        help: None,
    }
}

/// The pod's status: containers that wait for good, the end of the pod.
fn fold(seen: &mut Seen, pod: &Pod) {
    let Some(status) = &pod.status else { return };
    for container in status.container_statuses.iter().flatten() {
        fold_container(seen, container);
    }
    let phase = status.phase.as_deref().unwrap_or_default();
    if phase == "Failed" || phase == "Succeeded" || status.reason.as_deref() == Some("Evicted") {
        let why = [status.reason.as_deref(), status.message.as_deref()];
        let why: Vec<&str> = why
            .into_iter()
            .flatten()
            .filter(|t| !t.is_empty())
            .collect();
        let why = if why.is_empty() {
            format!("its phase is {phase}")
        } else {
            why.join(": ")
        };
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        seen.gone
            .get_or_insert_with(|| gone(format!("the pod {name} is over: {why}")));
    }
}

fn fold_container(seen: &mut Seen, status: &ContainerStatus) {
    let Some(state) = &status.state else { return };
    if state.running.is_some() || state.terminated.is_some() {
        seen.started.insert(status.name.clone());
    }
    if let Some(end) = &state.terminated {
        let reason = end.reason.as_deref().unwrap_or("it ended");
        let for_memory = reason == "OOMKilled";
        seen.ended
            .entry(status.name.clone())
            .or_insert_with(|| Failure {
                kind: if for_memory {
                    FailureKind::Resources
                } else {
                    FailureKind::Gone
                },
                container: Some(status.name.clone()),
                message: format!(
                    "the container {} is over: {reason}, exit code {}",
                    status.name, end.exit_code
                ),
                help: for_memory
                    .then(|| "raise spec.resources.limits.memory of the step".to_owned()),
            });
    }
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let message = waiting.message.as_deref().unwrap_or_default();
        let kind = match reason {
            "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError" => {
                FailureKind::Image
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                FailureKind::Configuration
            }
            _ => return,
        };
        seen.failed
            .entry(status.name.clone())
            .or_insert_with(|| Failure {
                kind,
                container: Some(status.name.clone()),
                message: format!(
                    "the container {} cannot start: {reason}: {message}",
                    status.name
                ),
                help: None,
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_old_and_new_servers_are_the_same() {
        let name = container_of("spec.containers{step-a}");
        assert_eq!(name, Some("step-a"));
        assert_eq!(
            words("Created", "Container created", name),
            "Created container step-a"
        );
        for said in ["Created container step-a", "Created container: step-a"] {
            assert_eq!(words("Created", said, name), "Created container step-a");
        }
        let pulled = "Successfully pulled image \"a\" in 437ms (437ms including waiting)";
        assert_eq!(words("Pulled", pulled, name), pulled);
    }
}
