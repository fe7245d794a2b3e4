//! What makes the pods of a run, as it was asked for and as it is kept for a command that takes the run over.

use serde::{Deserialize, Serialize};

use crate::args::{BackendName, Cluster};

/// Where pods are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    /// On this machine, with no daemon.
    Native,
    /// On a container engine.
    Docker,
    /// In a cluster.
    Kube {
        /// A context of the kubeconfig; none: its current one.
        context: Option<String>,
        /// The kubeconfig's current context when the run began: another one may be current by the time that somebody looks for its pods.
        #[serde(default)]
        current: Option<String>,
        /// Wins over the namespaces of the pipeline.
        namespace: Option<String>,
        /// The image that brings the agent; none: as the pipeline says.
        #[serde(default)]
        agent_image: Option<String>,
    },
}

impl Target {
    /// Of the command line.
    pub(crate) fn of(backend: BackendName, cluster: &Cluster, agent_image: Option<&str>) -> Self {
        match (&cluster.kube, backend) {
            (Some(context), _) => Self::Kube {
                context: Some(context.clone()).filter(|c| !c.is_empty()),
                current: None,
                namespace: cluster.namespace.clone(),
                agent_image: agent_image.map(str::to_owned),
            },
            (None, BackendName::Native) => Self::Native,
            (None, BackendName::Docker) => Self::Docker,
        }
    }

    /// The same, for whoever takes the run over: in the context that is current now.
    #[must_use]
    pub(crate) fn pinned(mut self) -> Self {
        if let Self::Kube {
            context: None,
            current,
            ..
        } = &mut self
        {
            *current = backend_kube::current_context();
        }
        self
    }

    /// The context of the kubeconfig in which pods are; none: its current one.
    pub(crate) fn context(&self) -> Option<&str> {
        match self {
            Self::Kube {
                context, current, ..
            } => context.as_deref().or(current.as_deref()),
            _ => None,
        }
    }

    /// The image that brings the agent.
    pub(crate) fn agent_image(&self) -> Option<String> {
        match self {
            Self::Kube { agent_image, .. } => agent_image.clone(),
            _ => None,
        }
    }

    /// Pods are made by this machine itself: cluster connectors are not looked up.
    pub(crate) fn is_native(&self) -> bool {
        *self == Self::Native
    }
}
