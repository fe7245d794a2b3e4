//! The agent in the cluster: one immutable ConfigMap a namespace and architecture.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use driver::backend::{Failure, FailureKind};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Error};
use pipeline::pod::{AGENT_FILE, MANAGED_BY, STEPYARD};
use serde_json::json;

use crate::api::failure;
use crate::asking::Asking;

/// The annotation with the day on which a ConfigMap was last used.
pub(crate) const LAST_USED: &str = "stepyard.dev/last-used";
/// What the names of our ConfigMaps begin with.
pub(crate) const PREFIX: &str = "stepyard-agent-";

/// The agent that a backend brings.
#[derive(Clone)]
pub struct Agent {
    bytes: &'static [u8],
    digest: String,
    arch: String,
    /// The objects that hold it, by namespace.
    held: Arc<Held>,
}

/// What is known of the objects in the cluster.
#[derive(Default)]
struct Held {
    /// Namespaces in which it is being looked for.
    asking: Asking<String, Result<(), Failure>>,
    /// The object that was found to hold the agent, by its uid: it is immutable, so that it still does.
    found: Mutex<HashMap<String, String>>,
}

impl Agent {
    /// A static binary for Linux and its hex sha256.
    pub fn new(bytes: &'static [u8], digest: impl Into<String>) -> Self {
        Self {
            bytes,
            digest: digest.into(),
            arch: architecture(bytes),
            held: Arc::default(),
        }
    }

    /// The architecture that it runs on, as nodes say it: `amd64`, `arm64`.
    pub fn arch(&self) -> &str {
        &self.arch
    }

    /// `stepyard-agent-<digest>`: another agent is another object, so that nothing is ever replaced under a running pod.
    pub fn config_map(&self) -> String {
        format!("{PREFIX}{}", &self.digest[..12])
    }

    /// Makes the ConfigMap where it is missing. One that is there is compared before its first use, and marked as used today.
    pub(crate) async fn ensure(&self, client: &Client, namespace: &str) -> Result<(), Failure> {
        let ensure = || async {
            // A megabyte, read once for all groups.
            if !self.still_there(client, namespace).await {
                self.compare(client, namespace).await?;
            }
            Ok(())
        };
        self.held.asking.answer(namespace.to_owned(), ensure).await
    }

    /// Whether the object that was compared before is there.
    async fn still_there(&self, client: &Client, namespace: &str) -> bool {
        let known = self.held.found.lock().ok();
        let Some(uid) = known.and_then(|found| found.get(namespace).cloned()) else {
            return false;
        };
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let Ok(Some(there)) = api.get_metadata_opt(&self.config_map()).await else {
            return false;
        };
        let same = there.metadata.uid.as_deref() == Some(&uid);
        if same {
            mark(api, &there.metadata);
        }
        same
    }

    async fn compare(&self, client: &Client, namespace: &str) -> Result<(), Failure> {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let name = self.config_map();
        let refused = |verb: &str, error: &Error| {
            let doing = format!("{verb} the ConfigMap {name} in the namespace {namespace}");
            let mut failure = failure(&doing, error);
            if failure.kind == FailureKind::Authorization {
                failure.help = Some(
                    "bind the Role in deploy/kubernetes/role.yaml to this user, or bring the agent in an image: --agent-image"
                        .to_owned(),
                );
            }
            failure
        };
        let mut found = api.get_opt(&name).await.map_err(|e| refused("read", &e))?;
        if found.is_none() {
            match api
                .create(&PostParams::default(), &self.object(&name))
                .await
            {
                Ok(_) => return Ok(()),
                // Another run was faster.
                Err(Error::Api(status)) if status.code == 409 => {
                    found = api.get_opt(&name).await.map_err(|e| refused("read", &e))?;
                }
                Err(error) => return Err(refused("create", &error)),
            }
        }
        let Some(found) = found else {
            return Err(Failure {
                kind: FailureKind::Infrastructure,
                container: None,
                message: format!(
                    "the ConfigMap {name} in the namespace {namespace} comes and goes"
                ),
                help: Some("does something remove it?".to_owned()),
            });
        };
        let held = found.binary_data.as_ref().and_then(|d| d.get(AGENT_FILE));
        if held.is_none_or(|held| held.0 != self.bytes) {
            return Err(Failure {
                kind: FailureKind::Configuration,
                container: None,
                message: format!(
                    "the ConfigMap {name} in the namespace {namespace} does not hold the agent that its name says: somebody changed it"
                ),
                help: Some(format!(
                    "remove it, and it is made again: kubectl delete configmap {name} -n {namespace}"
                )),
            });
        }
        if let (Ok(mut held), Some(uid), Some(true)) = (
            self.held.found.lock(),
            found.metadata.uid.clone(),
            found.immutable,
        ) {
            held.insert(namespace.to_owned(), uid);
        }
        mark(api, &found.metadata);
        Ok(())
    }

    fn object(&self, name: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(BTreeMap::from([(
                    MANAGED_BY.to_owned(),
                    STEPYARD.to_owned(),
                )])),
                annotations: Some(BTreeMap::from([(LAST_USED.to_owned(), today())])),
                ..ObjectMeta::default()
            },
            binary_data: Some(BTreeMap::from([(
                AGENT_FILE.to_owned(),
                ByteString(self.bytes.to_vec()),
            )])),
            immutable: Some(true),
            ..ConfigMap::default()
        }
    }
}

fn today() -> String {
    Timestamp::now().strftime("%F").to_string()
}

/// Says that it is used, once a day. Nothing waits for it, and who may not do it goes without.
fn mark(api: Api<ConfigMap>, found: &ObjectMeta) {
    let today = today();
    let annotations = found.annotations.as_ref();
    if annotations.and_then(|own| own.get(LAST_USED)) == Some(&today) {
        return;
    }
    let name = found.name.clone().unwrap_or_default();
    tokio::spawn(async move {
        let patch = json!({"metadata": {"annotations": {LAST_USED: today}}});
        let _ = api
            .patch_metadata(&name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
    });
}

/// The machine of an ELF file, as Kubernetes calls it.
fn architecture(elf: &[u8]) -> String {
    match elf.get(18..20) {
        Some([0x3e, 0]) => "amd64",
        Some([0xb7, 0]) => "arm64",
        _ => "unknown",
    }
    .to_owned()
}
