//! `Container`: the old step with a pod of its own.

use indexmap::IndexMap;
use syntax::yaml::Node;

use super::super::macros::model;
use super::super::param::Param;
use super::super::resources::OutputVariable;
use super::common::Container;
use super::run::Shell;

model! {
    /// `spec` of a Container step.
    ContainerStep {
        flat container: Container;
        /// The script.
        command: Option<Param<String>> = "command";
        /// Where its pod runs.
        infrastructure: Option<Node> = "infrastructure" required;
        /// What reads the script.
        shell: Option<Param<Shell>> = "shell";
        /// In place of the image's.
        entrypoint: Option<Param<Vec<Param<String>>>> = "entrypoint";
        /// As of a plugin.
        settings: IndexMap<String, Node> = "settings";
        /// What later steps may read.
        outputs: Option<Param<Vec<OutputVariable>>> = "outputVariables";
        /// The delegates that may drive it.
        delegate_selectors: Option<Param<Vec<Param<String>>>> = "delegateSelectors";
        /// Test reports.
        reports: Option<Node> = "reports";
    }
}
