//! What expressions see from a place in the pipeline.

use std::sync::Arc;

use syntax::expr::{Lookup, Map, Scope, SecretRef, Template, Value};

use crate::model::{Param, Ref, StepGroup, StepSpec, Variable, VariableType, Variables};
use crate::plan::{Place, ROLLBACK, What};

use super::known::{EVENT, World};
use super::{deployed, functions, given_out, looped, stage_spec};

/// The roots that a run knows.
const ROOTS: [&str; 14] = [
    "pipeline",
    "stage",
    "stepGroup",
    "step",
    "steps",
    "execution",
    "account",
    "org",
    "project",
    "variable",
    "secrets",
    "matrix",
    "repeat",
    "strategy",
];

/// The world as it is seen from one place.
#[derive(Debug, Clone, Copy)]
pub struct At<'w, 'm> {
    /// The world.
    pub world: &'w World<'m>,
    /// The place.
    pub place: &'w Place<'m>,
}

/// A value of the first `used` parts.
pub(super) fn found(value: impl Into<Value>, used: usize) -> Lookup {
    Lookup::Found {
        value: value.into(),
        used,
    }
}

pub(super) fn unknown<'a>(part: usize, known: impl IntoIterator<Item = &'a str>) -> Lookup {
    Lookup::Unknown {
        part,
        known: known.into_iter().map(str::to_owned).collect(),
    }
}

/// What was found by a path that is written `by` parts shorter than the one that is asked for, of `len` parts.
pub(super) fn further(lookup: Lookup, by: usize, len: usize) -> Lookup {
    match lookup {
        Lookup::Found { value, used } => found(value, used + by),
        Lookup::Template { template, used } => Lookup::Template {
            template,
            used: used + by,
        },
        Lookup::Later { part } => Lookup::Later { part: part + by },
        Lookup::Unknown { part, known } => Lookup::Unknown {
            part: (part + by).min(len - 1),
            known,
        },
    }
}

pub(super) fn optional(value: Option<impl Into<Value>>, used: usize) -> Lookup {
    found(value.map_or(Value::Null, Into::into), used)
}

impl Scope for At<'_, '_> {
    fn lookup(&self, path: &[&str]) -> Lookup {
        match self.named(path) {
            unknown @ Lookup::Unknown { .. } => self.whole(path).unwrap_or(unknown),
            found => found,
        }
    }

    fn secret(&self, id: &str) -> Result<SecretRef, String> {
        match Ref::parse(id) {
            Some(reference) => Ok(SecretRef(reference.to_string().into())),
            None => Err(format!(
                "`{id}` is not a secret's reference: write `id`, `org.id` or `account.id`"
            )),
        }
    }

    fn call(
        &self,
        functor: &str,
        method: &str,
        arguments: &[Value],
    ) -> Option<Result<Value, String>> {
        functions::call(self, functor, method, arguments)
    }

    fn now_ms(&self) -> Option<i64> {
        self.world
            .known
            .created_ms
            .and_then(|ms| i64::try_from(ms).ok())
    }
}

/// No name: what is known in its place is what may stand there.
pub(super) const NONE: &str = "\u{1}";

impl At<'_, '_> {
    /// What a path names that goes to a value.
    fn named(&self, path: &[&str]) -> Lookup {
        let pipeline = self.world.pipeline;
        if let Some(found) = looped::lookup(self, path) {
            return found;
        }
        match path[0] {
            "pipeline" => self.pipeline(path),
            "stage" => match &self.place.stage {
                Some((_, id)) => match Place::of(self.world, id) {
                    Some(place) => self.stage(&place, path, 1),
                    None => unknown(0, ROOTS),
                },
                None => unknown(0, ROOTS),
            },
            "stepGroup" => self.group(self.place.groups.len(), path, 1),
            "step" => match self.place.what {
                What::Step(step) => match path.get(1) {
                    Some(&"identifier") => found(step.identifier.as_str(), 2),
                    Some(&"name") => found(step.title(), 2),
                    Some(&"executionUrl") => found(Value::Null, 2),
                    _ => unknown(1, ["identifier", "name", "executionUrl"]),
                },
                _ => unknown(0, ROOTS),
            },
            "steps" => self.near_steps(path),
            "execution" => self.execution(path),
            "account" => {
                let own = self.world.known.account.as_deref();
                let members = [("identifier", own), ("name", own), ("companyName", None)];
                member(path, &members)
            }
            "org" => {
                let own = pipeline.org.as_ref().map(|org| org.value.as_str());
                member(path, &[("identifier", own), ("name", own)])
            }
            "project" => {
                let own = pipeline.project.as_ref();
                let own = own.map(|project| project.value.as_str());
                match path.get(1) {
                    // They are on a server; here it has none.
                    Some(&"tags") => found(Map::new(), 2),
                    _ => member(path, &[("identifier", own), ("name", own), ("tags", None)]),
                }
            }
            "variable" => self.global(path),
            "approval" => given_out::approval(self, path),
            "spec" => self.input_variable(path),
            root if EVENT.contains(&root) => self.event(path),
            root if deployed::ROOTS.contains(&root) => deployed::lookup(self, path),
            _ => unknown(0, ROOTS.into_iter().chain(deployed::ROOTS)),
        }
    }

    /// An object as a whole: its members that have a value, as a map. None where a path is no object.
    fn whole(&self, path: &[&str]) -> Option<Lookup> {
        let mut inner: Vec<&str> = path.to_vec();
        inner.push(NONE);
        let Lookup::Unknown { part, known } = self.named(&inner) else {
            return None;
        };
        if part != path.len() {
            return None;
        }
        let mut entries = Vec::new();
        for name in &known {
            inner.pop();
            inner.push(name);
            let template = match self.named(&inner) {
                Lookup::Found { value, used } if used == inner.len() => Template::constant(value),
                Lookup::Template { template, used } if used == inner.len() => (*template).clone(),
                _ => continue,
            };
            entries.push((Arc::from(name.as_str()), template));
        }
        if entries.is_empty() {
            return None;
        }
        let map = Template::map(entries).ok()?;
        Some(Lookup::Template {
            template: map.into(),
            used: path.len(),
        })
    }
}

/// What is written out of a list of delegates.
fn selectors(written: Option<&Param<Vec<Param<String>>>>) -> Lookup {
    let list = written.and_then(Param::literal);
    let texts = list
        .into_iter()
        .flatten()
        .map(|own| Value::from(own.text()));
    found(texts.collect::<Vec<_>>(), 2)
}

fn member(path: &[&str], members: &[(&str, Option<&str>)]) -> Lookup {
    match path
        .get(1)
        .and_then(|name| members.iter().find(|(own, _)| own == name))
    {
        Some((_, value)) => optional(*value, 2),
        None => unknown(1.min(path.len() - 1), members.iter().map(|(name, _)| *name)),
    }
}

impl<'m> At<'_, 'm> {
    /// What is said of the event that would have begun the run; the longest path that is known.
    fn event(&self, path: &[&str]) -> Lookup {
        let known = &self.world.known.event;
        let longest = (2..=path.len()).rev().find_map(|used| {
            let value = known.get(&path[..used].join("."))?;
            Some(found(value.as_str(), used))
        });
        longest.unwrap_or_else(|| {
            let below = known.keys().filter_map(|own| {
                own.strip_prefix(path[0])?
                    .strip_prefix('.')?
                    .split('.')
                    .next()
            });
            unknown(1.min(path.len() - 1), below)
        })
    }

    /// `spec.inputVariables.X` of the very step, which only an Http step has.
    fn input_variable(&self, path: &[&str]) -> Lookup {
        let What::Step(step) = self.place.what else {
            return unknown(0, ROOTS);
        };
        let StepSpec::Http(own) = &step.spec else {
            return unknown(0, ROOTS);
        };
        let list = own.inputs.as_ref().and_then(Param::literal);
        let all = || list.into_iter().flatten();
        let named = |own: &&Variable| {
            let name = own.name.as_ref().map(|name| name.value.as_str());
            name.is_some() && name == path.get(2).copied()
        };
        match (path.get(1), all().find(named)) {
            (Some(&"inputVariables"), Some(own)) => value(own, 3),
            (Some(&"inputVariables"), None) => unknown(
                2.min(path.len() - 1),
                all().filter_map(|own| Some(own.name.as_ref()?.value.as_str())),
            ),
            _ => unknown(1.min(path.len() - 1), ["inputVariables"]),
        }
    }

    /// `variable.X`, `variable.org.X`, `variable.account.X`: of the project, the organization, the account.
    fn global(&self, path: &[&str]) -> Lookup {
        let at = match path.get(1) {
            Some(&("org" | "account")) if path.len() > 2 => 2,
            _ => 1,
        };
        let all = &self.world.entities.variables;
        let own = path.get(at).and_then(|name| {
            let named = || all.iter().filter(|own| own.identifier.as_str() == *name);
            let exact = named().find(|own| match path[1] {
                "account" => own.org.is_none() && own.project.is_none(),
                "org" => own.org.is_some() && own.project.is_none(),
                _ => own.project.is_some(),
            });
            exact.or_else(|| named().next())
        });
        match own {
            Some(own) => {
                let spec = own.spec.as_ref();
                let written = spec.and_then(|own| own.fixed.as_ref().or(own.default.as_ref()));
                optional(written.map(|own| own.value.as_str()), at + 1)
            }
            None => unknown(
                at.min(path.len() - 1),
                all.iter().map(|own| own.identifier.as_str()),
            ),
        }
    }

    fn pipeline(&self, path: &[&str]) -> Lookup {
        let (pipeline, known) = (self.world.pipeline, self.world.known);
        let number = |number: Option<u64>| optional(number.and_then(|n| i64::try_from(n).ok()), 2);
        match path.get(1) {
            Some(&"name") => found(pipeline.title(), 2),
            Some(&"identifier") => found(pipeline.identifier.as_str(), 2),
            Some(&"executionId") => found(known.run.as_str(), 2),
            Some(&"sequenceId") => number(known.sequence),
            Some(&"startTs") => number(known.created_ms),
            Some(&"executionMode") => found(self.mode(), 2),
            Some(name @ &("status" | "currentStatus" | "liveStatus")) => {
                self.status(&Place::root(pipeline), name, 2)
            }
            Some(&"orgIdentifier") => {
                optional(pipeline.org.as_ref().map(|own| own.value.as_str()), 2)
            }
            Some(&"projectIdentifier") => {
                optional(pipeline.project.as_ref().map(|own| own.value.as_str()), 2)
            }
            Some(&"variables") => variables(pipeline.variables.as_ref(), path, 2),
            Some(&"description") => optional(pipeline.description.as_ref().map(Param::text), 2),
            Some(&"tags") => tags(&pipeline.tags, path, 2),
            Some(&"triggerType") => found("MANUAL", 2),
            Some(&"triggeredBy") => match path.get(2) {
                Some(&("name" | "email")) => optional(known.user.as_deref(), 3),
                _ => unknown(2.min(path.len() - 1), ["name", "email"]),
            },
            // A pipeline of this machine is in no store, and has no page.
            Some(&("executionUrl" | "storeType" | "repo" | "branch")) => found(Value::Null, 2),
            Some(&"resumedExecutionId") => optional(known.resumed.as_deref(), 2),
            Some(&"selectedStages") => found(Vec::new(), 2),
            Some(&"delegateSelectors") => selectors(pipeline.delegate_selectors.as_ref()),
            Some(&"stages") => {
                let root = Place::root(pipeline);
                match path.get(2).and_then(|id| root.child(self.world, id)) {
                    Some(stage) => self.stage(&stage, path, 3),
                    None => unknown(2.min(path.len() - 1), names(&root)),
                }
            }
            _ => unknown(
                1.min(path.len() - 1),
                [
                    "name",
                    "identifier",
                    "description",
                    "executionId",
                    "sequenceId",
                    "startTs",
                    "executionMode",
                    "executionUrl",
                    "triggerType",
                    "triggeredBy",
                    "delegateSelectors",
                    "selectedStages",
                    "resumedExecutionId",
                    "storeType",
                    "repo",
                    "branch",
                    "orgIdentifier",
                    "projectIdentifier",
                    "variables",
                    "tags",
                    "stages",
                    "status",
                    "currentStatus",
                    "liveStatus",
                ],
            ),
        }
    }

    /// How the run goes where it is asked: a stage that is over is rolled back with the pipeline.
    fn mode(&self) -> &'static str {
        let Some((_, stage)) = &self.place.stage else {
            return "NORMAL";
        };
        let undoes = self.place.id.0.strip_prefix(&stage.0);
        let undoes = undoes.is_some_and(|rest| rest.starts_with(&format!(".{ROLLBACK}")));
        let over = || self.world.nodes.fact(stage).and_then(|own| own.status);
        if undoes && over().is_some() {
            "PIPELINE_ROLLBACK"
        } else {
            "NORMAL"
        }
    }

    /// A stage's members; `at` is the part after the stage.
    fn stage(&self, place: &Place<'m>, path: &[&str], at: usize) -> Lookup {
        let What::Stage(stage) = place.what else {
            return unknown(at - 1, []);
        };
        match path.get(at) {
            Some(&"name") => found(stage.title(), at + 1),
            Some(&"identifier") => found(stage.identifier().as_str(), at + 1),
            Some(&"type") => found(stage.stage_type(), at + 1),
            Some(&"description") => {
                optional(stage.common.description.as_ref().map(Param::text), at + 1)
            }
            Some(&"variables") => variables(stage.common.variables.as_ref(), path, at + 1),
            Some(&"tags") => tags(&stage.common.tags, path, at + 1),
            Some(name @ &("status" | "currentStatus" | "liveStatus")) => {
                self.status(place, name, at + 1)
            }
            // Of a run that is on no server.
            Some(&"executionUrl") => found(Value::Null, at + 1),
            Some(&"delegateSelectors") => selectors(stage.common.delegate_selectors.as_ref()),
            Some(&"spec") => stage_spec::lookup(self, place, path, at + 1),
            _ => unknown(
                at.min(path.len() - 1),
                [
                    "name",
                    "identifier",
                    "type",
                    "description",
                    "variables",
                    "tags",
                    "status",
                    "currentStatus",
                    "liveStatus",
                    "executionUrl",
                    "delegateSelectors",
                    "spec",
                ],
            ),
        }
    }

    /// `status` is that of the node itself; the other two are, while it goes on, what became of what is in it so far
    /// (`reference/behaviour.md` §13).
    fn status(&self, place: &Place<'m>, name: &str, used: usize) -> Lookup {
        let fact = self.world.nodes.fact(&place.id);
        let Some(fact) = fact.filter(|own| own.begun || own.status.is_some()) else {
            return found(Value::Null, used);
        };
        let so_far = || match name {
            "status" => "RUNNING".to_owned(),
            _ if let Some(bad) = self.below(place, &is_bad) => bad,
            "liveStatus" => "RUNNING".to_owned(),
            // It is asked in conditions: is all well until now?
            _ => self
                .below(place, &|own| own == "IGNORE_FAILED")
                .unwrap_or_else(|| "SUCCEEDED".to_owned()),
        };
        found(fact.status.unwrap_or_else(so_far), used)
    }

    /// The end of something in a node, of those that are wanted.
    fn below(&self, place: &Place<'m>, wanted: &dyn Fn(&str) -> bool) -> Option<String> {
        let nodes = self.world.nodes;
        if matches!(place.what, What::Loop(_)) {
            return nodes.below(&place.id).into_iter().find(|own| wanted(own));
        }
        place.children().iter().find_map(|child| {
            let inside = matches!(child.what, What::Elements(_) | What::Stages(_));
            match nodes.fact(&child.id) {
                Some(fact) if fact.status.is_some() => fact.status.filter(|own| wanted(own)),
                Some(_) => self.below(child, wanted),
                None => inside.then(|| self.below(child, wanted)).flatten(),
            }
        })
    }

    /// The `depth`-th group around, or one that encloses it.
    fn group(&self, depth: usize, path: &[&str], at: usize) -> Lookup {
        let Some(((group, id), depth)) = depth
            .checked_sub(1)
            .and_then(|n| Some((self.place.groups.get(n)?, n)))
        else {
            return unknown(at - 1, ROOTS);
        };
        let group: &StepGroup = group;
        match path.get(at) {
            Some(&"name") => found(group.title(), at + 1),
            Some(&"identifier") => found(group.identifier.as_str(), at + 1),
            Some(&"variables") => variables(group.variables.as_ref(), path, at + 1),
            Some(name @ &("status" | "currentStatus" | "liveStatus")) => {
                match Place::of(self.world, id) {
                    Some(place) => self.status(&place, name, at + 1),
                    None => unknown(at, []),
                }
            }
            Some(&"getParentStepGroup") => self.group(depth, path, at + 1),
            Some(&"steps") => match Place::of(self.world, id) {
                Some(place) => self.step_in(&place, path, at + 1),
                None => unknown(at, []),
            },
            _ => unknown(
                at.min(path.len() - 1),
                [
                    "name",
                    "identifier",
                    "variables",
                    "status",
                    "currentStatus",
                    "liveStatus",
                    "steps",
                    "getParentStepGroup",
                ],
            ),
        }
    }

    /// `steps.S…`: of the innermost group first, then outwards to the stage.
    fn near_steps(&self, path: &[&str]) -> Lookup {
        let mut known = Vec::new();
        let around = self.place.groups.iter().rev().map(|(_, id)| id);
        for id in around.chain(self.place.stage.as_ref().map(|(_, id)| id)) {
            let Some(place) = Place::of(self.world, id) else {
                continue;
            };
            if path
                .get(1)
                .is_some_and(|own| place.child(self.world, own).is_some())
            {
                return self.step_in(&place, path, 1);
            }
            known.extend(names(&place));
        }
        unknown(1.min(path.len() - 1), known)
    }

    /// `execution.steps.G.steps.S…`, from the stage.
    fn execution(&self, path: &[&str]) -> Lookup {
        let stage = self
            .place
            .stage
            .as_ref()
            .and_then(|(_, id)| Place::of(self.world, id));
        match stage {
            Some(stage) => self.steps_of(&stage, path, 1),
            None => unknown(1.min(path.len() - 1), ["steps", ROLLBACK]),
        }
    }

    /// `steps.S…` and `rollbackSteps.S…` of a stage.
    pub(super) fn steps_of(&self, stage: &Place<'m>, path: &[&str], at: usize) -> Lookup {
        match (path.get(at), stage.rollback()) {
            (Some(&"steps"), _) => self.step_in(stage, path, at + 1),
            (Some(&ROLLBACK), Some(rollback)) => self.step_in(&rollback, path, at + 1),
            _ => unknown(at.min(path.len() - 1), ["steps", ROLLBACK]),
        }
    }

    /// A step or group below a place, by its identifier in part `at`, and what is asked of it.
    fn step_in(&self, parent: &Place<'m>, path: &[&str], at: usize) -> Lookup {
        let Some(place) = path.get(at).and_then(|id| parent.child(self.world, id)) else {
            return unknown(at.min(path.len() - 1), names(parent));
        };
        let fact = self.world.nodes.fact(&place.id);
        let fact = fact.as_ref();
        let at = at + 1;
        if let Some(own) = given_out::lookup(&place, fact, path, at) {
            return own;
        }
        match path.get(at) {
            Some(&"identifier") => found(place.identifier(), at + 1),
            Some(&"name") => found(place.title(), at + 1),
            Some(name @ &("status" | "currentStatus" | "liveStatus")) => {
                self.status(&place, name, at + 1)
            }
            Some(&"retryCount") => found(fact.map_or(0, |fact| i64::from(fact.retries)), at + 1),
            Some(&"steps") if matches!(place.what, What::Group(_)) => {
                self.step_in(&place, path, at + 1)
            }
            Some(&"output") if path.get(at + 1) == Some(&"outputVariables") => {
                let outputs = fact.map(|fact| &fact.outputs);
                let Some(name) = path.get(at + 2) else {
                    let map: Map = outputs
                        .into_iter()
                        .flatten()
                        .map(|(name, value)| (Arc::from(name.as_str()), value.clone()))
                        .collect();
                    return found(map, at + 2);
                };
                if let Some(value) = outputs.and_then(|outputs| outputs.get(*name)) {
                    return found(value.clone(), at + 3);
                }
                let known = outputs
                    .into_iter()
                    .flat_map(|outputs| outputs.keys().map(String::as_str));
                unknown(at + 2, known)
            }
            _ => unknown(
                at.min(path.len() - 1),
                [
                    "output",
                    "status",
                    "retryCount",
                    "identifier",
                    "name",
                    "steps",
                ],
            ),
        }
    }
}

/// Identifiers below a place.
fn names<'m>(place: &Place<'m>) -> Vec<&'m str> {
    place
        .children()
        .iter()
        .flat_map(|child| match child.what {
            What::Stages(_) | What::Elements(_) => names(child),
            What::Initialize(_) => Vec::new(),
            _ => vec![child.identifier()],
        })
        .collect()
}

pub(super) fn tags(
    tags: &indexmap::IndexMap<String, Param<String>>,
    path: &[&str],
    at: usize,
) -> Lookup {
    match path.get(at).and_then(|name| tags.get(*name)) {
        Some(value) => text(value, at + 1),
        None => unknown(at.min(path.len() - 1), tags.keys().map(String::as_str)),
    }
}

fn variables(variables: Option<&Variables>, path: &[&str], at: usize) -> Lookup {
    // A name may hold dots: the longest that is there is meant.
    for end in (at + 1..=path.len()).rev() {
        let name = path[at..end].join(".");
        if let Some(variable) = variables.and_then(|own| own.get(&name)) {
            return value(variable, end);
        }
    }
    let known = variables.map_or_else(Vec::new, |own| {
        own.0
            .iter()
            .filter_map(|own| own.name.as_ref())
            .map(|name| name.value.as_str())
            .collect()
    });
    unknown(at.min(path.len() - 1), known)
}

pub(super) fn value(variable: &Variable, used: usize) -> Lookup {
    let Some(written) = variable.value.as_ref().or(variable.default.as_ref()) else {
        return found(Value::Null, used);
    };
    match (variable.kind.as_ref().map(|kind| kind.value), written) {
        (Some(VariableType::Secret), Param::Literal(reference)) => found(
            Value::Secret(SecretRef(reference.value.trim().into())),
            used,
        ),
        (Some(VariableType::Number), Param::Literal(number)) => {
            let text = number.value.trim();
            match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(whole), _) => found(whole, used),
                (_, Ok(float)) => found(Value::Float(float), used),
                _ => found(text, used),
            }
        }
        _ => text(written, used),
    }
}

pub(super) fn text(written: &Param<String>, used: usize) -> Lookup {
    match written {
        Param::Literal(text) => found(text.value.as_str(), used),
        Param::Input(input) => match &input.value.default {
            Some(default) => found(default.as_str(), used),
            None => Lookup::Later { part: used - 1 },
        },
        Param::Expr(text) => match Template::parse(&text.value) {
            Ok(template) => Lookup::Template {
                template: template.into(),
                used,
            },
            // Told where it is written; here it is as if it were not there.
            Err(_) => unknown(used - 1, []),
        },
    }
}

/// An end that makes what is around fail.
pub(super) fn is_bad(status: &str) -> bool {
    matches!(
        status,
        "FAILED" | "ABORTED" | "EXPIRED" | "APPROVAL_REJECTED"
    )
}
