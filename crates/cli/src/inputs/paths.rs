//! How the places of a pipeline are called: `version`, `stages.build.variables.target`, `stages.build.steps.compile.spec.image`.

use std::collections::BTreeMap;

use pipeline::model::tree::{
    WRAPPERS, asks, called, element_mut, get, get_mut, is_variable, unwrapped,
};
use syntax::yaml::{Node, Value};

/// What is asked for, by path: whether it is a runtime input.
pub(super) type Asked = BTreeMap<String, bool>;

/// The variables and the runtime inputs of a pipeline.
pub(super) fn asked(pipeline: &mut Node) -> Asked {
    let mut found = Asked::new();
    walk(pipeline, &mut String::new(), &mut |path, node| {
        let input = asks(node);
        if input || is_variable(node) {
            let path = path.strip_prefix("variables.").unwrap_or(path);
            let path = if input {
                path.strip_suffix(".value").unwrap_or(path)
            } else {
                path
            };
            *found.entry(path.to_owned()).or_default() |= input;
        }
    });
    found
}

/// A variable of the pipeline, called by its name alone; its name may have dots.
pub(super) fn variable<'n>(pipeline: &'n mut Node, path: &str) -> Option<&'n mut Node> {
    let name = path.strip_prefix("variables.").unwrap_or(path);
    element_mut(get_mut(pipeline, "variables")?, name)
}

/// The node at the end of a path; lists are entered by an element's identifier or name.
pub(super) fn find<'n>(node: &'n mut Node, path: &[&str]) -> Option<&'n mut Node> {
    let Some((first, rest)) = path.split_first() else {
        return Some(node);
    };
    if matches!(node.value, Value::Sequence(_)) {
        // A variable's name may have dots.
        let (len, _) = (1..=path.len())
            .rev()
            .map(|len| (len, path[..len].join(".")))
            .find(|(_, name)| element_mut(node, name).is_some())?;
        return find(element_mut(node, &path[..len].join("."))?, &path[len..]);
    }
    if get(node, first).is_some() {
        return find(get_mut(node, first)?, rest);
    }
    // `stages.build.steps.compile` for what is written `stages.build.spec.execution.steps.compile`.
    let inner = ["spec", "execution"]
        .into_iter()
        .find(|key| get(node, key).is_some())?;
    find(get_mut(node, inner)?, path)
}

/// Every node with its path, parents first.
pub(super) fn walk(node: &mut Node, path: &mut String, each: &mut impl FnMut(&str, &mut Node)) {
    each(path, node);
    let len = path.len();
    let step = |path: &mut String, part: &str| {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(part);
    };
    match &mut node.value {
        Value::Mapping(mapping) => {
            for entry in &mut mapping.entries {
                let key = &*entry.key.text;
                // Wrappers and the way to a stage's steps are left out, as `find` puts them back.
                let hidden = (WRAPPERS.contains(&key) && entry.value.as_text().is_none())
                    || key == "execution";
                let spec_of_stage = key == "spec" && get(&entry.value, "execution").is_some();
                if !hidden && !spec_of_stage {
                    step(path, key);
                }
                walk(&mut entry.value, path, each);
                path.truncate(len);
            }
        }
        Value::Sequence(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                let (wrapper, inner) = unwrapped(item);
                if wrapper != Some("parallel") {
                    step(path, called(inner).unwrap_or(&at.to_string()));
                }
                walk(item, path, each);
                path.truncate(len);
            }
        }
        Value::Scalar(_) => {}
    }
}
