//! What a pod and its containers are called.

use std::collections::BTreeSet;

use crate::model::StepSpec;
use crate::plan::NodeId;

/// The longest name of a container, and of a namespace.
pub(super) const LONGEST: usize = 63;

/// What a namespace may be called, in words.
pub const NAMESPACES: &str = "a namespace has small letters, digits and `-`, 63 at most, and begins and ends with a letter or a digit";

/// Whether a namespace may be called so: a DNS label (RFC 1123).
pub fn is_namespace(name: &str) -> bool {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=LONGEST).contains(&name.len())
        && name.bytes().all(inside)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// The types that have a container here.
pub(super) fn runs_in_container(spec: &StepSpec) -> bool {
    matches!(
        spec,
        StepSpec::Run(_)
            | StepSpec::Background(_)
            | StepSpec::Plugin(_)
            | StepSpec::GitClone(_)
            | StepSpec::DownloadManifests(_)
    )
}

/// `step-<id>`: lowercase, `_` removed, cut with a hash of the whole; a name that is taken gets `-2`, `-3`, ….
pub(super) fn name(identifier: &str, longest: usize, taken: &mut BTreeSet<String>) -> String {
    let id: String = identifier
        .to_ascii_lowercase()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    // An identifier may be made of `_` alone.
    let base = match &*id {
        "" => format!("step-{:08x}", hash(identifier)),
        id => format!("step-{id}"),
    };
    let mut number = 1;
    loop {
        let tail = if number == 1 {
            String::new()
        } else {
            format!("-{number}")
        };
        let name = if base.len() + tail.len() <= longest {
            format!("{base}{tail}")
        } else {
            let hash = format!("-{:08x}", hash(identifier));
            let cut = longest - hash.len() - tail.len();
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
    fn namespaces_are_dns_labels() {
        assert!(["a", "team-1", "0"].into_iter().all(is_namespace));
        let long = "x".repeat(64);
        let none = ["", "A", "a b", "../nodes", "a/b", "-a", "a-", "a.b", &long];
        assert!(!none.into_iter().any(is_namespace));
    }

    #[test]
    fn names_are_lowercase_short_and_unique() {
        let mut taken = BTreeSet::new();
        let long = "a".repeat(80);
        let longer = format!("{long}b");
        let made: Vec<String> = ["Build_It", "buildit", "BUILDIT", &long, &longer, &long]
            .into_iter()
            .map(|id| name(id, LONGEST, &mut taken))
            .collect();
        assert_eq!(
            made[..3],
            ["step-buildit", "step-buildit-2", "step-buildit-3"]
        );
        assert!(made.iter().all(|name| name.len() <= LONGEST));
        assert_eq!(taken.len(), made.len());
        // A cluster takes no name that ends with a dash.
        let none = name("__", LONGEST, &mut taken);
        assert!(none.starts_with("step-") && !none.ends_with('-'), "{none}");
        assert_eq!(
            pod(&"x".into(), "SAM_build_and_deploy", "12345678"),
            "harnesscd-sambuildanddepl-12345678"
        );
    }
}
