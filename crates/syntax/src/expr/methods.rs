//! Members, indexes and methods of values. Places in a text are counted in characters.

use std::sync::Arc;

use super::MAX_VALUE;
use super::error::{Problem, nearest};
use super::functors::{pattern, replace_all};
use super::operators::equal;
use super::value::Value;

const TEXT_METHODS: [&str; 32] = [
    "contains",
    "startsWith",
    "endsWith",
    "split",
    "substring",
    "indexOf",
    "lastIndexOf",
    "replace",
    "replaceAll",
    "replaceFirst",
    "toLowerCase",
    "toUpperCase",
    "trim",
    "charAt",
    "length",
    "size",
    "concat",
    "matches",
    "isEmpty",
    "equals",
    "equalsIgnoreCase",
    "toString",
    "isBlank",
    "strip",
    "repeat",
    "get",
    "compareTo",
    "compareToIgnoreCase",
    "contentEquals",
    "stripLeading",
    "stripTrailing",
    "lines",
];
const LIST_METHODS: [&str; 12] = [
    "get",
    "size",
    "length",
    "contains",
    "containsAll",
    "isEmpty",
    "indexOf",
    "lastIndexOf",
    "subList",
    "toString",
    "equals",
    "join",
];
const MAP_METHODS: [&str; 10] = [
    "get",
    "getOrDefault",
    "containsValue",
    "size",
    "containsKey",
    "isEmpty",
    "keySet",
    "values",
    "toString",
    "equals",
];

/// The names of all methods, whatever they are called on.
pub(super) fn all() -> Vec<&'static str> {
    [&TEXT_METHODS[..], &LIST_METHODS, &MAP_METHODS].concat()
}

/// `of.name`
pub(super) fn member(of: &Value, name: &str) -> Result<Value, Problem> {
    match of {
        Value::Map(map) => map.get(name).cloned().ok_or_else(|| Problem::NoMember {
            of: of.kind(),
            name: name.to_owned(),
            near: nearest(name, map.keys().map(|key| &**key)),
        }),
        Value::List(_) if name.bytes().all(|byte| byte.is_ascii_digit()) => {
            index(of, &Value::from(name))
        }
        Value::Secret(_) | Value::Mixed(_) => Err(Problem::Secret(format!("`.{name}`"))),
        _ => Err(Problem::NoMember {
            of: of.kind(),
            name: name.to_owned(),
            near: methods_of(of)
                .iter()
                .find(|method| **method == name)
                .map(|method| format!("{method}()")),
        }),
    }
}

/// `of[key]`
pub(super) fn index(of: &Value, key: &Value) -> Result<Value, Problem> {
    if let Value::Secret(_) | Value::Mixed(_) = of {
        return Err(Problem::Secret("an index".to_owned()));
    }
    if let Value::Map(_) = of {
        let name = key
            .to_text()
            .ok_or(Problem::Secret("an index".to_owned()))?;
        return member(of, &name);
    }
    let Some(Value::Int(at)) = key.number() else {
        return Err(Problem::NoMember {
            of: of.kind(),
            name: key.to_text().unwrap_or_default().to_string(),
            near: None,
        });
    };
    let place = usize::try_from(at).ok();
    let (found, len) = match of {
        Value::List(items) => (place.and_then(|n| items.get(n).cloned()), items.len()),
        Value::Text(text) => (
            place
                .and_then(|n| text.chars().nth(n))
                .map(|char| Value::from(char.to_string())),
            text.chars().count(),
        ),
        _ => {
            return Err(Problem::Operand {
                operator: "[…]",
                value: of.kind(),
            });
        }
    };
    found.ok_or(Problem::Index {
        index: at,
        of: if matches!(of, Value::Text(_)) {
            "text"
        } else {
            "list"
        },
        len,
    })
}

/// Whether `empty()` holds.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.is_empty(),
        _ => false,
    }
}

fn methods_of(value: &Value) -> &'static [&'static str] {
    match value {
        Value::Text(_) => &TEXT_METHODS,
        Value::List(_) => &LIST_METHODS,
        Value::Map(_) => &MAP_METHODS,
        _ => &["toString", "equals"],
    }
}

/// `of.name(arguments)`
pub(super) fn call(of: &Value, name: &str, arguments: &[Value]) -> Result<Value, Problem> {
    if of.has_secret() || arguments.iter().any(Value::has_secret) {
        return Err(Problem::Secret(format!("`.{name}()`")));
    }
    let unknown = || Problem::NoMember {
        of: of.kind(),
        name: format!("{name}()"),
        near: nearest(name, methods_of(of).iter().copied()),
    };
    match (name, arguments) {
        ("toString", []) => return Ok(Value::Text(of.to_text().unwrap_or_default())),
        ("equals", [other]) => return Ok(Value::Bool(equal(of, other))),
        _ => {}
    }
    let known = methods_of(of).contains(&name);
    let wrong = || {
        if known {
            Problem::Arguments {
                name: name.to_owned(),
                wants: "has other arguments",
            }
        } else {
            unknown()
        }
    };
    match of {
        Value::Text(text) => text_method(text, name, arguments).unwrap_or_else(|| Err(wrong())),
        Value::List(items) => Ok(match (name, arguments) {
            ("get", [at]) => index(of, at)?,
            ("size" | "length", []) => int(items.len()),
            ("isEmpty", []) => Value::Bool(items.is_empty()),
            ("contains", [item]) => Value::Bool(items.iter().any(|other| equal(item, other))),
            ("indexOf", [item]) => items
                .iter()
                .position(|other| equal(item, other))
                .map_or(Value::Int(-1), int),
            ("lastIndexOf", [item]) => items
                .iter()
                .rposition(|other| equal(item, other))
                .map_or(Value::Int(-1), int),
            ("containsAll", [Value::List(others)]) => Value::Bool(
                others
                    .iter()
                    .all(|other| items.iter().any(|item| equal(item, other))),
            ),
            ("subList", [from, to]) => {
                let from = place_in(from, "list", items.len())?;
                let to = place_in(to, "list", items.len())?;
                Value::List(items.get(from..to).unwrap_or_default().into())
            }
            ("join", [Value::Text(with)]) => {
                let texts: Vec<Arc<str>> = items.iter().filter_map(Value::to_text).collect();
                let size = texts
                    .iter()
                    .map(|text| text.len() + with.len())
                    .sum::<usize>();
                bounded(size)?;
                Value::from(texts.join(with))
            }
            _ => return Err(wrong()),
        }),
        Value::Map(map) => Ok(match (name, arguments) {
            ("get", [key]) => member(of, &key.to_text().unwrap_or_default())?,
            ("size", []) => int(map.len()),
            ("isEmpty", []) => Value::Bool(map.is_empty()),
            ("containsKey", [key]) => {
                Value::Bool(map.contains_key(&*key.to_text().unwrap_or_default()))
            }
            ("getOrDefault", [key, other]) => map
                .get(&*key.to_text().unwrap_or_default())
                .unwrap_or(other)
                .clone(),
            ("containsValue", [value]) => {
                Value::Bool(map.values().any(|other| equal(value, other)))
            }
            ("keySet", []) => Value::List(map.keys().cloned().map(Value::Text).collect()),
            ("values", []) => Value::List(map.values().cloned().collect()),
            _ => return Err(wrong()),
        }),
        _ => Err(wrong()),
    }
}

fn int(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn bounded(size: usize) -> Result<(), Problem> {
    if size > MAX_VALUE {
        Err(Problem::TooLarge(MAX_VALUE))
    } else {
        Ok(())
    }
}

/// None: no such method with these arguments.
fn text_method(text: &str, name: &str, arguments: &[Value]) -> Option<Result<Value, Problem>> {
    let texts: Vec<Arc<str>> = arguments
        .iter()
        .map(|argument| argument.to_text().unwrap_or_default())
        .collect();
    let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
    let made = match (name, &texts[..]) {
        ("contains", [part]) => Value::Bool(text.contains(part)),
        ("startsWith", [part]) => Value::Bool(text.starts_with(part)),
        ("endsWith", [part]) => Value::Bool(text.ends_with(part)),
        ("contentEquals", [other]) => Value::Bool(text == *other),
        ("compareTo", [other]) => order(text.cmp(other)),
        ("compareToIgnoreCase", [other]) => order(text.to_lowercase().cmp(&other.to_lowercase())),
        ("stripLeading", []) => Value::from(text.trim_start()),
        ("stripTrailing", []) => Value::from(text.trim_end()),
        ("lines", []) => Value::List(text.lines().map(Value::from).collect()),
        ("indexOf", [part, _]) => {
            let len = text.chars().count();
            let from = match arguments[1].number() {
                Some(Value::Int(at)) => usize::try_from(at).unwrap_or(0).min(len),
                _ => return None,
            };
            let at = text
                .char_indices()
                .nth(from)
                .map_or(text.len(), |(at, _)| at);
            char_index(text, text[at..].find(part).map(|found| at + found))
        }
        ("equalsIgnoreCase", [other]) => Value::Bool(text.to_lowercase() == other.to_lowercase()),
        ("isEmpty", []) => Value::Bool(text.is_empty()),
        ("isBlank", []) => Value::Bool(text.trim().is_empty()),
        ("length" | "size", []) => int(text.chars().count()),
        ("toLowerCase", []) => Value::from(text.to_lowercase()),
        ("toUpperCase", []) => Value::from(text.to_uppercase()),
        ("trim" | "strip", []) => Value::from(text.trim()),
        ("concat", [more]) => Value::from(format!("{text}{more}")),
        ("indexOf", [part]) => char_index(text, text.find(part)),
        ("lastIndexOf", [part]) => char_index(text, text.rfind(part)),
        ("charAt" | "get", [_]) => return Some(index(&Value::from(text), &arguments[0])),
        ("substring", [_]) => return Some(substring(text, &arguments[0], None)),
        ("substring", [_, _]) => return Some(substring(text, &arguments[0], Some(&arguments[1]))),
        ("repeat", [_]) => {
            let Some(Value::Int(times)) = arguments[0].number() else {
                return None;
            };
            let times = usize::try_from(times).unwrap_or(0);
            if let Err(problem) = bounded(times.saturating_mul(text.len())) {
                return Some(Err(problem));
            }
            Value::from(text.repeat(times))
        }
        ("replace", [from, to]) => {
            let count = text.matches(from).count();
            if let Err(problem) = bounded(text.len() + count.saturating_mul(to.len())) {
                return Some(Err(problem));
            }
            Value::from(text.replace(from, to))
        }
        ("replaceAll", [from, to]) => return Some(replace_all(text, from, to, usize::MAX)),
        ("replaceFirst", [from, to]) => return Some(replace_all(text, from, to, 1)),
        ("matches", [source]) => {
            return Some(
                pattern(&format!("^(?:{source})$"))
                    .map(|pattern| Value::Bool(pattern.is_match(text))),
            );
        }
        ("split", [by]) => return Some(split(text, by, 0)),
        ("split", [by, _]) => {
            let Some(Value::Int(limit)) = arguments[1].number() else {
                return None;
            };
            return Some(split(text, by, limit));
        }
        _ => return None,
    };
    Some(Ok(made))
}

/// Java's answer to a comparison, by its sign.
fn order(ordering: std::cmp::Ordering) -> Value {
    Value::Int(ordering as i64)
}

/// A place in something of a length; its end is one too.
fn place_in(value: &Value, of: &'static str, len: usize) -> Result<usize, Problem> {
    match value.number() {
        Some(Value::Int(at)) => usize::try_from(at)
            .ok()
            .filter(|at| *at <= len)
            .ok_or(Problem::Index { index: at, of, len }),
        _ => Err(Problem::Operand {
            operator: "an index",
            value: value.kind(),
        }),
    }
}

fn char_index(text: &str, byte: Option<usize>) -> Value {
    byte.map_or(Value::Int(-1), |byte| int(text[..byte].chars().count()))
}

fn substring(text: &str, from: &Value, to: Option<&Value>) -> Result<Value, Problem> {
    let len = text.chars().count();
    let place = |value: &Value| place_in(value, "text", len);
    let from = place(from)?;
    let to = to.map_or(Ok(len), place)?;
    if from > to {
        return Err(Problem::Index {
            index: from as i64,
            of: "text",
            len: to,
        });
    }
    Ok(Value::from(
        text.chars().skip(from).take(to - from).collect::<String>(),
    ))
}

/// Splits by a regular expression. Without a limit, empty parts at the end are dropped.
fn split(text: &str, by: &str, limit: i64) -> Result<Value, Problem> {
    let most = usize::try_from(limit).ok().filter(|limit| *limit > 0);
    let plain = !by.contains(|c: char| r".$|()[]{}^?*+\".contains(c));
    let mut parts: Vec<&str> = match (plain && !by.is_empty(), most) {
        (true, None) => text.split(by).collect(),
        (true, Some(most)) => text.splitn(most, by).collect(),
        (false, None) => pattern(by)?.split(text).collect(),
        (false, Some(most)) => pattern(by)?.splitn(text, most).collect(),
    };
    if limit == 0 {
        while parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
    }
    Ok(Value::List(parts.into_iter().map(Value::from).collect()))
}
