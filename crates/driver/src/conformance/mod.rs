//! What every backend promises, as cases that any backend's tests can run.
//!
//! A case makes a pod of its own, talks frames to the addons in it, and deletes it. It is told nothing of how the backend works:
//! what it checks it sees from inside the containers and through the [`Backend`](crate::backend::Backend) trait. The image needs
//! `/bin/sh`, `cat`, `chmod`, `grep`, `id`, `ln`, `readlink`, `sleep`, `tail`, `touch` and `wc`: any distribution's or busybox will do.
//!
//! Run all of [`CASES`]; a backend's own tests add what only it can check (processes, mounts, control groups left).

mod cases;
mod talk;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use addon::frame::Attempt;
use pipeline::pod;
use tokio::sync::mpsc;

use crate::backend::{Access, Backend, Created, Failure, PodEvent, PodRef};

pub use cases::CASES;
pub use talk::{Talk, script};

/// What a case found wrong, for people.
pub type Wrong = String;

/// A case: `Err` says what is not as it should be.
pub type Case =
    for<'a> fn(&'a World<'a>) -> Pin<Box<dyn Future<Output = Result<(), Wrong>> + Send + 'a>>;

/// The backend under test.
pub struct World<'a> {
    /// It.
    pub backend: &'a dyn Backend,
    /// The image of all containers: a reference as a pipeline has it.
    pub image: String,
    /// Unique among the tests that run at the same time: a part of every pod's name.
    pub prefix: String,
    /// Whether containers can run as several users (not in a user namespace of one id).
    pub users: bool,
}

/// A pod of a case.
pub struct Pod<'a> {
    world: &'a World<'a>,
    /// As it was asked for.
    pub spec: pod::Spec,
    /// What its backend said.
    pub events: mpsc::UnboundedReceiver<PodEvent>,
    send: mpsc::UnboundedSender<PodEvent>,
}

impl World<'_> {
    /// A pod with these containers, as the planner would describe it; a case changes what it is about.
    pub fn spec(&self, case: &str, containers: &[&str]) -> pod::Spec {
        pod::Spec {
            name: format!("{}-{case}", self.prefix),
            run: format!("run-{}-{case}", self.prefix),
            group: "stages.s.steps.g".to_owned(),
            connector: None,
            namespace: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            os: "linux".to_owned(),
            arch: None,
            service_account: None,
            automount: None,
            priority_class: None,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            host_names: vec!["elsewhere".to_owned()],
            run_as_user: None,
            security: pod::Security::default(),
            init_timeout_ms: 60_000,
            volumes: vec![volume("harness", pod::WORKSPACE)],
            containers: containers.iter().map(|name| self.container(name)).collect(),
            requests: pod::Amounts::default(),
            agent_image: None,
            overlay: None,
            network: pod::Network::Private,
            notes: Vec::new(),
        }
    }

    fn container(&self, name: &str) -> pod::Container {
        pod::Container {
            name: name.to_owned(),
            steps: vec![format!("stages.s.steps.g.steps.{name}")],
            image: pod::Image {
                reference: self.image.clone(),
                connector: None,
                pull: pod::Pull::IfNotPresent,
            },
            background: false,
            security: pod::Security::default(),
            resources: pod::Resources::default(),
            share: pod::Amounts::default(),
        }
    }

    /// Makes a pod; its containers follow by [`Pod::container`].
    pub async fn pod(&self, spec: pod::Spec) -> Result<Pod<'_>, Wrong> {
        let (send, events) = mpsc::unbounded_channel();
        for (name, answer) in self.backend.preflight(&spec, &Access::default()).await {
            answer.map_err(|f| format!("preflight of {name}: {f}"))?;
        }
        let created = self
            .backend
            .create(&spec, &Access::default(), send.clone())
            .await;
        match created {
            Ok(Created::Created) => {}
            other => return Err(format!("creating {}: {other:?}", spec.name)),
        }
        let mut pod = self.adopt(spec);
        (pod.send, pod.events) = (send, events);
        Ok(pod)
    }

    /// A pod that another driver made.
    pub fn adopt(&self, spec: pod::Spec) -> Pod<'_> {
        let (send, events) = mpsc::unbounded_channel();
        Pod {
            world: self,
            spec,
            events,
            send,
        }
    }

    /// A pod in which all containers stand.
    pub async fn running(&self, spec: pod::Spec) -> Result<Pod<'_>, Wrong> {
        let pod = self.pod(spec).await?;
        for container in &pod.spec.containers {
            pod.container(&container.name)
                .await
                .map_err(|f| format!("container {}: {f}", container.name))?;
        }
        Ok(pod)
    }
}

impl Pod<'_> {
    /// What finds it again.
    pub fn pod_ref(&self) -> PodRef {
        PodRef {
            name: self.spec.name.clone(),
            namespace: self.spec.namespace.clone(),
            run: self.spec.run.clone(),
            group: self.spec.group.clone(),
            connector: self.spec.connector.clone(),
        }
    }

    /// Makes a container.
    pub async fn container(&self, name: &str) -> Result<(), Failure> {
        let access = Access::default();
        self.world
            .backend
            .container(&self.spec, &access, name, self.send.clone())
            .await
    }

    /// A conversation with a container's addon over a new connection.
    pub async fn talk(&self, container: &str) -> Result<Talk, Wrong> {
        self.talk_again(container, None).await
    }

    /// The same, by a driver that has this much of an attempt's output.
    pub async fn talk_again(
        &self,
        container: &str,
        known: Option<(Attempt, u64)>,
    ) -> Result<Talk, Wrong> {
        let carrier = self
            .world
            .backend
            .connect(&self.pod_ref())
            .await
            .map_err(|f| format!("connecting to {}: {f}", self.spec.name))?;
        Talk::open(carrier, &self.spec.run, container, known).await
    }

    /// Runs a script in a container and gives its output and exit code.
    pub async fn sh(&self, container: &str, text: &str) -> Result<(String, i32), Wrong> {
        let mut talk = self.talk(container).await?;
        talk.run(container, text).await
    }

    /// Runs a script that must succeed; its output without white space at the ends.
    pub async fn ok(&self, container: &str, text: &str) -> Result<String, Wrong> {
        match self.sh(container, text).await? {
            (output, 0) => Ok(output.trim().to_owned()),
            (output, code) => Err(format!("`{text}` ended with {code}: {output}")),
        }
    }

    /// Deletes it, and checks that its backend knows it no more.
    pub async fn delete(self) -> Result<(), Wrong> {
        let pod = self.pod_ref();
        let deleted = self
            .world
            .backend
            .delete(&pod, Duration::from_millis(200))
            .await;
        deleted.map_err(|f| format!("deleting {}: {f}", pod.name))?;
        let left = self
            .world
            .backend
            .list()
            .await
            .map_err(|f| format!("listing: {f}"))?;
        if left.contains(&pod) {
            return Err(format!("{} is still listed", pod.name));
        }
        Ok(())
    }
}

/// An empty directory as a volume.
pub fn volume(name: &str, path: &str) -> pod::Volume {
    pod::Volume {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        source: pod::Source::EmptyDir {
            memory: false,
            size_bytes: None,
        },
    }
}

/// `Err` where two values differ.
pub fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &T,
    wanted: &T,
) -> Result<(), Wrong> {
    if found == wanted {
        Ok(())
    } else {
        Err(format!("{what}: {found:?} instead of {wanted:?}"))
    }
}

/// `Err` where something does not hold.
pub fn holds(what: &str, held: bool, found: &impl std::fmt::Debug) -> Result<(), Wrong> {
    if held {
        Ok(())
    } else {
        Err(format!("{what}: {found:?}"))
    }
}
