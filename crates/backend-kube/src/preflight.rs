//! What the images of a pod are, asked of their registries from here, beside the pod's creation.

use driver::backend::{Access, Failure, FailureKind, ImageFacts};
use image::backend::want;
use image::{Client, Kind, Platform, Pull, Reference, Want};
use pipeline::pod::{self, Image};

use crate::asking::Asking;
use crate::moved::Digests;

/// What an answer depends on: the image, its connector, whether it is never pulled, and the architecture.
type Wanted = (String, Option<String>, bool, Option<String>);

/// Asks registries: the same image of several containers, or of groups that start side by side, once.
pub(crate) struct Preflight {
    images: Client,
    asking: Asking<Wanted, Result<(ImageFacts, Digests), Failure>>,
}

impl Preflight {
    pub(crate) fn new(images: Client) -> Self {
        Self {
            images,
            asking: Asking::default(),
        }
    }

    /// What a container's image starts, on nodes of this architecture, and the digests that it may run by.
    pub(crate) async fn facts(
        &self,
        container: &str,
        image: &Image,
        arch: Option<&str>,
        access: &Access,
    ) -> Result<(ImageFacts, Digests), Failure> {
        let wanted = (
            image.reference.clone(),
            image.connector.clone(),
            image.pull == pod::Pull::Never,
            arch.map(str::to_owned),
        );
        let answer = self
            .asking
            .answer(wanted, || facts(&self.images, image, arch, access));
        answer.await.map_err(|failure| Failure {
            container: Some(container.to_owned()),
            ..failure
        })
    }
}

/// Where only the cluster may have an image, nothing is known and nothing is wrong.
async fn facts(
    images: &Client,
    image: &Image,
    arch: Option<&str>,
    access: &Access,
) -> Result<(ImageFacts, Digests), Failure> {
    let reference: Reference = image.reference.parse().map_err(|e| Failure::from(&e))?;
    if !matches!(reference, Reference::Registry(_)) {
        return Err(Failure {
            kind: FailureKind::Configuration,
            container: None,
            message: format!(
                "the image {:?} cannot be used in a cluster",
                image.reference
            ),
            help: Some("name an image of a registry, or run it without --kube".to_owned()),
        });
    }
    if image.pull == pod::Pull::Never {
        return Ok((ImageFacts::default(), Digests::new()));
    }
    let want = Want {
        // This machine's own store says nothing of the cluster's.
        pull: Pull::Always,
        platform: platform(arch),
        ..want(image, access)
    };
    match images.inspect(&reference, &want).await {
        Ok(found) => {
            let digests = found.digest.iter().chain(&found.index).cloned().collect();
            Ok((image::backend::facts(found.digest, found.facts), digests))
        }
        // A registry that only the cluster can reach: the kubelet says what is wrong, if anything is.
        Err(error) if matches!(error.kind(), Kind::Connectivity | Kind::Timeout) => {
            Ok((ImageFacts::default(), Digests::new()))
        }
        Err(error) => Err(Failure::from(&error)),
    }
}

/// Linux on an architecture; where none is known, on this machine's.
fn platform(arch: Option<&str>) -> Platform {
    arch.and_then(|arch| format!("linux/{arch}").parse().ok())
        .unwrap_or_else(Platform::here)
}
