//! What a person sees of a run: pure functions from its events to text.
//!
//! [`view::View`] is the fold; [`tree`] is the part of the terminal that is painted again and again, [`scroll`] what
//! stays above it, [`summary`] the end. [`plain`] and [`json`] are for pipes. [`live`] paints without flicker, given a
//! terminal's size; only [`show`] has a thread and a clock. Everything here works on a recorded list of events just as
//! on a live one, and `inspect` uses it so.

pub(crate) mod ansi;
pub(crate) mod handling;
pub(crate) mod json;
pub(crate) mod line;
pub(crate) mod live;
pub(crate) mod plain;
pub(crate) mod question;
pub(crate) mod scroll;
pub(crate) mod show;
pub(crate) mod summary;
pub(crate) mod tail;
pub(crate) mod tree;
pub(crate) mod view;
pub(crate) mod waits;
pub(crate) mod waterfall;
pub(crate) mod words;

#[cfg(test)]
mod tests;
