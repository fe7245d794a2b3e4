//! From a name to a backend.

use std::path::PathBuf;
use std::sync::Arc;

use driver::backend::{Backend, Failure};

use crate::home::Home;
use crate::problem::Problem;
use crate::registries;
use crate::target::Target;

/// The backend of a name. Pods of another home are not seen by it.
pub(crate) async fn open(
    target: &Target,
    home: &Home,
    entities: Option<PathBuf>,
) -> Result<Arc<dyn Backend>, Problem> {
    match target {
        Target::Native => native(home, entities),
        Target::Docker => {
            let client = backend_docker::connect(None)
                .await
                .map_err(|e| problem(&e))?;
            let digest = agent_embed::digest().to_owned();
            Ok(Arc::new(backend_docker::Docker::new(
                client,
                agent_embed::AGENT,
                digest,
            )))
        }
        Target::Kube { context, namespace } => {
            let target = backend_kube::Target {
                context: context.clone(),
                namespace: namespace.clone(),
            };
            let (client, namespace) = backend_kube::connect(&target)
                .await
                .map_err(|e| problem(&e))?;
            let settings = registries::settings()?;
            let images = image::Store::open(home.images())
                .map(|store| image::Client::new(store, settings))
                .map_err(|e| Problem::failed(e.to_string()))?;
            let digest = agent_embed::digest().to_owned();
            Ok(Arc::new(backend_kube::Kube::new(
                client,
                namespace,
                images,
                agent_embed::AGENT,
                digest,
            )))
        }
    }
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
