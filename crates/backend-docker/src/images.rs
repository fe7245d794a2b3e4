//! Images on the engine: it pulls them itself.

use std::time::Instant;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::query_parameters::CreateImageOptionsBuilder;
use driver::backend::{Access, EventKind, Events, Failure, FailureKind, ImageFacts, PodEvent};
use futures_util::StreamExt as _;
use pipeline::pod::{Container, Pull};

use crate::backend::{failure, say};

/// The schemes that only a backend with an image store of its own can read.
const NATIVE_ONLY: [&str; 4] = ["host:", "oci:", "oci-archive:", "docker-archive:"];

/// Has the engine hold this container's image, as its pull policy says, and answers what it starts.
pub(crate) async fn ensure(
    docker: &Docker,
    container: &Container,
    access: &Access,
    events: Option<&Events>,
) -> Result<ImageFacts, Failure> {
    let image = &container.image.reference;
    let about = |failure: Failure| Failure {
        container: Some(container.name.clone()),
        ..failure
    };
    if NATIVE_ONLY.iter().any(|scheme| image.starts_with(scheme)) {
        return Err(about(Failure {
            kind: FailureKind::Configuration,
            container: None,
            message: format!("the image {image:?} cannot be used with a container engine"),
            help: Some("run it with `--backend native`, or name an image of a registry".to_owned()),
        }));
    }
    let here = present(docker, image).await.map_err(&about)?;
    let say = |kind, reason: &str, message: String| {
        if let Some(events) = events {
            say(events, Some(&container.name), kind, reason, message);
        }
    };
    match (container.image.pull, here) {
        (Pull::IfNotPresent | Pull::Never, Some(facts)) => {
            say(
                EventKind::Normal,
                "Pulled",
                format!("Container image \"{image}\" already present on machine"),
            );
            return Ok(facts);
        }
        (Pull::Never, None) => {
            return Err(about(Failure {
                kind: FailureKind::Image,
                container: None,
                message: format!(
                    "the image {image:?} is not on the engine, and imagePullPolicy is Never"
                ),
                help: Some("pull it, or let imagePullPolicy be IfNotPresent".to_owned()),
            }));
        }
        (Pull::Always | Pull::IfNotPresent, _) => {}
    }
    say(
        EventKind::Normal,
        "Pulling",
        format!("Pulling image \"{image}\""),
    );
    let start = Instant::now();
    pull(docker, image, container.image.connector.as_deref(), access)
        .await
        .map_err(&about)?;
    let took = start.elapsed();
    say(
        EventKind::Normal,
        "Pulled",
        format!(
            "Successfully pulled image \"{image}\" in {}ms",
            took.as_millis()
        ),
    );
    present(docker, image)
        .await
        .map_err(&about)?
        .ok_or_else(|| {
            about(Failure {
                kind: FailureKind::Image,
                container: None,
                message: format!("the engine pulled the image {image:?} but does not hold it"),
                help: None,
            })
        })
}

/// What the engine knows of an image; none where it does not hold it.
async fn present(docker: &Docker, image: &str) -> Result<Option<ImageFacts>, Failure> {
    let found = match docker.inspect_image(image).await {
        Ok(found) => found,
        Err(Error::DockerResponseServerError {
            status_code: 404, ..
        }) => return Ok(None),
        Err(error) => {
            return Err(failure(
                &format!("ask the engine for the image {image:?}"),
                &error,
            ));
        }
    };
    let config = found.config.unwrap_or_default();
    let env = config.env.unwrap_or_default();
    let os = found.os.unwrap_or_else(|| "linux".to_owned());
    Ok(Some(ImageFacts {
        digest: found
            .repo_digests
            .unwrap_or_default()
            .first()
            .and_then(|d| d.split_once('@'))
            .map(|(_, d)| d.to_owned()),
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
        env: env
            .iter()
            .filter_map(|e| e.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
        user: config.user.filter(|u| !u.is_empty()),
        platform: format!("{os}/{}", found.architecture.unwrap_or_default()),
    }))
}

async fn pull(
    docker: &Docker,
    image: &str,
    connector: Option<&str>,
    access: &Access,
) -> Result<(), Failure> {
    let login = connector.and_then(|c| access.registries.get(c));
    let credentials = login.and_then(|login| {
        Some(DockerCredentials {
            username: Some(login.username.clone()?),
            password: login.password.clone(),
            serveraddress: Some(login.server.clone()),
            ..DockerCredentials::default()
        })
    });
    let options = CreateImageOptionsBuilder::new().from_image(image).build();
    let mut stream = std::pin::pin!(docker.create_image(Some(options), None, credentials));
    while let Some(progress) = stream.next().await {
        let trouble = match progress {
            Ok(info) => info.error_detail.and_then(|e| e.message),
            Err(Error::DockerStreamError { error }) => Some(error),
            Err(Error::DockerResponseServerError { message, .. }) => Some(message),
            Err(error) => return Err(failure(&format!("pull the image {image:?}"), &error)),
        };
        if let Some(reason) = trouble {
            return Err(pull_failure(image, &reason, login.is_some()));
        }
    }
    Ok(())
}

/// Engines give one status for every failed pull: which trouble it is stands only in the words of the registry.
fn pull_failure(image: &str, reason: &str, with_login: bool) -> Failure {
    let lower = reason.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    let (kind, help) = if has(&[
        "unauthorized",
        "authentication required",
        "access denied",
        "denied:",
    ]) {
        let help = if with_login {
            "check the connector's username and password"
        } else {
            "name a connector with a login in `connectorRef`"
        };
        (FailureKind::Authentication, Some(help.to_owned()))
    } else if has(&[
        "connection refused",
        "no such host",
        "i/o timeout",
        "dial tcp",
        "deadline exceeded",
    ]) {
        (
            FailureKind::Connectivity,
            Some("check that the engine can reach the registry".to_owned()),
        )
    } else if has(&["no space left"]) {
        (FailureKind::Resources, None)
    } else {
        (FailureKind::Image, None)
    };
    Failure {
        kind,
        container: None,
        message: format!("failed to pull the image {image:?}: {}", reason.trim()),
        help,
    }
}

/// An event of now.
pub(crate) fn event(
    container: Option<&str>,
    kind: EventKind,
    reason: &str,
    message: String,
) -> PodEvent {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    PodEvent {
        at_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        container: container.map(str::to_owned),
        kind,
        reason: reason.to_owned(),
        message,
    }
}
