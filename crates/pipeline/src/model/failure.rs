//! `failureStrategies`: what becomes of a failure.

use syntax::yaml::Node;
use syntax::{Diagnostic, Span, Spanned, code};

use super::form::{self, Choice, Form, Forms};
use super::lower::{Cx, Fields, Lower, Slot};
use super::macros::{model, words};
use super::param::Param;
use super::units::Duration;

words! {
    /// The kinds of failure that a strategy is for.
    ErrorKind {
        /// A failing command, and what has no other name.
        Unknown = "Unknown",
        /// All but a time-out of an input.
        AllErrors = "AllErrors",
        /// Credentials were refused.
        Authentication = "Authentication",
        /// Something could not be reached.
        Connectivity = "Connectivity",
        /// A `timeout` passed.
        Timeout = "Timeout",
        /// Rights were missing.
        Authorization = "Authorization",
        /// A verification failed.
        Verification = "Verification",
        /// No delegate could be had.
        DelegateProvisioning = "DelegateProvisioning",
        /// A policy said no.
        PolicyEvaluationFailure = "PolicyEvaluationFailure",
        /// An input did not come in time.
        InputTimeoutError = "InputTimeoutError",
        /// An approval was refused.
        ApprovalRejection = "ApprovalRejection",
        /// A delegate restarted.
        DelegateRestart = "DelegateRestart",
        /// A person marked it as failed.
        UserMarkedFailure = "UserMarkedFailure",
        /// The pod or its node was lost.
        InfrastructureFailure = "InfrastructureFailure",
        /// An image could not be had or started.
        PluginImageFailure = "PluginImageFailure",
        /// A limit was exceeded, such as memory.
        ResourceLimitsFailure = "ResourceLimitsFailure",
        /// A setting was wrong.
        ConfigurationFailure = "ConfigurationFailure",
        /// What may pass when tried again.
        RetryableTransientFailure = "RetryableTransientFailure",
    }
}

impl ErrorKind {
    /// Whether older servers refuse it.
    pub const fn is_newer(self) -> bool {
        matches!(
            self,
            Self::InfrastructureFailure
                | Self::PluginImageFailure
                | Self::ResourceLimitsFailure
                | Self::ConfigurationFailure
                | Self::RetryableTransientFailure
        )
    }
}

words! {
    /// The names of the actions.
    ActionType {
        /// It failed and that does not matter.
        Ignore = "Ignore",
        /// Try again.
        Retry = "Retry",
        /// Count it as a success.
        MarkAsSuccess = "MarkAsSuccess",
        /// End the pipeline.
        Abort = "Abort",
        /// Run the stage's rollback steps.
        StageRollback = "StageRollback",
        /// Run the group's rollback steps.
        StepGroupRollback = "StepGroupRollback",
        /// Roll back every finished stage.
        PipelineRollback = "PipelineRollback",
        /// Ask a person.
        ManualIntervention = "ManualIntervention",
        /// Go on with the inputs' default values.
        ProceedWithDefaultValues = "ProceedWithDefaultValues",
        /// Count it as a failure.
        MarkAsFailure = "MarkAsFailure",
        /// Run the whole group again, in a new pod.
        RetryStepGroup = "RetryStepGroup",
    }
}

/// One of `failureStrategies`: `onFailure:`.
#[derive(Debug, Clone, PartialEq)]
pub struct FailureStrategy {
    /// Where it is written.
    pub span: Span,
    /// What it is for.
    pub errors: Vec<Spanned<ErrorKind>>,
    /// What is done.
    pub action: Option<Action>,
}

/// What is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Where it is written.
    pub span: Span,
    /// What it is.
    pub kind: ActionKind,
}

/// What is done, with what it needs.
#[derive(Debug, Clone, PartialEq)]
pub enum ActionKind {
    /// Try again.
    Retry(Box<Retry>),
    /// Run the whole group again.
    RetryStepGroup(Box<Retry>),
    /// Ask a person.
    ManualIntervention(Box<Manual>),
    /// One that needs nothing.
    Plain(ActionType),
}

impl ActionKind {
    /// Its name.
    pub const fn action_type(&self) -> ActionType {
        match self {
            Self::Retry(_) => ActionType::Retry,
            Self::RetryStepGroup(_) => ActionType::RetryStepGroup,
            Self::ManualIntervention(_) => ActionType::ManualIntervention,
            Self::Plain(plain) => *plain,
        }
    }
}

model! {
    /// `spec` of `Retry` and `RetryStepGroup`.
    Retry {
        /// How often, the first attempt not counted.
        count: Option<Param<u32>> = "retryCount" required;
        /// The wait before each attempt; the last one is for all that follow.
        intervals: Option<Param<Vec<Param<Duration>>>> = "retryIntervals" required;
        /// What is done when the last attempt has failed.
        on_retry_failure: Option<Next> = "onRetryFailure";
        /// An expression: whether it is tried again.
        condition: Option<Param<String>> = "condition";
    }
}

model! {
    /// `spec` of `ManualIntervention`.
    Manual {
        /// How long a person has.
        timeout: Option<Param<Duration>> = "timeout" required;
        /// What is done after that.
        on_timeout: Option<Next> = "onTimeout" required;
    }
}

model! {
    /// What follows: `{action: {type: …}}`.
    Next {
        /// It.
        action: Option<Action> = "action" required;
    }
}

impl Lower for FailureStrategy {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let mut fields = Fields::of(node, name, cx)?;
        fields.required("onFailure", cx);
        let inner = fields.node("onFailure");
        let span = fields.span;
        fields.finish(cx);
        let mut fields = Fields::of(inner?, "onFailure", cx)?;
        fields.required("errors", cx);
        fields.required("action", cx);
        let errors: Vec<Spanned<ErrorKind>> = Slot::take(&mut fields, "errors", cx);
        let action = Slot::take(&mut fields, "action", cx);
        if let Some(none) = fields
            .node("errors")
            .filter(|own| own.as_sequence().is_some_and(<[Node]>::is_empty))
        {
            cx.push(
                Diagnostic::error(
                    code::EMPTY_LIST,
                    "`errors` is empty: this strategy is for nothing",
                )
                .at(none.span, "")
                .help("name what it is for: `errors: [AllErrors]`"),
            );
        }
        fields.finish(cx);
        Some(Self {
            span,
            errors,
            action,
        })
    }

    fn form(forms: &mut Forms) -> Form {
        forms.object(
            "FailureStrategy",
            "What becomes of a failure.",
            |forms, own| {
                let inner = forms.object(
                    "OnFailure",
                    "Which failures, and what is done.",
                    |forms, own| {
                        own.keys = vec![
                            form::required(
                                "errors",
                                "What it is for.",
                                Form::List(Box::new(ErrorKind::form(forms))),
                            ),
                            form::required("action", "What is done.", Action::form(forms)),
                        ];
                    },
                );
                own.keys = vec![form::required(
                    "onFailure",
                    "Which failures, and what is done.",
                    inner,
                )];
            },
        )
    }
}

impl Lower for Action {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let mut fields = Fields::of(node, name, cx)?;
        fields.required("type", cx);
        let kind: Option<ActionType> = Slot::take(&mut fields, "type", cx);
        let kind = match kind {
            Some(
                kind @ (ActionType::Retry
                | ActionType::RetryStepGroup
                | ActionType::ManualIntervention),
            ) => {
                fields.required("spec", cx);
                if kind == ActionType::ManualIntervention {
                    fields
                        .value_as("spec", "spec of ManualIntervention", cx)
                        .map(ActionKind::ManualIntervention)
                } else {
                    let name = format!("spec of {kind}");
                    let retry: Option<Box<Retry>> = fields.value_as("spec", &name, cx);
                    retry.map(|retry| {
                        retry.check(cx);
                        if kind == ActionType::Retry {
                            ActionKind::Retry(retry)
                        } else {
                            ActionKind::RetryStepGroup(retry)
                        }
                    })
                }
            }
            Some(kind) => {
                fields.ignore(&["spec"]);
                Some(ActionKind::Plain(kind))
            }
            None => {
                fields.ignore(&["spec"]);
                None
            }
        };
        let span = fields.span;
        fields.finish(cx);
        Some(Self { span, kind: kind? })
    }

    fn form(forms: &mut Forms) -> Form {
        forms.object("Action", "What is done.", |forms, own| {
            own.keys = vec![
                form::required("type", "What it is.", ActionType::form(forms)),
                form::key("spec", "What it needs.", Form::Any),
            ];
            let (retry, manual) = (Retry::form(forms), Manual::form(forms));
            own.choice = Some(Choice {
                by: "type",
                below: "spec",
                forms: vec![
                    ("Retry", retry.clone()),
                    ("RetryStepGroup", retry),
                    ("ManualIntervention", manual),
                ],
            });
        })
    }
}

impl Retry {
    fn check(&self, cx: &mut Cx) {
        if let Some(Param::Literal(intervals)) = &self.intervals
            && intervals.is_empty()
        {
            cx.push(
                Diagnostic::error(code::EMPTY_LIST, "`retryIntervals` is empty")
                    .at(intervals.span, "")
                    .help("add a duration: `retryIntervals: [10s]`"),
            );
        }
    }
}
