//! The way into a pod whose lite-engine is not there yet: the container of the first step is started before it, and its addon is
//! reached by an exec of its own until then.

use std::future::Future;
use std::sync::{Arc, Mutex};

use driver::backend::{Carrier, Failure};
use driver::router::{self, Way};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::sync::watch::Receiver;

use super::Execs;
use crate::carrier::ExecStream;
use crate::watch::Seen;

/// By execs, into containers that run.
#[derive(Clone)]
struct Early {
    execs: Execs,
    /// The container that was entered already.
    first: Arc<Mutex<Option<(String, ExecStream)>>>,
    seen: Receiver<Seen>,
}

impl Way for Early {
    type Stream = ExecStream;

    const FAR: bool = true;

    async fn enter(&self, container: &str) -> Result<ExecStream, Failure> {
        let entered = self.first.lock().ok();
        let entered = entered.and_then(|mut first| first.take_if(|(name, _)| name == container));
        if let Some((_, stream)) = entered {
            return Ok(stream);
        }
        // Those behind lite-engine are its to reach: only where it does not come up does this go on.
        let mut seen = self.seen.clone();
        let settled = |seen: &Seen| {
            let failed = seen.failed.contains_key(container);
            seen.started.contains(container) || failed || seen.gone.is_some()
        };
        let _ = seen.wait_for(settled).await;
        self.execs.enter(container).await
    }

    async fn is_away(&self) -> bool {
        self.execs.is_away().await
    }
}

/// A carrier to the addons of the pod, of which one is `entered`. It hangs up at the end of `until`: whoever connects then goes by
/// lite-engine.
pub(crate) fn open(
    pods: Api<Pod>,
    pod: String,
    entered: (String, ExecStream),
    seen: Receiver<Seen>,
    until: impl Future<Output = ()> + Send + 'static,
) -> Box<dyn Carrier> {
    let way = Early {
        execs: Execs { pods, pod },
        first: Arc::new(Mutex::new(Some(entered))),
        seen,
    };
    router::open_until(way, until)
}
