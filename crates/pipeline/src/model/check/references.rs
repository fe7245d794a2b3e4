//! Expressions: each can be read, and each step that they name is there.
//!
//! It works on the tree, not on the model, so that it sees every text, also in specs that are kept as they are. Where
//! templates or chained pipelines bring steps that are not in the text, nothing can be said of names.

use indexmap::IndexSet;
use syntax::expr::Value::Text;
use syntax::expr::{Expr, Kind, Template, parse_condition};
use syntax::yaml::{Node, Value};
use syntax::{Diagnostic, Spanned, code};

use super::super::lower::{Cx, nearest};
use super::super::name::Ref;

/// Steps that the format adds by itself.
const IMPLICIT: [&str; 4] = [
    "liteEngineTask",
    "InitializeContainer",
    "Initialize",
    "initialize",
];

/// With how many identifiers an unknown one is compared: a long text may have many of both.
const COMPARED: usize = 500;

/// Every expression below `pipeline:`.
pub(in super::super) fn pipeline(root: &Node, cx: &mut Cx) {
    let mut known = Known::default();
    known.collect(root);
    walk(root, &known, cx);
}

/// The identifiers of steps and groups.
#[derive(Default)]
struct Known<'n> {
    steps: IndexSet<&'n str>,
    /// There are more than the text shows.
    open: bool,
}

impl<'n> Known<'n> {
    fn collect(&mut self, node: &'n Node) {
        match &node.value {
            Value::Mapping(mapping) => {
                for entry in &mapping.entries {
                    match &*entry.key.text {
                        "step" | "stepGroup" | "insert" => {
                            let own = entry
                                .value
                                .as_mapping()
                                .and_then(|own| own.get("identifier"));
                            self.steps.extend(own.and_then(Node::as_text));
                        }
                        "template" | "templateRef" => self.open = true,
                        "type" if entry.value.as_text() == Some("Pipeline") => self.open = true,
                        _ => {}
                    }
                    self.collect(&entry.value);
                }
            }
            Value::Sequence(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Scalar(_) => {}
        }
    }

    /// Whether a step has this identifier, or an iteration of one.
    fn has(&self, identifier: &str) -> bool {
        let iteration = |(at, _): (usize, &str)| self.steps.contains(&identifier[..at]);
        self.steps.contains(identifier)
            || IMPLICIT.contains(&identifier)
            || identifier.match_indices('_').any(iteration)
    }
}

fn walk(node: &Node, known: &Known<'_>, cx: &mut Cx) {
    match &node.value {
        Value::Mapping(mapping) => {
            for entry in &mapping.entries {
                let condition = entry
                    .value
                    .as_mapping()
                    .filter(|_| &*entry.key.text == "when");
                match condition.and_then(|when| when.get("condition")) {
                    Some(condition) => text(condition, true, known, cx),
                    None => walk(&entry.value, known, cx),
                }
            }
        }
        Value::Sequence(items) => items.iter().for_each(|item| walk(item, known, cx)),
        Value::Scalar(_) => text(node, false, known, cx),
    }
}

/// One text: a condition is one expression as a whole, any other holds expressions in `<+…>`.
fn text(node: &Node, condition: bool, known: &Known<'_>, cx: &mut Cx) {
    let Some(text) = node.as_text() else { return };
    if text.starts_with("<+input>") || !(condition || text.contains("<+")) || text.trim().is_empty()
    {
        return;
    }
    let parsed = if condition {
        parse_condition(text).map(|expr| expr.walk(&mut |expr| names(expr, node, text, known, cx)))
    } else {
        Template::parse(text)
            .map(|template| template.walk(&mut |expr| names(expr, node, text, known, cx)))
    };
    if let Err(error) = parsed {
        let place = node.place(error.span.clone()).unwrap_or(node.span);
        cx.push(
            Diagnostic::error(code::BAD_EXPRESSION, error.to_string())
                .at(place, "")
                .help("an expression is `<+…>`; texts in it stand in quotes"),
        );
    }
}

/// One node of an expression, where it names something.
fn names(expr: &Expr, node: &Node, text: &str, known: &Known<'_>, cx: &mut Cx) {
    match &expr.kind {
        Kind::Member(of, identifier) => step(expr, of, identifier, node, text, known, cx),
        Kind::Call(Some(of), function, arguments)
            if last(of) == Some("secrets") && &**function == "getValue" =>
        {
            if let [
                Expr {
                    kind: Kind::Literal(Text(reference)),
                    span,
                    ..
                },
            ] = &arguments[..]
            {
                let place = node.place(span.clone()).unwrap_or(node.span);
                if Ref::parse(reference).is_none() {
                    cx.push(
                        Diagnostic::error(
                            code::BAD_REFERENCE,
                            format!("`{reference}` is not a reference to a secret"),
                        )
                        .at(place, "")
                        .help("write `id`, `org.id` or `account.id`"),
                    );
                } else if cx.secrets.iter().all(|known| known.value != **reference) {
                    cx.secrets.push(Spanned::new(reference.to_string(), place));
                }
            }
        }
        _ => {}
    }
}

/// One node of an expression: where it is `….steps.identifier`, the identifier must be one.
fn step(
    expr: &Expr,
    of: &Expr,
    identifier: &str,
    node: &Node,
    text: &str,
    known: &Known<'_>,
    cx: &mut Cx,
) {
    if known.open || !matches!(last(of), Some("steps" | "rollbackSteps")) || known.has(identifier) {
        return;
    }
    // An identifier that is put together from parts ends where the next part begins.
    let end = expr.span.end;
    let start = end.saturating_sub(identifier.len());
    if text.get(start..end) != Some(identifier) || text[end..].starts_with(['<', '-', '$']) {
        return;
    }
    let exact = node.place(start..end);
    let message = format!("no step or step group has the identifier `{identifier}`");
    let diagnostic =
        Diagnostic::error(code::UNKNOWN_STEP, message).at(exact.unwrap_or(node.span), "");
    cx.push(
        match nearest(identifier, known.steps.iter().copied().take(COMPARED)) {
            Some(near) => {
                let diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
                match exact {
                    Some(span) => diagnostic.fix(span, near),
                    None => diagnostic,
                }
            }
            None => {
                diagnostic.help("an expression reads a step by its identifier, not by its name")
            }
        },
    );
}

/// The last name of a path.
fn last(expr: &Expr) -> Option<&str> {
    match &expr.kind {
        Kind::Name(name) | Kind::Member(_, name) => Some(name),
        _ => None,
    }
}
