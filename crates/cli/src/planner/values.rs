//! What is written, with every expression resolved.

use std::cell::RefCell;
use std::collections::BTreeMap;

use engine::event::{ErrorKind, Failure, Status};
use engine::facts::{Fact, Facts, Value as Output};
use pipeline::model::{self, Param, Ref, Variables};
use pipeline::plan::NodeId;
use pipeline::pod::User;
use syntax::expr::{Lookup, Map, Piece, Scope, SecretRef, Template, Value};

use super::tree::{Place, Thing};
use crate::secrets::Secrets;

/// In a [`SecretRef`]: the secret is not one of the store but an output of a step.
const OF_STEP: char = '\u{1}';

/// The world of the expressions at one place.
pub(super) struct Values<'a> {
    pub(super) pipeline: &'a model::Pipeline,
    pub(super) facts: &'a Facts,
    pub(super) secrets: &'a Secrets,
    /// Outputs that were given for steps which do not run.
    pub(super) outputs: &'a BTreeMap<(String, String), String>,
    pub(super) place: Place<'a>,
    /// Values of the secrets that were put into something.
    used: RefCell<Vec<String>>,
}

/// What is written cannot be run.
pub(super) fn configuration(message: impl Into<String>, help: impl Into<String>) -> Failure {
    Failure {
        error: ErrorKind::ConfigurationFailure,
        message: message.into(),
        help: Some(help.into()),
    }
}

/// What cannot be an expression as a whole here.
pub(super) fn whole<T>(p: &Param<T>) -> Failure {
    let text = p.unresolved().unwrap_or_default();
    configuration(
        format!("`{text}` stands for a whole list or mapping; that is not resolved yet"),
        "write it out, with expressions inside it",
    )
}

impl<'a> Values<'a> {
    pub(super) fn new(
        pipeline: &'a model::Pipeline,
        facts: &'a Facts,
        secrets: &'a Secrets,
        outputs: &'a BTreeMap<(String, String), String>,
        place: Place<'a>,
    ) -> Self {
        Self {
            pipeline,
            facts,
            secrets,
            outputs,
            place,
            used: RefCell::default(),
        }
    }

    /// The same world seen from another place.
    pub(super) fn at(&self, place: &Place<'a>) -> Values<'a> {
        Values::new(
            self.pipeline,
            self.facts,
            self.secrets,
            self.outputs,
            place.clone(),
        )
    }

    /// Values of the secrets that were put into something since the beginning.
    pub(super) fn used(&self) -> Vec<String> {
        self.used.borrow().clone()
    }

    fn failed(&self, text: &str, error: &syntax::expr::Error) -> Failure {
        let part = text.get(error.span.clone()).unwrap_or(text);
        let part = if part.contains("<+") {
            part.to_owned()
        } else {
            format!("<+{part}>")
        };
        let inner = part.trim_start_matches("<+").trim_end_matches('>');
        if let Some((step, output)) = inner.split_once(".output.outputVariables.") {
            let step = step.rsplit('.').next().unwrap_or(step);
            if let Some(place) = self.named(step, None) {
                let ran = self
                    .facts
                    .nodes
                    .get(&place.id)
                    .is_some_and(|f| f.attempts > 0);
                let why = if ran {
                    "left none of that name"
                } else {
                    "was not run"
                };
                return configuration(
                    format!(
                        "step `{}` needs the output `{output}` of step `{step}`, which {why}",
                        self.place.identifier()
                    ),
                    format!(
                        "give it by `--set steps.{step}.output.outputVariables.{output}=…`, or check the name in its `outputVariables`"
                    ),
                );
            }
        }
        configuration(
            format!("in {}: `{part}` cannot be resolved: {error}", self.place.id),
            "check the path; an output is there once its step is over",
        )
    }

    /// Text with secrets in it.
    pub(super) fn secret_text(&self, text: &str) -> Result<String, Failure> {
        if !text.contains("<+") {
            return Ok(text.to_owned());
        }
        let template = Template::parse(text).map_err(|e| self.failed(text, &e))?;
        let pieces = template.pieces(self).map_err(|e| self.failed(text, &e))?;
        let mut out = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.push_str(&text),
                Piece::Secret(reference) => {
                    let value = self.secret_value(&reference)?;
                    out.push_str(&value);
                    self.used.borrow_mut().push(value);
                }
            }
        }
        Ok(out)
    }

    fn secret_value(&self, reference: &SecretRef) -> Result<String, Failure> {
        if let Some(of) = reference.0.strip_prefix(OF_STEP) {
            let (node, name) = of.split_once(OF_STEP).unwrap_or((of, ""));
            return match self
                .facts
                .nodes
                .get(&NodeId::from(node))
                .and_then(|f| f.outputs.get(name))
            {
                Some(Output::Secret(value) | Output::Plain(value)) => Ok(value.clone()),
                _ => Err(configuration(
                    format!(
                        "the secret output `{name}` of {node} is not known any more: no journal holds it"
                    ),
                    "run the step again: `stepyard run --from` it",
                )),
            };
        }
        self.secrets
            .get(&reference.0)
            .map(str::to_owned)
            .ok_or_else(|| {
                configuration(
                    format!(
                        "the secret `{reference}` has no value; {} needs it",
                        self.place.id
                    ),
                    Secrets::ways(&reference.0),
                )
            })
    }

    /// Text without secrets.
    pub(super) fn text(&self, p: &Param<String>) -> Result<String, Failure> {
        self.plain(p.text())
    }

    /// Text that may hold secrets.
    pub(super) fn rich(&self, p: &Param<String>) -> Result<String, Failure> {
        self.secret_text(p.text())
    }

    fn plain(&self, text: &str) -> Result<String, Failure> {
        if !text.contains("<+") {
            return Ok(text.to_owned());
        }
        let template = Template::parse(text).map_err(|e| self.failed(text, &e))?;
        template
            .text(self)
            .map(|t| t.to_string())
            .map_err(|e| self.failed(text, &e))
    }

    /// A value that is read from text where it is an expression.
    pub(super) fn parsed<T, R>(
        &self,
        p: &Param<T>,
        parse: impl Fn(&str) -> Option<R>,
        literal: impl Fn(&T) -> R,
    ) -> Result<R, Failure> {
        if let Some(value) = p.literal() {
            return Ok(literal(value));
        }
        let text = p.unresolved().unwrap_or_default();
        let value = self.plain(text)?;
        parse(value.trim()).ok_or_else(|| {
            configuration(
                format!(
                    "in {}: `{text}` is `{value}`, which cannot stand there",
                    self.place.id
                ),
                "check what the expression is worth",
            )
        })
    }

    pub(super) fn boolean(&self, p: &Param<bool>) -> Result<bool, Failure> {
        self.parsed(p, |t| t.to_lowercase().parse().ok(), |b| *b)
    }

    pub(super) fn word<T: Copy>(
        &self,
        p: &Param<T>,
        from: impl Fn(&str) -> Option<T>,
    ) -> Result<T, Failure> {
        self.parsed(p, from, |w| *w)
    }

    pub(super) fn duration(&self, p: &Param<model::Duration>) -> Result<u64, Failure> {
        self.parsed(p, |t| model::Duration::parse(t).map(|d| d.ms), |d| d.ms)
    }

    pub(super) fn reference(&self, p: &Param<Ref>) -> Result<String, Failure> {
        self.parsed(
            p,
            |t| Ref::parse(t).map(|r| r.to_string()),
            ToString::to_string,
        )
    }

    pub(super) fn user(&self, p: &Param<model::User>) -> Result<User, Failure> {
        let of = |user: &model::User| match user {
            model::User::Id(id) => User::Id(*id),
            model::User::Name(name) => User::Name(name.clone()),
        };
        self.parsed(
            p,
            |t| {
                Some(
                    t.parse()
                        .map_or_else(|_| User::Name(t.to_owned()), User::Id),
                )
            },
            of,
        )
    }

    pub(super) fn list(
        &self,
        p: Option<&Param<Vec<Param<String>>>>,
    ) -> Result<Vec<String>, Failure> {
        match p {
            None => Ok(Vec::new()),
            Some(Param::Literal(list)) => list.value.iter().map(|p| self.text(p)).collect(),
            Some(other) => {
                // A list as one expression: its items, or a text with commas.
                let text = other.unresolved().unwrap_or_default();
                let template = Template::parse(text).map_err(|e| self.failed(text, &e))?;
                match template.value(self).map_err(|e| self.failed(text, &e))? {
                    Value::List(items) => items
                        .iter()
                        .map(|v| {
                            v.to_text()
                                .map(|t| t.to_string())
                                .ok_or_else(|| whole(other))
                        })
                        .collect(),
                    value => {
                        let text = value.to_text().ok_or_else(|| whole(other))?;
                        Ok(text
                            .split(',')
                            .map(|t| t.trim().to_owned())
                            .filter(|t| !t.is_empty())
                            .collect())
                    }
                }
            }
        }
    }

    /// What variables are worth: a template is evaluated in its turn.
    fn variable(variables: Option<&Variables>, path: &[&str], used: usize) -> Lookup {
        let names = || {
            variables
                .iter()
                .flat_map(|v| &v.0)
                .filter_map(|v| Some(v.name.as_ref()?.value.clone()))
                .collect()
        };
        let Some(first) = path.get(used) else {
            return Lookup::Unknown {
                part: used,
                known: names(),
            };
        };
        // A variable's name may have dots.
        for end in (used + 1..=path.len()).rev() {
            let name = path[used..end].join(".");
            let Some(variable) = variables.and_then(|v| v.get(&name)) else {
                continue;
            };
            let written = variable.value.as_ref().or(variable.default.as_ref());
            let text = written.map_or("", |p| p.text());
            let secret = variable
                .kind
                .as_ref()
                .is_some_and(|k| k.value == model::VariableType::Secret);
            if secret && !text.contains("<+") {
                return Lookup::Found {
                    value: Value::Secret(SecretRef(text.into())),
                    used: end,
                };
            }
            return match Template::parse(text) {
                Ok(template) => Lookup::Template {
                    template: template.into(),
                    used: end,
                },
                Err(_) => Lookup::Found {
                    value: text.into(),
                    used: end,
                },
            };
        }
        let _ = first;
        Lookup::Unknown {
            part: used,
            known: names(),
        }
    }

    /// A node that `steps.X` names from here: the nearest one.
    fn named(&self, identifier: &str, below: Option<&NodeId>) -> Option<Place<'a>> {
        let shared = |place: &Place<'_>| {
            place
                .id
                .0
                .bytes()
                .zip(self.place.id.0.bytes())
                .take_while(|(a, b)| a == b)
                .count()
        };
        Place::all(self.pipeline)
            .into_iter()
            .filter(|p| {
                p.identifier() == identifier && matches!(p.thing, Thing::Step(_) | Thing::Group(_))
            })
            .filter(|p| below.is_none_or(|head| p.id.0.starts_with(&format!("{head}."))))
            .max_by_key(|p| shared(p))
    }

    fn steps(&self, path: &[&str], used: usize, below: Option<&NodeId>) -> Lookup {
        let known = || {
            let all = Place::all(self.pipeline).into_iter();
            all.filter(|p| matches!(p.thing, Thing::Step(_) | Thing::Group(_)))
                .map(|p| p.identifier().to_owned())
                .collect()
        };
        let Some(place) = path.get(used).and_then(|id| self.named(id, below)) else {
            return Lookup::Unknown {
                part: used,
                known: known(),
            };
        };
        let used = used + 1;
        match path.get(used) {
            Some(&"steps") => self.steps(path, used + 1, Some(&place.id)),
            Some(&"spec") if path.get(used + 1) == Some(&"execution") => {
                self.steps(path, used + 3, Some(&place.id))
            }
            _ => Lookup::Found {
                value: self.fact(&place),
                used,
            },
        }
    }

    /// What is known of a step.
    fn fact(&self, place: &Place<'_>) -> Value {
        let mut map = Map::new();
        map.insert("name".into(), place.title().into());
        map.insert("identifier".into(), place.identifier().into());
        let none = Fact::default();
        let fact = self.facts.nodes.get(&place.id).unwrap_or(&none);
        let mut variables = Map::new();
        for (name, value) in &fact.outputs {
            let value = match value {
                Output::Plain(text) => text.as_str().into(),
                Output::Secret(_) | Output::Forgotten => Value::Secret(SecretRef(
                    format!("{OF_STEP}{}{OF_STEP}{name}", place.id).into(),
                )),
            };
            variables.insert(name.as_str().into(), value);
        }
        for ((step, name), value) in self.outputs {
            if step == place.identifier() {
                variables.insert(name.as_str().into(), value.as_str().into());
            }
        }
        map.insert(
            "output".into(),
            Value::from([("outputVariables", Value::from(variables))]),
        );
        if let Some(status) = fact.status {
            map.insert("status".into(), word(status).into());
            map.insert("currentStatus".into(), word(status).into());
        }
        map.insert(
            "retryCount".into(),
            Value::Int(i64::from(fact.attempts.saturating_sub(1))),
        );
        map.insert("startTs".into(), Value::Int(fact.started_ms as i64));
        map.into()
    }

    fn head(place: &Place<'_>) -> Map {
        let mut map = Map::new();
        map.insert("name".into(), place.title().into());
        map.insert("identifier".into(), place.identifier().into());
        map
    }
}

/// The engine's spelling, which expressions see.
fn word(status: Status) -> &'static str {
    match status {
        Status::Success => "SUCCEEDED",
        Status::Failed => "FAILED",
        Status::IgnoreFailed => "IGNORE_FAILED",
        Status::Aborted => "ABORTED",
        Status::Expired => "EXPIRED",
        Status::Skipped => "SKIPPED",
    }
}

impl Scope for Values<'_> {
    fn lookup(&self, path: &[&str]) -> Lookup {
        let roots = || {
            [
                "pipeline",
                "stage",
                "stepGroup",
                "step",
                "steps",
                "execution",
                "variable",
            ]
            .map(str::to_owned)
            .to_vec()
        };
        let place_of = |id: &NodeId| Place::find(self.pipeline, id);
        match path {
            ["pipeline", "variables", ..] => {
                Self::variable(self.pipeline.variables.as_ref(), path, 2)
            }
            ["pipeline", "stages", stage, rest @ ..] => {
                let all = Place::all(self.pipeline);
                let Some(found) = all
                    .iter()
                    .find(|p| matches!(p.thing, Thing::Stage(_)) && p.identifier() == *stage)
                else {
                    let known = all
                        .iter()
                        .filter(|p| matches!(p.thing, Thing::Stage(_)))
                        .map(|p| p.identifier().to_owned());
                    return Lookup::Unknown {
                        part: 2,
                        known: known.collect(),
                    };
                };
                match rest {
                    ["spec", "execution", "steps", ..] => self.steps(path, 6, Some(&found.id)),
                    ["variables", ..] => match found.thing {
                        Thing::Stage(stage) => {
                            Self::variable(stage.common.variables.as_ref(), path, 4)
                        }
                        _ => Lookup::Unknown {
                            part: 3,
                            known: Vec::new(),
                        },
                    },
                    _ => Lookup::Found {
                        value: self.fact(found),
                        used: 3,
                    },
                }
            }
            ["pipeline", ..] => {
                let mut map = Self::head(&Place::root(self.pipeline));
                map.insert("executionId".into(), self.facts.run.as_str().into());
                map.insert("sequenceId".into(), Value::Int(1));
                map.insert("startTs".into(), Value::Int(self.facts.created_ms as i64));
                map.insert("executionMode".into(), "NORMAL".into());
                map.insert("triggerType".into(), "MANUAL".into());
                Lookup::Found {
                    value: map.into(),
                    used: 1,
                }
            }
            ["stage", rest @ ..] => {
                let Some((stage, id)) = &self.place.stage else {
                    return Lookup::Unknown {
                        part: 0,
                        known: roots(),
                    };
                };
                match rest {
                    ["variables", ..] => Self::variable(stage.common.variables.as_ref(), path, 2),
                    ["spec", "execution", "steps", ..] => self.steps(path, 4, Some(id)),
                    _ => {
                        let mut map = place_of(id).map(|p| Self::head(&p)).unwrap_or_default();
                        map.insert("type".into(), stage.stage_type().into());
                        Lookup::Found {
                            value: map.into(),
                            used: 1,
                        }
                    }
                }
            }
            ["stepGroup", rest @ ..] => {
                let Some((group, id)) = &self.place.group else {
                    return Lookup::Unknown {
                        part: 0,
                        known: roots(),
                    };
                };
                match rest {
                    ["variables", ..] => Self::variable(group.variables.as_ref(), path, 2),
                    ["steps", ..] => self.steps(path, 2, Some(id)),
                    _ => Lookup::Found {
                        value: place_of(id)
                            .map(|p| Self::head(&p))
                            .unwrap_or_default()
                            .into(),
                        used: 1,
                    },
                }
            }
            ["step", ..] => Lookup::Found {
                value: Self::head(&self.place).into(),
                used: 1,
            },
            ["steps", ..] => self.steps(path, 1, None),
            ["execution", "steps", ..] => self.steps(path, 2, None),
            _ => Lookup::Unknown {
                part: 0,
                known: roots(),
            },
        }
    }

    fn now_ms(&self) -> Option<i64> {
        None
    }
}
