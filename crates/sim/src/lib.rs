//! The seeded world.
//!
//! The shipped engine, driver machine, router and addon run here; only clock, carriers, disk and backend are replaced by ones
//! that delay, double, cut and crash as a seed says. [`World::run`] drives one run to its end and [`check`] holds what
//! happened against the promise of the design:
//!
//! * a step starts at most once an attempt, and never without the journal saying so before;
//! * its completion is recorded once, and no step is green without its record;
//! * while the pod lives, every byte that a step wrote is stored once;
//! * an older epoch is refused;
//! * every run ends and leaves nothing on the backend.
//!
//! A failing seed is printed; `STEPYARD_SIM_SEEDS` raises how many are tried.

pub mod check;
pub mod disk;
pub mod faults;
pub mod random;
pub mod story;
mod world;

pub use faults::Faults;
pub use world::{Ended, World};
