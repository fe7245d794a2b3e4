//! The way into a pod whose lite-engine is gone: the router runs in the driver, and reaches each addon by an exec in the step's own
//! container. The driver notices nothing but the time it takes.

pub(crate) mod early;

use driver::backend::{Carrier, Failure, FailureKind};
use driver::router::{self, Way};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;

use crate::api::failure;
use crate::{carrier, watch};

/// By execs in a pod, through the API server.
#[derive(Clone)]
struct Execs {
    pods: Api<Pod>,
    pod: String,
}

impl Way for Execs {
    type Stream = carrier::ExecStream;

    const FAR: bool = true;

    async fn enter(&self, container: &str) -> Result<Self::Stream, Failure> {
        carrier::exec(
            &self.pods,
            &self.pod,
            container,
            pipeline::pod::SLICE_SOCKET,
        )
        .await
    }

    async fn is_away(&self) -> bool {
        matches!(self.reach().await, Err(f) if f.kind == FailureKind::Connectivity)
    }
}

impl Execs {
    /// Whether the API server answers, and has this pod. By a list: a run may not `get`.
    async fn reach(&self) -> Result<(), Failure> {
        let by_name = ListParams::default().fields(&format!("metadata.name={}", self.pod));
        let found = self.pods.list_metadata(&by_name).await;
        let found = found.map_err(|e| failure(&format!("look for the pod {}", self.pod), &e))?;
        if found.items.is_empty() {
            return Err(watch::deleted(&self.pod));
        }
        Ok(())
    }
}

/// A carrier to the addons of the pod. What it stands on ends when it is dropped.
///
/// # Errors
/// The API server does not answer, or knows of no such pod.
pub(crate) async fn open(pods: Api<Pod>, pod: String) -> Result<Box<dyn Carrier>, Failure> {
    let way = Execs { pods, pod };
    way.reach().await?;
    Ok(router::open(way))
}
