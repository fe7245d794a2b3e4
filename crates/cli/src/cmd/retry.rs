//! `stepyard retry`: what failed in a run that is over, once more, in a new run.

use std::collections::BTreeSet;
use std::fs;

use driver::control::Ask;
use engine::Wishes;
use engine::carry::{self, Carry, Refusal};
use engine::event::{Handling, Interrupt, Intervention, Status};
use engine::facts::Facts;
use pipeline::plan::{Kind, NodeId};
use serde_json::json;

use super::questions::ask_of;
use super::{resume, run as begin};
use crate::args::{Output, Retry};
use crate::drive::{self, Drive};
use crate::home::{Home, RunDir};
use crate::local::Local;
use crate::meta::Meta;
use crate::out;
use crate::past::{self, State};
use crate::problem::{Exit, Problem};
use crate::screen::show::now_ms;
use crate::screen::view::View;
use crate::screen::words;

/// Names of nodes that a message lists.
const MOST_NAMES: usize = 20;

/// Runs a part of an earlier run again.
pub(crate) fn run(args: &Retry, output: Output) -> Result<Exit, Problem> {
    let home = Home::find()?;
    let before = home.run(args.run.as_deref())?;
    let keep_ms = begin::kept(args.keep_pod_on_failure.as_deref())?;
    let view = past::view(&before)?;
    if let Some(exit) = in_place(args, &before, &view, output)? {
        return Ok(exit);
    }
    over(&before, &view)?;
    let ended = Ended::read(&before)?;
    let from = match &args.from {
        Some(word) => find(&view, word)?,
        None => carry::failed(&ended.state).ok_or_else(|| {
            Problem::invalid(format!("run {} has no stage that failed", before.id))
        })?,
    };
    let carry = ended.carry(&view, &from)?;

    let mut meta = Meta::read(&before)?;
    let run = home.create()?;
    // A directory without its meta is of a command that began nothing; one that is empty is not even worth that.
    let again =
        resume::again(&meta, &before, &run, &args.secrets, Some(&home)).inspect_err(|_| {
            let _ = fs::remove_dir(run.path());
        })?;
    meta.sequence = again.sequence;
    meta.resumed = Some(before.id.clone());
    keep(&mut meta, &before, &run, args)?;
    let mut warnings = again.warnings;
    warnings.extend(ended.lost(&view, &carry));
    let drive = Drive {
        planner: again.planner,
        access: again.access,
        secrets: again.secrets,
        backend: meta.backend.clone(),
        clusters: again.clusters,
        entities: meta.entities.first().cloned(),
        resume: false,
        wishes: Wishes {
            carried: Some(Box::new(carry)),
            keep_ms,
        },
        warnings,
        run,
    };
    drive::drive(drive, &home, output, args.timestamps)
}

/// A run that goes on and keeps a pod for a failed step: the step runs again there.
fn in_place(
    args: &Retry,
    run: &RunDir,
    view: &View,
    output: Output,
) -> Result<Option<Exit>, Problem> {
    let waits = |id: &&NodeId| {
        let item = view.items.get(*id);
        item.is_some_and(|item| matches!(item.handling, Some(Handling::Ask { .. })))
    };
    let mut open = view.open.iter().filter(waits);
    if past::state(run, view) != State::Running {
        return Ok(None);
    }
    let node = match &args.from {
        Some(word) => {
            let wanted = find(view, word)?;
            open.find(|id| **id == wanted)
        }
        None => open.next(),
    };
    let Some(node) = node else { return Ok(None) };
    let interrupt = Interrupt::Node {
        node: node.clone(),
        action: Intervention::Retry,
    };
    ask_of(run, view, &Ask::Interrupt(interrupt))?;
    let path = view.path(node);
    if output == Output::Json {
        return out::json(&json!({"run": run.id, "node": node, "asked": true})).map(Some);
    }
    let id = &run.id;
    out::text(&format!(
        "{path} runs again in run {id}: `stepyard logs {id} {path} --follow` shows what it writes\n"
    ))
    .map(Some)
}

/// Only a run that is over, and did not succeed, is retried.
fn over(run: &RunDir, view: &View) -> Result<(), Problem> {
    let id = &run.id;
    match past::state(run, view) {
        State::Over(status) if status.is_positive() => Err(Problem::invalid(format!(
            "run {id} {}: there is nothing to retry",
            match status {
                Status::Skipped => "was skipped",
                _ => "succeeded",
            }
        ))
        .help("`stepyard run` runs the pipeline again, `--from STEP` a part of it")),
        State::Over(_) => Ok(()),
        State::Running => Err(Problem::invalid(format!(
            "run {id} is not over: another command drives it"
        ))
        .help(format!(
            "`stepyard logs {id} --follow` shows what it does, `stepyard intervene {id} abort` ends it"
        ))),
        State::Lost => Err(Problem::invalid(format!(
            "run {id} is not over: its command was lost"
        ))
        .help(format!("`stepyard resume {id}` goes on with it"))),
    }
}

/// The run before, as it ended.
struct Ended {
    state: engine::State,
    facts: Facts,
}

impl Ended {
    fn read(run: &RunDir) -> Result<Self, Problem> {
        let (mut state, mut facts) = (engine::State::default(), Facts::default());
        for stamped in past::events(run)? {
            engine::evolve(&mut state, &stamped)
                .map_err(|e| Problem::failed(format!("the journal of run {}: {e}", run.id)))?;
            facts.apply(&stamped);
        }
        Ok(Self { state, facts })
    }

    fn carry(&self, view: &View, from: &NodeId) -> Result<Carry, Problem> {
        carry::plan(&self.state, &self.facts, from).map_err(|refusal| match refusal {
            Refusal::Unknown => unknown(view, &view.path(from)),
            Refusal::Behind(bad) => {
                let (path, bad) = (view.path(from), view.path(&bad));
                Problem::invalid(format!(
                    "--from {path}: {bad} is before it, and did not succeed"
                ))
                .help(format!("retry from there: `--from {bad}`"))
            }
        })
    }

    /// What the nodes that run again will not find of what was carried.
    fn lost(&self, view: &View, carry: &Carry) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut pods: Vec<(&NodeId, Vec<String>)> = Vec::new();
        for id in carry.nodes.keys() {
            let Some(place) = self.state.nodes.get(id) else {
                continue;
            };
            let inside = place
                .parent
                .as_ref()
                .is_some_and(|p| carry.nodes.contains_key(p));
            let ran = place.status() != Some(Status::Skipped);
            if let Some(group) = place
                .group
                .as_ref()
                .filter(|own| *own != id && !inside && ran)
            {
                let path = view.path(id);
                match pods.iter_mut().find(|(own, _)| *own == group) {
                    Some((_, paths)) => paths.push(path),
                    None => pods.push((group, vec![path])),
                }
            }
        }
        for (group, paths) in pods {
            warnings.push(format!(
                "{} has a new pod: files that {} left in the old one are not there",
                view.path(group),
                listed(&paths)
            ));
        }
        let secret = |own: &carry::Carried| own.outputs.values().any(Option::is_none);
        let secrets = carry.nodes.iter().filter(|(_, own)| secret(own));
        let secrets: BTreeSet<_> = secrets.map(|(id, _)| path(id)).collect();
        if !secrets.is_empty() {
            let secrets: Vec<_> = secrets.into_iter().collect();
            warnings.push(format!(
                "no journal holds the secret outputs of {}: a step that reads one fails; `--from` runs it again",
                listed(&secrets)
            ));
        }
        warnings
    }
}

fn listed(paths: &[String]) -> String {
    match paths {
        [one] => one.clone(),
        [first, ..] if paths.len() <= 3 => {
            let (last, rest) = paths.split_last().unwrap_or((first, &[]));
            format!("{} and {last}", rest.join(", "))
        }
        many => words::count(many.len() as u64, "step"),
    }
}

/// The path of a node that no event of this run tells of.
fn path(id: &NodeId) -> String {
    let parts = id.0.split('.');
    let parts: Vec<_> = parts
        .filter(|part| !matches!(*part, "stages" | "steps"))
        .collect();
    parts.join("/")
}

/// The stage, group or step that a word means.
fn find(view: &View, word: &str) -> Result<NodeId, Problem> {
    let all = nodes(view);
    let wanted = word.trim_matches('/');
    let exact = |(id, path): &&(NodeId, String)| id.0 == wanted || path == wanted;
    let end = |(_, path): &&(NodeId, String)| {
        path.strip_suffix(wanted)
            .is_some_and(|head| head.is_empty() || head.ends_with('/'))
    };
    let mut found: Vec<_> = all.iter().filter(exact).collect();
    if found.is_empty() {
        found = all.iter().filter(end).collect();
    }
    // A loop has the path of what it repeats.
    let loops = |(id, _): &&(NodeId, String)| {
        let item = view.items.get(id);
        item.is_some_and(|item| item.node.kind == Kind::Loop)
    };
    match found.as_slice() {
        [(id, _)] => Ok(id.clone()),
        [] => Err(unknown(view, word)),
        many => {
            if let Some((id, _)) = many.iter().copied().find(loops) {
                return Ok(id.clone());
            }
            let paths: Vec<_> = many.iter().map(|(_, path)| path.as_str()).collect();
            Err(Problem::invalid(format!(
                "--from {word} is the name of {} of run {}",
                words::count(many.len() as u64, "node"),
                view.run
            ))
            .help(format!("say which: {}", paths.join(", "))))
        }
    }
}

fn unknown(view: &View, word: &str) -> Problem {
    let names: Vec<_> = nodes(view).into_iter().map(|(_, path)| path).collect();
    let more = names.len().saturating_sub(MOST_NAMES);
    let shown = names.into_iter().take(MOST_NAMES).collect::<Vec<_>>();
    let problem = Problem::invalid(format!(
        "--from {word}: run {} has no such stage, group or step",
        view.run
    ));
    if shown.is_empty() {
        return problem.help("it had not got to any; leave out `--from`");
    }
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    problem.help(format!("it has {}{more}", shown.join(", ")))
}

/// The nodes that a retry may begin with, in the order of the text.
fn nodes(view: &View) -> Vec<(NodeId, String)> {
    let mut found = Vec::new();
    let root = view.root.iter();
    let mut open: Vec<NodeId> = root
        .flat_map(|root| view.children(root).iter().rev().cloned())
        .collect();
    while let Some(id) = open.pop() {
        let Some(item) = view.items.get(&id) else {
            continue;
        };
        match item.node.kind {
            Kind::Rollback | Kind::Initialize => continue,
            Kind::Stage(_) | Kind::StepGroup { .. } | Kind::Step(_) => {
                found.push((id.clone(), view.path(&id)));
            }
            Kind::Loop => {
                let around = item
                    .parent
                    .as_ref()
                    .map_or_else(String::new, |p| view.path(p));
                let name = &item.node.identifier;
                let path = if around.is_empty() {
                    name.clone()
                } else {
                    format!("{around}/{name}")
                };
                found.push((id.clone(), path));
            }
            Kind::Pipeline | Kind::Parallel => {}
        }
        open.extend(view.children(&id).iter().rev().cloned());
    }
    found
}

/// Keeps what the new run is made of: the texts and the working trees of the run before.
fn keep(meta: &mut Meta, before: &RunDir, run: &RunDir, args: &Retry) -> Result<(), Problem> {
    for snapshot in &meta.texts {
        let (from, to) = (before.join(&snapshot.file), run.join(&snapshot.file));
        fs::copy(&from, &to).map_err(|e| {
            Problem::system(
                format_args!("copy {} to {}", from.display(), to.display()),
                &e,
            )
        })?;
    }
    for (at, (repo, _)) in meta.local.iter().enumerate() {
        let name = format!("local/{at}");
        let kept = Local {
            repo: repo.clone(),
            dir: before.join(&name),
        };
        kept.copy(&run.join(&name))?;
    }
    meta.created_ms = now_ms();
    if let Some(file) = &args.secrets.secrets_file {
        meta.secrets_file = std::path::absolute(file).ok();
    }
    meta.write(run)
}
