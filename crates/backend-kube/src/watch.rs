//! What happens to one pod: its events as they come, its status for what events do not say.
//!
//! A container's `Started` event comes within milliseconds, the pod's status up to a second later: events are the clock.

mod events;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use driver::backend::{Events, Failure, FailureKind, PodEvent};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::api::failure;

/// A pod that is being deleted and is still there so long after its grace: its node does not answer.
const LATE: Duration = Duration::from_secs(15);

/// Seconds after which the API server ends a watch and another one begins: one that says nothing for longer is cut (see `connect`).
const WATCH_S: u32 = 30;

/// What is known of the pod so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Containers whose process runs or ran.
    pub(crate) started: BTreeSet<String>,
    /// Containers that cannot start, with the reason.
    pub(crate) failed: BTreeMap<String, Failure>,
    /// Containers whose process is over, with how it ended.
    pub(crate) ended: BTreeMap<String, Failure>,
    /// It may not be watched.
    pub(crate) denied: Option<Failure>,
    /// The pod is no more, or over.
    pub(crate) gone: Option<Failure>,
    /// The last thing that stands in the way of the whole pod: unschedulable, a volume that does not mount.
    pub(crate) blocked: Option<String>,
    /// The last thing that stands in the way of a container.
    pub(crate) trouble: BTreeMap<String, String>,
    /// The images that run, by container: `name@sha256:…`.
    pub(crate) images: BTreeMap<String, String>,
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
        let tasks = [
            tokio::spawn(follow_events(events, pod.to_owned(), tell.clone(), to)),
            tokio::spawn(follow_pod(pods, pod.to_owned(), tell)),
        ];
        Self { seen, tasks }
    }

    /// A receiver of all that is seen.
    pub(crate) fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.clone()
    }
}

async fn follow_events(api: Api<Event>, pod: String, tell: watch::Sender<Seen>, to: Events) {
    let of_pod = watcher::Config::default().timeout(WATCH_S).fields(&format!(
        "involvedObject.kind=Pod,involvedObject.name={pod}"
    ));
    let mut told = BTreeSet::new();
    // What a list holds comes in the order of names; it is told in the order of time.
    let mut listed: Vec<Event> = Vec::new();
    let mut stream = std::pin::pin!(watcher(api, of_pod));
    while let Some(next) = stream.next().await {
        let fresh = match next {
            Ok(watcher::Event::Apply(event)) => vec![event],
            Ok(watcher::Event::InitApply(event)) => {
                listed.push(event);
                continue;
            }
            Ok(watcher::Event::InitDone) => {
                let mut all = std::mem::take(&mut listed);
                all.sort_by_key(events::at_ms);
                all
            }
            Err(error) => {
                refused("events", &error, &tell);
                continue;
            }
            Ok(_) => continue,
        };
        for event in fresh {
            // A server may say one thing by two events, and counts one up that comes again.
            let about = event.involved_object.field_path.clone();
            let key = (about, event.reason.clone(), event.message.clone());
            if told.insert(key) {
                let event: PodEvent = events::read(&event);
                tell.send_modify(|seen| events::fold(seen, &event));
                let _ = to.send(event);
            }
        }
    }
}

async fn follow_pod(api: Api<Pod>, name: String, tell: watch::Sender<Seen>) {
    let by_name = watcher::Config::default()
        .timeout(WATCH_S)
        .fields(&format!("metadata.name={name}"));
    let mut stream = std::pin::pin!(watcher(api, by_name));
    let (mut there, mut listed) = (false, false);
    let mut late: Option<Instant> = None;
    let removed = |seen: &mut Seen| {
        seen.gone.get_or_insert_with(|| deleted(&name));
    };
    loop {
        let next = tokio::select! {
            next = stream.next() => next,
            () = sleep_until(late) => {
                late = None;
                tell.send_modify(|seen| {
                    seen.gone.get_or_insert_with(|| gone(format!(
                        "the pod {name} is being deleted, and its node does not answer"
                    )));
                });
                continue;
            }
        };
        match next {
            Some(Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod))) => {
                (there, listed) = (true, true);
                if pod.metadata.deletion_timestamp.is_some() && late.is_none() {
                    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
                    let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
                    late = Some(Instant::now() + grace + LATE);
                }
                tell.send_modify(|seen| status::fold(seen, &pod));
            }
            Some(Ok(watcher::Event::Init)) => listed = false,
            // It was there and a fresh list no longer has it: it was removed while nobody watched.
            Some(Ok(watcher::Event::InitDone)) if there && !listed => tell.send_modify(removed),
            Some(Ok(watcher::Event::Delete(_))) => tell.send_modify(removed),
            Some(Ok(watcher::Event::InitDone)) => {}
            Some(Err(error)) => refused("pods", &error, &tell),
            None => return,
        }
    }
}

/// An error is a connection that the watcher makes anew; what was missed comes with its next list. But who may not watch will not.
fn refused(what: &str, error: &watcher::Error, tell: &watch::Sender<Seen>) {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) =
        error
    else {
        return;
    };
    if let kube::Error::Api(status) = error
        && status.code == 403
    {
        let denied = failure(&format!("watch {what}"), error);
        tell.send_modify(|seen| {
            seen.denied.get_or_insert(denied);
        });
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The pod is no more.
fn gone(message: String) -> Failure {
    Failure {
        kind: FailureKind::Gone,
        container: None,
        message,
        help: None,
    }
}

/// Somebody deleted it.
pub(crate) fn deleted(pod: &str) -> Failure {
    gone(format!("the pod {pod} was deleted"))
}

/// A container that cannot start.
fn cannot_start(kind: FailureKind, container: &str, why: &str) -> Failure {
    Failure {
        kind,
        container: Some(container.to_owned()),
        message: format!("the container {container} cannot start: {why}"),
        help: None,
    }
}
