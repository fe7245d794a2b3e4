//! Stages.

use indexmap::IndexMap;
use syntax::yaml::Node;
use syntax::{Diagnostic, Span, Spanned, code};

use super::condition::When;
use super::deployment::{Deployment, EnvironmentLink};
use super::execution::Execution;
use super::failure::FailureStrategy;
use super::form::{self, Choice, Form, Forms};
use super::lower::{Cx, Fields, Lower, Slot};
use super::macros::{model, words};
use super::name::{Identifier, Name};
use super::param::Param;
use super::strategy::Strategy;
use super::template::TemplateLink;
use super::units::Duration;
use super::variable::Variables;

model! {
    /// What every stage may have.
    StageCommon {
        /// Its identifier.
        identifier: Identifier = "identifier" required;
        /// For people.
        name: Option<Name> = "name";
        /// For people.
        description: Option<Param<String>> = "description";
        /// For people and filters.
        tags: IndexMap<String, Param<String>> = "tags";
        /// What becomes of a failure.
        failure_strategies: Option<Param<Vec<FailureStrategy>>> = "failureStrategies";
        /// Whether it runs.
        when: Option<Param<When>> = "when";
        /// It several times.
        strategy: Option<Param<Strategy>> = "strategy";
        /// The delegates that may run it.
        delegate_selectors: Option<Param<Vec<Param<String>>>> = "delegateSelectors";
        /// `<+stage.variables.X>`.
        variables: Option<Variables> = "variables";
        /// How long it may take.
        timeout: Option<Param<Duration>> = "timeout";
        /// Hosts done already are left out.
        skip_instances: Option<Param<bool>> = "skipInstances";
        /// Whether a person starts it.
        run_mode: Option<Param<RunMode>> = "runMode";
    }
}

words! {
    /// How a stage begins.
    RunModeType {
        /// A person starts it.
        Manual = "Manual",
        /// By itself.
        Auto = "Auto",
    }
}

model! {
    /// `runMode:`.
    RunMode {
        /// Who starts it.
        kind: Option<Spanned<RunModeType>> = "type" required;
        /// How long it waits to be started.
        timeout: Option<Param<Duration>> = "timeout";
    }
}

/// `stage:`.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// What every stage may have.
    pub common: StageCommon,
    /// What it is.
    pub spec: StageSpec,
}

/// What a stage is.
#[derive(Debug, Clone, PartialEq)]
pub enum StageSpec {
    /// `type: Deployment`.
    Deployment(Box<Deployment>),
    /// `type: Custom`.
    Custom(Box<Custom>),
    /// A template's.
    Template(Box<TemplateLink>),
    /// Any other type that the format knows: its execution is read, the rest kept as it is.
    Other(Box<OtherStage>),
}

model! {
    /// `spec` of a Custom stage.
    Custom {
        /// What runs.
        execution: Option<Execution> = "execution" required;
        /// An environment for its steps.
        environment: Option<EnvironmentLink> = "environment";
        /// Written by old editors.
        service_dependencies: Option<Node> = "serviceDependencies";
        /// Written by old editors.
        infrastructure: Option<Node> = "infrastructure";
    }
}

/// A stage of a type that nothing here runs.
#[derive(Debug, Clone, PartialEq)]
pub struct OtherStage {
    /// `type`.
    pub kind: Spanned<String>,
    /// What it would run, where it has steps.
    pub execution: Option<Execution>,
    /// Its spec as it is.
    pub spec: Option<Node>,
}

/// The types of stages that the format knows.
pub const STAGE_TYPES: [&str; 12] = [
    "Deployment",
    "CI",
    "Approval",
    "Custom",
    "Pipeline",
    "Dynamic",
    "FeatureFlag",
    "Security",
    "IACM",
    "IDP",
    "DRTest",
    "CompositeLoadTest",
];

impl Stage {
    /// `type` as written; `Template` of a template.
    pub fn stage_type(&self) -> &str {
        match &self.spec {
            StageSpec::Deployment(_) => "Deployment",
            StageSpec::Custom(_) => "Custom",
            StageSpec::Template(_) => "Template",
            StageSpec::Other(other) => &other.kind.value,
        }
    }

    /// Its identifier.
    pub const fn identifier(&self) -> &Identifier {
        &self.common.identifier
    }

    /// Its name, or its identifier where it has none.
    pub fn title(&self) -> &str {
        self.common
            .name
            .as_ref()
            .map_or(self.common.identifier.as_str(), |name| &name.0.value)
    }

    /// Its steps, where it has any.
    pub fn execution(&self) -> Option<&Execution> {
        match &self.spec {
            StageSpec::Deployment(deployment) => deployment.execution.as_ref(),
            StageSpec::Custom(custom) => custom.execution.as_ref(),
            StageSpec::Other(other) => other.execution.as_ref(),
            StageSpec::Template(_) => None,
        }
    }

    /// Where it is written.
    pub const fn span(&self) -> Span {
        self.common.span
    }
}

impl Lower for Stage {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let mut fields = Fields::of(node, name, cx)?;
        let common = StageCommon::fields(&mut fields, cx);
        let template: Option<Box<TemplateLink>> = Slot::take(&mut fields, "template", cx);
        if template.is_none() {
            fields.required("type", cx);
        }
        let kind: Option<Spanned<String>> = Slot::take(&mut fields, "type", cx);
        let spec = match (template, kind) {
            (Some(template), _) => {
                fields.ignore(&["spec"]);
                Some(StageSpec::Template(template))
            }
            (None, None) => {
                fields.ignore(&["spec"]);
                None
            }
            (None, Some(kind)) => {
                fields.required("spec", cx);
                match kind.value.as_str() {
                    "Deployment" => fields
                        .value_as("spec", "spec of Deployment", cx)
                        .map(StageSpec::Deployment),
                    "Custom" => fields
                        .value_as("spec", "spec of Custom", cx)
                        .map(StageSpec::Custom),
                    known if STAGE_TYPES.contains(&known) => {
                        // The keys of stages that are never run here are not ours to judge.
                        let keys = [
                            "delegateSelectors",
                            "infrastructure",
                            "environment",
                            "gitClone",
                        ];
                        fields.ignore(&keys);
                        let spec: Option<Node> = Slot::take(&mut fields, "spec", cx);
                        let execution = spec
                            .as_ref()
                            .and_then(Node::as_mapping)
                            .and_then(|spec| spec.get("execution"));
                        let execution =
                            execution.and_then(|node| Lower::lower(node, "execution", cx));
                        Some(StageSpec::Other(Box::new(OtherStage {
                            kind,
                            execution,
                            spec,
                        })))
                    }
                    unknown => {
                        cx.unknown_word_as(
                            code::UNKNOWN_STAGE_TYPE,
                            kind.span,
                            "type",
                            unknown,
                            &STAGE_TYPES,
                        );
                        fields.ignore(&["spec"]);
                        None
                    }
                }
            }
        };
        if let Some(Param::Literal(mode)) = &common.run_mode
            && mode
                .kind
                .as_ref()
                .is_some_and(|kind| kind.value == RunModeType::Manual)
            && mode.timeout.is_none()
        {
            cx.push(
                Diagnostic::error(
                    code::MISSING_FIELD,
                    "`runMode` of type Manual lacks `timeout`",
                )
                .at(
                    mode.kind.as_ref().map_or(mode.value.span, |kind| kind.span),
                    "",
                )
                .help("add `timeout: 1d`"),
            );
        }
        fields.finish(cx);
        Some(Self {
            common,
            spec: spec?,
        })
    }

    fn form(forms: &mut Forms) -> Form {
        forms.object("Stage", "A part of a pipeline.", |forms, own| {
            StageCommon::keys(forms, &mut own.keys);
            own.keys.extend([
                form::key("type", "What it is.", Form::Words(STAGE_TYPES.to_vec())),
                form::key("spec", "What it does.", Form::Any),
                form::key(
                    "template",
                    "In place of type and spec.",
                    TemplateLink::form(forms),
                ),
            ]);
            own.choice = Some(Choice {
                by: "type",
                below: "spec",
                forms: vec![
                    ("Deployment", Deployment::form(forms)),
                    ("Custom", Custom::form(forms)),
                ],
            });
        })
    }
}
