//! A text as YAML: every place that is told lies in the text, on borders of characters.

use syntax::diagnostic::{Style, render};
use syntax::yaml::{Node, Value, parse};
use syntax::{Sources, Span};

pub(crate) fn check(bytes: &[u8]) {
    let mut sources = Sources::new();
    let Ok(id) = sources.add_bytes("any.yaml", bytes.to_vec()) else {
        return;
    };
    let parsed = parse(&sources, id);
    for document in &parsed.documents {
        places(&sources, document);
    }
    for diagnostic in &parsed.diagnostics {
        assert!(!render(diagnostic, &sources, Style::PLAIN).is_empty());
    }
    assert_eq!(
        parse(&sources, id),
        parsed,
        "the same text is the same tree"
    );
}

fn places(sources: &Sources, node: &Node) {
    place(sources, node.span);
    match &node.value {
        Value::Scalar(_) => {}
        Value::Sequence(items) => items.iter().for_each(|item| places(sources, item)),
        Value::Mapping(mapping) => {
            for entry in &mapping.entries {
                place(sources, entry.key.span);
                places(sources, &entry.value);
            }
        }
    }
}

fn place(sources: &Sources, span: Span) {
    let text = sources.get(span.source).text();
    let (start, end) = (span.start as usize, span.end as usize);
    assert!(start <= end, "{span:?} ends before it starts");
    assert!(
        text.get(start..end).is_some(),
        "{span:?} is not a part of the text"
    );
}
