//! Which engine.

use bollard::Docker;
use driver::backend::{Failure, FailureKind};

/// Seconds that one answer of the engine may take; a pull or an exec stream goes on beyond.
const ANSWER_SECONDS: u64 = 120;

/// A client for the engine at `host` (`unix:///…`, `tcp://…`, `http://…`); none: `DOCKER_HOST`, else Docker's own socket,
/// else Podman's of this user.
///
/// # Errors
/// Names the socket that does not answer.
pub async fn connect(host: Option<&str>) -> Result<Docker, Failure> {
    let given = host
        .map(str::to_owned)
        .or_else(|| std::env::var("DOCKER_HOST").ok().filter(|h| !h.is_empty()));
    let client = match &given {
        Some(host) => at(host),
        None => by_default(),
    };
    let place = given.unwrap_or_else(|| "the default socket".to_owned());
    let client = client.map_err(|e| unreachable(&place, &e))?;
    client.ping().await.map_err(|e| unreachable(&place, &e))?;
    Ok(client)
}

fn at(host: &str) -> Result<Docker, bollard::errors::Error> {
    let version = bollard::API_DEFAULT_VERSION;
    match host.strip_prefix("unix://") {
        Some(path) => Docker::connect_with_unix(path, ANSWER_SECONDS, version),
        None => Docker::connect_with_http(host, ANSWER_SECONDS, version),
    }
}

/// Docker's socket, or Podman's where Docker has none.
fn by_default() -> Result<Docker, bollard::errors::Error> {
    if std::path::Path::new("/var/run/docker.sock").exists() {
        Docker::connect_with_unix_defaults()
    } else {
        Docker::connect_with_podman_defaults()
    }
}

fn unreachable(place: &str, error: &bollard::errors::Error) -> Failure {
    Failure {
        kind: FailureKind::Connectivity,
        container: None,
        message: format!("failed to reach a container engine at {place}: {error}"),
        help: Some(
            "start Docker, or `podman system service --time=0`, and set DOCKER_HOST to its socket; `--backend native` needs no engine"
                .to_owned(),
        ),
    }
}
