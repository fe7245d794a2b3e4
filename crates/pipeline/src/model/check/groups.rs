//! What may stand where: steps in containerized groups and outside of them.

use syntax::{Diagnostic, code};

use super::super::execution::Element;
use super::super::group::StepGroup;
use super::super::infra::StepGroupInfra;
use super::super::lower::Cx;
use super::super::param::Param;
use super::super::stage::{Stage, StageSpec};
use super::super::step::{Class, Step, StepSpec};
use super::super::units::User;
use super::{mounts, settings};
use crate::plan::{Runs, runs};

/// Every step and group of a stage.
pub(super) fn stage(stage: &Stage, cx: &mut Cx) {
    let Some(execution) = stage.execution() else {
        return;
    };
    // Other stages bring their own infrastructure: a CI stage is one pod.
    let place = match stage.spec {
        StageSpec::Deployment(_) | StageSpec::Custom(_) => Place::Open,
        _ => Place::Foreign,
    };
    for list in [&execution.steps, &execution.rollback_steps] {
        walk(list, &place, cx);
    }
}

/// What is around a step.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place<'m> {
    /// A stage of another kind, which is not ours to judge.
    Foreign,
    /// No container.
    Open,
    /// A containerized group.
    Pod(&'m StepGroup),
    /// A group whose infrastructure is known only later.
    Unknown,
}

fn walk(list: &[Element], place: &Place<'_>, cx: &mut Cx) {
    for element in list {
        match element {
            Element::Step(step) => check_step(step, place, cx),
            Element::Parallel(_) | Element::Insert(_) => walk(element.children(), place, cx),
            Element::Group(group) => {
                let inner = if matches!(place, Place::Pod(_)) {
                    *place
                } else if group.is_containerized() {
                    Place::Pod(group)
                } else if group
                    .infra
                    .as_ref()
                    .is_some_and(|infra| infra.literal().is_none())
                {
                    Place::Unknown
                } else {
                    *place
                };
                // That it is here at all is a matter of other servers.
                if let (Place::Pod(outer), Some(infra)) = (place, &group.infra) {
                    cx.push(
                        Diagnostic::warning(
                            code::NESTED_GROUP,
                            format!(
                                "the step group `{}` runs in the pod of `{}`: its own infrastructure is not used",
                                group.identifier, outer.identifier
                            ),
                        )
                        .at(infra.span().head(1), "")
                        .at(outer.identifier.span(), "the containerized group")
                        .help("remove `stepGroupInfra`, or put the group beside the other"),
                    );
                }
                mounts::group(group, cx);
                walk(&group.steps, &inner, cx);
                walk(&group.rollback_steps, &inner, cx);
            }
        }
    }
}

fn check_step(step: &Step, place: &Place<'_>, cx: &mut Cx) {
    let kind = step.step_type();
    let span = step.kind.span;
    let Some(class) = step.class() else { return };
    match (place, class) {
        (Place::Pod(group), Class::Outside) => cx.push(
            Diagnostic::error(
                code::NOT_IN_CONTAINER,
                format!("a `{kind}` step cannot be in a containerized step group"),
            )
            .at(span, "")
            .at(group.identifier.span(), "the containerized group")
            .help("put it beside the group"),
        ),
        // One that only waits has no use for files.
        (Place::Pod(group), Class::Delegate) if runs(kind) != Runs::Nowhere => cx.push(
            Diagnostic::warning(
                code::DELEGATE_IN_GROUP,
                format!("a `{kind}` step runs outside the pod of its group"),
            )
            .at(span, "sees none of the group's files and services")
            .at(group.identifier.span(), "the containerized group")
            .help("put it beside the group, or use a `Run` step"),
        ),
        (Place::Open, Class::Container) => cx.push(
            Diagnostic::error(
                code::NEEDS_CONTAINER,
                format!("a `{kind}` step needs a containerized step group"),
            )
            .at(span, "")
            .help("put it into a `stepGroup` that has `stepGroupInfra` of type `KubernetesDirect`"),
        ),
        _ => {}
    }
    if kind == "Container" {
        cx.push(
            Diagnostic::warning(code::DEPRECATED_STEP, "the `Container` step is deprecated")
                .at(span, "")
                .help("use a `Run` step in a step group with `stepGroupInfra`"),
        );
    }
    if let Place::Pod(group) = place {
        in_pod(step, group, cx);
    }
}

/// What a step in a containerized group must say, and may not.
fn in_pod(step: &Step, group: &StepGroup, cx: &mut Cx) {
    let place = step.kind.span;
    let container = match &step.spec {
        StepSpec::Run(run) => Some(&run.container),
        StepSpec::Background(background) => Some(&background.container),
        StepSpec::Plugin(plugin) => Some(&plugin.container),
        _ => None,
    };
    settings::image(container.and_then(|own| own.image.as_ref()), cx);
    let kubernetes = group.kubernetes().is_some();
    let uses = matches!(&step.spec, StepSpec::Plugin(plugin) if plugin.uses.is_some());
    if let Some(container) = container
        && kubernetes
        && container
            .image
            .as_ref()
            .is_none_or(|image| image.text().trim().is_empty())
        && !uses
    {
        cx.push(
            Diagnostic::error(
                code::NEEDS_IMAGE,
                match step.identifier.as_str() {
                    // That it has none is told of itself.
                    "" => "a step has no image".to_owned(),
                    id => format!("the step `{id}` has no image"),
                },
            )
            .at(place, "a step in a pod runs in an image")
            .help("add `image: alpine:3.20` to its spec; locally `host:/` is this machine"),
        );
    }
    match &step.spec {
        StepSpec::Background(background) if kubernetes => {
            if let Some(binding) = background.port_bindings.values().next() {
                cx.push(
                    Diagnostic::error(code::PORT_BINDINGS, "a pod has no `portBindings`")
                        .at(binding.span(), "")
                        .help("remove them: the containers of a pod share `localhost`"),
                );
            }
        }
        StepSpec::GitClone(clone) => {
            if let Some(Param::Literal(directory)) = &clone.clone_directory
                && directory.value.trim_end_matches('/') == crate::pod::WORKSPACE
            {
                cx.push(
                    Diagnostic::error(
                        code::RESERVED_PATH,
                        "a repository cannot be cloned into the workspace itself",
                    )
                    .at(directory.span, "")
                    .help("name a directory in it: `cloneDirectory: /harness/app`"),
                );
            }
        }
        StepSpec::DownloadAwsS3(download) => {
            if let Some(Param::Literal(paths)) = &download.paths
                && paths.value.len() > 1
            {
                cx.push(
                    Diagnostic::error(
                        code::ONE_OF,
                        "`paths` of DownloadAwsS3 has exactly one entry",
                    )
                    .at(paths.value[1].span(), "a second one")
                    .help("use a step for each, or a folder"),
                );
            }
        }
        _ => {}
    }
    if let Some(container) = container {
        non_root(group, container.run_as_user.as_ref(), cx);
    }
    if let StepSpec::GitClone(clone) = &step.spec {
        non_root(group, clone.run_as_user.as_ref(), cx);
    }
}

/// A step of user 0 where the group refuses it.
fn non_root(group: &StepGroup, user: Option<&Param<User>>, cx: &mut Cx) {
    let Some(security) = group
        .infra()
        .and_then(|infra| match infra {
            StepGroupInfra::KubernetesDirect(spec) => spec.security.as_ref(),
            StepGroupInfra::EcsDirect(spec) => spec.security.as_ref(),
            _ => None,
        })
        .and_then(Param::literal)
    else {
        return;
    };
    let Some(Param::Literal(refused)) = &security.run_as_non_root else {
        return;
    };
    if !refused.value {
        return;
    }
    mounts::root_refused(user, refused.span, cx);
}
