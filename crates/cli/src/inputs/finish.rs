//! What becomes of an input that nothing was given for: its default, nothing where that will do, or an error.

use std::fmt::Write as _;

use pipeline::model::tree::{asks, is_variable, put_own_default};
use pipeline::model::{Input, can_be_asked_later};
use syntax::yaml::{Node, Value};
use syntax::{Diagnostic, code};

use super::paths::{Asked, walk};
use super::scalar;

/// Runtime inputs that nothing was given for take their default, or are told.
pub(super) fn finish(pipeline: &mut Node, asked: &Asked, diagnostics: &mut Vec<Diagnostic>) {
    walk(pipeline, &mut String::new(), &mut |path, node| {
        if is_variable(node) {
            put_own_default(node);
            return;
        }
        let Some(text) = node.as_text().filter(|_| asks(node)) else {
            return;
        };
        // What cannot be understood is told by the model.
        let Ok(input) = Input::parse(text) else {
            return;
        };
        if input.execution && is_asked_later(path) {
            return;
        }
        let span = node.span;
        let of_variable = path
            .strip_suffix(".value")
            .is_some_and(|head| head.contains("variables."));
        if let Some(default) = &input.default {
            let mut value = scalar(default, span);
            if input.many && !of_variable {
                let items = default.split(',').map(|item| scalar(item.trim(), span));
                value.value = Value::Sequence(items.collect());
            }
            *node = value;
            return;
        }
        if is_of_an_entity(path) {
            node.value = scalar("", span).value;
            return;
        }
        let name = path.strip_prefix("variables.").unwrap_or(path);
        let name = name
            .strip_suffix(".value")
            .filter(|name| asked.contains_key(*name))
            .unwrap_or(name);
        let mut help = format!("give it by `--set {name}=…`, or in a file of `--inputs`");
        if let Some(allowed) = &input.allowed {
            let _ = write!(help, "; it is one of {}", allowed.join(", "));
        }
        diagnostics.push(
            Diagnostic::error(
                code::MISSING_INPUT,
                format!("the runtime input `{name}` has no value"),
            )
            .at(span, "")
            .help(help),
        );
    });
}

/// All inputs of a service, an environment or an infrastructure at once. Whether that one has any, only its document says: no
/// answer is none of them, and what it lacks then is told with its own places.
fn is_of_an_entity(path: &str) -> bool {
    let (head, key) = path.rsplit_once('.').unwrap_or(("", path));
    match key {
        "serviceInputs" | "environmentInputs" | "serviceOverrideInputs" | "infraInputs" => true,
        "inputs" => head.contains(".infrastructureDefinition"),
        // Where nothing is left to fill in the chosen artifact.
        "sources" => head.contains(".serviceInputs."),
        _ => false,
    }
}

/// It is asked for when its step is reached: what stands in the `spec` of a step, but for what its container is made of.
fn is_asked_later(path: &str) -> bool {
    path.rsplit_once(".spec.").is_some_and(|(step, below)| {
        (step.contains(".steps.") || step.contains(".rollbackSteps.")) && can_be_asked_later(below)
    })
}
