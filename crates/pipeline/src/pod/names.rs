//! Which container a step runs in, and what it is called.

use std::collections::BTreeSet;

use crate::model::{Pipeline, StepSpec};
use crate::plan::{NodeId, Place, What};

use super::LITE_ENGINE;

/// The longest name of a container.
const LONGEST: usize = 63;

/// The steps of a containerized group that run in its pod, with the names of their containers, in the order of the text.
pub fn containers<'m>(group: &Place<'m>) -> Vec<(Place<'m>, String)> {
    let mut taken: BTreeSet<String> = [LITE_ENGINE.to_owned()].into();
    let mut found = Vec::new();
    for place in group.clone().below() {
        if let What::Step(step) = place.what
            && runs_in_container(&step.spec)
        {
            let name = name(step.identifier.as_str(), &mut taken);
            found.push((place, name));
        }
    }
    found
}

/// The containers of the pod that a place is in; none outside of a pod.
pub fn containers_around<'m>(
    pipeline: &'m Pipeline,
    place: &Place<'_>,
) -> Vec<(Place<'m>, String)> {
    place
        .pod()
        .and_then(|(_, id)| Place::find(pipeline, id))
        .map_or_else(Vec::new, |group| containers(&group))
}

/// The types that have a container here.
fn runs_in_container(spec: &StepSpec) -> bool {
    matches!(
        spec,
        StepSpec::Run(_) | StepSpec::Background(_) | StepSpec::Plugin(_) | StepSpec::GitClone(_)
    )
}

/// `step-<id>`: lowercase, `_` removed, cut with a hash of the whole; a name that is taken gets `-2`, `-3`, ….
fn name(identifier: &str, taken: &mut BTreeSet<String>) -> String {
    let id: String = identifier
        .to_ascii_lowercase()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let base = format!("step-{id}");
    let mut number = 1;
    loop {
        let tail = if number == 1 {
            String::new()
        } else {
            format!("-{number}")
        };
        let name = if base.len() + tail.len() <= LONGEST {
            format!("{base}{tail}")
        } else {
            let hash = format!("-{:08x}", hash(identifier));
            let cut = LONGEST - hash.len() - tail.len();
            format!("{}{hash}{tail}", &base[..cut])
        };
        if taken.insert(name.clone()) {
            return name;
        }
        number += 1;
    }
}

/// FNV-1a, folded to 32 bits: names apart that are cut alike.
fn hash(text: &str) -> u32 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32)) as u32
}

/// The beginning of a pod's name: of the group's identifier, at most 15 letters and digits.
pub(super) fn pod(group: &NodeId, identifier: &str, suffix: &str) -> String {
    let short: String = identifier
        .to_ascii_lowercase()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(15)
        .collect();
    // An identifier may be made of `_` alone.
    let short = if short.is_empty() {
        format!("{:08x}", hash(&group.0))
    } else {
        short
    };
    format!("harnesscd-{short}-{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lowercase_short_and_unique() {
        let mut taken = BTreeSet::new();
        let long = "a".repeat(80);
        let longer = format!("{long}b");
        let made: Vec<String> = ["Build_It", "buildit", "BUILDIT", &long, &longer, &long]
            .into_iter()
            .map(|id| name(id, &mut taken))
            .collect();
        assert_eq!(
            made[..3],
            ["step-buildit", "step-buildit-2", "step-buildit-3"]
        );
        assert!(made.iter().all(|name| name.len() <= LONGEST));
        assert_eq!(taken.len(), made.len());
        assert_eq!(
            pod(&"x".into(), "SAM_build_and_deploy", "12345678"),
            "harnesscd-sambuildanddepl-12345678"
        );
    }
}
