//! What becomes of a failure: `failureStrategies`, resolved when the node that has them is expanded.

use serde::{Deserialize, Serialize};

use crate::model::{self, ActionKind, ActionType, FailureStrategy, Param};
use crate::resolve::Values;

/// The errors of the format (`failureStrategies[].onFailure.errors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ErrorKind {
    /// A non-zero exit, and whatever has no better name.
    Unknown,
    /// A login was refused.
    Authentication,
    /// Something did not answer.
    Connectivity,
    /// Its time was up.
    Timeout,
    /// It was not allowed.
    Authorization,
    /// A verification failed.
    Verification,
    /// No delegate could be had.
    DelegateProvisioning,
    /// A policy said no.
    PolicyEvaluationFailure,
    /// An input did not come in time.
    InputTimeoutError,
    /// An approval was refused.
    ApprovalRejection,
    /// A delegate restarted.
    DelegateRestart,
    /// A person marked it as failed.
    UserMarkedFailure,
    /// The pod, the node or the connection was lost.
    InfrastructureFailure,
    /// An image could not be had or does not hold what the step needs.
    PluginImageFailure,
    /// Memory, disk, quota.
    ResourceLimitsFailure,
    /// What is written cannot be run.
    ConfigurationFailure,
    /// What may pass when tried again.
    RetryableTransientFailure,
}

impl ErrorKind {
    /// Every error of the format.
    pub const ALL: [Self; 17] = [
        Self::Unknown,
        Self::Authentication,
        Self::Connectivity,
        Self::Timeout,
        Self::Authorization,
        Self::Verification,
        Self::DelegateProvisioning,
        Self::PolicyEvaluationFailure,
        Self::InputTimeoutError,
        Self::ApprovalRejection,
        Self::DelegateRestart,
        Self::UserMarkedFailure,
        Self::InfrastructureFailure,
        Self::PluginImageFailure,
        Self::ResourceLimitsFailure,
        Self::ConfigurationFailure,
        Self::RetryableTransientFailure,
    ];

    /// It may pass when tried again: what `RetryableTransientFailure` in a strategy also stands for.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Connectivity
                | Self::InfrastructureFailure
                | Self::DelegateRestart
                | Self::RetryableTransientFailure
        )
    }
}

/// One entry of `failureStrategies`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strategy {
    /// What it is for.
    pub errors: Errors,
    /// What is done.
    pub action: Action,
}

/// The failures that an entry is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Errors {
    /// `AllErrors`: every one but an input that did not come in time (`reference/behaviour.md` §9).
    All,
    /// These.
    These(Vec<ErrorKind>),
}

impl Errors {
    /// Whether a failure of this kind is meant.
    pub fn holds(&self, error: ErrorKind) -> bool {
        match self {
            Self::All => error != ErrorKind::InputTimeoutError,
            Self::These(kinds) => kinds.iter().any(|kind| {
                *kind == error
                    || (*kind == ErrorKind::RetryableTransientFailure && error.is_transient())
            }),
        }
    }
}

/// What is done about a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// It failed and that does not matter.
    Ignore,
    /// It counts as a success.
    MarkAsSuccess,
    /// It counts as a failure.
    MarkAsFailure,
    /// The run ends, without rollback.
    Abort,
    /// The stage's rollback steps run.
    StageRollback,
    /// The group's rollback steps run.
    StepGroupRollback,
    /// Every stage that began is rolled back, the last one first.
    PipelineRollback,
    /// Goes on with the defaults of inputs that nobody gave in time.
    ProceedWithDefaultValues,
    /// Again, in the same container.
    Retry(Retry),
    /// The whole group again, in a new pod.
    RetryStepGroup(Retry),
    /// A person is asked.
    ManualIntervention {
        /// How long, milliseconds.
        timeout_ms: u64,
        /// What is done after that.
        then: Box<Action>,
    },
}

/// How often something is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// The first attempt not counted.
    pub count: u32,
    /// The wait before each, milliseconds; the last one is for all that follow, none is none.
    pub intervals_ms: Vec<u64>,
    /// An expression: whether it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// What is done when it is not tried any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Box<Action>>,
}

impl Retry {
    /// The wait before the retry of this number, from 0, milliseconds (`reference/behaviour.md` §9).
    pub fn wait_ms(&self, number: u32) -> u64 {
        let listed = self.intervals_ms.get(number as usize);
        listed
            .or(self.intervals_ms.last())
            .copied()
            .unwrap_or_default()
    }
}

impl Action {
    /// Its name in the format.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ignore => "Ignore",
            Self::MarkAsSuccess => "MarkAsSuccess",
            Self::MarkAsFailure => "MarkAsFailure",
            Self::Abort => "Abort",
            Self::StageRollback => "StageRollback",
            Self::StepGroupRollback => "StepGroupRollback",
            Self::PipelineRollback => "PipelineRollback",
            Self::ProceedWithDefaultValues => "ProceedWithDefaultValues",
            Self::Retry(_) => "Retry",
            Self::RetryStepGroup(_) => "RetryStepGroup",
            Self::ManualIntervention { .. } => "ManualIntervention",
        }
    }
}

/// The strategies that are written at a place.
pub(super) fn strategies(
    written: Option<&Param<Vec<FailureStrategy>>>,
    values: &Values<'_, '_>,
) -> Vec<Strategy> {
    let list = values.get(written, "failureStrategies").unwrap_or_default();
    list.iter()
        .filter_map(|own| {
            Some(Strategy {
                errors: errors(own),
                action: action(own.action.as_ref()?, values)?,
            })
        })
        .collect()
}

fn errors(own: &FailureStrategy) -> Errors {
    let mut kinds = Vec::new();
    for error in &own.errors {
        match error_kind(error.value) {
            Some(kind) => kinds.push(kind),
            None => return Errors::All,
        }
    }
    Errors::These(kinds)
}

/// None: all of them.
const fn error_kind(written: model::ErrorKind) -> Option<ErrorKind> {
    use model::ErrorKind as M;
    Some(match written {
        M::AllErrors => return None,
        M::Unknown => ErrorKind::Unknown,
        M::Authentication => ErrorKind::Authentication,
        M::Connectivity => ErrorKind::Connectivity,
        M::Timeout => ErrorKind::Timeout,
        M::Authorization => ErrorKind::Authorization,
        M::Verification => ErrorKind::Verification,
        M::DelegateProvisioning => ErrorKind::DelegateProvisioning,
        M::PolicyEvaluationFailure => ErrorKind::PolicyEvaluationFailure,
        M::InputTimeoutError => ErrorKind::InputTimeoutError,
        M::ApprovalRejection => ErrorKind::ApprovalRejection,
        M::DelegateRestart => ErrorKind::DelegateRestart,
        M::UserMarkedFailure => ErrorKind::UserMarkedFailure,
        M::InfrastructureFailure => ErrorKind::InfrastructureFailure,
        M::PluginImageFailure => ErrorKind::PluginImageFailure,
        M::ResourceLimitsFailure => ErrorKind::ResourceLimitsFailure,
        M::ConfigurationFailure => ErrorKind::ConfigurationFailure,
        M::RetryableTransientFailure => ErrorKind::RetryableTransientFailure,
    })
}

fn action(written: &model::Action, values: &Values<'_, '_>) -> Option<Action> {
    Some(match &written.kind {
        ActionKind::Retry(own) => Action::Retry(retry(own, values)?),
        ActionKind::RetryStepGroup(own) => Action::RetryStepGroup(retry(own, values)?),
        ActionKind::ManualIntervention(own) => Action::ManualIntervention {
            timeout_ms: values
                .get(own.timeout.as_ref(), "timeout")
                .map(|duration: model::Duration| duration.ms)?,
            then: Box::new(next(own.on_timeout.as_ref(), values).unwrap_or(Action::MarkAsFailure)),
        },
        ActionKind::Plain(kind) => match kind {
            ActionType::Ignore => Action::Ignore,
            ActionType::MarkAsSuccess => Action::MarkAsSuccess,
            ActionType::Abort => Action::Abort,
            ActionType::StageRollback => Action::StageRollback,
            ActionType::StepGroupRollback => Action::StepGroupRollback,
            ActionType::PipelineRollback => Action::PipelineRollback,
            ActionType::ProceedWithDefaultValues => Action::ProceedWithDefaultValues,
            // The three that need a `spec` are no plain ones; what is left fails.
            ActionType::MarkAsFailure
            | ActionType::Retry
            | ActionType::RetryStepGroup
            | ActionType::ManualIntervention => Action::MarkAsFailure,
        },
    })
}

fn retry(own: &model::Retry, values: &Values<'_, '_>) -> Option<Retry> {
    let intervals = values
        .get(own.intervals.as_ref(), "retryIntervals")
        .unwrap_or_default();
    Some(Retry {
        count: values.get(own.count.as_ref(), "retryCount")?,
        intervals_ms: intervals
            .iter()
            .filter_map(|interval| values.get(Some(interval), "retryIntervals"))
            .map(|duration| duration.ms)
            .collect(),
        condition: own
            .condition
            .as_ref()
            .map(|condition| condition.text().trim().to_owned())
            .filter(|text| !text.is_empty()),
        then: next(own.on_retry_failure.as_ref(), values).map(Box::new),
    })
}

fn next(own: Option<&model::Next>, values: &Values<'_, '_>) -> Option<Action> {
    action(own?.action.as_ref()?, values)
}
