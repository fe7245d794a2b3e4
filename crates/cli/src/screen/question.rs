//! What a person is asked while a run goes on, and what an answer means: an approval, the inputs of
//! a step, or what becomes of a failure.

use std::collections::BTreeMap;

use driver::control::Ask;
use engine::event::{Handling, Interrupt, Intervention};
use pipeline::plan::{Gate, Kind, NodeId, Runs, Wait};

use super::ansi;
use super::line::{Line, Tone};
use super::view::{Item, View};
use super::{waits, words};

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
        if let Some(gate) = &item.gate {
            keys.push(Tone::Dim, waits::typed(&Wait::Start(gate.clone())));
        } else {
            keys.push(Tone::Strong, "yes");
            keys.push(Tone::Dim, " or ");
            keys.push(Tone::Strong, "no");
            keys.push(Tone::Dim, ", and why");
        }
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

/// What a typed line means to whoever waits longest; none where nobody waits, or where the line is empty and means nothing. An answer may
/// take several lines: the last one gives what is to be asked of the run.
pub(crate) fn answer(
    view: &View,
    line: &str,
    given: &mut Given,
) -> Option<Result<Option<Ask>, String>> {
    let (id, item) = open(view)?;
    if let Some(gate) = &item.gate {
        return Some(given.answer(line.trim(), id, gate));
    }
    if line.trim().is_empty() {
        return None;
    }
    let path = view.path(id);
    Some(if matches!(item.handling, Some(Handling::Ask { .. })) {
        let word = line.trim().to_ascii_lowercase();
        let all = choices(view, id);
        let found = all
            .iter()
            .find(|(key, name, _)| !word.is_empty() && (*key == word || *name == word));
        match found {
            Some((_, _, action)) => Ok(Some(Ask::Interrupt(Interrupt::Node {
                node: id.clone(),
                action: *action,
            }))),
            None => Err(format!(
                "`{word}` decides nothing about {path}: type {}",
                ways(view, id)
            )),
        }
    } else {
        let said = said(line, id).map(Some);
        said.ok_or_else(|| format!("{path}: answer with `yes` or `no`, and why"))
    })
}

/// What was typed so far for one question.
#[derive(Debug, Default)]
pub(crate) struct Given {
    node: Option<NodeId>,
    inputs: BTreeMap<String, String>,
}

impl Given {
    /// The answer that is complete with this line; none: it is not, yet.
    fn answer(&mut self, line: &str, node: &NodeId, gate: &Gate) -> Result<Option<Ask>, String> {
        if self.node.as_ref() != Some(node) {
            *self = Self {
                node: Some(node.clone()),
                inputs: BTreeMap::new(),
            };
        }
        let named = line
            .split_once('=')
            .filter(|(name, _)| gate.inputs.iter().any(|own| own.name == *name));
        match (gate.inputs.as_slice(), named) {
            ([], _) if line != "start" => return Err("type `start`".to_owned()),
            ([], _) => {}
            (_, Some((name, value))) => {
                self.inputs.insert(name.to_owned(), value.to_owned());
            }
            ([only], None) if !line.is_empty() => {
                self.inputs.insert(only.name.clone(), line.to_owned());
            }
            (_, None) if line.is_empty() => {
                if let Err(name) = gate.values(&self.inputs) {
                    return Err(format!("the input `{name}` must be given"));
                }
            }
            (_, None) => return Err("answer with NAME=VALUE".to_owned()),
        }
        let all = gate
            .inputs
            .iter()
            .all(|own| self.inputs.contains_key(&own.name));
        Ok((all || line.is_empty()).then(|| Ask::Answer {
            node: node.clone(),
            approve: true,
            comment: String::new(),
            inputs: std::mem::take(&mut self.inputs),
        }))
    }
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
    use pipeline::plan::Question;

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

    #[test]
    fn inputs_are_typed_line_by_line_until_all_are_there() {
        let question = |name: &str, input: &str| Question {
            name: name.to_owned(),
            input: input.to_owned(),
        };
        let gate = Gate {
            inputs: vec![
                question("a", "<+input>.executionInput()"),
                question("b", "<+input>.default(2).executionInput()"),
            ],
            timeout_ms: 1,
        };
        let node = NodeId::from("n");
        let mut given = Given::default();
        let inputs = |ask: Result<Option<Ask>, String>| match ask {
            Ok(Some(Ask::Answer { inputs, .. })) => Some(inputs.len()),
            _ => None,
        };
        assert_eq!(inputs(given.answer("", &node, &gate)), None);
        assert_eq!(inputs(given.answer("a=x y", &node, &gate)), None);
        assert_eq!(inputs(given.answer("", &node, &gate)), Some(1));
        assert_eq!(inputs(given.answer("b=3", &node, &gate)), None);
        assert_eq!(inputs(given.answer("a=4", &node, &gate)), Some(2));
        assert!(given.answer("what", &node, &gate).is_err());
        let one = Gate {
            inputs: vec![question("a", "<+input>.executionInput()")],
            timeout_ms: 1,
        };
        assert_eq!(inputs(given.answer("c=d", &node, &one)), Some(1));
        let none = Gate {
            inputs: Vec::new(),
            timeout_ms: 1,
        };
        assert_eq!(inputs(given.answer("start", &node, &none)), Some(0));
        assert!(given.answer("go", &node, &none).is_err());
    }
}
