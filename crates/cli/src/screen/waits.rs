//! What a step that runs nowhere waits for, in words.

use pipeline::plan::{Question, Wait};

use super::view::View;
use super::{tree, words};

/// What it waits for.
pub(crate) fn says(wait: &Wait) -> String {
    match wait {
        Wait::Time { ms } => format!("waits {}", words::took(*ms)),
        Wait::Barrier { barrier, .. } => format!("waits at the barrier {barrier}"),
        Wait::Queue { key, .. } => format!("waits for its turn in the queue {key}"),
        Wait::Start(gate) if gate.inputs.is_empty() => "waits to be started".to_owned(),
        Wait::Start(gate) => {
            let names: Vec<_> = gate.inputs.iter().map(question).collect();
            format!("asks for {}", names.join(", "))
        }
        Wait::Approval(approval) => {
            let mut lines = approval.message.trim().lines();
            let first = lines.next().unwrap_or_default();
            let more = if lines.next().is_some() { " …" } else { "" };
            let colon = if first.is_empty() { "" } else { ": " };
            let auto = approval.auto.as_ref();
            let auto = auto.map_or_else(String::new, |own| {
                format!("; given by itself at {}", own.when)
            });
            format!("waits for an approval{colon}{first}{more}{auto}")
        }
    }
}

/// What ran so far, where those who approve are to see it.
pub(crate) fn history(wait: &Wait, view: &View) -> Vec<String> {
    let shown = matches!(wait, Wait::Approval(approval) if approval.history);
    let Some(root) = view.root.as_ref().filter(|_| shown) else {
        return Vec::new();
    };
    let leaves = view.below(root).into_iter().filter_map(|id| {
        let item = view.items.get(&id)?;
        let status = item.status.filter(|_| item.is_leaf())?;
        let took = item.ended_ms.zip(item.began_ms);
        let took = took.map_or_else(String::new, |(to, from)| {
            format!(" in {}", words::took(to.saturating_sub(from)))
        });
        let word = tree::status_word(status);
        Some(format!("before it: {} {word}{took}", view.path(&id)))
    });
    leaves.collect()
}

/// An input with what is allowed for it.
fn question(own: &Question) -> String {
    let input = own.input();
    let mut notes = Vec::new();
    if let Some(allowed) = &input.allowed {
        let of = if input.many { "some of" } else { "one of" };
        notes.push(format!("{of} {}", allowed.join(", ")));
    }
    if let Some(regex) = &input.regex {
        notes.push(format!("like {regex}"));
    }
    if let Some(default) = &input.default {
        notes.push(format!("else {default}"));
    }
    if notes.is_empty() {
        own.name.clone()
    } else {
        format!("{} ({})", own.name, notes.join("; "))
    }
}

/// What a person types on the terminal of the run.
pub(crate) fn typed(wait: &Wait) -> &'static str {
    match wait {
        Wait::Start(gate) if gate.inputs.is_empty() => "type `start`",
        Wait::Start(gate) if gate.inputs.len() == 1 => "type its value",
        Wait::Start(_) => "type NAME=VALUE, a line each; an empty line takes the defaults",
        _ => "type `yes` or `no`, and why",
    }
}

/// How people answer; none where it waits for no person. `path` is that of the step.
pub(crate) fn how(wait: &Wait, run: &str, path: &str) -> Option<String> {
    if let Wait::Start(gate) = wait {
        let inputs: Vec<_> = gate
            .inputs
            .iter()
            .map(|own| format!(" {}=…", own.name))
            .collect();
        return Some(format!("stepyard answer {run} {path}{}", inputs.concat()));
    }
    let Wait::Approval(approval) = wait else {
        return None;
    };
    let inputs: Vec<_> = approval
        .inputs
        .iter()
        .map(|own| format!(" --set {}=…", own.name))
        .collect();
    Some(format!(
        "stepyard approve {run} {path}{} (or --reject)",
        inputs.concat()
    ))
}
