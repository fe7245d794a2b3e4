//! Decides what a run does next.
//!
//! `decide(state, input) → events`, `evolve(state, event)`, `wanted(state) → effects`. Events are the truth: they are
//! committed to the journal before anything is done about them, and everything else (screens, logs index, reports, a
//! recovered run) is a fold of them. Decision code never runs on recovery.
//!
//! Pure: `now` comes with the input, effects are values.

pub mod event;
