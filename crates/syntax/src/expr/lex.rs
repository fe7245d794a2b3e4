//! Where an expression ends, and its tokens.

use std::ops::Range;

use super::error::{Error, Problem};
use super::{MAX_DEPTH, MAX_EXPRESSION};

/// How an expression begins.
pub(super) const OPEN: &str = "<+";

/// The place of the `>` that closes the expression whose `<+` is at `open`.
pub(super) fn close(text: &str, open: usize, depth: usize) -> Result<usize, Error> {
    if depth > MAX_DEPTH {
        return Err(Error::new(open..open + 2, Problem::TooDeep));
    }
    let bytes = text.as_bytes();
    let unclosed = || Error::new(open..open + 2, Problem::Unclosed);
    let mut brackets = 0_usize;
    // The first `>` that reads as a comparison: it closes where nothing later on the line does.
    let mut comparison = None;
    let mut at = open + 2;
    while at < bytes.len() {
        if at - open > MAX_EXPRESSION {
            return match comparison {
                Some(at) => Ok(at),
                None => Err(Error::new(open..open + 2, Problem::TooLong(MAX_EXPRESSION))),
            };
        }
        match bytes[at] {
            quote @ (b'"' | b'\'') => match string_end(text, at, quote, depth) {
                Ok(end) => at = end,
                Err(error) => return comparison.ok_or(error),
            },
            b'<' if bytes.get(at + 1) == Some(&b'+') => match close(text, at, depth + 1) {
                Ok(end) => at = end,
                Err(error) => return comparison.ok_or(error),
            },
            b'(' | b'[' | b'{' => brackets += 1,
            b')' | b']' | b'}' => brackets = brackets.saturating_sub(1),
            b'\n' if comparison.is_some() => return comparison.ok_or_else(unclosed),
            b'>' if brackets == 0 => {
                let left = bytes[at - 1].is_ascii_whitespace();
                let right = bytes
                    .get(at + 1)
                    .is_some_and(|next| next.is_ascii_whitespace() || *next == b'=');
                if !(left && right) {
                    return Ok(at);
                }
                comparison.get_or_insert(at);
            }
            _ => {}
        }
        at += 1;
    }
    comparison.ok_or_else(unclosed)
}

/// The place of the quote that ends the string which begins at `at`.
fn string_end(text: &str, at: usize, quote: u8, depth: usize) -> Result<usize, Error> {
    let bytes = text.as_bytes();
    let mut end = at + 1;
    while end < bytes.len() && end - at <= MAX_EXPRESSION {
        match bytes[end] {
            b'\\' => end += 1,
            b'<' if bytes.get(end + 1) == Some(&b'+') => end = close(text, end, depth + 1)?,
            byte if byte == quote => return Ok(end),
            _ => {}
        }
        end += 1;
    }
    // What is beyond the bound was not looked at: it may end there.
    let problem = if end < bytes.len() {
        Problem::TooLong(MAX_EXPRESSION)
    } else {
        Problem::UnclosedString
    };
    Err(Error::new(at..at + 1, problem))
}

/// A token with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) span: Range<usize>,
    pub(super) kind: TokenKind<'a>,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum TokenKind<'a> {
    Name(&'a str),
    Int(i64),
    Float(f64),
    /// A string, with its quotes.
    Text,
    /// A nested `<+…>`, whole.
    Nested,
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// A sign that another one begins with comes after it.
const SIGNS: [&str; 42] = [
    "===", "!==", "&&", "||", "==", "!=", "=~", "!~", "=^", "!^", "=$", "!$", "<=", ">=", "?:",
    "??", "?.", "..", "<", ">", "!", "?", ":", "+", "-", "*", "/", "%", "(", ")", "[", "]", "{",
    "}", ",", ".", "=", ";", "&", "|", "^", "~",
];

/// Reads the token at or after `at`; `end` bounds it.
pub(super) fn token(text: &str, at: usize, end: usize, depth: usize) -> Result<Token<'_>, Error> {
    let rest = &text[at..end];
    let at = at + (rest.len() - rest.trim_start().len());
    let rest = &text[at..end];
    let Some(first) = rest.chars().next() else {
        return Ok(Token {
            span: end..end,
            kind: TokenKind::End,
        });
    };
    let made = |len: usize, kind| {
        Ok(Token {
            span: at..at + len,
            kind,
        })
    };
    if first.is_alphabetic() || first == '_' || first == '$' {
        let len = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
            .unwrap_or(rest.len());
        return made(len, TokenKind::Name(&rest[..len]));
    }
    if first.is_ascii_digit() {
        return number(rest, at);
    }
    if first == '"' || first == '\'' {
        let close = string_end(&text[..end], at, first as u8, depth)?;
        return made(close + 1 - at, TokenKind::Text);
    }
    if rest.starts_with(OPEN) {
        let close = close(&text[..end], at, depth + 1)?;
        return made(close + 1 - at, TokenKind::Nested);
    }
    if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        return made(sign.len(), TokenKind::Sign(sign));
    }
    Err(Error::new(
        at..at + first.len_utf8(),
        Problem::Expected {
            expected: "an expression",
            found: format!("`{first}`"),
        },
    ))
}

fn number(rest: &str, at: usize) -> Result<Token<'_>, Error> {
    let digits = |from: usize| {
        from + rest[from..]
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len() - from)
    };
    let bytes = rest.as_bytes();
    let mut len = digits(0);
    let mut float = false;
    if bytes.get(len) == Some(&b'.') && bytes.get(len + 1).is_some_and(u8::is_ascii_digit) {
        float = true;
        len = digits(len + 1);
    }
    if matches!(bytes.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(len + 1), Some(b'+' | b'-')));
        if bytes.get(len + 1 + sign).is_some_and(u8::is_ascii_digit) {
            float = true;
            len = digits(len + 1 + sign);
        }
    }
    let text = &rest[..len];
    let bad = || Error::new(at..at + len, Problem::Number(text.to_owned()));
    let kind = if float {
        let number: f64 = text.parse().map_err(|_| bad())?;
        if !number.is_finite() {
            return Err(bad());
        }
        TokenKind::Float(number)
    } else {
        TokenKind::Int(text.parse().map_err(|_| bad())?)
    };
    Ok(Token {
        span: at..at + len,
        kind,
    })
}
