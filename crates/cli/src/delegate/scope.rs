//! What the expressions of such a process see: what came back, and what was known before.

use std::collections::BTreeMap;
use std::sync::Arc;

use syntax::expr::{self, Lookup, Map, Scope, Template, Value};

/// What came back under its names, and values by the path that they were known under.
pub(super) struct Seen<'a> {
    pub(super) answer: Map,
    pub(super) known: &'a BTreeMap<String, serde_json::Value>,
}

impl Seen<'_> {
    /// Whether a condition holds.
    pub(super) fn holds(&self, condition: &str) -> Result<bool, String> {
        let expr = expr::parse_condition(condition).map_err(|e| e.to_string())?;
        expr.holds(self).map_err(|e| e.to_string())
    }

    /// Whether an assertion holds: what is neither true nor false asserts nothing, and is an error.
    pub(super) fn asserts(&self, assertion: &str) -> Result<bool, String> {
        let expr = expr::parse_condition(assertion).map_err(|e| e.to_string())?;
        match expr.value(self) {
            Ok(Value::Bool(_) | Value::Null) | Err(_) => {}
            Ok(Value::Text(text)) if matches!(&*text, "true" | "false") => {}
            Ok(other) => return Err(format!("it is {}, neither true nor false", other.kind())),
        }
        expr.holds(self).map_err(|e| e.to_string())
    }

    /// The text of a template.
    pub(super) fn text(&self, template: &str) -> Result<String, String> {
        let template = Template::parse(template).map_err(|e| e.to_string())?;
        let text = template.text(self).map_err(|e| e.to_string())?;
        Ok(text.to_string())
    }
}

impl Scope for Seen<'_> {
    fn lookup(&self, path: &[&str]) -> Lookup {
        let mut map = &self.answer;
        for (at, part) in path.iter().enumerate() {
            match map.get(*part) {
                Some(Value::Map(inner)) if at + 1 < path.len() => map = inner,
                Some(value) => {
                    return Lookup::Found {
                        value: value.clone(),
                        used: at + 1,
                    };
                }
                None => break,
            }
        }
        for used in (1..=path.len()).rev() {
            if let Some(value) = self.known.get(&path[..used].join(".")) {
                return Lookup::Found {
                    value: Value::from_json(value),
                    used,
                };
            }
        }
        Lookup::Unknown {
            part: 0,
            known: self.answer.keys().map(ToString::to_string).collect(),
        }
    }
}

/// Pairs as a map.
pub(super) fn map<'a>(pairs: impl IntoIterator<Item = (&'a str, Value)>) -> Map {
    pairs
        .into_iter()
        .map(|(name, value)| (Arc::from(name), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assertion_is_true_or_false() {
        let seen = Seen {
            answer: map([
                ("httpResponseCode", Value::Int(500)),
                ("httpResponseBody", "broken".into()),
                ("flag", "true".into()),
            ]),
            known: &BTreeMap::new(),
        };
        for (assertion, wanted) in [
            ("<+httpResponseCode> == 500", Ok(true)),
            ("<+httpResponseCode> == 200", Ok(false)),
            ("<+flag>", Ok(true)),
            ("<+nothing.there> == null", Ok(true)),
            ("<+nothing.there>", Ok(false)),
            (
                "<+httpResponseBody>",
                Err("it is a text, neither true nor false".to_owned()),
            ),
            (
                "<+httpResponseCode>",
                Err("it is a number, neither true nor false".to_owned()),
            ),
        ] {
            assert_eq!(seen.asserts(assertion), wanted, "{assertion}");
        }
    }

    #[test]
    fn what_came_back_and_what_was_known() {
        let known = BTreeMap::from([("pipeline.variables.code".to_owned(), 201.into())]);
        let seen = Seen {
            answer: map([
                ("httpResponseCode", Value::Int(201)),
                ("httpResponseBody", r#"{"state": "up", "n": [1, 2]}"#.into()),
            ]),
            known: &known,
        };
        for (condition, wanted) in [
            ("<+httpResponseCode> == 201", Ok(true)),
            (
                "<+httpResponseCode> == <+pipeline.variables.code>",
                Ok(true),
            ),
            (
                "<+httpResponseCode> >= 200 && <+httpResponseCode> < 300",
                Ok(true),
            ),
            (
                r#"<+json.select("state", httpResponseBody)> == "down""#,
                Ok(false),
            ),
            (r"<+json.object(httpResponseBody).n[1]> == 2", Ok(true)),
            // As in a `when`: what nobody knows is null.
            ("<+nobody.knows> == 1", Ok(false)),
            ("<+httpResponseCode> ==", Err(())),
        ] {
            let found = seen.holds(condition).map_err(|_| ());
            assert_eq!(found, wanted, "{condition}");
        }
        assert_eq!(
            seen.text(r#"is <+json.select("state", httpResponseBody)>"#),
            Ok("is up".to_owned())
        );
    }
}
