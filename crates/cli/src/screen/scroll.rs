//! What stays on a terminal above the tree: the output of each step once it is over, and warnings.
//!
//! While a step runs its last lines are in the tree; when it is over its output is printed once, whole if it is short,
//! and else its end with the command that shows the rest. So parallel steps do not tear each other's lines apart, a
//! person can scroll back through what happened, and a chatty build does not push everything else away.

use engine::event::{Event, Handling, Status};
use pipeline::plan::NodeId;

use super::ansi;
use super::handling;
use super::line::{Line, Tone};
use super::tail::KEPT;
use super::tree;
use super::view::{Seen, View};
use super::waits;
use super::words;
use crate::steps;

/// The text that `seen` leaves above the tree; `view` has already seen it. Lines are ready to print.
pub(crate) fn block(view: &View, seen: &Seen, columns: usize, colour: bool) -> Vec<String> {
    let Seen::Event(stamped) = seen else {
        return Vec::new();
    };
    match &stamped.event {
        Event::NodeFinished { node, status, .. } => finished(view, node, *status, columns, colour),
        Event::Waiting { node, wait, .. } => {
            let path = view.path(node);
            let Some(how) = waits::how(wait, &view.run, &path) else {
                return Vec::new();
            };
            let head =
                Line::of(Tone::Strong, path).with(Tone::Plain, format!(" {}", waits::says(wait)));
            let hint = format!("  {}; or: {how}", waits::typed(wait));
            vec![
                head.cut(columns).render(colour),
                Line::of(Tone::Dim, hint).cut(columns).render(colour),
            ]
        }
        Event::FailureHandled {
            node,
            failure,
            handling: what @ Handling::Ask { .. },
            by,
            ..
        } => {
            let path = view.path(node);
            let mut lines = vec![
                Line::of(Tone::Warn, "?")
                    .with(Tone::Strong, format!(" {path}"))
                    .with(Tone::Plain, format!(" {}", failure.message))
                    .with(Tone::Dim, format!("  {:?}", failure.error)),
            ];
            if let Some(help) = &failure.help {
                let mut head = "  help: ";
                for help in help.lines() {
                    lines.push(Line::of(Tone::Dim, format!("{head}{help}")));
                    head = "        ";
                }
            }
            let decided = handling::decided(view, what, by, stamped.at_ms);
            lines.push(Line::of(Tone::Plain, format!("  {decided}")));
            let hint = format!(
                "  type an answer; or: stepyard intervene {} {path} ACTION",
                view.run
            );
            lines.push(Line::of(Tone::Dim, hint));
            let lines = lines.into_iter().map(|line| line.cut(columns));
            lines.map(|line| line.render(colour)).collect()
        }
        _ => Vec::new(),
    }
}

fn finished(
    view: &View,
    node: &NodeId,
    status: Status,
    columns: usize,
    colour: bool,
) -> Vec<String> {
    let Some(item) = view.items.get(node).filter(|item| item.is_leaf()) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    // Of an Initialize that went well only the warnings matter.
    let log = item.step().is_some() || !status.is_positive();
    let total = if log { item.tail.total() } else { 0 };
    if total == 0 && item.warnings.is_empty() {
        return out;
    }
    let (glyph, tone) = tree::glyph(item);
    let mut head = Line::of(tone, glyph).with(Tone::Strong, format!(" {}", view.path(node)));
    let note = tree::note(item);
    if !note.is_empty() {
        head.push(Tone::Dim, format!("  {note}"));
    }
    if let Some(ms) = item.elapsed(view.now_ms) {
        head.push(Tone::Dim, format!("  {}", words::took(ms)));
    }
    out.push(head.cut(columns).render(colour));
    if total > KEPT as u64 {
        let step = steps::called(view, item);
        let missing = words::count(total - KEPT as u64, "earlier line");
        let hint = format!("  … {missing}: stepyard logs {} {step}", view.run);
        out.push(Line::of(Tone::Dim, hint).cut(columns).render(colour));
    }
    if log {
        for line in item.tail.last(KEPT) {
            out.push(format!("  {}", ansi::clean(line, colour)));
        }
    }
    for warning in &item.warnings {
        // Those of Initialize are in its log, which is shown where it failed.
        if item.step().is_some() || status.is_positive() {
            let line = Line::of(Tone::Warn, "  warning: ")
                .with(Tone::Plain, ansi::clean(warning.as_bytes(), false));
            out.push(line.render(colour));
        }
    }
    out
}
