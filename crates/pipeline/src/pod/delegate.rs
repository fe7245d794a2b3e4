//! A process of the delegate, described as a pod with one container, so that the same machinery holds it.

use syntax::Diagnostic;

use crate::plan::{NodeId, Place, Runs, What, runs};
use crate::resolve::World;

use super::{
    Amounts, Container, INIT_TIMEOUT_MS, Image, Network, Pull, Resources, Security, Spec, names,
};

/// The one container of such a pod.
pub const PROCESS: &str = "process";
/// How the name of such a pod begins. Pods of groups are called otherwise.
const PREFIX: &str = "delegate";

/// Whether a pod of this name is a process of the delegate.
pub fn is_delegate(pod: &str) -> bool {
    pod.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.starts_with('-'))
}

fn name(step: &NodeId, identifier: &str, suffix: &str) -> String {
    let name = names::pod(step, identifier, suffix);
    let rest = name.split_once('-').map_or(&*name, |(_, rest)| rest);
    format!("{PREFIX}-{rest}")
}

/// The process of a step as a pod; none for a step that is no process of the delegate. `suffix` makes its name unique.
pub fn delegate(
    world: &World<'_>,
    step: &NodeId,
    suffix: &str,
) -> Result<Option<Spec>, Vec<Diagnostic>> {
    let Some(place) = Place::of(world, step) else {
        return Err(Vec::new());
    };
    let What::Step(own) = place.what else {
        return Ok(None);
    };
    if runs(own.step_type()) != Runs::Process {
        return Ok(None);
    }
    let container = Container {
        name: PROCESS.to_owned(),
        steps: vec![step.0.clone()],
        image: Image {
            // This machine as it is: nothing is pulled.
            reference: "host:/".to_owned(),
            connector: None,
            pull: Pull::Never,
        },
        background: false,
        security: Security::default(),
        resources: Resources::default(),
        share: Amounts::default(),
    };
    Ok(Some(Spec {
        name: name(step, own.identifier.as_str(), suffix),
        run: world.known.run.clone(),
        group: step.0.clone(),
        os: "linux".to_owned(),
        init_timeout_ms: INIT_TIMEOUT_MS,
        containers: vec![container],
        network: Network::Host,
        ..Spec::default()
    }))
}
