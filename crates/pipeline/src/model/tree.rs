//! Values put into a YAML tree at the places where they are asked for.
//!
//! Input sets, the inputs of templates and those of services and environments have the shape of what they fill, reduced to
//! what is asked for (`<+input>`): mappings are followed by their keys, lists by the identifiers or names of their
//! elements. A value that is put in has the place where it is written, so that whatever is said of it later points there.

use syntax::yaml::{Kind, Mapping, Node, Scalar, Style, Value};
use syntax::{Diagnostic, Span, code};

use super::lower::nearest;
use super::param::Input;

/// The keys that wrap one element of the format's lists.
pub const WRAPPERS: [&str; 8] = [
    "stage",
    "step",
    "stepGroup",
    "parallel",
    "insert",
    "manifest",
    "configFile",
    "sidecar",
];

/// How a runtime input begins.
const INPUT: &str = "<+input>";

/// The value of a key of a mapping.
pub fn get<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    node.as_mapping()?.get(key)
}

/// The same, to be changed.
pub fn get_mut<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    match &mut node.value {
        Value::Mapping(Mapping { entries }) => entries
            .iter_mut()
            .find(|entry| &*entry.key.text == key)
            .map(|entry| &mut entry.value),
        _ => None,
    }
}

/// What an element of a list wraps, and by which key; an element that wraps nothing is itself.
pub fn unwrapped(item: &Node) -> (Option<&'static str>, &Node) {
    let wrapped = item.as_mapping().filter(|own| own.entries.len() == 1);
    WRAPPERS
        .iter()
        .find_map(|key| Some((Some(*key), wrapped?.get(key)?)))
        .unwrap_or((None, item))
}

/// What an element of a list is called: its identifier, else its name.
pub fn called(node: &Node) -> Option<&str> {
    ["identifier", "name", "serviceRef", "environmentRef"]
        .iter()
        .find_map(|key| get(node, key)?.as_text())
}

/// An element of a list by its identifier or name; `parallel` blocks are looked through.
pub fn element_mut<'n>(list: &'n mut Node, name: &str) -> Option<&'n mut Node> {
    let Value::Sequence(items) = &mut list.value else {
        return None;
    };
    items.iter_mut().find_map(|item| match unwrapped(item).0 {
        Some("parallel") => element_mut(get_mut(item, "parallel")?, name),
        Some(wrapper) => get_mut(item, wrapper).filter(|inner| is_called(inner, name)),
        None => Some(item).filter(|item| is_called(item, name)),
    })
}

fn is_called(node: &Node, name: &str) -> bool {
    called(node) == Some(name)
}

/// The same without changing it.
pub fn element<'n>(list: &'n Node, name: &str) -> Option<&'n Node> {
    list.as_sequence()?.iter().find_map(|item| {
        let (wrapper, inner) = unwrapped(item);
        if wrapper == Some("parallel") {
            return element(inner, name);
        }
        is_called(inner, name).then_some(inner)
    })
}

/// Calls `each` for every scalar.
pub fn each_scalar<'n>(node: &'n Node, each: &mut impl FnMut(&'n Node)) {
    match &node.value {
        Value::Scalar(_) => each(node),
        Value::Sequence(items) => items.iter().for_each(|item| each_scalar(item, each)),
        Value::Mapping(mapping) => {
            for entry in &mapping.entries {
                each_scalar(&entry.value, each);
            }
        }
    }
}

/// The same, to be changed.
pub fn each_scalar_mut(node: &mut Node, each: &mut impl FnMut(&mut Node)) {
    match &mut node.value {
        Value::Scalar(_) => each(node),
        Value::Sequence(items) => items
            .iter_mut()
            .for_each(|item| each_scalar_mut(item, each)),
        Value::Mapping(Mapping { entries }) => {
            for entry in entries {
                each_scalar_mut(&mut entry.value, each);
            }
        }
    }
}

/// How many nodes a tree has.
pub fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar(_) => 0,
        Value::Sequence(items) => items.iter().map(size).sum(),
        Value::Mapping(mapping) => mapping.entries.iter().map(|entry| size(&entry.value)).sum(),
    }
}

/// Whether a node asks for a value.
pub fn asks(node: &Node) -> bool {
    node.as_text().is_some_and(|text| text.starts_with(INPUT))
}

/// Puts values into a tree.
#[derive(Debug)]
pub struct Fill<'a> {
    /// What is filled, for messages: ``template `build` ``.
    pub what: &'a str,
    /// Only what asks for a value takes one. Else any value may be replaced, as an input set of the command line may.
    pub strict: bool,
    /// The code of what is not asked for.
    pub code: code::Code,
    /// What is wrong.
    pub diagnostics: Vec<Diagnostic>,
}

impl<'a> Fill<'a> {
    /// Of something that takes only what it asks for.
    pub fn strict(what: &'a str, code: code::Code) -> Self {
        Self {
            what,
            strict: true,
            code,
            diagnostics: Vec::new(),
        }
    }

    /// Puts what is given into a tree.
    pub fn put(&mut self, target: &mut Node, given: &Node) {
        if asks(target) {
            self.answer(target, given);
            return;
        }
        match &given.value {
            Value::Mapping(mapping) => {
                if !matches!(target.value, Value::Mapping(_)) {
                    self.too_many(given.span.head(1), "");
                    return;
                }
                for entry in &mapping.entries {
                    let key = &*entry.key.text;
                    if let Some(inner) = get_mut(target, key) {
                        self.put(inner, &entry.value);
                    } else if let Some(inner) = self.behind(key, &entry.value) {
                        // What a template link asked for is asked for by what stands in its place.
                        self.put(target, inner);
                    } else if !self.echo(key, &entry.value) {
                        self.too_many_key(entry.key.span, key, target);
                    }
                }
            }
            Value::Sequence(items) => self.list(target, items, given.span),
            // One that was not filled in gives nothing; what is given as it stands changes nothing.
            Value::Scalar(scalar) if scalar.text.starts_with(INPUT) => {}
            Value::Scalar(scalar) => {
                let same = target.as_text() == given.as_text();
                let blank = scalar.text.trim().is_empty();
                if !same && !blank {
                    if self.strict {
                        self.too_many(given.span, "");
                    } else {
                        *target = given.clone();
                    }
                }
            }
        }
    }

    /// `template: {templateInputs: …}` over a tree in which the template stands already.
    fn behind<'g>(&self, key: &str, given: &'g Node) -> Option<&'g Node> {
        if self.strict || key != "template" {
            return None;
        }
        get(given, "templateInputs")
    }

    /// What only says where it belongs.
    fn echo(&self, key: &str, value: &Node) -> bool {
        matches!(key, "identifier" | "type" | "name") || (!self.strict && value.is_null())
    }

    fn list(&mut self, target: &mut Node, items: &[Node], span: Span) {
        if !matches!(target.value, Value::Sequence(_)) {
            self.too_many(span.head(1), "");
            return;
        }
        for (at, item) in items.iter().enumerate() {
            let (wrapper, inner) = unwrapped(item);
            if wrapper == Some("parallel") {
                // The blocks stand in an order of their own; their elements are found by name.
                if let Some(blocks) = inner.as_sequence() {
                    self.list(target, blocks, inner.span);
                }
                continue;
            }
            match called(inner) {
                Some(name) => match element_mut(target, name) {
                    Some(found) => self.put(found, inner),
                    None => self.too_many(inner.span.head(1), name),
                },
                None => match &mut target.value {
                    Value::Sequence(own) if at < own.len() => self.put(&mut own[at], item),
                    _ => self.too_many(item.span.head(1), ""),
                },
            }
        }
    }

    /// Puts a value in the place that asks for it.
    fn answer(&mut self, target: &mut Node, given: &Node) {
        if given.is_null() {
            return;
        }
        let input = target.as_text().and_then(|text| Input::parse(text).ok());
        if let Some(input) = input {
            if given.as_text() == Some(INPUT) {
                // Asked of whoever is further out, under the same rules.
                target.span = given.span;
                return;
            }
            if let Some(refused) = given.as_text().and_then(|text| input.refuses(text)) {
                let text = given.as_text().unwrap_or_default();
                self.diagnostics.push(
                    Diagnostic::error(
                        code::BAD_INPUT_VALUE,
                        format!("`{text}` is not a value that {} allows here", self.what),
                    )
                    .at(given.span, "")
                    .at(target.span, "asked for here")
                    .help(refused),
                );
            }
        }
        *target = given.clone();
    }

    fn too_many_key(&mut self, span: Span, key: &str, target: &Node) {
        let known = target
            .as_mapping()
            .map_or(&[][..], |mapping| &mapping.entries);
        let near = nearest(key, known.iter().map(|entry| &*entry.key.text));
        let diagnostic =
            Diagnostic::error(self.code, format!("{} asks for no `{key}` here", self.what))
                .at(span, "one too many");
        self.diagnostics.push(match near {
            Some(near) => diagnostic
                .help(format!("did you mean `{near}`?"))
                .fix(span, near),
            None => diagnostic.help("remove it: inputs have the shape of what they fill"),
        });
    }

    fn too_many(&mut self, span: Span, name: &str) {
        let message = if name.is_empty() {
            format!("{} asks for no value here", self.what)
        } else {
            format!("{} has no `{name}` here", self.what)
        };
        self.diagnostics.push(
            Diagnostic::error(self.code, message)
                .at(span, "one too many")
                .help("remove it, or write `<+input>` where it is to go"),
        );
    }
}

/// Where values are asked for that nobody gave and that have no default: with the path to each, in keys and identifiers.
/// Only those written in `within` are meant; one that was given as `<+input>` is asked of whoever is further out.
pub fn missing(node: &Node, within: Span) -> Vec<(String, Span)> {
    fn walk(node: &Node, path: &mut String, within: Span, found: &mut Vec<(String, Span)>) {
        let len = path.len();
        let mut step = |path: &mut String, part: &str, node: &Node| {
            if !path.is_empty() && !part.is_empty() {
                path.push('.');
            }
            path.push_str(part);
            walk(node, path, within, found);
            path.truncate(len);
        };
        match &node.value {
            Value::Mapping(mapping) => {
                for entry in &mapping.entries {
                    step(path, &entry.key.text, &entry.value);
                }
            }
            Value::Sequence(items) => {
                for (at, item) in items.iter().enumerate() {
                    let (_, inner) = unwrapped(item);
                    match called(inner) {
                        Some(name) => step(path, name, inner),
                        None => step(path, &at.to_string(), item),
                    }
                }
            }
            Value::Scalar(_) => {
                let own = node.span.source == within.source
                    && node.span.start >= within.start
                    && node.span.end <= within.end;
                let Some(text) = node.as_text().filter(|text| text.starts_with(INPUT)) else {
                    return;
                };
                let open = Input::parse(text)
                    .is_ok_and(|input| input.default.is_none() && !input.execution);
                if own && open {
                    found.push((path.clone(), node.span));
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(node, &mut String::new(), within, &mut found);
    found
}

/// That `what` asks for the value of a path, which is not given at the place where it could be.
pub(crate) fn not_given(
    what: &str,
    (path, asked): (&str, Span),
    place: Span,
    help: String,
) -> Diagnostic {
    Diagnostic::error(
        code::TEMPLATE_INPUT,
        format!("{what} asks for `{path}`, which is not given"),
    )
    .at(place, "missing here")
    .at(asked, "asked for here")
    .help(help)
}

/// One of `variables`.
pub fn is_variable(node: &Node) -> bool {
    let has = |key| node.as_mapping().is_some_and(|m| m.entry(key).is_some());
    has("name") && has("type") && !has("identifier") && !has("spec")
}

/// A variable that nothing was given for, and whose input has no default of its own: it takes its `default`, or is empty where
/// it is not `required`. Whether it did.
pub fn put_own_default(variable: &mut Node) -> bool {
    if !is_variable(variable) {
        return false;
    }
    let asked = get(variable, "value")
        .filter(|own| asks(own))
        .and_then(|own| Input::parse(own.as_text()?).ok());
    if asked.is_none_or(|own| own.default.is_some() || own.execution) {
        return false;
    }
    let default = get(variable, "default").filter(|own| !own.is_null() && !asks(own));
    let optional = get(variable, "required").and_then(Node::as_text) == Some("false");
    let answer = match default {
        Some(own) => own.value.clone(),
        None if optional => {
            let number = get(variable, "type").and_then(Node::as_text) == Some("Number");
            text("", if number { Kind::Null } else { Kind::String })
        }
        None => return false,
    };
    if let Some(own) = get_mut(variable, "value") {
        own.value = answer;
    }
    true
}

fn text(text: &str, kind: Kind) -> Value {
    Value::Scalar(Scalar {
        text: text.into(),
        style: Style::Double,
        kind,
    })
}

/// Puts the defaults in the places that ask for a value and have one; whether there was any.
pub fn put_defaults(node: &mut Node) -> bool {
    let mut any = put_own_default(node);
    match &mut node.value {
        Value::Sequence(items) => {
            for item in items {
                any |= put_defaults(item);
            }
        }
        Value::Mapping(mapping) => {
            for entry in &mut mapping.entries {
                any |= put_defaults(&mut entry.value);
            }
        }
        Value::Scalar(own) if own.text.starts_with(INPUT) => {
            let input = Input::parse(&own.text).ok().filter(|own| !own.execution);
            if let Some(default) = input.and_then(|own| own.default) {
                node.value = text(&default, Kind::String);
                any = true;
            }
        }
        Value::Scalar(_) => {}
    }
    any
}
