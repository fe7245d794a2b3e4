//! Variables of pipelines, stages and groups.

use std::collections::HashMap;

use syntax::yaml::Node;
use syntax::{Diagnostic, Span, Spanned, code};

use super::form::{Form, Forms};
use super::lower::{Cx, Lower};
use super::macros::{model, words};
use super::name::is_variable;
use super::param::Param;

words! {
    /// `type` of a variable.
    VariableType {
        /// Text.
        String = "String",
        /// A number.
        Number = "Number",
        /// A reference to a secret.
        Secret = "Secret",
    }
}

model! {
    /// One of `variables`.
    Variable {
        /// Its name.
        name: Option<Spanned<String>> = "name" required;
        /// `String`, `Number` or `Secret`.
        kind: Option<Spanned<VariableType>> = "type" required;
        /// Its value; of a secret, a reference to it.
        value: Option<Param<String>> = "value";
        /// What it is where nothing else is given.
        default: Option<Param<String>> = "default";
        /// For people.
        description: Option<Spanned<String>> = "description";
        /// It must not be empty.
        required: Option<Spanned<bool>> = "required";
        /// Kept as it is.
        metadata: Option<Node> = "metadata";
    }
}

/// The variables of one level: names checked, none twice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Variables(pub Vec<Variable>);

impl Variables {
    /// The variable of a name.
    pub fn get(&self, name: &str) -> Option<&Variable> {
        self.0
            .iter()
            .find(|variable| variable.name.as_ref().is_some_and(|own| own.value == name))
    }
}

impl Lower for Variables {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let variables: Vec<Variable> = Vec::lower(node, name, cx)?;
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for variable in &variables {
            if let Some(name) = &variable.name {
                check_name(name, cx);
                if let Some(first) = seen.insert(&name.value, name.span) {
                    cx.push(
                        Diagnostic::error(
                            code::DUPLICATE_VARIABLE,
                            format!("the variable `{}` stands here twice", name.value),
                        )
                        .at(name.span, "again here")
                        .at(first, "first here")
                        .help("rename one of them"),
                    );
                }
            }
            check_value(variable, cx);
        }
        Some(Self(variables))
    }

    fn form(forms: &mut Forms) -> Form {
        Form::List(Box::new(Variable::form(forms)))
    }
}

fn check_name(name: &Spanned<String>, cx: &mut Cx) {
    if !is_variable(&name.value) {
        cx.push(
            Diagnostic::error(
                code::BAD_VARIABLE,
                format!("`{}` does not name a variable", name.value),
            )
            .at(name.span, "")
            .help("use letters, digits, `_`, `.`, `$` and `-`, at most 128, a letter or `_` first"),
        );
    }
}

fn check_value(variable: &Variable, cx: &mut Cx) {
    let (Some(kind), Some(value)) = (&variable.kind, &variable.value) else {
        return;
    };
    match kind.value {
        VariableType::Secret if value.text().contains("<+secrets.getValue(") => cx.push(
            Diagnostic::error(
                code::SECRET_EXPRESSION,
                "a Secret variable holds a reference, not an expression",
            )
            .at(value.span(), "")
            .help("write the secret's reference alone: `id`, `org.id` or `account.id`"),
        ),
        VariableType::Number => {
            if let Some(text) = value
                .literal()
                .filter(|text| !text.trim().is_empty() && text.trim().parse::<f64>().is_err())
            {
                cx.push(
                    Diagnostic::error(
                        code::WRONG_TYPE,
                        format!("`value` must be a number, this is `{text}`"),
                    )
                    .at(value.span(), "")
                    .help("write a number, or make the variable's type `String`"),
                );
            }
        }
        _ => {}
    }
}
