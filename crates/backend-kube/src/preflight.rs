//! What the images of a pod are, asked of their registries from here, beside the pod's creation.

use driver::backend::{Access, Failure, FailureKind, ImageFacts};
use image::{Client, Kind, Login, Platform, Pull, Reference, Want};
use pipeline::pod::{self, Container};

/// What a container's image starts. Where only the cluster may have it, nothing is known and nothing is wrong.
pub(crate) async fn facts(
    images: &Client,
    container: &Container,
    access: &Access,
) -> Result<ImageFacts, Failure> {
    let about = |error: &image::Error| Failure {
        container: Some(container.name.clone()),
        ..failure(error)
    };
    let reference: Reference = container.image.reference.parse().map_err(|e| about(&e))?;
    if !matches!(reference, Reference::Registry(_)) {
        return Err(Failure {
            kind: FailureKind::Configuration,
            container: Some(container.name.clone()),
            message: format!(
                "the image {:?} cannot be used in a cluster",
                container.image.reference
            ),
            help: Some("name an image of a registry, or run it without --kube".to_owned()),
        });
    }
    if container.image.pull == pod::Pull::Never {
        return Ok(ImageFacts::default());
    }
    let login = container
        .image
        .connector
        .as_ref()
        .and_then(|c| access.registries.get(c));
    let want = Want {
        // This machine's own store says nothing of the cluster's.
        pull: Pull::Always,
        platform: Platform::here(),
        login: login.and_then(|login| {
            Some(Login {
                server: Some(login.server.clone()).filter(|s| !s.is_empty()),
                username: login.username.clone()?,
                password: login.password.clone().unwrap_or_default(),
            })
        }),
    };
    match images.inspect(&reference, &want).await {
        Ok(found) => Ok(ImageFacts {
            digest: found.digest,
            entrypoint: found.facts.entrypoint,
            cmd: found.facts.cmd,
            env: found.facts.env,
            user: found.facts.user,
            platform: found.facts.platform.to_string(),
        }),
        // A registry that only the cluster can reach: the kubelet says what is wrong, if anything is.
        Err(error) if matches!(error.kind(), Kind::Connectivity | Kind::Timeout) => {
            Ok(ImageFacts::default())
        }
        Err(error) => Err(about(&error)),
    }
}

fn failure(error: &image::Error) -> Failure {
    Failure {
        kind: match error.kind() {
            Kind::Image => FailureKind::Image,
            Kind::Authentication => FailureKind::Authentication,
            Kind::Authorization => FailureKind::Authorization,
            Kind::Connectivity => FailureKind::Connectivity,
            Kind::Resources => FailureKind::Resources,
            Kind::Configuration => FailureKind::Configuration,
            Kind::Timeout => FailureKind::Timeout,
            Kind::Infrastructure => FailureKind::Infrastructure,
        },
        container: None,
        message: error.to_string(),
        help: error.help(),
    }
}
