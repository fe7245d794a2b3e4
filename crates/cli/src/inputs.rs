//! Values for what a pipeline asks of whoever runs it: variables and runtime inputs (`<+input>`), from `--set`, `--inputs` and
//! `--input-set`.
//!
//! They are put into the document before it is read as a pipeline, at the place where they are asked for. So a value that
//! is of the wrong kind is told with that place, and nothing further in knows where a value came from.

mod finish;
mod paths;
mod rules;
mod sets;

use std::collections::BTreeMap;

use pipeline::model::Input;
use pipeline::model::tree::{asks, get, get_mut, is_variable};
use pipeline::resolve::EVENT;
use syntax::yaml::{Kind, Node, Scalar, Style, Value};
use syntax::{Diagnostic, Sources, Span};

use crate::problem::Problem;
use paths::{Asked, find, variable};

/// What is given for one run.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// `--input-set`: names of input sets among the documents, the later wins.
    pub(crate) sets: Vec<String>,
    /// `--inputs`: files, the later wins; they win over the sets.
    pub(crate) paths: Vec<std::path::PathBuf>,
    /// `--set`: names and values, the later wins; they win over the files.
    pub(crate) set: Vec<(String, String)>,
    /// Of `--set`: what would have begun the run, by path (`trigger.branch`).
    pub(crate) event: BTreeMap<String, String>,
    /// Of `--set`: outputs of steps that do not run, by step and name.
    pub(crate) outputs: BTreeMap<(String, String), String>,
}

/// In a `--set`: the value of a step's output.
const OUTPUT: &str = ".output.outputVariables.";

impl Given {
    /// Takes `--set` apart.
    pub(crate) fn read(
        texts: &[String],
        files: &[std::path::PathBuf],
        sets: &[String],
    ) -> Result<Self, Problem> {
        let mut given = Self {
            sets: sets.to_vec(),
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
                None if EVENT
                    .iter()
                    .any(|root| name.split_once('.').is_some_and(|(own, _)| own == *root)) =>
                {
                    given.event.insert(name.to_owned(), value.to_owned());
                }
                None => given.set.push((name.to_owned(), value.to_owned())),
            }
        }
        Ok(given)
    }

    /// Puts the values into the document whose root is `pipeline`; `all` are the documents among which input sets are. What
    /// is asked for and not given is an error.
    pub(crate) fn apply(
        &self,
        document: &mut Node,
        all: &[Node],
        files: &[Node],
        sources: &Sources,
    ) -> Result<Vec<Diagnostic>, Problem> {
        let Some(pipeline) = get_mut(document, "pipeline") else {
            return Ok(Vec::new());
        };
        let asked = paths::asked(pipeline);
        let rules = rules::of(pipeline);
        let mut diagnostics = Vec::new();
        for name in &self.sets {
            sets::named(pipeline, name, all, &mut diagnostics)?;
        }
        for file in files {
            if sets::is_set(file) {
                sets::put(pipeline, file, all, &mut diagnostics)?;
            } else {
                let name = sources.get(file.span.source).name();
                plain(pipeline, file, name, &asked, &mut diagnostics)?;
            }
        }
        for (name, value) in &self.set {
            let from = format!("--set {name}");
            let value = if is_text(pipeline, name) {
                text_node(value, pipeline.span)
            } else {
                scalar(value, pipeline.span)
            };
            put(pipeline, name, value, &from, &asked, &mut diagnostics)?;
        }
        rules::hold(pipeline, &rules, &mut diagnostics);
        finish::finish(pipeline, &asked, &mut diagnostics);
        Ok(diagnostics)
    }
}

/// A mapping of names to values, or the part of a pipeline under `pipeline:`.
fn plain(
    pipeline: &mut Node,
    file: &Node,
    name: &str,
    asked: &Asked,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<(), Problem> {
    if let Some(inputs) = get(file, "pipeline") {
        diagnostics.extend(sets::fill(pipeline, inputs, name));
        return Ok(());
    }
    let Some(mapping) = file.as_mapping() else {
        return Err(Problem::invalid(format!("{name} holds no inputs")).help(
            "it is a mapping of names to values, or an input set with the root `inputSet:`",
        ));
    };
    for entry in &mapping.entries {
        let from = format!("{name}: {}", entry.key.text);
        put(
            pipeline,
            &entry.key.text,
            entry.value.clone(),
            &from,
            asked,
            diagnostics,
        )?;
    }
    Ok(())
}

/// A value as YAML would read it where it looks like a list or a mapping; else text, which every key takes as its kind.
fn scalar(text: &str, span: Span) -> Node {
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
    text_node(text, span)
}

fn text_node(text: &str, span: Span) -> Node {
    Node {
        span,
        value: Value::Scalar(Scalar {
            text: text.into(),
            style: Style::Double,
            kind: Kind::String,
        }),
    }
}

/// A name that leads to a variable whose values are texts, however they look.
fn is_text(pipeline: &mut Node, name: &str) -> bool {
    let path = name.strip_prefix("pipeline.").unwrap_or(name);
    let parts: Vec<_> = path.split('.').collect();
    let target = match variable(pipeline, path) {
        Some(found) => Some(&*found),
        None => find(pipeline, &parts).map(|found| &*found),
    };
    target
        .filter(|node| is_variable(node))
        .and_then(|node| get(node, "type")?.as_text())
        .is_some_and(|kind| matches!(kind, "String" | "Secret"))
}

/// Gives a node and all below it one place.
fn place(node: &mut Node, span: Span) {
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

/// Puts a value where a name leads.
fn put(
    pipeline: &mut Node,
    name: &str,
    value: Node,
    from: &str,
    asked: &Asked,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<(), Problem> {
    let path = name.strip_prefix("pipeline.").unwrap_or(name);
    if let Some(target) = variable(pipeline, path) {
        put_value(target, path, value, diagnostics);
        return Ok(());
    }
    let parts: Vec<_> = path.split('.').collect();
    if let Some(target) = find(pipeline, &parts) {
        put_value(target, path, value, diagnostics);
        return Ok(());
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
fn put_value(target: &mut Node, name: &str, value: Node, diagnostics: &mut Vec<Diagnostic>) {
    if !is_variable(target) {
        replace(target, name, value, diagnostics);
        return;
    }
    let span = target.span;
    match get_mut(target, "value") {
        Some(inner) => replace(inner, name, value, diagnostics),
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
}

/// Replaces a value; its place stays that of the text which asked for it.
fn replace(target: &mut Node, name: &str, mut value: Node, diagnostics: &mut Vec<Diagnostic>) {
    let input = target
        .as_text()
        .filter(|_| asks(target))
        .and_then(|text| Input::parse(text).ok());
    if let (Some(input), Some(text)) = (input, value.as_text())
        && let Some(help) = input.refuses(text)
    {
        diagnostics.push(rules::not_allowed(text, name, target.span, help));
    }
    place(&mut value, target.span);
    *target = value;
}

#[cfg(test)]
mod tests;
