//! The `<+…>` language: templates of text and expressions, evaluated over a [`Scope`].
//!
//! ```text
//! "v<+pipeline.name>" ─► template (pieces) ─► parse (spanned tree) ─► eval over a Scope ─► Value, text, or Pieces
//! ```
//!
//! Start at [`Template`]. It is the subset of JEXL that pipelines use: paths, indexes, calls of methods, `? :`, `?:`,
//! `|| && !`, `== != =~ !~ < > <= >=`, `=^ !^ =$ !$ === !==`, `?? ?.`, `..`, `+ - * / %`, `& | ^ ~`, `empty()`, `size()`,
//! literals of every kind.
//!
//! **Where an expression ends.** A `>` closes it unless it stands in quotes, parentheses, brackets or braces, belongs to a
//! nested `<+…>`, or reads as a comparison: white space on its left, white space or `=` on its right, and another
//! `>` later on the line that closes. So `<+a.b> > 3` is an expression and text, `<+(a > 3)>` and `<+a > 3>` are
//! comparisons, and `<+ a > b` (nothing closes later) is `a` and the text ` b`.
//!
//! **Secrets.** A [`Value::Secret`] carries a reference and never a text. It may be chosen (`c ? s1 : s2`), and joined to
//! text, which gives [`Value::Mixed`]; nothing else can be done with it. [`Template::pieces`] hands both on for the
//! caller to replace.
//!
//! **Bounds.** Length and nesting are bounded when parsing; steps, nesting through variables, and the size of every value when
//! evaluating. Spans are byte ranges of the text that was parsed.

mod ast;
mod error;
mod eval;
mod functors;
mod json;
mod lex;
mod methods;
mod operators;
mod parse;
mod scope;
mod template;
#[cfg(test)]
mod tests;
mod value;
mod xml;

pub use ast::{Binary, Expr, Kind, Unary};
pub use error::{Error, Problem};
pub use eval::Budget;
pub use functors::{is_functor, near_functor};
pub use scope::{Lookup, Scope, Tree};
pub use template::{Part, Template, parse_condition};
pub use value::{Map, Piece, SecretRef, Value};

/// Bytes of one text with expressions; scripts are longer than expressions and still bounded.
pub const MAX_TEXT: usize = 4 << 20;
/// Bytes of one expression.
pub const MAX_EXPRESSION: usize = 64 << 10;
/// Nesting of one expression, and height of its tree.
pub const MAX_DEPTH: usize = 100;
/// Numbers in a range `a..b`.
pub const MAX_RANGE: u64 = 10_000;
/// Bytes of a value that an expression makes (`reference`: 256 KB).
pub const MAX_VALUE: usize = 256 << 10;
