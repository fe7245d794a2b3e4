//! The tree of an expression.

use std::ops::Range;

use super::functors::is_functor;
use super::template::Part;
use super::value::Value;

/// A node with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// Bytes of the text that was parsed.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind,
    /// Of its tree, so that evaluation and drop stay within the stack.
    pub(super) height: u16,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A literal, or a string without expressions.
    Literal(Value),
    /// A string with nested expressions.
    Text(Vec<Part>),
    /// The root of a path.
    Name(Box<str>),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `{a: b}`
    Map(Vec<(Expr, Expr)>),
    /// `a.b`
    Member(Box<Expr>, Box<str>),
    /// `a[b]`
    Index(Box<Expr>, Box<Expr>),
    /// `f(x)`, or `receiver.f(x)`
    Call(Option<Box<Expr>>, Box<str>, Vec<Expr>),
    /// `!a`
    Unary(Unary, Box<Expr>),
    /// `a + b`
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// `a ? b : c`
    Ternary(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `a ?: b`: `a` where it holds, else `b`.
    Elvis(Box<Expr>, Box<Expr>),
    /// `a ?? b`: `a` where it is known and not null, else `b`.
    Coalesce(Box<Expr>, Box<Expr>),
    /// `a?.b`: null where `a` is unknown or null.
    Safe(Box<Expr>),
}

/// An operator before its operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unary {
    /// `!`, `not`
    Not,
    /// `-`
    Minus,
    /// `+`
    Plus,
    /// `~`
    Complement,
}

/// An operator between two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// `||`, `or`
    Or,
    /// `&&`, `and`
    And,
    /// `==`, `eq`
    Equal,
    /// `!=`, `ne`
    NotEqual,
    /// `=~`: the whole text matches, or the value is in a list or a map's keys.
    Match,
    /// `!~`
    NotMatch,
    /// `=^`: a text begins so.
    Begins,
    /// `!^`
    NotBegins,
    /// `=$`: a text ends so.
    Ends,
    /// `!$`
    NotEnds,
    /// `===`: equal, and of one kind.
    Same,
    /// `!==`
    NotSame,
    /// `<`, `lt`
    Less,
    /// `>`, `gt`
    Greater,
    /// `<=`, `le`
    LessEqual,
    /// `>=`, `ge`
    GreaterEqual,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`, `div`
    Divide,
    /// `%`, `mod`
    Remainder,
    /// `&`
    BitAnd,
    /// `|`
    BitOr,
    /// `^`
    BitXor,
    /// `a..b`: the whole numbers from one to the other, both included.
    Range,
}

impl Binary {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Match => "=~",
            Self::NotMatch => "!~",
            Self::Begins => "=^",
            Self::NotBegins => "!^",
            Self::Ends => "=$",
            Self::NotEnds => "!$",
            Self::Same => "===",
            Self::NotSame => "!==",
            Self::Less => "<",
            Self::Greater => ">",
            Self::LessEqual => "<=",
            Self::GreaterEqual => ">=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::BitAnd => "&",
            Self::BitOr => "|",
            Self::BitXor => "^",
            Self::Range => "..",
        }
    }

    /// Its binding power: a higher one binds tighter.
    pub(super) const fn power(self) -> u8 {
        match self {
            Self::Or => 2,
            Self::And => 3,
            Self::BitOr => 4,
            Self::BitXor => 5,
            Self::BitAnd => 6,
            Self::Equal
            | Self::NotEqual
            | Self::Match
            | Self::NotMatch
            | Self::Begins
            | Self::NotBegins
            | Self::Ends
            | Self::NotEnds
            | Self::Same
            | Self::NotSame => 7,
            Self::Less | Self::Greater | Self::LessEqual | Self::GreaterEqual => 8,
            Self::Range => 9,
            Self::Add | Self::Subtract => 10,
            Self::Multiply | Self::Divide | Self::Remainder => 11,
        }
    }
}

impl Expr {
    /// Calls `see` for this node and every node below it, parents first.
    pub fn walk(&self, see: &mut dyn FnMut(&Self)) {
        see(self);
        match &self.kind {
            Kind::Literal(_) | Kind::Name(_) => {}
            Kind::Text(parts) => {
                for part in parts {
                    if let Part::Expr(inner) = part {
                        inner.walk(see);
                    }
                }
            }
            Kind::List(items) => {
                for item in items {
                    item.walk(see);
                }
            }
            Kind::Map(entries) => {
                for (key, value) in entries {
                    key.walk(see);
                    value.walk(see);
                }
            }
            Kind::Member(of, _) | Kind::Unary(_, of) | Kind::Safe(of) => of.walk(see),
            Kind::Index(a, b)
            | Kind::Binary(_, a, b)
            | Kind::Elvis(a, b)
            | Kind::Coalesce(a, b) => {
                a.walk(see);
                b.walk(see);
            }
            Kind::Call(receiver, _, arguments) => {
                if let Some(receiver) = receiver {
                    receiver.walk(see);
                }
                for argument in arguments {
                    argument.walk(see);
                }
            }
            Kind::Ternary(a, b, c) => {
                a.walk(see);
                b.walk(see);
                c.walk(see);
            }
        }
    }

    /// Every path that is written out in it: `["steps", "build", "output"]`.
    pub fn paths(&self) -> Vec<Vec<String>> {
        let mut found: Vec<Vec<String>> = Vec::new();
        self.walk(&mut |expr| {
            if let (Kind::Name(_) | Kind::Member(..) | Kind::Index(..), Some(path)) =
                (&expr.kind, expr.path())
            {
                let path: Vec<String> = path.into_iter().map(str::to_owned).collect();
                // Parents come first: what is below one is its beginning.
                if !found.last().is_some_and(|last| last.starts_with(&path)) {
                    found.push(path);
                }
            }
        });
        found
    }

    /// The names of a path that is written out (`a.b["c"]`); none for anything else.
    pub fn path(&self) -> Option<Vec<&str>> {
        let mut path = Vec::with_capacity(8);
        self.path_into(&mut path).then_some(path)
    }

    pub(super) fn path_into<'a>(&'a self, path: &mut Vec<&'a str>) -> bool {
        match &self.kind {
            Kind::Name(name) => path.push(name),
            Kind::Member(of, name) => {
                if !of.path_into(path) {
                    return false;
                }
                path.push(name);
            }
            Kind::Index(of, index) => {
                let Kind::Literal(Value::Text(key)) = &index.kind else {
                    return false;
                };
                if !of.path_into(path) {
                    return false;
                }
                path.push(key);
            }
            // `steps.get("a-b").output`: the key is a part of the path.
            Kind::Call(Some(of), name, arguments) if &**name == "get" => {
                let [
                    Expr {
                        kind: Kind::Literal(Value::Text(key)),
                        ..
                    },
                ] = arguments.as_slice()
                else {
                    return false;
                };
                if matches!(&of.kind, Kind::Name(root) if is_functor(root)) || !of.path_into(path) {
                    return false;
                }
                path.push(key);
            }
            _ => return false,
        }
        true
    }
}
