//! What a step that runs nowhere waits for, by what is known when it is entered.

use syntax::Diagnostic;

use crate::model::{self, Param, QueueScope, StepSpec};
use crate::plan::{self, Approval, Auto, Entry, NodeId, Place, ROOT, Wait, What, barriers};

use super::World;
use super::values::Values;

/// What a step waits for; none for a step that does not.
pub fn wait(world: &World<'_>, step: &NodeId) -> Result<Option<Wait>, Vec<Diagnostic>> {
    let Some(place) = Place::of(world, step) else {
        return Err(Vec::new());
    };
    let What::Step(own) = place.what else {
        return Err(Vec::new());
    };
    let values = Values::new(world, &place);
    let made = match &own.spec {
        StepSpec::Wait(spec) => values
            .get(spec.duration.as_ref(), "duration")
            .map(|duration: model::Duration| Wait::Time { ms: duration.ms }),
        StepSpec::Barrier(spec) => {
            values
                .get(spec.barrier.as_ref(), "barrierRef")
                .map(|barrier: String| Wait::Barrier {
                    with: barriers::others(world.pipeline, &place.id, &barrier),
                    barrier,
                })
        }
        StepSpec::Queue(spec) => {
            let key: Option<String> = values.get(spec.key.as_ref(), "key");
            let scope = values.get(spec.scope.as_ref(), "scope");
            key.zip(scope).map(|(key, scope)| Wait::Queue {
                key,
                until: until(scope, &place),
            })
        }
        StepSpec::HarnessApproval(spec) => Some(Wait::Approval(Box::new(approval(spec, &values)))),
        _ => None,
    };
    values.finish(made)
}

/// What a queue's place is held for.
fn until(scope: QueueScope, place: &Place<'_>) -> NodeId {
    let group = place.groups.last().map(|(_, id)| id);
    let stage = place.stage.as_ref().map(|(_, id)| id);
    let found = match scope {
        QueueScope::Pipeline => None,
        QueueScope::Stage => stage,
        QueueScope::StepGroup => group.or(stage),
    };
    found.cloned().unwrap_or_else(|| ROOT.into())
}

/// When it is approved by itself.
fn auto(own: &model::AutoApproval, values: &Values<'_, '_>) -> Option<Auto> {
    let written = own.deadline.as_ref()?;
    let time: String = values.get(written.time.as_ref(), "time")?;
    let zone: String = values.get(written.zone.as_ref(), "timeZone")?;
    match plan::deadline(&time, &zone) {
        Ok(at_ms) => Some(Auto {
            at_ms,
            when: format!("{} {}", time.trim(), zone.trim()),
            comment: values
                .get(own.comments.as_ref(), "comments")
                .unwrap_or_default(),
        }),
        Err(wrong) => {
            let span = |param: Option<&Param<String>>| param.map_or(own.span, Param::span);
            let time = (time.as_str(), span(written.time.as_ref()));
            let zone = (zone.as_str(), span(written.zone.as_ref()));
            values.push(wrong.told(time, zone));
            None
        }
    }
}

fn approval(spec: &model::HarnessApproval, values: &Values<'_, '_>) -> Approval {
    let approvers = values.get(spec.approvers.as_ref(), "approvers");
    let own = approvers.as_ref();
    let inputs = values
        .get(spec.inputs.as_ref(), "approverInputs")
        .unwrap_or_default();
    let entry = |input: &model::ApproverInput| {
        let mut allowed = values.list(input.allowed.as_ref(), "allowedValues");
        allowed.extend(values.list(input.select_one.as_ref(), "selectOneFrom"));
        let several = values.list(input.select_many.as_ref(), "selectManyFrom");
        let many = !several.is_empty();
        allowed.extend(several);
        Some(Entry {
            many,
            regex: values.get(input.regex.as_ref(), "regex"),
            name: input.name.as_ref()?.value.clone(),
            default: values
                .get(input.default.as_ref(), "defaultValue")
                .unwrap_or_default(),
            required: values
                .get(input.required.as_ref(), "required")
                .unwrap_or(false),
            allowed,
        })
    };
    Approval {
        message: values
            .get(spec.message.as_ref(), "approvalMessage")
            .unwrap_or_default(),
        history: values
            .get(
                spec.include_history.as_ref(),
                "includePipelineExecutionHistory",
            )
            .unwrap_or(false),
        groups: values.list(own.and_then(|own| own.user_groups.as_ref()), "userGroups"),
        minimum: values
            .get(
                own.and_then(|own| own.minimum_count.as_ref()),
                "minimumCount",
            )
            .unwrap_or(1)
            .max(1),
        not_executor: values
            .get(
                own.and_then(|own| own.disallow_executor.as_ref()),
                "disallowPipelineExecutor",
            )
            .unwrap_or(false),
        inputs: inputs.iter().filter_map(entry).collect(),
        auto: spec
            .auto_approval
            .as_ref()
            .and_then(|own| auto(own, values)),
    }
}
