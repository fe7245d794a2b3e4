//! From text to trees: source texts and spans, the one diagnostic type, YAML, and the `<+…>` language.
//!
//! ```text
//! bytes ─► source::Sources ─► yaml::parse ─► yaml::Node (spanned)      expr: the `<+…>` language
//!                    │                          │
//!                    └── span::Span ────────────┴─► diagnostic::Diagnostic ─► text, JSON
//! ```
//!
//! * A [`source::Sources`] holds every text of one command; a [`span::Span`] is a byte range in one of them.
//! * [`yaml`] turns a text into documents of [`yaml::Node`]s. It never stops at what a later document can still tell.
//! * [`diagnostic::Diagnostic`] is the only way in which this project tells a person what is wrong with what they wrote.
//!   Its codes and their pages stand in one table, [`code`].
//!
//! Pure: no files, no clock, no environment. Nothing here knows what a pipeline is.

pub mod code;
pub mod diagnostic;
pub mod expr;
pub mod source;
pub mod span;
pub mod yaml;

pub use diagnostic::{Diagnostic, Severity};
pub use source::{SourceId, Sources};
pub use span::{Span, Spanned};
