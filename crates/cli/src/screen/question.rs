//! What a person is asked while a run goes on, and what an answer means: an approval, or what becomes of a failure.

use std::collections::BTreeMap;

use driver::control::Ask;
use engine::event::{Handling, Interrupt, Intervention};
use pipeline::plan::{Kind, NodeId, Runs};

use super::ansi;
use super::line::{Line, Tone};
use super::view::{Item, View};
use super::words;

/// What may be answered about a failure: a key, the word that `stepyard intervene` knows, what it does.
const CHOICES: [(&str, &str, Intervention); 9] = [
    ("r", "retry", Intervention::Retry),
    ("g", "retry-step-group", Intervention::RetryStepGroup),
    ("i", "ignore", Intervention::Ignore),
    ("s", "mark-as-success", Intervention::MarkAsSuccess),
    ("f", "mark-as-failure", Intervention::MarkAsFailure),
    ("b", "stage-rollback", Intervention::StageRollback),
    ("", "step-group-rollback", Intervention::StepGroupRollback),
    ("", "pipeline-rollback", Intervention::PipelineRollback),
    ("a", "abort", Intervention::Abort),
];

/// The node that has waited longest for a person, if any does.
pub(crate) fn open(view: &View) -> Option<(&NodeId, &Item)> {
    let id = view.open.first()?;
    Some((id, view.items.get(id)?))
}

/// What may become of a node's failure here, with the key for it.
pub(crate) fn choices(
    view: &View,
    node: &NodeId,
) -> Vec<(&'static str, &'static str, Intervention)> {
    let mut around = Vec::new();
    let mut at = view.items.get(node);
    while let Some(item) = at {
        around.push(item);
        at = item
            .parent
            .as_ref()
            .and_then(|parent| view.items.get(parent));
    }
    let undoes = around.iter().any(|own| own.node.kind == Kind::Rollback);
    let in_group = around.iter().skip(1).find(|own| {
        matches!(
            own.node.kind,
            Kind::StepGroup { .. } | Kind::Stage(_) | Kind::Rollback
        )
    });
    let in_group = in_group.is_some_and(|own| matches!(own.node.kind, Kind::StepGroup { .. }));
    let in_stage = around
        .iter()
        .any(|own| matches!(own.node.kind, Kind::Stage(_)));
    // The same container, in the same pod: where that is gone, only the whole group can begin again.
    let contained = around.first().is_some_and(|own| {
        own.step()
            .is_some_and(|step| step.runs() == Runs::Container)
    });
    let gone = contained && around.iter().any(|own| view.lost.contains(&own.node.id));
    let all = CHOICES.into_iter().filter(|(_, _, choice)| match choice {
        Intervention::Retry => !gone,
        Intervention::RetryStepGroup => in_group,
        Intervention::StepGroupRollback => in_group && !undoes,
        Intervention::StageRollback => in_stage && !undoes,
        Intervention::PipelineRollback => !undoes,
        _ => true,
    });
    all.collect()
}

/// The words of all that may become of a failure.
pub(crate) fn ways(view: &View, node: &NodeId) -> String {
    let all = choices(view, node);
    let all: Vec<_> = all.iter().map(|(_, word, _)| *word).collect();
    all.join(" | ")
}

/// What is asked, as the last rows of the screen, with what was typed so far.
pub(crate) fn rows(view: &View, typed: &str, columns: usize) -> Vec<Line> {
    let Some((id, item)) = open(view) else {
        return Vec::new();
    };
    let path = ansi::clean(view.path(id).as_bytes(), false);
    let mut head = Line::of(Tone::Warn, "?").with(Tone::Strong, format!(" {path}"));
    let mut keys = Line::of(Tone::Plain, "  ");
    let mut rows = Vec::new();
    if let Some(Handling::Ask { until_ms, then }) = &item.handling {
        let why = item.failure.as_ref().map_or("", |own| &own.message);
        head.push(
            Tone::Plain,
            format!(" {}", ansi::clean(why.as_bytes(), false)),
        );
        let left = words::running(until_ms.saturating_sub(view.now_ms));
        head.push(Tone::Dim, format!("  {left} left, then {}", then.name()));
        for (key, word, _) in choices(view, id).iter().filter(|own| !own.0.is_empty()) {
            // What does not fit goes into the next row.
            if keys.width() + key.len() + 1 + word.len() > columns {
                rows.push(std::mem::replace(&mut keys, Line::of(Tone::Plain, "  ")));
            }
            keys.push(Tone::Strong, *key);
            keys.push(Tone::Dim, format!(" {word}  "));
        }
    } else {
        let what = item.waits.as_deref().unwrap_or_default();
        head.push(
            Tone::Plain,
            format!(" {}", ansi::clean(what.as_bytes(), false)),
        );
        keys.push(Tone::Strong, "yes");
        keys.push(Tone::Dim, " or ");
        keys.push(Tone::Strong, "no");
        keys.push(Tone::Dim, ", and why");
    }
    let more = view.open.len() - 1;
    if more > 0 {
        let text = format!("  {} more", words::count(more as u64, "question"));
        head.push(Tone::Dim, text);
    }
    // Of a long answer the end is what is being written.
    let typed: String = {
        let typed = ansi::clean(typed.as_bytes(), false);
        let skip = typed
            .chars()
            .count()
            .saturating_sub(columns.saturating_sub(8));
        typed.chars().skip(skip).collect()
    };
    let answer = Line::of(Tone::Busy, "  › ").with(Tone::Plain, format!("{typed}▏"));
    rows.insert(0, head);
    rows.extend([keys, answer]);
    let rows = rows.into_iter().map(|row| row.cut(columns).trim_end());
    rows.collect()
}

/// What a typed line means to whoever waits longest; none where nobody waits.
pub(crate) fn answer(view: &View, line: &str) -> Option<Result<Ask, String>> {
    let (id, item) = open(view)?;
    let path = view.path(id);
    Some(if matches!(item.handling, Some(Handling::Ask { .. })) {
        let word = line.trim().to_ascii_lowercase();
        let all = choices(view, id);
        let found = all
            .iter()
            .find(|(key, name, _)| !word.is_empty() && (*key == word || *name == word));
        match found {
            Some((_, _, action)) => Ok(Ask::Interrupt(Interrupt::Node {
                node: id.clone(),
                action: *action,
            })),
            None => Err(format!(
                "`{word}` decides nothing about {path}: type {}",
                ways(view, id)
            )),
        }
    } else {
        said(line, id).ok_or_else(|| format!("{path}: answer with `yes` or `no`, and why"))
    })
}

/// What a line means to an approval; the first word decides, the rest is the comment.
fn said(line: &str, node: &NodeId) -> Option<Ask> {
    let line = line.trim();
    let (word, comment) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let approve = match &*word.to_ascii_lowercase() {
        "yes" | "approve" => true,
        "no" | "reject" => false,
        _ => return None,
    };
    Some(Ask::Answer {
        node: node.clone(),
        approve,
        comment: comment.trim().to_owned(),
        inputs: BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_are_answers() {
        for (line, wanted) in [
            ("yes", Some((true, ""))),
            ("Yes fine by me", Some((true, "fine by me"))),
            ("no  not on a Friday ", Some((false, "not on a Friday"))),
            ("reject", Some((false, ""))),
            ("approve", Some((true, ""))),
            ("y", None),
            ("", None),
            ("yesterday", None),
        ] {
            let found = said(line, &NodeId::from("n")).map(|ask| match ask {
                Ask::Answer {
                    approve, comment, ..
                } => (approve, comment),
                Ask::Interrupt(_) => unreachable!("no interrupt is typed"),
            });
            let wanted = wanted.map(|(approve, comment)| (approve, comment.to_owned()));
            assert_eq!(found, wanted, "{line}");
        }
    }
}
