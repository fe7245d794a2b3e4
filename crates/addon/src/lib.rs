//! All that the in-pod agent needs to be right, and nothing that touches the world.
//!
//! This crate is pure: no threads, clock, files or randomness. It holds the versioned frames
//! that driver, lite-engine and addon exchange ([`frame`], [`link`]), the machine that runs one
//! attempt of a step after another, the way from bytes to masked lines, and the parsing of what a
//! step leaves behind. The `agent` crate is the thin shell around it; `driver` speaks the other end;
//! `sim` puts both ends into a world that loses and doubles things.
//!
//! Read [`frame::Request`] and [`frame::Report`] first: they are the whole conversation.

pub mod abandoned;
pub mod attempt;
mod finder;
mod forms;
pub mod frame;
pub mod link;
pub mod mask;
pub mod message;
pub mod outputs;
pub mod router;
pub mod spool;
pub mod workspace;
