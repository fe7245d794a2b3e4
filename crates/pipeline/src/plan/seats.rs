//! Children that are not made yet: a group of a thousand steps is looked through without making an id for each of them.

use std::ops::ControlFlow;

use crate::model::{Element, Param, StageEntry};

use super::place::{Body, What};

/// A child of a place, by what is written.
pub(super) struct Seat<'m> {
    /// The inserts of the text that it is in, which leave no node but a part of its id.
    inserts: Vec<&'m str>,
    pub(super) what: Seated<'m>,
}

/// What stands there.
#[derive(Clone, Copy)]
pub(super) enum Seated<'m> {
    /// An element of the text; a loop, where it has a strategy.
    Body(Body<'m>),
    /// A `parallel` block of stages, with its position from 1.
    Stages(usize, &'m [StageEntry]),
    /// A `parallel` block of steps, with its position from 1.
    Elements(usize, &'m [Element]),
}

impl Seat<'_> {
    /// The id, of a child of this place whose children's ids begin so.
    pub(super) fn id(&self, head: &str) -> String {
        let mut id = head.to_owned();
        for insert in &self.inserts {
            id.push('.');
            id.push_str(insert);
        }
        id.push('.');
        match self.what {
            Seated::Body(body) => id.push_str(body.identifier()),
            Seated::Stages(at, _) | Seated::Elements(at, _) => id.push_str(&block(at)),
        }
        id
    }

    /// Whether an id is this one's or of something in it: `rest` is what of it follows the beginning that the ids of all children have.
    pub(super) fn leads_to(&self, rest: &str) -> bool {
        let mut rest = rest;
        for insert in &self.inserts {
            match after(rest, insert).and_then(|rest| rest.strip_prefix('.')) {
                Some(inner) => rest = inner,
                None => return false,
            }
        }
        match self.what {
            Seated::Body(body) => after(rest, body.identifier()).is_some(),
            Seated::Stages(at, _) | Seated::Elements(at, _) => {
                rest.starts_with(BLOCK) && after(rest, &block(at)).is_some()
            }
        }
    }
}

/// What the part of an id begins with that is a `parallel` block.
const BLOCK: &str = "parallel";

fn block(at: usize) -> String {
    format!("{BLOCK}{at}")
}

/// What follows a part of an id.
fn after<'r>(rest: &'r str, part: &str) -> Option<&'r str> {
    let rest = rest.strip_prefix(part)?;
    (rest.is_empty() || rest.starts_with('.')).then_some(rest)
}

/// The children of what stands somewhere, in the order of the text; none of a loop, whose children are iterations.
pub(super) fn below(what: What<'_>) -> Vec<Seat<'_>> {
    let mut seats = Vec::new();
    let all = each(what, &mut |seat| {
        seats.push(seat);
        ControlFlow::Continue(())
    });
    debug_assert!(all.is_continue());
    seats
}

/// The first of them that is wanted.
pub(super) fn find<'m>(what: What<'m>, wanted: impl Fn(&Seat<'m>) -> bool) -> Option<Seat<'m>> {
    each(what, &mut |seat| {
        if wanted(&seat) {
            ControlFlow::Break(seat)
        } else {
            ControlFlow::Continue(())
        }
    })
    .break_value()
}

/// What is asked of each, until it has its answer.
type Visit<'v, 'm> = &'v mut dyn FnMut(Seat<'m>) -> ControlFlow<Seat<'m>>;

fn each<'m>(what: What<'m>, visit: Visit<'_, 'm>) -> ControlFlow<Seat<'m>> {
    match what {
        What::Pipeline(pipeline) => stages(&pipeline.stages, &[], visit),
        What::Stages(entries) => stages(entries, &[], visit),
        What::Stage(stage) => match stage.execution() {
            Some(execution) => elements(&execution.steps, &[], visit),
            None => ControlFlow::Continue(()),
        },
        What::Rollback(Body::Stage(stage)) => match stage.execution() {
            Some(execution) => elements(&execution.rollback_steps, &[], visit),
            None => ControlFlow::Continue(()),
        },
        What::Group(group) => elements(&group.steps, &[], visit),
        What::Rollback(Body::Group(group)) => elements(&group.rollback_steps, &[], visit),
        What::Elements(inner) => elements(inner, &[], visit),
        What::Loop(_) | What::Initialize(_) | What::Step(_) | What::Rollback(Body::Step(_)) => {
            ControlFlow::Continue(())
        }
    }
}

fn stages<'m>(
    entries: &'m [StageEntry],
    inserts: &[&'m str],
    visit: Visit<'_, 'm>,
) -> ControlFlow<Seat<'m>> {
    for (at, entry) in entries.iter().enumerate() {
        let what = match entry {
            StageEntry::Stage(stage) => Seated::Body(Body::Stage(stage)),
            StageEntry::Parallel(block) => Seated::Stages(at + 1, &block.stages),
            StageEntry::Insert(insert) => {
                if let Some(inner) = insert.stages.as_ref().and_then(Param::literal) {
                    let inserts = within(inserts, insert.identifier.as_str());
                    stages(inner, &inserts, visit)?;
                }
                continue;
            }
        };
        visit(Seat {
            inserts: inserts.to_vec(),
            what,
        })?;
    }
    ControlFlow::Continue(())
}

fn elements<'m>(
    all: &'m [Element],
    inserts: &[&'m str],
    visit: Visit<'_, 'm>,
) -> ControlFlow<Seat<'m>> {
    for (at, element) in all.iter().enumerate() {
        let what = match element {
            Element::Step(step) => Seated::Body(Body::Step(step)),
            Element::Group(group) => Seated::Body(Body::Group(group)),
            Element::Parallel(block) => Seated::Elements(at + 1, &block.elements),
            Element::Insert(insert) => {
                let inner = within(inserts, insert.identifier.as_str());
                elements(element.children(), &inner, visit)?;
                continue;
            }
        };
        visit(Seat {
            inserts: inserts.to_vec(),
            what,
        })?;
    }
    ControlFlow::Continue(())
}

fn within<'m>(inserts: &[&'m str], insert: &'m str) -> Vec<&'m str> {
    let mut inner = inserts.to_vec();
    inner.push(insert);
    inner
}
