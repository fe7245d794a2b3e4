//! From a name to a backend.

use std::path::PathBuf;
use std::sync::Arc;

use driver::backend::{Backend, Failure};
use driver::delegate::Beside;

use crate::clusters::{Clusters, Connectors};
use crate::home::Home;
use crate::problem::Problem;
use crate::registries;
use crate::target::Target;

/// The backend of a name. Pods of another home are not seen by it. `first`: no other command has asked for its pods before.
pub(crate) async fn open(
    target: &Target,
    home: &Home,
    entities: Option<PathBuf>,
    connectors: Connectors,
    first: bool,
) -> Result<Arc<dyn Backend>, Problem> {
    let pods: Arc<dyn Backend> = match target {
        Target::Native => native(home, entities)?,
        Target::Docker => {
            let client = backend_docker::connect(None)
                .await
                .map_err(|e| problem(&e))?;
            let digest = agent_embed::digest().to_owned();
            Arc::new(backend_docker::Docker::new(
                client,
                agent_embed::AGENT,
                digest,
            ))
        }
        Target::Kube { namespace, .. } => {
            Clusters::open(
                target.context().map(str::to_owned),
                namespace.as_deref(),
                connectors,
                home,
                first,
            )
            .await?
        }
    };
    Ok(Arc::new(Beside::new(pods, processes(home)?)))
}

/// Seconds after which a pod in a cluster ends itself when no command is there for it.
const ABANDONED: &str = "STEPYARD_ABANDONED_AFTER";

/// A cluster that answers.
pub(crate) async fn kube(
    target: &backend_kube::Target,
    home: &Home,
) -> Result<backend_kube::Kube, Problem> {
    let connection = backend_kube::connect(target)
        .await
        .map_err(|e| problem(&e))?;
    kube_on(connection, home)
}

/// The backend of a cluster that answers.
pub(crate) fn kube_on(
    connection: backend_kube::Connection,
    home: &Home,
) -> Result<backend_kube::Kube, Problem> {
    let settings = registries::settings()?;
    let images = image::Store::open(home.images())
        .map(|store| image::Client::new(store, settings))
        .map_err(|e| Problem::failed(e.to_string()))?;
    let kube = backend_kube::Kube::new(connection, images, agent());
    let Ok(written) = std::env::var(ABANDONED) else {
        return Ok(kube);
    };
    match pipeline::model::Duration::parse(&written) {
        Some(time) if time.ms >= 1000 => Ok(kube.abandoned_after(time.ms / 1000)),
        _ => Err(
            Problem::invalid(format!("`{written}` in {ABANDONED} is not a time"))
                .help("write `1h`, or `90s`"),
        ),
    }
}

/// The agent that this program carries.
pub(crate) fn agent() -> backend_kube::Agent {
    backend_kube::Agent::new(agent_embed::AGENT, agent_embed::digest())
}

/// Who scripts of the delegate run as, in place of a user of their own (as root) or of whoever runs this.
#[cfg(target_os = "linux")]
const SCRIPT_USER: &str = "STEPYARD_SCRIPT_USER";

/// What makes processes of the delegate.
#[cfg(target_os = "linux")]
fn processes(home: &Home) -> Result<Option<Arc<dyn Backend>>, Problem> {
    use backend_native::{Agent, Host, HostConfig, ScriptUser};

    let user = match std::env::var(SCRIPT_USER) {
        Ok(name) if !name.is_empty() => ScriptUser::named(&name)
            .map_err(|why| Problem::invalid(format!("{SCRIPT_USER}: {why}")))?,
        _ => ScriptUser::usual(),
    };
    let agent = Agent::Bytes(agent_embed::AGENT, agent_embed::digest().to_owned());
    let config = HostConfig::new(home.root().join("native"), agent, user);
    Ok(Some(Arc::new(Host::new(config))))
}

/// Only Linux has what holds them.
#[cfg(not(target_os = "linux"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the other system's has something to say"
)]
fn processes(_: &Home) -> Result<Option<Arc<dyn Backend>>, Problem> {
    Ok(None)
}

#[cfg(target_os = "linux")]
fn native(home: &Home, entities: Option<PathBuf>) -> Result<Arc<dyn Backend>, Problem> {
    use backend_native::{Agent, Config, Native};

    let agent = Agent::Bytes(agent_embed::AGENT, agent_embed::digest().to_owned());
    let mut config = Config::new(home.root().join("native"), agent);
    config.entities = entities;
    config.images = home.images();
    config.registries = registries::settings()?;
    Ok(Arc::new(Native::new(config)))
}

#[cfg(not(target_os = "linux"))]
fn native(_: &Home, _: Option<PathBuf>) -> Result<Arc<dyn Backend>, Problem> {
    let text = "the backend `native` makes pods of namespaces, which only Linux has";
    Err(Problem::invalid(text).help("use `--backend docker` with a Docker or Podman engine"))
}

/// What a backend could not do, for a person.
pub(crate) fn problem(failure: &Failure) -> Problem {
    let problem = Problem::failed(failure.message.clone());
    match &failure.help {
        Some(help) => problem.help(help.clone()),
        None => problem,
    }
}
