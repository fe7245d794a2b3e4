//! What can be said of expressions before anything runs: paths that nothing answers, outputs of steps that run later, secrets
//! where none may be.
//!
//! It walks the tree, so that it sees every text also in specs that are kept as they are, and asks the very scope that the run
//! will ask, with nothing known of the run. What the scope cannot know before is not judged: outputs of steps that ran,
//! loops, what the entities that are not here would say.

use std::collections::BTreeMap;

use syntax::expr::{
    Binary, Expr, Kind, Lookup, Problem, Scope as _, Template, Value, is_functor, near_functor,
    parse_condition,
};
use syntax::yaml::{self, Node};
use syntax::{Diagnostic, code};

use crate::model::lower::nearest;
use crate::model::{Entities, OutputVariable, Param, Pipeline, StepSpec};
use crate::plan::{Body, NodeId, ROLLBACK, What, several};

use super::around::{self, Missing};
use super::constant;
use super::deployed;
use super::functions;
use super::known::{Known, World};
use super::manifests;
use super::order::{Order, When};
use super::scope::At;

/// Roots whose values come only with a run, or are those of a step's own making.
const LATER: [&str; 22] = [
    "trigger",
    "eventPayload",
    "approval",
    "instance",
    "output",
    "outcome",
    "inputSet",
    "executionInput",
    "input",
    "shell",
    "spec",
    "httpResponseCode",
    "httpResponseBody",
    "httpResponseHeaders",
    "httpUrl",
    "httpMethod",
    "codebase",
    "terraform",
    "provisioner",
    "exportedVariables",
    "template",
    "variable",
];

/// Keys below which no secret may stand: what every reader of the pod or of the screen sees, or what decides before the
/// step's process is there.
const OPEN: [&str; 27] = [
    "condition",
    "image",
    "timeout",
    "shell",
    "connectorRef",
    "namespace",
    "name",
    "entrypoint",
    "paths",
    "runAsUser",
    "cpu",
    "memory",
    "matrix",
    "repeat",
    "parallelism",
    "items",
    "times",
    "nodeSelector",
    "labels",
    "annotations",
    "sharedPaths",
    "initTimeout",
    "serviceAccountName",
    "mountPath",
    "serviceRef",
    "environmentRef",
    "delegateSelectors",
];

/// Everything below `pipeline:`. Where it is `broken`, not all that is written is in the model: only what is wrong by itself is told.
pub(crate) fn early(
    pipeline: &Pipeline,
    entities: &Entities,
    document: &Node,
    broken: bool,
) -> Vec<Diagnostic> {
    let known = Known {
        run: "0".to_owned(),
        sequence: Some(1),
        created_ms: Some(1),
        account: Some(String::new()),
        user: Some(String::new()),
        ..Known::default()
    };
    let nodes: BTreeMap<NodeId, super::Fact> = BTreeMap::new();
    let world = World {
        pipeline,
        entities,
        known: &known,
        nodes: &nodes,
    };
    let mut walk = Walk {
        world: &world,
        order: Order::of(pipeline),
        here: 0,
        condition: false,
        open: None,
        lazy: false,
        failed: false,
        planned: None,
        broken,
        diagnostics: Vec::new(),
    };
    walk.node(document);
    let mut diagnostics = walk.diagnostics;
    if broken {
        return diagnostics;
    }
    diagnostics.extend(constant::loops(&world, document));
    diagnostics.extend(manifests::refused(&world));
    diagnostics
}

struct Walk<'w, 'm> {
    world: &'w World<'m>,
    order: Order<'m>,
    /// The place of what is looked at.
    here: usize,
    /// What is unknown is null there.
    condition: bool,
    /// The key below which no secret may stand.
    open: Option<&'static str>,
    /// It is evaluated where it is read, not where it stands.
    lazy: bool,
    /// It is read after something here failed.
    failed: bool,
    /// The key whose value is needed when the containerized group around is entered.
    planned: Option<&'static str>,
    /// Not all that is written was understood: what a name leads to is not known.
    broken: bool,
    diagnostics: Vec<Diagnostic>,
}

impl Walk<'_, '_> {
    fn node(&mut self, node: &Node) {
        match &node.value {
            yaml::Value::Scalar(_) => self.text(node),
            yaml::Value::Sequence(items) => items.iter().for_each(|item| self.node(item)),
            yaml::Value::Mapping(mapping) => {
                for entry in &mapping.entries {
                    let key = &*entry.key.text;
                    let before = (
                        self.here,
                        self.open,
                        self.condition,
                        self.lazy,
                        self.failed,
                        self.planned,
                    );
                    match key {
                        "stage" | "step" | "stepGroup" => self.enter(&entry.value),
                        ROLLBACK => self.enter_rollback(),
                        // Of the format, and read by nothing here.
                        "notificationRules" | "properties" | "tags" => continue,
                        _ => {}
                    }
                    if let Some(open) = OPEN.iter().find(|open| **open == key) {
                        self.open = Some(open);
                    } else if matches!(key, "spec" | "steps" | "envVariables" | "settings") {
                        self.open = None;
                    }
                    if matches!(key, "condition" | "command" | "envVariables" | "settings") {
                        self.planned = None;
                    } else {
                        self.planned = self.planned.or_else(|| around::is_planned(key));
                    }
                    self.condition |= key == "condition";
                    self.lazy |= key == "variables";
                    self.failed |= key == "failureStrategies";
                    self.node(&entry.value);
                    (
                        self.here,
                        self.open,
                        self.condition,
                        self.lazy,
                        self.failed,
                        self.planned,
                    ) = before;
                }
            }
        }
    }

    /// Goes to the place of an element, where it has one.
    fn enter(&mut self, node: &Node) {
        let Some(identifier) = node
            .as_mapping()
            .and_then(|own| own.get("identifier"))
            .and_then(Node::as_text)
        else {
            return;
        };
        if let Some(at) = self.order.child(self.here, identifier) {
            self.here = at;
            self.planned = None;
        }
    }

    /// Goes to what undoes the place.
    fn enter_rollback(&mut self) {
        let undoes = self.order.places[self.here].rollback();
        if let Some(at) = undoes.and_then(|own| self.order.by_id.get(&own.id.0)) {
            self.here = *at;
        }
    }

    fn text(&mut self, node: &Node) {
        let Some(text) = node.as_text() else { return };
        if text.starts_with("<+input>")
            || text.trim().is_empty()
            || !(self.condition || text.contains("<+"))
        {
            return;
        }
        let mut seen: Vec<Expr> = Vec::new();
        // What cannot be read is told elsewhere.
        if self.condition {
            if let Ok(expr) = parse_condition(text) {
                seen.push(expr);
            }
        } else if let Ok(template) = Template::parse(text) {
            seen.extend(template.parts().iter().filter_map(|part| match part {
                syntax::expr::Part::Expr(expr) => Some(expr.clone()),
                syntax::expr::Part::Text(_) => None,
            }));
        }
        for expr in &seen {
            self.expr(expr, node, false);
        }
        let at = At {
            world: self.world,
            place: &self.order.places[self.here],
        };
        let problem = constant::problem(text, &seen, &at, self.lazy);
        self.diagnostics
            .extend(problem.map(|problem| problem.at(node.span, "")));
    }

    /// An expression; with `safe` what is unknown in it does no harm.
    fn expr(&mut self, expr: &Expr, node: &Node, safe: bool) {
        if let Some(path) = expr.path() {
            self.path(&path, expr, node, safe);
            return;
        }
        match &expr.kind {
            Kind::Literal(_) | Kind::Name(_) => {}
            Kind::Text(parts) => {
                for part in parts {
                    if let syntax::expr::Part::Expr(inner) = part {
                        self.expr(inner, node, safe);
                    }
                }
            }
            Kind::List(items) => items.iter().for_each(|item| self.expr(item, node, safe)),
            Kind::Map(entries) => entries
                .iter()
                .for_each(|(_, value)| self.expr(value, node, safe)),
            Kind::Member(of, _) | Kind::Safe(of) => self.expr(of, node, true),
            Kind::Index(of, index) => {
                // A path that is put together is only known when it runs.
                self.expr(index, node, safe);
                if of.path().is_none() {
                    self.expr(of, node, true);
                }
            }
            Kind::Coalesce(a, b) | Kind::Elvis(a, b) => {
                self.expr(a, node, true);
                self.expr(b, node, safe);
            }
            Kind::Unary(_, of) => self.expr(of, node, safe),
            Kind::Binary(operator, a, b) => {
                if *operator != Binary::Add {
                    self.looked_into(a, node, operator.as_str());
                    self.looked_into(b, node, operator.as_str());
                }
                self.expr(a, node, safe);
                self.expr(b, node, safe);
            }
            Kind::Ternary(a, b, c) => {
                self.looked_into(a, node, "?");
                for inner in [a, b, c] {
                    self.expr(inner, node, safe);
                }
            }
            Kind::Call(receiver, name, arguments) => {
                if !self.function(expr, node, safe) {
                    return;
                }
                let functor = match receiver.as_deref().map(|own| &own.kind) {
                    Some(Kind::Name(root)) => Some(&**root),
                    _ => None,
                };
                if functor == Some("secrets") {
                    self.secret(expr, node);
                } else if functor == Some("exportedVariables") {
                    self.exported(arguments, expr, node, safe);
                } else if let Some(receiver) = receiver {
                    self.looked_into(receiver, node, name);
                    // A functor is no path, and `.get("a")` ends one.
                    if !functor.is_some_and(is_functor) && &**name != "get" {
                        self.expr(receiver, node, safe);
                    }
                }
                let safe = safe || &**name == "empty";
                for argument in arguments {
                    self.expr(argument, node, safe);
                }
            }
        }
    }

    /// A member of what has none.
    fn not_deeper(&mut self, expr: &Expr, node: &Node, safe: bool) {
        let at = At {
            world: self.world,
            place: &self.order.places[self.here],
        };
        let Err(error) = expr.value(&at) else { return };
        if !matches!(error.problem, Problem::NoMember { .. }) {
            return;
        }
        let place = node.place(expr.span.clone()).unwrap_or(node.span);
        let (code, message) = (code::UNKNOWN_EXPRESSION, error.problem.to_string());
        self.push(if safe || self.condition {
            Diagnostic::warning(code, message).at(place, "it is null here")
        } else {
            let help = "a text has nothing in it; its methods are written with parentheses";
            Diagnostic::error(code, message).at(place, "").help(help)
        });
    }

    /// An export that nothing here makes. A key that is put together is known only when it runs.
    fn exported(&mut self, arguments: &[Expr], expr: &Expr, node: &Node, safe: bool) {
        let [argument] = arguments else { return };
        let Kind::Literal(Value::Text(name)) = &argument.kind else {
            return;
        };
        let at = At {
            world: self.world,
            place: &self.order.places[self.here],
        };
        let computed = self.order.places.iter().any(|place| match place.what {
            What::Step(step) => step
                .output_alias()
                .is_some_and(|own| own.key.as_ref().is_some_and(|key| key.literal().is_none())),
            _ => false,
        });
        if self.lazy || self.broken || computed {
            return;
        }
        let Err(why) = functions::is_exported(&at, name) else {
            return;
        };
        let place = node.place(expr.span.clone()).unwrap_or(node.span);
        let diagnostic = if safe || self.condition {
            Diagnostic::warning(code::UNKNOWN_EXPRESSION, why)
        } else {
            Diagnostic::error(code::UNKNOWN_EXPRESSION, why)
        };
        self.push(diagnostic.at(place, "").help(
            "a step exports by `outputAlias: {key: …, scope: …}`; it is read as `scope.key.variable`, where the scope reaches",
        ));
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// A secret's value is compared, tested, or asked for a method.
    fn looked_into(&mut self, expr: &Expr, node: &Node, operator: &str) {
        if is_secret(expr) {
            let place = node.place(expr.span.clone()).unwrap_or(node.span);
            self.push(
                Diagnostic::error(
                    code::SECRET_PLACE,
                    format!("`{operator}` cannot look into a secret: its value is only known to the step's own process"),
                )
                .at(place, "")
                .help("look at it in a command, where it is a variable of the environment"),
            );
        }
    }

    fn secret(&mut self, expr: &Expr, node: &Node) {
        if let Some(key) = self.open {
            let place = node.place(expr.span.clone()).unwrap_or(node.span);
            let told =
                |own: &Diagnostic| own.code == code::SECRET_PLACE && own.span() == Some(place);
            if self.diagnostics.iter().rev().take(2).any(told) {
                return;
            }
            self.push(
                Diagnostic::error(code::SECRET_PLACE, format!("`{key}` cannot hold a secret"))
                    .at(place, "")
                    .help("use a secret in a command, in `envVariables` or in `settings`"),
            );
        }
    }

    /// A call of what nothing answers to, whatever it is called on; whether more can be said of it.
    fn function(&mut self, expr: &Expr, node: &Node, safe: bool) -> bool {
        if let Kind::Call(Some(receiver), ..) = &expr.kind
            && let Kind::Name(root) = &receiver.kind
            && !is_functor(root)
            && let Some(near) = near_functor(root)
            && !self.order.is_identifier(root)
        {
            let place = node.place(receiver.span.clone()).unwrap_or(node.span);
            self.push(
                Diagnostic::error(code::UNKNOWN_EXPRESSION, format!("unknown: `{root}`"))
                    .at(place, "")
                    .help(format!("did you mean `{near}`?")),
            );
            return false;
        }
        let Some(problem) = expr.no_function() else {
            return true;
        };
        let (soft, place) = (
            safe || self.condition,
            node.place(expr.span.clone()).unwrap_or(node.span),
        );
        let code = code::UNKNOWN_EXPRESSION;
        let diagnostic = if soft {
            Diagnostic::warning(code, problem.to_string())
        } else {
            Diagnostic::error(code, problem.to_string())
        };
        self.push(
            diagnostic
                .at(place, "")
                .help("`stepyard explain SY0502` lists the functions"),
        );
        true
    }

    /// Tells of what nothing around gives in any run.
    fn missing(&mut self, missing: Missing, path: &[&str], expr: &Expr, node: &Node, safe: bool) {
        let place = node.place(expr.span.clone()).unwrap_or(node.span);
        let part = missing.part.min(path.len() - 1);
        let message = format!("unknown: `{}`", path[..=part].join("."));
        let soft = safe || self.condition;
        let diagnostic = if soft {
            Diagnostic::warning(code::UNKNOWN_EXPRESSION, message).at(place, "it is null here")
        } else {
            Diagnostic::error(code::UNKNOWN_EXPRESSION, message).at(place, "")
        };
        let near = nearest(path[part], missing.known.iter().map(String::as_str));
        self.push(match near {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic.help(missing.why),
        });
    }

    /// What repeats the place, outermost first.
    fn loops(&self) -> Vec<Body<'_>> {
        let way = self.order.way(self.here).into_iter();
        way.filter_map(|at| match self.order.places[at].what {
            What::Loop(body) => Some(body),
            _ => None,
        })
        .collect()
    }

    fn path(&mut self, path: &[&str], expr: &Expr, node: &Node, safe: bool) {
        let root = path[0];
        if !self.lazy
            && !self.broken
            && let Some(missing) = around::no_loop(path, &self.loops())
        {
            self.missing(missing, path, expr, node, safe);
            return;
        }
        if matches!(root, "matrix" | "repeat" | "strategy") {
            return;
        }
        if LATER.contains(&root) || matches!(root, "secrets" | "json" | "xml" | "regex") {
            return;
        }
        let place = &self.order.places[self.here];
        let many = place.stage.as_ref().is_some_and(|(own, _)| several(own));
        let at = At {
            world: self.world,
            place,
        };
        let (part, known) = match at.lookup(path) {
            Lookup::Unknown { part, known } => (part.min(path.len() - 1), known),
            Lookup::Found { value, used } => {
                if value.has_secret() {
                    self.secret(expr, node);
                }
                let early = self.when_read(path, expr, node, safe);
                let plain = matches!(value, Value::Text(_) | Value::Int(_) | Value::Bool(_));
                if plain && used < path.len() && !early {
                    self.not_deeper(expr, node, safe);
                }
                return;
            }
            Lookup::Template { .. } | Lookup::Later { .. } => return,
        };
        let undeployed = (!self.lazy && !self.broken)
            .then(|| around::not_deployed(root, &at))
            .flatten();
        // Members that everything has are known also where not all of it was read.
        let fixed = part == 0
            || part == 1 && matches!(root, "pipeline" | "stage" | "step" | "account" | "project");
        if self.broken && !fixed {
            return;
        }
        if self.when_read(path, expr, node, safe) {
            return;
        }
        // Outputs of a step are what it gives out when it runs.
        if path[..part].contains(&"output") || path.get(part) == Some(&"output") {
            self.output(path, expr, node);
            return;
        }
        let of_another = path.get(part) == Some(&"spec") && known.is_empty();
        let entity = deployed::ROOTS.contains(&root);
        if let Some(missing) = undeployed {
            self.missing(missing, path, expr, node, safe);
            return;
        }
        if of_another || entity && (part == 0 || many) {
            // The entity is not here, or which one it is differs by iteration: nothing can be said of it.
            return;
        }
        // Steps are told by their own check, with the identifiers of the whole text.
        let of_steps = part > 0 && matches!(path[part - 1], "steps" | "rollbackSteps");
        let looped = matches!(
            path[part],
            "strategy" | "matrix" | "repeat" | "identifierPostFix"
        );
        // A step, a group or a stage as a whole.
        let whole = part + 1 == path.len()
            && part > 0
            && path[part - 1] == "stages"
            && self.order.step(self.here, path).is_some();
        if of_steps || looped || whole {
            return;
        }
        if part == 0 && self.order.is_identifier(root) {
            return;
        }
        let place = node.place(expr.span.clone()).unwrap_or(node.span);
        let message = format!("unknown: `{}`", path[..=part].join("."));
        let soft = safe || self.condition;
        let diagnostic = if soft {
            Diagnostic::warning(code::UNKNOWN_EXPRESSION, message)
                .at(place, "null as long as nothing answers it")
        } else {
            Diagnostic::error(code::UNKNOWN_EXPRESSION, message).at(place, "")
        };
        let near = nearest(path[part], known.iter().map(String::as_str));
        // A variable is declared or it is not; what else a condition may meet is not known before.
        let variable = part > 0 && path[part - 1] == "variables" && !safe;
        if soft && near.is_none() && !variable {
            return;
        }
        self.push(match (near, known.is_empty()) {
            (Some(near), _) => diagnostic.help(format!("did you mean `{near}`?")),
            (None, true) => diagnostic.help("nothing of this kind is declared here"),
            (None, false) => {
                let names: Vec<String> = known
                    .iter()
                    .take(20)
                    .map(|own| format!("`{own}`"))
                    .collect();
                diagnostic.help(format!("there is {}", names.join(", ")))
            }
        });
    }

    /// Tells of an output that is read where it cannot be there yet; whether it did.
    fn when_read(&mut self, path: &[&str], expr: &Expr, node: &Node, safe: bool) -> bool {
        let reads = path.iter().any(|own| {
            matches!(
                *own,
                "output" | "status" | "currentStatus" | "liveStatus" | "retryCount"
            )
        });
        if self.lazy || self.broken {
            return false;
        }
        let Some(other) = reads.then(|| self.order.step(self.here, path)).flatten() else {
            return false;
        };
        // What is around it has a status while it goes on, and gives out what its steps did.
        if other != self.here && self.order.way(self.here).contains(&other) {
            return false;
        }
        let title = self.order.places[other].identifier().to_owned();
        let place = &self.order.places[other];
        let pod = around::pod_of(&self.order.places[self.here]);
        let same = pod.filter(|own| around::pod_of(place) == Some(*own) && place.id != *own.1);
        if let (Some(key), Some((group, _))) = (self.planned, same)
            && other != self.here
        {
            let says = format!(
                "`{key}` is needed when the step group `{group}` is entered, before `{title}` runs"
            );
            let diagnostic = if safe {
                Diagnostic::warning(code::UNKNOWN_STEP, says)
            } else {
                Diagnostic::error(code::UNKNOWN_STEP, says)
            };
            let place = node.place(expr.span.clone()).unwrap_or(node.span);
            let help = format!(
                "put `{title}` into a step group before `{group}`, or read it in the step's `command` or `envVariables`"
            );
            self.push(diagnostic.at(place, "").help(help));
            return true;
        }
        // What failed is over, be it this or something in it, when what is to be done is decided.
        if self.failed && self.condition && self.order.way(other).contains(&self.here) {
            return false;
        }
        let when = self.order.when(self.here, other);
        let (says, help) = match when {
            When::Before => return false,
            When::Own => (
                format!("`{title}` reads what it gives out itself"),
                "read it in a step that runs after it",
            ),
            When::Beside => (
                format!("`{title}` runs beside this: whether it is over by then is not known"),
                "put this behind the `parallel` block",
            ),
            When::Later => (
                format!("`{title}` runs only later than what reads it"),
                "move one of them, or read a step that runs before",
            ),
        };
        let place = node.place(expr.span.clone()).unwrap_or(node.span);
        // A Background step is there all the time, and a condition takes what is not there for null.
        let soft = self.condition || when == When::Beside;
        let diagnostic = if soft {
            Diagnostic::warning(code::UNKNOWN_STEP, says)
        } else {
            Diagnostic::error(code::UNKNOWN_STEP, says)
        };
        self.push(diagnostic.at(place, "").help(help));
        true
    }

    /// An output that the step does not declare and that is nearly one it does.
    fn output(&mut self, path: &[&str], expr: &Expr, node: &Node) {
        let Some(at) = path.iter().position(|own| *own == "outputVariables") else {
            return;
        };
        let (Some(name), Some(step)) = (path.get(at + 1), self.order.step(self.here, &path[..at]))
        else {
            return;
        };
        let What::Step(step) = self.order.places[step].what else {
            return;
        };
        let StepSpec::Run(run) = &step.spec else {
            return;
        };
        let declared = run.outputs.as_ref().and_then(Param::literal);
        let names: Vec<&str> = declared
            .into_iter()
            .flatten()
            .filter_map(|own: &OutputVariable| Some(own.name.as_ref()?.value.as_str()))
            .collect();
        if names.contains(name) {
            return;
        }
        if let Some(near) = nearest(name, names.iter().copied()) {
            let place = node.place(expr.span.clone()).unwrap_or(node.span);
            let step = &step.identifier;
            self.push(
                Diagnostic::warning(
                    code::UNKNOWN_EXPRESSION,
                    format!("step `{step}` declares no output `{name}`"),
                )
                .at(place, "")
                .help(format!("did you mean `{near}`?")),
            );
        }
    }
}

/// `secrets.getValue(…)` itself.
fn is_secret(expr: &Expr) -> bool {
    matches!(
        &expr.kind,
        Kind::Call(Some(of), name, _) if &**name == "getValue" && matches!(&of.kind, Kind::Name(root) if &**root == "secrets")
    )
}
