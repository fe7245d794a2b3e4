//! Templates, and the link to one in place of a spec.

use indexmap::IndexMap;
use syntax::Spanned;
use syntax::yaml::Node;

use super::macros::{model, words};
use super::name::{Identifier, Name};
use super::param::Param;

model! {
    /// `template:` in a pipeline, stage, step group or step.
    TemplateLink {
        /// `id`, `org.id`, `account.id`.
        template_ref: Option<Param<String>> = "templateRef" required;
        /// The version; none: the stable one.
        version_label: Option<Param<String>> = "versionLabel";
        /// `label`.
        label: Option<Spanned<String>> = "label";
        /// Values for its inputs, in the shape of what it stands for.
        inputs: Option<Node> = "templateInputs";
        /// What is overridden of it.
        overrides: Option<Node> = "templateOverrides";
        /// Values for its variables.
        variables: Option<Node> = "templateVariables";
        /// `gitBranch`.
        git_branch: Option<Param<String>> = "gitBranch";
    }
}

words! {
    /// What a template stands for.
    TemplateKind {
        /// A pipeline.
        Pipeline = "Pipeline",
        /// A stage.
        Stage = "Stage",
        /// A step group.
        StepGroup = "StepGroup",
        /// A step.
        Step = "Step",
        /// Hosts of a custom deployment.
        CustomDeployment = "CustomDeployment",
        /// A source of an artifact.
        ArtifactSource = "ArtifactSource",
        /// The branches of a monitored service.
        MonitoredService = "MonitoredService",
        /// A script of secrets.
        SecretManager = "SecretManager",
    }
}

words! {
    /// What a link may override of its template.
    AllowedOverride {
        /// `when`.
        ConditionalExecution = "ConditionalExecution",
        /// `strategy`.
        LoopingStrategy = "LoopingStrategy",
        /// `failureStrategies`.
        FailureStrategy = "FailureStrategy",
        /// `delegateSelectors`.
        DelegateSelectors = "DelegateSelectors",
    }
}

impl AllowedOverride {
    /// The key that it allows.
    pub const fn key(self) -> &'static str {
        match self {
            Self::ConditionalExecution => "when",
            Self::LoopingStrategy => "strategy",
            Self::FailureStrategy => "failureStrategies",
            Self::DelegateSelectors => "delegateSelectors",
        }
    }
}

model! {
    /// `template:` as a document: what is put in place of its links.
    Template {
        /// Its identifier.
        identifier: Identifier = "identifier" required;
        /// For people.
        name: Option<Name> = "name";
        /// Which of several under one identifier.
        version_label: Option<Spanned<String>> = "versionLabel" required;
        /// The one that a link without a version means.
        stable: Option<Spanned<bool>> = "stableTemplate";
        /// What it stands for.
        kind: Option<Spanned<TemplateKind>> = "type" required;
        /// Its organization.
        org: Option<Spanned<String>> = "orgIdentifier";
        /// Its project.
        project: Option<Spanned<String>> = "projectIdentifier";
        /// For people.
        description: Option<Spanned<String>> = "description";
        /// For people and filters.
        tags: IndexMap<String, Spanned<String>> = "tags";
        /// For the visual editor.
        icon: Option<Node> = "icon";
        /// What its links may override.
        allowed_overrides: Option<Vec<Spanned<AllowedOverride>>> = "allowedOverrides";
        /// Kept as they are.
        variables: Option<Node> = "variables";
        /// What is put in place, reduced by nothing.
        spec: Option<Node> = "spec" required;
    }
}
