//! The static in-pod binary: addon, lite-engine, attach, copy.
//!
//! A thin shell around the machines of the `addon` crate: one thread, one `poll`, no runtime. It may touch the world (that is
//! what it is for) but decides nothing: what an attempt means is decided in [`::addon::attempt`], what a channel may do in
//! [`::addon::router`].
//!
//! ```text
//!   driver ── unix socket / exec stream ── lite-engine ── <slices>/<container>/socket ── addon (PID 1) ── the step
//!             [connect::run] copies           [engine]                                   [addon]
//! ```

pub mod abandoned;
pub mod addon;
pub mod connect;
pub mod copy;
pub mod engine;
pub mod peer;
pub mod poll;
pub mod socket;
pub mod terminal;
pub mod workspace;
