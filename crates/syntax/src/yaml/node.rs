//! The tree.

use std::ops::Range;

use super::scalar::{Kind, Scalar, Style};
use crate::span::Span;

/// A value and its place. What an alias stands for has the place of its anchor.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it is written; of a collection, from its first to its last entry.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text, number, boolean or null.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys with values.
    Mapping(Mapping),
}

/// Keys with values, in the order of the text, no key twice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapping {
    /// In the order of the text.
    pub entries: Vec<Entry>,
}

/// One key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Its value; null where the text has none.
    pub value: Node,
}

/// A key: text, whatever it would resolve to elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The text.
    pub text: Box<str>,
    /// Where it is written.
    pub span: Span,
}

impl Mapping {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// A key with its value.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| &*entry.key.text == key)
    }
}

impl Node {
    /// The scalar, if it is one.
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn as_sequence(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The mapping, if it is one.
    pub fn as_mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// A scalar's text, whatever it resolves to; none for null.
    pub fn as_text(&self) -> Option<&str> {
        self.as_scalar()
            .filter(|scalar| scalar.kind != Kind::Null)
            .map(|scalar| &*scalar.text)
    }

    /// Where bytes of a scalar's text are written, where that can be told: not in texts that are folded or hold
    /// escapes.
    pub fn place(&self, range: Range<usize>) -> Option<Span> {
        let scalar = self.as_scalar()?;
        let (text, written) = (&*scalar.text, self.span.len() as usize);
        let at = |offset: usize| Span {
            start: self.span.start + (range.start + offset) as u32,
            end: self.span.start + (range.end + offset) as u32,
            ..self.span
        };
        match scalar.style {
            Style::Plain if written == text.len() => Some(at(0)),
            Style::Single | Style::Double if written == text.len() + 2 => Some(at(1)),
            Style::Literal => {
                // Every line but the first and the blank ones is indented by as much.
                let indented = |text: &str| {
                    text.split('\n')
                        .skip(1)
                        .filter(|line| !line.is_empty())
                        .count()
                };
                let body = text.trim_end();
                let (extra, lines) = (written.checked_sub(body.len())?, indented(body));
                let indent = extra.checked_div(lines).unwrap_or(0);
                // The line that the range begins in counts, although the text before it ends with its break.
                let before = &text[..range.start];
                let own = usize::from(before.ends_with('\n'));
                (indent * lines == extra).then(|| at(indent * (indented(before) + own)))
            }
            _ => None,
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        self.as_scalar()
            .is_some_and(|scalar| scalar.kind == Kind::Null)
    }

    /// What it is, in the words of messages: `a list`.
    pub fn what(&self) -> &'static str {
        match &self.value {
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Scalar(scalar) => match scalar.kind {
                Kind::Null => "empty",
                Kind::Bool(_) => "a boolean",
                Kind::Int(_) | Kind::Float(_) => "a number",
                Kind::String => "text",
            },
        }
    }
}
