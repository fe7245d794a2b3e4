//! What stands under the cursor.

use pipeline::model::{Class, class};
use pipeline::resolve::known_value;
use serde_json::{Value, json};

use super::complete::object;
use super::place::{On, place};
use super::state::State;
use super::{asked, judge};

/// The answer to `textDocument/hover`.
pub(super) fn hover(state: &State, params: &Value) -> Value {
    let text = asked(state, params)
        .and_then(|(uri, text, line, column)| said(state, uri, text, line, column));
    text.map_or(
        Value::Null,
        |text| json!({"contents": {"kind": "markdown", "value": text}}),
    )
}

fn said(state: &State, uri: &str, text: &str, line: usize, column: usize) -> Option<String> {
    let own = text.split('\n').nth(line)?;
    // The whole word counts, wherever in it the cursor is.
    let end = own[column..]
        .find(|c: char| !(c.is_alphanumeric() || "_$".contains(c)))
        .map_or(own.len(), |len| column + len);
    let place = place(text, line, end);
    match &place.on {
        On::Key(key) => {
            let (_, object) = object(&state.forms, &place.levels)?;
            let found = object.keys.iter().find(|own| own.name == key)?;
            let required = if found.required { " (required)" } else { "" };
            Some(format!("**{key}**{required}: {}", found.doc))
        }
        On::Value(key, value) if key == "type" && place.levels.last()?.key == "step" => {
            let where_it_runs = match class(value)? {
                Class::Container => "runs in a container of a containerized step group",
                Class::Either => "runs in a container of a step group, or by itself",
                Class::Delegate => {
                    "runs outside of containers, also inside of a containerized group"
                }
                Class::Outside => "runs only outside of containerized groups",
            };
            Some(format!("**{value}** {where_it_runs}."))
        }
        On::Expression(path, word) => {
            let model = judge::model(state, uri)?;
            let mut path: Vec<&str> = path.iter().map(String::as_str).collect();
            path.push(word);
            let value = known_value(
                model.pipeline.as_ref()?,
                &model.entities,
                &place.identifiers(),
                &path,
            )?;
            Some(format!("`{}` is `{value}` before a run", path.join(".")))
        }
        _ => None,
    }
}
