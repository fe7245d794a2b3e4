//! A run for machines: one JSON object a line. `kind` says which sort it is; new sorts and fields may come.

use std::collections::BTreeMap;
use std::io::{self, Write};

use pipeline::plan::NodeId;
use serde_json::{Value, json};

use engine::event::Event;

use super::tail::Lines;
use super::view::Seen;

/// Writes what is seen, an object a line.
#[derive(Debug, Default)]
pub(crate) struct Json {
    lines: BTreeMap<NodeId, Lines>,
}

impl Json {
    /// Writes what `seen` is.
    pub(crate) fn write(&mut self, seen: &Seen, to: &mut impl Write) -> io::Result<()> {
        match seen {
            Seen::Event(stamped) => {
                if let Event::AttemptFinished { step, .. } | Event::AttemptLost { step, .. } =
                    &stamped.event
                {
                    let mut result = Ok(());
                    if let Some(lines) = self.lines.get_mut(step) {
                        lines.finish(|line| result = put(to, &output(step, stamped.at_ms, line)));
                    }
                    result?;
                }
                put(
                    to,
                    &json!({"kind": "event", "at_ms": stamped.at_ms, "event": stamped.event}),
                )
            }
            Seen::Pod { group, event } => put(
                to,
                &json!({"kind": "pod", "at_ms": event.at_ms, "group": group, "pod": event}),
            ),
            Seen::Output { step, at_ms, bytes } => {
                let mut result = Ok(());
                self.lines
                    .entry(step.clone())
                    .or_default()
                    .push(bytes, |line| {
                        if result.is_ok() {
                            result = put(to, &output(step, *at_ms, line));
                        }
                    });
                result
            }
        }
    }
}

/// A line of a step. What is not UTF-8 is told as U+FFFD: `stepyard logs` gives the bytes.
fn output(step: &NodeId, at_ms: u64, line: &[u8]) -> Value {
    json!({"kind": "line", "at_ms": at_ms, "step": step, "text": String::from_utf8_lossy(line)})
}

fn put(to: &mut impl Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer(&mut *to, value)?;
    to.write_all(b"\n")
}
