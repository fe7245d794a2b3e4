//! The one way to tell a person what is wrong with what they wrote.
//!
//! A diagnostic says in one sentence what is wrong, shows where, and says how it is mended. It is data: the terminal,
//! `--output json` and later the editor render the same value at the edge.

mod json;
mod text;

pub use json::Report;
pub use text::{Style, render};

use crate::code::Code;
use crate::span::Span;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// It runs, and perhaps not as it was meant.
    Warning,
    /// It does not run.
    Error,
}

/// One problem of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which kind of problem: stable, with a page of its own.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// One terse sentence without a full stop, beginning in lower case, naming the thing.
    pub message: String,
    /// Where: the first label is the place itself, the others are what it has to do with.
    pub labels: Vec<Label>,
    /// How it is mended, in the imperative.
    pub help: Option<String>,
    /// The mend as an edit, where there is exactly one.
    pub fix: Option<Box<Fix>>,
}

/// A place that a diagnostic points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is to be said of it; may be empty.
    pub text: String,
}

/// An edit that mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// What goes.
    pub span: Span,
    /// What comes in its place.
    pub replacement: String,
}

impl Diagnostic {
    /// A problem of a severity.
    pub fn new(severity: Severity, code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            message: clean(message.into()),
            labels: Vec::new(),
            help: None,
            fix: None,
        }
    }

    /// A problem that keeps the text from running.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// A problem that does not.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// Adds a place; the first one is the place itself.
    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            text: clean(text.into()),
        });
        self
    }

    /// Says how it is mended.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(clean(text.into()));
        self
    }

    /// Adds the edit that mends it.
    #[must_use]
    pub fn fix(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.fix = Some(Box::new(Fix {
            span,
            replacement: replacement.into(),
        }));
        self
    }

    /// The place itself, where there is one.
    pub fn span(&self) -> Option<Span> {
        self.labels.first().map(|label| label.span)
    }

    /// Whether it keeps the text from running.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The longest sentence, in characters: one may quote what a user wrote.
const LONGEST: usize = 400;

/// A sentence for a terminal: what it quotes may hold line breaks and control characters, and be of any length.
fn clean(text: String) -> String {
    if text.len() <= LONGEST && !text.contains(char::is_control) {
        return text;
    }
    let mut clean = String::with_capacity(LONGEST);
    for (at, next) in text.chars().enumerate() {
        if at == LONGEST {
            clean.push('…');
            break;
        }
        if next.is_control() {
            clean.extend(next.escape_default());
        } else {
            clean.push(next);
        }
    }
    clean
}

/// Orders diagnostics as a person reads a file: by text, then by place; what has no place comes first.
pub fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by_key(|diagnostic| {
        diagnostic
            .span()
            .map(|span| (span.source, span.start, span.end))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Sources;
    use crate::{code, yaml};

    #[test]
    fn what_a_user_wrote_cannot_take_over_the_terminal() {
        let long = "x".repeat(10_000);
        let diagnostic =
            Diagnostic::error(code::NOT_YAML, format!("`\u{1b}[2J\n` {long}")).help("\u{7}");
        assert!(
            diagnostic.message.starts_with("`\\u{1b}[2J\\n` xxx") && diagnostic.message.len() < 500
        );
        assert_eq!(diagnostic.help.as_deref(), Some("\\u{7}"));
        let mut sources = Sources::new();
        for text in [
            "a: 1 # \u{9b}31m\n",
            "a: 1\na: \"\u{1b}[31m2\n",
            "a: \u{1b}[31m\n",
        ] {
            let id = sources.add("\u{1b}x", text);
            let found = yaml::parse(&sources, id).diagnostics;
            assert!(!found.is_empty(), "{text:?}");
            for found in found {
                let shown = render(&found, &sources, Style::PLAIN);
                assert!(
                    !shown.contains(|next: char| next.is_control() && next != '\n'),
                    "{shown:?}"
                );
            }
        }
    }
}
