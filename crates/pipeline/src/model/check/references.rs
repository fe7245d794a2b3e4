//! Expressions that read steps: each step that they name is there.
//!
//! It works on the tree, not on the model, so that it sees every text, also in specs that are kept as they are. Where
//! templates or chained pipelines bring steps that are not in the text, nothing can be said.

use std::collections::HashSet;

use syntax::yaml::{Node, Style, Value};
use syntax::{Diagnostic, Span, code};

use super::super::lower::{Cx, nearest};

/// Steps that the format adds by itself.
const IMPLICIT: [&str; 4] = [
    "liteEngineTask",
    "InitializeContainer",
    "Initialize",
    "initialize",
];

/// Every expression below `pipeline:`.
pub(in super::super) fn pipeline(root: &Node, cx: &mut Cx) {
    let mut known = Known::default();
    known.collect(root);
    if !known.open {
        walk(root, &known, cx);
    }
}

/// The identifiers of steps and groups.
#[derive(Default)]
struct Known<'n> {
    steps: HashSet<&'n str>,
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
        Value::Mapping(mapping) => mapping
            .entries
            .iter()
            .for_each(|entry| walk(&entry.value, known, cx)),
        Value::Sequence(items) => items.iter().for_each(|item| walk(item, known, cx)),
        Value::Scalar(scalar) => {
            for (at, identifier) in references(&scalar.text) {
                if known.has(identifier) {
                    continue;
                }
                // The place is exact where the text stands in the file as it is.
                let exact =
                    scalar.style == Style::Plain && node.span.len() as usize == scalar.text.len();
                let start = node.span.start + at as u32;
                let span = if exact {
                    Span::new(node.span.source, start, start + identifier.len() as u32)
                } else {
                    node.span
                };
                let message = format!("no step or step group has the identifier `{identifier}`");
                let diagnostic = Diagnostic::error(code::UNKNOWN_STEP, message).at(span, "");
                cx.push(match nearest(identifier, known.steps.iter().copied()) {
                    Some(near) if exact => diagnostic
                        .help(format!("did you mean `{near}`?"))
                        .fix(span, near),
                    Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                    None => diagnostic
                        .help("an expression reads a step by its identifier, not by its name"),
                });
            }
        }
    }
}

/// The identifiers after `steps.` and `rollbackSteps.` inside `<+…>`, with their offsets. What is put together from
/// parts, or stands in quotes, is left out.
fn references(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut depth = 0_usize;
    let mut quote = None;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if depth == 0 {
            if text[at..].starts_with("<+") {
                depth = 1;
                at += 2;
                continue;
            }
            at += text[at..].find("<+").unwrap_or(bytes.len() - at);
            continue;
        }
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'>') => depth -= 1,
            (None, b'<') if bytes.get(at + 1) == Some(&b'+') => depth += 1,
            (None, b's' | b'r') if begins_word(bytes, at) => {
                let rest = &bytes[at..];
                let key = [&b"steps."[..], b"rollbackSteps."]
                    .into_iter()
                    .find(|key| rest.starts_with(key));
                if let Some(key) = key {
                    let start = at + key.len();
                    let length = bytes[start..]
                        .iter()
                        .take_while(|byte| is_word(**byte))
                        .count();
                    let after = bytes.get(start + length);
                    if length > 0 && !matches!(after, Some(b'<' | b'-' | b'$')) {
                        found.push((start, &text[start..start + length]));
                    }
                    at = start + length;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether a word begins here: not in the middle of one, and not after a step's own identifier.
fn begins_word(bytes: &[u8], at: usize) -> bool {
    at == 0 || !is_word(bytes[at - 1])
}

#[cfg(test)]
mod tests {
    use super::references;

    #[test]
    fn steps_are_found_inside_expressions_only() {
        let names = |text| {
            references(text)
                .into_iter()
                .map(|(_, name)| name)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names("<+steps.a.output.x> and <+execution.steps.g.steps.b.status>"),
            ["a", "g", "b"]
        );
        assert_eq!(
            names("<+<+execution.rollbackSteps.r.x>.split(\",\")[0]> steps.c"),
            ["r"]
        );
        assert!(names("steps.a <+json.select(\"steps.a\", <+pipeline.name>)>").is_empty());
        assert!(
            names("<+steps.a<+stepGroup.identifierPostFix>.x> <+mysteps.b> <+steps.a-b.x> é<+é>")
                .is_empty()
        );
    }
}
