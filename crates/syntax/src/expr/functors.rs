//! The functions that have a name before their dot: `secrets`, `json`, `regex`, `datetime`, and those of the scope.

use regex_lite::{Regex, RegexBuilder};

use super::MAX_VALUE;
use super::ast::{Expr, Kind};
use super::error::{Problem, nearest};
use super::json;
use super::methods;
use super::scope::Scope;
use super::value::Value;
use super::xml;

/// The functors, each with its methods.
const KNOWN: [(&str, &[&str]); 8] = [
    ("secrets", &["getValue"]),
    ("json", &["object", "select", "list", "format"]),
    ("xml", &["select"]),
    ("regex", &["extract", "match", "replace"]),
    (
        "datetime",
        &[
            "currentDate",
            "currentTime",
            "getDatePlusDays",
            "getDateMinusDays",
        ],
    ),
    ("configFile", &["getAsString", "getAsBase64"]),
    ("fileStore", &["getAsString", "getAsBase64"]),
    ("exportedVariables", &["getValue"]),
];
/// The functions without a receiver.
pub(super) const FUNCTIONS: [&str; 2] = ["empty", "size"];

/// Whether a name is that of a functor.
pub fn is_functor(name: &str) -> bool {
    KNOWN.iter().any(|(own, _)| *own == name)
}

/// The functor that is nearest to a name, if any is near.
pub fn near_functor(name: &str) -> Option<String> {
    nearest(name, KNOWN.iter().map(|(own, _)| *own))
}

fn no_method(functor: &str, method: &str) -> Problem {
    let methods = KNOWN.iter().find(|(own, _)| *own == functor);
    let methods = methods.map_or(&[][..], |(_, own)| own);
    Problem::NoFunction {
        name: format!("{functor}.{method}"),
        near: nearest(method, methods.iter().copied()).map(|near| format!("{functor}.{near}")),
    }
}

impl Expr {
    /// Why a call, whatever it is called on and with, finds no function; none: one has this name, or it is no call. What is called on
    /// a name that is no functor is a method of that name's value.
    pub fn no_function(&self) -> Option<Problem> {
        let Kind::Call(receiver, name, _) = &self.kind else {
            return None;
        };
        let of = |names: &[&str]| {
            (!names.contains(&&**name)).then(|| Problem::NoFunction {
                name: name.to_string(),
                near: nearest(name, names.iter().copied()),
            })
        };
        match receiver.as_deref().map(|own| &own.kind) {
            None => of(&FUNCTIONS),
            Some(Kind::Name(functor)) if is_functor(functor) => KNOWN
                .iter()
                .all(|(own, methods)| *own != &**functor || !methods.contains(&&**name))
                .then(|| no_method(functor, name)),
            Some(_) => of(&methods::all()),
        }
    }
}

/// `functor.method(arguments)`
pub(super) fn call(
    scope: &dyn Scope,
    functor: &str,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Problem> {
    let full = || format!("{functor}.{method}");
    if arguments.iter().any(Value::has_secret) {
        return Err(Problem::Secret(format!("`{}()`", full())));
    }
    let wants = |wants| {
        Err(Problem::Arguments {
            name: full(),
            wants,
        })
    };
    let unknown = || Err(no_method(functor, method));
    match (functor, method, arguments) {
        ("secrets", "getValue", [Value::Text(id)]) => scope
            .secret(id)
            .map(Value::Secret)
            .map_err(Problem::Function),
        ("secrets", "getValue", _) => wants("wants the secret's identifier as text"),
        ("json", "object", [text]) => json::parse(text),
        ("json", "select", [Value::Text(path), of]) => {
            let found = json::select(path, of)?;
            Ok(found.to_text().map_or(Value::Null, Value::Text))
        }
        ("json", "list", [Value::Text(path), of]) => Ok(match json::select(path, of)? {
            list @ Value::List(_) => list,
            one => Value::from(vec![one]),
        }),
        ("json", "format", [value]) => {
            let mut text = String::new();
            value.write_json(&mut text);
            Ok(Value::from(text))
        }
        ("json", "object" | "format", _) => wants("wants one argument"),
        ("json", "select" | "list", _) => wants("wants a path and a JSON text"),
        ("xml", "select", [Value::Text(path), of]) => xml::select(path, of),
        ("xml", "select", _) => wants("wants a path and an XML text"),
        ("regex", "extract", [Value::Text(source), of]) => {
            let text = of.to_text().unwrap_or_default();
            let found = pattern(source)?
                .find(&text)
                .map(|found| found.as_str().to_owned());
            Ok(Value::from(found.unwrap_or_default()))
        }
        ("regex", "match", [Value::Text(source), of]) => Ok(Value::Bool(
            pattern(source)?.is_match(&of.to_text().unwrap_or_default()),
        )),
        ("regex", "replace", [Value::Text(source), Value::Text(to), of]) => {
            replace_all(&of.to_text().unwrap_or_default(), source, to, usize::MAX)
        }
        ("regex", "extract" | "match", _) => wants("wants a pattern and a text"),
        ("regex", "replace", _) => wants("wants a pattern, a replacement and a text"),
        ("datetime", ..) => datetime(scope, method, arguments).unwrap_or_else(|| match method {
            "currentDate" | "currentTime" => wants("takes no argument"),
            "getDatePlusDays" | "getDateMinusDays" => wants("wants a number of days"),
            _ => unknown(),
        }),
        ("configFile" | "fileStore", "getAsString" | "getAsBase64", [Value::Text(_)])
        | ("exportedVariables", "getValue", [Value::Text(_)]) => {
            match scope.call(functor, method, arguments) {
                Some(result) => result.map_err(Problem::Function),
                None => Err(Problem::NotHere(format!("{}()", full()))),
            }
        }
        ("configFile" | "fileStore", "getAsString" | "getAsBase64", _) => wants("wants one text"),
        ("exportedVariables", "getValue", _) => wants("wants `scope.key.variable` as text"),
        _ => unknown(),
    }
}

/// Dates are `YYYY-MM-DD` and times `HH:MM:SS`, both in UTC. None: there is no such method.
fn datetime(
    scope: &dyn Scope,
    method: &str,
    arguments: &[Value],
) -> Option<Result<Value, Problem>> {
    const DAY: i64 = 86_400;
    let days = match (method, arguments) {
        ("currentDate" | "currentTime", []) => 0,
        ("getDatePlusDays" | "getDateMinusDays", [days]) => {
            let Some(Value::Int(days)) = days.number().filter(|days| {
                // A thousand years either way.
                matches!(days, Value::Int(days) if days.unsigned_abs() < 366_000)
            }) else {
                return Some(Err(Problem::Arguments {
                    name: format!("datetime.{method}"),
                    wants: "wants a number of days",
                }));
            };
            if method == "getDateMinusDays" {
                -days
            } else {
                days
            }
        }
        _ => return None,
    };
    let Some(now) = scope.now_ms() else {
        return Some(Err(Problem::Function(
            "there is no clock where this is evaluated".to_owned(),
        )));
    };
    let seconds = now.div_euclid(1000);
    if method == "currentTime" {
        let of_day = seconds.rem_euclid(DAY);
        return Some(Ok(Value::from(format!(
            "{:02}:{:02}:{:02}",
            of_day / 3600,
            of_day / 60 % 60,
            of_day % 60
        ))));
    }
    let (year, month, day) = civil(seconds.div_euclid(DAY).saturating_add(days));
    Some(Ok(Value::from(format!("{year:04}-{month:02}-{day:02}"))))
}

/// The Gregorian date of a day since 1970-01-01: years that begin in March, so that the leap day is the last.
fn civil(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(ERA);
    let of_era = days.rem_euclid(ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// A regular expression of bounded size; matching it is linear in the text.
pub(super) fn pattern(source: &str) -> Result<Regex, Problem> {
    RegexBuilder::new(source)
        .size_limit(1 << 20)
        .nest_limit(50)
        .build()
        .map_err(|error| Problem::Regex(error.to_string()))
}

/// Replaces the first `most` matches; `$1` and `\$` in the replacement are understood.
pub(super) fn replace_all(
    text: &str,
    source: &str,
    to: &str,
    most: usize,
) -> Result<Value, Problem> {
    let pattern = pattern(source)?;
    let mut out = String::with_capacity(text.len());
    let mut last = 0;
    for found in pattern.captures_iter(text).take(most) {
        let Some(whole) = found.get(0) else { continue };
        out.push_str(&text[last..whole.start()]);
        let mut chars = to.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '\\' => out.extend(chars.next()),
                '$' if chars.peek().is_some_and(char::is_ascii_digit) => {
                    let group = chars
                        .next()
                        .and_then(|digit| digit.to_digit(10))
                        .unwrap_or(0);
                    if let Some(group) = found.get(group as usize) {
                        out.push_str(group.as_str());
                    }
                }
                char => out.push(char),
            }
        }
        last = whole.end();
        if out.len() > MAX_VALUE {
            return Err(Problem::TooLarge(MAX_VALUE));
        }
    }
    out.push_str(&text[last..]);
    Ok(Value::from(out))
}
