//! A node is expanded into its children.

use syntax::Diagnostic;

use crate::model::StepSpec;
use crate::pod;
use crate::resolve::{Values, World};

use super::{Kind, Node, NodeId, Order, Place, Runs, Step, What, runs};

/// How long a step may take where nothing is said: 10 hours.
pub const STEP_TIMEOUT_MS: u64 = 36_000_000;

/// The root of a run's tree.
pub fn root(world: &World<'_>) -> Result<Node, Vec<Diagnostic>> {
    node(&Place::root(world.pipeline), world, &[])
}

/// The children of a node that is entered now, in order. Unknown ids and leaves have none.
pub fn expand(world: &World<'_>, id: &NodeId) -> Result<Vec<Node>, Vec<Diagnostic>> {
    let Some(place) = Place::find(world.pipeline, id) else {
        return Ok(Vec::new());
    };
    let containers = pod::containers_around(world.pipeline, &place);
    let mut nodes = Vec::new();
    let mut diagnostics = Vec::new();
    for child in place.children() {
        match node(&child, world, &containers) {
            Ok(node) => nodes.push(node),
            Err(more) => diagnostics.extend(more),
        }
    }
    if diagnostics.is_empty() {
        Ok(nodes)
    } else {
        Err(diagnostics)
    }
}

fn node(
    place: &Place<'_>,
    world: &World<'_>,
    containers: &[(Place<'_>, String)],
) -> Result<Node, Vec<Diagnostic>> {
    let values = Values::new(world, place);
    let limit = |timeout| {
        values
            .get(timeout, "timeout")
            .map(|duration: crate::model::Duration| duration.ms)
            .filter(|ms| *ms > 0)
    };
    let timeout_ms = match place.what {
        What::Pipeline(pipeline) => limit(pipeline.timeout.as_ref()),
        What::Stage(stage) => limit(stage.common.timeout.as_ref()),
        What::Step(step) => match step.spec {
            StepSpec::Background(_) => None,
            _ => limit(step.timeout.as_ref()).or(Some(STEP_TIMEOUT_MS)),
        },
        // `initTimeout` is the pod's own matter: what did not start in time fails by its name.
        _ => None,
    };
    let kind = match place.what {
        What::Pipeline(_) => Kind::Pipeline,
        What::Stage(stage) => Kind::Stage(stage.stage_type().to_owned()),
        What::Group(_) => Kind::StepGroup {
            pod: place.makes_pod(),
        },
        What::Stages(_) | What::Elements(_) => Kind::Parallel,
        What::Initialize(_) => Kind::Initialize,
        What::Step(step) => Kind::Step(Step {
            r#type: step.step_type().to_owned(),
            background: matches!(step.spec, StepSpec::Background(_)),
            container: match runs(step.step_type()) {
                Runs::Process => Some(pod::PROCESS.to_owned()),
                _ => containers
                    .iter()
                    .find(|(own, _)| own.id == place.id)
                    .map(|(_, name)| name.clone()),
            },
        }),
    };
    let order = if kind == Kind::Parallel {
        Order::Parallel
    } else {
        Order::Sequence
    };
    values.finish(Node {
        id: place.id.clone(),
        kind,
        identifier: place.identifier().to_owned(),
        name: place.title().to_owned(),
        order,
        timeout_ms,
        // Whoever runs only some steps says which are passed over.
        skip: None,
    })
}
