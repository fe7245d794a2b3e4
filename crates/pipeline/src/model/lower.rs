//! From YAML nodes to typed values, every diagnostic collected.
//!
//! Lowering never stops: what cannot be understood is reported and left out, and the rest goes on. So a `None` in the
//! model is either not written or already reported.

use indexmap::IndexMap;
use syntax::yaml::{Entry, Kind, Mapping, Node, Scalar, Value};
use syntax::{Diagnostic, Span, Spanned, code};

use super::form::{Form, Forms};

/// What is collected on the way.
#[derive(Debug, Default)]
pub(crate) struct Cx {
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// See [`super::load::Loaded::secrets`].
    pub(crate) secrets: Vec<Spanned<String>>,
}

/// A value that can be read from a node.
pub(crate) trait Lower: Sized {
    /// Whether blank text is a value; else `key: ""` is as if the key were not written, as the visual editor leaves it.
    const BLANK: bool = false;

    /// Reads it; `name` is the key it stands under, for messages. `None` is always reported.
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self>;

    /// What may be written.
    fn form(_: &mut Forms) -> Form {
        Form::Any
    }
}

/// A value that a key of a mapping holds, or leaves out.
pub(crate) trait Slot {
    /// Takes the key out of the mapping.
    fn take(fields: &mut Fields<'_>, key: &'static str, cx: &mut Cx) -> Self;

    /// What may be written.
    fn form(forms: &mut Forms) -> Form;
}

/// A mapping while its keys are taken out of it.
#[derive(Debug)]
pub(crate) struct Fields<'n> {
    /// Where the mapping is.
    pub(crate) span: Span,
    name: String,
    mapping: &'n Mapping,
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The mapping that a node is; reported where it is none.
    pub(crate) fn of(node: &'n Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let Some(mapping) = node.as_mapping() else {
            cx.wrong_type(node, name, "a mapping");
            return None;
        };
        Some(Self {
            span: node.span,
            name: name.to_owned(),
            mapping,
            known: Vec::with_capacity(24),
        })
    }

    /// The value of a key that is there and not null. The key counts as known from now on.
    pub(crate) fn node(&mut self, key: &'static str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The same with the key.
    pub(crate) fn entry(&mut self, key: &'static str) -> Option<&'n Entry> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.mapping
            .entry(key)
            .filter(|entry| !entry.value.is_null())
    }

    /// The value of a key, read.
    pub(crate) fn value<T: Lower>(&mut self, key: &'static str, cx: &mut Cx) -> Option<T> {
        Slot::take(self, key, cx)
    }

    /// The same under another name in messages.
    pub(crate) fn value_as<T: Lower>(
        &mut self,
        key: &'static str,
        name: &str,
        cx: &mut Cx,
    ) -> Option<T> {
        T::lower(self.node(key)?, name, cx)
    }

    /// A key that must be there.
    pub(crate) fn required(&mut self, key: &'static str, cx: &mut Cx) {
        if self.entry(key).is_none() {
            let at = self.key_span(key).unwrap_or_else(|| self.place());
            let message = format!("`{}` lacks `{key}`", self.name);
            cx.push(
                Diagnostic::error(code::MISSING_FIELD, message)
                    .at(at, format!("`{key}` is required here"))
                    .help(format!("add `{key}:`")),
            );
        }
    }

    /// A key whose list must have an entry.
    pub(crate) fn not_empty(&mut self, key: &'static str, says: &str, mend: &str, cx: &mut Cx) {
        let empty = match self.node(key) {
            None => self.key_span(key).unwrap_or_else(|| self.place()),
            Some(node) if node.as_sequence().is_some_and(<[Node]>::is_empty) => node.span,
            Some(_) => return,
        };
        cx.push(
            Diagnostic::error(code::EMPTY_LIST, says)
                .at(empty, "")
                .help(mend),
        );
    }

    /// Every key with its value, known or not.
    pub(crate) fn entries(&self) -> &'n [Entry] {
        &self.mapping.entries
    }

    /// Where a key stands, also one whose value is null.
    pub(crate) fn key_span(&self, key: &str) -> Option<Span> {
        self.mapping.entry(key).map(|entry| entry.key.span)
    }

    /// The place to blame for what is missing: the first key.
    pub(crate) fn place(&self) -> Span {
        self.mapping
            .entries
            .first()
            .map_or(self.span.head(1), |entry| entry.key.span)
    }

    /// Keys that are known to the format and mean nothing to us.
    pub(crate) fn ignore(&mut self, keys: &[&'static str]) {
        self.known.extend_from_slice(keys);
    }

    /// Warns of every key that nothing asked for.
    pub(crate) fn finish(self, cx: &mut Cx) {
        for entry in &self.mapping.entries {
            let key = &*entry.key.text;
            if self.known.contains(&key) {
                continue;
            }
            let message = format!("`{key}` is not known in `{}`", self.name);
            let diagnostic = Diagnostic::warning(code::UNKNOWN_FIELD, message)
                .at(entry.key.span, "has no effect");
            if let Some(place) = elsewhere(&self.name, key) {
                cx.push(diagnostic.help(format!("it belongs {place}")));
                continue;
            }
            cx.push(match nearest(key, self.known.iter().copied()) {
                Some(near) => diagnostic
                    .help(format!("did you mean `{near}`?"))
                    .fix(entry.key.span, near),
                None => diagnostic.help("remove it, or check where it belongs"),
            });
        }
    }
}

/// Where a key belongs that is often written one level too high or too low.
fn elsewhere(name: &str, key: &str) -> Option<&'static str> {
    let spec = name.starts_with("spec of ");
    match key {
        "image" | "command" | "shell" | "connectorRef" | "envVariables" | "settings"
        | "entrypoint" | "reports" | "outputVariables" | "imagePullPolicy" | "privileged"
        | "runAsUser" | "resources"
            if name == "step" =>
        {
            Some("below the step's `spec`")
        }
        "timeout" | "when" | "strategy" | "failureStrategies" | "identifier" | "name" if spec => {
            Some("beside `spec`")
        }
        "sharedPaths" if spec || name == "stepGroupInfra" => Some("beside `stepGroupInfra`"),
        "namespace"
        | "volumes"
        | "serviceAccountName"
        | "tolerations"
        | "nodeSelector"
        | "labels"
        | "annotations"
        | "initTimeout"
        | "containerSecurityContext"
            if name == "stepGroup" || name == "stepGroupInfra" =>
        {
            Some("below `spec` of `stepGroupInfra`")
        }
        "steps" | "rollbackSteps" if spec => Some("below `execution`"),
        _ => None,
    }
}

/// The word most like another, where one is like it.
pub(crate) fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nothing longer is a slip of the fingers, and the comparison is quadratic in the length.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    words
        .into_iter()
        .filter(|other| other.len().abs_diff(word.len()) <= 12)
        .map(|other| (strsim::jaro_winkler(&lower, &other.to_lowercase()), other))
        .filter(|(likeness, _)| *likeness > 0.84)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, other)| other)
}

impl Cx {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// A node that is not what its key wants.
    pub(crate) fn wrong_type(&mut self, node: &Node, name: &str, wanted: &str) {
        let span = match node.value {
            Value::Scalar(_) => node.span,
            _ => node.span.head(1),
        };
        let message = format!("`{name}` must be {wanted}, this is {}", node.what());
        self.push(
            Diagnostic::error(code::WRONG_TYPE, message)
                .at(span, "")
                .help(format!("write {wanted}")),
        );
    }

    /// A word that is not in the list.
    pub(crate) fn unknown_word(&mut self, span: Span, name: &str, word: &str, words: &[&str]) {
        self.unknown_word_as(code::UNKNOWN_VALUE, span, name, word, words);
    }

    /// The same under a code of its own.
    pub(crate) fn unknown_word_as(
        &mut self,
        code: code::Code,
        span: Span,
        name: &str,
        word: &str,
        words: &[&str],
    ) {
        let diagnostic =
            Diagnostic::error(code, format!("`{word}` is not a value of `{name}`")).at(span, "");
        let list = words
            .iter()
            .filter(|word| !word.is_empty())
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>();
        self.push(match nearest(word, words.iter().copied()) {
            Some(near) if words.len() > 6 => diagnostic
                .help(format!("did you mean `{near}`?"))
                .fix(span, near),
            Some(near) => diagnostic
                .help(format!(
                    "did you mean `{near}`? It is one of {}",
                    list.join(", ")
                ))
                .fix(span, near),
            None => diagnostic.help(format!("it is one of {}", list.join(", "))),
        });
    }

    /// The text of a scalar; reported where the node is none.
    pub(crate) fn scalar<'n>(
        &mut self,
        node: &'n Node,
        name: &str,
        wanted: &str,
    ) -> Option<&'n str> {
        let text = node.as_text();
        if text.is_none() {
            self.wrong_type(node, name, wanted);
        }
        text
    }
}

impl<T: Lower> Slot for Option<T> {
    fn take(fields: &mut Fields<'_>, key: &'static str, cx: &mut Cx) -> Self {
        let node = fields.node(key)?;
        if !T::BLANK && node.as_text().is_some_and(|text| text.trim().is_empty()) {
            return None;
        }
        T::lower(node, key, cx)
    }

    fn form(forms: &mut Forms) -> Form {
        T::form(forms)
    }
}

impl<T: Lower> Slot for Vec<T> {
    fn take(fields: &mut Fields<'_>, key: &'static str, cx: &mut Cx) -> Self {
        fields
            .node(key)
            .and_then(|node| Self::lower(node, key, cx))
            .unwrap_or_default()
    }

    fn form(forms: &mut Forms) -> Form {
        <Self as Lower>::form(forms)
    }
}

impl<T: Lower> Slot for IndexMap<String, T> {
    fn take(fields: &mut Fields<'_>, key: &'static str, cx: &mut Cx) -> Self {
        fields
            .node(key)
            .and_then(|node| Self::lower(node, key, cx))
            .unwrap_or_default()
    }

    fn form(forms: &mut Forms) -> Form {
        <Self as Lower>::form(forms)
    }
}

impl<T: Lower> Lower for Vec<T> {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let Some(items) = node.as_sequence() else {
            cx.wrong_type(node, name, "a list");
            return None;
        };
        Some(
            items
                .iter()
                .filter_map(|item| T::lower(item, name, cx))
                .collect(),
        )
    }

    fn form(forms: &mut Forms) -> Form {
        Form::List(Box::new(T::form(forms)))
    }
}

impl<T: Lower> Lower for IndexMap<String, T> {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let Some(mapping) = node.as_mapping() else {
            cx.wrong_type(node, name, "a mapping");
            return None;
        };
        let mut map = Self::with_capacity(mapping.entries.len());
        for entry in &mapping.entries {
            if let Some(value) = T::lower(&entry.value, &entry.key.text, cx) {
                map.insert(entry.key.text.to_string(), value);
            }
        }
        Some(map)
    }

    fn form(forms: &mut Forms) -> Form {
        Form::Map(Box::new(T::form(forms)))
    }
}

impl<T: Lower> Lower for Spanned<T> {
    const BLANK: bool = T::BLANK;

    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        Some(Self::new(T::lower(node, name, cx)?, node.span))
    }

    fn form(forms: &mut Forms) -> Form {
        T::form(forms)
    }
}

impl<T: Lower> Lower for Box<T> {
    const BLANK: bool = T::BLANK;

    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        T::lower(node, name, cx).map(Self::new)
    }

    fn form(forms: &mut Forms) -> Form {
        T::form(forms)
    }
}

/// Any text; numbers and booleans are taken as they are written, nothing as the empty text.
impl Lower for String {
    const BLANK: bool = true;

    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        if node.is_null() {
            return Some(Self::new());
        }
        cx.scalar(node, name, "text").map(Self::from)
    }

    fn form(_: &mut Forms) -> Form {
        Form::Text
    }
}

impl Lower for bool {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        match node.as_scalar() {
            Some(Scalar {
                kind: Kind::Bool(value),
                ..
            }) => return Some(*value),
            Some(scalar) if scalar.text.eq_ignore_ascii_case("true") => return Some(true),
            Some(scalar) if scalar.text.eq_ignore_ascii_case("false") => return Some(false),
            _ => {}
        }
        cx.wrong_type(node, name, "`true` or `false`");
        None
    }

    fn form(_: &mut Forms) -> Form {
        Form::Bool
    }
}

macro_rules! whole_number {
    ($($ty:ty: $wanted:literal,)*) => {$(
        impl Lower for $ty {
            fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
                let number = node.as_scalar().and_then(|scalar| match scalar.kind {
                    Kind::Int(number) => Self::try_from(number).ok(),
                    Kind::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => Self::try_from(number as i64).ok(),
                    _ => scalar.text.trim().parse().ok(),
                });
                if number.is_none() {
                    cx.wrong_type(node, name, $wanted);
                }
                number
            }

            fn form(_: &mut Forms) -> Form {
                Form::Whole
            }
        }
    )*};
}

whole_number! {
    u32: "a whole number from 0 to 4294967295",
    i64: "a whole number",
}

/// Whatever is written, kept as it is: what is acted on elsewhere, or by someone else.
impl Lower for Node {
    const BLANK: bool = true;

    fn lower(node: &Node, _: &str, _: &mut Cx) -> Option<Self> {
        Some(node.clone())
    }
}
