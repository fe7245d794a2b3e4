//! PowerShell.

use std::fmt::Write as _;

use super::Unit;

pub(super) fn place(units: &[Unit], names: &[&str]) -> String {
    let mut out = String::with_capacity(units.len() + 64);
    let char = |at: usize| match units.get(at) {
        Some(Unit::Char(char)) => Some(*char),
        _ => None,
    };
    let mut at = 0;
    while at < units.len() {
        match units[at] {
            Unit::Secret(index) => {
                let _ = write!(out, "${{env:{}}}", names[index]);
                at += 1;
            }
            Unit::Char('`') => {
                out.push('`');
                at += 1;
                if let Some(next) = char(at) {
                    out.push(next);
                    at += 1;
                }
            }
            Unit::Char('#') if out.chars().next_back().is_none_or(char::is_whitespace) => {
                while at < units.len() && char(at) != Some('\n') {
                    match units[at] {
                        Unit::Char(char) => out.push(char),
                        Unit::Secret(index) => out.push_str(names[index]),
                    }
                    at += 1;
                }
            }
            Unit::Char('"') => at = expanding(units, names, at, &mut out),
            Unit::Char('@') if char(at + 1) == Some('"') => {
                let end = here_end(units, at + 2, '"');
                for unit in &units[at..end] {
                    match unit {
                        Unit::Char(char) => out.push(*char),
                        Unit::Secret(index) => {
                            let _ = write!(out, "${{env:{}}}", names[*index]);
                        }
                    }
                }
                at = end;
            }
            Unit::Char('@') if char(at + 1) == Some('\'') => {
                let end = here_end(units, at + 2, '\'');
                literal(&units[at..end], names, &mut out);
                at = end;
            }
            Unit::Char('\'') => {
                let mut end = at + 1;
                while end < units.len() {
                    if char(end) == Some('\'') {
                        if char(end + 1) != Some('\'') {
                            break;
                        }
                        end += 1;
                    }
                    end += 1;
                }
                let end = (end + 1).min(units.len());
                literal(&units[at..end], names, &mut out);
                at = end;
            }
            Unit::Char(char) => {
                out.push(char);
                at += 1;
            }
        }
    }
    out
}

/// `"…"`.
fn expanding(units: &[Unit], names: &[&str], mut at: usize, out: &mut String) -> usize {
    out.push('"');
    at += 1;
    while at < units.len() {
        match units[at] {
            Unit::Secret(index) => {
                let _ = write!(out, "${{env:{}}}", names[index]);
            }
            Unit::Char('`') => {
                // Before a secret it would quote what we put there.
                if let Some(Unit::Char(next)) = units.get(at + 1) {
                    out.push('`');
                    out.push(*next);
                    at += 1;
                }
            }
            Unit::Char('"') => {
                out.push('"');
                return at + 1;
            }
            Unit::Char(char) => out.push(char),
        }
        at += 1;
    }
    at
}

/// Where a here-string ends, its closing included: a quote at the beginning of a line, then `@`.
fn here_end(units: &[Unit], from: usize, quote: char) -> usize {
    let closing = [Unit::Char('\n'), Unit::Char(quote), Unit::Char('@')];
    units[from..]
        .windows(3)
        .position(|window| window == closing)
        .map_or(units.len(), |len| from + len + 3)
}

/// A string that does not expand: the names stand in it and are replaced when it is evaluated.
fn literal(units: &[Unit], names: &[&str], out: &mut String) {
    let mut used: Vec<usize> = Vec::new();
    let mut text = String::new();
    for unit in units {
        match unit {
            Unit::Char(char) => text.push(*char),
            Unit::Secret(index) => {
                text.push_str(names[*index]);
                if !used.contains(index) {
                    used.push(*index);
                }
            }
        }
    }
    if used.is_empty() {
        out.push_str(&text);
        return;
    }
    let _ = write!(out, "({text})");
    for index in used {
        let name = names[index];
        let _ = write!(out, ".Replace('{name}', ${{env:{name}}})");
    }
}
