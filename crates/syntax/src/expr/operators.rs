//! Operators on values.
//!
//! Numbers written as text count as numbers where the other side is one, and for `- * / %`: variables and outputs are text.

use std::cmp::Ordering;

use super::ast::Binary;
use super::error::Problem;
use super::eval::joined;
use super::functors::pattern;
use super::template::append;
use super::value::Value;
use super::{MAX_RANGE, MAX_VALUE};

/// `-a`
pub(super) fn negate(value: &Value) -> Result<Value, Problem> {
    match number("-", value)? {
        Value::Int(number) => Ok(number
            .checked_neg()
            .map_or(Value::Float(-(number as f64)), Value::Int)),
        Value::Float(number) => Ok(Value::Float(-number)),
        other => Ok(other),
    }
}

/// `+a`
pub(super) fn plus(value: &Value) -> Result<Value, Problem> {
    number("+", value)
}

/// Every operator but `&&` and `||`, which do not evaluate both sides.
pub(super) fn binary(operator: Binary, a: &Value, b: &Value) -> Result<Value, Problem> {
    if operator != Binary::Add && (a.has_secret() || b.has_secret()) {
        return Err(Problem::Secret(format!("`{}`", operator.as_str())));
    }
    Ok(match operator {
        Binary::Equal => Value::Bool(equal(a, b)),
        Binary::NotEqual => Value::Bool(!equal(a, b)),
        Binary::Match => Value::Bool(matches(a, b)?),
        Binary::NotMatch => Value::Bool(!matches(a, b)?),
        Binary::Less => Value::Bool(compare("<", a, b)?.is_some_and(Ordering::is_lt)),
        Binary::Greater => Value::Bool(compare(">", a, b)?.is_some_and(Ordering::is_gt)),
        Binary::LessEqual => Value::Bool(compare("<=", a, b)?.is_some_and(Ordering::is_le)),
        Binary::GreaterEqual => Value::Bool(compare(">=", a, b)?.is_some_and(Ordering::is_ge)),
        Binary::Begins | Binary::Ends => Value::Bool(edge(operator, a, b)?),
        Binary::NotBegins | Binary::NotEnds => Value::Bool(!edge(operator, a, b)?),
        Binary::Same => Value::Bool(a.kind() == b.kind() && equal(a, b)),
        Binary::NotSame => Value::Bool(a.kind() != b.kind() || !equal(a, b)),
        Binary::BitAnd => bits(operator, a, b, |a, b| a & b)?,
        Binary::BitOr => bits(operator, a, b, |a, b| a | b)?,
        Binary::BitXor => bits(operator, a, b, |a, b| a ^ b)?,
        Binary::Range => range(a, b)?,
        Binary::Add => add(a, b)?,
        Binary::Subtract => arithmetic("-", a, b, i64::checked_sub, |a, b| a - b)?,
        Binary::Multiply => arithmetic("*", a, b, i64::checked_mul, |a, b| a * b)?,
        Binary::Divide => divided(operator, a, b, i64::checked_div, |a, b| a / b)?,
        Binary::Remainder => divided(operator, a, b, i64::checked_rem, |a, b| a % b)?,
        // Evaluated by the caller, one side at a time.
        Binary::And => Value::Bool(a.holds() && b.holds()),
        Binary::Or => Value::Bool(a.holds() || b.holds()),
    })
}

/// `~a`
pub(super) fn complement(value: &Value) -> Result<Value, Problem> {
    whole("~", value).map(|number| Value::Int(!number))
}

fn whole(operator: &'static str, value: &Value) -> Result<i64, Problem> {
    match number(operator, value)? {
        Value::Int(number) => Ok(number),
        _ => Err(Problem::Operand {
            operator,
            value: "a number with a fraction",
        }),
    }
}

fn bits(
    operator: Binary,
    a: &Value,
    b: &Value,
    combine: impl Fn(i64, i64) -> i64,
) -> Result<Value, Problem> {
    let operator = operator.as_str();
    Ok(Value::Int(combine(
        whole(operator, a)?,
        whole(operator, b)?,
    )))
}

/// `a..b`: downwards where `b` is the smaller, as JEXL has it.
fn range(a: &Value, b: &Value) -> Result<Value, Problem> {
    let (a, b) = (whole("..", a)?, whole("..", b)?);
    if a.abs_diff(b) >= MAX_RANGE {
        return Err(Problem::TooLarge(MAX_VALUE));
    }
    Ok(Value::List(if a <= b {
        (a..=b).map(Value::Int).collect()
    } else {
        (b..=a).rev().map(Value::Int).collect()
    }))
}

/// Whether a text begins, or ends, with another; of a list, its first or last item.
fn edge(operator: Binary, a: &Value, b: &Value) -> Result<bool, Problem> {
    let begins = matches!(operator, Binary::Begins | Binary::NotBegins);
    if let Value::List(items) = a {
        let item = if begins { items.first() } else { items.last() };
        return Ok(item.is_some_and(|item| equal(item, b)));
    }
    if matches!((a, b), (Value::Null, _) | (_, Value::Null)) {
        return Ok(false);
    }
    let text = |value: &Value| {
        value
            .to_text()
            .ok_or_else(|| Problem::Secret(format!("`{}`", operator.as_str())))
    };
    let (a, b) = (text(a)?, text(b)?);
    Ok(if begins {
        a.starts_with(&*b)
    } else {
        a.ends_with(&*b)
    })
}

/// `==`: across kinds where one can be read as the other.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Bool(bool), Value::Text(text)) | (Value::Text(text), Value::Bool(bool)) => {
            text.eq_ignore_ascii_case(if *bool { "true" } else { "false" })
        }
        (Value::Int(_) | Value::Float(_), _) | (_, Value::Int(_) | Value::Float(_)) => {
            match (a.number(), b.number()) {
                (Some(a), Some(b)) => order(&a, &b) == Some(Ordering::Equal),
                _ => false,
            }
        }
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| equal(a, b))
        }
        _ => a == b,
    }
}

fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        _ => float(a).partial_cmp(&float(b)),
    }
}

fn float(value: &Value) -> f64 {
    match value {
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        _ => f64::NAN,
    }
}

fn compare(operator: &'static str, a: &Value, b: &Value) -> Result<Option<Ordering>, Problem> {
    match (a, b) {
        (Value::Text(a_text), Value::Text(b_text)) => Ok(match (a.number(), b.number()) {
            (Some(a), Some(b)) => order(&a, &b),
            _ => Some(a_text.cmp(b_text)),
        }),
        (Value::Null, _) | (_, Value::Null) => Ok(None),
        _ => Ok(order(&number(operator, a)?, &number(operator, b)?)),
    }
}

fn number(operator: &'static str, value: &Value) -> Result<Value, Problem> {
    if value.has_secret() {
        return Err(Problem::Secret(format!("`{operator}`")));
    }
    value.number().ok_or(Problem::Operand {
        operator,
        value: value.kind(),
    })
}

fn add(a: &Value, b: &Value) -> Result<Value, Problem> {
    if let (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) = (a, b) {
        return arithmetic("+", a, b, i64::checked_add, |a, b| a + b);
    }
    if let (Value::List(a), Value::List(b)) = (a, b) {
        return Ok(Value::List(a.iter().chain(b.iter()).cloned().collect()));
    }
    let mut pieces = Vec::with_capacity(2);
    append(&mut pieces, a)?;
    append(&mut pieces, b)?;
    Ok(joined(pieces))
}

fn arithmetic(
    operator: &'static str,
    a: &Value,
    b: &Value,
    int: impl Fn(i64, i64) -> Option<i64>,
    float_op: impl Fn(f64, f64) -> f64,
) -> Result<Value, Problem> {
    let (a, b) = (number(operator, a)?, number(operator, b)?);
    if let (Value::Int(a), Value::Int(b)) = (&a, &b)
        && let Some(number) = int(*a, *b)
    {
        return Ok(Value::Int(number));
    }
    let result = float_op(float(&a), float(&b));
    if result.is_finite() {
        Ok(Value::Float(result))
    } else {
        Err(Problem::Number(format!("{result}")))
    }
}

fn divided(
    operator: Binary,
    a: &Value,
    b: &Value,
    int: impl Fn(i64, i64) -> Option<i64>,
    float_op: impl Fn(f64, f64) -> f64,
) -> Result<Value, Problem> {
    if float(&number(operator.as_str(), b)?) == 0.0 {
        return Err(Problem::DivisionByZero);
    }
    arithmetic(operator.as_str(), a, b, int, float_op)
}

/// `=~`: the whole text matches the pattern, or the value is in the list or among the map's keys.
fn matches(a: &Value, b: &Value) -> Result<bool, Problem> {
    match b {
        Value::List(items) => Ok(items.iter().any(|item| equal(a, item))),
        Value::Map(map) => Ok(a.to_text().is_some_and(|key| map.contains_key(&*key))),
        Value::Text(source) => {
            if matches!(a, Value::Null) {
                return Ok(false);
            }
            let text = a.to_text().unwrap_or_default();
            Ok(pattern(&format!("^(?:{source})$"))?.is_match(&text))
        }
        _ => Err(Problem::Operand {
            operator: "=~",
            value: b.kind(),
        }),
    }
}
