//! Names, labels and host names of a group's pod, as an API server takes them: whoever writes others is told before there is a pod.
//!
//! The rules are those of Kubernetes' own validation (`k8s.io/apimachinery/pkg/util/validation`), which are RFC 1123 for names.

use super::super::infra::{Effect, KubernetesDirect, TextMap, Toleration};
use super::super::lower::Cx;
use super::super::param::Param;
use super::settings::{refuse, written};
use crate::pod::{NAMESPACES, is_namespace};

/// What names of objects are made of.
pub(super) const NAMES: &str = "names in a cluster have small letters, digits, `-` and `.`, and begin and end with a letter or a digit";
const KEYS: &str = "a key is a name of letters, digits, `-`, `_` and `.`, 63 at most, that may stand behind a domain and `/`: `example.com/team`";
const VALUES: &str = "a value has letters, digits, `-`, `_` and `.`, 63 at most, and begins and ends with a letter or a digit";

/// The settings of a pod.
pub(super) fn pod(spec: &KubernetesDirect, cx: &mut Cx) {
    // White space in a namespace is dropped before use.
    if let Some(own) = written(spec.namespace.as_ref()) {
        let name: String = own.value.split_whitespace().collect();
        if !name.is_empty() && !is_namespace(&name) {
            let message = format!("`{name}` is no name of a namespace");
            refuse(own.span, message, NAMESPACES.to_owned(), cx);
        }
    }
    for (setting, what) in [
        (&spec.service_account_name, "a service account"),
        (&spec.priority_class_name, "a priority class"),
    ] {
        if let Some(own) = written(setting.as_ref())
            && !own.value.trim().is_empty()
            && !is_object_name(own.value.trim())
        {
            let message = format!("`{}` is no name of {what}", own.value.trim());
            refuse(own.span, message, NAMES.to_owned(), cx);
        }
    }
    texts(&spec.labels, "a label", true, cx);
    texts(&spec.annotations, "an annotation", false, cx);
    texts(&spec.node_selector, "a node selector", true, cx);
    for toleration in spec
        .tolerations
        .as_ref()
        .and_then(Param::literal)
        .into_iter()
        .flatten()
    {
        tolerates(toleration, cx);
    }
    for name in spec
        .host_names
        .as_ref()
        .and_then(Param::literal)
        .into_iter()
        .flatten()
    {
        if let Some(own) = written(Some(name))
            && !is_object_name(&own.value)
        {
            let help = "host names have small letters, digits, `-` and `.`, and begin and end with a letter or a digit";
            let message = format!("`{}` is no host name", own.value);
            refuse(own.span, message, help.to_owned(), cx);
        }
    }
}

/// Texts by key, whose values are short where the cluster selects by them.
fn texts(map: &TextMap, what: &str, selects: bool, cx: &mut Cx) {
    for (key, value) in map.as_ref().and_then(Param::literal).into_iter().flatten() {
        // A key with an expression in it is known later.
        if !key.contains("<+") && !is_key(key) {
            refuse(
                value.span(),
                format!("`{key}` is no key of {what}"),
                KEYS.to_owned(),
                cx,
            );
        }
        if let Some(own) = written(Some(value)).filter(|own| selects && !is_label(&own.value)) {
            refuse(
                own.span,
                format!("`{}` is no value of {what}", own.value),
                VALUES.to_owned(),
                cx,
            );
        }
    }
}

fn tolerates(toleration: &Toleration, cx: &mut Cx) {
    if let Some(key) =
        written(toleration.key.as_ref()).filter(|key| !key.value.is_empty() && !is_key(&key.value))
    {
        refuse(
            key.span,
            format!("`{}` is no key of a taint", key.value),
            KEYS.to_owned(),
            cx,
        );
    }
    if let Some(value) = written(toleration.value.as_ref()).filter(|value| !is_label(&value.value))
    {
        refuse(
            value.span,
            format!("`{}` is no value of a taint", value.value),
            VALUES.to_owned(),
            cx,
        );
    }
    let effect = toleration.effect.as_ref();
    if let Some(seconds) = &toleration.seconds
        && effect.is_none_or(|effect| {
            effect
                .literal()
                .is_some_and(|own| *own != Effect::NoExecute)
        })
    {
        let message = "`tolerationSeconds` is for the effect `NoExecute` alone".to_owned();
        let help = "write `effect: NoExecute`, or remove `tolerationSeconds`".to_owned();
        refuse(seconds.span(), message, help, cx);
    }
}

/// A DNS subdomain (RFC 1123), as Kubernetes wants names of objects.
pub(super) fn is_object_name(name: &str) -> bool {
    let part = |part: &str| {
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let edges = !part.starts_with('-') && !part.ends_with('-');
        !part.is_empty() && edges && part.bytes().all(inside)
    };
    name.len() <= 253 && name.split('.').all(part)
}

/// A key of a label, an annotation or a taint.
fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        // Domains of keys are compared in small letters.
        Some((domain, name)) => {
            is_object_name(&domain.to_ascii_lowercase()) && !name.is_empty() && is_label(name)
        }
        None => !key.is_empty() && is_label(key),
    }
}

/// A value of a label; an empty one is one.
fn is_label(value: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects_are_dns_subdomains() {
        for name in ["cache", "team-a.cache", "0", "a.b-c.d"] {
            assert!(is_object_name(name), "{name}");
        }
        for name in ["", "Cache", "a_b", "-a", "a-", "a..b", ".a", "a/b", "../a"] {
            assert!(!is_object_name(name), "{name}");
        }
    }

    #[test]
    fn keys_may_have_a_domain_and_values_may_be_empty() {
        for key in [
            "team",
            "Team_1.x",
            "example.com/team",
            "Example.com/Team",
            "a/b",
        ] {
            assert!(is_key(key), "{key}");
        }
        let long = "x".repeat(64);
        for key in [
            "",
            "/a",
            "a/",
            "a b",
            "-a",
            "a_",
            "ex_ample.com/a",
            "a/b/c",
            &long,
        ] {
            assert!(!is_key(key), "{key}");
        }
        for value in ["", "a", "A.b-c_d", "1"] {
            assert!(is_label(value), "{value}");
        }
        for value in ["a b", "-a", "a.", "é", &long] {
            assert!(!is_label(value), "{value}");
        }
    }
}
