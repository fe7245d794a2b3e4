//! Which image is meant, when its registry is asked, and whether it needs all rights.

use crate::model::{self, ConnectorSpec, Entities, Ref};
use crate::pod::Pull;

/// Image sources that are no registry.
const LOCAL: [&str; 4] = ["host:", "oci:", "oci-archive:", "docker-archive:"];
/// Hosts whose images are written without them.
const HUBS: [&str; 3] = ["index.docker.io", "registry.hub.docker.com", "docker.io"];
/// Plugins that are privileged by themselves (`reference/steps.md` §3.3).
const PRIVILEGED: [&str; 5] = [
    "plugins/docker",
    "plugins/ecr",
    "plugins/acr",
    "plugins/gcr",
    "plugins/heroku",
];

/// The whole reference of an image: its connector's host and path before it, unless it begins with that host already, or
/// the host is Docker Hub's. An unknown connector changes nothing.
pub fn reference(image: &str, connector: Option<&Ref>, entities: &Entities) -> String {
    let image = image.trim();
    if LOCAL.iter().any(|scheme| image.starts_with(scheme)) {
        return image.to_owned();
    }
    let found = connector.and_then(|reference| entities.connector(reference));
    let Some(ConnectorSpec::DockerRegistry(registry)) = found.map(|found| &found.spec) else {
        return image.to_owned();
    };
    let url = registry.url.as_ref().map_or("", |url| url.value.trim());
    let (host, path) = host_and_path(url);
    if host.is_empty() || HUBS.contains(&host) || image.starts_with(&format!("{host}/")) {
        return image.to_owned();
    }
    if path.is_empty() {
        format!("{host}/{image}")
    } else {
        format!("{host}/{path}/{image}")
    }
}

/// Host with port, and the path without the registry API's own part.
fn host_and_path(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_matches('/');
    let path = match path.split_once('/') {
        Some(("v1" | "v2", path)) => path,
        None if path == "v1" || path == "v2" => "",
        _ => path,
    };
    (host, path)
}

/// When the registry is asked: as written, else as Kubernetes does: always for `latest` and for no tag, else only for what is
/// not here. (The reference's own default for the steps of cloud plugins is Always.)
pub fn pull_of(reference: &str, written: Option<model::PullPolicy>) -> Pull {
    match written {
        Some(model::PullPolicy::Always) => Pull::Always,
        Some(model::PullPolicy::Never) => Pull::Never,
        Some(model::PullPolicy::IfNotPresent) => Pull::IfNotPresent,
        None => {
            let fixed = reference.contains('@')
                || LOCAL.iter().any(|scheme| reference.starts_with(scheme))
                || tag(reference).is_some_and(|tag| tag != "latest");
            if fixed {
                Pull::IfNotPresent
            } else {
                Pull::Always
            }
        }
    }
}

fn tag(reference: &str) -> Option<&str> {
    let last = reference.rsplit('/').next()?;
    last.split('@').next()?.split_once(':').map(|(_, tag)| tag)
}

/// Whether an image is privileged unless its step says otherwise: the plugins that build images, and Docker in Docker.
pub fn needs_privileges(reference: &str) -> bool {
    let tag = tag(reference).unwrap_or("");
    let name = reference.split('@').next().unwrap_or(reference);
    let name = name.strip_suffix(&format!(":{tag}")).unwrap_or(name);
    let is = |own: &str| name == own || name.ends_with(&format!("/{own}"));
    PRIVILEGED.into_iter().any(is) || docker_in_docker(reference)
}

/// `docker:*dind*`.
pub(crate) fn docker_in_docker(reference: &str) -> bool {
    let tag = tag(reference).unwrap_or("");
    let name = reference.split('@').next().unwrap_or(reference);
    let name = name.strip_suffix(&format!(":{tag}")).unwrap_or(name);
    (name == "docker" || name.ends_with("/docker")) && tag.contains("dind")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_and_privileges() {
        for (image, pull, privileged) in [
            ("alpine", Pull::Always, false),
            ("alpine:latest", Pull::Always, false),
            ("alpine:3.20", Pull::IfNotPresent, false),
            ("localhost:5000/alpine", Pull::Always, false),
            (
                "localhost:5000/alpine:1@sha256:00",
                Pull::IfNotPresent,
                false,
            ),
            ("host:/", Pull::IfNotPresent, false),
            ("docker:dind", Pull::IfNotPresent, true),
            ("docker:24.0-dind-rootless", Pull::IfNotPresent, true),
            ("mirror.local/library/docker:dind", Pull::IfNotPresent, true),
            ("docker:cli", Pull::IfNotPresent, false),
            ("plugins/ecr:20", Pull::IfNotPresent, true),
            ("plugins/s3", Pull::Always, false),
        ] {
            assert_eq!(pull_of(image, None), pull, "{image}");
            assert_eq!(needs_privileges(image), privileged, "{image}");
        }
        assert_eq!(
            pull_of("alpine", Some(model::PullPolicy::Never)),
            Pull::Never
        );
    }

    #[test]
    fn urls() {
        for (url, host, path) in [
            ("https://index.docker.io/v2/", "index.docker.io", ""),
            ("https://ghcr.io/team", "ghcr.io", "team"),
            ("http://127.0.0.1:5000", "127.0.0.1:5000", ""),
            ("https://r.local/v2/team/a/", "r.local", "team/a"),
        ] {
            assert_eq!(host_and_path(url), (host, path), "{url}");
        }
    }
}
