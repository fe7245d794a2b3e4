//! The backend itself.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, EventsOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use driver::backend::{
    Access, Backend, Carrier, Created, Deleted, EventKind, Events, Failure, FailureKind,
    ImageFacts, PodRef,
};
use futures_util::StreamExt as _;
use pipeline::pod;

use crate::agent::{Agent, PROGRAM};
use crate::carrier::ExecStream;
use crate::{containers, images, names, volumes};

/// Containers that are made before their steps begin: an engine takes a good part of a second for each.
const AHEAD: usize = 8;

/// Pods on one container engine.
pub struct Docker {
    client: bollard::Docker,
    agent: Agent,
}

impl Docker {
    /// A backend over an engine, with the agent (a static binary for the engine's architecture) and its hex sha256.
    pub fn new(client: bollard::Docker, agent: &'static [u8], digest: String) -> Self {
        Self {
            client,
            agent: Agent {
                bytes: agent,
                digest,
            },
        }
    }

    /// Makes and starts a container; one that is there is started where it is not running.
    async fn start(
        &self,
        name: &str,
        body: ContainerCreateBody,
        open: &[String],
    ) -> Result<Created, Failure> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let created = match self.client.create_container(Some(options), body).await {
            Ok(_) => Created::Created,
            // Docker answers 409 where the name is taken, Podman 500: what is there says more.
            Err(_) if self.state(name).await?.is_some() => Created::AlreadyThere,
            Err(error) => return Err(failure(&format!("create the container {name}"), &error)),
        };
        if created == Created::Created && !open.is_empty() {
            volumes::open(&self.client, name, open).await?;
        }
        match self.client.start_container(name, None).await {
            Ok(())
            | Err(Error::DockerResponseServerError {
                status_code: 304, ..
            }) => Ok(created),
            Err(error) => Err(failure(&format!("start the container {name}"), &error)),
        }
    }

    /// Stops a container within `grace` and removes it.
    async fn remove(&self, id: String, grace: Duration) -> Result<(), Failure> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(30);
        if seconds > 0 {
            let stop = StopContainerOptionsBuilder::new().t(seconds).build();
            // One that is over or gone needs no stop; whatever else is wrong, the removal says.
            let _ = self.client.stop_container(&id, Some(stop)).await;
        }
        let remove = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        match self.client.remove_container(&id, Some(remove)).await {
            Ok(())
            | Err(Error::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(()),
            Err(error) => Err(failure(&format!("remove the container {id}"), &error)),
        }
    }

    async fn state(&self, name: &str) -> Result<Option<ContainerInspectResponse>, Failure> {
        match self.client.inspect_container(name, None).await {
            Ok(found) => Ok(Some(found)),
            Err(Error::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(None),
            Err(error) => Err(failure(&format!("inspect the container {name}"), &error)),
        }
    }

    /// Every container of ours that carries this label.
    async fn labelled(
        &self,
        label: String,
    ) -> Result<Vec<bollard::models::ContainerSummary>, Failure> {
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        self.client
            .list_containers(Some(options))
            .await
            .map_err(|e| failure("list containers", &e))
    }

    /// Ends when the engine says that this container died or was removed, or that it is not running now.
    async fn died(&self, name: &str) -> Failure {
        let filters = HashMap::from([
            ("container".to_owned(), vec![name.to_owned()]),
            (
                "event".to_owned(),
                vec![
                    "die".to_owned(),
                    "died".to_owned(),
                    "destroy".to_owned(),
                    "remove".to_owned(),
                ],
            ),
        ]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let mut events = std::pin::pin!(self.client.events(Some(options)));
        // Subscribed first, looked second: an end in between is seen by one of them.
        let first = futures_util::poll!(events.next());
        match self.state(name).await {
            Ok(Some(found)) if running(&found) => {
                if first.is_pending() {
                    events.next().await;
                }
                self.end(name).await
            }
            Ok(_) => self.end(name).await,
            Err(failure) => failure,
        }
    }

    /// How a container ended, in words.
    async fn end(&self, name: &str) -> Failure {
        over(name, self.state(name).await.ok().flatten())
    }
}

/// A container that is no more, as the engine tells it.
fn over(name: &str, found: Option<ContainerInspectResponse>) -> Failure {
    let mut kind = FailureKind::Gone;
    let mut help = None;
    let why = match found.and_then(|found| found.state) {
        None => "it was removed".to_owned(),
        Some(state) if state.oom_killed == Some(true) => {
            kind = FailureKind::Resources;
            help = Some("raise spec.resources.limits.memory of the step".to_owned());
            "it was killed for memory".to_owned()
        }
        Some(state) => match state.error.filter(|e| !e.is_empty()) {
            Some(error) => error,
            None => format!(
                "it ended with exit code {}",
                state.exit_code.unwrap_or_default()
            ),
        },
    };
    Failure {
        kind,
        container: None,
        message: format!("the container {name} is gone: {why}"),
        help,
    }
}

/// It has run, and does not any more.
fn is_over(found: &ContainerInspectResponse) -> bool {
    let status = found.state.as_ref().and_then(|s| s.status);
    matches!(
        status,
        Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD)
    )
}

fn running(found: &ContainerInspectResponse) -> bool {
    found
        .state
        .as_ref()
        .and_then(|s| s.running)
        .unwrap_or(false)
}

#[async_trait]
impl Backend for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn preflight(
        &self,
        spec: &pod::Spec,
        access: &Access,
    ) -> BTreeMap<String, Result<ImageFacts, Failure>> {
        let asked = spec.containers.iter().map(|container| async move {
            (
                container.name.clone(),
                images::ensure(&self.client, container, access, None).await,
            )
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
        let first = spec.containers.first().ok_or_else(|| Failure {
            kind: FailureKind::Configuration,
            container: None,
            message: format!("the pod {} has no container", spec.name),
            help: None,
        })?;
        let lite_engine = pod::Container {
            name: pod::LITE_ENGINE.to_owned(),
            ..first.clone()
        };
        images::ensure(&self.client, &lite_engine, access, Some(&events)).await?;
        let image = &first.image.reference;
        self.agent.ensure(&self.client, image).await?;
        volumes::create(&self.client, spec).await?;
        let mut open: Vec<String> = spec
            .volumes
            .iter()
            .filter(|v| {
                matches!(
                    v.source,
                    pod::Source::EmptyDir { memory: false, .. }
                        | pod::Source::Claim {
                            read_only: false,
                            ..
                        }
                )
            })
            .map(|v| v.mount_path.clone())
            .collect();
        open.extend(
            spec.containers
                .iter()
                .map(|c| format!("{}/{}", containers::SLICES, c.name)),
        );
        let name = names::anchor(&spec.name);
        let created = self
            .start(&name, containers::anchor(spec, image, &self.agent), &open)
            .await?;
        for (reason, verb) in [("Created", "Created"), ("Started", "Started")] {
            say(
                &events,
                Some(pod::LITE_ENGINE),
                EventKind::Normal,
                reason,
                format!("{verb} container {}", pod::LITE_ENGINE),
            );
        }
        Ok(created)
    }

    async fn container(
        &self,
        spec: &pod::Spec,
        access: &Access,
        container: &str,
        events: Events,
    ) -> Result<(), Failure> {
        let about = |failure: Failure| Failure {
            container: Some(container.to_owned()),
            ..failure
        };
        let wanted = spec
            .containers
            .iter()
            .find(|c| c.name == container)
            .ok_or_else(|| {
                about(Failure {
                    kind: FailureKind::Configuration,
                    container: None,
                    message: format!("the pod {} has no container {container}", spec.name),
                    help: None,
                })
            })?;
        let name = names::container(&spec.name, container);
        // Made by an earlier call: it runs, or it ran and is not started a second time.
        match self.state(&name).await.map_err(about)? {
            Some(found) if running(&found) => return Ok(()),
            Some(found) if is_over(&found) => return Err(about(over(container, Some(found)))),
            _ => {}
        }
        let facts = images::ensure(&self.client, wanted, access, Some(&events)).await?;
        if wanted.security.run_as_non_root == Some(true) && runs_as_root(wanted, spec, &facts) {
            return Err(about(Failure {
                kind: FailureKind::Configuration,
                container: None,
                message: format!(
                    "the container {container} has runAsNonRoot and would run as user 0"
                ),
                help: Some(
                    "set runAsUser to another user, or use an image whose USER is not root"
                        .to_owned(),
                ),
            }));
        }
        let created = self
            .start(&name, containers::step(spec, wanted, &self.agent), &[])
            .await
            .map_err(about)?;
        if created == Created::Created {
            say(
                &events,
                Some(container),
                EventKind::Normal,
                "Created",
                format!("Created container {container}"),
            );
        }
        say(
            &events,
            Some(container),
            EventKind::Normal,
            "Started",
            format!("Started container {container}"),
        );
        Ok(())
    }

    fn ahead(&self) -> usize {
        AHEAD
    }

    async fn connect(&self, pod: &PodRef) -> Result<Box<dyn Carrier>, Failure> {
        let anchor = names::anchor(&pod.name);
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(vec![PROGRAM, "connect", "--socket", containers::SOCKET]),
            ..CreateExecOptions::default()
        };
        let exec = match self.client.create_exec(&anchor, options).await {
            Ok(exec) => exec,
            // 409: the container is there but does not run.
            Err(Error::DockerResponseServerError {
                status_code: 404 | 409,
                ..
            }) => return Err(self.end(&anchor).await),
            Err(error) => {
                return Err(failure(
                    &format!("exec into the container {anchor}"),
                    &error,
                ));
            }
        };
        match self.client.start_exec(&exec.id, None).await {
            Ok(StartExecResults::Attached { output, input }) => {
                Ok(Box::new(ExecStream::new(output, input)))
            }
            Ok(StartExecResults::Detached) => Err(Failure {
                kind: FailureKind::Infrastructure,
                container: None,
                message: format!("the engine did not attach to the exec in {anchor}"),
                help: None,
            }),
            Err(error) => Err(failure(
                &format!("exec into the container {anchor}"),
                &error,
            )),
        }
    }

    async fn gone(&self, pod: &PodRef) -> Failure {
        self.died(&names::anchor(&pod.name)).await
    }

    async fn ended(&self, pod: &PodRef, container: &str) -> Option<Failure> {
        let name = names::container(&pod.name, container);
        // An engine that does not answer says nothing of the container.
        let found = self.state(&name).await.ok()?;
        match found {
            Some(found) if !is_over(&found) => None,
            found => Some(over(container, found)),
        }
    }

    async fn delete(&self, pod: &PodRef, grace: Duration) -> Result<Deleted, Failure> {
        let found = self
            .labelled(format!("{}={}", names::POD, pod.name))
            .await?;
        let outcome = if found.is_empty() {
            Deleted::NotThere
        } else {
            Deleted::Deleted
        };
        // The anchor last: an engine keeps a container whose network others have joined.
        let anchor = format!("/{}", names::anchor(&pod.name));
        let (anchors, steps): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|c| c.names.iter().flatten().any(|name| *name == anchor));
        for part in [steps, anchors] {
            let removals = part
                .into_iter()
                .filter_map(|c| c.id)
                .map(|id| self.remove(id, grace));
            for removed in futures_util::future::join_all(removals).await {
                removed?;
            }
        }
        volumes::remove(&self.client, &pod.name).await?;
        Ok(outcome)
    }

    async fn list(&self) -> Result<Vec<PodRef>, Failure> {
        let found = self.labelled(names::POD.to_owned()).await?;
        let mut pods: Vec<PodRef> = found
            .into_iter()
            .filter_map(|container| {
                let labels = container.labels?;
                Some(PodRef {
                    name: labels.get(names::POD)?.clone(),
                    namespace: None,
                    run: labels.get(names::RUN)?.clone(),
                    group: labels.get(names::GROUP)?.clone(),
                    connector: None,
                })
            })
            .collect();
        pods.sort();
        pods.dedup();
        Ok(pods)
    }
}

fn runs_as_root(container: &pod::Container, spec: &pod::Spec, facts: &ImageFacts) -> bool {
    match container
        .security
        .run_as_user
        .as_ref()
        .or(spec.run_as_user.as_ref())
    {
        Some(pod::User::Id(id)) => *id == 0,
        Some(pod::User::Name(name)) => name == "root",
        None => {
            let user = facts.user.as_deref().unwrap_or("0");
            matches!(user.split(':').next(), Some("" | "0" | "root"))
        }
    }
}

/// Tells an event of now.
pub(crate) fn say(
    to: &Events,
    container: Option<&str>,
    kind: EventKind,
    reason: &str,
    message: String,
) {
    // Nobody listens any more: the run is over.
    let _ = to.send(images::event(container, kind, reason, message));
}

/// What the engine says, as a failure. `doing` completes "failed to".
pub(crate) fn failure(doing: &str, error: &Error) -> Failure {
    let (kind, reason) = match error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => {
            let kind = match status_code {
                404 => FailureKind::Gone,
                400 => FailureKind::Configuration,
                401 | 403 => FailureKind::Authorization,
                _ if message.contains("no space left") => FailureKind::Resources,
                _ => FailureKind::Infrastructure,
            };
            (kind, message.trim().to_owned())
        }
        other => (FailureKind::Connectivity, other.to_string()),
    };
    Failure {
        kind,
        container: None,
        message: format!("failed to {doing}: {reason}"),
        help: None,
    }
}
