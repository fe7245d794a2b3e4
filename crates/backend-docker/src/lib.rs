//! Pods on a Docker or Podman socket, for those who have an engine, also one in a VM or far away.
//!
//! A pod is an *anchor* (the container of lite-engine) and a container for each step that joins the anchor's network and
//! IPC namespaces. Nothing relies on paths or sockets shared with the machine this runs on: the agent goes in by the engine's
//! archive upload into a volume, every shared directory is a volume of the engine, and the carrier is an exec stream.
//!
//! Read [`Docker`] first; `names` says what a pod leaves on the engine, and so what a sweep has to find.

mod agent;
mod backend;
mod carrier;
mod connect;
mod containers;
mod images;
mod names;
mod volumes;

pub use backend::Docker;
pub use connect::connect;
