//! Pull credentials: the one secret that the API server has to know, in an object of its own that goes with the pod.

use std::collections::{BTreeMap, BTreeSet};

use driver::backend::{Access, Failure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Error};
use pipeline::pod::{GROUP_ANNOTATION, MANAGED_BY, RUN_LABEL, STEPYARD, Spec};
use serde_json::{Map, Value, json};

use crate::api::failure;

/// The name of the pod's pull secret; none where every image is pulled anonymously.
pub fn name(spec: &Spec, access: &Access) -> Option<String> {
    (!logins(spec, access).is_empty()).then(|| of_pod(&spec.name))
}

/// The name that the pull secret of a pod has, if there is one.
pub(crate) fn of_pod(pod: &str) -> String {
    format!("{pod}-pull")
}

/// Removes the secret of a pod that is not there: with a pod that is, it goes by itself.
pub(crate) async fn remove(client: &Client, namespace: &str, pod: &str) {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    // Mostly there is none; who may not remove one has `sweep` for it.
    let _ = api.delete(&of_pod(pod), &DeleteParams::default()).await;
}

/// Makes the secret before its pod: the kubelet reads it at the first pull and would go on without it.
pub(crate) async fn create(
    client: &Client,
    namespace: &str,
    spec: &Spec,
    access: &Access,
) -> Result<(), Failure> {
    let Some(name) = name(spec, access) else {
        return Ok(());
    };
    let config = json!({"auths": logins(spec, access)});
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(BTreeMap::from([
                (MANAGED_BY.to_owned(), STEPYARD.to_owned()),
                (RUN_LABEL.to_owned(), spec.run.clone()),
            ])),
            annotations: Some(BTreeMap::from([(
                GROUP_ANNOTATION.to_owned(),
                spec.group.clone(),
            )])),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
        data: Some(BTreeMap::from([(
            ".dockerconfigjson".to_owned(),
            ByteString(config.to_string().into_bytes()),
        )])),
        ..Secret::default()
    };
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    match api.create(&PostParams::default(), &secret).await {
        Ok(_) => Ok(()),
        // An earlier call of the same run made it; its pod's name is in its own.
        Err(Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(failure(
            &format!("create the pull secret {name} in the namespace {namespace}"),
            &error,
        )),
    }
}

/// Hands the secret to its pod, so that it goes with it whatever removes it.
pub(crate) async fn hand_over(
    client: &Client,
    namespace: &str,
    secret: &str,
    pod: &Pod,
) -> Result<(), Failure> {
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    };
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let patch = Patch::Merge(json!({"metadata": {"ownerReferences": [owner]}}));
    match api.patch(secret, &PatchParams::default(), &patch).await {
        Ok(_) => Ok(()),
        Err(error) => Err(failure(
            &format!("hand the pull secret {secret} to its pod"),
            &error,
        )),
    }
}

/// `auths` of a Docker configuration: an entry for each registry that a container of this pod needs a login for.
fn logins(spec: &Spec, access: &Access) -> Map<String, Value> {
    let connectors: BTreeSet<&str> = spec
        .containers
        .iter()
        .map(|c| &c.image)
        .chain(&spec.agent_image)
        .filter_map(|image| image.connector.as_deref())
        .collect();
    let mut auths = Map::new();
    for connector in connectors {
        let Some(login) = access.registries.get(connector) else {
            continue;
        };
        if let (Some(username), Some(password)) = (&login.username, &login.password) {
            auths.insert(
                login.server.clone(),
                json!({"username": username, "password": password}),
            );
        }
    }
    auths
}
