//! Diagnostics for a terminal: readable at 80 columns, in 16 colours, and without any.

use std::borrow::Cow;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::{Diagnostic, Severity};
use crate::source::Sources;
use crate::span::Span;

/// How a diagnostic is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// With ANSI colours.
    pub colour: bool,
    /// The terminal's width in columns.
    pub width: usize,
}

impl Style {
    /// For files, pipes and tests: no colour, 80 columns.
    pub const PLAIN: Self = Self {
        colour: false,
        width: 80,
    };
}

/// A diagnostic as lines of text, without a final line break.
pub fn render(diagnostic: &Diagnostic, sources: &Sources, style: Style) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let code = diagnostic.code.to_string();
    let title = level.primary_title(diagnostic.message.as_str()).id(code);
    let mut group = Group::with_title(title);
    for snippet in snippets(diagnostic, sources) {
        group = group.element(snippet);
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = if style.colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer.term_width(style.width).render(&[group])
}

/// One excerpt a text, its labels in it. Only the lines between the first and the last label are handed over: the
/// renderer reads all that it is given, and a file may have many diagnostics.
fn snippets<'a>(
    diagnostic: &'a Diagnostic,
    sources: &'a Sources,
) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let mut ids: Vec<_> = diagnostic
        .labels
        .iter()
        .map(|label| label.span.source)
        .collect();
    ids.dedup();
    let mut done = Vec::new();
    let mut out = Vec::new();
    for id in ids {
        if done.contains(&id) {
            continue;
        }
        done.push(id);
        let source = sources.get(id);
        let labels = || {
            diagnostic
                .labels
                .iter()
                .enumerate()
                .filter(|(_, label)| label.span.source == id)
        };
        let first = labels()
            .map(|(_, label)| label.span.start)
            .min()
            .unwrap_or(0);
        let last = labels().map(|(_, label)| label.span.end).max().unwrap_or(0);
        let first_line = source.line_of(first);
        let from = source.line_start(first_line);
        let to = source.line_start(source.line_of(last.max(first)) + 1);
        let mut snippet = Snippet::source(visible(&source.text()[from..to]))
            .path(super::clean(source.name().to_owned()))
            .line_start(first_line + 1)
            .fold(true);
        for (at, label) in labels() {
            let kind = if at == 0 {
                AnnotationKind::Primary
            } else {
                AnnotationKind::Context
            };
            let range = one_line(label.span, source, from, to);
            let text = (!label.text.is_empty()).then_some(label.text.as_str());
            snippet = snippet.annotation(kind.span(range).label(text));
        }
        out.push(snippet);
    }
    out
}

/// A span's first line only, relative to the excerpt, on borders of characters: arrows over a whole block hide the
/// text that they are about.
fn one_line(
    span: Span,
    source: &crate::source::Source,
    from: usize,
    to: usize,
) -> std::ops::Range<usize> {
    let start = source.floor(span.start as usize).clamp(from, to);
    let end = source.floor(span.end as usize).clamp(start, to);
    let text = &source.text()[start..end];
    let end = start
        + text
            .find('\n')
            .map_or(text.len(), |line| text[..line].trim_end_matches('\r').len());
    start - from..end - from
}

/// The control characters of C1, which some terminals obey and the renderer lets through, as a mark of the same length
/// in bytes, so that places stay.
fn visible(text: &str) -> Cow<'_, str> {
    let c1 = |next: char| ('\u{80}'..='\u{9f}').contains(&next);
    if text.contains(c1) {
        Cow::Owned(text.replace(c1, "¿"))
    } else {
        Cow::Borrowed(text)
    }
}
