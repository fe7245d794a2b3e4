//! What is mounted where in a group's pod, and as whom its containers run.

use std::collections::HashMap;

use syntax::{Diagnostic, Span, code};

use super::super::group::StepGroup;
use super::super::infra::StepGroupInfra;
use super::super::lower::Cx;
use super::super::param::Param;
use super::super::units::User;
use super::{objects, settings};
use crate::pod::{ADDON, RESERVED_PATHS};

/// The shared paths, volumes and security context of a group.
pub(super) fn group(group: &StepGroup, cx: &mut Cx) {
    let mut seen = HashMap::new();
    if let Some(paths) = group.shared_paths.as_ref().and_then(Param::literal) {
        for path in paths {
            if let Param::Literal(path) = path
                && !path.value.trim().is_empty()
            {
                mount(&path.value, path.span, "a shared path", &mut seen, cx);
            }
        }
    }
    if let Some(span) = group.shared_paths.as_ref().map(Param::span)
        && group.infra.is_none()
        && group.template.is_none()
    {
        cx.push(
            Diagnostic::warning(
                code::UNKNOWN_FIELD,
                "`sharedPaths` of a group without containers",
            )
            .at(span.head(1), "has no effect")
            .help("add `stepGroupInfra`, or remove it"),
        );
    }
    let (volumes, security, pod_user) = match group.infra() {
        Some(StepGroupInfra::KubernetesDirect(spec)) => (
            spec.volumes.as_ref(),
            spec.security.as_ref(),
            spec.run_as_user.as_ref(),
        ),
        Some(StepGroupInfra::EcsDirect(spec)) => {
            (spec.volumes.as_ref(), spec.security.as_ref(), None)
        }
        _ => (None, None, None),
    };
    if let Some(StepGroupInfra::KubernetesDirect(spec)) = group.infra() {
        objects::pod(spec, cx);
    }
    for volume in volumes.and_then(Param::literal).into_iter().flatten() {
        settings::volume(volume, cx);
        if let Some(Param::Literal(path)) = &volume.mount_path {
            mount(&path.value, path.span, "a mount path", &mut seen, cx);
        }
    }
    if let Some(security) = security.and_then(Param::literal) {
        settings::security(security, cx);
    }
    if let Some(security) = security.and_then(Param::literal)
        && let Some(Param::Literal(refused)) = &security.run_as_non_root
        && refused.value
    {
        root_refused(security.run_as_user.as_ref(), refused.span, cx);
        root_refused(pod_user, refused.span, cx);
    }
}

/// One path that is mounted.
fn mount(path: &str, span: Span, what: &str, seen: &mut HashMap<String, Span>, cx: &mut Cx) {
    let clean = normal(path);
    if !path.starts_with('/') || clean == "/" {
        cx.push(
            Diagnostic::error(code::BAD_MOUNT_PATH, format!("`{path}` cannot be {what}"))
                .at(span, "")
                .help("write an absolute path below `/`, such as `/shared`"),
        );
        return;
    }
    if clean.split('/').any(|part| part == "..") || clean == "/proc" || clean.starts_with("/proc/")
    {
        cx.push(
            Diagnostic::error(code::BAD_MOUNT_PATH, format!("`{path}` cannot be {what}"))
                .at(span, "")
                .help("write an absolute path without `..`, not below `/proc`, such as `/shared`"),
        );
        return;
    }
    if RESERVED_PATHS.contains(&clean.as_str()) {
        cx.push(
            Diagnostic::error(
                code::RESERVED_PATH,
                format!("`{clean}` is reserved and cannot be {what}"),
            )
            .at(span, "")
            .help("take another path; `/harness` is the workspace and shared already"),
        );
        return;
    }
    if clean
        .strip_prefix(ADDON)
        .is_some_and(|rest| rest.starts_with('/'))
    {
        cx.push(
            Diagnostic::error(
                code::RESERVED_PATH,
                format!("`{clean}` is inside `{ADDON}`, which is reserved"),
            )
            .at(span, "")
            .help("take a path outside of it"),
        );
        return;
    }
    if let Some(first) = seen.insert(clean.clone(), span) {
        cx.push(
            Diagnostic::error(code::MOUNTED_TWICE, format!("`{clean}` is mounted twice"))
                .at(span, "again here")
                .at(first, "first here")
                .help("keep one of them"),
        );
    }
}

/// A path without doubled, trailing and `.` parts.
fn normal(path: &str) -> String {
    let parts: Vec<_> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    format!("/{}", parts.join("/"))
}

/// User 0 where `runAsNonRoot` refuses it.
pub(super) fn root_refused(user: Option<&Param<User>>, refused: Span, cx: &mut Cx) {
    let Some(Param::Literal(user)) = user else {
        return;
    };
    let root = match &user.value {
        User::Id(id) => *id == 0,
        User::Name(name) => name == "root",
    };
    if root {
        cx.push(
            Diagnostic::error(code::ROOT_REFUSED, "user 0 is refused by `runAsNonRoot`")
                .at(user.span, "the user")
                .at(refused, "refuses it")
                .help("take another user, or remove `runAsNonRoot`"),
        );
    }
}
