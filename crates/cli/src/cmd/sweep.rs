//! `stepyard sweep`: what lost commands left is removed.

use std::time::Duration;

use backend_kube::sweep::{self, Claim};
use serde::Serialize;

use crate::args::{BackendName, Output, Sweep};
use crate::backends;
use crate::clusters::{self, Connectors};
use crate::home::{Home, RunDir};
use crate::meta::Meta;
use crate::out;
use crate::past::{self, State};
use crate::problem::{Exit, Problem};
use crate::screen::words;
use crate::target::Target;

/// What a sweep removed.
#[derive(Debug, Default, Serialize)]
struct Removed {
    pods: Vec<String>,
    secrets: Vec<String>,
    config_maps: Vec<String>,
    runs: Vec<String>,
    kept: Vec<String>,
    failed: Vec<String>,
    /// Layers of images, and their bytes.
    layers: u64,
    bytes: u64,
}

/// Between SIGTERM and SIGKILL: nobody waits for what these steps still want to say.
const GRACE: Duration = Duration::from_secs(2);

/// Removes the pods of runs that no command drives.
pub(crate) fn run(args: &Sweep, output: Output) -> Result<Exit, Problem> {
    let home = Home::find()?;
    let only = args
        .run
        .as_deref()
        .map(|id| home.run(Some(id)))
        .transpose()?;
    let older_than = args.older_than.as_deref().map(age).transpose()?;
    let runs = home.list()?;
    let used = targets(args, &runs);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Problem::system("start", &e))?;
    let mut removed = Removed::default();
    runtime.block_on(async {
        for target in used {
            let swept = match &target {
                Target::Kube { namespace, .. } => {
                    let target = backend_kube::Target {
                        context: target.context().map(str::to_owned),
                        namespace: namespace.clone(),
                        manual: None,
                    };
                    let options = sweep::Options {
                        run: args.run.clone(),
                        older_than,
                        agents: args.agents,
                    };
                    cluster(&target, &options, &home, &runs, &mut removed).await
                }
                _ => machine(&target, only.as_ref(), &home, &runs, &mut removed).await,
            };
            if let Err(problem) = swept {
                removed.failed.push(problem.to_string());
            }
        }
        if matches!(args.cluster.kube.as_deref(), None | Some("")) {
            by_connectors(only.as_ref(), args, &home, &runs, &mut removed).await?;
        }
        Ok::<_, Problem>(())
    })?;
    places(&home, only.as_ref(), &runs)?;
    if args.history {
        for run in &runs {
            if only.as_ref().is_some_and(|only| only.id != run.id) {
                continue;
            }
            if matches!(past::standing(run), State::Running) {
                continue;
            }
            std::fs::remove_dir_all(run.path()).map_err(|e| {
                Problem::system(format_args!("remove {}", run.path().display()), &e)
            })?;
            removed.runs.push(run.id.clone());
        }
    }
    if let Some(age) = &args.images {
        images(&home, age, &mut removed)?;
    }
    let failed = !removed.failed.is_empty();
    if output == Output::Json {
        out::json(&removed)?;
    } else {
        let pods = words::count(removed.pods.len() as u64, "pod");
        let kept = if removed.kept.is_empty() {
            String::new()
        } else {
            format!(", {} in use", removed.kept.len())
        };
        let history = if args.history {
            format!(", {}", words::count(removed.runs.len() as u64, "run"))
        } else {
            String::new()
        };
        let images = if args.images.is_some() {
            let layers = words::count(removed.layers, "image layer");
            format!(", {layers} ({})", words::bytes(removed.bytes))
        } else {
            String::new()
        };
        let objects = [
            (removed.secrets.len(), "pull secret"),
            (removed.config_maps.len(), "agent"),
        ]
        .map(|(count, what)| match count {
            0 => String::new(),
            count => format!(", {}", words::count(count as u64, what)),
        })
        .concat();
        out::text(&format!("{pods}{objects}{history}{images} removed{kept}\n"))?;
        for text in &removed.failed {
            out::tell(text);
        }
    }
    Ok(if failed { Exit::Failed } else { Exit::Success })
}

/// What is asked: the cluster that is named, else this machine and what its runs used. An engine or a cluster is asked only where
/// a run used it: it may not be there at all.
fn targets(args: &Sweep, runs: &[RunDir]) -> Vec<Target> {
    if args.cluster.kube.is_some() {
        return vec![Target::of(BackendName::HERE, &args.cluster, None)];
    }
    let mut used = Vec::new();
    if BackendName::HERE == BackendName::Native {
        used.push(Target::Native);
    }
    let metas = runs
        .iter()
        .filter_map(|dir| Some((dir, Meta::read(dir).ok()?)));
    for mut target in metas.filter_map(|(dir, meta)| {
        // A run whose pods are all in clusters of connectors left nothing in the kubeconfig's, which may not be there.
        (!clusters::elsewhere(&meta, dir)).then_some(meta.backend)
    }) {
        if let Target::Kube {
            agent_image,
            namespace,
            ..
        } = &mut target
        {
            *agent_image = None;
            // Nothing is in a namespace that none can be called.
            if namespace
                .as_ref()
                .is_some_and(|own| !pipeline::pod::is_namespace(own))
            {
                continue;
            }
        }
        if !used.contains(&target) {
            used.push(target);
        }
    }
    used
}

/// The pods of a backend of this machine.
async fn machine(
    target: &Target,
    only: Option<&RunDir>,
    home: &Home,
    runs: &[RunDir],
    removed: &mut Removed,
) -> Result<(), Problem> {
    let backend = backends::open(target, home, None, Connectors::new(), false).await?;
    let pods = backend.list().await.map_err(|e| backends::problem(&e))?;
    for pod in pods {
        if only.is_some_and(|run| run.id != pod.run) {
            continue;
        }
        // A pod of a run that somebody drives is theirs; one of another home's run is not ours to judge.
        let driven = match runs.iter().find(|run| run.id == pod.run) {
            Some(run) => past::standing(run) == State::Running,
            None => !target.is_native(),
        };
        if driven {
            removed.kept.push(pod.name);
            continue;
        }
        match backend.delete(&pod, GRACE).await {
            Ok(_) => removed.pods.push(pod.name),
            Err(failure) => removed.failed.push(format!(
                "failed to remove the pod {}: {}",
                pod.name, failure.message
            )),
        }
    }
    Ok(())
}

/// The objects of a cluster.
async fn cluster(
    target: &backend_kube::Target,
    options: &sweep::Options,
    home: &Home,
    runs: &[RunDir],
    removed: &mut Removed,
) -> Result<(), Problem> {
    let kube = backends::kube(target, home).await?;
    let mut states = std::collections::BTreeMap::new();
    for run in runs {
        let driven = past::standing(run) == State::Running;
        states.insert(run.id.clone(), driven);
    }
    let swept = kube
        .sweep(options, |run| match states.get(run) {
            Some(true) => Claim::Driven,
            Some(false) => Claim::Lost,
            None => Claim::Unknown,
        })
        .await
        .map_err(|e| backends::problem(&e))?;
    removed.pods.extend(swept.pods);
    removed.secrets.extend(swept.secrets);
    removed.config_maps.extend(swept.config_maps);
    removed.kept.extend(swept.kept);
    removed.failed.extend(swept.failed);
    Ok(())
}

/// What lost runs left in the clusters that their connectors describe: nobody else knows the way there.
async fn by_connectors(
    only: Option<&RunDir>,
    args: &Sweep,
    home: &Home,
    runs: &[RunDir],
    removed: &mut Removed,
) -> Result<(), Problem> {
    for run in runs {
        let named = only.is_some_and(|only| only.id == run.id);
        let lost = only.is_none() && past::standing(run) == State::Lost;
        let Ok(meta) = Meta::read(run) else { continue };
        if !named && !lost {
            continue;
        }
        let places = match clusters::places(&meta, run, &args.secrets) {
            Ok(places) => places,
            Err(problem) => {
                removed.failed.push(format!("run {}: {problem}", run.id));
                continue;
            }
        };
        let options = sweep::Options {
            run: Some(run.id.clone()),
            ..sweep::Options::default()
        };
        for target in &places {
            if let Err(problem) = cluster(target, &options, home, runs, removed).await {
                removed.failed.push(format!("run {}: {problem}", run.id));
            }
        }
    }
    Ok(())
}

/// An age as it is written: `7d`, `12h`.
fn age(text: &str) -> Result<Duration, Problem> {
    pipeline::model::Duration::parse(text)
        .map(|age| Duration::from_millis(age.ms))
        .ok_or_else(|| {
            Problem::invalid(format!("`{text}` is not an age")).help("write `7d`, or `12h`")
        })
}

/// Gives up the places in queues of runs that no command drives.
fn places(home: &Home, only: Option<&RunDir>, runs: &[RunDir]) -> Result<(), Problem> {
    let driven = |id: &str| {
        let run = runs.iter().find(|run| run.id == id);
        run.is_some_and(|run| past::standing(run) == State::Running)
    };
    let wanted = |id: &str| only.is_none_or(|run| run.id == id);
    driver::queue::forget(&home.queues(), |id| wanted(id) && !driven(id))
        .map_err(|e| Problem::system("give up places in queues", &e))
}

/// Collects what no pod uses out of the image store.
fn images(home: &Home, age: &str, removed: &mut Removed) -> Result<(), Problem> {
    let older_than = if age.is_empty() {
        Duration::ZERO
    } else {
        self::age(age)?
    };
    let keep = image::Keep {
        older_than: Some(older_than),
        ..image::Keep::default()
    };
    let swept = image::Store::open(home.images())
        .and_then(|store| store.gc(&keep))
        .map_err(|e| Problem::failed(e.to_string()))?;
    (removed.layers, removed.bytes) = (swept.layers, swept.bytes);
    if swept.busy {
        let text = "images: some are being pulled right now; try again".to_owned();
        removed.failed.push(text);
    }
    Ok(())
}
