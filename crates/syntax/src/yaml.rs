//! YAML as a spanned tree.
//!
//! [`parse`] reads a text into its documents. The tree is what the format needs and no more: scalars keep their text
//! as written beside what it resolves to in the core schema of YAML 1.2, so that `version: 1.20` can still be read as
//! text; mappings keep their order and have text for keys; aliases are expanded, within a budget; `<<` merges.
//!
//! Edits that keep comments will be splices by [`Span`](crate::Span) into the source text: every node has its exact place.

mod build;
mod error;
mod node;
mod scalar;

pub use build::{MAX_ALIASED, MAX_DEPTH};
pub use node::{Entry, Key, Mapping, Node, Value};
pub use scalar::{Kind, Scalar, Style};

use crate::diagnostic::Diagnostic;
use crate::source::{SourceId, Sources};

/// The documents of a text. Documents that hold nothing are left out; a broken one is left out too, its
/// diagnostic says why, and those after it are read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    /// The roots, in order.
    pub documents: Vec<Node>,
    /// What is wrong with the text as YAML.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a text. Never panics, whatever it holds; time and memory are linear in its length.
pub fn parse(sources: &Sources, id: SourceId) -> Parsed {
    build::parse(sources, id)
}

#[cfg(test)]
mod tests;
