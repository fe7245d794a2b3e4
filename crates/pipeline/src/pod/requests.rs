//! What a pod asks for: the most that is needed at one time.

use crate::plan::{Place, What};

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
        _ => Need::default(),
    }
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
