//! What survives the driver: its journal and the logs.

use std::collections::BTreeMap;

use engine::event::Stamped;
use pipeline::plan::NodeId;

/// The disk.
#[derive(Debug, Default)]
pub struct Disk {
    /// Every record that was written.
    pub journal: Vec<Stamped>,
    /// By step and attempt.
    pub logs: BTreeMap<(NodeId, u32), Log>,
    /// Archives of workspaces, by the group that they are of.
    pub workspaces: BTreeMap<NodeId, Vec<u8>>,
}

/// A stored log.
#[derive(Debug, Default)]
pub struct Log {
    /// Where pieces begin in the addon's count; a gap is one without bytes.
    pub pieces: Vec<Stored>,
    /// The end, in the addon's count.
    pub end: u64,
}

/// A piece of it.
#[derive(Debug)]
pub enum Stored {
    /// Output.
    Bytes(u64, Vec<u8>),
    /// Marked as lost.
    Gap(u64, u64),
}
