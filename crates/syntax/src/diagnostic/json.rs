//! Diagnostics for machines.

use serde::Serialize;

use super::{Diagnostic, Severity};
use crate::source::{Position, Sources};

/// A diagnostic as `--output json` writes it. Lines and columns count from 1, columns in characters; a diagnostic
/// without a place has none of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The stable code, `SY0102`.
    pub code: String,
    /// `error` or `warning`.
    pub severity: &'static str,
    /// What is wrong.
    pub message: String,
    /// The text's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The first line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The first character.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// One beyond the last character.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// What is said of the place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How it is mended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Other places that it has to do with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
    /// The edit that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Edit>,
}

/// One beyond the last character of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct End {
    /// Its line.
    pub line: u32,
    /// Its column.
    pub column: u32,
}

/// A further place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// The text's name.
    pub file: String,
    /// Its first line.
    pub line: u32,
    /// Its first character.
    pub column: u32,
    /// What is said of it.
    pub label: String,
}

/// An edit: byte offsets into the text, as an editor applies it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Edit {
    /// The text's name.
    pub file: String,
    /// The first byte that goes.
    pub start: u32,
    /// One beyond the last byte that goes.
    pub end: u32,
    /// What comes in its place.
    pub replacement: String,
}

impl Report {
    /// A diagnostic with its places resolved.
    pub fn new(diagnostic: &Diagnostic, sources: &Sources) -> Self {
        let name = |span: crate::span::Span| sources.get(span.source).name().to_owned();
        let primary = diagnostic.labels.first();
        let start = primary.map(|label| sources.start(label.span));
        let related = diagnostic.labels.iter().skip(1).map(|label| {
            let Position { line, column } = sources.start(label.span);
            Related {
                file: name(label.span),
                line,
                column,
                label: label.text.clone(),
            }
        });
        Self {
            code: diagnostic.code.to_string(),
            severity: match diagnostic.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            message: diagnostic.message.clone(),
            file: primary.map(|label| name(label.span)),
            line: start.map(|position| position.line),
            column: start.map(|position| position.column),
            end: primary.map(|label| {
                let Position { line, column } = sources.end(label.span);
                End { line, column }
            }),
            label: primary
                .map(|label| label.text.clone())
                .filter(|text| !text.is_empty()),
            help: diagnostic.help.clone(),
            related: related.collect(),
            fix: diagnostic.fix.as_ref().map(|fix| Edit {
                file: name(fix.span),
                start: fix.span.start,
                end: fix.span.end,
                replacement: fix.replacement.clone(),
            }),
        }
    }
}
