//! Whole runs of the real binary with `--kube`, on the cluster that `KUBECONFIG` names. `cargo xtask test` brings one up.
//!
//! What begins with `smoke` is run against the oldest server too.

#[path = "../support/mod.rs"]
mod support;

mod agent;
mod alike;
mod ask;
mod away;
mod connect;
mod failures;
mod initialize;
mod limits;
mod proxy;
mod pulls;
mod restricted;
mod rights;
mod runs;
mod settings;
mod smoke;
mod sweep;
mod within;
mod world;
