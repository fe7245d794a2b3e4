//! What is known of values before anything runs, since they depend on nothing: expressions of literals alone, variables that lead
//! back to themselves, loops that are written out.

use std::collections::HashSet;

use syntax::expr::{Expr, Kind, Part, Problem, Template};
use syntax::yaml::{Node, Value};
use syntax::{Diagnostic, Span, code};

use crate::plan::{self, Place, What};

use super::known::World;
use super::scope::At;

/// What is wrong with a text whose expressions are these, whatever a run brings. `variable`: it is one's value, evaluated where it is
/// read.
pub(super) fn problem(
    text: &str,
    seen: &[Expr],
    at: &At<'_, '_>,
    variable: bool,
) -> Option<Diagnostic> {
    let constant = !seen.is_empty() && seen.iter().all(is_constant);
    if !constant && !variable {
        return None;
    }
    let error = Template::parse(text).ok()?.value(at).err()?;
    let (message, help) = match error.problem {
        Problem::TooDeep if variable => (
            "the variable leads back to itself, or through more than 16 others".to_owned(),
            "give one of the variables on the way a value of its own",
        ),
        Problem::Secret(_) => return None,
        _ if constant => (error.to_string(), "mend the expression"),
        _ => return None,
    };
    Some(Diagnostic::error(code::EXPRESSION_FAILED, message).help(help))
}

/// It reads nothing.
fn is_constant(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Literal(_) => true,
        Kind::Unary(_, of) | Kind::Safe(of) => is_constant(of),
        Kind::Binary(_, a, b) | Kind::Coalesce(a, b) | Kind::Elvis(a, b) => {
            is_constant(a) && is_constant(b)
        }
        Kind::Ternary(a, b, c) => [a, b, c].into_iter().all(|own| is_constant(own)),
        Kind::List(items) => items.iter().all(is_constant),
        Kind::Text(parts) => parts.iter().all(|part| match part {
            Part::Expr(expr) => is_constant(expr),
            Part::Text(_) => true,
        }),
        _ => false,
    }
}

/// Loops that are written out, without an expression in them, and cannot be run.
pub(super) fn loops(world: &World<'_>, document: &Node) -> Vec<Diagnostic> {
    let mut open = HashSet::new();
    with_expressions(document, &mut open);
    let looped = |place: &Place<'_>| {
        let What::Loop(_) = place.what else {
            return false;
        };
        let strategy = place.strategy();
        strategy.is_some_and(|own| own.literal().is_some() && !open.contains(&own.span()))
    };
    Place::all(world.pipeline)
        .iter()
        .filter(|place| looped(place))
        .filter_map(|place| plan::iterations(world, place).err())
        .flatten()
        .filter(|own| own.code == code::BAD_LOOP)
        .collect()
}

/// The places of all mappings that have an expression somewhere.
fn with_expressions(node: &Node, found: &mut HashSet<Span>) -> bool {
    let any = match &node.value {
        Value::Scalar(own) => own.text.contains("<+"),
        Value::Sequence(items) => {
            let each: Vec<_> = items
                .iter()
                .map(|own| with_expressions(own, found))
                .collect();
            each.contains(&true)
        }
        Value::Mapping(mapping) => {
            // Names of iterations are made of their values, and change nothing of how many there are.
            let entries = mapping.entries.iter();
            let entries = entries.filter(|own| &*own.key.text != "nodeName");
            let each: Vec<_> = entries
                .map(|own| own.key.text.contains("<+") | with_expressions(&own.value, found))
                .collect();
            each.contains(&true)
        }
    };
    if any {
        found.insert(node.span);
    }
    any
}
