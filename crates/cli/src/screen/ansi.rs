//! Text from strangers made fit for a terminal: a step's output may hold anything, and none of it may move the
//! cursor, change the title or leave a colour behind.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// One line of a step's output as it would stand on a terminal after it was written: what a carriage return
/// overwrote is gone, tabs are spaces, control characters are not there. Colours (SGR) stay when `colour` is set,
/// and end with the line.
pub(crate) fn clean(line: &[u8], colour: bool) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\r', '\n']);
    let shown = text
        .rsplit('\r')
        .find(|part| !part.is_empty())
        .unwrap_or("");
    let mut out = String::with_capacity(shown.len());
    let mut coloured = false;
    let mut column = 0;
    let mut rest = shown.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                let sequence = escape(&mut rest);
                if colour && sequence.ends_with('m') && sequence.starts_with('[') {
                    out.push('\u{1b}');
                    out.push_str(&sequence);
                    coloured = true;
                }
            }
            '\u{9b}' => {
                // The one-character form of `ESC [`.
                parameters(&mut rest, &mut String::new());
            }
            '\t' => {
                let stop = 8 - column % 8;
                out.extend(std::iter::repeat_n(' ', stop));
                column += stop;
            }
            c if c.is_control() => {}
            // Marks that change the order of what follows could make a line look like another one.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c => {
                out.push(c);
                column += c.width().unwrap_or(0);
            }
        }
    }
    if coloured {
        out.push_str("\u{1b}[0m");
    }
    out
}

/// What follows an escape character, up to its end.
fn escape(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut sequence = String::new();
    match rest.peek() {
        Some('[') => {
            sequence.push('[');
            rest.next();
            parameters(rest, &mut sequence);
        }
        // Operating system commands and their like: up to BEL or `ESC \`.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = rest.next() {
                if c == '\u{7}' || c == '\u{9c}' {
                    break;
                }
                if c == '\u{1b}' {
                    if rest.peek() == Some(&'\\') {
                        rest.next();
                    }
                    break;
                }
            }
        }
        // `ESC ( B` and the like have intermediates before their final character.
        Some(' '..='/') => {
            while rest.next_if(|c| (' '..='/').contains(c)).is_some() {}
            rest.next();
        }
        Some(_) => {
            rest.next();
        }
        None => {}
    }
    sequence
}

fn parameters(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, into: &mut String) {
    while let Some(c) = rest.next_if(|c| (' '..='~').contains(c)) {
        into.push(c);
        if ('@'..='~').contains(&c) {
            break;
        }
    }
}

/// Columns that a text without escapes takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// A text without escapes, cut to `columns`; an ellipsis stands where something is missing.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w + 1 > columns {
            break;
        }
        used += w;
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_text() {
        for (given, plain, coloured) in [
            ("hello", "hello", "hello"),
            ("10%\r50%\r100%", "100%", "100%"),
            ("windows\r", "windows", "windows"),
            ("a\tb", "a       b", "a       b"),
            (
                "\u{1b}[31mred\u{1b}[0m",
                "red",
                "\u{1b}[31mred\u{1b}[0m\u{1b}[0m",
            ),
            ("\u{1b}]0;title\u{7}x\u{1b}]8;;u\u{1b}\\y", "xy", "xy"),
            ("\u{1b}[2J\u{1b}[10;10Hx\u{9b}5Ay", "xy", "xy"),
            ("bell\u{7}\u{0}", "bell", "bell"),
            ("\u{1b}(Bx", "x", "x"),
            ("abc\u{202e}fed", "abcfed", "abcfed"),
            ("cut \u{1b}[", "cut ", "cut "),
        ] {
            assert_eq!(clean(given.as_bytes(), false), plain, "{given:?}");
            assert_eq!(clean(given.as_bytes(), true), coloured, "{given:?}");
        }
        assert_eq!(clean(b"\xff\xfe", false), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn cuts_by_columns() {
        assert_eq!(cut("hello", 5), "hello");
        assert_eq!(cut("hello", 4), "hel…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("x", 0), "");
    }
}
