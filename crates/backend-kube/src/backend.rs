//! The backend itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use driver::backend::{
    Access, Backend, Carrier, Created, Deleted, Events, Failure, FailureKind, ImageFacts, PodRef,
};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, DeleteParams, ListParams, PostParams};
use kube::{Api, Client, Error};
use pipeline::pod;

use crate::agent::Agent;
use crate::api::failure;
use crate::carrier::ExecStream;
use crate::connect::Namespace;
use crate::manifest::{self, GROUP_ANNOTATION, RUN_LABEL};
use crate::preflight;
use crate::pull_secret;
use crate::watch::Watch;

/// Bytes that an exec stream may hold back on this side: a few credits of a link.
const STREAM_BUFFER: usize = 1 << 20;

/// Pods in one cluster.
pub struct Kube {
    client: Client,
    namespace: Namespace,
    agent: Agent,
    images: image::Client,
    watches: Mutex<HashMap<String, Watch>>,
}

impl Kube {
    /// A backend that makes pods with `agent` (a static binary) of this hex
    /// sha256. `images` asks registries what images start.
    pub fn new(
        client: Client,
        namespace: Namespace,
        images: image::Client,
        agent: &'static [u8],
        digest: String,
    ) -> Self {
        Self {
            client,
            namespace,
            agent: Agent {
                bytes: agent,
                digest,
            },
            images,
            watches: Mutex::default(),
        }
    }

    /// The namespace of a pod that the pipeline wants in `written`.
    fn namespace<'a>(&'a self, written: Option<&'a str>) -> &'a str {
        if self.namespace.wins {
            return &self.namespace.name;
        }
        written.unwrap_or(&self.namespace.name)
    }

    fn pods(&self, namespace: Option<&str>) -> Api<Pod> {
        Api::namespaced(self.client.clone(), self.namespace(namespace))
    }

    /// What is seen of this pod: the watch that made it, or a new one.
    fn seen(
        &self,
        pod: &str,
        namespace: &str,
        events: Option<Events>,
    ) -> tokio::sync::watch::Receiver<crate::watch::Seen> {
        let mut watches = self
            .watches
            .lock()
            .expect("no panic while the watches are held");
        let watch = watches.entry(pod.to_owned()).or_insert_with(|| {
            let to = events.unwrap_or_else(|| tokio::sync::mpsc::unbounded_channel().0);
            Watch::start(&self.client, namespace, pod, to)
        });
        watch.seen()
    }

    /// Ends when the container runs, cannot run, or the pod is no more.
    async fn started(
        &self,
        spec: &pod::Spec,
        container: &str,
        events: Events,
    ) -> Result<(), Failure> {
        let namespace = self.namespace(spec.namespace.as_deref());
        let mut seen = self.seen(&spec.name, namespace, Some(events));
        let limit = Duration::from_millis(spec.init_timeout_ms);
        let until = seen.wait_for(|s| {
            s.gone.is_some() || s.started.contains(container) || s.failed.contains_key(container)
        });
        let end = tokio::time::timeout(limit, until)
            .await
            .map(|seen| seen.map(|seen| seen.clone()));
        match end {
            Ok(Ok(seen)) if seen.started.contains(container) => Ok(()),
            Ok(Ok(seen)) => Err(seen
                .failed
                .get(container)
                .or(seen.gone.as_ref())
                .cloned()
                .unwrap_or_else(|| over(container))),
            Ok(Err(_)) => Err(over(container)),
            Err(_) => {
                let blocked = seen.borrow().blocked.clone();
                let why = blocked.unwrap_or_else(|| {
                    "its image or its volumes are still being made ready".to_owned()
                });
                Err(Failure {
                    kind: FailureKind::Timeout,
                    container: Some(container.to_owned()),
                    message: format!(
                        "the container {container} did not start within {} s (initTimeout): {why}",
                        limit.as_secs()
                    ),
                    help: None,
                })
            }
        }
    }
}

fn over(container: &str) -> Failure {
    Failure {
        kind: FailureKind::Gone,
        container: Some(container.to_owned()),
        message: format!("the watch on the container {container} ended"),
        help: None,
    }
}

#[async_trait]
impl Backend for Kube {
    fn name(&self) -> &'static str {
        "kube"
    }

    async fn preflight(
        &self,
        spec: &pod::Spec,
        access: &Access,
    ) -> BTreeMap<String, Result<ImageFacts, Failure>> {
        let asked = spec.containers.iter().map(|container| async move {
            let facts = preflight::facts(&self.images, container, access).await;
            (container.name.clone(), facts)
        });
        futures_util::future::join_all(asked)
            .await
            .into_iter()
            .collect()
    }

    async fn create(
        &self,
        spec: &pod::Spec,
        access: &Access,
        events: Events,
    ) -> Result<Created, Failure> {
        let namespace = self.namespace(spec.namespace.as_deref());
        let secret = pull_secret::name(spec, access);
        let pod = manifest::pod(spec, &self.agent, secret.as_deref())?;
        // Side by side: neither waits for the other, the pod for both.
        let agent = self.agent.ensure(&self.client, namespace);
        let logins = pull_secret::create(&self.client, namespace, spec, access);
        tokio::try_join!(agent, logins)?;
        // The watch comes first: no event of the pod can be missed.
        let _ = self.seen(&spec.name, namespace, Some(events.clone()));
        let created = match self
            .pods(Some(namespace))
            .create(&PostParams::default(), &pod)
            .await
        {
            Ok(pod) => {
                if let Some(secret) = &secret {
                    pull_secret::hand_over(&self.client, namespace, secret, &pod).await?;
                }
                Created::Created
            }
            Err(Error::Api(status)) if status.code == 409 => Created::AlreadyThere,
            Err(error) => {
                return Err(failure(
                    &format!("create the pod {} in the namespace {namespace}", spec.name),
                    &error,
                ));
            }
        };
        self.started(spec, pod::LITE_ENGINE, events).await?;
        Ok(created)
    }

    async fn container(
        &self,
        spec: &pod::Spec,
        _access: &Access,
        container: &str,
        events: Events,
    ) -> Result<(), Failure> {
        self.started(spec, container, events).await
    }

    async fn connect(&self, pod: &PodRef) -> Result<Box<dyn Carrier>, Failure> {
        let params = AttachParams::default()
            .container(pod::LITE_ENGINE)
            .stdin(true)
            .stdout(true)
            .stderr(false)
            .max_stdin_buf_size(STREAM_BUFFER)
            .max_stdout_buf_size(STREAM_BUFFER);
        let process = self
            .pods(pod.namespace.as_deref())
            .exec(&pod.name, manifest::connect_command(), &params)
            .await
            .map_err(|e| {
                failure(
                    &format!("exec into {} of the pod {}", pod::LITE_ENGINE, pod.name),
                    &e,
                )
            })?;
        let stream = ExecStream::new(process).ok_or_else(|| over(pod::LITE_ENGINE))?;
        Ok(Box::new(stream))
    }

    async fn gone(&self, pod: &PodRef) -> Failure {
        let namespace = self.namespace(pod.namespace.as_deref());
        let mut seen = self.seen(&pod.name, namespace, None);
        match seen.wait_for(|s| s.gone.is_some()).await {
            Ok(seen) => seen.gone.clone().unwrap_or_else(|| over(pod::LITE_ENGINE)),
            Err(_) => over(pod::LITE_ENGINE),
        }
    }

    async fn ended(&self, pod: &PodRef, container: &str) -> Option<Failure> {
        let namespace = self.namespace(pod.namespace.as_deref());
        let seen = self.seen(&pod.name, namespace, None);
        let seen = seen.borrow();
        seen.ended.get(container).cloned()
    }

    async fn delete(&self, pod: &PodRef, grace: Duration) -> Result<Deleted, Failure> {
        self.watches
            .lock()
            .expect("no panic while the watches are held")
            .remove(&pod.name);
        let params = DeleteParams {
            grace_period_seconds: Some(u32::try_from(grace.as_secs()).unwrap_or(30)),
            ..DeleteParams::default()
        };
        match self
            .pods(pod.namespace.as_deref())
            .delete(&pod.name, &params)
            .await
        {
            Ok(_) => Ok(Deleted::Deleted),
            Err(Error::Api(status)) if status.code == 404 => Ok(Deleted::NotThere),
            Err(error) => Err(failure(&format!("delete the pod {}", pod.name), &error)),
        }
    }

    async fn list(&self) -> Result<Vec<PodRef>, Failure> {
        let params = ListParams::default().labels(RUN_LABEL);
        let pods = self
            .pods(None)
            .list(&params)
            .await
            .map_err(|e| failure("list pods", &e))?;
        let mut found: Vec<PodRef> = pods.into_iter().filter_map(reference).collect();
        for pod in &mut found {
            // A pod of a pipeline that names no namespace is known without one.
            pod.namespace.take_if(|name| *name == self.namespace.name);
        }
        Ok(found)
    }
}

fn reference(pod: Pod) -> Option<PodRef> {
    let labels = pod.metadata.labels.unwrap_or_default();
    let annotations = pod.metadata.annotations.unwrap_or_default();
    Some(PodRef {
        name: pod.metadata.name?,
        namespace: pod.metadata.namespace,
        run: labels.get(RUN_LABEL)?.clone(),
        group: annotations
            .get(GROUP_ANNOTATION)
            .cloned()
            .unwrap_or_default(),
    })
}
