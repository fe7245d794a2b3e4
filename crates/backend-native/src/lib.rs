//! Pods on this machine: namespaces, overlay and cgroups, with no daemon.
//!
//! It does for one machine what a kubelet does for a node, from the same description of a pod and with the same agent, as root or
//! as an ordinary user. It must not know what a step is. Read [`Native`] first, then `keeper` for who owns what, `container` for
//! how one is built; `sys` has what is `unsafe`.

mod addons;
mod backend;
mod cgroup;
mod config;
mod container;
mod control;
mod host;
mod images;
mod keeper;
mod store;
mod sys;
mod volumes;

pub use backend::Native;
pub use config::{Agent, Config};
pub use host::{HELPER, Host, HostConfig, ScriptUser};
pub use keeper::early::keepers_early;
pub use keeper::{ARGUMENT, pod_main};
