//! What a summary says beyond the events: limits from the pods that were made, sums of the reports that were kept.

use std::collections::BTreeMap;
use std::fs;

use pipeline::plan::NodeId;
use pipeline::pod::{Amounts, Spec};

use crate::home::RunDir;
use crate::problem::Problem;
use crate::screen::summary::Extras;

/// Keeps the description of a pod with its run.
pub(crate) fn keep_pod(run: &RunDir, spec: &Spec) -> Result<(), Problem> {
    let dir = run.join("pods");
    let path = dir.join(format!("{}.json", spec.name));
    fs::create_dir_all(&dir)
        .and_then(|()| fs::write(&path, serde_json::to_vec_pretty(spec)?))
        .map_err(|e| Problem::system(format_args!("write {}", path.display()), &e))
}

/// The limits of the steps of a pod.
pub(crate) fn limits(spec: &Spec, into: &mut BTreeMap<NodeId, Amounts>) {
    for container in &spec.containers {
        for step in &container.steps {
            into.insert(NodeId(step.clone()), container.resources.limits);
        }
    }
}

/// What is kept of a run. What cannot be read is not said.
pub(crate) fn of(run: &RunDir) -> Extras {
    let mut extras = Extras::default();
    for entry in fs::read_dir(run.join("pods"))
        .into_iter()
        .flatten()
        .flatten()
    {
        if let Ok(text) = fs::read(entry.path())
            && let Ok(spec) = serde_json::from_slice::<Spec>(&text)
        {
            limits(&spec, &mut extras.limits);
        }
    }
    extras
}
