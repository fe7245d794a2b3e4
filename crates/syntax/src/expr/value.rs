//! What an expression is worth.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use indexmap::IndexMap;

/// An opaque reference to a secret: `id`, `org.id`, `account.id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretRef(pub Arc<str>);

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A part of a text: known, or a secret that stands there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Piece {
    /// As it is.
    Text(Arc<str>),
    /// A secret's value belongs here.
    Secret(SecretRef),
}

/// Keys in the order in which they were written.
pub type Map = IndexMap<Arc<str>, Value>;

/// A value. Cloning one is cheap.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(Arc<str>),
    /// Values in order.
    List(Arc<[Value]>),
    /// Values by name.
    Map(Arc<Map>),
    /// A secret: its reference, never its text.
    Secret(SecretRef),
    /// Text in which secrets stand.
    Mixed(Arc<[Piece]>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Value {
    fn from(bool: bool) -> Self {
        Self::Bool(bool)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::List(items.into())
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Map(Arc::new(map))
    }
}

impl<K: Into<Arc<str>>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Value {
    fn from(entries: [(K, V); N]) -> Self {
        let map: Map = entries
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        map.into()
    }
}

impl Value {
    /// What it is, with its article.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Secret(_) => "a secret",
            Self::Mixed(_) => "a text with a secret",
        }
    }

    /// Whether a condition with this value holds: all but `false`, `null`, 0, and the texts `` and `false`.
    pub fn holds(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(bool) => *bool,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty() && !text.eq_ignore_ascii_case("false"),
            _ => true,
        }
    }

    /// It or something in it is a secret.
    pub fn has_secret(&self) -> bool {
        match self {
            Self::Secret(_) | Self::Mixed(_) => true,
            Self::List(items) => items.iter().any(Self::has_secret),
            Self::Map(map) => map.values().any(Self::has_secret),
            _ => false,
        }
    }

    /// As text: lists and maps as JSON, `null` as `null`. None where it has a secret.
    pub fn to_text(&self) -> Option<Arc<str>> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Secret(_) | Self::Mixed(_) => None,
            Self::List(_) | Self::Map(_) if self.has_secret() => None,
            other => {
                let mut text = String::new();
                other.write_json(&mut text);
                Some(text.into())
            }
        }
    }

    /// Appends it as it is written in JSON; text is quoted.
    pub(super) fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(bool) => out.push_str(if *bool { "true" } else { "false" }),
            Self::Int(number) => write!(out, "{number}").unwrap_or(()),
            Self::Float(number) => write!(out, "{number:?}").unwrap_or(()),
            Self::Text(text) => write_quoted(text, out),
            Self::List(items) => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Self::Map(map) => {
                out.push('{');
                for (n, (key, value)) in map.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    write_quoted(key, out);
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
            // Never asked for: `to_text` and `json.format` refuse secrets. The marker is no value either.
            Self::Secret(_) | Self::Mixed(_) => out.push_str("\"<secret>\""),
        }
    }

    /// A number, also one written as text.
    pub(super) fn number(&self) -> Option<Self> {
        match self {
            Self::Int(_) | Self::Float(_) => Some(self.clone()),
            Self::Text(text) => {
                let text = text.trim();
                if let Ok(number) = text.parse::<i64>() {
                    return Some(Self::Int(number));
                }
                // `inf` and `nan` are words, not numbers.
                if !text.bytes().any(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                text.parse::<f64>().ok().map(Self::Float)
            }
            _ => None,
        }
    }

    /// Bytes it takes as text, roughly; for the bound of [`super::MAX_VALUE`].
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::List(items) => items.iter().map(|item| 8 + item.weight()).sum(),
            Self::Map(map) => map.iter().map(|(k, v)| 8 + k.len() + v.weight()).sum(),
            Self::Mixed(pieces) => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => text.len(),
                    Piece::Secret(_) => 8,
                })
                .sum(),
            _ => 8,
        }
    }

    /// A JSON value as one of ours.
    pub fn from_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(bool) => Self::Bool(*bool),
            serde_json::Value::Number(number) => number
                .as_i64()
                .map_or_else(|| Self::Float(number.as_f64().unwrap_or(0.0)), Self::Int),
            serde_json::Value::String(text) => Self::from(text.as_str()),
            serde_json::Value::Array(items) => {
                Self::List(items.iter().map(Self::from_json).collect())
            }
            serde_json::Value::Object(map) => Self::Map(Arc::new(
                map.iter()
                    .map(|(key, value)| (Arc::from(key.as_str()), Self::from_json(value)))
                    .collect(),
            )),
        }
    }
}

fn write_quoted(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}
