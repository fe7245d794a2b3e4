//! Which settings of steps that run on the delegate, or nowhere, are not acted on.

use syntax::{Diagnostic, code};

use crate::model::{Approvers, Param, ScriptShell, ScriptSource, SourceType, Step, StepSpec};

use super::{Place, Runs, runs};

/// Whether a step is one of these, and what of it is refused.
pub(super) fn refused(step: &Step, place: &Place<'_>, what: &str, found: &mut Vec<Diagnostic>) {
    match &step.spec {
        StepSpec::ShellScript(own) => {
            if let Some(at) = own.remote() {
                found.push(
                    Diagnostic::error(
                        code::SETTING_NOT_RUN,
                        format!("{what}: a script on a remote host is not run"),
                    )
                    .at(at, "")
                    .help("write `onDelegate: true`: it then runs where stepyard does"),
                );
            }
            script(own.shell.as_ref(), own.source.as_ref(), what, found);
        }
        StepSpec::CustomApproval(own) => {
            script(own.shell.as_ref(), own.source.as_ref(), what, found);
        }
        StepSpec::HarnessApproval(own) => {
            let approvers = own.approvers.as_ref().and_then(Param::literal);
            let settings = [
                (
                    approvers
                        .and_then(|own| own.disallowed_emails.as_ref())
                        .map(Param::span),
                    "disallowedUserEmails",
                    "remove it: users of a machine are known by their names",
                ),
                (
                    own.auto_reject
                        .as_ref()
                        .filter(|own| own.literal() != Some(&false))
                        .map(Param::span),
                    "isAutoRejectEnabled",
                    "remove it, or end the older run by hand",
                ),
            ];
            for (at, key, help) in settings {
                if let Some(at) = at {
                    found.push(
                        Diagnostic::error(
                            code::SETTING_NOT_RUN,
                            format!("{what}: `{key}` is not acted on yet"),
                        )
                        .at(at, "")
                        .help(help),
                    );
                }
            }
            if let Some(approvers) = approvers {
                nobody(approvers, what, found);
            }
        }
        StepSpec::Barrier(own) => {
            if let Some(barrier) = own.barrier.as_ref().filter(|own| own.literal().is_none()) {
                found.push(
                    Diagnostic::error(
                        code::SETTING_NOT_RUN,
                        format!("{what}: `barrierRef` from an expression is not acted on"),
                    )
                    .at(barrier.span(), "")
                    .help("write the barrier's identifier"),
                );
            }
            let looped = place
                .groups
                .iter()
                .filter_map(|(group, _)| group.strategy.as_ref())
                .chain(
                    place
                        .stage
                        .as_ref()
                        .and_then(|(s, _)| s.common.strategy.as_ref()),
                )
                .chain(step.strategy.as_ref())
                .next();
            if let Some(looped) = looped {
                found.push(
                    Diagnostic::error(
                        code::BARRIER,
                        format!("{what}: the iterations of a loop cannot meet at a barrier"),
                    )
                    .at(step.kind.span, "")
                    .at(looped.span().head(1), "the loop")
                    .help("put the Barrier step outside of the loop"),
                );
            }
        }
        _ => {}
    }
}

/// Whether a step needs no container: it is a process of the delegate, or runs nowhere.
pub(super) fn is_own(step: &Step) -> bool {
    runs(step.step_type()) != Runs::Container
}

fn script(
    shell: Option<&Param<ScriptShell>>,
    source: Option<&ScriptSource>,
    what: &str,
    found: &mut Vec<Diagnostic>,
) {
    if let Some(Param::Literal(shell)) = shell
        && shell.value == ScriptShell::PowerShell
    {
        found.push(
            Diagnostic::error(
                code::OS_NOT_RUN,
                format!("{what}: PowerShell is not run on a delegate"),
            )
            .at(shell.span, "")
            .help("write `shell: Bash`"),
        );
    }
    if let Some(kind) = source
        .and_then(|source| source.kind.as_ref())
        .filter(|kind| kind.value != SourceType::Inline)
    {
        found.push(
            Diagnostic::error(
                code::SETTING_NOT_RUN,
                format!("{what}: a script of type {} is not read", kind.value),
            )
            .at(kind.span, "")
            .help("write `type: Inline`, and the script under `spec.script`"),
        );
    }
}

/// On one machine the owner of a run and root may approve: nobody else reaches it.
fn nobody(approvers: &Approvers, what: &str, found: &mut Vec<Diagnostic>) {
    let is_empty = |list: Option<&Param<Vec<Param<String>>>>| {
        list.is_none_or(|own| own.literal().is_some_and(Vec::is_empty))
    };
    if is_empty(approvers.user_groups.as_ref())
        && let Some(accounts) = &approvers.service_accounts
        && !is_empty(Some(accounts))
    {
        found.push(
            Diagnostic::error(
                code::NOBODY_APPROVES,
                format!("{what}: nobody can give an approval that is for service accounts alone"),
            )
            .at(
                accounts.span(),
                "a run of this machine is approved by people",
            )
            .help("name `userGroups`: whoever can reach the run is taken to be in them"),
        );
        return;
    }
    if let Some(groups) = &approvers.user_groups
        && is_empty(Some(groups))
        && is_empty(approvers.service_accounts.as_ref())
    {
        found.push(
            Diagnostic::error(
                code::NOBODY_APPROVES,
                format!("{what}: nobody can give an approval that names no approvers"),
            )
            .at(groups.span(), "no group is in this list")
            .help("name a group: whoever can reach the run is taken to be in it"),
        );
        return;
    }
    let count = approvers.minimum_count.as_ref();
    let executor = approvers
        .disallow_executor
        .as_ref()
        .is_some_and(|own| own.literal() == Some(&true));
    let there = if executor { 1 } else { 2 };
    if let Some(Param::Literal(count)) = count
        && count.value > there
    {
        let who = if executor {
            "only root does beside whoever started it"
        } else {
            "only whoever started it and root do"
        };
        found.push(
            Diagnostic::error(
                code::NOBODY_APPROVES,
                format!(
                    "{what}: nobody can give an approval of {} people here",
                    count.value
                ),
            )
            .at(count.span, format!("a run of this machine: {who}"))
            .help(format!("write `minimumCount: {there}`")),
        );
    }
}
