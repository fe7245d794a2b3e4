//! What a pod asks for: the most that is needed at one time.

use crate::plan::{NodeId, Place, What};

use super::{Amounts, Spec};

/// The maximum over serial steps of the sum over parallel ones, plus every Background step; a step counts with its
/// requests, else with its limits. `group` is the place of the spec's group.
pub fn requests(spec: &Spec, group: &Place<'_>) -> Amounts {
    let background = spec
        .containers
        .iter()
        .filter(|container| container.background)
        .map(|container| {
            of(
                spec,
                &NodeId(container.steps.first().cloned().unwrap_or_default()),
            )
        })
        .fold(Amounts::default(), sum);
    sum(serial(spec, group), background)
}

fn serial(spec: &Spec, place: &Place<'_>) -> Amounts {
    place
        .children()
        .iter()
        .map(|child| needed(spec, child))
        .fold(Amounts::default(), most)
}

fn needed(spec: &Spec, place: &Place<'_>) -> Amounts {
    match place.what {
        What::Step(_) => {
            let background = spec
                .containers
                .iter()
                .any(|container| container.background && container.steps.contains(&place.id.0));
            if background {
                Amounts::default()
            } else {
                of(spec, &place.id)
            }
        }
        What::Elements(_) => place
            .children()
            .iter()
            .map(|child| needed(spec, child))
            .fold(Amounts::default(), sum),
        What::Group(_) => serial(spec, place),
        _ => Amounts::default(),
    }
}

fn of(spec: &Spec, step: &NodeId) -> Amounts {
    let container = spec
        .containers
        .iter()
        .find(|container| container.steps.contains(&step.0));
    container.map_or_else(Amounts::default, |container| {
        let resources = container.resources;
        Amounts {
            cpu_millis: resources
                .requests
                .cpu_millis
                .or(resources.limits.cpu_millis),
            memory_bytes: resources
                .requests
                .memory_bytes
                .or(resources.limits.memory_bytes),
        }
    })
}

fn both(a: Amounts, b: Amounts, join: impl Fn(u64, u64) -> u64) -> Amounts {
    let one = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(join(a, b)),
        (a, b) => a.or(b),
    };
    Amounts {
        cpu_millis: one(a.cpu_millis, b.cpu_millis),
        memory_bytes: one(a.memory_bytes, b.memory_bytes),
    }
}

fn sum(a: Amounts, b: Amounts) -> Amounts {
    both(a, b, u64::saturating_add)
}

fn most(a: Amounts, b: Amounts) -> Amounts {
    both(a, b, u64::max)
}
