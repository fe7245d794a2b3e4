//! Between this crate and a backend: what a pod's image is asked with, and what the answer means to a driver.

use driver::backend::{Access, Failure, FailureKind, ImageFacts};
use pipeline::pod;

use crate::{Error, Facts, Kind, Login, Pull, Want};

/// What a container's image is asked with: its pull policy, and the login of its connector where one is known.
pub fn want(image: &pod::Image, access: &Access) -> Want {
    let login = image
        .connector
        .as_ref()
        .and_then(|c| access.registries.get(c));
    Want {
        pull: match image.pull {
            pod::Pull::Always => Pull::Always,
            pod::Pull::IfNotPresent => Pull::IfNotPresent,
            pod::Pull::Never => Pull::Never,
        },
        login: login.and_then(|login| {
            Some(Login {
                server: Some(login.server.clone()).filter(|s| !s.is_empty()),
                username: login.username.clone()?,
                password: login.password.clone().unwrap_or_default(),
            })
        }),
        ..Want::default()
    }
}

/// What is known of an image, for a driver.
pub fn facts(digest: Option<String>, facts: Facts) -> ImageFacts {
    ImageFacts {
        digest,
        entrypoint: facts.entrypoint,
        cmd: facts.cmd,
        env: facts.env,
        user: facts.user,
        platform: facts.platform.to_string(),
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
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
}
