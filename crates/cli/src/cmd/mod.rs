//! The commands, a file each.

pub(crate) mod completions;
pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod runs;
pub(crate) mod validate;
