//! `secret:`.

use indexmap::IndexMap;
use syntax::yaml::Node;
use syntax::{Diagnostic, Spanned, code};

use super::super::form::{self, Choice, Form, Forms};
use super::super::lower::{Cx, Fields, Lower, Slot};
use super::super::macros::{model, words};
use super::super::name::{Identifier, Name};

words! {
    /// `type` of a secret.
    SecretKind {
        /// Text.
        Text = "SecretText",
        /// A file's content.
        File = "SecretFile",
        /// A key with its user.
        SshKey = "SSHKey",
        /// Credentials of a Windows host.
        WinRm = "WinRmCredentials",
    }
}

/// `secret:`.
#[derive(Debug, Clone, PartialEq)]
pub struct Secret {
    /// What every one has.
    pub common: SecretCommon,
    /// Its value, for local use.
    pub value: SecretValue,
}

impl std::ops::Deref for Secret {
    type Target = SecretCommon;

    fn deref(&self) -> &SecretCommon {
        &self.common
    }
}

/// Where a local run finds the value of a secret. Its `Debug` does not show an inline one.
#[derive(Clone, PartialEq)]
pub enum SecretValue {
    /// In the file itself.
    Inline(Spanned<String>),
    /// In another file, by its path from this one.
    Path(Spanned<String>),
    /// In an environment variable.
    Env(Spanned<String>),
    /// Not here: it comes from the command line, or its spec as it is.
    Elsewhere(Option<Node>),
}

model! {
    /// The keys of every secret.
    SecretCommon {
        /// Its identifier.
        identifier: Identifier = "identifier" required;
        /// For people.
        name: Option<Name> = "name";
        /// For people.
        description: Option<Spanned<String>> = "description";
        /// For people and filters.
        tags: IndexMap<String, Spanned<String>> = "tags";
        /// Its organization.
        org: Option<Spanned<String>> = "orgIdentifier";
        /// Its project.
        project: Option<Spanned<String>> = "projectIdentifier";
        /// What it is.
        kind: Option<Spanned<SecretKind>> = "type" required;
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(value) => f.debug_tuple("Inline").field(&value.span).finish(),
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
            Self::Elsewhere(_) => f.write_str("Elsewhere"),
        }
    }
}

impl Lower for Secret {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let mut fields = Fields::of(node, name, cx)?;
        let own = SecretCommon::fields(&mut fields, cx);
        fields.required("spec", cx);
        let spec = fields.node("spec");
        fields.finish(cx);
        let text = own
            .kind
            .as_ref()
            .is_none_or(|kind| matches!(kind.value, SecretKind::Text | SecretKind::File));
        let value = match spec {
            Some(node) if text => value(node, cx)?,
            other => SecretValue::Elsewhere(other.cloned()),
        };
        Some(Self { common: own, value })
    }

    fn form(forms: &mut Forms) -> Form {
        forms.object("Secret", "A value that nobody sees.", |forms, own| {
            SecretCommon::keys(forms, &mut own.keys);
            let spec = forms.object(
                "SecretSpec",
                "Where its value is: in one place.",
                |_, own| {
                    own.keys = vec![
                        form::key("value", "Written here.", Form::Text),
                        form::key("file", "In a file, by its path from this one.", Form::Text),
                        form::key("env", "In a variable of the environment.", Form::Text),
                        form::key("secretManagerIdentifier", "Of other servers.", Form::Any),
                        form::key("valueType", "`Inline` or `Reference`.", Form::Text),
                    ];
                },
            );
            own.keys
                .push(form::required("spec", "Its value.", Form::Any));
            own.choice = Some(Choice {
                by: "type",
                below: "spec",
                forms: vec![("SecretText", spec.clone()), ("SecretFile", spec)],
            });
        })
    }
}

fn value(node: &Node, cx: &mut Cx) -> Option<SecretValue> {
    let mut fields = Fields::of(node, "spec", cx)?;
    fields.ignore(&["secretManagerIdentifier", "valueType", "additionalMetadata"]);
    let inline: Option<Spanned<String>> = Slot::take(&mut fields, "value", cx);
    let path: Option<Spanned<String>> = Slot::take(&mut fields, "file", cx);
    let env: Option<Spanned<String>> = Slot::take(&mut fields, "env", cx);
    let reference = node
        .as_mapping()
        .and_then(|mapping| mapping.get("valueType"))
        .and_then(Node::as_text)
        .is_some_and(|kind| kind != "Inline");
    // The place is the keys: an excerpt that is about a value would show the secret itself.
    let keys: Vec<_> = ["value", "file", "env"]
        .into_iter()
        .filter(|key| fields.node(key).is_some())
        .collect();
    if let [first, second, ..] = keys[..] {
        let place = |key: &str| fields.key_span(key).unwrap_or(fields.span);
        cx.push(
            Diagnostic::error(
                code::ONE_OF,
                "a secret's value is in one place: `value`, `file` or `env`",
            )
            .at(place(second), "a second one")
            .at(place(first), "the first one")
            .help("keep one of them"),
        );
    }
    fields.finish(cx);
    Some(match (inline, path, env) {
        (Some(value), ..) if !reference => SecretValue::Inline(value),
        (_, Some(path), _) => SecretValue::Path(path),
        (_, _, Some(name)) => SecretValue::Env(name),
        _ => SecretValue::Elsewhere(Some(node.clone())),
    })
}
