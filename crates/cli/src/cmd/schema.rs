//! `stepyard schema`: the JSON Schema of everything that a person writes.

use pipeline::model::Forms;

use crate::out;
use crate::problem::{Exit, Problem};

/// Prints it.
pub(crate) fn run() -> Result<Exit, Problem> {
    let schema = serde_json::to_string_pretty(&Forms::new().schema())
        .map_err(|e| Problem::system("write the schema", &e))?;
    out::text(&(schema + "\n"))
}
