//! The backend itself.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use driver::backend::{
    Access, Backend, Carrier, Created, Deleted, Events, Failure, FailureKind, ImageFacts, PodRef,
};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, Error};
use pipeline::pod::{self, AgentFrom, Cluster, GROUP_ANNOTATION, RUN_LABEL};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::agent::Agent;
use crate::api::{failure, violated};
use crate::connect::{Connection, configuration};
use crate::entered::Entered;
use crate::patience::{GivenUp, Patience};
use crate::preflight::Preflight;
use crate::unmade::Unmade;
use crate::watch::{self, Seen, Watch};
use crate::{arch, carrier, direct, moved, pull_secret};
use crate::{limit_range, restricted};

/// Pods in one cluster.
pub struct Kube {
    pub(crate) connection: Connection,
    agent: Agent,
    preflight: Preflight,
    /// After so many seconds without a driver a pod ends itself; none: as [`Cluster::newest`] has it.
    abandoned_s: Option<u64>,
    /// The architectures of the nodes, once they were asked for.
    nodes: OnceCell<Option<BTreeSet<String>>>,
    /// Namespaces that take only restricted pods.
    restricted: Mutex<HashSet<String>>,
    watches: Mutex<HashMap<String, Watch>>,
    pub(crate) entered: Entered,
    /// The first way in is by the container of the first step.
    pub(crate) early: bool,
    /// What the preflight of a pod has found.
    facts: restricted::Found,
    /// Which images a preflight has resolved.
    resolved: moved::Resolved,
    /// Pods that nobody waits for any more.
    given_up: GivenUp,
    /// Pods of which nothing is there.
    unmade: Unmade,
    /// No other process has asked for these pods before.
    first: bool,
}

impl Kube {
    /// A backend that makes pods with `agent`. `images` asks registries what images start.
    pub fn new(connection: Connection, images: image::Client, agent: Agent) -> Self {
        Self {
            connection,
            agent,
            preflight: Preflight::new(images),
            abandoned_s: None,
            nodes: OnceCell::new(),
            restricted: Mutex::default(),
            watches: Mutex::default(),
            entered: Entered::default(),
            early: true,
            facts: restricted::Found::default(),
            resolved: moved::Resolved::default(),
            given_up: GivenUp::default(),
            unmade: Unmade::default(),
            first: false,
        }
    }

    /// No other process has asked for the pods of this one before: what was never given to the API server is not there, and nobody
    /// asks for its removal.
    #[must_use]
    pub fn first(mut self, first: bool) -> Self {
        self.first = first;
        self
    }

    /// Pods end themselves after so many seconds without a driver.
    #[must_use]
    pub fn abandoned_after(mut self, seconds: u64) -> Self {
        self.abandoned_s = Some(seconds);
        self
    }

    /// Goes into pods by lite-engine from the beginning: for who keeps one connection, as a driver does not. It costs the start of a
    /// container before the first step's.
    #[must_use]
    pub fn by_lite_engine(mut self) -> Self {
        self.early = false;
        self
    }

    /// The pod object that [`Backend::create`] gives to this cluster, in a namespace that allows it.
    ///
    /// # Errors
    /// The agent is not for the nodes.
    pub async fn manifest(&self, spec: &pod::Spec, access: &Access) -> Result<Value, Failure> {
        let namespace = self.namespace(spec.namespace.as_deref());
        let arch = self.arch(spec).await?;
        let cluster = self.cluster(spec, access, namespace, arch);
        Ok(pod::manifest(spec, &cluster))
    }

    /// The namespace of a pod that the pipeline wants in `written`.
    pub(crate) fn namespace<'a>(&'a self, written: Option<&'a str>) -> &'a str {
        let own = &self.connection.namespace;
        if own.wins {
            return &own.name;
        }
        written.unwrap_or(&own.name)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.connection.client
    }

    fn pods(&self, namespace: Option<&str>) -> Api<Pod> {
        Api::namespaced(self.client().clone(), self.namespace(namespace))
    }

    async fn arch(&self, spec: &pod::Spec) -> Result<Option<String>, Failure> {
        let nodes = self
            .nodes
            .get_or_try_init(|| arch::of_nodes(self.client()))
            .await?;
        let agent = spec.agent_image.is_none().then(|| self.agent.arch());
        arch::choose(spec, agent, nodes.as_ref())
    }

    fn cluster(
        &self,
        spec: &pod::Spec,
        access: &Access,
        namespace: &str,
        arch: Option<String>,
    ) -> Cluster {
        let agent = match &spec.agent_image {
            Some(image) => AgentFrom::Image(image.clone()),
            None => AgentFrom::ConfigMap(self.agent.config_map()),
        };
        let newest = Cluster::newest(agent);
        Cluster {
            namespace: Some(namespace.to_owned()),
            arch,
            pod_resources: self.connection.pod_resources(),
            pull_secret: pull_secret::name(spec, access),
            abandoned_s: self.abandoned_s.unwrap_or(newest.abandoned_s),
            ..newest
        }
    }

    /// What is seen of this pod: the watch that made it, or a new one.
    pub(crate) fn seen(
        &self,
        pod: &str,
        namespace: &str,
        events: Option<Events>,
    ) -> tokio::sync::watch::Receiver<Seen> {
        let mut watches = self
            .watches
            .lock()
            .expect("no panic while the watches are held");
        let watch = watches.entry(pod.to_owned()).or_insert_with(|| {
            let to = events.unwrap_or_else(|| tokio::sync::mpsc::unbounded_channel().0);
            Watch::start(self.client(), namespace, pod, to)
        });
        watch.seen()
    }

    /// Gives the pod to the API server. One that a restricted namespace refuses is given again with what nobody wrote set to that, and one
    /// that a LimitRange does with the least that it wants.
    async fn post(
        &self,
        spec: &pod::Spec,
        mut cluster: Cluster,
        namespace: &str,
        events: &Events,
    ) -> Result<Pod, Error> {
        let known = self.restricted.lock();
        if known.is_ok_and(|own| own.contains(namespace)) {
            self.restrict(spec, &mut cluster, namespace, events).await;
        }
        loop {
            let pod = pod::manifest(spec, &cluster);
            let error = match self.post_once(&pod, namespace).await {
                Err(error) => error,
                made => return made,
            };
            if cluster.restricted.is_none() && violated(&error) == Some("restricted") {
                if let Ok(mut restricted) = self.restricted.lock() {
                    restricted.insert(namespace.to_owned());
                }
                self.restrict(spec, &mut cluster, namespace, events).await;
            } else if let Some(least) = limit_range::wants(&error, cluster.least) {
                limit_range::tell(namespace, events);
                cluster.least = least;
            } else {
                return Err(error);
            }
        }
    }

    async fn restrict(
        &self,
        spec: &pod::Spec,
        cluster: &mut Cluster,
        namespace: &str,
        events: &Events,
    ) {
        let users = self.facts.users(spec).await;
        restricted::tell(namespace, &users, events);
        cluster.restricted = Some(users);
    }

    /// As JSON and not as a type: what an overlay says may be newer than our types. The server refuses what it does not know.
    async fn post_once(&self, pod: &Value, namespace: &str) -> Result<Pod, Error> {
        let name = pod.pointer("/metadata/name").and_then(Value::as_str);
        let name = name.unwrap_or_default();
        let unmade = self.unmade.is_unmade(name);
        self.unmade.given(name);
        let path = format!("/api/v1/namespaces/{namespace}/pods?fieldValidation=Strict");
        let body = serde_json::to_vec(pod).map_err(Error::SerdeError)?;
        let request = http::Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(Error::HttpError)?;
        let made = self.client().request(request).await;
        if unmade && made.as_ref().is_err_and(is_refusal) {
            self.unmade.refused(name);
        }
        made
    }

    async fn make(
        &self,
        spec: &pod::Spec,
        access: &Access,
        namespace: &str,
        arch: Option<String>,
        events: &Events,
    ) -> Result<Created, Failure> {
        let cluster = self.cluster(spec, access, namespace, arch);
        let secret = cluster.pull_secret.clone();
        let doing =
            |verb: &str| format!("{verb} the pod {} in the namespace {namespace}", spec.name);
        let (pod, created) = match self.post(spec, cluster, namespace, events).await {
            Ok(pod) => (pod, Created::Created),
            // Made by an earlier call, of which perhaps only the answer was lost.
            Err(Error::Api(status)) if status.code == 409 => {
                if secret.is_none() {
                    return Ok(Created::AlreadyThere);
                }
                let listed = self.pods(spec.namespace.as_deref());
                let by_name = format!("metadata.name={}", spec.name);
                // A list: that is the right which a run has.
                let listed = listed.list(&ListParams::default().fields(&by_name)).await;
                match listed.map_err(|e| failure(&doing("list"), &e))?.items.pop() {
                    Some(pod) => (pod, Created::AlreadyThere),
                    None => return Err(watch::deleted(&spec.name)),
                }
            }
            Err(error) => return Err(failure(&doing("create"), &error)),
        };
        if let Some(secret) = &secret {
            pull_secret::hand_over(self.client(), namespace, secret, &pod).await?;
        }
        Ok(created)
    }

    /// Ends when the container runs, cannot run, or the pod is no more.
    pub(crate) async fn started(
        &self,
        spec: &pod::Spec,
        container: &str,
        events: Events,
    ) -> Result<(), Failure> {
        let namespace = self.namespace(spec.namespace.as_deref());
        let mut seen = self.seen(&spec.name, namespace, Some(events));
        let limit = Duration::from_millis(spec.init_timeout_ms);
        let until = seen.wait_for(|s| {
            s.gone.is_some()
                || s.denied.is_some()
                || s.started.contains(container)
                || s.failed.contains_key(container)
        });
        let end = tokio::time::timeout(limit, until)
            .await
            .map(|seen| seen.map(|seen| seen.clone()));
        match end {
            Ok(Ok(seen)) => match seen.denied.as_ref().or(seen.ended.get(container)) {
                Some(failure) => Err(failure.clone()),
                None if seen.started.contains(container) && seen.gone.is_none() => Ok(()),
                None => Err(seen
                    .failed
                    .get(container)
                    .or(seen.gone.as_ref())
                    .cloned()
                    .unwrap_or_else(|| over(container))),
            },
            Ok(Err(_)) => Err(over(container)),
            Err(_) => {
                let seen = seen.borrow();
                // What stands in the way of all containers is the pod's, not that of the one that was waited for.
                let whole = seen.blocked.as_ref();
                let whole = whole
                    .filter(|_| seen.started.is_empty() && !seen.trouble.contains_key(container));
                let what = match whole {
                    Some(_) => format!("the pod {}", spec.name),
                    None => format!("the container {container}"),
                };
                let why = seen.trouble.get(container).or(seen.blocked.as_ref());
                let why = why.map_or(
                    "its image or its volumes are still being made ready",
                    String::as_str,
                );
                Err(Failure {
                    kind: FailureKind::Timeout,
                    container: Some(container.to_owned()),
                    message: format!(
                        "{what} did not start within {} s (initTimeout): {why}",
                        limit.as_secs()
                    ),
                    help: None,
                })
            }
        }
    }

    /// Makes the agent's ConfigMap again where it was removed after the pod was made and before the kubelet had it.
    async fn keep_agent(&self, spec: &pod::Spec, namespace: &str) -> Failure {
        let name = self.agent.config_map();
        let mut seen = self.seen(&spec.name, namespace, None);
        let missing = |seen: &Seen| {
            let blocked = seen.blocked.as_deref().unwrap_or_default();
            blocked.contains(&name) && blocked.contains("not found")
        };
        if seen.wait_for(missing).await.is_ok() {
            let patience = Patience::new(Duration::from_millis(spec.init_timeout_ms), None);
            let ensured = patience.with(|| self.agent.ensure(self.client(), namespace));
            if let Err(failure) = ensured.await {
                return failure;
            }
        }
        std::future::pending().await
    }
}

/// The server has said that it made nothing.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Api(status) if matches!(status.code, 400 | 401 | 403 | 404 | 422))
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
        // What is wrong with it is told by the pod's creation.
        let arch = self.arch(spec).await.ok().flatten();
        let arch = arch.as_deref();
        let steps = spec
            .containers
            .iter()
            .map(|own| (&own.name[..], &own.image));
        let agent = spec.agent_image.iter().map(|own| (pod::SETUP_ADDON, own));
        let asked = steps.chain(agent).map(|(name, image)| async move {
            let facts = self.preflight.facts(name, image, arch, access).await;
            (name.to_owned(), facts)
        });
        let mut answers = BTreeMap::new();
        let mut digests = BTreeMap::new();
        for (name, answer) in futures_util::future::join_all(asked).await {
            let facts = answer.map(|(facts, own)| {
                digests.insert(name.clone(), own);
                facts
            });
            answers.insert(name, facts);
        }
        self.facts.keep(&spec.name, &answers);
        self.resolved.keep(&spec.name, digests);
        answers
    }

    async fn create(
        &self,
        spec: &pod::Spec,
        access: &Access,
        events: Events,
    ) -> Result<Created, Failure> {
        let namespace = self.namespace(spec.namespace.as_deref());
        if !pod::is_namespace(namespace) {
            let message = format!("`{namespace}` is no name of a namespace");
            return Err(configuration(message, pod::NAMESPACES));
        }
        let limit = Duration::from_millis(spec.init_timeout_ms);
        let stop = self.given_up.of(&spec.name);
        self.unmade.begin(&spec.name);
        if pull_secret::name(spec, access).is_some() {
            self.unmade.given(&spec.name);
        }
        let patience =
            Patience::new(limit, Some(events.clone())).unless(self.given_up.of(&spec.name));
        // Side by side: none waits for the others, the pod for all.
        let arch = patience.with(|| self.arch(spec));
        let agent = patience.with(|| async move {
            match spec.agent_image {
                Some(_) => Ok(()),
                None => self.agent.ensure(self.client(), namespace).await,
            }
        });
        let logins = patience.with(|| pull_secret::create(self.client(), namespace, spec, access));
        let (arch, (), ()) = tokio::try_join!(arch, agent, logins)?;
        // The watch comes first: no event of the pod can be missed.
        let _ = self.seen(&spec.name, namespace, Some(events.clone()));
        let made = patience.with(|| self.make(spec, access, namespace, arch.clone(), &events));
        let created = match made.await {
            Ok(created) => created,
            Err(failure) => {
                if pull_secret::name(spec, access).is_some() {
                    pull_secret::remove(self.client(), namespace, &spec.name).await;
                }
                return Err(failure);
            }
        };
        let kept = async {
            match spec.agent_image {
                Some(_) => std::future::pending().await,
                None => self.keep_agent(spec, namespace).await,
            }
        };
        tokio::select! {
            ready = self.open(spec, namespace, events) => ready?,
            failure = kept => return Err(failure),
            failure = stop.wait() => return Err(failure),
        }
        Ok(created)
    }

    fn give_up(&self, pod: &PodRef) {
        self.given_up.add(&pod.name);
    }

    async fn container(
        &self,
        spec: &pod::Spec,
        _access: &Access,
        container: &str,
        events: Events,
    ) -> Result<(), Failure> {
        if let Some(own) = spec.containers.iter().find(|own| own.name == container) {
            let namespace = self.namespace(spec.namespace.as_deref());
            let seen = self.seen(&spec.name, namespace, Some(events.clone()));
            let image = &own.image.reference;
            self.resolved
                .compare(&spec.name, container, image, seen, events.clone());
        }
        self.started(spec, container, events).await
    }

    async fn connect(&self, pod: &PodRef) -> Result<Box<dyn Carrier>, Failure> {
        let pods = self.pods(pod.namespace.as_deref());
        let namespace = self.namespace(pod.namespace.as_deref());
        let seen = self.seen(&pod.name, namespace, None);
        let lost = |seen: &Seen| {
            let ended = seen.ended.contains_key(pod::LITE_ENGINE);
            (ended || seen.failed.contains_key(pod::LITE_ENGINE)) && seen.gone.is_none()
        };
        if lost(&seen.borrow()) {
            return direct::open(pods, pod.name.clone()).await;
        }
        if let Some(carrier) = self.entered.take(&pod.name) {
            return Ok(carrier);
        }
        match carrier::enter(self.client(), &pod.name, namespace).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(_) if lost(&seen.borrow()) => direct::open(pods, pod.name.clone()).await,
            // There is no such pod: the watch may know why.
            Err(failure) if failure.kind == FailureKind::Gone => {
                let known = seen.borrow().gone.clone();
                Err(known.unwrap_or_else(|| watch::deleted(&pod.name)))
            }
            Err(failure) => Err(failure),
        }
    }

    /// By an exec into the container that the guest asks for: the first step runs before lite-engine does.
    async fn visit(&self, pod: &PodRef) -> Result<Box<dyn Carrier>, Failure> {
        direct::open(self.pods(pod.namespace.as_deref()), pod.name.clone()).await
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
        self.facts.forget(&pod.name);
        self.resolved.forget(&pod.name);
        self.given_up.forget(&pod.name);
        self.entered.take(&pod.name);
        if self.first && self.unmade.is_unmade(&pod.name) {
            return Ok(Deleted::NotThere);
        }
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
            Err(Error::Api(status)) if status.code == 404 => {
                let namespace = self.namespace(pod.namespace.as_deref());
                pull_secret::remove(self.client(), namespace, &pod.name).await;
                Ok(Deleted::NotThere)
            }
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
            pod.namespace
                .take_if(|name| *name == self.connection.namespace.name);
        }
        Ok(found)
    }
}

/// What finds a pod again, of the object.
pub(crate) fn reference(pod: Pod) -> Option<PodRef> {
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
        connector: None,
    })
}
