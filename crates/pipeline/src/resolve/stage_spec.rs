//! `stage.spec…` and `pipeline.stages.S.spec…`: a stage's steps, and what it deploys under the names that its parts have in the
//! text: another stage reads them so, for the short roots are those of its own.

use syntax::expr::Lookup;

use crate::model::StageSpec;
use crate::plan::{Place, What};

use super::deployed;
use super::scope::{At, further, optional, unknown};

/// Where what is deployed stands in a stage's spec, and the short root of each; the longer way first.
const PARTS: [(&[&str], &[&str]); 14] = [
    (
        &[
            "serviceConfig",
            "serviceDefinition",
            "spec",
            "artifacts",
            "primary",
            "output",
        ],
        &["artifacts", "primary"],
    ),
    (&["serviceConfig", "output"], &["service"]),
    (&["serviceConfig", "variables"], &["serviceVariables"]),
    (&["serviceConfig"], &["service"]),
    (&["service", "output"], &["service"]),
    (&["service"], &["service"]),
    (&["infrastructure", "output"], &["infra"]),
    (&["infrastructure", "environment"], &["env"]),
    (&["infrastructure"], &["infra"]),
    (&["environment", "output"], &["env"]),
    (&["environment"], &["env"]),
    (&["env"], &["env"]),
    (&["artifacts"], &["artifacts"]),
    (&["manifests"], &["manifests"]),
];

/// What is asked below `spec` of a stage; `at` is the part after it.
pub(super) fn lookup<'m>(own: &At<'_, 'm>, stage: &Place<'m>, path: &[&str], at: usize) -> Lookup {
    let rest = path.get(at..).unwrap_or_default();
    if rest.first() == Some(&"execution") {
        return own.steps_of(stage, path, at + 1);
    }
    if let (Some(&"deploymentType"), What::Stage(stage)) = (rest.first(), stage.what)
        && let StageSpec::Deployment(own) = &stage.spec
    {
        let kind = own.deployment_type.as_ref();
        return optional(kind.map(|own| own.value.as_str()), at + 1);
    }
    let part = PARTS.iter().find(|(way, _)| rest.starts_with(way));
    let Some((way, root)) = part else {
        let known = [
            "execution",
            "service",
            "environment",
            "infrastructure",
            "artifacts",
            "manifests",
        ];
        return unknown(at.min(path.len() - 1), known);
    };
    let short: Vec<&str> = root.iter().chain(&rest[way.len()..]).copied().collect();
    let there = At {
        world: own.world,
        place: stage,
    };
    match deployed::lookup(&there, &short) {
        // Its document is not here: nothing can be said.
        Lookup::Unknown { part: 0, .. } => unknown(at - 1, []),
        known => further(known, at + way.len() - root.len(), path.len()),
    }
}
