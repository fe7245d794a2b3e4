//! The clusters of a run: the one of the kubeconfig, and those of the K8sCluster connectors that its groups name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backend_kube::{Credentials, Kube, Manual, Oidc};
use base64::Engine as _;
use driver::backend::{
    Access, Backend, Carrier, Created, Deleted, Events, Failure, FailureKind, ImageFacts, PodRef,
};
use pipeline::model::{Connector, ConnectorSpec, Entities, Pipeline, Ref};
use pipeline::plan::{Place, What};
use pipeline::pod;
use syntax::yaml::Node;
use tokio::sync::OnceCell;

use crate::access::any_scope;
use crate::backends;
use crate::home::Home;
use crate::problem::Problem;
use crate::secrets::Secrets;
use crate::target::Target;

/// By connector reference as written.
pub(crate) type Connectors = BTreeMap<String, Manual>;

/// The clusters that the groups' connectors describe by address. One that inherits from its delegate is the kubeconfig's, and so
/// is one that is not known here; a context on the command line wins over all.
pub(crate) fn connectors(
    pipeline: &Pipeline,
    entities: &Entities,
    secrets: &Secrets,
    target: &Target,
) -> Result<Connectors, Problem> {
    let mut found = Connectors::new();
    if !matches!(target, Target::Kube { context: None, .. }) {
        return Ok(found);
    }
    for place in Place::all(pipeline) {
        let What::Group(group) = place.what else {
            continue;
        };
        let written = group
            .kubernetes()
            .and_then(|infra| infra.connector_ref.as_ref()?.literal());
        let Some(reference) = written else { continue };
        let connector = entities
            .connector(reference)
            .or_else(|| any_scope(entities, reference));
        let Some(connector) = connector else { continue };
        if let Some(manual) = Written::of(connector, secrets)?.manual()? {
            found.insert(reference.to_string(), manual);
        }
    }
    Ok(found)
}

/// The credential of a connector, as it is written.
struct Written<'a> {
    identifier: &'a str,
    credential: &'a Node,
    secrets: &'a Secrets,
}

impl<'a> Written<'a> {
    fn of(connector: &'a Connector, secrets: &'a Secrets) -> Result<Self, Problem> {
        let identifier = connector.common.identifier.as_str();
        let ConnectorSpec::Kubernetes(spec) = &connector.spec else {
            return Err(Problem::invalid(format!(
                "the connector `{identifier}` is of type {}; pods are made through one of type K8sCluster",
                connector
                    .common
                    .kind
                    .as_ref()
                    .map_or("", |kind| &kind.value)
            )));
        };
        let credential = spec.credential.as_ref();
        let credential = credential.ok_or_else(|| {
            Problem::invalid(format!("the connector `{identifier}` has no credential"))
        })?;
        Ok(Self {
            identifier,
            credential,
            secrets,
        })
    }

    /// None where it is the cluster that Stepyard finds by itself.
    fn manual(&self) -> Result<Option<Manual>, Problem> {
        match text(self.credential, "type") {
            Some("InheritFromDelegate") => return Ok(None),
            Some("ManualConfig") => {}
            other => {
                return Err(self.wrong(
                    "credential.type",
                    other,
                    "InheritFromDelegate or ManualConfig",
                ));
            }
        }
        let spec = key(self.credential, "spec").ok_or_else(|| self.missing("credential.spec"))?;
        let url = text(spec, "masterUrl").ok_or_else(|| self.missing("masterUrl"))?;
        let auth = key(spec, "auth").ok_or_else(|| self.missing("auth"))?;
        let nothing = Node {
            value: syntax::yaml::Value::Mapping(syntax::yaml::Mapping::default()),
            ..auth.clone()
        };
        let own = key(auth, "spec").unwrap_or(&nothing);
        let user = match text(auth, "type") {
            Some("ServiceAccount") => {
                Credentials::Token(self.secret(own, "serviceAccountTokenRef")?)
            }
            Some("ClientKeyCert") => {
                if key(own, "clientKeyPassphraseRef").is_some() {
                    return Err(Problem::invalid(format!(
                        "the connector `{}` has a client key with a passphrase, which is not supported",
                        self.identifier
                    ))
                    .help("store the key without one: `openssl pkey -in key.pem` writes it"));
                }
                Credentials::Certificate {
                    certificate: pem(&self.secret(own, "clientCertRef")?),
                    key: pem(&self.secret(own, "clientKeyRef")?),
                }
            }
            Some("UsernamePassword") => Credentials::Password {
                username: self.named(own, "username", "usernameRef")?,
                password: self.secret(own, "passwordRef")?,
            },
            Some("OpenIdConnect") => Credentials::Oidc(Box::new(Oidc {
                issuer: text(own, "oidcIssuerUrl")
                    .ok_or_else(|| self.missing("oidcIssuerUrl"))?
                    .to_owned(),
                username: self.named(own, "oidcUsername", "oidcUsernameRef")?,
                password: self.secret(own, "oidcPasswordRef")?,
                client_id: self.secret(own, "oidcClientIdRef")?,
                client_secret: self.maybe(own, "oidcSecretRef")?,
                scopes: text(own, "oidcScopes").unwrap_or_default().to_owned(),
            })),
            other => {
                return Err(self.wrong(
                    "auth.type",
                    other,
                    "ServiceAccount, ClientKeyCert, UsernamePassword or OpenIdConnect",
                ));
            }
        };
        Ok(Some(Manual {
            url: url.to_owned(),
            ca: self.maybe(own, "caCertRef")?.map(|text| pem(&text)),
            user,
        }))
    }

    fn secret(&self, node: &Node, name: &str) -> Result<String, Problem> {
        self.maybe(node, name)?.ok_or_else(|| self.missing(name))
    }

    fn maybe(&self, node: &Node, name: &str) -> Result<Option<String>, Problem> {
        let Some(written) = text(node, name) else {
            return Ok(None);
        };
        let reference = Ref::parse(written).map_or_else(|| written.to_owned(), |r| r.to_string());
        let value = self.secrets.get(&reference).ok_or_else(|| {
            Secrets::missing(&reference, &format!("the connector `{}`", self.identifier))
        })?;
        Ok(Some(value.to_owned()))
    }

    fn named(&self, node: &Node, literal: &str, secret: &str) -> Result<String, Problem> {
        match text(node, literal) {
            Some(name) => Ok(name.to_owned()),
            None => self.secret(node, secret),
        }
    }

    fn missing(&self, name: &str) -> Problem {
        Problem::invalid(format!(
            "the connector `{}` has no `{name}`",
            self.identifier
        ))
    }

    fn wrong(&self, name: &str, found: Option<&str>, wanted: &str) -> Problem {
        let found = found.unwrap_or_default();
        Problem::invalid(format!(
            "the connector `{}`: `{found}` is no `{name}`",
            self.identifier
        ))
        .help(format!("write {wanted}"))
    }
}

fn key<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    node.as_mapping()?.get(name).filter(|own| !own.is_null())
}

fn text<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    key(node, name)?.as_text().filter(|text| !text.is_empty())
}

/// The format wants PEM in base64; as it is it is understood as well.
fn pem(text: &str) -> String {
    if text.contains("-----BEGIN") {
        return text.to_owned();
    }
    let packed: String = text.split_whitespace().collect();
    base64::engine::general_purpose::STANDARD
        .decode(packed)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_else(|| text.to_owned())
}

/// One cluster, connected to when a pod of it is first asked for.
struct One {
    target: backend_kube::Target,
    kube: OnceCell<Kube>,
}

/// A backend over several clusters: each pod is in that of its connector.
pub(crate) struct Clusters {
    home: Home,
    default: One,
    by: BTreeMap<String, One>,
}

impl Clusters {
    /// The cluster of the kubeconfig, which has answered unless every pod may be in another; and those of connectors.
    pub(crate) async fn open(
        context: Option<String>,
        namespace: Option<&str>,
        connectors: Connectors,
        home: &Home,
    ) -> Result<Arc<dyn Backend>, Problem> {
        let target = |context, manual| backend_kube::Target {
            context,
            namespace: namespace.map(str::to_owned),
            manual,
        };
        let one = |target| One {
            target,
            kube: OnceCell::new(),
        };
        if connectors.is_empty() {
            return Ok(Arc::new(
                backends::kube(&target(context, None), home).await?,
            ));
        }
        Ok(Arc::new(Self {
            home: home.clone(),
            default: one(target(context, None)),
            by: connectors
                .into_iter()
                .map(|(name, manual)| (name, one(target(None, Some(manual)))))
                .collect(),
        }))
    }

    async fn of(&self, connector: Option<&str>) -> Result<&Kube, Failure> {
        let one = connector
            .and_then(|connector| self.by.get(connector))
            .unwrap_or(&self.default);
        one.kube
            .get_or_try_init(|| async {
                let connection = backend_kube::connect(&one.target).await?;
                backends::kube_on(connection, &self.home).map_err(|problem| Failure {
                    kind: FailureKind::Configuration,
                    container: None,
                    message: problem.message().to_owned(),
                    help: None,
                })
            })
            .await
    }
}

#[async_trait]
impl Backend for Clusters {
    fn name(&self) -> &'static str {
        "kube"
    }

    async fn preflight(
        &self,
        spec: &pod::Spec,
        access: &Access,
    ) -> BTreeMap<String, Result<ImageFacts, Failure>> {
        match self.of(spec.connector.as_deref()).await {
            Ok(kube) => kube.preflight(spec, access).await,
            // The pod's creation says why, once.
            Err(_) => spec
                .containers
                .iter()
                .map(|own| (own.name.clone(), Ok(ImageFacts::default())))
                .collect(),
        }
    }

    async fn create(
        &self,
        spec: &pod::Spec,
        access: &Access,
        events: Events,
    ) -> Result<Created, Failure> {
        let kube = self.of(spec.connector.as_deref()).await?;
        kube.create(spec, access, events).await
    }

    async fn container(
        &self,
        spec: &pod::Spec,
        access: &Access,
        container: &str,
        events: Events,
    ) -> Result<(), Failure> {
        let kube = self.of(spec.connector.as_deref()).await?;
        kube.container(spec, access, container, events).await
    }

    async fn connect(&self, pod: &PodRef) -> Result<Box<dyn Carrier>, Failure> {
        self.of(pod.connector.as_deref()).await?.connect(pod).await
    }

    async fn gone(&self, pod: &PodRef) -> Failure {
        match self.of(pod.connector.as_deref()).await {
            Ok(kube) => kube.gone(pod).await,
            // What cannot be reached now is not gone.
            Err(_) => std::future::pending().await,
        }
    }

    async fn ended(&self, pod: &PodRef, container: &str) -> Option<Failure> {
        let kube = self.of(pod.connector.as_deref()).await.ok()?;
        kube.ended(pod, container).await
    }

    async fn delete(&self, pod: &PodRef, grace: Duration) -> Result<Deleted, Failure> {
        let kube = self.of(pod.connector.as_deref()).await?;
        kube.delete(pod, grace).await
    }

    async fn list(&self) -> Result<Vec<PodRef>, Failure> {
        let mut all = self.of(None).await?.list().await?;
        for name in self.by.keys() {
            let listed = self.of(Some(name)).await?.list().await?;
            all.extend(listed.into_iter().map(|pod| PodRef {
                connector: Some(name.clone()),
                ..pod
            }));
        }
        Ok(all)
    }
}
