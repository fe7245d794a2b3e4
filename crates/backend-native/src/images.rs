//! From an image's name to layers on the disk.

use driver::backend::{Access, Failure, FailureKind, ImageFacts};
use pipeline::pod::Image;

use crate::control::Root;

/// The image that is this machine itself.
pub(crate) const HOST: &str = "host:/";

/// An image that is here.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) facts: ImageFacts,
    pub(crate) root: Root,
    /// How long its pull took; none where it was here.
    pub(crate) pulled: Option<std::time::Duration>,
}

/// Finds an image, or fetches it.
#[expect(clippy::unused_async, reason = "a registry is asked here")]
pub(crate) async fn resolve(image: &Image, _access: &Access) -> Result<Resolved, Failure> {
    if image.reference == HOST {
        return Ok(host());
    }
    Err(Failure {
        kind: FailureKind::Image,
        container: None,
        message: format!(
            "the image {} cannot be had: only {HOST} can yet",
            image.reference
        ),
        help: None,
    })
}

fn host() -> Resolved {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Resolved {
        facts: ImageFacts {
            platform: format!("linux/{arch}"),
            ..ImageFacts::default()
        },
        root: Root::Host,
        pulled: None,
    }
}
