//! Where a node of a run is written: in loops the two have different ids.

use super::{NodeId, Place, What};
use crate::resolve::World;

/// A place of a run, and the id of the same place as it is written: what is repeated is there once.
#[derive(Debug, Clone, PartialEq)]
pub struct Written<'m> {
    /// In the run.
    pub place: Place<'m>,
    /// As written.
    pub id: NodeId,
}

impl<'m> Written<'m> {
    /// The places from the root to a node of a run, both included; none for an id that the pipeline does not have.
    pub fn way(world: &World<'m>, id: &NodeId) -> Option<Vec<Self>> {
        let mut way: Vec<Self> = Vec::new();
        for place in Place::way_in(world, id)? {
            let id = match way.last() {
                Some(above) => above.below(&place),
                None => place.id.clone(),
            };
            way.push(Self { place, id });
        }
        Some(way)
    }

    /// Children of this place, as they are in the run.
    pub fn children(&self, children: Vec<Place<'m>>) -> Vec<Self> {
        let written = |place: Place<'m>| Self {
            id: self.below(&place),
            place,
        };
        children.into_iter().map(written).collect()
    }

    fn below(&self, child: &Place<'_>) -> NodeId {
        if let What::Loop(body) = self.place.what {
            return NodeId(format!("{}.{}", self.id, body.identifier()));
        }
        match child.id.0.strip_prefix(&self.place.id.0) {
            Some(rest) => NodeId(format!("{}{rest}", self.id)),
            // Below the root.
            None => child.id.clone(),
        }
    }
}
