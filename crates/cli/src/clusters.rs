//! The clusters of a run: the one of the kubeconfig, and those of the K8sCluster connectors that its groups name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backend_kube::{Credentials, GivenUp, Kube, Manual, Oidc, Patience};
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
use crate::args::SecretArgs;
use crate::backends;
use crate::cmd::resume;
use crate::home::{Home, RunDir};
use crate::meta::Meta;
use crate::problem::Problem;
use crate::secrets::Secrets;
use crate::target::Target;

/// How long a connector's cluster may take to answer for the first time: as long as an API server takes to start again, and not as long
/// as `initTimeout`, since its address may be wrong.
const FIRST_ANSWER: Duration = Duration::from_secs(20);

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
    for group in connected(pipeline, entities) {
        if let Some(manual) = Written::of(group.connector, secrets)?.manual()? {
            found.insert(group.reference, manual);
        }
    }
    Ok(found)
}

/// A group that names a connector which is known.
struct Connected<'a> {
    reference: String,
    connector: &'a Connector,
    namespace: Option<&'a String>,
}

fn connected<'a>(pipeline: &'a Pipeline, entities: &'a Entities) -> Vec<Connected<'a>> {
    let groups = Place::all(pipeline).into_iter().filter_map(|place| {
        let What::Group(group) = place.what else {
            return None;
        };
        let infra = group.kubernetes()?;
        let reference = infra.connector_ref.as_ref()?.literal()?;
        let known = entities.connector(reference);
        Some(Connected {
            reference: reference.to_string(),
            connector: known.or_else(|| any_scope(entities, reference))?,
            namespace: infra.namespace.as_ref().and_then(|own| own.literal()),
        })
    });
    groups.collect()
}

/// Connectors that groups name for their cluster and that nobody describes: their pods go where the kubeconfig says.
pub(crate) fn unknown(pipeline: &Pipeline, entities: &Entities) -> BTreeSet<String> {
    let groups = Place::all(pipeline).into_iter().filter_map(|place| {
        let What::Group(group) = place.what else {
            return None;
        };
        let reference = group.kubernetes()?.connector_ref.as_ref()?.literal()?;
        let known =
            entities.connector(reference).is_some() || any_scope(entities, reference).is_some();
        (!known).then(|| reference.to_string())
    });
    groups.collect()
}

/// Every pod of a run is in a cluster that a connector describes by address.
pub(crate) fn elsewhere(meta: &Meta, run: &RunDir) -> bool {
    if !matches!(meta.backend, Target::Kube { context: None, .. }) {
        return false;
    }
    let Ok(documents) = resume::texts(meta, run) else {
        return false;
    };
    let Ok(pipeline) = documents.pipeline() else {
        return false;
    };
    let by_address = |group: &Connected| {
        let ConnectorSpec::Kubernetes(spec) = &group.connector.spec else {
            return false;
        };
        let credential = spec.credential.as_ref();
        credential.and_then(|own| text(own, "type")) == Some("ManualConfig")
    };
    let groups = Place::all(pipeline).into_iter();
    let pods = groups.filter(|place| match place.what {
        What::Group(group) => group.kubernetes().is_some(),
        _ => false,
    });
    let connected = connected(pipeline, &documents.entities);
    pods.count() == connected.iter().filter(|own| by_address(own)).count()
}

/// The clusters and namespaces in which a run may have left something, beside those of the kubeconfig: what its connectors describe
/// by address. Secrets are read from where the run read them.
pub(crate) fn places(
    meta: &Meta,
    run: &RunDir,
    again: &SecretArgs,
) -> Result<Vec<backend_kube::Target>, Problem> {
    let Target::Kube {
        context: None,
        namespace,
        ..
    } = &meta.backend
    else {
        return Ok(Vec::new());
    };
    let (documents, secrets) = resume::given(meta, run, again)?;
    let mut found: Vec<backend_kube::Target> = Vec::new();
    let mut seen = BTreeSet::new();
    for group in connected(documents.pipeline()?, &documents.entities) {
        let Some(manual) = Written::of(group.connector, &secrets)?.manual()? else {
            continue;
        };
        let namespace = namespace.as_ref().or(group.namespace).cloned();
        if seen.insert((group.reference, namespace.clone())) {
            found.push(backend_kube::Target {
                context: None,
                namespace,
                manual: Some(manual),
            });
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
    /// No other process has asked for these pods before.
    first: bool,
    /// Pods that no cluster was asked for yet.
    unmade: backend_kube::Unmade,
    /// Pods that nobody waits for any more.
    given_up: GivenUp,
}

impl Clusters {
    /// The cluster of the kubeconfig, which has answered unless every pod may be in another; and those of connectors.
    pub(crate) async fn open(
        context: Option<String>,
        namespace: Option<&str>,
        connectors: Connectors,
        home: &Home,
        first: bool,
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
            let kube = backends::kube(&target(context, None), home).await?;
            return Ok(Arc::new(kube.first(first)));
        }
        Ok(Arc::new(Self {
            home: home.clone(),
            default: one(target(context, None)),
            by: connectors
                .into_iter()
                .map(|(name, manual)| (name, one(target(None, Some(manual)))))
                .collect(),
            first,
            unmade: backend_kube::Unmade::default(),
            given_up: GivenUp::default(),
        }))
    }

    async fn of(&self, connector: Option<&str>) -> Result<&Kube, Failure> {
        let one = connector
            .and_then(|connector| self.by.get(connector))
            .unwrap_or(&self.default);
        one.kube
            .get_or_try_init(|| async {
                let connection = backend_kube::connect(&one.target).await?;
                let kube = backends::kube_on(connection, &self.home);
                kube.map(|kube| kube.first(self.first))
                    .map_err(|problem| Failure {
                        kind: FailureKind::Configuration,
                        container: None,
                        message: problem.message().to_owned(),
                        help: None,
                    })
            })
            .await
    }

    /// The same for what begins a pod: a cluster that was never reached may be one that starts again.
    async fn waited_for(&self, spec: &pod::Spec, events: Option<Events>) -> Result<&Kube, Failure> {
        let limit = Duration::from_millis(spec.init_timeout_ms).min(FIRST_ANSWER);
        let connector = spec.connector.as_deref();
        Patience::new(limit, events)
            .unless(self.given_up.of(&spec.name))
            .with(|| self.of(connector))
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
        match self.waited_for(spec, None).await {
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
        self.unmade.begin(&spec.name);
        let kube = self.waited_for(spec, Some(events.clone())).await?;
        self.unmade.given(&spec.name);
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

    fn give_up(&self, pod: &PodRef) {
        self.given_up.add(&pod.name);
        let one = pod.connector.as_ref().and_then(|name| self.by.get(name));
        if let Some(kube) = one.unwrap_or(&self.default).kube.get() {
            kube.give_up(pod);
        }
    }

    async fn connect(&self, pod: &PodRef) -> Result<Box<dyn Carrier>, Failure> {
        self.of(pod.connector.as_deref()).await?.connect(pod).await
    }

    async fn visit(&self, pod: &PodRef) -> Result<Box<dyn Carrier>, Failure> {
        self.of(pod.connector.as_deref()).await?.visit(pod).await
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
        if self.first && self.unmade.is_unmade(&pod.name) {
            return Ok(Deleted::NotThere);
        }
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
