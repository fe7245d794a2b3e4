//! Agents, and revisions of agents.

use syntax::yaml::Node;

use super::super::macros::model;
use super::super::param::Param;
use super::common::PluginCommon;

model! {
    /// `spec` of `Agent`.
    Agent {
        flat common: PluginCommon;
        /// The agent.
        agent_name: Option<Param<String>> = "agentName" required;
        /// Its settings.
        settings: Option<Node> = "agentSettings";
        /// The model's connector.
        llm_connector: Option<Param<String>> = "llmConnector";
        /// The tools' connectors.
        mcp_connectors: Option<Node> = "mcpConnectors";
    }
}

/// `spec` of the steps that deploy, shift or roll back a revision of an agent. The reference lists no keys of it
/// beyond those of every plugin, so any other is kept and none is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct AiRevision {
    /// Its spec as it is.
    pub spec: Node,
}

impl super::super::lower::Lower for AiRevision {
    fn lower(node: &Node, _: &str, _: &mut super::super::lower::Cx) -> Option<Self> {
        Some(Self { spec: node.clone() })
    }
}
