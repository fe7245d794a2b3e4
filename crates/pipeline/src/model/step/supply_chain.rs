//! Provenance, bills of materials, and database changes.

use syntax::yaml::Node;

use super::super::infra::PullPolicy;
use super::super::macros::model;
use super::super::name::Ref;
use super::super::param::Param;
use super::super::resources::Resources;
use super::common::PluginCommon;

model! {
    /// `spec` of `SlsaVerification`.
    SlsaVerification {
        /// What is verified.
        source: Option<Node> = "source";
        /// By which key.
        verify_attestation: Option<Node> = "verify_attestation";
        /// Limits and requests.
        resources: Option<Resources> = "resources";
        /// Another registry for its image.
        connector_ref: Option<Param<Ref>> = "overrideConnectorRef";
        /// Its image's tag.
        image_tag: Option<Param<String>> = "imageTag";
        /// When the registry is asked.
        image_pull_policy: Option<Param<PullPolicy>> = "imagePullPolicy";
    }
}

/// `spec` of `SscaOrchestration` and `SscaEnforcement`. The reference lists only what is required.
#[derive(Debug, Clone, PartialEq)]
pub struct Ssca {
    /// Its spec as it is.
    pub spec: Node,
}

impl super::super::lower::Lower for Ssca {
    fn lower(node: &Node, _: &str, _: &mut super::super::lower::Cx) -> Option<Self> {
        Some(Self { spec: node.clone() })
    }
}

model! {
    /// `spec` of the database steps.
    DbOps {
        flat common: PluginCommon;
        /// The schema.
        schema: Option<Param<String>> = "dbSchema" required;
        /// The instance.
        instance: Option<Param<String>> = "dbInstance" required;
        /// The tool.
        migration_type: Option<Param<String>> = "migrationType";
        /// The state to go to.
        tag: Option<Param<String>> = "tag";
        /// Of the step.
        settings: Option<Node> = "settings";
        /// Of the tool.
        global_settings: Option<Node> = "globalSettings";
    }
}
