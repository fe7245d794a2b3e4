//! What Stepyard runs and other servers refuse: a warning, in portable mode an error.

use syntax::diagnostic::{Label, Severity};
use syntax::{Diagnostic, Span, code};

use super::super::deployment::DeploymentType;
use super::super::execution::Element;
use super::super::failure::FailureStrategy;
use super::super::group::StepGroup;
use super::super::load::Options;
use super::super::lower::Cx;
use super::super::name::Name;
use super::super::param::Param;
use super::super::pipeline::Pipeline;
use super::super::stage::{Stage, StageSpec};
use super::super::step::{Step, StepSpec};
use super::super::units::Duration;

/// The checks, at their severity.
#[derive(Debug)]
pub(super) struct Portable {
    severity: Severity,
    found: Vec<Diagnostic>,
}

impl Portable {
    pub(super) fn new(options: Options) -> Self {
        let severity = if options.portable {
            Severity::Error
        } else {
            Severity::Warning
        };
        Self {
            severity,
            found: Vec::new(),
        }
    }

    fn push(&mut self, code: code::Code, message: impl Into<String>, span: Span, help: &str) {
        self.found.push(
            Diagnostic::new(self.severity, code, message)
                .at(span, "")
                .help(help),
        );
    }

    /// Hands over what was found: as errors all of it; as warnings the first of each kind with the places of the
    /// others, so that a pipeline that is meant for Stepyard alone is not buried in them.
    pub(super) fn finish(self, cx: &mut Cx) {
        if self.severity == Severity::Error {
            cx.diagnostics.extend(self.found);
            return;
        }
        let mut kinds: Vec<Diagnostic> = Vec::new();
        for found in self.found {
            match kinds
                .iter_mut()
                .find(|kind| kind.code == found.code && kind.help == found.help)
            {
                Some(kind) if kind.labels.len() < SHOWN => {
                    kind.labels
                        .extend(found.labels.into_iter().map(|label| Label {
                            text: "here too".to_owned(),
                            ..label
                        }));
                }
                Some(_) => {}
                None => kinds.push(found),
            }
        }
        cx.diagnostics.extend(kinds);
    }

    /// What the root says.
    pub(super) fn pipeline(&mut self, pipeline: &Pipeline) {
        if pipeline.template.is_none() {
            self.named(
                "pipeline",
                pipeline.name.as_ref(),
                pipeline.identifier.span(),
            );
        }
    }

    /// A stage and all in it.
    pub(super) fn stage(&mut self, stage: &Stage) {
        let common = &stage.common;
        self.named("stage", common.name.as_ref(), common.identifier.span());
        self.strategies(common.failure_strategies.as_ref());
        if matches!(stage.spec, StageSpec::Deployment(_)) && common.failure_strategies.is_none() {
            self.push(
                code::REQUIRED_ELSEWHERE,
                "a Deployment stage without `failureStrategies` is refused by other servers",
                common.identifier.span(),
                "add `failureStrategies` with `AllErrors` and `StageRollback`",
            );
        }
        if let StageSpec::Deployment(deployment) = &stage.spec {
            let service = [
                deployment.service.is_some(),
                deployment.services.is_some(),
                deployment.service_config.is_some(),
            ];
            let environment = [
                deployment.environment.is_some(),
                deployment.environments.is_some(),
                deployment.environment_group.is_some(),
                deployment.infrastructure.is_some(),
            ];
            let keys = [
                ("service", service.contains(&true)),
                ("environment", environment.contains(&true)),
                ("deploymentType", deployment.deployment_type.is_some()),
            ];
            for (key, there) in keys {
                if !there {
                    self.push(
                        code::REQUIRED_ELSEWHERE,
                        format!("a Deployment stage without `{key}` is refused by other servers"),
                        common.identifier.span(),
                        &format!("add `{key}`"),
                    );
                }
            }
        }
        let Some(execution) = stage.execution() else {
            return;
        };
        for list in [&execution.steps, &execution.rollback_steps] {
            self.walk(list, stage, false);
        }
    }

    fn walk(&mut self, list: &[Element], stage: &Stage, pod: bool) {
        for element in list {
            match element {
                Element::Step(step) => self.step(step, pod),
                Element::Group(group) => {
                    self.group(group, stage);
                    if pod {
                        self.push(
                            code::NESTED_GROUP,
                            "a step group inside a containerized one is refused by other servers",
                            group.identifier.span(),
                            "put its steps directly into the outer group",
                        );
                    }
                    let pod = pod || group.is_containerized();
                    self.walk(&group.steps, stage, pod);
                    self.walk(&group.rollback_steps, stage, pod);
                }
                Element::Parallel(_) | Element::Insert(_) => {
                    self.walk(element.children(), stage, pod);
                }
            }
        }
    }

    fn group(&mut self, group: &StepGroup, stage: &Stage) {
        self.named("step group", group.name.as_ref(), group.identifier.span());
        self.strategies(group.failure_strategies.as_ref());
        if !group.is_containerized() {
            return;
        }
        let refused = match &stage.spec {
            StageSpec::Custom(_) => Some("a Custom stage".to_owned()),
            StageSpec::Deployment(deployment) => deployment
                .deployment_type
                .as_ref()
                .filter(|kind| {
                    !matches!(
                        kind.value,
                        DeploymentType::AwsSam | DeploymentType::ServerlessAwsLambda
                    )
                })
                .map(|kind| format!("a deployment of type {}", kind.value)),
            _ => None,
        };
        if let Some(place) = refused {
            self.push(
                code::GROUP_PLACE,
                format!("a containerized step group in {place} is refused by older servers"),
                group.identifier.span(),
                "they take one in deployments of type AWS_SAM and ServerlessAwsLambda",
            );
        }
        if group
            .kubernetes()
            .is_some_and(|spec| spec.connector_ref.is_none())
        {
            self.push(
                code::REQUIRED_ELSEWHERE,
                "a containerized step group without `connectorRef` is refused by other servers",
                group.identifier.span(),
                "name the cluster's connector in the spec of `stepGroupInfra`",
            );
        }
        if let Some(from) = group
            .kubernetes()
            .and_then(|spec| spec.workspace_from.as_ref())
        {
            self.push(
                code::EXTENSION,
                "`workspaceFrom` is an extension that other servers do not know",
                from.span,
                "hand files over through a volume claim or a store of artifacts",
            );
        }
    }

    fn step(&mut self, step: &Step, pod: bool) {
        self.named("step", step.name.as_ref(), step.identifier.span());
        self.strategies(step.failure_strategies.as_ref());
        if let Some(Param::Literal(timeout)) = &step.timeout
            && timeout.value > Duration::default()
            && timeout.value < SHORTEST
        {
            self.push(
                code::REQUIRED_ELSEWHERE,
                "a time-out below 10 seconds is refused by other servers",
                timeout.span,
                "write `10s` or more",
            );
        }
        if !pod {
            return;
        }
        let container = match &step.spec {
            StepSpec::Run(run) => Some(&run.container),
            StepSpec::Background(background) => Some(&background.container),
            StepSpec::Plugin(plugin) if plugin.uses.is_none() => Some(&plugin.container),
            _ => None,
        };
        if container.is_some_and(|container| {
            container.connector_ref.is_none() && container.registry_ref.is_none()
        }) {
            self.push(
                code::REQUIRED_ELSEWHERE,
                format!(
                    "the step `{}` without `connectorRef` is refused by other servers",
                    step.identifier
                ),
                step.kind.span,
                "name the connector of its image's registry",
            );
        }
        if let StepSpec::Background(background) = &step.spec
            && let Some(readiness) = &background.readiness
        {
            self.push(
                code::EXTENSION,
                "`readiness` is an extension that other servers do not know",
                readiness.span.head(1),
                "wait for the service in the steps that need it",
            );
        }
    }

    fn named(&mut self, what: &str, name: Option<&Name>, span: Span) {
        if name.is_none() {
            self.push(
                code::REQUIRED_ELSEWHERE,
                format!("a {what} without `name` is refused by other servers"),
                span,
                "add `name`",
            );
        }
    }

    fn strategies(&mut self, strategies: Option<&Param<Vec<FailureStrategy>>>) {
        for strategy in strategies.and_then(Param::literal).into_iter().flatten() {
            for error in &strategy.errors {
                if error.value.is_newer() {
                    self.push(
                        code::NEWER_FAILURE,
                        format!(
                            "the failure type `{}` is newer than some servers",
                            error.value
                        ),
                        error.span,
                        "use `AllErrors` or `Unknown` where it must run there",
                    );
                }
            }
        }
    }
}

/// The shortest time-out that other servers take.
const SHORTEST: Duration = Duration { ms: 10_000 };

/// How many places of one kind of warning are shown.
const SHOWN: usize = 3;
