//! Step groups.

use syntax::{Diagnostic, code};

use super::condition::When;
use super::execution::Elements;
use super::failure::FailureStrategy;
use super::infra::{KubernetesDirect, StepGroupInfra};
use super::lower::{Cx, Fields};
use super::macros::{model, words};
use super::name::{Identifier, Name};
use super::param::Param;
use super::strategy::Strategy;
use super::template::TemplateLink;
use super::variable::Variables;

model! {
    /// `stepGroup:`.
    StepGroup {
        /// Its identifier.
        identifier: Identifier = "identifier" required;
        /// For people.
        name: Option<Name> = "name";
        /// For people.
        description: Option<Param<String>> = "description";
        /// What runs, in this order.
        steps: Elements = "steps";
        /// What runs when the group is rolled back; of old editors.
        rollback_steps: Elements = "rollbackSteps";
        /// In place of steps.
        template: Option<TemplateLink> = "template";
        /// Where it runs; with it, the group may be containerized.
        infra: Option<Param<StepGroupInfra>> = "stepGroupInfra";
        /// Directories that all its containers share.
        shared_paths: Option<Param<Vec<Param<String>>>> = "sharedPaths";
        /// `<+stepGroup.variables.X>`.
        variables: Option<Variables> = "variables";
        /// The delegates that may run it.
        delegate_selectors: Option<Param<Vec<Param<String>>>> = "delegateSelectors";
        /// Whether it runs.
        when: Option<Param<When>> = "when";
        /// What becomes of a failure.
        failure_strategies: Option<Param<Vec<FailureStrategy>>> = "failureStrategies";
        /// It several times; a containerized one has a pod each time.
        strategy: Option<Param<Strategy>> = "strategy";
        /// The machine, with VM infrastructure.
        platform: Option<Platform> = "platform";
    }
    before before;
}

words! {
    /// An operating system.
    Os {
        /// Linux.
        Linux = "Linux",
        /// macOS.
        MacOs = "MacOS",
        /// Windows.
        Windows = "Windows",
    }
}

words! {
    /// A processor architecture.
    Arch {
        /// x86-64.
        Amd64 = "Amd64",
        /// 64-bit ARM.
        Arm64 = "Arm64",
    }
}

model! {
    /// `platform:`.
    Platform {
        /// Its operating system.
        os: Option<Param<Os>> = "os";
        /// Its processor.
        arch: Option<Param<Arch>> = "arch";
    }
}

impl StepGroup {
    /// Its name, or its identifier where it has none.
    pub fn title(&self) -> &str {
        self.name
            .as_ref()
            .map_or(self.identifier.as_str(), |name| &name.0.value)
    }

    /// Its infrastructure, where that is written out.
    pub fn infra(&self) -> Option<&StepGroupInfra> {
        self.infra.as_ref().and_then(Param::literal)
    }

    /// Whether its steps run in containers: on Kubernetes, ECS, or a VM.
    pub fn is_containerized(&self) -> bool {
        self.infra().is_some_and(StepGroupInfra::is_containerized)
    }

    /// The pod's settings, where it is a pod.
    pub fn kubernetes(&self) -> Option<&KubernetesDirect> {
        match self.infra() {
            Some(StepGroupInfra::KubernetesDirect(spec)) => Some(spec),
            _ => None,
        }
    }
}

/// What a group's keys must be together.
fn before(fields: &mut Fields<'_>, cx: &mut Cx) {
    match fields.entry("template").map(|entry| entry.key.span) {
        None => fields.not_empty(
            "steps",
            "the step group has no steps",
            "add a `- step:` below `steps:`, or remove the group",
            cx,
        ),
        Some(template) if fields.node("steps").is_some() => cx.push(
            Diagnostic::error(
                code::ONE_OF,
                "a step group has either `steps` or `template`",
            )
            .at(template, "")
            .help("keep one of them"),
        ),
        Some(_) => {}
    }
    if let Some(entry) = fields.entry("timeout") {
        let span = entry.key.span;
        cx.push(
            Diagnostic::warning(code::UNKNOWN_FIELD, "a step group has no `timeout`")
                .at(span, "has no effect")
                .help("set `timeout` on its steps or on the stage"),
        );
    }
}
