//! What such a process is to do, as it stands in its environment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The variables that hold it, each at most this many bytes: no variable may have more than 128 KiB.
const VARIABLE: &str = "STEPYARD_TASK_";
const PIECE: usize = 96 * 1024;

/// What it is to do.
#[derive(Serialize, Deserialize)]
pub(crate) enum Task {
    /// Send a request.
    Http(Request),
    /// Ask a script again and again.
    Approval(Asking),
}

/// See [`pipeline::resolve::Request`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<String>,
    pub(crate) certificate: Option<(String, String)>,
    pub(crate) assertion: Option<String>,
    pub(crate) outputs: Vec<Computed>,
    pub(crate) known: BTreeMap<String, serde_json::Value>,
}

/// See [`pipeline::resolve::Computed`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Computed {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) secret: bool,
}

/// See [`pipeline::resolve::Asking`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Asking {
    /// `bash`, else `sh`.
    pub(crate) bash: bool,
    pub(crate) text: String,
    pub(crate) interval_ms: u64,
    pub(crate) timeout_ms: u64,
    pub(crate) approval: Criteria,
    pub(crate) rejection: Option<Criteria>,
    pub(crate) known: BTreeMap<String, serde_json::Value>,
    pub(crate) outputs: Vec<addon::frame::OutputVar>,
}

/// See [`pipeline::resolve::Criteria`].
#[derive(Serialize, Deserialize)]
pub(crate) enum Criteria {
    Jexl(String),
    KeyValues {
        any: bool,
        conditions: Vec<Condition>,
    },
}

/// A comparison of an output.
#[derive(Serialize, Deserialize)]
pub(crate) struct Condition {
    pub(crate) key: String,
    /// As the format writes it: `equals`, `not equals`, `in`, `not in`.
    pub(crate) operator: String,
    pub(crate) value: String,
}

impl Task {
    /// As variables of a process.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let text = serde_json::to_string(self).expect("a task is JSON");
        let mut rest = &*text;
        let mut variables = Vec::new();
        while !rest.is_empty() {
            let mut end = PIECE.min(rest.len());
            while !rest.is_char_boundary(end) {
                end -= 1;
            }
            variables.push((
                format!("{VARIABLE}{}", variables.len()),
                rest[..end].to_owned(),
            ));
            rest = &rest[end..];
        }
        variables
    }

    /// Of this process.
    pub(super) fn read() -> Result<Self, String> {
        let pieces = (0..).map_while(|n| std::env::var(format!("{VARIABLE}{n}")).ok());
        let text: String = pieces.collect();
        serde_json::from_str(&text).map_err(|e| format!("there is nothing to do: {e}"))
    }

    /// Whether a variable is one of these.
    pub(super) fn owns(name: &str) -> bool {
        name.starts_with(VARIABLE)
    }
}
