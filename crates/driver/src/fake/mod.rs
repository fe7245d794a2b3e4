//! A backend in memory: the real router and the real addon machine, and processes that are scripts.
//!
//! For tests, for `sim`, and for trying a screen without containers. A process is an `Exec` whose words are its acts
//! (see [`Act`]); everything between it and the driver is what ships.

mod backend;
mod pod;
mod process;
mod script;

pub use backend::Fake;
pub use pod::Pod;
pub use process::Act;
pub use script::{Leaf, Script, group, node, parallel, process, sequence, step, waits};
