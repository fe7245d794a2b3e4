//! A line of the screen: pieces of text, each with a tone. Tones become colours or nothing; no meaning is in them alone.

use super::ansi;

/// What a piece of text is, for the eye. The colours are of the sixteen that every terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As the terminal writes.
    Plain,
    /// What stands out.
    Strong,
    /// What may be overlooked.
    Dim,
    /// It went well.
    Good,
    /// It did not.
    Bad,
    /// To be looked at.
    Warn,
    /// It is under way.
    Busy,
}

impl Tone {
    fn sgr(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "1",
            // Bright black is not readable everywhere; faint falls back to plain.
            Self::Dim => "2",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Warn => "33",
            Self::Busy => "36",
        }
    }
}

/// One line. Its texts hold no escapes and no line ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line {
    pieces: Vec<(Tone, String)>,
}

impl std::ops::Deref for Line {
    type Target = [(Tone, String)];
    fn deref(&self) -> &Self::Target {
        &self.pieces
    }
}

impl Line {
    /// An empty line.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A line of one piece.
    pub(crate) fn of(tone: Tone, text: impl Into<String>) -> Self {
        Self::new().with(tone, text)
    }

    /// The line with a further piece.
    pub(crate) fn with(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.push(tone, text);
        self
    }

    /// Adds a piece.
    pub(crate) fn push(&mut self, tone: Tone, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.pieces.push((tone, text));
        }
    }

    /// Columns it takes.
    pub(crate) fn width(&self) -> usize {
        self.pieces.iter().map(|(_, text)| ansi::width(text)).sum()
    }

    /// Cut to `columns`.
    pub(crate) fn cut(mut self, columns: usize) -> Self {
        let mut left = columns;
        for i in 0..self.pieces.len() {
            let w = ansi::width(&self.pieces[i].1);
            // An ellipsis takes a column; whoever does not fit whole gives it.
            if w > left {
                self.pieces[i].1 = ansi::cut(&self.pieces[i].1, left);
                self.pieces.truncate(i + 1);
                break;
            }
            left -= w;
        }
        self
    }

    /// Filled with spaces up to `columns`, or cut to it.
    pub(crate) fn fill(self, columns: usize) -> Self {
        let mut line = self.cut(columns);
        let missing = columns.saturating_sub(line.width());
        line.push(Tone::Plain, " ".repeat(missing));
        line
    }

    /// Without the spaces at its end: what is copied from a terminal is not padded.
    pub(crate) fn trim_end(mut self) -> Self {
        while let Some((_, text)) = self.pieces.last_mut() {
            text.truncate(text.trim_end().len());
            if !text.is_empty() {
                break;
            }
            self.pieces.pop();
        }
        self
    }

    /// As text for a terminal, with colours or without.
    pub(crate) fn render(&self, colour: bool) -> String {
        let mut out = String::new();
        for (tone, text) in &self.pieces {
            if colour && *tone != Tone::Plain {
                out.push_str("\u{1b}[");
                out.push_str(tone.sgr());
                out.push('m');
                out.push_str(text);
                out.push_str("\u{1b}[0m");
            } else {
                out.push_str(text);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_filled_and_coloured() {
        let line = Line::of(Tone::Good, "✓")
            .with(Tone::Plain, " build ")
            .with(Tone::Dim, "1.2s");
        assert_eq!(line.render(false), "✓ build 1.2s");
        assert_eq!(
            line.render(true),
            "\u{1b}[32m✓\u{1b}[0m build \u{1b}[2m1.2s\u{1b}[0m"
        );
        assert_eq!(line.clone().cut(10).render(false), "✓ build 1…");
        assert_eq!(line.clone().fill(14).render(false), "✓ build 1.2s  ");
        assert_eq!(line.cut(7).render(false), "✓ buil…");
    }
}
