//! Identifiers, names and scoped references.

use std::fmt;

use syntax::yaml::Node;
use syntax::{Diagnostic, Span, Spanned, code};

use super::form::{Form, Forms};
use super::lower::{Cx, Fields, Lower, Slot};

/// The longest identifier, name or variable name.
const LONGEST: usize = 128;

/// `identifier`: letters, digits and `_`, not beginning with a digit. Empty where it is missing, which is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier(pub Spanned<String>);

/// Whether a text is an identifier: `^[a-zA-Z_][0-9a-zA-Z_]{0,127}$`.
pub fn is_identifier(text: &str) -> bool {
    text.len() <= LONGEST
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a text is a name: `^[a-zA-Z_0-9-.][-0-9a-zA-Z_\s.]{0,127}$`.
pub fn is_name(text: &str) -> bool {
    text.chars().count() <= LONGEST
        && text.starts_with(|first: char| first.is_ascii_alphanumeric() || "_-.".contains(first))
        && text.chars().all(|next| {
            next.is_ascii_alphanumeric() || "_-.".contains(next) || next.is_whitespace()
        })
}

/// Whether a text names a variable: `^[a-zA-Z_][0-9a-zA-Z_\.$-]{0,127}$`.
pub fn is_variable(text: &str) -> bool {
    text.len() <= LONGEST
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.$-".contains(&byte))
}

/// An identifier made of a text that is none: what to write instead.
fn suggested(text: &str) -> String {
    let mut made: String = text
        .trim()
        .chars()
        .map(|next| {
            if next.is_ascii_alphanumeric() {
                next
            } else {
                '_'
            }
        })
        .take(LONGEST - 1)
        .collect();
    if !made.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        made.insert(0, '_');
    }
    made
}

impl Identifier {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0.value
    }

    /// Where it is written; where it is missing, where it should be.
    pub const fn span(&self) -> Span {
        self.0.span
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.value)
    }
}

impl Slot for Identifier {
    fn take(fields: &mut Fields<'_>, key: &'static str, cx: &mut Cx) -> Self {
        let Some(node) = fields.node(key) else {
            return Self(Spanned::new(String::new(), fields.place()));
        };
        let Some(text) = cx.scalar(node, key, "an identifier") else {
            return Self(Spanned::new(String::new(), node.span));
        };
        if text.trim().is_empty() {
            cx.push(
                Diagnostic::error(code::MISSING_FIELD, format!("`{key}` is empty"))
                    .at(node.span, "")
                    .help("write letters, digits and `_`"),
            );
        } else if !is_identifier(text) {
            let instead = suggested(text);
            cx.push(
                Diagnostic::error(
                    code::BAD_IDENTIFIER,
                    format!("`{text}` is not an identifier"),
                )
                .at(node.span, "")
                .help(format!(
                    "use letters, digits and `_`, at most 128, no digit first: `{instead}`"
                ))
                .fix(node.span, instead),
            );
        }
        Self(Spanned::new(text.to_owned(), node.span))
    }

    fn form(_: &mut Forms) -> Form {
        Form::Like("^[a-zA-Z_][0-9a-zA-Z_]{0,127}$")
    }
}

/// `name`: what people read. Falls back to the identifier where it is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub Spanned<String>);

impl Lower for Name {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let text = cx.scalar(node, name, "text")?;
        if !is_name(text) && !text.contains("<+") {
            cx.push(
                Diagnostic::error(code::BAD_NAME, format!("`{text}` is not a name"))
                    .at(node.span, "")
                    .help("use letters, digits, spaces, `-`, `_` and `.`, at most 128"),
            );
        }
        Some(Self(Spanned::new(text.to_owned(), node.span)))
    }

    fn form(_: &mut Forms) -> Form {
        Form::Text
    }
}

/// Where a referenced entity lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// `id`.
    Project,
    /// `org.id`.
    Org,
    /// `account.id`.
    Account,
}

/// A scoped reference to a connector, a secret or a template.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ref {
    /// Where it lives.
    pub scope: Scope,
    /// Its identifier there.
    pub id: String,
}

impl Ref {
    /// Reads `id`, `org.id`, `account.id`. Entities, unlike steps, may have `$` in their identifiers, and `-` is seen in old ones.
    pub fn parse(text: &str) -> Option<Self> {
        let (scope, id) = match text.split_once('.') {
            Some(("account", id)) => (Scope::Account, id),
            Some(("org", id)) => (Scope::Org, id),
            Some(("project", id)) => (Scope::Project, id),
            _ => (Scope::Project, text),
        };
        let good = !id.is_empty()
            && id.len() <= LONGEST
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_$-".contains(&byte));
        good.then(|| Self {
            scope,
            id: id.to_owned(),
        })
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scope {
            Scope::Project => f.write_str(&self.id),
            Scope::Org => write!(f, "org.{}", self.id),
            Scope::Account => write!(f, "account.{}", self.id),
        }
    }
}

impl Lower for Ref {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let text = cx.scalar(node, name, "a reference such as `account.docker`")?;
        let found = Self::parse(text);
        if found.is_none() {
            cx.push(
                Diagnostic::error(code::BAD_REFERENCE, format!("`{text}` is not a reference"))
                    .at(node.span, "")
                    .help("write `id`, `org.id` or `account.id`"),
            );
        }
        found
    }

    fn form(_: &mut Forms) -> Form {
        Form::Like("^(?:(?:account|org|project)\\.)?[0-9a-zA-Z_$-]{1,128}$")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_names_and_references() {
        for (text, good) in [
            ("a", true),
            ("_1", true),
            ("1a", false),
            ("a-b", false),
            ("", false),
            ("é", false),
        ] {
            assert_eq!(is_identifier(text), good, "{text:?}");
        }
        assert!(is_identifier(&"a".repeat(128)) && !is_identifier(&"a".repeat(129)));
        for (text, good) in [
            ("Build it", true),
            ("1.2-x", true),
            (" x", false),
            ("a/b", false),
            ("", false),
        ] {
            assert_eq!(is_name(text), good, "{text:?}");
        }
        assert_eq!(suggested("1 build-it"), "_1_build_it");
        for text in ["a", "org.a", "account.harnessImage"] {
            assert_eq!(Ref::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "account.", "a.b", "a b", "account.a.b"] {
            assert_eq!(Ref::parse(text), None, "{text:?}");
        }
    }
}
