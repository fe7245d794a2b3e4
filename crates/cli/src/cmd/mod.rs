//! The commands, a file each.

pub(crate) mod answer;
pub(crate) mod approve;
pub(crate) mod completions;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod intervene;
pub(crate) mod logs;
pub(crate) mod plan;
pub(crate) mod questions;
pub(crate) mod resume;
pub(crate) mod retry;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schema;
pub(crate) mod sweep;
pub(crate) mod validate;
