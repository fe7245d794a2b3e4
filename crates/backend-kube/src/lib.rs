//! Pods in a Kubernetes cluster: the only crate with Kubernetes types.
//!
//! It makes one pod for a group from the same [`pipeline::pod::Spec`] as every other backend, brings the agent as an
//! immutable ConfigMap, learns what happens from the pod's *events* (they come at once, its status up to a second later),
//! and reaches lite-engine by an exec through the API server, so that whoever can reach the API server can run and nothing
//! in the pod listens on a port. An exec stream is only a carrier: steps are owned by the addons in their containers, and a
//! cut stream is reconnected without loss.
//!
//! Read [`Kube`] first; [`watch`] is how it knows what happens.

mod agent;
mod api;
mod arch;
mod asking;
mod backend;
mod carrier;
mod client;
mod connect;
mod direct;
mod entered;
mod limit_range;
mod moved;
mod oidc;
mod patience;
mod preflight;
mod pull_secret;
mod restricted;
mod said;
pub mod sweep;
mod unmade;
mod watch;

pub use agent::Agent;
pub use backend::Kube;
pub use connect::{
    Connection, Credentials, Manual, Namespace, OLDEST, Target, connect, current_context,
};
pub use oidc::Oidc;
pub use patience::{GivenUp, Patience, Stop};
pub use pull_secret::name as pull_secret;
pub use unmade::Unmade;
