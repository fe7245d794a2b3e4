//! What may be known only later: a literal, a runtime input, or an expression.

use syntax::yaml::Node;
use syntax::{Diagnostic, Span, Spanned, code};

use super::form::{Form, Forms};
use super::lower::{Cx, Lower};

/// A value that may be a literal, a runtime input (`<+input>…`) or hold an expression (`<+…>`).
#[derive(Debug, Clone, PartialEq)]
pub enum Param<T> {
    /// Written out.
    Literal(Spanned<T>),
    /// Asked of whoever runs it.
    Input(Spanned<Input>),
    /// Text that holds at least one expression; it becomes a `T` when it is resolved.
    Expr(Spanned<String>),
}

/// `<+input>` and what follows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Input {
    /// As written.
    pub text: String,
    /// `.executionInput()`: asked when it is reached, not before the run.
    pub execution: bool,
    /// `.allowedValues(…)`, `.selectOneFrom(…)` or `.selectManyFrom(…)`.
    pub allowed: Option<Vec<String>>,
    /// `.selectManyFrom(…)`: several of the allowed ones.
    pub many: bool,
    /// `.default(…)`.
    pub default: Option<String>,
    /// `.regex(…)`: what the whole value must match.
    pub regex: Option<String>,
}

impl<T> Param<T> {
    /// Where it is written.
    pub const fn span(&self) -> Span {
        match self {
            Self::Literal(literal) => literal.span,
            Self::Input(input) => input.span,
            Self::Expr(text) => text.span,
        }
    }

    /// The value, where it is written out.
    pub const fn literal(&self) -> Option<&T> {
        match self {
            Self::Literal(literal) => Some(&literal.value),
            _ => None,
        }
    }

    /// The text of what is to be resolved: of an expression or a runtime input.
    pub fn unresolved(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::Input(input) => Some(&input.value.text),
            Self::Expr(text) => Some(&text.value),
        }
    }
}

impl Param<String> {
    /// The text as written, whatever it is.
    pub fn text(&self) -> &str {
        match self {
            Self::Literal(text) | Self::Expr(text) => &text.value,
            Self::Input(input) => &input.value.text,
        }
    }
}

impl<T: Lower> Lower for Param<T> {
    const BLANK: bool = T::BLANK;

    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        if let Some(text) = node.as_text().filter(|text| text.contains("<+")) {
            let span = node.span;
            if text.starts_with(PREFIX) {
                match Input::parse(text) {
                    Ok(input) => return Some(Self::Input(Spanned::new(input, span))),
                    Err(Malformed { says, mend }) => {
                        cx.push(
                            Diagnostic::error(code::BAD_INPUT, says)
                                .at(span, "")
                                .help(mend),
                        );
                    }
                }
            }
            return Some(Self::Expr(Spanned::new(text.to_owned(), span)));
        }
        Some(Self::Literal(Spanned::new(
            T::lower(node, name, cx)?,
            node.span,
        )))
    }

    fn form(forms: &mut Forms) -> Form {
        Form::Param(Box::new(T::form(forms)))
    }
}

/// How a runtime input begins.
const PREFIX: &str = "<+input>";

/// Why a text that begins as a runtime input is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong.
    pub says: String,
    /// What to write.
    pub mend: &'static str,
}

impl Input {
    /// Reads `<+input>` and the chain of calls after it.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let wrong = |says: String| Malformed {
            says,
            mend: "write `<+input>`, then any of `.default(…)`, `.allowedValues(…)`, `.regex(…)`, `.executionInput()`",
        };
        let mut input = Self {
            text: text.to_owned(),
            ..Self::default()
        };
        let mut rest = text.strip_prefix(PREFIX).unwrap_or(text);
        while !rest.is_empty() {
            let Some((name, arguments, after)) = call(rest) else {
                return Err(wrong(format!(
                    "`{}` is not understood after `<+input>`",
                    shorten(rest)
                )));
            };
            match name {
                "executionInput" => input.execution = true,
                "allowedValues" | "selectOneFrom" => input.allowed = Some(values(arguments)),
                "selectManyFrom" => {
                    input.allowed = Some(values(arguments));
                    input.many = true;
                }
                "default" => input.default = Some(unquote(arguments)),
                "regex" => {
                    if let Err(error) = regex_lite::Regex::new(arguments) {
                        return Err(Malformed {
                            says: format!(
                                "`{}` is not a regular expression: {error}",
                                shorten(arguments)
                            ),
                            mend: "mend the pattern; a bracket that is meant itself has a `\\` before it",
                        });
                    }
                    input.regex = Some(arguments.to_owned());
                }
                _ => return Err(wrong(format!("`.{name}(…)` is not known after `<+input>`"))),
            }
            rest = after;
        }
        if let (Some(allowed), Some(default)) = (&input.allowed, &input.default) {
            let unknown = |value: &String| !value.contains("<+") && !allowed.contains(value);
            let defaults = if input.many {
                values(default)
            } else {
                vec![default.clone()]
            };
            if !allowed.iter().any(|value| value.contains("<+")) && defaults.iter().any(unknown) {
                return Err(Malformed {
                    says: format!(
                        "the default `{}` is not among the allowed values",
                        shorten(default)
                    ),
                    mend: "add it to the allowed values, or choose one of them",
                });
            }
        }
        Ok(input)
    }

    /// The values that a text holds: of a `selectManyFrom` several.
    pub fn parts(&self, text: &str) -> Vec<String> {
        if self.many {
            values(text)
        } else {
            vec![text.to_owned()]
        }
    }

    /// What is to be given instead of a text that it does not allow; none where it does, or where that is not known yet.
    pub fn refuses(&self, text: &str) -> Option<String> {
        if text.contains("<+") {
            return None;
        }
        let parts = self.parts(text);
        if let Some(allowed) = &self.allowed
            && !allowed.iter().any(|own| own.contains("<+"))
            && !parts.iter().all(|part| allowed.contains(part))
        {
            let one = if self.many { "some of" } else { "one of" };
            return Some(format!("give {one} {}", allowed.join(", ")));
        }
        let regex = self.regex.as_ref()?;
        regex_lite::Regex::new(&format!("^(?:{regex})$"))
            .is_ok_and(|own| !own.is_match(text))
            .then(|| format!("it must match {regex}"))
    }
}

/// `.name(arguments)` and what follows it. Brackets inside the arguments may be nested or quoted.
fn call(text: &str) -> Option<(&str, &str, &str)> {
    let text = text.strip_prefix('.')?;
    let open = text.find('(')?;
    let name = &text[..open];
    if !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    let mut depth = 0_usize;
    let mut escaped = false;
    for (at, next) in text[open..].char_indices() {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    let close = open + at;
                    return Some((name, &text[open + 1..close], &text[close + 1..]));
                }
            }
            _ => {}
        }
    }
    None
}

/// The values of a list: separated by commas; one that holds a comma is written `\'a,b\'`.
fn values(text: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some((value, after)) = rest
            .strip_prefix("\\'")
            .and_then(|quoted| quoted.split_once("\\'"))
        {
            values.push(value.to_owned());
            match after.trim_start().strip_prefix(',') {
                Some(after) => rest = after,
                None => return values,
            }
            continue;
        }
        let Some((value, after)) = rest.split_once(',') else {
            values.push(rest.trim().to_owned());
            return values;
        };
        values.push(value.trim().to_owned());
        rest = after;
    }
}

fn unquote(text: &str) -> String {
    let inner = text
        .strip_prefix("\\'")
        .and_then(|text| text.strip_suffix("\\'"));
    inner.unwrap_or(text).to_owned()
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(32).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_read_with_all_that_follows() {
        let input =
            Input::parse(r"<+input>.default(b).allowedValues(a,b,\'c,d\').executionInput()")
                .unwrap();
        assert_eq!(input.default.as_deref(), Some("b"));
        assert_eq!(input.allowed.unwrap(), ["a", "b", "c,d"]);
        assert!(input.execution && !input.many);
        let input = Input::parse("<+input>.regex(^v(\\d+)\\)$)").unwrap();
        assert_eq!(input.regex.as_deref(), Some("^v(\\d+)\\)$"));
        let input = Input::parse("<+input>.selectManyFrom(a,b,c).default(a,c)").unwrap();
        assert!(input.many);
        assert_eq!(
            Input::parse("<+input>").unwrap(),
            Input {
                text: "<+input>".into(),
                ..Input::default()
            }
        );
    }

    #[test]
    fn what_is_no_input_says_why() {
        for text in [
            "<+input>-x",
            "<+input>.oops(1)",
            "<+input>.default(x",
            "<+input>.default(c).allowedValues(a,b)",
            "<+input>.regex([)",
            "<+input>.allowedValue(a,b)",
        ] {
            assert!(Input::parse(text).is_err(), "{text}");
        }
    }
}
