//! Runs the engine against a backend.
//!
//! The driver commits what the engine decides to the journal, performs what the folded state still wants through a
//! [`backend::Backend`], reconciles with the addons on every connect, and keeps the logs. What it does is a machine
//! without a clock or sockets of its own, so that `sim` runs the same code; the shell around it is thin.

pub mod backend;
pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod control;
pub mod core;
pub mod delegate;
pub mod fake;
pub mod job;
pub mod journal;
pub mod planner;
pub mod queue;
pub mod reports;
pub mod router;
pub mod run;
pub mod store;
mod told;
mod wire;
pub mod workspaces;

pub use job::{Error, Job, Notice, OBSERVER_DEPTH, Observer, Outcome};
pub use run::run;
