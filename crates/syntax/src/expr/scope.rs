//! The world of an expression.

use std::sync::Arc;

use super::template::Template;
use super::value::{Map, SecretRef, Value};

/// What a scope knows of a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// The first `used` parts name this value; what is left are members of it.
    Found {
        /// It.
        value: Value,
        /// At least 1.
        used: usize,
    },
    /// The first `used` parts name this template, which is evaluated in its turn.
    Template {
        /// It.
        template: Arc<Template>,
        /// At least 1.
        used: usize,
    },
    /// It is there, and its value is not known yet: a runtime input without a value, an output of a step that did not run.
    /// An evaluation fails as for what is unknown; a check before the run has nothing to say.
    Later {
        /// Index of the part whose value is to come.
        part: usize,
    },
    /// The part at this place is not known.
    Unknown {
        /// Index of the part.
        part: usize,
        /// What is known in its place.
        known: Vec<String>,
    },
}

/// What an expression can ask for. Everything has a default but the lookup.
pub trait Scope {
    /// What a path (`["pipeline", "variables", "x"]`, never empty) names.
    fn lookup(&self, path: &[&str]) -> Lookup;

    /// `secrets.getValue("id")`; `Err` says why there is no such secret.
    fn secret(&self, id: &str) -> Result<SecretRef, String> {
        Ok(SecretRef(id.into()))
    }

    /// A function of the world: `configFile.getAsString("id")`. None: there is no such function here.
    fn call(
        &self,
        functor: &str,
        method: &str,
        arguments: &[Value],
    ) -> Option<Result<Value, String>> {
        let _ = (functor, method, arguments);
        None
    }

    /// Milliseconds since the Unix epoch, for `datetime`. None: there is no clock here.
    fn now_ms(&self) -> Option<i64> {
        None
    }
}

/// A scope that is a tree of values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tree(pub Map);

impl<V: Into<Value>, const N: usize> From<[(&str, V); N]> for Tree {
    fn from(roots: [(&str, V); N]) -> Self {
        Self(
            roots
                .into_iter()
                .map(|(name, value)| (Arc::from(name), value.into()))
                .collect(),
        )
    }
}

impl Scope for Tree {
    fn lookup(&self, path: &[&str]) -> Lookup {
        let mut map = &self.0;
        for (n, part) in path.iter().enumerate() {
            match map.get(*part) {
                None => {
                    return Lookup::Unknown {
                        part: n,
                        known: map.keys().map(ToString::to_string).collect(),
                    };
                }
                Some(Value::Map(inner)) if n + 1 < path.len() => map = inner,
                Some(value) => {
                    return Lookup::Found {
                        value: value.clone(),
                        used: n + 1,
                    };
                }
            }
        }
        Lookup::Unknown {
            part: 0,
            known: Vec::new(),
        }
    }
}
