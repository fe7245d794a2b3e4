//! JSON texts, and paths into them: `$.a["b"][0][*].c`, with or without `$.` before it.

use super::MAX_VALUE;
use super::error::Problem;
use super::value::Value;

/// A JSON text as a value; what is no text is taken as it is.
pub(super) fn parse(of: &Value) -> Result<Value, Problem> {
    let Value::Text(text) = of else {
        return Ok(of.clone());
    };
    if text.len() > MAX_VALUE {
        return Err(Problem::TooLarge(MAX_VALUE));
    }
    serde_json::from_str(text)
        .map(|json| Value::from_json(&json))
        .map_err(|error| Problem::Json(error.to_string()))
}

/// What a path selects. `[*]` selects from every item and gives a list.
pub(super) fn select(path: &str, of: &Value) -> Result<Value, Problem> {
    let root = parse(of)?;
    let bad = || Problem::Json(format!("the path `{path}` cannot be read"));
    let mut rest = path.trim();
    rest = rest.strip_prefix('$').unwrap_or(rest);
    let mut found = vec![root];
    let mut many = false;
    while !rest.is_empty() {
        let (step, after) = if let Some(inside) = rest.strip_prefix('[') {
            let quote = inside.chars().next().filter(|c| matches!(c, '"' | '\''));
            let (key, after) = match quote {
                Some(quote) => {
                    let (key, after) = inside[1..].split_once(quote).ok_or_else(bad)?;
                    (key, after.strip_prefix(']').ok_or_else(bad)?)
                }
                None => inside.split_once(']').ok_or_else(bad)?,
            };
            (key, after)
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let end = name.find(['.', '[']).unwrap_or(name.len());
            if end == 0 {
                return Err(bad());
            }
            name.split_at(end)
        };
        rest = after;
        let mut next = Vec::new();
        for value in &found {
            if step == "*" {
                many = true;
                match value {
                    Value::List(items) => next.extend(items.iter().cloned()),
                    Value::Map(map) => next.extend(map.values().cloned()),
                    _ => {}
                }
            } else {
                let inner = match value {
                    Value::Map(map) => map.get(step).cloned(),
                    Value::List(items) => step
                        .parse::<usize>()
                        .ok()
                        .and_then(|at| items.get(at).cloned()),
                    _ => None,
                };
                match inner {
                    Some(inner) => next.push(inner),
                    // Of many, those that have it; of one, it must be there.
                    None if many => {}
                    None => {
                        return Err(Problem::Json(format!("the path `{path}` has no `{step}`")));
                    }
                }
            }
        }
        found = next;
    }
    if many {
        return Ok(Value::from(found));
    }
    Ok(found.pop().unwrap_or(Value::Null))
}
