//! What a user may write, what it expands to, and the pod that a group becomes.
//!
//! Three modules, each a pure function of the one before:
//!
//! * [`model`]: a YAML tree is lowered into what the format can express, every diagnostic collected.
//! * [`plan`]: a node of it is expanded into its children, by nothing but what is known at that time.
//! * [`pod`]: a containerized step group becomes one description of a pod, alike for every backend.
//! * [`resolve`]: what is written, with every expression resolved, when it is needed: a step becomes what is executed.
//!
//! No clock, no files, no randomness, no backend: ids depend only on what is written.

pub mod model;
pub mod plan;
pub mod pod;
pub mod resolve;
