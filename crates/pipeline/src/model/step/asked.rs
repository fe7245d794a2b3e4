//! Runtime inputs of a step that are asked for when it is reached: `<+input>.executionInput()`.

use syntax::Span;
use syntax::yaml::{Node, Value};

use super::super::param::Input;
use super::super::tree::{asks, called};

/// The keys of a step's `spec` that are known before the step is reached: its container is made of them. An input there is asked
/// for before the run, like any other.
const OF_THE_CONTAINER: [&str; 9] = [
    "image",
    "connectorRef",
    "registryRef",
    "baseImageConnectorRefs",
    "imagePullPolicy",
    "privileged",
    "runAsUser",
    "resources",
    "portBindings",
];

/// A runtime input that is asked for when its step is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedLater {
    /// Where it stands below `spec`: `command`, `envVariables.TAG`.
    pub name: String,
    /// In the text.
    pub span: Span,
    /// As written.
    pub input: Input,
}

/// Whether what is written at this path below a step's `spec` can be asked for when the step is reached.
pub fn can_be_asked_later(below_spec: &str) -> bool {
    let first = below_spec.split('.').next().unwrap_or_default();
    !first.is_empty() && !OF_THE_CONTAINER.contains(&first)
}

/// What a `spec` asks for when its step is reached, in the order of the text.
pub(super) fn of(spec: &Node) -> Vec<AskedLater> {
    let mut found = Vec::new();
    walk(spec, "", &mut found);
    found
}

fn walk(node: &Node, path: &str, found: &mut Vec<AskedLater>) {
    let below = |part: &str| match path {
        "" => part.to_owned(),
        path => format!("{path}.{part}"),
    };
    match &node.value {
        Value::Mapping(mapping) => {
            for entry in &mapping.entries {
                walk(&entry.value, &below(&entry.key.text), found);
            }
        }
        Value::Sequence(items) => {
            for (at, item) in items.iter().enumerate() {
                let own = called(item).map_or_else(|| at.to_string(), str::to_owned);
                walk(item, &below(&own), found);
            }
        }
        Value::Scalar(_) => {
            let input = node
                .as_text()
                .filter(|_| asks(node) && can_be_asked_later(path))
                .and_then(|text| Input::parse(text).ok())
                .filter(|input| input.execution);
            if let Some(input) = input {
                // `{name: A, value: …}` is called by its name.
                let name = path.strip_suffix(".value").unwrap_or(path);
                found.push(AskedLater {
                    name: name.to_owned(),
                    span: node.span,
                    input,
                });
            }
        }
    }
}
