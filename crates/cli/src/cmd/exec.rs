//! `stepyard exec`: a shell in a step's container.

use addon::frame::Exit as Ended;
use driver::backend::PodRef;
use engine::event::Event;
use pipeline::plan::{Kind, NodeId, Runs};

use crate::args::{Exec, SecretArgs};
use crate::attach::{self, Wanted};
use crate::backends;
use crate::clusters::{self, Connectors};
use crate::cmd::resume;
use crate::extras;
use crate::home::{Home, RunDir};
use crate::meta::Meta;
use crate::past;
use crate::problem::{Exit, Problem};
use crate::screen::view::View;
use crate::steps;
use crate::target::Target;

/// Attaches to the container of a step.
pub(crate) fn run(args: &Exec) -> Result<Exit, Problem> {
    let home = Home::find()?;
    let (dir, step) = home.run_and_step(Some(&args.run), args.step.as_deref())?;
    let view = past::view(&dir)?;
    let step = match step {
        Some(word) => steps::find(&view, &word)?,
        None => only_running(&view)?,
    };
    let (container, pod) = place(&dir, &view, &step)?;
    let meta = Meta::read(&dir)?;
    let clusters = clusters(&meta, &dir, &args.secrets)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Problem::system("start", &e))?;
    let ended = runtime.block_on(async {
        let backend = backends::open(&meta.backend, &home, None, clusters, false).await?;
        let carrier = backend.visit(&pod).await.map_err(|failure| {
            backends::problem(&failure)
                .help("a step's container lives as long as its step group; is the run still going?")
        })?;
        let wanted = Wanted {
            run: dir.id.clone(),
            container,
            argv: args.command.clone(),
        };
        attach::attach(carrier, wanted).await
    });
    // A thread still reads the terminal: nothing waits for it.
    runtime.shutdown_background();
    Ok(match ended? {
        Ended::Code(code) => Exit::Code(code.clamp(0, 255) as u8),
        Ended::Signal(signal) => Exit::Code((128 + signal).clamp(0, 255) as u8),
        Ended::NotStarted(why) => {
            return Err(Problem::failed(format!(
                "nothing was started in the container: {why}"
            )));
        }
    })
}

/// Where nothing is said, the one step that runs.
fn only_running(view: &View) -> Result<NodeId, Problem> {
    let running: Vec<_> = view
        .items
        .iter()
        .filter(|(_, item)| item.is_running() && item.step().is_some())
        .map(|(id, _)| id)
        .collect();
    match running.as_slice() {
        [id] => Ok((*id).clone()),
        [] => Err(
            Problem::invalid(format!("no step of run {} runs now", view.run))
                .help("say which step's container is meant"),
        ),
        many => {
            let paths: Vec<_> = many.iter().map(|id| view.path(id)).collect();
            Err(
                Problem::invalid(format!("{} steps of run {} run now", many.len(), view.run))
                    .help(format!("say which: {}", paths.join(", "))),
            )
        }
    }
}

/// The container of a step and the pod that it is in now.
fn place(dir: &RunDir, view: &View, step: &NodeId) -> Result<(String, PodRef), Problem> {
    let path = view.path(step);
    let container = view
        .items
        .get(step)
        .and_then(|i| i.step()?.container.clone());
    let container =
        container.ok_or_else(|| Problem::invalid(format!("{path} has no container")))?;
    let mut group = step.clone();
    // A process of the delegate is in a pod of its own.
    let own = view.items.get(step).and_then(|item| item.step());
    let own = own.is_some_and(|step| step.runs() == Runs::Process);
    while !own && let Some(item) = view.items.get(&group) {
        if matches!(item.node.kind, Kind::StepGroup { pod: true }) {
            break;
        }
        match &item.parent {
            Some(parent) => group = parent.clone(),
            None => {
                return Err(Problem::invalid(format!(
                    "{path} is in no containerized step group"
                )));
            }
        }
    }
    let mut pod = None;
    for stamped in past::events(dir)? {
        match stamped.event {
            Event::PodRequested {
                group: of,
                pod: name,
                ..
            } if of == group => pod = Some(name),
            Event::PodDeleted { group: of } | Event::PodLost { group: of, .. } if of == group => {
                pod = None;
            }
            _ => {}
        }
    }
    let name = pod.ok_or_else(|| {
        Problem::invalid(format!("the pod of {path} is not there"))
            .help("a step's container lives as long as its step group; `stepyard logs` shows what it wrote")
    })?;
    // Kept with the run; without it the pod is where pods of no namespace are.
    let kept = extras::pod(dir, &name);
    let (namespace, connector) = kept.map_or((None, None), |own| (own.namespace, own.connector));
    Ok((
        container,
        PodRef {
            name,
            namespace,
            run: dir.id.clone(),
            group: group.0,
            connector,
        },
    ))
}

/// The clusters of the run's connectors, with secrets from where every command finds them.
fn clusters(meta: &Meta, dir: &RunDir, again: &SecretArgs) -> Result<Connectors, Problem> {
    if !matches!(meta.backend, Target::Kube { .. }) {
        return Ok(Connectors::new());
    }
    let (documents, secrets) = resume::given(meta, dir, again)?;
    clusters::connectors(
        documents.pipeline()?,
        &documents.entities,
        &secrets,
        &meta.backend,
    )
}
