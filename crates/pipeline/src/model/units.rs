//! Durations, quantities and users.

use syntax::yaml::{Kind, Node};
use syntax::{Diagnostic, code};

use super::form::{Form, Forms};
use super::lower::{Cx, Lower};

/// A time span such as `10m`, `1h 30m`, `2d`, in milliseconds. The empty text is zero: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration {
    /// Milliseconds.
    pub ms: u64,
}

/// Thousandths of a core: `0.5`, `500m`, `2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpu {
    /// Thousandths of a core.
    pub millis: u64,
}

/// Bytes: `500Mi`, `1G`, `1048576`, as Kubernetes writes quantities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Memory {
    /// Bytes.
    pub bytes: u64,
}

/// A user to run as: a number, or a name of the image's `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// By number.
    Id(u32),
    /// By name.
    Name(String),
}

impl Duration {
    /// Reads `1h 30m`: numbers with a unit of `s`, `m`, `h`, `d`, `w`, white space between them allowed.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut seconds = 0_u64;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().ok()?;
            let unit = match rest.as_bytes().get(digits)? {
                b's' => 1,
                b'm' => 60,
                b'h' => 3600,
                b'd' => 86_400,
                b'w' => 604_800,
                _ => return None,
            };
            seconds = seconds.checked_add(number.checked_mul(unit)?)?;
            rest = rest[digits + 1..].trim_start();
        }
        Some(Self {
            ms: seconds.checked_mul(1000)?,
        })
    }
}

impl Lower for Duration {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let text = cx.scalar(node, name, "a duration such as `10m`")?;
        let found = Self::parse(text);
        if found.is_none() {
            let help = if matches!(
                node.as_scalar().map(|scalar| scalar.kind),
                Some(Kind::Int(_))
            ) {
                format!("add a unit: `{text}s`, `{text}m`")
            } else {
                "write numbers with `s`, `m`, `h`, `d` or `w`, such as `90s`, `10m`, `1h 30m`"
                    .to_owned()
            };
            let message = format!("`{text}` is not a duration");
            cx.push(
                Diagnostic::error(code::BAD_DURATION, message)
                    .at(node.span, "")
                    .help(help),
            );
        }
        found
    }

    fn form(_: &mut Forms) -> Form {
        Form::Like("^\\s*(?:[0-9]+[smhdw]\\s*)+$")
    }
}

impl Cpu {
    /// Reads an amount of cores, rounded up to a thousandth.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(millis) = text.strip_suffix('m') {
            return whole(millis).map(|millis| Self { millis });
        }
        decimal(text, 1000).map(|millis| Self { millis })
    }
}

impl Memory {
    /// Reads an amount of bytes.
    pub fn parse(text: &str) -> Option<Self> {
        const UNITS: [(&str, u64); 13] = [
            ("Ki", 1 << 10),
            ("Mi", 1 << 20),
            ("Gi", 1 << 30),
            ("Ti", 1 << 40),
            ("Pi", 1 << 50),
            ("k", 1000),
            ("K", 1000),
            ("M", 1_000_000),
            ("G", 1_000_000_000),
            ("T", 1_000_000_000_000),
            ("P", 1_000_000_000_000_000),
            ("B", 1),
            ("", 1),
        ];
        let text = text.trim();
        let (unit, scale) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
        let number = text.strip_suffix(unit)?.trim_end();
        decimal(number, *scale).map(|bytes| Self { bytes })
    }
}

fn whole(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// A decimal number times a scale, rounded up.
fn decimal(text: &str, scale: u64) -> Option<u64> {
    let (units, fraction) = text.split_once('.').unwrap_or((text, ""));
    if units.is_empty() && fraction.is_empty() || fraction.len() > 18 {
        return None;
    }
    let units = if units.is_empty() { 0 } else { whole(units)? };
    let parts = if fraction.is_empty() {
        0
    } else {
        whole(fraction)?
    };
    let below = 10_u128.pow(fraction.len() as u32);
    let parts = (u128::from(parts) * u128::from(scale)).div_ceil(below);
    units
        .checked_mul(scale)?
        .checked_add(u64::try_from(parts).ok()?)
}

macro_rules! quantity {
    ($($ty:ty: $wanted:literal;)*) => {$(
        impl Lower for $ty {
            fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
                let text = cx.scalar(node, name, $wanted)?;
                let found = Self::parse(text);
                if found.is_none() {
                    let message = format!("`{text}` is not {}", $wanted);
                    cx.push(
                        Diagnostic::error(code::BAD_QUANTITY, message)
                            .at(node.span, "")
                            .help(concat!("write ", $wanted)),
                    );
                }
                found
            }

            fn form(_: &mut Forms) -> Form {
                Form::Like("^\\s*[0-9.]+\\s*[a-zA-Z]*\\s*$")
            }
        }
    )*};
}

quantity! {
    Cpu: "an amount of cores such as `0.5` or `500m`";
    Memory: "an amount of memory such as `512Mi` or `1G`";
}

impl Lower for User {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let text = cx.scalar(node, name, "a user's number or name")?.trim();
        if let Ok(id) = text.parse() {
            return Some(Self::Id(id));
        }
        let number = text.starts_with(|first: char| first.is_ascii_digit() || first == '-');
        if number || text.contains(char::is_whitespace) {
            cx.wrong_type(
                node,
                name,
                "a user's number from 0 to 4294967295, or a name",
            );
            return None;
        }
        Some(Self::Name(text.to_owned()))
    }

    fn form(_: &mut Forms) -> Form {
        Form::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let table = [
            ("10s", Some(10)),
            ("10m", Some(600)),
            ("1h 30m", Some(5400)),
            ("1h30m", Some(5400)),
            ("2w", Some(1_209_600)),
            ("", Some(0)),
            ("10", None),
            ("m", None),
            ("10 m", None),
            ("-1m", None),
            ("1y", None),
            ("99999999999999999999s", None),
        ];
        for (text, seconds) in table {
            assert_eq!(
                Duration::parse(text).map(|found| found.ms),
                seconds.map(|s| s * 1000),
                "{text:?}"
            );
        }
    }

    #[test]
    fn quantities() {
        for (text, millis) in [
            ("0.5", Some(500)),
            ("500m", Some(500)),
            ("2", Some(2000)),
            (".1", Some(100)),
            ("1.0001", Some(1001)),
            ("", None),
            ("x", None),
            ("-1", None),
        ] {
            assert_eq!(Cpu::parse(text).map(|cpu| cpu.millis), millis, "{text:?}");
        }
        for (text, bytes) in [
            ("500Mi", Some(500 << 20)),
            ("1G", Some(1_000_000_000)),
            ("1.5Gi", Some(3 << 29)),
            ("1024", Some(1024)),
            ("64MB", None),
            ("Gi", None),
            ("1 Gi", Some(1 << 30)),
            ("99999999999P", None),
        ] {
            assert_eq!(
                Memory::parse(text).map(|memory| memory.bytes),
                bytes,
                "{text:?}"
            );
        }
    }
}
