//! Children that are not made yet: a group of a thousand steps is looked through without making an id for each of them.

use std::cell::Cell;
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

    /// Whether it is this element, and not one of an insert.
    fn is(&self, element: &Element) -> bool {
        match (self.what, element) {
            (Seated::Body(Body::Step(ours)), Element::Step(own)) => {
                std::ptr::eq(ours, own.as_ref())
            }
            (Seated::Body(Body::Group(ours)), Element::Group(own)) => {
                std::ptr::eq(ours, own.as_ref())
            }
            _ => false,
        }
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

/// The child that an id is, or that it is in: `rest` is what of it follows the beginning that the ids of all children have.
pub(super) fn find<'m>(what: What<'m>, rest: &str) -> Option<Seat<'m>> {
    let long = listed(what).filter(|all| all.len() >= LONG);
    if let Some(seat) = long.and_then(|all| near(all, rest)) {
        return Some(seat);
    }
    let found = each(what, &mut |seat| {
        if seat.leads_to(rest) {
            ControlFlow::Break(seat)
        } else {
            ControlFlow::Continue(())
        }
    })
    .break_value();
    let place = |seat: &Seat<'m>| long?.iter().position(|own| seat.is(own));
    if let Some(at) = found.as_ref().and_then(place) {
        LAST.set(at);
    }
    found
}

/// Elements of a list from which on it is long to look through.
const LONG: usize = 16;

thread_local! {
    /// Where in a long list a child was found last. Steps come one after the other: the next is looked for there first.
    static LAST: Cell<usize> = const { Cell::new(0) };
}

/// The child, where it is the one that was found last or the one behind it.
fn near<'m>(all: &'m [Element], rest: &str) -> Option<Seat<'m>> {
    let last = LAST.get();
    [last + 1, last].into_iter().find_map(|at| {
        let body = match all.get(at)? {
            Element::Step(step) => Body::Step(step),
            Element::Group(group) => Body::Group(group),
            Element::Parallel(_) | Element::Insert(_) => return None,
        };
        let seat = Seat {
            inserts: Vec::new(),
            what: Seated::Body(body),
        };
        seat.leads_to(rest).then(|| {
            LAST.set(at);
            seat
        })
    })
}

/// What is asked of each, until it has its answer.
type Visit<'v, 'm> = &'v mut dyn FnMut(Seat<'m>) -> ControlFlow<Seat<'m>>;

fn each<'m>(what: What<'m>, visit: Visit<'_, 'm>) -> ControlFlow<Seat<'m>> {
    match what {
        What::Pipeline(pipeline) => stages(&pipeline.stages, &[], visit),
        What::Stages(entries) => stages(entries, &[], visit),
        _ => match listed(what) {
            Some(all) => elements(all, &[], visit),
            None => ControlFlow::Continue(()),
        },
    }
}

/// The steps and groups that are listed at a place.
fn listed(what: What<'_>) -> Option<&[Element]> {
    match what {
        What::Stage(stage) => Some(&stage.execution()?.steps),
        What::Rollback(Body::Stage(stage)) => Some(&stage.execution()?.rollback_steps),
        What::Group(group) => Some(&group.steps),
        What::Rollback(Body::Group(group)) => Some(&group.rollback_steps),
        What::Elements(inner) => Some(inner),
        What::Pipeline(_)
        | What::Stages(_)
        | What::Loop(_)
        | What::Initialize(_)
        | What::Step(_)
        | What::Rollback(Body::Step(_)) => None,
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
