//! Lines of the Initialize log that are ours and not the cluster's.

use driver::backend::{EventKind, Events, PodEvent};
use k8s_openapi::jiff::Timestamp;

/// Says something of a pod, or of one container of it, now. Who does not listen any more wants to know nothing.
pub(crate) fn say(
    events: &Events,
    container: Option<String>,
    kind: EventKind,
    reason: &str,
    message: String,
) {
    let at_ms = Timestamp::now().as_millisecond();
    let _ = events.send(PodEvent {
        at_ms: u64::try_from(at_ms).unwrap_or_default(),
        container,
        kind,
        reason: reason.to_owned(),
        message,
    });
}
