//! What a pod asks for: the most that is needed at one time.

use crate::model::{Param, Strategy};
use crate::plan::{Body, NodeId, Place, What};

use super::{Amounts, Container, Spec};

/// One of the two resources.
type Of = fn(&Container) -> Option<u64>;

/// An amount, and the containers that it is for.
#[derive(Debug, Clone, Default)]
struct Need {
    amount: Option<u64>,
    containers: Vec<usize>,
}

/// Sets the requests of the pod and what each container carries of them: the maximum over serial steps of the sum over
/// parallel ones, plus every Background step; a step counts with its requests, else with its limits. `group` is the place
/// of the spec's group.
pub(super) fn set(spec: &mut Spec, group: &Place<'_>) {
    let cpu = need(&spec.containers, group, |own| {
        let asked = own.resources.requests.cpu_millis;
        asked.or(own.resources.limits.cpu_millis)
    });
    let memory = need(&spec.containers, group, |own| {
        let asked = own.resources.requests.memory_bytes;
        asked.or(own.resources.limits.memory_bytes)
    });
    for (at, container) in spec.containers.iter_mut().enumerate() {
        let resources = container.resources;
        container.share = Amounts {
            cpu_millis: resources
                .requests
                .cpu_millis
                .or(resources.limits.cpu_millis)
                .filter(|_| cpu.containers.contains(&at)),
            memory_bytes: resources
                .requests
                .memory_bytes
                .or(resources.limits.memory_bytes)
                .filter(|_| memory.containers.contains(&at)),
        };
    }
    spec.requests = Amounts {
        cpu_millis: cpu.amount,
        memory_bytes: memory.amount,
    };
}

fn need(containers: &[Container], group: &Place<'_>, of: Of) -> Need {
    let mut all = serial(containers, group, of);
    for (at, container) in containers.iter().enumerate() {
        if container.background {
            all = sum(all, one(at, of(container)));
        }
    }
    all
}

fn serial(containers: &[Container], place: &Place<'_>, of: Of) -> Need {
    place
        .children()
        .iter()
        .map(|child| below(containers, child, of))
        .fold(Need::default(), |most, next| {
            if next.amount > most.amount {
                next
            } else {
                most
            }
        })
}

fn below(containers: &[Container], place: &Place<'_>, of: Of) -> Need {
    match place.what {
        What::Step(_) => {
            let found = containers
                .iter()
                .position(|container| container.steps.contains(&place.id.0));
            match found {
                Some(at) if !containers[at].background => one(at, of(&containers[at])),
                _ => Need::default(),
            }
        }
        What::Elements(_) => place
            .children()
            .iter()
            .map(|child| below(containers, child, of))
            .fold(Need::default(), sum),
        What::Group(_) => serial(containers, place, of),
        What::Loop(body) => looped(containers, place, body, of),
        _ => Need::default(),
    }
}

/// Iterations run side by side, as many as may at once; those that need the most are taken.
fn looped(containers: &[Container], place: &Place<'_>, body: Body<'_>, of: Of) -> Need {
    let head = format!("{}.", place.id);
    let mut parts: Vec<&str> = Vec::new();
    for step in containers.iter().flat_map(|own| &own.steps) {
        let part = step
            .strip_prefix(&head)
            .and_then(|rest| rest.split('.').next());
        if let Some(part) = part
            && !parts.contains(&part)
        {
            parts.push(part);
        }
    }
    let mut each: Vec<Need> = parts
        .iter()
        .map(|part| {
            let id = NodeId(format!("{head}{part}"));
            below(containers, &place.body(body, id), of)
        })
        .collect();
    each.sort_by_key(|own| std::cmp::Reverse(own.amount));
    let limit = body
        .strategy()
        .and_then(Param::literal)
        .and_then(Strategy::limit)
        .map_or(usize::MAX, |limit| limit as usize);
    each.into_iter().take(limit).fold(Need::default(), sum)
}

fn one(at: usize, amount: Option<u64>) -> Need {
    Need {
        amount,
        containers: amount.map(|_| at).into_iter().collect(),
    }
}

fn sum(mut a: Need, b: Need) -> Need {
    a.amount = match (a.amount, b.amount) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (a, b) => a.or(b),
    };
    a.containers.extend(b.containers);
    a
}
