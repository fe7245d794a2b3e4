//! Which cluster, and as whom.

use driver::backend::{Failure, FailureKind};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// Where pods are to be made.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// A context of the kubeconfig; none: its current one, or the service account of the pod that this process runs in.
    pub context: Option<String>,
    /// A namespace that wins over the pipeline's own.
    pub namespace: Option<String>,
}

/// Where pods go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// It wins over what the pipeline names; else it is for pods without one.
    pub wins: bool,
}

/// A client for the target, and the namespace of its pods: the target's own, or the one that the context names.
///
/// # Errors
/// Names the kubeconfig or the context that is missing or wrong.
pub async fn connect(target: &Target) -> Result<(Client, Namespace), Failure> {
    let config = match &target.context {
        Some(context) => from_context(context).await?,
        None => Config::infer().await.map_err(|e| {
            configuration(
                format!("failed to find a cluster: {e}"),
                "set KUBECONFIG, or name a context with --kube=CONTEXT",
            )
        })?,
    };
    let namespace = Namespace {
        name: target
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone()),
        wins: target.namespace.is_some(),
    };
    let client = Client::try_from(config).map_err(|e| {
        configuration(
            format!("failed to use the kubeconfig: {e}"),
            "check its certificates and its user",
        )
    })?;
    Ok((client, namespace))
}

async fn from_context(context: &str) -> Result<Config, Failure> {
    let file = Kubeconfig::read().map_err(|e| {
        configuration(
            format!("failed to read the kubeconfig: {e}"),
            "set KUBECONFIG to the file to use",
        )
    })?;
    let known: Vec<&str> = file.contexts.iter().map(|c| c.name.as_str()).collect();
    if !known.contains(&context) {
        let help = format!("known contexts: {}", known.join(", "));
        return Err(configuration(
            format!("the kubeconfig has no context {context:?}"),
            &help,
        ));
    }
    let options = KubeConfigOptions {
        context: Some(context.to_owned()),
        ..KubeConfigOptions::default()
    };
    Config::from_custom_kubeconfig(file, &options)
        .await
        .map_err(|e| {
            configuration(
                format!("failed to use the context {context:?}: {e}"),
                "check its cluster and its user",
            )
        })
}

fn configuration(message: String, help: &str) -> Failure {
    Failure {
        kind: FailureKind::Configuration,
        container: None,
        message,
        help: Some(help.to_owned()),
    }
}
