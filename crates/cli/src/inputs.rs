//! Values for what a pipeline asks of whoever runs it: variables and runtime inputs (`<+input>`), from `--set` and `--inputs`.
//!
//! They are put into the document before it is read as a pipeline, at the place where they are asked for. So a value that
//! is of the wrong kind is told with that place, and nothing further in knows where a value came from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pipeline::model::Input;
use syntax::yaml::{Kind, Mapping, Node, Scalar, Style, Value};
use syntax::{Diagnostic, Sources, code};

use crate::problem::Problem;

/// What is given for one run.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// `--inputs`: files, the later wins.
    pub(crate) paths: Vec<std::path::PathBuf>,
    /// `--set`: names and values, the later wins; they win over the files.
    pub(crate) set: Vec<(String, String)>,
    /// Of `--set`: outputs of steps that do not run, by step and name.
    pub(crate) outputs: BTreeMap<(String, String), String>,
}

/// In a `--set`: the value of a step's output.
const OUTPUT: &str = ".output.outputVariables.";
/// The wrappers of the format's lists.
const WRAPPERS: [&str; 4] = ["stage", "step", "stepGroup", "parallel"];

impl Given {
    /// Takes `--set` apart.
    pub(crate) fn read(texts: &[String], files: &[std::path::PathBuf]) -> Result<Self, Problem> {
        let mut given = Self {
            paths: files.to_vec(),
            ..Self::default()
        };
        for text in texts {
            let (name, value) = text
                .split_once('=')
                .filter(|(name, _)| !name.trim().is_empty())
                .ok_or_else(|| {
                    Problem::invalid(format!("`--set {text}` is not `NAME=VALUE`"))
                        .help("give a variable's name and its value: `--set version=1.2`")
                })?;
            let name = name.trim();
            match name.split_once(OUTPUT) {
                Some((step, output)) => {
                    let step = step.rsplit('.').next().unwrap_or(step);
                    given
                        .outputs
                        .insert((step.to_owned(), output.to_owned()), value.to_owned());
                }
                None => given.set.push((name.to_owned(), value.to_owned())),
            }
        }
        Ok(given)
    }

    /// Puts the values into a document whose root is `pipeline`. What is asked for and not given is an error.
    pub(crate) fn apply(
        &self,
        document: &mut Node,
        files: &[Node],
        sources: &Sources,
    ) -> Result<Vec<Diagnostic>, Problem> {
        let Some(pipeline) = get_mut(document, "pipeline") else {
            return Ok(Vec::new());
        };
        let asked = asked(pipeline);
        let mut rules = BTreeMap::new();
        each_scalar(pipeline, &mut |node| {
            if let Some(Ok(input)) = node
                .as_text()
                .filter(|t| t.starts_with("<+input>"))
                .map(Input::parse)
            {
                rules.insert((node.span.start, node.span.end), input);
            }
        });
        for file in files {
            let name = sources.get(file.span.source).name();
            apply_file(pipeline, file, name, &asked)?;
        }
        for (name, value) in &self.set {
            put(
                pipeline,
                name,
                scalar(value, pipeline.span),
                &format!("--set {name}"),
                &asked,
            )?;
        }
        let mut diagnostics = Vec::new();
        allowed(pipeline, &rules, &mut diagnostics);
        finish(pipeline, &mut String::new(), &asked, &mut diagnostics);
        Ok(diagnostics)
    }
}

fn apply_file(pipeline: &mut Node, file: &Node, name: &str, asked: &Asked) -> Result<(), Problem> {
    let set = file.as_mapping().and_then(|m| m.get("inputSet"));
    let inner = set
        .or(Some(file))
        .and_then(|n| n.as_mapping()?.get("pipeline"));
    if let Some(inputs) = inner {
        merge(pipeline, inputs);
        return Ok(());
    }
    let Some(mapping) = file.as_mapping().filter(|_| set.is_none()) else {
        return Err(Problem::invalid(format!("{name} holds no inputs")).help(
            "it is a mapping of names to values, or an input set with the root `inputSet:`",
        ));
    };
    for entry in &mapping.entries {
        let from = format!("{name}: {}", entry.key.text);
        put(pipeline, &entry.key.text, entry.value.clone(), &from, asked)?;
    }
    Ok(())
}

/// A value as YAML would read it where it looks like a list or a mapping; else text, which every key takes as its kind.
fn scalar(text: &str, span: syntax::Span) -> Node {
    if text.starts_with(['[', '{']) {
        let mut sources = Sources::new();
        let id = sources.add("--set", text);
        let parsed = syntax::yaml::parse(&sources, id);
        if parsed.diagnostics.is_empty()
            && let Some(mut node) = parsed.documents.into_iter().next()
        {
            place(&mut node, span);
            return node;
        }
    }
    let kind = if text.is_empty() {
        Kind::Null
    } else {
        Kind::String
    };
    Node {
        span,
        value: Value::Scalar(Scalar {
            text: text.into(),
            style: Style::Double,
            kind,
        }),
    }
}

/// Gives a node and all below it one place.
fn place(node: &mut Node, span: syntax::Span) {
    node.span = span;
    match &mut node.value {
        Value::Sequence(items) => items.iter_mut().for_each(|item| place(item, span)),
        Value::Mapping(mapping) => {
            for entry in &mut mapping.entries {
                entry.key.span = span;
                place(&mut entry.value, span);
            }
        }
        Value::Scalar(_) => {}
    }
}

/// Replaces a value; its place stays that of the text which asked for it.
fn replace(target: &mut Node, mut value: Node) {
    place(&mut value, target.span);
    *target = value;
}

/// Puts a value where a name leads.
fn put(
    pipeline: &mut Node,
    name: &str,
    value: Node,
    from: &str,
    asked: &Asked,
) -> Result<(), Problem> {
    let path = name.strip_prefix("pipeline.").unwrap_or(name);
    // A variable of the pipeline is called by its name alone; its name may have dots.
    let variable = path.strip_prefix("variables.").unwrap_or(path);
    if let Some(target) = get_mut(pipeline, "variables").and_then(|list| element(list, variable)) {
        return {
            put_value(target, value);
            Ok(())
        };
    }
    let parts: Vec<_> = path.split('.').collect();
    if let Some(target) = find(pipeline, &parts) {
        return {
            put_value(target, value);
            Ok(())
        };
    }
    let names = asked.keys().map(String::as_str);
    let near = names
        .clone()
        .map(|known| (strsim::damerau_levenshtein(known, path), known))
        .min()
        .filter(|(distance, _)| *distance <= 1 + path.len() / 4 && *distance < path.len());
    let problem = Problem::invalid(format!(
        "{from}: the pipeline has no variable or input of this name"
    ));
    Err(match near {
        Some((_, near)) => problem.help(format!("did you mean `{near}`?")),
        None if asked.is_empty() => problem.help("it has no variables and asks for no inputs"),
        None => problem.help(format!(
            "it has {}",
            names.take(20).collect::<Vec<_>>().join(", ")
        )),
    })
}

/// Of a variable, its `value`; else the very node.
fn put_value(target: &mut Node, value: Node) {
    if is_variable(target) {
        let span = target.span;
        match get_mut(target, "value") {
            Some(inner) => replace(inner, value),
            None => {
                if let Value::Mapping(mapping) = &mut target.value {
                    let key = syntax::yaml::Key {
                        text: "value".into(),
                        span,
                    };
                    let mut value = value;
                    place(&mut value, span);
                    mapping.entries.push(syntax::yaml::Entry { key, value });
                }
            }
        }
    } else {
        replace(target, value);
    }
}

fn is_variable(node: &Node) -> bool {
    let has = |key| node.as_mapping().is_some_and(|m| m.entry(key).is_some());
    has("name") && has("type") && !has("identifier") && !has("spec")
}

/// The node at the end of a path; lists are entered by an element's identifier or name.
fn find<'n>(node: &'n mut Node, path: &[&str]) -> Option<&'n mut Node> {
    let Some((first, rest)) = path.split_first() else {
        return Some(node);
    };
    if matches!(node.value, Value::Sequence(_)) {
        return find(element(node, first)?, rest);
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

/// An element of a list by its identifier or name; `parallel` blocks are looked through.
fn element<'n>(list: &'n mut Node, name: &str) -> Option<&'n mut Node> {
    let Value::Sequence(items) = &mut list.value else {
        return None;
    };
    items.iter_mut().find_map(|item| {
        let wrapper = WRAPPERS.into_iter().find(|w| get(item, w).is_some());
        match wrapper {
            Some("parallel") => element(get_mut(item, "parallel")?, name),
            Some(wrapper) => get_mut(item, wrapper).filter(|inner| is_called(inner, name)),
            None => Some(item).filter(|item| is_called(item, name)),
        }
    })
}

fn is_called(node: &Node, name: &str) -> bool {
    let text = |key| get(node, key).and_then(Node::as_text);
    text("identifier").map_or_else(|| text("name") == Some(name), |id| id == name)
}

fn get<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    node.as_mapping()?.get(key)
}

fn get_mut<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    match &mut node.value {
        Value::Mapping(Mapping { entries }) => entries
            .iter_mut()
            .find(|e| &*e.key.text == key)
            .map(|e| &mut e.value),
        _ => None,
    }
}

/// Puts an input set over a pipeline: what it holds replaces what stands at the same place.
fn merge(target: &mut Node, inputs: &Node) {
    match &inputs.value {
        Value::Mapping(mapping) => {
            for entry in &mapping.entries {
                match get_mut(target, &entry.key.text) {
                    Some(inner) => merge(inner, &entry.value),
                    None => {
                        if let Value::Mapping(Mapping { entries }) = &mut target.value {
                            entries.push(entry.clone());
                        }
                    }
                }
            }
        }
        Value::Sequence(items) if matches!(target.value, Value::Sequence(_)) => {
            for item in items {
                let inner = WRAPPERS.iter().find_map(|w| get(item, w)).unwrap_or(item);
                if let Some(blocks) = get(item, "parallel") {
                    // The blocks of an input set stand in its own order; their elements are found by name.
                    merge(target, blocks);
                    continue;
                }
                let name = ["identifier", "name"]
                    .iter()
                    .find_map(|key| get(inner, key)?.as_text());
                if let Some(found) = name.and_then(|name| element(target, name)) {
                    merge(found, inner);
                }
            }
        }
        // An input set that was not filled in gives nothing.
        Value::Scalar(scalar) if scalar.text.starts_with("<+input>") => {}
        _ => replace(target, inputs.clone()),
    }
}

/// What is asked for, by path: whether it is a runtime input.
type Asked = BTreeMap<String, bool>;

/// The variables and the runtime inputs of a pipeline.
fn asked(pipeline: &Node) -> Asked {
    let mut found = Asked::new();
    walk(pipeline, &mut String::new(), &mut |path, node| {
        let input = node
            .as_text()
            .is_some_and(|text| text.starts_with("<+input>"));
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

fn walk(node: &Node, path: &mut String, each: &mut impl FnMut(&str, &Node)) {
    each(path, node);
    let len = path.len();
    let step = |path: &mut String, part: &str| {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(part);
    };
    match &node.value {
        Value::Mapping(mapping) => {
            for entry in &mapping.entries {
                // Wrappers and the way to a stage's steps are left out, as `find` puts them back.
                let hidden =
                    WRAPPERS.contains(&&*entry.key.text) || &*entry.key.text == "execution";
                let spec_of_stage =
                    &*entry.key.text == "spec" && get(&entry.value, "execution").is_some();
                if !hidden && !spec_of_stage {
                    step(path, &entry.key.text);
                }
                walk(&entry.value, path, each);
                path.truncate(len);
            }
        }
        Value::Sequence(items) => {
            for (at, item) in items.iter().enumerate() {
                let inner = WRAPPERS.iter().find_map(|w| get(item, w)).unwrap_or(item);
                let name = ["identifier", "name"]
                    .iter()
                    .find_map(|key| get(inner, key)?.as_text());
                if get(item, "parallel").is_none() {
                    step(path, name.unwrap_or(&at.to_string()));
                }
                walk(item, path, each);
                path.truncate(len);
            }
        }
        Value::Scalar(_) => {}
    }
}

/// Values that a runtime input does not allow. A value has the place of the input that asked for it.
fn allowed(
    pipeline: &Node,
    rules: &BTreeMap<(u32, u32), Input>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    walk(pipeline, &mut String::new(), &mut |path, node| {
        let (Some(text), Some(input)) =
            (node.as_text(), rules.get(&(node.span.start, node.span.end)))
        else {
            return;
        };
        if text.contains("<+") {
            return;
        }
        let name = path.strip_prefix("variables.").unwrap_or(path);
        let name = name.strip_suffix(".value").unwrap_or(name);
        let parts: Vec<_> = if input.many {
            text.split(',').map(str::trim).collect()
        } else {
            vec![text]
        };
        let help = match (&input.allowed, &input.regex) {
            (Some(allowed), _) if !parts.iter().all(|part| allowed.iter().any(|a| a == part)) => {
                format!("give one of {}", allowed.join(", "))
            }
            (_, Some(regex))
                if regex_lite::Regex::new(&format!("^(?:{regex})$"))
                    .is_ok_and(|r| !r.is_match(text)) =>
            {
                format!("it must match {regex}")
            }
            _ => return,
        };
        let message = format!("`{text}` is not a value that the runtime input `{name}` allows");
        diagnostics.push(
            Diagnostic::error(code::BAD_INPUT_VALUE, message)
                .at(node.span, "")
                .help(help),
        );
    });
}

/// Runtime inputs that nothing was given for take their default, or are told.
fn finish(node: &mut Node, path: &mut String, asked: &Asked, diagnostics: &mut Vec<Diagnostic>) {
    // The paths of a tree that may change are those of the walk over a copy: pipelines are small, inputs few.
    let mut missing: Vec<(String, syntax::Span, Input)> = Vec::new();
    let mut paths: BTreeMap<(u32, u32), String> = BTreeMap::new();
    walk(node, path, &mut |path, node| {
        if node.as_text().is_some_and(|t| t.starts_with("<+input>")) {
            paths.insert((node.span.start, node.span.end), path.to_owned());
        }
    });
    each_scalar(node, &mut |node| {
        let Some(text) = node.as_text().filter(|t| t.starts_with("<+input>")) else {
            return;
        };
        // What cannot be understood is told by the model.
        let Ok(input) = Input::parse(text) else {
            return;
        };
        if let Some(default) = &input.default {
            let value = scalar(default, node.span);
            replace(node, value);
            return;
        }
        let path = paths
            .get(&(node.span.start, node.span.end))
            .cloned()
            .unwrap_or_default();
        missing.push((path, node.span, input));
    });
    for (path, span, input) in missing {
        let name = path.strip_prefix("variables.").unwrap_or(&path);
        let name = name
            .strip_suffix(".value")
            .filter(|n| asked.contains_key(*n))
            .unwrap_or(name);
        let mut help = format!("give it by `--set {name}=…`, or in a file of `--inputs`");
        if let Some(allowed) = &input.allowed {
            let _ = write!(help, "; it is one of {}", allowed.join(", "));
        }
        let diagnostic = Diagnostic::error(
            code::MISSING_INPUT,
            format!("the runtime input `{name}` has no value"),
        );
        diagnostics.push(diagnostic.at(span, "").help(help));
    }
}

fn each_scalar(node: &mut Node, each: &mut impl FnMut(&mut Node)) {
    match &mut node.value {
        Value::Scalar(_) => each(node),
        Value::Sequence(items) => items.iter_mut().for_each(|item| each_scalar(item, each)),
        Value::Mapping(Mapping { entries }) => {
            for entry in entries {
                each_scalar(&mut entry.value, each);
            }
        }
    }
}

#[cfg(test)]
mod tests;
