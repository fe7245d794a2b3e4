//! From a name to a backend.

use std::path::PathBuf;
use std::sync::Arc;

use backend_native::{Agent, Config, Native};
use driver::backend::{Backend, Failure};

use crate::args::BackendName;
use crate::home::Home;
use crate::problem::Problem;

/// The backend of a name. Pods of another home are not seen by it.
pub(crate) async fn open(
    name: BackendName,
    home: &Home,
    entities: Option<PathBuf>,
) -> Result<Arc<dyn Backend>, Problem> {
    match name {
        BackendName::Native => {
            let agent = Agent::Bytes(agent_embed::AGENT, agent_embed::digest().to_owned());
            let mut config = Config::new(home.root().join("native"), agent);
            config.entities = entities;
            config.images = home.images();
            Ok(Arc::new(Native::new(config)))
        }
        BackendName::Docker => {
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
    }
}

/// What a backend could not do, for a person.
pub(crate) fn problem(failure: &Failure) -> Problem {
    let problem = Problem::failed(failure.message.clone());
    match &failure.help {
        Some(help) => problem.help(help.clone()),
        None => problem,
    }
}
