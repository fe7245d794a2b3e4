//! `connector:`.

use indexmap::IndexMap;
use syntax::yaml::Node;
use syntax::{Diagnostic, Spanned, code};

use super::super::form::{self, Choice, Form, Forms};
use super::super::lower::{Cx, Fields, Lower, Slot};
use super::super::macros::{model, words};
use super::super::name::{Identifier, Name, Ref};

mod git;

pub use git::{ConnectionType, GitAuth, GitConnector, GitKind, Transport};

/// `connector:`.
#[derive(Debug, Clone, PartialEq)]
pub struct Connector {
    /// What every one has.
    pub common: ConnectorCommon,
    /// What it connects to.
    pub spec: ConnectorSpec,
}

impl std::ops::Deref for Connector {
    type Target = ConnectorCommon;

    fn deref(&self) -> &ConnectorCommon {
        &self.common
    }
}

/// What a connector connects to.
#[derive(Debug, Clone, PartialEq)]
pub enum ConnectorSpec {
    /// An image registry.
    DockerRegistry(Box<DockerRegistry>),
    /// A cluster.
    Kubernetes(Box<Kubernetes>),
    /// A git host.
    Git(Box<GitConnector>),
    /// Anything else that the format knows, its spec as it is.
    Other(Option<Box<Node>>),
}

model! {
    /// The keys of every connector.
    ConnectorCommon {
        /// Its identifier.
        identifier: Identifier = "identifier" required;
        /// For people.
        name: Option<Name> = "name";
        /// For people.
        description: Option<Spanned<String>> = "description";
        /// For people and filters.
        tags: IndexMap<String, Spanned<String>> = "tags";
        /// Its organization.
        org: Option<Spanned<String>> = "orgIdentifier";
        /// Its project.
        project: Option<Spanned<String>> = "projectIdentifier";
        /// What it connects to.
        kind: Option<Spanned<String>> = "type" required;
    }
}

words! {
    /// Whose registry it is.
    ProviderType {
        /// Docker Hub.
        DockerHub = "DockerHub",
        /// Harbor.
        Harbor = "Harbor",
        /// Quay.
        Quay = "Quay",
        /// Another.
        Other = "Other",
    }
}

model! {
    /// `spec` of `DockerRegistry`.
    DockerRegistry {
        /// `https://host[:port][/path]`.
        url: Option<Spanned<String>> = "dockerRegistryUrl" required;
        /// Whose it is.
        provider: Option<Spanned<ProviderType>> = "providerType";
        /// Anonymous where nothing is said.
        auth: Option<DockerAuth> = "auth";
        /// The delegates that may use it.
        delegate_selectors: Option<Node> = "delegateSelectors";
        /// Whether a delegate uses it, or the server.
        execute_on_delegate: Option<Spanned<bool>> = "executeOnDelegate";
        /// Through the proxy.
        proxy: Option<Node> = "proxy";
        /// Not tested.
        ignore_test: Option<Spanned<bool>> = "ignoreTestConnection";
    }
}

/// How a registry is logged in to.
#[derive(Debug, Clone, PartialEq)]
pub enum DockerAuth {
    /// Not at all.
    Anonymous,
    /// With a name and a secret.
    UsernamePassword {
        /// The name.
        user: Option<UserName>,
        /// The secret with the password.
        password: Option<Spanned<Ref>>,
    },
}

/// A user's name, written out or in a secret.
#[derive(Debug, Clone, PartialEq)]
pub enum UserName {
    /// Written out.
    Literal(Spanned<String>),
    /// In a secret.
    Secret(Spanned<Ref>),
}

model! {
    /// `spec` of `K8sCluster`. Natively a cluster is not looked up, so its credentials are kept as they are.
    Kubernetes {
        /// `InheritFromDelegate` or `ManualConfig`.
        credential: Option<Node> = "credential" required;
        /// The delegates that may use it.
        delegate_selectors: Option<Node> = "delegateSelectors";
        /// Not tested.
        ignore_test: Option<Spanned<bool>> = "ignoreTestConnection";
        /// Kept as it is.
        execute_on_delegate: Option<Spanned<bool>> = "executeOnDelegate";
    }
}

/// Every type of connector.
const TYPES: [&str; 47] = [
    "K8sCluster",
    "Git",
    "Splunk",
    "AppDynamics",
    "Prometheus",
    "Dynatrace",
    "Vault",
    "Azure",
    "AzureArtifacts",
    "AzureKeyVault",
    "DockerRegistry",
    "JDBC",
    "Local",
    "AwsKms",
    "GcpKms",
    "AwsSecretManager",
    "Gcp",
    "Aws",
    "Artifactory",
    "Jira",
    "Jenkins",
    "Nexus",
    "Github",
    "Gitlab",
    "Bitbucket",
    "Codecommit",
    "CEAws",
    "CEAzure",
    "GcpCloudCost",
    "CEK8sCluster",
    "HttpHelmRepo",
    "OciHelmRepo",
    "NewRelic",
    "Datadog",
    "SumoLogic",
    "PagerDuty",
    "GcpSecretManager",
    "Spot",
    "ServiceNow",
    "Tas",
    "TerraformCloud",
    "ElasticSearch",
    "Rancher",
    "CustomHealth",
    "Pdc",
    "CustomSecretManager",
    "AzureRepo",
];

impl Lower for Connector {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let mut fields = Fields::of(node, name, cx)?;
        let own = ConnectorCommon::fields(&mut fields, cx);
        fields.required("spec", cx);
        let spec = own
            .kind
            .as_ref()
            .and_then(|kind| match kind.value.as_str() {
                "DockerRegistry" => fields
                    .value_as("spec", "spec of DockerRegistry", cx)
                    .map(ConnectorSpec::DockerRegistry),
                "K8sCluster" => fields
                    .value_as("spec", "spec of K8sCluster", cx)
                    .map(ConnectorSpec::Kubernetes),
                "Git" | "Github" | "Gitlab" | "Bitbucket" => {
                    let kind = GitKind::from_word(&kind.value)?;
                    let node = fields.node("spec")?;
                    GitConnector::lower(kind, node, cx)
                        .map(Box::new)
                        .map(ConnectorSpec::Git)
                }
                known if TYPES.contains(&known) => {
                    Some(ConnectorSpec::Other(Slot::take(&mut fields, "spec", cx)))
                }
                unknown => {
                    cx.unknown_word_as(
                        code::UNKNOWN_CONNECTOR_TYPE,
                        kind.span,
                        "type",
                        unknown,
                        &TYPES,
                    );
                    None
                }
            });
        fields.ignore(&["spec"]);
        fields.finish(cx);
        Some(Self {
            common: own,
            spec: spec?,
        })
    }

    fn form(forms: &mut Forms) -> Form {
        forms.object(
            "Connector",
            "How something outside is reached.",
            |forms, own| {
                ConnectorCommon::keys(forms, &mut own.keys);
                own.keys
                    .push(form::required("spec", "Its settings.", Form::Any));
                own.choice = Some(Choice {
                    by: "type",
                    below: "spec",
                    forms: vec![
                        ("DockerRegistry", DockerRegistry::form(forms)),
                        ("K8sCluster", Kubernetes::form(forms)),
                    ],
                });
            },
        )
    }
}

impl Lower for DockerAuth {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        const KINDS: [&str; 2] = ["Anonymous", "UsernamePassword"];
        let mut fields = Fields::of(node, name, cx)?;
        fields.required("type", cx);
        let kind: Option<Spanned<String>> = Slot::take(&mut fields, "type", cx);
        let auth = match kind.as_ref().map(|kind| kind.value.as_str()) {
            Some("Anonymous") => {
                fields.ignore(&["spec"]);
                Some(Self::Anonymous)
            }
            Some("UsernamePassword") => {
                fields.required("spec", cx);
                fields
                    .node("spec")
                    .and_then(|node| Fields::of(node, "spec", cx))
                    .map(|mut spec| {
                        spec.required("passwordRef", cx);
                        let user = user_name(&mut spec, "username", "usernameRef", true, cx);
                        let password = Slot::take(&mut spec, "passwordRef", cx);
                        spec.finish(cx);
                        Self::UsernamePassword { user, password }
                    })
            }
            Some(_) => {
                fields.ignore(&["spec"]);
                if let Some(kind) = &kind {
                    cx.unknown_word(kind.span, "type", &kind.value, &KINDS);
                }
                None
            }
            None => None,
        };
        fields.finish(cx);
        auth
    }
}

/// A name written out under one key or in a secret under another.
fn user_name(
    fields: &mut Fields<'_>,
    literal: &'static str,
    secret: &'static str,
    required: bool,
    cx: &mut Cx,
) -> Option<UserName> {
    let name: Option<Spanned<String>> = Slot::take(fields, literal, cx);
    let reference: Option<Spanned<Ref>> = Slot::take(fields, secret, cx);
    if let (Some(name), Some(reference)) = (&name, &reference) {
        cx.push(
            Diagnostic::error(
                code::ONE_OF,
                format!("`{literal}` and `{secret}` exclude each other"),
            )
            .at(reference.span, "")
            .at(name.span, "")
            .help("keep one of them"),
        );
    }
    let found = name
        .map(UserName::Literal)
        .or_else(|| reference.map(UserName::Secret));
    if found.is_none() && required {
        fields.required(literal, cx);
    }
    found
}
