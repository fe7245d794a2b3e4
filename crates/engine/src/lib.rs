//! Decides what a run does next.
//!
//! `decide(state, input) → events`, `evolve(state, event)`, `wanted(state) → effects`. Events are the truth: they are
//! committed to the journal before anything is done about them, and everything else (screens, logs index, reports, a
//! recovered run) is a fold of them. Decision code never runs on recovery.
//!
//! Pure: `now` comes with the input, effects are values. Read [`event::Event`] first, then [`Input`] and [`Effect`]; the legal
//! changes of a node are the one table in [`phase`].

mod attention;
pub mod carry;
pub mod classify;
mod decide;
pub mod delegate;
pub mod event;
mod evolve;
pub mod facts;
mod gate;
mod input;
pub mod junit;
pub mod phase;
mod replaced;
mod state;
mod waits;
mod wanted;
pub mod workspace;

pub use decide::{advance, decide, refusal};
pub use evolve::evolve;
pub use input::{Input, Wishes};
pub use state::{Handled, Illegal, Place, Pod, PodPhase, State, Undo, initialize};
pub use waits::{Queued, Waiting, answer};
pub use wanted::{Effect, GRACE_MS, POD_ATTEMPTS, STOP_SLACK_MS, Stop, stop, wanted};
