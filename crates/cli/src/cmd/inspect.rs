//! `stepyard inspect`: the journal of a run, folded.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::args::{Inspect, Output};
use crate::home::{Home, RunDir};
use crate::meta::Meta;
use crate::past;
use crate::problem::{Exit, Problem};
use crate::screen::show::{Terminal, now_ms};
use crate::screen::summary::{self, Extras, Tests};
use crate::screen::{tree, view::View, waterfall, words};
use crate::{extras, out};

/// Shows a run.
pub(crate) fn run(args: &Inspect, output: Output) -> Result<Exit, Problem> {
    let dir = Home::find()?.run(args.run.as_deref())?;
    if args.reports {
        return reports(&dir, output);
    }
    if args.events {
        return events(&dir, output);
    }
    let mut view = past::view(&dir)?;
    let state = past::state(&dir, &view);
    if state == past::State::Running {
        // What runs has run until now, not until the last thing that happened.
        view.now_ms = view.now_ms.max(now_ms());
    }
    let mut extras = extras::of(&dir);
    extras.tests = extras::tests(&dir.join("reports"), &view);
    if output == Output::Json {
        return out::json(&document(&dir, &view, &extras, state));
    }
    let (terminal, columns) = terminal();
    let mut text = String::new();
    for line in summary::lines(&view, &extras, columns) {
        text.push_str(&line.render(terminal.colour));
        text.push('\n');
    }
    if state == past::State::Lost {
        let id = &dir.id;
        let _ = writeln!(
            text,
            "  its command was lost: `stepyard resume {id}` goes on, `stepyard sweep {id}` removes its pods"
        );
    }
    out::text(&text)
}

/// Where it is shown, and how many columns there are.
fn terminal() -> (Terminal, usize) {
    let terminal = Terminal::stdout();
    let columns = if terminal.live {
        Terminal::size().0.saturating_sub(1)
    } else {
        100
    };
    (terminal, columns)
}

fn document(dir: &RunDir, view: &View, extras: &Extras, state: past::State) -> serde_json::Value {
    let nodes: Vec<_> = view
        .root
        .iter()
        .flat_map(|root| std::iter::once(root.clone()).chain(view.below(root)))
        .filter_map(|id| {
            let item = view.items.get(&id)?;
            let phases = waterfall::phases(item, view.now_ms);
            let carried = view.carried.as_ref().filter(|_| item.carried.is_some());
            let carried = carried.and_then(|carry| carry.nodes.get(&id));
            let outputs: BTreeMap<_, _> = item
                .record()
                .map(|r| {
                    r.outputs
                        .iter()
                        .map(|o| {
                            (
                                o.name.clone(),
                                if o.secret {
                                    None
                                } else {
                                    Some(o.value.clone())
                                },
                            )
                        })
                        .collect()
                })
                .or_else(|| carried.map(|own| own.outputs.clone()))
                .unwrap_or_default();
            Some(json!({
                "id": id,
                "path": view.path(&id),
                "name": item.node.name,
                "kind": item.node.kind,
                "status": item.status.map(tree::status_word),
                "began_ms": item.began_ms,
                "ended_ms": item.ended_ms,
                "carried_from": item.carried,
                "failure": item.failure,
                "attempts": item.attempts.len(),
                "queued_ms": phases.queued,
                "run_ms": phases.run,
                "exit": item.record().map(|r| &r.exit),
                "peak_memory": item.record().map(|r| r.peak_memory),
                "cpu_ms": item.record().map(|r| r.cpu_ms),
                "out_of_memory": item.record().map(|r| r.oom),
                "outputs": outputs,
                "tests": extras.tests.get(&id).map(tests),
            }))
        })
        .collect();
    let meta = Meta::read(dir).ok();
    json!({
        "run": dir.id,
        "state": state.word(view),
        "name": meta.as_ref().map(|m| m.name.clone()),
        "pipeline": meta.as_ref().map(|m| m.pipeline.clone()),
        "began_ms": view.began_ms,
        "ended_ms": view.end.map(|(_, at)| at),
        "retry_of": view.carried.as_ref().map(|carry| &carry.run),
        "directory": dir.path(),
        "nodes": nodes,
    })
}

fn tests(own: &Tests) -> serde_json::Value {
    let failures = own.failures.iter();
    let failures: Vec<_> = failures
        .map(|(name, message)| json!({"name": name, "message": message}))
        .collect();
    json!({
        "total": own.total,
        "failed": own.failed,
        "skipped": own.skipped,
        "took_ms": own.took_ms,
        "failures": failures,
    })
}

fn events(dir: &RunDir, output: Output) -> Result<Exit, Problem> {
    let mut text = String::new();
    for stamped in past::events(dir)? {
        let event = serde_json::to_value(&stamped.event)
            .map_err(|e| Problem::system("write an event", &e))?;
        if output == Output::Json {
            text.push_str(&json!({"at_ms": stamped.at_ms, "event": event}).to_string());
        } else {
            let ms = stamped.at_ms % 86_400_000;
            let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
            let (name, body) = match event {
                serde_json::Value::Object(map) => map.into_iter().next().unwrap_or_default(),
                other => (
                    other.as_str().unwrap_or_default().to_owned(),
                    serde_json::Value::Null,
                ),
            };
            let _ = write!(text, "{h:02}:{m:02}:{s:02}.{:03} {name} {body}", ms % 1000);
        }
        text.push('\n');
    }
    out::text(&text)
}

fn reports(dir: &RunDir, output: Output) -> Result<Exit, Problem> {
    let root = dir.join("reports");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    if output == Output::Json {
        let list: Vec<_> = files
            .iter()
            .map(|(path, bytes)| json!({"path": path, "bytes": bytes, "report": path.strip_prefix(&root).ok()}))
            .collect();
        return out::json(&list);
    }
    if files.is_empty() {
        out::tell(format_args!("run {} has no reports", dir.id));
        return Ok(Exit::Success);
    }
    let mut text = String::new();
    let view = past::view(dir)?;
    let mut extras = extras::of(dir);
    extras.tests = extras::tests(&root, &view);
    let (terminal, columns) = terminal();
    for line in summary::all_tests(&view, &extras, columns) {
        text.push_str(&line.render(terminal.colour));
        text.push('\n');
    }
    let text = text.trim_start_matches('\n');
    let mut text = if text.is_empty() {
        String::new()
    } else {
        format!("{text}\n")
    };
    for (path, bytes) in files {
        let _ = writeln!(text, "{:>9}  {}", words::bytes(bytes), path.display());
    }
    out::text(&text)
}

fn walk(dir: &Path, found: &mut Vec<(PathBuf, u64)>) {
    // A run without reports has no such directory.
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => walk(&entry.path(), found),
            Ok(meta) => found.push((entry.path(), meta.len())),
            Err(_) => {}
        }
    }
}
