//! Which architecture a pod's nodes have: its agent must be for it, and so must its images.

use std::collections::BTreeSet;

use driver::backend::{Failure, FailureKind};
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, Client};
use pipeline::pod::{ARCH_LABEL, Spec};

use crate::api::failure;
use crate::connect::configuration;

/// Nodes that are asked for: a cluster of more has each of its architectures among them.
const NODES: u32 = 500;

/// The architectures of the cluster's nodes; none: they may not be listed, or do not say. An error is no answer.
pub(crate) async fn of_nodes(client: &Client) -> Result<Option<BTreeSet<String>>, Failure> {
    let nodes: Api<Node> = Api::all(client.clone());
    let params = ListParams::default().limit(NODES);
    let listed = match nodes.list_metadata(&params).await {
        Ok(listed) => listed,
        Err(error) => {
            let failure = failure("list nodes", &error);
            return match failure.kind {
                FailureKind::Connectivity => Err(failure),
                _ => Ok(None),
            };
        }
    };
    let found: BTreeSet<String> = listed
        .items
        .into_iter()
        .filter_map(|node| node.metadata.labels?.remove(ARCH_LABEL))
        .collect();
    Ok((!found.is_empty()).then_some(found))
}

/// The architecture of the nodes that a pod is for; none: whatever the cluster has. `agent` is that of the agent where it comes
/// without an image.
pub(crate) fn choose(
    spec: &Spec,
    agent: Option<&str>,
    nodes: Option<&BTreeSet<String>>,
) -> Result<Option<String>, Failure> {
    let written = spec.node_selector.get(ARCH_LABEL).or(spec.arch.as_ref());
    let Some(agent) = agent else {
        // The agent's image is for what the images are for.
        let only = nodes.filter(|nodes| nodes.len() == 1);
        return Ok(written.or(only.and_then(BTreeSet::first)).cloned());
    };
    let help = "name an image of the agent for that architecture with --agent-image";
    match (written, nodes) {
        (Some(written), _) if written != agent => Err(configuration(
            format!(
                "the pod {} is for {written} nodes, and the agent that this stepyard brings is for {agent}",
                spec.name
            ),
            help,
        )),
        (None, Some(nodes)) if !nodes.contains(agent) => {
            let have: Vec<&str> = nodes.iter().map(String::as_str).collect();
            Err(configuration(
                format!(
                    "the nodes of this cluster are {}, and the agent that this stepyard brings is for {agent}",
                    have.join(" and ")
                ),
                help,
            ))
        }
        _ => Ok(Some(agent.to_owned())),
    }
}
