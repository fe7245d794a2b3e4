//! Scalars and what they resolve to.

/// A scalar as written, and what it resolves to.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    /// Its text after unquoting, unescaping and folding.
    pub text: Box<str>,
    /// How it is written.
    pub style: Style,
    /// What it resolves to.
    pub kind: Kind,
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// `'…'`.
    Single,
    /// `"…"`.
    Double,
    /// `|`.
    Literal,
    /// `>`.
    Folded,
}

/// What a scalar resolves to in the core schema of YAML 1.2 (`no`, `on` and `0777` are not special there).
/// Anything but a plain scalar is a string.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `null`, `~`, or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction or an exponent, or a whole one beyond 64 bits.
    Float(f64),
    /// Any other text.
    String,
}

impl Kind {
    /// What a plain scalar's text resolves to.
    pub(crate) fn of_plain(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "true" | "True" | "TRUE" => return Self::Bool(true),
            "false" | "False" | "FALSE" => return Self::Bool(false),
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
                return Self::Float(f64::INFINITY);
            }
            "-.inf" | "-.Inf" | "-.INF" => return Self::Float(f64::NEG_INFINITY),
            _ => {}
        }
        // Most scalars of a pipeline are words: the first byte tells.
        if !text
            .starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.'))
        {
            return Self::String;
        }
        if let Some(digits) = text.strip_prefix("0x") {
            return i64::from_str_radix(digits, 16).map_or(Self::String, Self::Int);
        }
        if let Some(digits) = text.strip_prefix("0o") {
            return i64::from_str_radix(digits, 8).map_or(Self::String, Self::Int);
        }
        if let Ok(whole) = text.parse::<i64>() {
            return Self::Int(whole);
        }
        let float = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
        match text.parse::<f64>() {
            Ok(number) if float => Self::Float(number),
            _ => Self::String,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_resolve_as_the_core_schema_says() {
        let table = [
            ("", Kind::Null),
            ("~", Kind::Null),
            ("null", Kind::Null),
            ("nUll", Kind::String),
            ("true", Kind::Bool(true)),
            ("yes", Kind::String),
            ("no", Kind::String),
            ("0", Kind::Int(0)),
            ("0777", Kind::Int(777)),
            ("0o17", Kind::Int(15)),
            ("0x1F", Kind::Int(31)),
            ("-12", Kind::Int(-12)),
            ("1.20", Kind::Float(1.2)),
            ("1e3", Kind::Float(1000.0)),
            (".5", Kind::Float(0.5)),
            ("1.2.3", Kind::String),
            ("10m", Kind::String),
            ("-", Kind::String),
            ("infinity", Kind::String),
            ("99999999999999999999", Kind::Float(1e20)),
        ];
        for (text, kind) in table {
            assert_eq!(Kind::of_plain(text), kind, "{text:?}");
        }
    }
}
