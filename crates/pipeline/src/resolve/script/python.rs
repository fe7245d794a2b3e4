//! Python.

use std::fmt::Write as _;

use super::Unit;

pub(super) fn place(units: &[Unit], names: &[&str]) -> String {
    let mut out = String::with_capacity(units.len() + 64);
    // Secrets of the strings just written, replaced after the last of those that follow one another.
    let mut used: Vec<usize> = Vec::new();
    let mut brackets = 0_usize;
    let mut at = 0;
    let char = |at: usize| match units.get(at) {
        Some(Unit::Char(char)) => Some(*char),
        _ => None,
    };
    while at < units.len() {
        if let Some((prefix, quote, long)) = string(units, at) {
            let raw = units[at..at + prefix]
                .iter()
                .any(|u| matches!(u, Unit::Char('r' | 'R')));
            let bytes = units[at..at + prefix]
                .iter()
                .any(|u| matches!(u, Unit::Char('b' | 'B')));
            let ticks = if long { 3 } else { 1 };
            for _ in 0..prefix + ticks {
                out.extend(char(at));
                at += 1;
            }
            while at < units.len() {
                match units[at] {
                    Unit::Secret(index) => {
                        out.push_str(names[index]);
                        if !used.contains(&index) {
                            used.push(index);
                        }
                    }
                    Unit::Char('\\') => {
                        if let Some(next) = char(at + 1) {
                            out.push('\\');
                            out.push(next);
                            at += 1;
                        } else if raw {
                            out.push('\\');
                        }
                    }
                    Unit::Char(own)
                        if own == quote && (0..ticks).all(|n| char(at + n) == Some(quote)) =>
                    {
                        out.extend(std::iter::repeat_n(quote, ticks));
                        at += ticks;
                        break;
                    }
                    Unit::Char(own) => out.push(own),
                }
                at += 1;
            }
            // Strings that follow one another are one string: the last of them gets the call.
            let mut next = at;
            while char(next)
                .is_some_and(|c| c == ' ' || c == '\t' || (brackets > 0 && c.is_whitespace()))
            {
                next += 1;
            }
            if string(units, next).is_none() {
                for index in used.drain(..) {
                    let (name, b) = (names[index], if bytes { "b" } else { "" });
                    let _ = write!(out, ".replace({b}\"{name}\", {})", value(name, bytes));
                }
            }
            continue;
        }
        match units[at] {
            Unit::Secret(index) => out.push_str(&value(names[index], false)),
            Unit::Char('#') => {
                while at < units.len() && char(at) != Some('\n') {
                    match units[at] {
                        Unit::Char(char) => out.push(char),
                        Unit::Secret(index) => out.push_str(names[index]),
                    }
                    at += 1;
                }
                continue;
            }
            Unit::Char(own) => {
                match own {
                    '(' | '[' | '{' => brackets += 1,
                    ')' | ']' | '}' => brackets = brackets.saturating_sub(1),
                    _ => {}
                }
                out.push(own);
            }
        }
        at += 1;
    }
    out
}

fn value(name: &str, bytes: bool) -> String {
    if bytes {
        format!("__import__(\"os\").environb[b\"{name}\"]")
    } else {
        format!("__import__(\"os\").environ[\"{name}\"]")
    }
}

/// Whether a string begins here: how long its prefix is, its quote, and whether that is tripled.
fn string(units: &[Unit], at: usize) -> Option<(usize, char, bool)> {
    let char = |at: usize| match units.get(at) {
        Some(Unit::Char(char)) => Some(*char),
        _ => None,
    };
    let name = |c: char| c.is_alphanumeric() || c == '_';
    let mut prefix = 0;
    while prefix < 3 && char(at + prefix).is_some_and(|c| "rRbBfFuU".contains(c)) {
        prefix += 1;
    }
    if prefix > 0 && at.checked_sub(1).and_then(char).is_some_and(name) {
        return None;
    }
    let quote = char(at + prefix).filter(|c| matches!(c, '"' | '\''))?;
    let long = char(at + prefix + 1) == Some(quote) && char(at + prefix + 2) == Some(quote);
    Some((prefix, quote, long))
}
