//! `Plugin`: an image with settings.

use indexmap::IndexMap;
use syntax::yaml::Node;

use super::super::macros::model;
use super::super::param::Param;
use super::super::resources::{OutputVariable, Reports};
use super::common::Container;

model! {
    /// `spec` of a Plugin step.
    Plugin {
        flat container: Container;
        /// Each becomes `PLUGIN_<KEY>`; what is no text is written as JSON.
        settings: IndexMap<String, Node> = "settings";
        /// In place of the image's.
        entrypoint: Option<Param<Vec<Param<String>>>> = "entrypoint";
        /// A plugin by name.
        uses: Option<Param<String>> = "uses";
        /// Test reports.
        reports: Option<Param<Reports>> = "reports";
        /// What later steps may read.
        outputs: Option<Param<Vec<OutputVariable>>> = "outputVariables";
    }
}
