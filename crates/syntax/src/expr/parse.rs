//! Tokens to a tree, by binding power.

use std::ops::Range;

use super::ast::{Binary, Expr, Kind, Unary};
use super::error::{Error, Problem};
use super::lex::{self, Token, TokenKind};
use super::template::Part;
use super::value::Value;
use super::{MAX_DEPTH, MAX_EXPRESSION};

/// Parses `text[start..end]` as one expression.
pub(super) fn expression(
    text: &str,
    start: usize,
    end: usize,
    depth: usize,
) -> Result<Expr, Error> {
    if end - start > MAX_EXPRESSION {
        return Err(Error::new(start..end, Problem::TooLong(MAX_EXPRESSION)));
    }
    if text[start..end].trim().is_empty() {
        return Err(Error::new(start..end, Problem::Empty));
    }
    let mut parser = Parser {
        text,
        end,
        depth,
        next: lex::token(text, start, end, depth)?,
    };
    let expr = parser.ternary()?;
    if parser.next.kind == TokenKind::End {
        Ok(expr)
    } else {
        Err(parser.expected("an operator or the end"))
    }
}

struct Parser<'a> {
    text: &'a str,
    end: usize,
    depth: usize,
    next: Token<'a>,
}

impl<'a> Parser<'a> {
    fn bump(&mut self) -> Result<Token<'a>, Error> {
        let next = lex::token(self.text, self.next.span.end, self.end, self.depth)?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn expected(&self, expected: &'static str) -> Error {
        let found = if self.next.kind == TokenKind::End {
            "the end".to_owned()
        } else {
            let shown: String = self.text[self.next.span.clone()].chars().take(40).collect();
            format!("`{shown}`")
        };
        Error::new(
            self.next.span.clone(),
            Problem::Expected { expected, found },
        )
    }

    fn at(&self, sign: &str) -> bool {
        matches!(self.next.kind, TokenKind::Sign(found) if found == sign)
    }

    fn eat(&mut self, sign: &str) -> Result<bool, Error> {
        let found = self.at(sign);
        if found {
            self.bump()?;
        }
        Ok(found)
    }

    fn expect(&mut self, sign: &str, expected: &'static str) -> Result<usize, Error> {
        if self.at(sign) {
            Ok(self.bump()?.span.end)
        } else {
            Err(self.expected(expected))
        }
    }

    fn deeper<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::new(self.next.span.clone(), Problem::TooDeep));
        }
        let made = f(self);
        self.depth -= 1;
        made
    }

    fn ternary(&mut self) -> Result<Expr, Error> {
        self.deeper(|parser| {
            let condition = parser.binary(0)?;
            let start = condition.span.start;
            if parser.eat("??")? {
                let other = parser.ternary()?;
                let end = other.span.end;
                return node(
                    start..end,
                    Kind::Coalesce(Box::new(condition), Box::new(other)),
                );
            }
            if parser.eat("?:")? {
                let other = parser.ternary()?;
                let end = other.span.end;
                return node(
                    start..end,
                    Kind::Elvis(Box::new(condition), Box::new(other)),
                );
            }
            if !parser.eat("?")? {
                return Ok(condition);
            }
            let yes = parser.ternary()?;
            parser.expect(":", "`:`")?;
            let no = parser.ternary()?;
            let end = no.span.end;
            node(
                start..end,
                Kind::Ternary(Box::new(condition), Box::new(yes), Box::new(no)),
            )
        })
    }

    fn binary(&mut self, least: u8) -> Result<Expr, Error> {
        let mut left = self.unary()?;
        while let Some(operator) = self.operator() {
            let power = operator.power();
            if power < least {
                break;
            }
            self.bump()?;
            let right = self.deeper(|parser| parser.binary(power + 1))?;
            left = node(
                left.span.start..right.span.end,
                Kind::Binary(operator, Box::new(left), Box::new(right)),
            )?;
        }
        Ok(left)
    }

    fn operator(&self) -> Option<Binary> {
        Some(match self.next.kind {
            TokenKind::Sign("||") | TokenKind::Name("or") => Binary::Or,
            TokenKind::Sign("&&") | TokenKind::Name("and") => Binary::And,
            TokenKind::Sign("==") | TokenKind::Name("eq") => Binary::Equal,
            TokenKind::Sign("!=") | TokenKind::Name("ne") => Binary::NotEqual,
            TokenKind::Sign("=~") => Binary::Match,
            TokenKind::Sign("!~") => Binary::NotMatch,
            TokenKind::Sign("=^") => Binary::Begins,
            TokenKind::Sign("!^") => Binary::NotBegins,
            TokenKind::Sign("=$") => Binary::Ends,
            TokenKind::Sign("!$") => Binary::NotEnds,
            TokenKind::Sign("===") => Binary::Same,
            TokenKind::Sign("!==") => Binary::NotSame,
            TokenKind::Sign("&") => Binary::BitAnd,
            TokenKind::Sign("|") => Binary::BitOr,
            TokenKind::Sign("^") => Binary::BitXor,
            TokenKind::Sign("..") => Binary::Range,
            TokenKind::Sign("<") | TokenKind::Name("lt") => Binary::Less,
            TokenKind::Sign(">") | TokenKind::Name("gt") => Binary::Greater,
            TokenKind::Sign("<=") | TokenKind::Name("le") => Binary::LessEqual,
            TokenKind::Sign(">=") | TokenKind::Name("ge") => Binary::GreaterEqual,
            TokenKind::Sign("+") => Binary::Add,
            TokenKind::Sign("-") => Binary::Subtract,
            TokenKind::Sign("*") => Binary::Multiply,
            TokenKind::Sign("/") | TokenKind::Name("div") => Binary::Divide,
            TokenKind::Sign("%") | TokenKind::Name("mod") => Binary::Remainder,
            _ => return None,
        })
    }

    fn unary(&mut self) -> Result<Expr, Error> {
        let operator = match self.next.kind {
            TokenKind::Sign("!") | TokenKind::Name("not") => Unary::Not,
            TokenKind::Sign("-") => Unary::Minus,
            TokenKind::Sign("+") => Unary::Plus,
            TokenKind::Sign("~") => Unary::Complement,
            _ => return self.postfix(),
        };
        let start = self.bump()?.span.start;
        let of = self.deeper(Self::unary)?;
        node(start..of.span.end, Kind::Unary(operator, Box::new(of)))
    }

    fn postfix(&mut self) -> Result<Expr, Error> {
        let mut expr = self.primary()?;
        let start = expr.span.start;
        loop {
            if self.eat(".")? {
                expr = self.member(expr, start)?;
            } else if self.eat("?.")? {
                let span = expr.span.clone();
                expr = self.member(node(span, Kind::Safe(Box::new(expr)))?, start)?;
            } else if self.eat("[")? {
                let index = self.ternary()?;
                let end = self.expect("]", "`]`")?;
                expr = node(start..end, Kind::Index(Box::new(expr), Box::new(index)))?;
            } else {
                return Ok(expr);
            }
        }
    }

    /// What follows a `.`; apart from `postfix`, whose frame every level of nesting has on the stack.
    fn member(&mut self, of: Expr, start: usize) -> Result<Expr, Error> {
        if let Some(glued) = self.glued()? {
            let end = glued.span.end;
            return node(start..end, Kind::Index(Box::new(of), Box::new(glued)));
        }
        let name = self.next.clone();
        let member = match name.kind {
            TokenKind::Name(member) => {
                self.bump()?;
                member.into()
            }
            TokenKind::Int(_) => {
                self.bump()?;
                self.text[name.span.clone()].into()
            }
            TokenKind::Text | TokenKind::Nested => {
                let index = self.primary()?;
                let end = index.span.end;
                return node(start..end, Kind::Index(Box::new(of), Box::new(index)));
            }
            _ => return Err(self.expected("a name after `.`")),
        };
        if self.at("(") {
            let (arguments, end) = self.arguments()?;
            let kind = Kind::Call(Some(Box::new(of)), member, arguments);
            return node(start..end, kind);
        }
        node(start..name.span.end, Kind::Member(Box::new(of), member))
    }

    /// A name that is put together without white space: `build<+strategy.identifierPostFix>`, `<+a>_<+b>`. None, and
    /// nothing taken, where a name or a nested expression stands alone.
    fn glued(&mut self) -> Result<Option<Expr>, Error> {
        let first = self.next.span.clone();
        let part = |kind: &TokenKind<'_>| matches!(kind, TokenKind::Name(_) | TokenKind::Nested);
        // The token after the next is not read yet: the text tells whether it touches.
        let rest = &self.text[first.end..];
        let touches = match self.next.kind {
            TokenKind::Name(_) => rest.starts_with(lex::OPEN),
            TokenKind::Nested => {
                rest.starts_with(lex::OPEN)
                    || rest.starts_with(|next: char| next.is_alphanumeric() || next == '_')
            }
            _ => false,
        };
        if !touches {
            return Ok(None);
        }
        let mut parts = Vec::new();
        let mut end = first.start;
        while self.next.span.start == end && part(&self.next.kind) {
            end = self.next.span.end;
            if let TokenKind::Name(name) = self.next.kind {
                parts.push(Part::Text(name.into()));
                self.bump()?;
            } else {
                parts.push(Part::Expr(self.primary()?));
            }
        }
        node(first.start..end, Kind::Text(parts)).map(Some)
    }

    fn arguments(&mut self) -> Result<(Vec<Expr>, usize), Error> {
        self.bump()?;
        let mut arguments = Vec::new();
        if self.at(")") {
            return Ok((arguments, self.bump()?.span.end));
        }
        loop {
            arguments.push(self.ternary()?);
            if !self.eat(",")? {
                return Ok((arguments, self.expect(")", "`,` or `)`")?));
            }
        }
    }

    fn primary(&mut self) -> Result<Expr, Error> {
        let token = self.next.clone();
        let span = token.span.clone();
        match token.kind {
            TokenKind::Int(number) => {
                self.bump()?;
                node(span, Kind::Literal(Value::Int(number)))
            }
            TokenKind::Float(number) => {
                self.bump()?;
                node(span, Kind::Literal(Value::Float(number)))
            }
            TokenKind::Text => {
                self.bump()?;
                let kind = self.string(span.start + 1, span.end - 1)?;
                node(span, kind)
            }
            TokenKind::Nested => {
                self.bump()?;
                let mut inner = self.deeper(|parser| {
                    expression(parser.text, span.start + 2, span.end - 1, parser.depth)
                })?;
                inner.span = span;
                Ok(inner)
            }
            TokenKind::Name(name) => {
                self.bump()?;
                let kind = match name {
                    "true" => Kind::Literal(Value::Bool(true)),
                    "false" => Kind::Literal(Value::Bool(false)),
                    "null" => Kind::Literal(Value::Null),
                    _ if self.at("(") => {
                        let (arguments, end) = self.arguments()?;
                        return node(span.start..end, Kind::Call(None, name.into(), arguments));
                    }
                    _ => Kind::Name(name.into()),
                };
                node(span, kind)
            }
            TokenKind::Sign("(") => {
                self.bump()?;
                let inner = self.ternary()?;
                self.expect(")", "`)`")?;
                Ok(inner)
            }
            TokenKind::Sign("[") => self.list(),
            TokenKind::Sign("{") => self.map(),
            _ => Err(self.expected("a value")),
        }
    }

    fn list(&mut self) -> Result<Expr, Error> {
        let start = self.bump()?.span.start;
        let mut items = Vec::new();
        while !self.at("]") {
            items.push(self.ternary()?);
            if !self.eat(",")? {
                break;
            }
        }
        let end = self.expect("]", "`,` or `]`")?;
        node(start..end, Kind::List(items))
    }

    fn map(&mut self) -> Result<Expr, Error> {
        let start = self.bump()?.span.start;
        let mut entries = Vec::new();
        if self.eat(":")? {
            let end = self.expect("}", "`}`")?;
            return node(start..end, Kind::Map(entries));
        }
        while !self.at("}") {
            let mut key = self.binary(0)?;
            if let Kind::Name(name) = &key.kind {
                key.kind = Kind::Literal(Value::from(&**name));
            }
            self.expect(":", "`:`")?;
            entries.push((key, self.ternary()?));
            if !self.eat(",")? {
                break;
            }
        }
        let end = self.expect("}", "`,` or `}`")?;
        node(start..end, Kind::Map(entries))
    }

    /// What stands between two quotes: escapes undone, nested expressions parsed.
    fn string(&mut self, start: usize, end: usize) -> Result<Kind, Error> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut at = start;
        while at < end {
            let rest = &self.text[at..end];
            if rest.starts_with(lex::OPEN) {
                let close = lex::close(&self.text[..end], at, self.depth + 1)?;
                let inner =
                    self.deeper(|parser| expression(parser.text, at + 2, close, parser.depth))?;
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain).into()));
                }
                parts.push(Part::Expr(inner));
                at = close + 1;
                continue;
            }
            let mut chars = rest.chars();
            let Some(first) = chars.next() else { break };
            at += first.len_utf8();
            if first != '\\' {
                plain.push(first);
                continue;
            }
            let Some(escaped) = chars.next() else { break };
            at += escaped.len_utf8();
            match escaped {
                'n' => plain.push('\n'),
                't' => plain.push('\t'),
                'r' => plain.push('\r'),
                '\\' | '"' | '\'' => plain.push(escaped),
                'u' => {
                    let code = self
                        .text
                        .get(at..at + 4)
                        .and_then(|hex| u32::from_str_radix(hex, 16).ok())
                        .and_then(char::from_u32);
                    if let Some(char) = code {
                        plain.push(char);
                        at += 4;
                    } else {
                        plain.push_str("\\u");
                    }
                }
                // As it is: regular expressions are full of them.
                other => {
                    plain.push('\\');
                    plain.push(other);
                }
            }
        }
        if parts.is_empty() {
            return Ok(Kind::Literal(plain.into()));
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Ok(Kind::Text(parts))
    }
}

impl Expr {
    /// A value that no text is written for.
    pub(super) fn literal(value: Value) -> Self {
        Self {
            span: 0..0,
            kind: Kind::Literal(value),
            height: 1,
        }
    }

    /// A node that no text is written for, unless its tree is too high.
    pub(super) fn made(kind: Kind) -> Result<Self, Error> {
        node(0..0, kind)
    }
}

/// A node, unless its tree is too high.
fn node(span: Range<usize>, kind: Kind) -> Result<Expr, Error> {
    let most = |items: &[Expr]| items.iter().map(|item| item.height).max().unwrap_or(0);
    let below = match &kind {
        Kind::Literal(_) | Kind::Name(_) => 0,
        Kind::Text(parts) => parts
            .iter()
            .map(|part| match part {
                Part::Expr(expr) => expr.height,
                Part::Text(_) => 0,
            })
            .max()
            .unwrap_or(0),
        Kind::List(items) => most(items),
        Kind::Map(entries) => entries
            .iter()
            .map(|(key, value)| key.height.max(value.height))
            .max()
            .unwrap_or(0),
        Kind::Member(of, _) | Kind::Unary(_, of) | Kind::Safe(of) => of.height,
        Kind::Index(a, b) | Kind::Binary(_, a, b) | Kind::Elvis(a, b) | Kind::Coalesce(a, b) => {
            a.height.max(b.height)
        }
        Kind::Call(receiver, _, arguments) => receiver
            .as_ref()
            .map_or(0, |receiver| receiver.height)
            .max(most(arguments)),
        Kind::Ternary(a, b, c) => a.height.max(b.height).max(c.height),
    };
    if usize::from(below) >= 2 * MAX_DEPTH {
        return Err(Error::new(span, Problem::TooDeep));
    }
    Ok(Expr {
        span,
        kind,
        height: below + 1,
    })
}
