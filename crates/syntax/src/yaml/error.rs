//! The parser's errors as diagnostics, each at its exact place and with a mend.

use granit_parser::{ErrorKind, ScanError};

use super::build::MAX_DEPTH;
use crate::code;
use crate::diagnostic::Diagnostic;
use crate::source::SourceId;
use crate::span::Span;

/// The parser's error as a diagnostic, its place as an exact one.
pub(super) fn of(id: SourceId, text: &str, error: &ScanError) -> Diagnostic {
    let at = error.marker().byte_offset().unwrap_or(0).min(text.len());
    let at = text.floor_char_boundary(at);
    let width = text[at..]
        .chars()
        .next()
        .filter(|next| *next != '\n')
        .map_or(0, char::len_utf8);
    let span = Span::new(id, at as u32, (at + width) as u32);
    let said = error.kind().to_string();
    match error.kind() {
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation => {
            Diagnostic::error(code::TAB, "a tab stands where YAML wants spaces")
                .at(tab_near(id, text, at).unwrap_or(span), "this is a tab")
                .help("indent with spaces")
        }
        _ if said.contains("nesting") || said.contains("recursion") => too_deep(span),
        _ => Diagnostic::error(code::NOT_YAML, "the text is not YAML")
            .at(span, said.clone())
            .help(mend(error.kind(), &said)),
    }
}

/// The tab of a line's indentation at or before a place.
fn tab_near(id: SourceId, text: &str, at: usize) -> Option<Span> {
    let line = text[..at].rfind('\n').map_or(0, |line| line + 1);
    let end = text[line..].find('\n').map_or(text.len(), |end| line + end);
    let tab = line + text[line..end].find('\t')?;
    Some(Span::new(id, tab as u32, tab as u32 + 1))
}

/// Nesting beyond the limit.
pub(super) fn too_deep(span: Span) -> Diagnostic {
    Diagnostic::error(
        code::TOO_DEEP,
        format!("the text is nested more than {MAX_DEPTH} levels deep"),
    )
    .at(span.head(1), "")
    .help("flatten it")
}

/// What to do about the commonest of the parser's errors.
fn mend(kind: &ErrorKind, said: &str) -> &'static str {
    match kind {
        ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofFlowSequence => {
            "close what `[` or `{` opened; a text that begins with one of them needs quotes"
        }
        ErrorKind::UnexpectedCharacter { .. } => {
            "a text that begins with this character needs quotes"
        }
        _ if said.contains("quote") => "close the quote",
        _ if said.contains("':'") => "close what `[` or `{` opened above",
        _ => "align the line with its neighbours; a text that holds `: ` or ` #` needs quotes",
    }
}
