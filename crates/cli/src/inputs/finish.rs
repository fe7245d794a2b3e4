//! What becomes of an input that nothing was given for: its default, nothing where that will do, or an error.

use std::fmt::Write as _;

use pipeline::model::tree::{asks, get, get_mut};
use pipeline::model::{Input, can_be_asked_later};
use syntax::yaml::{Kind, Node, Value};
use syntax::{Diagnostic, code};

use super::paths::{Asked, is_variable, walk};
use super::{place, scalar, text_node};

/// Runtime inputs that nothing was given for take their default, or are told.
pub(super) fn finish(pipeline: &mut Node, asked: &Asked, diagnostics: &mut Vec<Diagnostic>) {
    walk(pipeline, &mut String::new(), &mut |path, node| {
        if is_variable(node) {
            by_its_variable(node);
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

/// A variable that nothing was given for, and whose input has no default of its own: it takes its `default`, or is empty where
/// it is not `required`.
fn by_its_variable(variable: &mut Node) {
    let asked = get(variable, "value")
        .filter(|own| asks(own))
        .and_then(|own| Input::parse(own.as_text()?).ok());
    if asked.is_none_or(|own| own.default.is_some() || own.execution) {
        return;
    }
    let default = get(variable, "default").filter(|own| !own.is_null() && !asks(own));
    let optional = get(variable, "required").and_then(Node::as_text) == Some("false");
    let answer = match default {
        Some(own) => own.clone(),
        None if optional => empty(variable),
        None => return,
    };
    if let Some(value) = get_mut(variable, "value") {
        let span = value.span;
        *value = answer;
        place(value, span);
    }
}

/// The value of a variable without one.
fn empty(variable: &Node) -> Node {
    let mut node = text_node("", variable.span);
    if get(variable, "type").and_then(Node::as_text) == Some("Number")
        && let Value::Scalar(scalar) = &mut node.value
    {
        scalar.kind = Kind::Null;
    }
    node
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
