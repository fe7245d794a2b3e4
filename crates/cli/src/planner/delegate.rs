//! Whether steps may be processes of this machine.

use pipeline::model::{HarnessApproval, Param, StepSpec};
use pipeline::plan::{Place, Runs, What, runs};
use syntax::{Diagnostic, code};

use crate::problem::Problem;

/// `allow`, or `deny` as `--no-delegate-scripts`.
const VARIABLE: &str = "STEPYARD_DELEGATE_SCRIPTS";

/// What is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delegate {
    /// Everything.
    Allowed,
    /// No script.
    NoScripts,
    /// No process: this system has not what holds one.
    Nothing,
}

impl Delegate {
    /// By the command line and the environment.
    pub(crate) fn of(no_scripts: bool) -> Result<Self, Problem> {
        let denied = match std::env::var(VARIABLE).as_deref() {
            Err(_) | Ok("" | "allow") => false,
            Ok("deny") => true,
            Ok(other) => {
                return Err(Problem::invalid(format!(
                    "{VARIABLE} is `{other}`, which is no setting"
                ))
                .help("set it to `allow` or `deny`"));
            }
        };
        Ok(match no_scripts || denied {
            _ if cfg!(not(target_os = "linux")) => Self::Nothing,
            true => Self::NoScripts,
            false => Self::Allowed,
        })
    }

    /// Why a step is not run.
    pub(crate) fn refuses(self, place: &Place<'_>) -> Option<Diagnostic> {
        let What::Step(step) = place.what else {
            return None;
        };
        if let StepSpec::HarnessApproval(approval) = &step.spec {
            return rustix::process::geteuid()
                .is_root()
                .then(|| nobody_but_root(approval, step.identifier.as_str()))?;
        }
        let kind = step.step_type();
        if runs(kind) != Runs::Process {
            return None;
        }
        let (why, help) = match self {
            Self::Allowed => return None,
            Self::NoScripts if kind == "Http" => return None,
            Self::NoScripts => (
                "scripts of a pipeline are not allowed to run on this machine itself",
                "put the script into a `Run` step of a containerized step group, or allow it",
            ),
            Self::Nothing => (
                "only Linux has what holds a process of the delegate",
                "use a `Run` step of a containerized step group",
            ),
        };
        Some(
            Diagnostic::error(
                code::NO_DELEGATE_PROCESS,
                format!("step `{}` ({kind}): {why}", step.identifier),
            )
            .at(step.kind.span, "")
            .help(help),
        )
    }
}

/// A run of root can be reached by root alone, who started it.
fn nobody_but_root(approval: &HarnessApproval, step: &str) -> Option<Diagnostic> {
    let approvers = approval.approvers.as_ref().and_then(Param::literal)?;
    let not_executor = approvers.disallow_executor.as_ref();
    let count = approvers.minimum_count.as_ref();
    let (at, help) = if not_executor.is_some_and(|own| own.literal() == Some(&true)) {
        (
            not_executor?.span(),
            "run it as another user, whom root may approve; or write `disallowPipelineExecutor: false`",
        )
    } else if count.and_then(Param::literal) == Some(&2) {
        (
            count?.span(),
            "run it as another user, or write `minimumCount: 1`",
        )
    } else {
        return None;
    };
    Some(
        Diagnostic::error(
            code::NOBODY_APPROVES,
            format!("step `{step}`: nobody can give this approval here"),
        )
        .at(at, "root starts this run, and nobody else reaches it")
        .help(help),
    )
}

#[cfg(test)]
mod tests {
    use pipeline::model;
    use syntax::Sources;

    use super::*;

    #[test]
    fn root_alone_may_not_be_two_and_not_be_kept_out() {
        for (approvers, refused) in [
            ("minimumCount: 1, disallowPipelineExecutor: false", false),
            ("minimumCount: 1, disallowPipelineExecutor: true", true),
            ("minimumCount: 2, disallowPipelineExecutor: false", true),
        ] {
            let text = format!(
                "pipeline: {{identifier: p, name: p, stages: [{{stage: {{identifier: s, name: s, type: Custom, spec: {{execution: {{steps: [{{step: {{identifier: a, name: a, type: HarnessApproval, spec: {{includePipelineExecutionHistory: true, approvers: {{userGroups: [g], {approvers}}}}}}}}}]}}}}}}}}]}}"
            );
            let mut sources = Sources::new();
            let id = sources.add("p.yaml", &text);
            let loaded = model::read(&sources, [id], model::Options::default());
            let pipeline = loaded.pipeline.expect("a pipeline");
            let step = Place::all(&pipeline)
                .into_iter()
                .find_map(|own| match own.what {
                    What::Step(step) => Some(step),
                    _ => None,
                })
                .expect("a step");
            let StepSpec::HarnessApproval(own) = &step.spec else {
                panic!("{step:?}");
            };
            assert_eq!(nobody_but_root(own, "a").is_some(), refused, "{text}");
        }
    }
}
