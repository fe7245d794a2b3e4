//! Output aliases: each is written once in its scope. Of steps that run by a condition only one may: that is told when the alias is
//! read.

use std::collections::HashMap;

use syntax::{Diagnostic, Span, code};

use super::super::condition::{Status, When};
use super::super::execution::Element;
use super::super::lower::Cx;
use super::super::param::Param;
use super::super::pipeline::Pipeline;
use super::super::resources::AliasScope;

/// Scope, its stage, its group, key.
type Key<'m> = (AliasScope, &'m str, &'m str, &'m str);

/// Of a pipeline.
pub(super) fn pipeline<'m>(pipeline: &'m Pipeline, cx: &mut Cx) {
    let mut seen: HashMap<Key<'m>, Span> = HashMap::new();
    for stage in pipeline.all_stages() {
        let id = stage.identifier().as_str();
        if is_conditional(stage.common.when.as_ref()) {
            continue;
        }
        if let Some(execution) = stage.execution() {
            elements(&execution.steps, id, "", &mut seen, cx);
            elements(&execution.rollback_steps, id, "", &mut seen, cx);
        }
    }
}

/// It runs by a condition, or only after a failure.
fn is_conditional(when: Option<&Param<When>>) -> bool {
    match when {
        None => false,
        Some(Param::Literal(own)) => {
            let status = own.value.status.as_ref().map(|own| own.value);
            own.value.condition.is_some() || status == Some(Status::Failure)
        }
        Some(_) => true,
    }
}

fn elements<'m>(
    list: &'m [Element],
    stage: &'m str,
    group: &'m str,
    seen: &mut HashMap<Key<'m>, Span>,
    cx: &mut Cx,
) {
    for element in list {
        let group = match element {
            Element::Group(own) => own.identifier.as_str(),
            _ => group,
        };
        let when = match element {
            Element::Step(own) => own.when.as_ref(),
            Element::Group(own) => own.when.as_ref(),
            _ => None,
        };
        if is_conditional(when) {
            continue;
        }
        elements(element.children(), stage, group, seen, cx);
        let Element::Step(step) = element else {
            continue;
        };
        let Some(alias) = step.output_alias() else {
            continue;
        };
        let (Some(Param::Literal(key)), Some(Param::Literal(scope))) = (&alias.key, &alias.scope)
        else {
            continue;
        };
        let place = match scope.value {
            AliasScope::Pipeline => ("", ""),
            AliasScope::Stage => (stage, ""),
            AliasScope::StepGroup => (stage, group),
        };
        let own = (scope.value, place.0, place.1, key.value.as_str());
        if let Some(first) = seen.insert(own, key.span) {
            cx.push(
                Diagnostic::error(
                    code::DUPLICATE_ALIAS,
                    format!(
                        "the alias `{}` is there twice in its {}",
                        key.value, scope.value
                    ),
                )
                .at(key.span, "again here")
                .at(first, "first here")
                .help("give one of them another `key`"),
            );
        }
    }
}
