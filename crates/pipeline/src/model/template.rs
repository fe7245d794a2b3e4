//! The link to a template, in place of a spec.

use syntax::Spanned;
use syntax::yaml::Node;

use super::macros::model;
use super::param::Param;

model! {
    /// `template:` in a pipeline, stage, step group or step.
    TemplateLink {
        /// `id`, `org.id`, `account.id`, or a path to a file.
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
