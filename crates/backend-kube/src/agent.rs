//! The agent in the cluster: one immutable ConfigMap a namespace.

use std::collections::BTreeMap;

use driver::backend::Failure;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, Error};

use crate::api::failure;

/// The key of the binary in the ConfigMap, and its file name at `/addon/bin`.
pub(crate) const FILE: &str = "stepyard-agent";

/// The agent that a backend brings.
#[derive(Clone)]
pub(crate) struct Agent {
    /// The static binary for the nodes' architecture.
    pub(crate) bytes: &'static [u8],
    /// Hex sha256 of it.
    pub(crate) digest: String,
}

impl Agent {
    /// `stepyard-agent-<digest>`: another agent is another object, so that nothing is ever replaced under a running pod.
    pub(crate) fn config_map(&self) -> String {
        format!("stepyard-agent-{}", &self.digest[..12])
    }

    /// Makes the ConfigMap where it is missing. One that is there is compared before use.
    pub(crate) async fn ensure(&self, client: &Client, namespace: &str) -> Result<(), Failure> {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let name = self.config_map();
        let doing = || format!("create the ConfigMap {name} in the namespace {namespace}");
        match api
            .create(&PostParams::default(), &self.object(&name))
            .await
        {
            Ok(_) => Ok(()),
            Err(Error::Api(status)) if status.code == 409 => {
                let found = api
                    .get(&name)
                    .await
                    .map_err(|e| failure(&format!("read the ConfigMap {name}"), &e))?;
                if found
                    .binary_data
                    .as_ref()
                    .and_then(|d| d.get(FILE))
                    .is_some_and(|b| b.0 == self.bytes)
                {
                    Ok(())
                } else {
                    Err(Failure {
                        kind: driver::backend::FailureKind::Configuration,
                        container: None,
                        message: format!(
                            "the ConfigMap {name} in the namespace {namespace} does not hold this agent"
                        ),
                        help: Some(format!(
                            "somebody changed it: kubectl delete configmap {name} -n {namespace}"
                        )),
                    })
                }
            }
            Err(error) => Err(failure(&doing(), &error)),
        }
    }

    fn object(&self, name: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(BTreeMap::from([(
                    "app.kubernetes.io/managed-by".to_owned(),
                    "stepyard".to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            binary_data: Some(BTreeMap::from([(
                FILE.to_owned(),
                ByteString(self.bytes.to_vec()),
            )])),
            immutable: Some(true),
            ..ConfigMap::default()
        }
    }
}
