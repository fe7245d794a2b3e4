//! In which order the places of a pipeline run, as it is written.

use std::collections::HashMap;

use crate::model::Pipeline;
use crate::plan::{Place, What};

/// The places of a pipeline with what is around each.
pub(super) struct Order<'m> {
    pub(super) places: Vec<Place<'m>>,
    pub(super) by_id: HashMap<String, usize>,
    /// Index of the parent, and the place among its children.
    parents: Vec<(usize, usize)>,
    /// Indexes of the children.
    pub(super) children: Vec<Vec<usize>>,
}

impl<'m> Order<'m> {
    pub(super) fn of(pipeline: &'m Pipeline) -> Self {
        let mut order = Self {
            places: vec![Place::root(pipeline)],
            by_id: HashMap::new(),
            parents: vec![(0, 0)],
            children: vec![Vec::new()],
        };
        let mut at = 0;
        while at < order.places.len() {
            let own = &order.places[at];
            // What undoes it comes behind all of it.
            let children = own.children().into_iter().chain(own.rollback());
            for (n, child) in children.collect::<Vec<_>>().into_iter().enumerate() {
                order.by_id.insert(child.id.0.clone(), order.places.len());
                order.places.push(child);
                order.parents.push((at, n));
                order.children.push(Vec::new());
                let own = order.places.len() - 1;
                order.children[at].push(own);
            }
            at += 1;
        }
        order
    }

    pub(super) fn way(&self, at: usize) -> Vec<usize> {
        let mut way = vec![at];
        let mut at = at;
        while at != 0 {
            at = self.parents[at].0;
            way.push(at);
        }
        way.reverse();
        way
    }

    /// When another place runs, as seen from one.
    pub(super) fn when(&self, here: usize, other: usize) -> When {
        let (ours, theirs) = (self.way(here), self.way(other));
        let common = ours
            .iter()
            .zip(&theirs)
            .take_while(|(one, two)| one == two)
            .count();
        match (ours.get(common), theirs.get(common)) {
            (_, None) => When::Own,
            (None, Some(_)) => When::Later,
            (Some(one), Some(two)) => {
                if self.places[ours[common - 1]].is_parallel() {
                    When::Beside
                } else if self.parents[*two].1 < self.parents[*one].1 {
                    When::Before
                } else {
                    When::Later
                }
            }
        }
    }

    /// The step, group or stage whose facts a path reads.
    pub(super) fn step(&self, here: usize, path: &[&str]) -> Option<usize> {
        let here = &self.places[here];
        let mut at = match path[0] {
            "pipeline" => 0,
            "stage" | "execution" => {
                let (_, id) = here.stage.as_ref()?;
                *self.by_id.get(&id.0)?
            }
            "stepGroup" => *self.by_id.get(&here.groups.last()?.1.0)?,
            "steps" => {
                let around = here.groups.iter().rev().map(|(_, id)| id);
                around
                    .chain(here.stage.as_ref().map(|(_, id)| id))
                    .filter_map(|id| self.by_id.get(&id.0).copied())
                    .find(|at| {
                        path.get(1)
                            .is_some_and(|own| self.child(*at, own).is_some())
                    })?
            }
            _ => return None,
        };
        let mut found = None;
        for pair in path.windows(2) {
            if matches!(pair[0], "steps" | "stages") {
                at = self.child(at, pair[1])?;
                found = Some(at);
            }
        }
        found
    }

    /// The nearest place below with this identifier; parallel blocks are looked through.
    pub(super) fn child(&self, at: usize, identifier: &str) -> Option<usize> {
        let children = &self.children[at];
        children.iter().find_map(|child| {
            let place = &self.places[*child];
            match place.what {
                What::Stages(_) | What::Elements(_) => self.child(*child, identifier),
                What::Initialize(_) | What::Rollback(_) => None,
                // What is repeated is there once; its iterations are named after it.
                What::Loop(_) => {
                    let rest = identifier.strip_prefix(place.identifier())?;
                    (rest.is_empty() || rest.starts_with('_'))
                        .then(|| self.children[*child].first().copied())?
                }
                _ => (place.identifier() == identifier).then_some(*child),
            }
        })
    }

    /// Anything of the pipeline may be named by its identifier alone, from below or beside it.
    pub(super) fn is_identifier(&self, name: &str) -> bool {
        self.places.iter().any(|own| own.identifier() == name)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Before,
    Own,
    Beside,
    Later,
}
