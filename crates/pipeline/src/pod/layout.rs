//! Which container a step runs in.
//!
//! A step has a container of its own, and so has each iteration of a loop, while a pod has no more than [`MOST`]. Beyond
//! that the iterations of every loop take turns in a few: a *slot* of a loop is one container for each step in it. The engine gives
//! an iteration the first slot that is free when it begins; which containers there are is decided here.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use syntax::Diagnostic;

use crate::model::StepSpec;
use crate::plan::{Body, Iteration, NodeId, Place, What, known_false_at, manner_limit};
use crate::resolve::World;

use super::{LITE_ENGINE, names};

/// Step containers of a pod: a node runs some hundred pods' worth of containers, and each costs a sandboxed root.
pub const MOST: u32 = 50;

/// The containers of one pod.
#[derive(Debug, Default)]
pub struct Layout<'m> {
    /// In the order of the text: a step that runs in it (of those that take turns the first), and its name.
    containers: Vec<(Place<'m>, String)>,
    /// By step, where each has its own.
    own: BTreeMap<NodeId, String>,
    /// By what is written, where iterations take turns: the name without slots, and the loop's slots.
    bases: BTreeMap<usize, String>,
    slots: BTreeMap<usize, u32>,
    /// What Initialize says of it.
    notes: Vec<String>,
}

impl<'m> Layout<'m> {
    /// The containers, each with a step that runs in it, in the order of the text.
    pub fn containers(&self) -> &[(Place<'m>, String)] {
        &self.containers
    }

    /// What a person should know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The container of a step, without the slots that it is in; none: it needs none.
    pub fn container(&self, place: &Place<'_>) -> Option<String> {
        let own = self.own.get(&place.id);
        own.or_else(|| self.bases.get(&address(place)?)).cloned()
    }

    /// In how many slots the iterations of a loop take turns; none: each has its own.
    pub fn slots(&self, place: &Place<'_>) -> Option<u32> {
        self.slots.get(&address(place)?).copied()
    }

    /// Iterations take turns: a container is no single iteration's.
    pub fn takes_turns(&self) -> bool {
        !self.slots.is_empty()
    }
}

/// The container of a step in these slots, the outermost loop's first.
pub fn slotted(base: &str, slots: &[u32]) -> String {
    let mut name = base.to_owned();
    for slot in slots {
        name.push_str("-s");
        name.push_str(&(slot + 1).to_string());
    }
    name
}

/// What is written at a place, apart from the iteration that it is in.
fn address(place: &Place<'_>) -> Option<usize> {
    Some(match place.what {
        What::Step(step) | What::Loop(Body::Step(step)) => std::ptr::from_ref(step).addr(),
        What::Group(group) | What::Loop(Body::Group(group)) => std::ptr::from_ref(group).addr(),
        _ => return None,
    })
}

/// The containers of the pod that a place is in; none outside of a pod.
pub fn layout_around<'m>(
    world: &World<'m>,
    place: &Place<'_>,
) -> Result<Option<Layout<'m>>, Vec<Diagnostic>> {
    let Some((_, id)) = place.pod() else {
        return Ok(None);
    };
    match Place::of(world, id) {
        Some(group) => layout(world, &group).map(Some),
        None => Ok(None),
    }
}

/// The containers of a containerized group's pod, by what is known when it is entered.
pub fn layout<'m>(world: &World<'m>, group: &Place<'m>) -> Result<Layout<'m>, Vec<Diagnostic>> {
    let mut made = Layout::default();
    let mut taken: BTreeSet<String> = [LITE_ENGINE.to_owned()].into();
    let known = Known::new(world);
    if known.count(group, MOST + 1)? <= MOST {
        let mut found = Vec::new();
        known.walk(group, u32::MAX, &mut Vec::new(), &mut found)?;
        for Found { place, .. } in found {
            let name = names::name(&identifier(&place), names::LONGEST, &mut taken);
            made.own.insert(place.id.clone(), name.clone());
            made.containers.push((place, name));
        }
        return Ok(made);
    }
    let cap = (1..=MOST).rev().find_map(|cap| {
        let mut found = Vec::new();
        let walked = known.walk(group, cap, &mut Vec::new(), &mut found);
        match walked {
            Err(diagnostics) => Some(Err(diagnostics)),
            Ok(()) => (found.len() <= MOST as usize || cap == 1).then_some(Ok(found)),
        }
    });
    for Found { place, loops } in cap.unwrap_or_else(|| Ok(Vec::new()))? {
        let Some(address) = address(&place) else {
            continue;
        };
        // Room for the slots of three loops around one another.
        let longest = names::LONGEST - 12;
        let base = made
            .bases
            .entry(address)
            .or_insert_with(|| names::name(step_identifier(&place), longest, &mut taken));
        let mut at = Vec::new();
        for turn in &loops {
            at.push(turn.slot);
            if made.slots.insert(turn.address, turn.slots).is_none() {
                made.notes.push(format!(
                    "{} iterations of {} take turns in {} container{}: each finds the files that the one before it left",
                    turn.total,
                    turn.identifier,
                    turn.slots,
                    if turn.slots == 1 { "" } else { "s" }
                ));
            }
        }
        made.containers.push((place, slotted(base, &at)));
    }
    Ok(made)
}

fn step_identifier<'m>(place: &Place<'m>) -> &'m str {
    place.identifier()
}

/// Its identifier with the suffixes of its iteration.
fn identifier(place: &Place<'_>) -> String {
    match place.iterations.last().filter(|_| place.is_iteration()) {
        Some((_, iteration)) => format!("{}{}", place.identifier(), iteration.suffix),
        None => place.identifier().to_owned(),
    }
}

/// A step that has a container, and the turns that it takes.
struct Found<'m> {
    place: Place<'m>,
    loops: Vec<Turn>,
}

#[derive(Clone)]
struct Turn {
    address: usize,
    identifier: String,
    slot: u32,
    slots: u32,
    total: usize,
}

/// What is known when the group is entered, and the iterations of its loops: asked once for all that is tried with them.
struct Known<'w, 'm> {
    world: &'w World<'m>,
    loops: RefCell<BTreeMap<NodeId, Iterations>>,
}

type Iterations = Rc<[Arc<Iteration>]>;

impl<'w, 'm> Known<'w, 'm> {
    fn new(world: &'w World<'m>) -> Self {
        Self {
            world,
            loops: RefCell::default(),
        }
    }

    fn iterations(&self, place: &Place<'m>) -> Result<Iterations, Vec<Diagnostic>> {
        if let Some(known) = self.loops.borrow().get(&place.id) {
            return Ok(known.clone());
        }
        let all: Iterations = place.iterations_in(self.world)?.into();
        let mut loops = self.loops.borrow_mut();
        loops.insert(place.id.clone(), all.clone());
        Ok(all)
    }

    /// How many steps there are, counted no further than needed.
    fn count(&self, place: &Place<'m>, enough: u32) -> Result<u32, Vec<Diagnostic>> {
        if let What::Step(step) = place.what {
            return Ok(u32::from(names::runs_in_container(&step.spec)));
        }
        let mut sum: u32 = 0;
        let mut add = |child: &Place<'m>| -> Result<bool, Vec<Diagnostic>> {
            if !left_out(self.world, child) {
                sum = sum.saturating_add(self.count(child, enough)?);
            }
            Ok(sum >= enough)
        };
        if let What::Loop(body) = place.what {
            for iteration in self.iterations(place)?.iter() {
                if add(&place.iterated(body, iteration.clone()))? {
                    break;
                }
            }
        } else {
            for child in place.children().into_iter().chain(place.rollback()) {
                if add(&child)? {
                    break;
                }
            }
        }
        Ok(sum)
    }

    /// The steps, of each loop the first `cap` iterations at most.
    fn walk(
        &self,
        place: &Place<'m>,
        cap: u32,
        loops: &mut Vec<Turn>,
        found: &mut Vec<Found<'m>>,
    ) -> Result<(), Vec<Diagnostic>> {
        if left_out(self.world, place) {
            return Ok(());
        }
        match place.what {
            What::Step(step) => {
                if names::runs_in_container(&step.spec) {
                    found.push(Found {
                        place: place.clone(),
                        loops: loops.clone(),
                    });
                }
            }
            What::Loop(body) => {
                let all = self.iterations(place)?;
                // A Background step keeps its container to the end: nobody can take its turn there.
                let serves = place.children().into_iter().any(|body| {
                    body.below().iter().any(|own| {
                        matches!(own.what, What::Step(step) if matches!(step.spec, StepSpec::Background(_)))
                    })
                });
                let slots = if cap == u32::MAX || serves {
                    u32::MAX
                } else {
                    manner_limit(self.world, place)?.unwrap_or(cap).min(cap)
                };
                let slots = slots.min(all.len() as u32);
                for (slot, iteration) in all.iter().take(slots as usize).enumerate() {
                    loops.push(Turn {
                        address: address(place).unwrap_or_default(),
                        identifier: place.identifier().to_owned(),
                        slot: slot as u32,
                        slots,
                        total: all.len(),
                    });
                    self.walk(&place.iterated(body, iteration.clone()), cap, loops, found)?;
                    loops.pop();
                }
            }
            _ => {
                for child in place.children().into_iter().chain(place.rollback()) {
                    self.walk(&child, cap, loops, found)?;
                }
            }
        }
        Ok(())
    }
}

/// Its condition is known not to hold.
fn left_out(world: &World<'_>, place: &Place<'_>) -> bool {
    known_false_at(world, place)
}
