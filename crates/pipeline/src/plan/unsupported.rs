//! What the format can express and a run does not do yet: refused by name before anything runs.
//!
//! Errors are what would make a run green or red wrongly, or run less or more than is written.

use syntax::{Diagnostic, Span, Spanned, code};

use crate::model::{
    Os, Param, Pipeline, Shell, Stage, StageSpec, Step, StepGroup, StepGroupInfra, StepSpec,
};

use super::{Place, What, delegate};

/// Everything in a pipeline that is known and not acted on, in the order of the text.
pub fn unsupported(pipeline: &Pipeline) -> Vec<Diagnostic> {
    let mut found: Vec<_> = Place::all(pipeline)
        .iter()
        .flat_map(unsupported_at)
        .collect();
    syntax::diagnostic::sort(&mut found);
    found
}

/// What stands at one place and is not acted on.
pub fn unsupported_at(place: &Place<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    match place.what {
        What::Stage(own) => stage(own, &mut found),
        What::Group(own) => group(own, &mut found),
        What::Step(own) => step(own, place, &mut found),
        _ => {}
    }
    found
}

fn refuse(code: code::Code, at: Span, message: impl Into<String>, help: &str) -> Diagnostic {
    Diagnostic::error(code, message).at(at, "").help(help)
}

fn stage(stage: &Stage, found: &mut Vec<Diagnostic>) {
    let id = stage.identifier();
    let what = format!("stage `{id}`");
    match &stage.spec {
        // A template that could not be put in place is told where it is named.
        StageSpec::Deployment(_) | StageSpec::Custom(_) | StageSpec::Template(_) => {}
        StageSpec::Other(other) => found.push(refuse(
            code::STAGE_NOT_RUN,
            other.kind.span,
            format!("{what}: stages of type {} are not run", other.kind.value),
            "Deployment and Custom stages are",
        )),
    }
}

fn group(group: &StepGroup, found: &mut Vec<Diagnostic>) {
    let what = format!("step group `{}`", group.identifier);
    match &group.infra {
        None => {}
        Some(Param::Literal(Spanned { value, span })) => match value {
            StepGroupInfra::KubernetesDirect(pod) => {
                if let Some(Param::Literal(os)) = &pod.os
                    && os.value != Os::Linux
                {
                    found.push(refuse(
                        code::OS_NOT_RUN,
                        os.span,
                        format!("{what}: `os: {}` is not run", os.value),
                        "write `os: Linux`",
                    ));
                }
            }
            StepGroupInfra::Vm(_) | StepGroupInfra::EcsDirect(_) => found.push(refuse(
                code::INFRA_NOT_RUN,
                span.head(1),
                format!(
                    "{what}: infrastructure of type {} is not run",
                    value.infra_type()
                ),
                "write `type: KubernetesDirect`; without a cluster its pod is made on this machine",
            )),
            StepGroupInfra::Delegate(_) | StepGroupInfra::Noop(_) => {}
        },
        Some(other) => found.push(refuse(
            code::INFRA_NOT_RUN,
            other.span(),
            format!("{what}: infrastructure from an expression is not run yet"),
            "write out `stepGroupInfra`",
        )),
    }
}

fn step(step: &Step, place: &Place<'_>, found: &mut Vec<Diagnostic>) {
    let what = format!("step `{}`", step.identifier);
    let shell = match &step.spec {
        StepSpec::Run(run) => run.shell.as_ref(),
        StepSpec::Background(background) => background.shell.as_ref(),
        StepSpec::Plugin(plugin) => {
            if let Some(uses) = &plugin.uses {
                found.push(setting(uses.span(), &what, "uses", "give `image`"));
            }
            None
        }
        StepSpec::GitClone(_) | StepSpec::DownloadManifests(_) => None,
        StepSpec::Template(_) => return,
        _ if delegate::is_own(step) => {
            delegate::refused(step, place, &what, found);
            None
        }
        _ => {
            found.push(refuse(
                code::STEP_NOT_RUN,
                step.kind.span,
                format!("{what}: steps of type {} are not run yet", step.step_type()),
                "Run, Background, Plugin, GitClone, DownloadManifests, ShellScript, Http, Wait, Barrier, Queue and approval steps are",
            ));
            return;
        }
    };
    if place.pod().is_none() && !delegate::is_own(step) {
        found.push(refuse(
            code::STEP_NOT_RUN,
            step.kind.span,
            format!(
                "{what}: a {} step is not run outside of a containerized step group",
                step.step_type()
            ),
            "put it into a `stepGroup` with `stepGroupInfra`",
        ));
    }
    if let Some(Param::Literal(shell)) = shell
        && shell.value == Shell::Powershell
    {
        found.push(refuse(
            code::OS_NOT_RUN,
            shell.span,
            format!("{what}: Windows PowerShell is not run"),
            "write `shell: Pwsh`, and an image that has it",
        ));
    }
    let container = match &step.spec {
        StepSpec::Run(run) => Some(&run.container),
        StepSpec::Background(background) => Some(&background.container),
        StepSpec::Plugin(plugin) => Some(&plugin.container),
        _ => None,
    };
    if let Some(registry) = container.and_then(|container| container.registry_ref.as_ref()) {
        found.push(setting(
            registry.span(),
            &what,
            "registryRef",
            "use `connectorRef` with a DockerRegistry connector",
        ));
    }
    if let Some(enforce) = &step.enforce
        && enforce
            .policy_sets
            .as_ref()
            .is_some_and(|sets| sets.literal().is_none_or(|sets| !sets.is_empty()))
    {
        found.push(setting(
            enforce.span,
            &what,
            "enforce",
            "remove it; no policy is asked here",
        ));
    }
}

fn setting(at: Span, what: &str, key: &str, help: &str) -> Diagnostic {
    refuse(
        code::SETTING_NOT_RUN,
        at,
        format!("{what}: `{key}` is not acted on yet"),
        help,
    )
}
