//! What the images of a pod are, asked of their registries from here, beside the pod's creation.

use driver::backend::{Access, Failure, FailureKind, ImageFacts};
use image::backend::want;
use image::{Client, Kind, Platform, Pull, Reference, Want};
use pipeline::pod::{self, Image};

/// What a container's image starts, on nodes of this architecture. Where only the cluster may have it, nothing is known and
/// nothing is wrong.
pub(crate) async fn facts(
    images: &Client,
    container: &str,
    image: &Image,
    arch: Option<&str>,
    access: &Access,
) -> Result<ImageFacts, Failure> {
    let about = |error: &image::Error| Failure {
        container: Some(container.to_owned()),
        ..Failure::from(error)
    };
    let reference: Reference = image.reference.parse().map_err(|e| about(&e))?;
    if !matches!(reference, Reference::Registry(_)) {
        return Err(Failure {
            kind: FailureKind::Configuration,
            container: Some(container.to_owned()),
            message: format!(
                "the image {:?} cannot be used in a cluster",
                image.reference
            ),
            help: Some("name an image of a registry, or run it without --kube".to_owned()),
        });
    }
    if image.pull == pod::Pull::Never {
        return Ok(ImageFacts::default());
    }
    let want = Want {
        // This machine's own store says nothing of the cluster's.
        pull: Pull::Always,
        platform: platform(arch),
        ..want(image, access)
    };
    match images.inspect(&reference, &want).await {
        Ok(found) => Ok(image::backend::facts(found.digest, found.facts)),
        // A registry that only the cluster can reach: the kubelet says what is wrong, if anything is.
        Err(error) if matches!(error.kind(), Kind::Connectivity | Kind::Timeout) => {
            Ok(ImageFacts::default())
        }
        Err(error) => Err(about(&error)),
    }
}

/// Linux on an architecture; where none is known, on this machine's.
fn platform(arch: Option<&str>) -> Platform {
    arch.and_then(|arch| format!("linux/{arch}").parse().ok())
        .unwrap_or_else(Platform::here)
}
