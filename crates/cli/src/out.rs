//! Standard output: data, and nothing else. A reader that closes it early ends the command in peace; one that closes standard error ends
//! nothing.

use std::io::{self, Write};

use serde::Serialize;

use crate::problem::{Exit, Problem};

/// Writes bytes.
pub(crate) fn bytes(bytes: &[u8]) -> Result<Exit, Problem> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Problem::system("write to standard output", &e))
        }
        _ => Ok(Exit::Success),
    }
}

/// Writes text.
pub(crate) fn text(text: &str) -> Result<Exit, Problem> {
    bytes(text.as_bytes())
}

/// Writes a value as one JSON document.
pub(crate) fn json(value: &impl Serialize) -> Result<Exit, Problem> {
    let mut text =
        serde_json::to_vec_pretty(value).map_err(|e| Problem::system("write JSON", &e))?;
    text.push(b'\n');
    bytes(&text)
}

/// A line on standard error, for whoever reads it.
pub(crate) fn tell(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
