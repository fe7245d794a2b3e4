//! A JSON value as YAML for people.

use serde_json::Value;

/// Block YAML; texts that could be read as something else are quoted as JSON quotes them.
pub fn yaml(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, &mut out);
    out
}

fn write(value: &Value, indent: usize, out: &mut String) {
    let pad = "  ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                out.push_str(&pad);
                out.push_str(&text(key));
                out.push(':');
                below(value, indent, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut inner = String::new();
                write(item, indent + 1, &mut inner);
                // The first line of an item stands beside its dash.
                out.push_str(&pad);
                out.push_str("- ");
                out.push_str(inner.get(2 * (indent + 1)..).unwrap_or_default());
            }
        }
        scalar => {
            out.push_str(&pad);
            out.push_str(&plain(scalar));
            out.push('\n');
        }
    }
}

fn below(value: &Value, indent: usize, out: &mut String) {
    let empty = match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    };
    if empty {
        out.push(' ');
        out.push_str(&plain(value));
        out.push('\n');
    } else {
        out.push('\n');
        let deeper = usize::from(value.is_object());
        write(value, indent + deeper, out);
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(own) => text(own),
        other => other.to_string(),
    }
}

fn text(own: &str) -> String {
    let word = own.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && own
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&own.to_ascii_lowercase().as_str());
    if word {
        own.to_owned()
    } else {
        Value::from(own).to_string()
    }
}
