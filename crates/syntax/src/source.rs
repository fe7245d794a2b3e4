//! The texts of one command, and the way from byte offsets to lines and columns.

use crate::code;
use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// The longest text that is parsed, in bytes. It bounds memory and keeps offsets in `u32`; the longest real pipelines
/// are below 1 MB.
pub const MAX_BYTES: usize = 64 << 20;

/// A text among [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(u32);

/// Every text of one command, in the order in which they came.
#[derive(Debug, Clone, Default)]
pub struct Sources(Vec<Source>);

/// One text.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    text: String,
    /// The offset of each line's first byte, computed once.
    lines: Vec<u32>,
}

/// A place as a person counts: both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The character in it.
    pub column: u32,
}

impl Sources {
    /// None yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Takes in a text. `name` is what diagnostics call it: the path as the user wrote it, or `<stdin>`.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> SourceId {
        let text = text.into();
        let lines = std::iter::once(0)
            .chain(
                text.bytes()
                    .enumerate()
                    .filter(|(_, byte)| *byte == b'\n')
                    .map(|(at, _)| at as u32 + 1),
            )
            .collect();
        self.0.push(Source {
            name: name.into(),
            text,
            lines,
        });
        SourceId(self.0.len() as u32 - 1)
    }

    /// Takes in bytes that should be UTF-8. Where they are not, the text is kept with replacement characters, so that
    /// the place can be shown, and the diagnostic names it; such a text is not to be parsed.
    pub fn add_bytes(
        &mut self,
        name: impl Into<String>,
        bytes: Vec<u8>,
    ) -> Result<SourceId, (SourceId, Diagnostic)> {
        let error = match String::from_utf8(bytes) {
            Ok(text) => return Ok(self.add(name, text)),
            Err(error) => error,
        };
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(at).copied().unwrap_or_default();
        let id = self.add(name, String::from_utf8_lossy(error.as_bytes()));
        let at = at as u32;
        let end = at + char::REPLACEMENT_CHARACTER.len_utf8() as u32;
        let diagnostic = Diagnostic::error(code::NOT_UTF8, "the file is not UTF-8 text")
            .at(
                Span::new(id, at, end),
                format!("the byte 0x{byte:02x} begins no character here"),
            )
            .help("save the file as UTF-8");
        Err((id, diagnostic))
    }

    /// The text of an id that this set gave out.
    pub fn get(&self, id: SourceId) -> &Source {
        &self.0[id.0 as usize]
    }

    /// All of them with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (SourceId, &Source)> {
        self.0
            .iter()
            .enumerate()
            .map(|(at, source)| (SourceId(at as u32), source))
    }

    /// Where a span starts.
    pub fn start(&self, span: Span) -> Position {
        self.get(span.source).position(span.start)
    }

    /// Where a span ends: one beyond its last character.
    pub fn end(&self, span: Span) -> Position {
        self.get(span.source).position(span.end)
    }

    /// What is written in a span.
    pub fn slice(&self, span: Span) -> &str {
        self.get(span.source)
            .text
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }
}

impl Source {
    /// What diagnostics call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line and column of a byte offset; offsets beyond the end are at the end.
    pub fn position(&self, offset: u32) -> Position {
        let line = self.line_of(offset);
        let start = self.lines[line] as usize;
        let end = self.floor(offset as usize).max(start);
        let column = self.text[start..end].chars().count() as u32 + 1;
        Position {
            line: line as u32 + 1,
            column,
        }
    }

    /// The index (from 0) of the line that holds an offset.
    pub(crate) fn line_of(&self, offset: u32) -> usize {
        self.lines.partition_point(|start| *start <= offset) - 1
    }

    /// The offset of a line's first byte; the end of the text for lines beyond it.
    pub(crate) fn line_start(&self, line: usize) -> usize {
        self.lines
            .get(line)
            .map_or(self.text.len(), |start| *start as usize)
    }

    /// The nearest border of a character at or before an offset.
    pub(crate) fn floor(&self, offset: usize) -> usize {
        self.text.floor_char_boundary(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_are_counted_from_one_in_characters() {
        let mut sources = Sources::new();
        let id = sources.add("x", "a: ü\nbé: c\r\n\n");
        let at = |offset| {
            let position = sources.get(id).position(offset);
            (position.line, position.column)
        };
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(3), (1, 4));
        assert_eq!(at(5), (1, 5), "one character after the two bytes of ü");
        assert_eq!(at(6), (2, 1));
        assert_eq!(at(9), (2, 3));
        assert_eq!(at(99), (4, 1), "beyond the end is the end");
    }

    #[test]
    fn bytes_that_are_no_text_are_named_and_shown() {
        let mut sources = Sources::new();
        let (id, diagnostic) = sources.add_bytes("x", b"a: \xff\n".to_vec()).unwrap_err();
        assert_eq!(diagnostic.code, code::NOT_UTF8);
        assert_eq!(
            sources.start(diagnostic.span().unwrap()),
            Position { line: 1, column: 4 }
        );
        assert_eq!(sources.get(id).text(), "a: \u{fffd}\n");
    }
}
