//! Which cluster, and as whom.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

use driver::backend::{Failure, FailureKind};
use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, KubeconfigError, NamedAuthInfo,
    NamedCluster, NamedContext,
};
use kube::{Client, Config};

use crate::api::failure;
use crate::client::client;
use crate::oidc::Oidc;

/// The oldest server that pods are made in: the oldest that its client library supports.
pub const OLDEST: u32 = 33;
/// Since then the resources of whole pods are on by default.
const POD_RESOURCES: u32 = 34;
/// How long a connection to the API server may take: whoever does not answer by then is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// A name for the parts of a kubeconfig that is made of a connector.
const CONNECTOR: &str = "connector";

/// Where pods are to be made.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// A context of the kubeconfig; none: its current one, or the service account of the pod that this process runs in.
    pub context: Option<String>,
    /// A namespace that wins over the pipeline's own.
    pub namespace: Option<String>,
    /// A cluster by address and credentials, in place of any kubeconfig.
    pub manual: Option<Manual>,
}

/// A cluster by its address, as a connector has it.
#[derive(Clone, Default)]
pub struct Manual {
    /// `https://host:port`.
    pub url: String,
    /// PEM of the authorities that may vouch for the server; none: those that the system trusts.
    pub ca: Option<String>,
    /// As whom.
    pub user: Credentials,
}

/// As whom a cluster is spoken to. Holds secrets.
#[derive(Clone, Default)]
pub enum Credentials {
    /// As nobody.
    #[default]
    Anonymous,
    /// With the token of a service account, or an id token.
    Token(String),
    /// With a certificate and its key, both PEM.
    Certificate {
        /// The certificate.
        certificate: String,
        /// Its key.
        key: String,
    },
    /// With a name and a password, which servers since 1.19 no longer take by themselves.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// With an id token that an issuer gives for a name and a password.
    Oidc(Box<Oidc>),
}

impl std::fmt::Debug for Manual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manual")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Where pods go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// It wins over what the pipeline names; else it is for pods without one.
    pub wins: bool,
}

/// A cluster that answers.
#[derive(Clone)]
pub struct Connection {
    /// Speaks to its API server.
    pub client: Client,
    /// Where pods go.
    pub namespace: Namespace,
    /// The API server's address, for messages.
    pub url: String,
    /// The minor version of its Kubernetes 1.
    pub minor: u32,
}

impl Connection {
    /// The server knows the resources of whole pods.
    pub fn pod_resources(&self) -> bool {
        self.minor >= POD_RESOURCES
    }
}

/// A connection to the target's API server, which has answered.
///
/// # Errors
/// Names the kubeconfig or the context that is missing or wrong, the server that does not answer, does not know who asks, or is too old.
pub async fn connect(target: &Target) -> Result<Connection, Failure> {
    let mut config = config(target).await?;
    config.connect_timeout = Some(CONNECT);
    let scheme = config.cluster_url.scheme_str();
    if !matches!(scheme, Some("http" | "https")) || config.cluster_url.host().is_none() {
        return Err(configuration(
            format!("`{}` is no address of an API server", config.cluster_url),
            "write https://HOST:PORT in the connector's masterUrl, or as `server` in the kubeconfig",
        ));
    }
    let url = config.cluster_url.to_string();
    let url = url.trim_end_matches('/').to_owned();
    let namespace = Namespace {
        name: target
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone()),
        wins: target.namespace.is_some(),
    };
    let plugin = config.auth_info.exec.as_ref();
    let using = match plugin.and_then(|exec| exec.command.as_ref()) {
        Some(command) => format!("get credentials from `{command}`"),
        None => "use the kubeconfig".to_owned(),
    };
    let client = client(config).map_err(|e| failure(&using, &e))?;
    let doing = format!("reach the API server {url}");
    let version = client
        .apiserver_version()
        .await
        .map_err(|e| failure(&doing, &e))?;
    let minor = minor(&version.minor);
    if version.major == "1" && minor < OLDEST {
        return Err(configuration(
            format!("the API server {url} is Kubernetes 1.{minor}"),
            &format!("the oldest that Stepyard works with is 1.{OLDEST}: upgrade the cluster"),
        ));
    }
    Ok(Connection {
        client,
        namespace,
        url,
        minor,
    })
}

/// `33` of `33`, `33+` and `33-gke`.
fn minor(text: &str) -> u32 {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().unwrap_or(0)
}

async fn config(target: &Target) -> Result<Config, Failure> {
    if let Some(manual) = &target.manual {
        return from_manual(manual).await;
    }
    match read() {
        Ok(file) => from_file(file, target.context.as_deref()).await,
        Err(error) => {
            let none = match &error {
                KubeconfigError::FindPath => true,
                KubeconfigError::ReadConfig(io, _) => io.kind() == ErrorKind::NotFound,
                _ => false,
            };
            if none
                && target.context.is_none()
                && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
            {
                return Config::incluster().map_err(|e| {
                    configuration(
                        format!("failed to use the pod's own service account: {e}"),
                        "set `automountServiceAccountToken: true` for this pod, or KUBECONFIG",
                    )
                });
            }
            Err(unreadable(&error))
        }
    }
}

/// The kubeconfig as `kubectl` reads it: of several files those that are there, merged.
fn read() -> Result<Kubeconfig, KubeconfigError> {
    let files = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let files: Vec<_> = std::env::split_paths(&files)
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    let there: Vec<_> = files.iter().filter(|path| path.exists()).collect();
    if files.len() < 2 || there.is_empty() {
        return Kubeconfig::read();
    }
    let mut merged = Kubeconfig::default();
    for path in there {
        merged = merged.merge(Kubeconfig::read_from(path)?)?;
    }
    Ok(merged)
}

/// The context that the kubeconfig says is current; none where there is none, or no kubeconfig that can be read.
pub fn current_context() -> Option<String> {
    read().ok()?.current_context.filter(|own| !own.is_empty())
}

/// A kubeconfig that is none. Its text is not shown: it holds tokens.
fn unreadable(error: &KubeconfigError) -> Failure {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let files = std::env::var("KUBECONFIG").unwrap_or_else(|_| "~/.kube/config".to_owned());
    match error {
        KubeconfigError::Parse(_) => configuration(
            format!(
                "the kubeconfig {files} cannot be read: {}",
                without_quotes(first)
            ),
            "mend the file: `kubectl config view` shows where it is none",
        ),
        _ => configuration(
            format!("failed to read the kubeconfig: {first}"),
            "set KUBECONFIG to the file to use",
        ),
    }
}

/// Without what stands in quotes, which may be of the text.
fn without_quotes(text: &str) -> String {
    let mut shown = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '"' => inside = !inside,
            _ if inside => {}
            c => shown.push(c),
        }
    }
    shown
}

async fn from_file(file: Kubeconfig, context: Option<&str>) -> Result<Config, Failure> {
    let known: Vec<&str> = file.contexts.iter().map(|c| c.name.as_str()).collect();
    let named = context
        .or(file.current_context.as_deref())
        .unwrap_or_default()
        .to_owned();
    if !known.contains(&named.as_str()) {
        let message = if named.is_empty() {
            "the kubeconfig says no current context".to_owned()
        } else {
            format!("the kubeconfig has no context `{named}`")
        };
        let help = if known.is_empty() {
            "set KUBECONFIG to a file with a context".to_owned()
        } else {
            format!("name one with --kube=CONTEXT; it has {}", known.join(", "))
        };
        return Err(configuration(message, &help));
    }
    let own = file.contexts.iter().find(|own| own.name == named);
    let own = own.and_then(|own| own.context.as_ref());
    let user = own.and_then(|own| own.user.as_deref()).unwrap_or_default();
    if !user.is_empty() && !file.auth_infos.iter().any(|own| own.name == user) {
        return Err(configuration(
            format!("the kubeconfig has no user `{user}`, which its context `{named}` names"),
            "add the user, or name another context with --kube=CONTEXT",
        ));
    }
    let options = KubeConfigOptions {
        context: Some(named.clone()),
        ..KubeConfigOptions::default()
    };
    Config::from_custom_kubeconfig(file, &options)
        .await
        .map_err(|e| {
            configuration(
                format!("failed to use the context `{named}` of the kubeconfig: {e}"),
                "check its cluster and its user",
            )
        })
}

/// Through a kubeconfig in memory, so that there is one way for certificates and tokens.
async fn from_manual(manual: &Manual) -> Result<Config, Failure> {
    let mut user = AuthInfo::default();
    match &manual.user {
        Credentials::Anonymous => {}
        Credentials::Token(token) => user.token = Some(token.trim().to_owned().into()),
        Credentials::Certificate { certificate, key } => {
            user.client_certificate_data = Some(base64(certificate.as_bytes()));
            user.client_key_data = Some(base64(key.as_bytes()).into());
        }
        Credentials::Password { username, password } => {
            user.username = Some(username.clone());
            user.password = Some(password.clone().into());
        }
        Credentials::Oidc(oidc) => user.auth_provider = Some(oidc.provider().await?),
    }
    let cluster = Cluster {
        server: Some(manual.url.clone()),
        certificate_authority_data: manual.ca.as_ref().map(|pem| base64(pem.as_bytes())),
        ..Cluster::default()
    };
    let file = Kubeconfig {
        clusters: vec![NamedCluster {
            name: CONNECTOR.to_owned(),
            cluster: Some(cluster),
            other: BTreeMap::new(),
        }],
        auth_infos: vec![NamedAuthInfo {
            name: CONNECTOR.to_owned(),
            auth_info: Some(user),
            other: BTreeMap::new(),
        }],
        contexts: vec![NamedContext {
            name: CONNECTOR.to_owned(),
            context: Some(Context {
                cluster: CONNECTOR.to_owned(),
                user: Some(CONNECTOR.to_owned()),
                ..Context::default()
            }),
            other: BTreeMap::new(),
        }],
        current_context: Some(CONNECTOR.to_owned()),
        ..Kubeconfig::default()
    };
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .map_err(|e| {
            configuration(
                format!("failed to use the cluster {}: {e}", manual.url),
                "check the connector's masterUrl, its certificates and its user",
            )
        })
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub(crate) fn configuration(message: String, help: &str) -> Failure {
    Failure {
        kind: FailureKind::Configuration,
        container: None,
        message,
        help: Some(help.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_versions_as_vendors_write_them() {
        for (text, wanted) in [("33", 33), ("33+", 33), ("34-gke.1", 34), ("", 0)] {
            assert_eq!(minor(text), wanted, "{text}");
        }
    }
}
