//! A node is expanded into its children.

use syntax::Diagnostic;

use crate::model::{AskedLater, Duration, RunMode, RunModeType, StepSpec};
use crate::pod;
use crate::resolve::{AsOf, Values, World};

use super::{
    Gate, Kind, Node, NodeId, Place, Question, Runs, Step, What, condition, failure, looping, runs,
    workspace,
};

/// Problems that are told of one place.
const MOST_DIAGNOSTICS: usize = 20;

/// How long a step may take where nothing is said: 10 hours.
pub const STEP_TIMEOUT_MS: u64 = 36_000_000;

/// How long a step waits for its inputs: a day, as an approval does.
pub const GATE_TIMEOUT_MS: u64 = 24 * 3_600_000;

/// How long an approval waits where nothing is said: a day.
const APPROVAL_TIMEOUT_MS: u64 = 24 * 3_600_000;

/// The root of a run's tree.
pub fn root(world: &World<'_>) -> Result<Node, Vec<Diagnostic>> {
    node(&Place::root(world.pipeline), world, None)
}

/// The children of a node that is entered now, in order. Unknown ids and leaves have none. Inside a containerized group
/// all is as it was known when the group was entered, like its pod.
pub fn expand(world: &World<'_>, id: &NodeId) -> Result<Vec<Node>, Vec<Diagnostic>> {
    let Some(place) = Place::of(world, id) else {
        return Ok(Vec::new());
    };
    let Some((_, group)) = place.pod() else {
        return children(world, &place, None);
    };
    let entered = AsOf {
        inner: world.nodes,
        group,
    };
    let world = World {
        nodes: &entered,
        ..*world
    };
    let layout = pod::layout_around(&world, &place)?;
    children(&world, &place, layout.as_ref())
}

fn children(
    world: &World<'_>,
    place: &Place<'_>,
    layout: Option<&pod::Layout<'_>>,
) -> Result<Vec<Node>, Vec<Diagnostic>> {
    let mut nodes = Vec::new();
    let mut diagnostics = Vec::new();
    for child in place.children_in(world)? {
        match node(&child, world, layout) {
            Ok(node) => nodes.push(node),
            Err(more) => diagnostics.extend(more),
        }
        // What is wrong with one iteration is wrong with all of them.
        if diagnostics.len() > MOST_DIAGNOSTICS {
            break;
        }
    }
    if diagnostics.is_empty() {
        Ok(nodes)
    } else {
        Err(diagnostics)
    }
}

/// What a person gives before a node begins: the inputs of a step, or the start of a stage.
fn gate(place: &Place<'_>, values: &Values<'_, '_>) -> Option<Gate> {
    match place.what {
        What::Step(step) if !step.asked.is_empty() => {
            let question = |own: &AskedLater| Question {
                name: own.name.clone(),
                input: own.input.text.clone(),
            };
            Some(Gate {
                inputs: step.asked.iter().map(question).collect(),
                timeout_ms: GATE_TIMEOUT_MS,
            })
        }
        What::Stage(stage) => {
            let mode: RunMode = values.get(stage.common.run_mode.as_ref(), "runMode")?;
            let manual = mode
                .kind
                .is_some_and(|own| own.value == RunModeType::Manual);
            let timeout: Option<Duration> = values.get(mode.timeout.as_ref(), "timeout");
            manual.then(|| Gate {
                inputs: Vec::new(),
                timeout_ms: timeout.map_or(GATE_TIMEOUT_MS, |own| own.ms),
            })
        }
        _ => None,
    }
}

fn node(
    place: &Place<'_>,
    world: &World<'_>,
    layout: Option<&pod::Layout<'_>>,
) -> Result<Node, Vec<Diagnostic>> {
    let values = Values::new(world, place);
    let limit = |timeout| {
        values
            .get(timeout, "timeout")
            .map(|duration: Duration| duration.ms)
            .filter(|ms| *ms > 0)
    };
    let timeout_ms = match place.what {
        What::Pipeline(pipeline) => limit(pipeline.timeout.as_ref()),
        What::Stage(stage) => limit(stage.common.timeout.as_ref()),
        What::Step(step) => match step.spec {
            StepSpec::Background(_) => None,
            StepSpec::HarnessApproval(_) => {
                limit(step.timeout.as_ref()).or(Some(APPROVAL_TIMEOUT_MS))
            }
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
        What::Loop(_) => Kind::Loop,
        What::Rollback(_) => Kind::Rollback,
        What::Initialize(_) => Kind::Initialize,
        What::Step(step) => Kind::Step(Step {
            r#type: step.step_type().to_owned(),
            background: matches!(step.spec, StepSpec::Background(_)),
            container: match runs(step.step_type()) {
                Runs::Process => Some(pod::PROCESS.to_owned()),
                _ => layout.and_then(|layout| layout.container(place)),
            },
        }),
    };
    // Of an iteration the identifier and the name go on with its suffix.
    let own = place.iterations.last().filter(|_| place.is_iteration());
    let suffixed = |text: &str| match own {
        Some((_, iteration)) => format!("{text}{}", iteration.suffix),
        None => text.to_owned(),
    };
    let mut node = Node {
        timeout_ms,
        when: condition::when(place, &values),
        strategies: failure::strategies(place.failures(), &values),
        rollback: place.rollback().is_some(),
        gate: gate(place, &values).map(Box::new),
        iteration: own.map(|(_, iteration)| Box::new((**iteration).clone())),
        hands_over: workspace::is_given(world.pipeline, place),
        takes_over: workspace::taken(world, place),
        ..Node::new(
            place.id.clone(),
            kind,
            &suffixed(place.identifier()),
            &suffixed(place.title()),
        )
    };
    if node.kind == Kind::Loop {
        let manner = looping::manner(world, place)?;
        node.limit = match layout.and_then(|layout| layout.slots(place)) {
            Some(slots) => Some(manner.limit.unwrap_or(slots).min(slots)),
            None => manner.limit,
        };
        node.skip_queued = manner.skip_queued;
        node.slots = layout.and_then(|layout| layout.slots(place));
    }
    if place.pod().is_some()
        && let Some(text) = node.when.as_ref().and_then(|when| when.condition.as_ref())
        && condition::known_false(world, place, text)
    {
        node.skip = Some(condition::does_not_hold(text));
    }
    values.finish(node)
}
