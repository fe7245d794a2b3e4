//! Images: from a reference to unpacked layers, with no daemon, and from files to an image in a registry.
//!
//! ```text
//! Reference ─► resolve (registry, mirrors, layout, archive) ─► Store: layers unpacked ─► overlay's lower directories
//! ```
//!
//! Read [`Client`] first, then [`Store`] and [`Error`]. [`Client::inspect`] asks what an image is (preflight);
//! [`Client::ensure`] gets it here. Everything is checked against its digest before it counts: manifests and configs when
//! they are read, a layer's blob and its tar while they stream through. This crate mounts nothing and runs nothing.
//! Feature `backend`: what it knows in the words of `driver::backend`, for the backends that pull or ask by themselves.

mod archive;
#[cfg(feature = "backend")]
pub mod backend;
pub mod build;
mod error;
mod manifest;
mod pull;
mod reference;
mod registry;
mod resolve;
mod store;
mod unpack;

pub use error::{Error, Kind};
pub use manifest::{Facts, Platform};
pub use pull::{Client, Image, Inspected, Login, Progress, Pull, Want};
pub use reference::{DEFAULT_REGISTRY, Name, Reference};
pub use registry::Settings;
pub use store::{Keep, Pin, Store, Swept};
pub use unpack::Report;
