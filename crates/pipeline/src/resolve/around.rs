//! What is around a place, as it is written: the loops that it is in, and what its stage deploys. Told before anything runs, what is
//! not there is not there in any run.

use crate::model::{Looping, StageSpec};
use crate::plan::{Body, Level, NodeId, Place};

use super::target;

/// Nothing around answers a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// The first part that nothing answers.
    pub(super) part: usize,
    /// What would be answered in its place.
    pub(super) known: Vec<String>,
    /// Why it is not.
    pub(super) why: String,
}

/// Why no loop around answers a path into them; none: one does, or may.
pub(super) fn no_loop(path: &[&str], around: &[Body<'_>]) -> Option<Missing> {
    let (level, used) = match (path[0], path.get(1)) {
        ("matrix" | "repeat" | "strategy", _) => (None, 0),
        ("stage", Some(&("matrix" | "repeat" | "strategy"))) => (Some(Level::Stage), 1),
        ("stepGroup", Some(&("matrix" | "repeat" | "strategy"))) => (Some(Level::Group), 1),
        ("step", Some(&("matrix" | "repeat" | "strategy"))) => (Some(Level::Step), 1),
        _ => return None,
    };
    let kind = path[used];
    let name = path.get(used + 1).copied();
    if kind == "strategy" && matches!(name, Some("identifierPostFix" | "node")) {
        return None;
    }
    let around = around
        .iter()
        .filter(|body| level.is_none_or(|level| level == body.level()));
    let mut any = false;
    let mut axes: Vec<String> = Vec::new();
    for body in around {
        if body.several().is_some() {
            any |= matches!(kind, "matrix" | "strategy");
            axes.extend(["serviceRef", "environmentRef", "identifier"].map(str::to_owned));
        }
        let Some(strategy) = body.strategy() else {
            continue;
        };
        // What an expression gives is not known before.
        let strategy = strategy.literal()?;
        match &strategy.looping {
            Looping::Matrix(matrix) => {
                axes.extend(matrix.literal()?.axes.keys().cloned());
                any |= matches!(kind, "matrix" | "strategy");
            }
            // Without `items` the item is the number of the iteration.
            Looping::Repeat(_) => any |= matches!(kind, "repeat" | "strategy"),
            Looping::Parallelism(_) => any |= kind == "strategy",
        }
    }
    if !any {
        let what = match level {
            None => "this",
            Some(Level::Stage) => "the stage",
            Some(Level::Group) => "the step group",
            Some(Level::Step) => "the step",
        };
        let why = match kind {
            "matrix" => format!("{what} is in no `strategy` with a `matrix`"),
            "repeat" => format!("{what} is in no `strategy` with `repeat` and `items`"),
            _ => format!("{what} is in no `strategy`"),
        };
        return Some(Missing {
            part: used,
            known: Vec::new(),
            why,
        });
    }
    let axis = name.filter(|name| kind == "matrix" && !axes.iter().any(|own| own == name))?;
    Some(Missing {
        part: used + 1,
        why: format!("no `matrix` around has the axis `{axis}`"),
        known: axes,
    })
}

/// Why the stage around answers none of what it deploys, and where; none: it does, or may.
pub(super) fn not_deployed(root: &str, at: &super::scope::At<'_, '_>) -> Option<Missing> {
    let (stage, _) = at.place.stage.as_ref()?;
    if !matches!(stage.spec, StageSpec::Deployment(_) | StageSpec::Custom(_)) {
        return None;
    }
    let wanted = match root {
        "service" | "serviceVariables" | "artifacts" | "artifact" | "manifests" | "manifest" => {
            (!target::has_service(at, stage)).then_some("service")
        }
        "env" | "infra" | "INFRA_KEY" | "INFRA_KEY_SHORT_ID" => {
            (!target::has_environment(at, stage)).then_some("environment")
        }
        _ => None,
    }?;
    Some(Missing {
        part: 0,
        known: Vec::new(),
        why: format!("the stage `{}` names no {wanted}", stage.identifier()),
    })
}

/// Whether a value under this key of a step, or of a group in another one, is needed when the containerized group around is entered:
/// its pod is made of it, or its plan.
pub(super) fn is_planned(key: &str) -> Option<&'static str> {
    const PLANNED: [&str; 12] = [
        "image",
        "connectorRef",
        "privileged",
        "allowPrivilegeEscalation",
        "runAsUser",
        "runAsGroup",
        "resources",
        "imagePullPolicy",
        "readOnlyRootFilesystem",
        "timeout",
        "strategy",
        "failureStrategies",
    ];
    PLANNED.into_iter().find(|own| *own == key)
}

/// The outermost containerized group that a place is in, or is, with its id: others may have the same identifier.
pub(super) fn pod_of<'p>(place: &'p Place<'_>) -> Option<(&'p str, &'p NodeId)> {
    let mut groups = place.groups.iter();
    let (group, id) = groups.find(|(group, _)| group.is_containerized())?;
    Some((group.identifier.as_str(), id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_loop_gives_is_told_by_its_kind() {
        let missing = |path: &[&str]| no_loop(path, &[]).map(|own| (own.part, own.why));
        let said = |part, why: &str| Some((part, why.to_owned()));
        assert_eq!(
            missing(&["matrix", "os"]),
            said(0, "this is in no `strategy` with a `matrix`")
        );
        assert_eq!(
            missing(&["step", "repeat", "item"]),
            said(1, "the step is in no `strategy` with `repeat` and `items`")
        );
        assert_eq!(
            missing(&["strategy", "iteration"]),
            said(0, "this is in no `strategy`")
        );
        // It is the empty text outside of loops.
        assert_eq!(missing(&["strategy", "identifierPostFix"]), None);
        assert_eq!(missing(&["steps", "matrix"]), None);
    }
}
