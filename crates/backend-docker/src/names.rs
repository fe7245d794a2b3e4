//! What the objects of a pod are called on the engine, and the labels by which they are found again.

use std::collections::HashMap;

use pipeline::pod::Spec;

/// On every container and volume of ours.
pub(crate) const MANAGED: &str = "dev.stepyard.managed";
/// The pod's name.
pub(crate) const POD: &str = "dev.stepyard.pod";
/// The run's id.
pub(crate) const RUN: &str = "dev.stepyard.run";
/// The group's node id.
pub(crate) const GROUP: &str = "dev.stepyard.group";

/// Labels of everything that belongs to a pod.
pub(crate) fn labels(spec: &Spec) -> HashMap<String, String> {
    [
        (MANAGED, "true"),
        (POD, &spec.name),
        (RUN, &spec.run),
        (GROUP, &spec.group),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// The anchor: lite-engine's container.
pub(crate) fn anchor(pod: &str) -> String {
    pod.to_owned()
}

/// A step's container.
pub(crate) fn container(pod: &str, container: &str) -> String {
    format!("{pod}-{container}")
}

/// A volume of the pod.
pub(crate) fn volume(pod: &str, volume: &str) -> String {
    format!("{pod}-{volume}")
}

/// A container's own slice of `/addon`.
pub(crate) fn slice(pod: &str, container: &str) -> String {
    format!("{pod}-addon-{container}")
}

/// A claim: a volume that outlives its pods.
pub(crate) fn claim(name: &str) -> String {
    format!("stepyard-claim-{name}")
}
