//! What is written, with every expression resolved by what is known when it is needed.
//!
//! ```text
//! World { pipeline, entities, known } ─► scope (a Place's view of it) ─► Values (typed) ─► plan, pod
//!                                                                    └─► step::prepare ─► Prepared
//! ```
//!
//! Secrets stay references all the way: a [`Text`] is made of pieces, and whoever starts the step puts the values in,
//! into the environment of its one process. In a script a secret becomes a reference to a variable of that environment
//! (see [`script`]), so a shell never interprets what is in it.

mod around;
mod constant;
mod deployed;
mod early;
mod fits;
mod functions;
mod git;
mod given_out;
mod image;
mod known;
mod looped;
mod manifests;
mod members;
mod order;
mod scope;
pub mod script;
mod stage_spec;
mod step;
mod target;
mod task;
#[cfg(test)]
pub(crate) mod tests;
mod values;
mod wait;

pub(crate) use early::early;
pub(crate) use fits::fits;
pub(crate) use git::stand_in;
pub use git::{clone_names, is_url};
pub use image::{needs_privileges, pull_of, reference};
pub(crate) use known::AsOf;
pub use known::{EVENT, Fact, Known, Nodes, Tree, World};
pub use members::{known_value, members};
pub use scope::At;
pub use step::{Output, Prepared, Probe, Program, Readiness, prepare, reports_of};
pub use syntax::expr::{Piece, SecretRef};
pub use target::{Layer, Target};
pub use task::{ANSWER, Asking, Computed, Criteria, Request, Task};
pub use values::Values;
pub use wait::wait;

/// A text in which secrets may stand.
pub type Text = Vec<Piece>;
