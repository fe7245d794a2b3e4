//! Identifiers are unique where expressions and node ids go by them: stages in a pipeline, steps in their list.

use std::collections::HashMap;

use syntax::{Diagnostic, Span, code};

use super::super::execution::Element;
use super::super::lower::Cx;
use super::super::name::Identifier;
use super::super::pipeline::Pipeline;
use super::super::stage::Stage;

/// A set of identifiers.
#[derive(Default)]
struct Seen<'m>(HashMap<&'m str, Span>);

impl<'m> Seen<'m> {
    fn add(&mut self, identifier: &'m Identifier, what: &str, cx: &mut Cx) {
        if identifier.as_str().is_empty() {
            return;
        }
        if let Some(first) = self.0.insert(identifier.as_str(), identifier.span()) {
            cx.push(
                Diagnostic::error(
                    code::DUPLICATE_IDENTIFIER,
                    format!("the {what} `{identifier}` is there twice"),
                )
                .at(identifier.span(), "again here")
                .at(first, "first here")
                .help("give one of them another identifier"),
            );
        }
    }
}

/// Stages of a pipeline.
pub(super) fn stages(pipeline: &Pipeline, cx: &mut Cx) {
    let mut seen = Seen::default();
    for stage in pipeline.all_stages() {
        seen.add(stage.identifier(), "stage", cx);
    }
}

/// Steps and groups of a stage: each list with its parallel blocks is one scope, each group inside it another.
pub(super) fn steps(stage: &Stage, cx: &mut Cx) {
    if let Some(execution) = stage.execution() {
        for list in [&execution.steps, &execution.rollback_steps] {
            scope(list, cx);
        }
    }
}

fn scope(list: &[Element], cx: &mut Cx) {
    let mut seen = Seen::default();
    let mut groups = Vec::new();
    collect(list, &mut seen, &mut groups, cx);
    for group in groups {
        scope(group, cx);
    }
}

fn collect<'m>(
    list: &'m [Element],
    seen: &mut Seen<'m>,
    groups: &mut Vec<&'m [Element]>,
    cx: &mut Cx,
) {
    for element in list {
        match element {
            Element::Step(step) => seen.add(&step.identifier, "step", cx),
            Element::Group(group) => {
                seen.add(&group.identifier, "step group", cx);
                groups.push(&group.steps);
                groups.push(&group.rollback_steps);
            }
            Element::Parallel(_) | Element::Insert(_) => {
                collect(element.children(), seen, groups, cx);
            }
        }
    }
}
