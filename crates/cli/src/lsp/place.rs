//! Where in the format a cursor is, by the indentation of the lines around it. The text need not be whole.

/// Where a cursor is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// The keys that lead there, outermost first.
    pub(super) levels: Vec<Level>,
    /// The keys that stand beside it already.
    pub(super) beside: Vec<(String, String)>,
    /// What it is on.
    pub(super) on: On,
}

/// A key on the way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Level {
    /// It.
    pub(super) key: String,
    /// The keys in the same mapping, with what is written behind them.
    pub(super) beside: Vec<(String, String)>,
}

/// What a cursor is on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum On {
    /// A key, as far as it is written.
    Key(String),
    /// The value of a key, as far as it is written.
    Value(String, String),
    /// A path in an expression: its whole names, and the last one as far as it is written.
    Expression(Vec<String>, String),
    /// A text in which nothing of ours stands.
    #[default]
    Text,
}

/// A line with a key.
struct Line<'t> {
    /// Where its dash is.
    dash: Option<usize>,
    /// Where its key is.
    indent: usize,
    key: &'t str,
    value: &'t str,
}

fn line(text: &str) -> Option<Line<'_>> {
    let mut at = text.len() - text.trim_start().len();
    let mut rest = &text[at..];
    let mut dash = None;
    while let Some(inner) = rest.strip_prefix("- ") {
        dash.get_or_insert(at);
        let trimmed = inner.trim_start();
        at = text.len() - trimmed.len();
        rest = trimmed;
    }
    let end = rest.find(':')?;
    let (key, value) = (&rest[..end], &rest[end + 1..]);
    let named = !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.$-".contains(&b));
    (named && (value.is_empty() || value.starts_with(' '))).then(|| Line {
        dash,
        indent: at,
        key,
        value: value.trim(),
    })
}

/// Where a line's own mapping begins: behind its dashes.
fn indent(text: &str) -> usize {
    text.len() - text.trim_start_matches([' ', '-']).len()
}

/// The keys of the mapping that a line is in.
fn beside(lines: &[&str], at: usize, indent: usize) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut add = |own: &Line<'_>| {
        if own.indent == indent {
            found.push((
                own.key.to_owned(),
                own.value.trim_matches(['"', '\'']).to_owned(),
            ));
        }
    };
    // Upwards to where the mapping begins: at its dash, or at what is further out.
    for own in lines[..at].iter().rev().filter_map(|own| line(own)) {
        if own.indent < indent {
            break;
        }
        add(&own);
        if own.indent == indent && own.dash.is_some() {
            break;
        }
    }
    for own in lines[at + 1..].iter().filter_map(|own| line(own)) {
        if own.indent < indent || (own.dash.is_some() && own.indent <= indent) {
            break;
        }
        add(&own);
    }
    found
}

/// Where the byte `column` of the line `at` is.
pub(super) fn place(text: &str, at: usize, column: usize) -> Place {
    let lines: Vec<&str> = text.split('\n').collect();
    let Some(own) = lines.get(at) else {
        return Place::default();
    };
    let before = &own[..own.floor_char_boundary(column.min(own.len()))];
    let blank = own.trim_matches([' ', '-']).is_empty();
    let at_indent = if blank {
        before.len().max(indent(before))
    } else {
        indent(own)
    };
    let own_line = line(own);

    let mut levels = Vec::new();
    let mut in_text = false;
    // What is written at the cursor is a part of its own mapping; keys further out are parents.
    let mut limit = own
        .find('-')
        .filter(|dash| own[..*dash].trim().is_empty() && own[*dash..].starts_with("- "))
        .map_or(at_indent, |dash| dash + 1);
    for n in (0..at).rev() {
        if lines[n].starts_with("---") {
            break;
        }
        let Some(own) = line(lines[n]) else { continue };
        if own.indent >= limit {
            continue;
        }
        let value = own.value.trim_end_matches(['-', '+']);
        in_text |= levels.is_empty() && matches!(value, "|" | ">");
        let mut around = beside(&lines, n, own.indent);
        around.push((own.key.to_owned(), own.value.to_owned()));
        levels.push(Level {
            key: own.key.to_owned(),
            beside: around,
        });
        limit = own.dash.map_or(own.indent, |dash| dash + 1);
    }
    levels.reverse();

    let on = if let Some((path, word)) = expression(before) {
        On::Expression(path, word)
    } else if in_text {
        On::Text
    } else if let Some(own) = own_line.filter(|own| before.len() > own.indent + own.key.len()) {
        let from = own.indent + own.key.len() + 1;
        On::Value(own.key.to_owned(), before[from..].trim_start().to_owned())
    } else {
        let word = before.trim_start_matches([' ', '-']);
        let key = word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if key {
            On::Key(word.to_owned())
        } else {
            On::Text
        }
    };
    Place {
        levels,
        beside: beside(&lines, at, at_indent),
        on,
    }
}

/// The path that a cursor is in, inside of `<+…`.
fn expression(before: &str) -> Option<(Vec<String>, String)> {
    let open = before.rfind("<+")?;
    let inside = &before[open + 2..];
    if inside.contains('>') {
        return None;
    }
    let start = inside
        .rfind(|c: char| !(c.is_alphanumeric() || "_.$".contains(c)))
        .map_or(0, |at| {
            at + inside[at..].chars().next().map_or(1, char::len_utf8)
        });
    let mut names: Vec<String> = inside[start..].split('.').map(str::to_owned).collect();
    let word = names.pop().unwrap_or_default();
    Some((names, word))
}

impl Place {
    /// The identifiers of the stages, groups and steps around it, outermost first.
    pub(super) fn identifiers(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (n, level) in self.levels.iter().enumerate() {
            if !matches!(level.key.as_str(), "stage" | "stepGroup" | "step") {
                continue;
            }
            let inner = self
                .levels
                .get(n + 1)
                .map_or(&self.beside, |own| &own.beside);
            let own = inner.iter().find(|(key, _)| key == "identifier");
            found.extend(own.map(|(_, value)| value.clone()));
        }
        found
    }
}
