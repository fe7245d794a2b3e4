//! A text in which expressions stand.

use std::sync::Arc;

use super::ast::{Expr, Kind};
use super::error::{Error, Problem};
use super::eval::{Budget, Evaluation};
use super::lex::{self, OPEN};
use super::parse;
use super::scope::Scope;
use super::value::{Piece, Value};
use super::{MAX_TEXT, MAX_VALUE};

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// As it is.
    Text(Arc<str>),
    /// `<+…>`; its span is that of what is inside.
    Expr(Expr),
}

/// A text in which expressions stand, parsed once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    /// Parses a text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_TEXT {
            return Err(Error::new(0..0, Problem::TooLong(MAX_TEXT)));
        }
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(offset) = text[at..].find(OPEN) {
            let open = at + offset;
            if open > at {
                parts.push(Part::Text(text[at..open].into()));
            }
            let close = lex::close(text, open, 0)?;
            parts.push(Part::Expr(parse::expression(text, open + 2, close, 0)?));
            at = close + 1;
        }
        if at < text.len() {
            parts.push(Part::Text(text[at..].into()));
        }
        Ok(Self { parts })
    }

    /// The text that is this value whatever the scope.
    pub fn constant(value: Value) -> Self {
        Self {
            parts: vec![Part::Expr(Expr::literal(value))],
        }
    }

    /// A map whose values are those of templates.
    pub fn map(entries: impl IntoIterator<Item = (Arc<str>, Self)>) -> Result<Self, Error> {
        let entries = entries.into_iter().map(|(key, template)| {
            let value = match &template.parts[..] {
                [Part::Expr(whole)] => whole.clone(),
                _ => Expr::made(Kind::Text(template.parts))?,
            };
            Ok((Expr::literal(Value::Text(key)), value))
        });
        let entries: Result<Vec<_>, Error> = entries.collect();
        Ok(Self {
            parts: vec![Part::Expr(Expr::made(Kind::Map(entries?))?)],
        })
    }

    /// Its pieces, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The text itself, where no expression stands in it.
    pub fn literal(&self) -> Option<&str> {
        match &self.parts[..] {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The expression, where it is all of the text.
    pub fn whole(&self) -> Option<&Expr> {
        match &self.parts[..] {
            [Part::Expr(expr)] => Some(expr),
            _ => None,
        }
    }

    /// Calls `see` for every node of every expression.
    pub fn walk(&self, see: &mut dyn FnMut(&Expr)) {
        for part in &self.parts {
            if let Part::Expr(expr) = part {
                expr.walk(see);
            }
        }
    }

    /// Every path that is written out in it: `["steps", "build", "output"]`. Functions are not among them.
    pub fn paths(&self) -> Vec<Vec<String>> {
        let own = self.parts.iter().filter_map(|part| match part {
            Part::Expr(expr) => Some(expr.paths()),
            Part::Text(_) => None,
        });
        own.flatten().collect()
    }

    /// Its value: that of its expression where it is all of the text, with its type; else text.
    pub fn value(&self, scope: &dyn Scope) -> Result<Value, Error> {
        Evaluation::new(scope, Budget::default()).template(self)
    }

    /// Like [`Self::value`], within other bounds.
    pub fn value_within(&self, scope: &dyn Scope, budget: Budget) -> Result<Value, Error> {
        Evaluation::new(scope, budget).template(self)
    }

    /// Its text; an error where a secret stands in it.
    pub fn text(&self, scope: &dyn Scope) -> Result<Arc<str>, Error> {
        let value = self.value(scope)?;
        value.to_text().ok_or_else(|| {
            let span = self.parts.iter().find_map(|part| match part {
                Part::Expr(expr) => Some(expr.span.clone()),
                Part::Text(_) => None,
            });
            Error::new(
                span.unwrap_or(0..0),
                Problem::Secret("this text".to_owned()),
            )
        })
    }

    /// Its text in pieces, secrets as references. Unlike a value it is not bounded by [`MAX_VALUE`] as a whole, only
    /// by that much for each expression: a script may be longer.
    pub fn pieces(&self, scope: &dyn Scope) -> Result<Vec<Piece>, Error> {
        let mut evaluation = Evaluation::new(scope, Budget::default());
        let mut pieces = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => pieces.push(Piece::Text(text.clone())),
                Part::Expr(expr) => {
                    let value = evaluation.expr(expr)?;
                    append(&mut pieces, &value)
                        .map_err(|problem| Error::new(expr.span.clone(), problem))?;
                }
            }
        }
        Ok(merge(pieces))
    }
}

/// Parses a `condition`: the whole text is one expression, in which others may stand in `<+…>`.
pub fn parse_condition(text: &str) -> Result<Expr, Error> {
    parse::expression(text, 0, text.len(), 0)
}

/// Appends a value to pieces of text.
pub(super) fn append(pieces: &mut Vec<Piece>, value: &Value) -> Result<(), Problem> {
    match value {
        Value::Secret(secret) => pieces.push(Piece::Secret(secret.clone())),
        Value::Mixed(inner) => pieces.extend(inner.iter().cloned()),
        other => {
            let text = other
                .to_text()
                .ok_or_else(|| Problem::Secret("a list or map as text".to_owned()))?;
            if text.len() > MAX_VALUE {
                return Err(Problem::TooLarge(MAX_VALUE));
            }
            pieces.push(Piece::Text(text));
        }
    }
    Ok(())
}

/// Joins texts that follow one another, drops empty ones.
pub(super) fn merge(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::with_capacity(pieces.len());
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(more) => text.push_str(&more),
            Piece::Secret(_) => {
                if !text.is_empty() {
                    out.push(Piece::Text(std::mem::take(&mut text).into()));
                }
                out.push(piece);
            }
        }
    }
    if !text.is_empty() {
        out.push(Piece::Text(text.into()));
    }
    out
}
