//! Parameters to values, every problem collected.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;

use syntax::expr::{self, Piece, Template};
use syntax::yaml::{Entry, Key, Kind, Mapping, Node, Scalar, Style, Value};
use syntax::{Diagnostic, Span, Spanned, code};

use crate::model::lower::{Cx, Lower};
use crate::model::{Input, Param, TextMap};
use crate::plan::{Place, What};

use super::Text;
use super::known::{EVENT, World};
use super::scope::At;

/// The values of what is written at one place.
#[derive(Debug)]
pub struct Values<'w, 'm> {
    at: At<'w, 'm>,
    diagnostics: RefCell<Vec<Diagnostic>>,
}

impl<'w, 'm> Values<'w, 'm> {
    /// Of a place.
    pub fn new(world: &'w World<'m>, place: &'w Place<'m>) -> Self {
        Self {
            at: At { world, place },
            diagnostics: RefCell::default(),
        }
    }

    /// Where it is.
    pub(super) fn at(&self) -> &At<'w, 'm> {
        &self.at
    }

    /// The world.
    pub fn world(&self) -> &'w World<'m> {
        self.at.world
    }

    /// What was made, unless there was a problem on the way.
    pub fn finish<T>(self, made: T) -> Result<T, Vec<Diagnostic>> {
        let diagnostics = self.diagnostics.into_inner();
        if diagnostics.iter().any(Diagnostic::is_error) {
            Err(diagnostics)
        } else {
            Ok(made)
        }
    }

    /// A reference to an entity. It cannot read what the entities say: they are found by it.
    pub(crate) fn reference(&self, written: &Param<String>) -> Option<String> {
        let found = super::target::literal(&self.at, written);
        if found.is_none() {
            self.push(
                Diagnostic::error(
                    code::UNKNOWN_EXPRESSION,
                    format!(
                        "`{}` cannot be resolved where an entity is named",
                        written.text()
                    ),
                )
                .at(written.span(), "")
                .help("write the identifier, or give the input by `--set` or `--inputs`"),
            );
        }
        found
    }

    /// There was a problem already.
    pub(crate) fn failed_already(&self) -> bool {
        self.diagnostics.borrow().iter().any(Diagnostic::is_error)
    }

    /// Adds a problem.
    pub(crate) fn push(&self, diagnostic: Diagnostic) {
        self.diagnostics.borrow_mut().push(diagnostic);
    }

    /// The value of a parameter; `name` is the key it stands under. None: not written, or a problem that is told.
    #[expect(
        private_bounds,
        reason = "what can be lowered is this crate's matter; callers use its types"
    )]
    pub fn get<T: Lower + Clone>(&self, param: Option<&Param<T>>, name: &str) -> Option<T> {
        self.read(param, name).map(Cow::into_owned)
    }

    /// As [`Values::get`], with no copy of what is written out: a matrix is long, and asked for by each of its iterations.
    pub(crate) fn read<'p, T: Lower + Clone>(
        &self,
        param: Option<&'p Param<T>>,
        name: &str,
    ) -> Option<Cow<'p, T>> {
        let made = match param? {
            Param::Literal(literal) => return Some(Cow::Borrowed(&literal.value)),
            Param::Input(input) => {
                let Some(given) = self.input(input) else {
                    self.missing(input.span, name);
                    return None;
                };
                self.lower(&written(&input.value, &given, input.span), name)
            }
            Param::Expr(text) => {
                let value = self.evaluate(text, name)?;
                let Some(node) = node(&value, text.span) else {
                    self.secret(text.span, name);
                    return None;
                };
                self.lower(&node, name)
            }
        };
        made.map(Cow::Owned)
    }

    /// What was given for a runtime input when its step was reached, else its default.
    fn input(&self, input: &Spanned<Input>) -> Option<String> {
        let place = self.at.place;
        let asked = match place.what {
            What::Step(step) => step.asked.iter().find(|own| own.span == input.span),
            _ => None,
        };
        asked
            .and_then(|own| self.at.world.nodes.input(&place.id, &own.name))
            .or_else(|| input.value.default.clone())
    }

    pub(super) fn lower<T: Lower>(&self, node: &Node, name: &str) -> Option<T> {
        let mut cx = Cx::default();
        let value = T::lower(node, name, &mut cx);
        self.diagnostics.borrow_mut().extend(cx.diagnostics);
        value
    }

    /// A list; what is blank in it is left out.
    pub fn list(&self, param: Option<&Param<Vec<Param<String>>>>, name: &str) -> Vec<String> {
        let items = self.get(param, name).unwrap_or_default();
        items
            .iter()
            .filter_map(|item| self.get(Some(item), name))
            .filter(|item| !item.is_empty())
            .collect()
    }

    /// The items that an expression or an input stands for: a list, a JSON list, or a text with commas. None where the
    /// list is written out.
    pub(crate) fn listed<T>(&self, param: &Param<T>, name: &str) -> Option<Vec<Node>> {
        let (value, span) = match param {
            Param::Literal(_) => return None,
            Param::Input(input) => {
                let Some(given) = self.input(input) else {
                    self.missing(input.span, name);
                    return Some(Vec::new());
                };
                (expr::Value::from(given.as_str()), input.span)
            }
            Param::Expr(text) => (
                self.evaluate(text, name).unwrap_or(expr::Value::Null),
                text.span,
            ),
        };
        let value = match &value {
            expr::Value::Text(text) if text.trim_start().starts_with('[') => {
                serde_json::from_str(text)
                    .map_or(value.clone(), |json| expr::Value::from_json(&json))
            }
            _ => value,
        };
        Some(match &value {
            expr::Value::List(items) => {
                let nodes: Option<Vec<_>> = items.iter().map(|item| node(item, span)).collect();
                nodes.unwrap_or_else(|| {
                    self.secret(span, name);
                    Vec::new()
                })
            }
            expr::Value::Null => Vec::new(),
            other => {
                let Some(text) = other.to_text() else {
                    self.secret(span, name);
                    return Some(Vec::new());
                };
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| scalar(item, span))
                    .collect()
            }
        })
    }

    /// A map of texts.
    pub fn map(&self, param: &TextMap, name: &str) -> BTreeMap<String, String> {
        let map = self.get(param.as_ref(), name).unwrap_or_default();
        map.iter()
            .filter_map(|(key, value)| Some((key.clone(), self.get(Some(value), name)?)))
            .collect()
    }

    /// A text in which secrets may stand.
    pub fn text(&self, param: &Param<String>, name: &str) -> Option<Text> {
        match param {
            Param::Literal(text) => Some(plain(&text.value)),
            Param::Input(_) => self.get(Some(param), name).map(|text| plain(&text)),
            Param::Expr(text) => self.pieces(text, name),
        }
    }

    /// The pieces of a text with expressions.
    pub(crate) fn pieces(&self, text: &Spanned<String>, name: &str) -> Option<Text> {
        let template = self.parse(text, name)?;
        template
            .pieces(&self.at)
            .map_err(|error| self.failed(text, name, &error))
            .ok()
    }

    /// The value of a text with expressions, with its type.
    pub(super) fn evaluate(&self, text: &Spanned<String>, name: &str) -> Option<expr::Value> {
        let template = self.parse(text, name)?;
        template
            .value(&self.at)
            .map_err(|error| self.failed(text, name, &error))
            .ok()
    }

    fn parse(&self, text: &Spanned<String>, name: &str) -> Option<Template> {
        Template::parse(&text.value)
            .map_err(|error| self.failed(text, name, &error))
            .ok()
    }

    pub(crate) fn failed(&self, text: &Spanned<String>, name: &str, error: &expr::Error) {
        use expr::Problem;
        let (code, help) = match &error.problem {
            Problem::Unknown { path, .. }
                if super::deployed::ROOTS.contains(&path.as_str())
                    || path.rsplit('.').next() == Some("spec") =>
            {
                (
                    code::UNKNOWN_EXPRESSION,
                    "give the documents of the service, environment and infrastructure that the stage names, by `--entities`",
                )
            }
            Problem::Unknown { path, .. }
                if EVENT
                    .iter()
                    .any(|root| path.split('.').next() == Some(root)) =>
            {
                (
                    code::UNKNOWN_EXPRESSION,
                    "no event began this run: give it by `--set trigger.branch=…` and the like",
                )
            }
            Problem::Unknown { .. } | Problem::NoMember { .. } => (
                code::UNKNOWN_EXPRESSION,
                "name what is written in the pipeline, or what a step that ran before gives out",
            ),
            Problem::Secret(_) => (
                code::SECRET_PLACE,
                "use a secret in a command or in `envVariables`, as it is",
            ),
            Problem::Unclosed
            | Problem::UnclosedString
            | Problem::Empty
            | Problem::Expected { .. }
            | Problem::TooLong(_)
            | Problem::TooDeep
            | Problem::Number(_) => (code::BAD_EXPRESSION, "write it as `<+path.to.value>`"),
            _ => (
                code::EXPRESSION_FAILED,
                "mend the expression, or the value that it reads",
            ),
        };
        if let Some((step, output)) = self.left_out(&error.problem) {
            self.push(
                Diagnostic::error(
                    code,
                    format!("`{name}` needs the output `{output}` of step `{step}`, which was not run"),
                )
                .at(text.span, "")
                .help(format!(
                    "give it by `--set steps.{step}.output.outputVariables.{output}=…`, or let the step run before"
                )),
            );
            return;
        }
        let range = error.span.start.min(text.value.len())..error.span.end.min(text.value.len());
        let place = text
            .value
            .get(range)
            .filter(|part| !part.is_empty() && part.len() <= 80);
        let message = match place {
            // What is unknown is named already.
            Some(part) if !error.to_string().contains(&format!("`{part}`")) => {
                format!("`{name}`: {error} (in `{part}`)")
            }
            _ => format!("`{name}`: {error}"),
        };
        self.push(
            Diagnostic::error(code, message)
                .at(text.span, "")
                .help(help),
        );
    }

    /// The step and the output of it that are asked for, where that step was not run.
    fn left_out<'e>(&self, problem: &'e expr::Problem) -> Option<(&'e str, &'e str)> {
        let expr::Problem::Unknown { path, .. } = problem else {
            return None;
        };
        let (head, output) = path.split_once(".output.outputVariables.")?;
        let step = head.rsplit('.').next()?;
        let world = self.at.world;
        let ran = Place::all(world.pipeline)
            .iter()
            .filter(|place| place.identifier() == step)
            .any(|place| world.nodes.fact(&place.id).is_some_and(|fact| fact.ran));
        (!ran).then_some((step, output))
    }

    fn missing(&self, at: Span, name: &str) {
        self.push(
            Diagnostic::error(
                code::MISSING_INPUT,
                format!("`{name}` asks for an input that was not given"),
            )
            .at(at, "")
            .help("give it with `--set` or `--inputs`, or write `<+input>.default(…)`"),
        );
    }

    /// A secret where none may be.
    pub(crate) fn secret(&self, at: Span, name: &str) {
        self.push(
            Diagnostic::error(code::SECRET_PLACE, format!("`{name}` cannot hold a secret"))
                .at(at, "")
                .help("use a secret in a command or in `envVariables`"),
        );
    }

    /// A text that may hold no secret, such as an argument that every process can read.
    pub(crate) fn open(&self, param: &Param<String>, name: &str) -> Option<String> {
        let text = self.text(param, name)?;
        let mut open = String::new();
        for piece in &text {
            match piece {
                Piece::Text(part) => open.push_str(part),
                Piece::Secret(_) => {
                    self.secret(param.span(), name);
                    return None;
                }
            }
        }
        Some(open)
    }
}

/// A text without secrets.
pub(crate) fn plain(text: &str) -> Text {
    if text.is_empty() {
        Vec::new()
    } else {
        vec![Piece::Text(text.into())]
    }
}

/// What is given for an input, as if it had been written.
fn written(input: &Input, given: &str, span: Span) -> Node {
    if !input.many {
        return scalar(given, span);
    }
    let items = input.parts(given);
    Node {
        span,
        value: Value::Sequence(items.iter().map(|item| scalar(item, span)).collect()),
    }
}

fn scalar(text: &str, span: Span) -> Node {
    Node {
        span,
        value: Value::Scalar(Scalar {
            text: text.into(),
            style: Style::Double,
            kind: Kind::String,
        }),
    }
}

/// A value as if it had been written; none where it has a secret.
fn node(value: &expr::Value, span: Span) -> Option<Node> {
    let value = match value {
        expr::Value::List(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| node(item, span)).collect();
            Value::Sequence(items?)
        }
        expr::Value::Map(map) => {
            let entries: Option<Vec<_>> = map
                .iter()
                .map(|(key, value)| {
                    Some(Entry {
                        key: Key {
                            text: (**key).into(),
                            span,
                        },
                        value: node(value, span)?,
                    })
                })
                .collect();
            Value::Mapping(Mapping { entries: entries? })
        }
        other => {
            let kind = match other {
                expr::Value::Null => Kind::Null,
                expr::Value::Bool(bool) => Kind::Bool(*bool),
                expr::Value::Int(number) => Kind::Int(*number),
                expr::Value::Float(number) => Kind::Float(*number),
                _ => Kind::String,
            };
            let text = other.to_text()?;
            Value::Scalar(Scalar {
                text: (*text).into(),
                style: Style::Plain,
                kind,
            })
        }
    };
    Some(Node { span, value })
}
