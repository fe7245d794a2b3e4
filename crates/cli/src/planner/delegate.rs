//! Whether steps may be processes of this machine.

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
