//! Every setting of a containerized group and of its steps, from YAML through the real binary, checked from inside a container.

#[path = "../support/mod.rs"]
mod support;

mod security;
mod steps;
mod user;
mod volumes;
