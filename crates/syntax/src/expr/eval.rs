//! A tree to its value.

use std::sync::Arc;

use super::ast::{Binary, Expr, Kind, Unary};
use super::error::{Error, Problem, nearest};
use super::functors;
use super::methods;
use super::operators;
use super::scope::{Lookup, Scope};
use super::template::{Part, Template, append, merge};
use super::value::{Map, Piece, Value};
use super::{MAX_EXPRESSION, MAX_VALUE};

/// Bounds of one evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// What is unknown is null, as in `when`; else it is an error.
    pub lenient: bool,
    /// Nodes that may be evaluated. A thousand times what people write.
    pub steps: u32,
    /// Bytes of values that may be made in all.
    pub bytes: usize,
    /// How deep variables may name one another.
    pub depth: u8,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            lenient: false,
            steps: 20_000,
            bytes: 16 * MAX_VALUE,
            depth: 16,
        }
    }
}

/// One evaluation in progress.
pub(super) struct Evaluation<'s> {
    scope: &'s dyn Scope,
    left: Budget,
}

impl<'s> Evaluation<'s> {
    pub(super) fn new(scope: &'s dyn Scope, budget: Budget) -> Self {
        Self {
            scope,
            left: budget,
        }
    }

    /// The value of a template: typed where it is one expression, else text.
    pub(super) fn template(&mut self, template: &Template) -> Result<Value, Error> {
        match template.parts() {
            [] => Ok(Value::from("")),
            [Part::Text(text)] => Ok(Value::Text(text.clone())),
            [Part::Expr(expr)] => self.expr(expr),
            parts => self.parts(parts),
        }
    }

    fn parts(&mut self, parts: &[Part]) -> Result<Value, Error> {
        let mut pieces = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Part::Text(text) => pieces.push(Piece::Text(text.clone())),
                Part::Expr(expr) => {
                    let value = self.expr(expr)?;
                    append(&mut pieces, &value)
                        .map_err(|problem| Error::new(expr.span.clone(), problem))?;
                }
            }
        }
        let value = joined(pieces);
        self.made(&value)
            .map_err(|problem| Error::new(0..0, problem))?;
        Ok(value)
    }

    /// Counts a value that was made.
    fn made(&mut self, value: &Value) -> Result<(), Problem> {
        let weight = value.weight();
        if weight > MAX_VALUE {
            return Err(Problem::TooLarge(MAX_VALUE));
        }
        self.left.bytes = self
            .left
            .bytes
            .checked_sub(weight)
            .ok_or(Problem::TooLarge(MAX_VALUE))?;
        Ok(())
    }

    /// The value of an expression.
    pub(super) fn expr(&mut self, expr: &Expr) -> Result<Value, Error> {
        let at = |problem| Error::new(expr.span.clone(), problem);
        self.left.steps = self
            .left
            .steps
            .checked_sub(1)
            .ok_or_else(|| at(Problem::TooManySteps))?;
        let value = match &expr.kind {
            Kind::Literal(value) => return Ok(value.clone()),
            Kind::Text(parts) => return self.parts(parts),
            Kind::Name(_) | Kind::Member(..) | Kind::Index(..) => {
                return match self.access(expr) {
                    Err(error) if self.left.lenient && error.problem.is_unknown() => {
                        Ok(Value::Null)
                    }
                    other => other,
                };
            }
            Kind::List(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| self.expr(item)).collect();
                Value::from(items?)
            }
            Kind::Map(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    let name = self.expr(key)?.to_text().ok_or_else(|| {
                        Error::new(key.span.clone(), Problem::Secret("a key".to_owned()))
                    })?;
                    map.insert(name, self.expr(value)?);
                }
                Value::from(map)
            }
            Kind::Call(receiver, name, arguments) => {
                self.call(expr, receiver.as_deref(), name, arguments)?
            }
            Kind::Unary(operator, of) => {
                let value = self.expr(of)?;
                match operator {
                    Unary::Not => {
                        refuse_secret(&value, "`!`").map_err(at)?;
                        Value::Bool(!value.holds())
                    }
                    Unary::Minus => operators::negate(&value).map_err(at)?,
                    Unary::Plus => operators::plus(&value).map_err(at)?,
                    Unary::Complement => operators::complement(&value).map_err(at)?,
                }
            }
            Kind::Binary(Binary::And, a, b) => {
                Value::Bool(self.condition(a)? && self.condition(b)?)
            }
            Kind::Binary(Binary::Or, a, b) => Value::Bool(self.condition(a)? || self.condition(b)?),
            Kind::Binary(operator, a, b) => {
                let a = self.expr(a)?;
                let b = self.expr(b)?;
                operators::binary(*operator, &a, &b).map_err(at)?
            }
            Kind::Ternary(condition, yes, no) => {
                return if self.condition(condition)? {
                    self.expr(yes)
                } else {
                    self.expr(no)
                };
            }
            Kind::Coalesce(value, other) => {
                return match self.known(value)? {
                    Value::Null => self.expr(other),
                    value => Ok(value),
                };
            }
            Kind::Safe(of) => return self.known(of),
            Kind::Elvis(value, other) => {
                // A secret that is there is taken; its text is not looked at. What is unknown is not there.
                let value = self.known(value)?;
                return if value.holds() {
                    Ok(value)
                } else {
                    self.expr(other)
                };
            }
        };
        self.made(&value).map_err(at)?;
        Ok(value)
    }

    /// A value, null where it is unknown.
    fn known(&mut self, expr: &Expr) -> Result<Value, Error> {
        match self.expr(expr) {
            Err(error) if error.problem.is_unknown() => Ok(Value::Null),
            other => other,
        }
    }

    fn condition(&mut self, expr: &Expr) -> Result<bool, Error> {
        let value = self.expr(expr)?;
        refuse_secret(&value, "a condition")
            .map_err(|problem| Error::new(expr.span.clone(), problem))?;
        Ok(value.holds())
    }

    /// A path, a member, or an index.
    fn access(&mut self, expr: &Expr) -> Result<Value, Error> {
        let mut path = Vec::with_capacity(8);
        if expr.path_into(&mut path) {
            return self.path(expr, &path);
        }
        // The parts from the base outwards, each evaluated once.
        let mut base = expr;
        let mut parts = Vec::new();
        while let Kind::Member(of, _) | Kind::Index(of, _) = &base.kind {
            parts.push(base);
            base = of;
        }
        parts.reverse();
        let mut keys = Vec::with_capacity(parts.len());
        for part in &parts {
            keys.push(match &part.kind {
                Kind::Member(_, name) => Value::Text(Arc::from(&**name)),
                Kind::Index(_, index) => self.expr(index)?,
                _ => Value::Null,
            });
        }
        // `pipeline.variables[<+stage.name>]`, `steps.build<+strategy.identifierPostFix>.output`: the scope is asked
        // for as much of the path as is text, since it may know no value for its beginning.
        let (mut value, known) = if let Kind::Name(root) = &base.kind {
            let texts = keys.iter().map_while(|key| match key {
                Value::Text(text) => Some(&**text),
                _ => None,
            });
            let path: Vec<&str> = std::iter::once(&**root).chain(texts).collect();
            (self.path(expr, &path)?, path.len() - 1)
        } else {
            (self.expr(base)?, 0)
        };
        let safe = matches!(base.kind, Kind::Safe(_));
        for (part, key) in parts.iter().zip(&keys).skip(known) {
            if safe && value == Value::Null {
                return Ok(value);
            }
            let next = match &part.kind {
                Kind::Member(_, name) => methods::member(&value, name),
                _ => methods::index(&value, key),
            };
            value = next.map_err(|problem| Error::new(part.span.clone(), problem))?;
        }
        Ok(value)
    }

    fn path(&mut self, expr: &Expr, path: &[&str]) -> Result<Value, Error> {
        let at = |problem| Error::new(expr.span.clone(), problem);
        let (mut value, used) = match self.scope.lookup(path) {
            Lookup::Found { value, used } => (value, used),
            Lookup::Template { template, used } => {
                self.left.depth = self
                    .left
                    .depth
                    .checked_sub(1)
                    .ok_or_else(|| at(Problem::TooDeep))?;
                // Its spans are of another text: the place here is that of the path.
                let value = self
                    .template(&template)
                    .map_err(|error| at(error.problem))?;
                self.left.depth += 1;
                (value, used)
            }
            Lookup::Later { part } => {
                return Err(at(Problem::Unknown {
                    path: path[..=part.min(path.len() - 1)].join("."),
                    near: None,
                }));
            }
            Lookup::Unknown { part, known } => {
                let part = part.min(path.len() - 1);
                return Err(at(Problem::Unknown {
                    path: path[..=part].join("."),
                    near: nearest(path[part], known.iter().map(String::as_str)),
                }));
            }
        };
        for name in &path[used.min(path.len())..] {
            value = methods::member(&value, name).map_err(at)?;
        }
        Ok(value)
    }

    fn call(
        &mut self,
        expr: &Expr,
        receiver: Option<&Expr>,
        name: &str,
        arguments: &[Expr],
    ) -> Result<Value, Error> {
        let at = |problem| Error::new(expr.span.clone(), problem);
        let values = |this: &mut Self| -> Result<Vec<Value>, Error> {
            arguments
                .iter()
                .map(|argument| this.expr(argument))
                .collect()
        };
        let Some(receiver) = receiver else {
            return self.function(expr, name, arguments);
        };
        if let Kind::Name(functor) = &receiver.kind
            && functors::is_functor(functor)
        {
            let values = values(self)?;
            return functors::call(self.scope, functor, name, &values).map_err(at);
        }
        // `steps.x.get("a-b")`, `.get` of a path: the key is a part of the path.
        if name == "get"
            && let [argument] = arguments
        {
            let mut path = Vec::with_capacity(8);
            if receiver.path_into(&mut path) {
                let key = self.expr(argument)?;
                if let Value::Text(key) = &key {
                    path.push(key);
                    return self.path(expr, &path);
                }
                let of = self.expr(receiver)?;
                return methods::index(&of, &key).map_err(at);
            }
        }
        let of = self.expr(receiver)?;
        if of == Value::Null && (self.left.lenient || matches!(receiver.kind, Kind::Safe(_))) {
            return Ok(Value::Null);
        }
        let values = values(self)?;
        methods::call(&of, name, &values).map_err(at)
    }

    /// `empty(x)` and `size(x)`. What is unknown is empty: that is what people ask with it.
    fn function(&mut self, expr: &Expr, name: &str, arguments: &[Expr]) -> Result<Value, Error> {
        let at = |problem| Error::new(expr.span.clone(), problem);
        match (name, arguments) {
            ("empty", [of]) => match self.expr(of) {
                Ok(Value::Secret(_) | Value::Mixed(_)) => {
                    Err(at(Problem::Secret("`empty`".to_owned())))
                }
                Ok(value) => Ok(Value::Bool(methods::is_empty(&value))),
                Err(error) if error.problem.is_unknown() => Ok(Value::Bool(true)),
                Err(error) => Err(error),
            },
            ("size", [of]) => {
                let value = self.expr(of)?;
                methods::call(&value, "size", &[]).map_err(at)
            }
            ("empty" | "size", _) => Err(at(Problem::Arguments {
                name: name.to_owned(),
                wants: "wants one argument",
            })),
            _ => {
                let values: Result<Vec<_>, _> = arguments
                    .iter()
                    .map(|argument| self.expr(argument))
                    .collect();
                match self.scope.call("", name, &values?) {
                    Some(result) => result.map_err(|text| at(Problem::Function(text))),
                    None => Err(at(Problem::NoFunction {
                        name: name.to_owned(),
                        near: nearest(name, functors::FUNCTIONS),
                    })),
                }
            }
        }
    }
}

impl Expr {
    /// Its value by itself, as of a `condition` that was parsed with [`super::parse_condition`].
    pub fn value(&self, scope: &dyn Scope) -> Result<Value, Error> {
        debug_assert!(self.span.len() <= MAX_EXPRESSION);
        Evaluation::new(scope, Budget::default()).expr(self)
    }

    /// Whether a `condition` holds. What is unknown in it is null (`reference/behaviour.md` §13), so a path that
    /// nothing answers makes no error but compares as null does.
    pub fn holds(&self, scope: &dyn Scope) -> Result<bool, Error> {
        let budget = Budget {
            lenient: true,
            ..Budget::default()
        };
        Evaluation::new(scope, budget).condition(self)
    }
}

fn refuse_secret(value: &Value, what: &str) -> Result<(), Problem> {
    if value.has_secret() {
        Err(Problem::Secret(what.to_owned()))
    } else {
        Ok(())
    }
}

/// Pieces as a value: text where no secret is among them.
pub(super) fn joined(pieces: Vec<Piece>) -> Value {
    let mut pieces = merge(pieces);
    match pieces.len() {
        0 => Value::from(""),
        1 => match pieces.remove(0) {
            Piece::Text(text) => Value::Text(text),
            Piece::Secret(secret) => Value::Secret(secret),
        },
        _ => Value::Mixed(pieces.into()),
    }
}
