//! What runtime inputs allow, held over all sources of values: `.allowedValues(…)`, `.selectManyFrom(…)`, `.regex(…)`.

use pipeline::model::Input;
use pipeline::model::tree::asks;
use syntax::yaml::{Node, Value};
use syntax::{Diagnostic, Span, code};

use super::paths::{find, walk};

/// The runtime inputs that allow only some values, by path.
pub(super) fn of(pipeline: &mut Node) -> Vec<(String, Span, Input)> {
    let mut found = Vec::new();
    walk(pipeline, &mut String::new(), &mut |path, node| {
        let input = node
            .as_text()
            .filter(|_| asks(node))
            .and_then(|text| Input::parse(text).ok());
        let ruled = |own: &Input| own.allowed.is_some() || own.regex.is_some();
        if let Some(input) = input.filter(ruled) {
            found.push((path.to_owned(), node.span, input));
        }
    });
    found
}

/// What came last decides, and it too must be allowed: what the first of several sources gave was judged when it was put in.
pub(super) fn hold(
    pipeline: &mut Node,
    rules: &[(String, Span, Input)],
    diagnostics: &mut Vec<Diagnostic>,
) {
    for (path, span, input) in rules {
        let told = diagnostics.iter().any(|own| {
            own.code == code::BAD_INPUT_VALUE && own.labels.iter().any(|label| label.span == *span)
        });
        let parts: Vec<_> = path.split('.').collect();
        let Some(node) = find(pipeline, &parts).filter(|node| !told && !asks(node)) else {
            continue;
        };
        let refused = match &node.value {
            Value::Sequence(items) => items.iter().find_map(|item| refused(input, item)),
            _ => refused(input, node),
        };
        if let Some((text, help)) = refused {
            diagnostics.push(not_allowed(&text, &called_for_people(path), *span, help));
        }
    }
}

/// The text of a value that an input does not allow, and what it does.
fn refused(input: &Input, node: &Node) -> Option<(String, String)> {
    let text = node.as_text()?;
    Some((text.to_owned(), input.refuses(text)?))
}

pub(super) fn not_allowed(text: &str, name: &str, at: Span, help: String) -> Diagnostic {
    let message = format!("`{text}` is not a value that the runtime input `{name}` allows");
    Diagnostic::error(code::BAD_INPUT_VALUE, message)
        .at(at, "")
        .help(help)
}

/// A path as it is given on the command line.
fn called_for_people(path: &str) -> String {
    let name = path.strip_prefix("variables.").unwrap_or(path);
    name.strip_suffix(".value").unwrap_or(name).to_owned()
}
