//! What commands that are gone left in the cluster: found by label, judged by run and age, and removed. Nothing else is touched.

use std::collections::BTreeSet;
use std::time::Duration;

use driver::backend::Failure;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, PartialObjectMeta};
use kube::core::NamespaceResourceScope;
use kube::{Api, Error, Resource};
use pipeline::pod::{MANAGED_BY, RUN_LABEL, STEPYARD};
use serde::de::DeserializeOwned;

use crate::agent::{LAST_USED, PREFIX};
use crate::api::failure;
use crate::backend::Kube;

/// Whose a run is, as the one who sweeps knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// A command drives it.
    Driven,
    /// It is known here, and no command drives it.
    Lost,
    /// It is not known here: somebody else's, unless it is old enough.
    Unknown,
}

/// What is to be swept.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Only of this run.
    pub run: Option<String>,
    /// Also of runs that are not known here, where they are older than this.
    pub older_than: Option<Duration>,
    /// Also the agent's ConfigMaps that no pod uses; where an age is said, those unused for longer.
    pub agents: bool,
}

/// What was swept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Pods, as `namespace/name`.
    pub pods: Vec<String>,
    /// Pull secrets that had no pod.
    pub secrets: Vec<String>,
    /// The agent's ConfigMaps.
    pub config_maps: Vec<String>,
    /// Pods that somebody uses, or may.
    pub kept: Vec<String>,
    /// What could not be looked at or removed, in sentences.
    pub failed: Vec<String>,
}

/// An object by its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pod,
    Secret,
    ConfigMap,
}

/// What was found.
#[derive(Debug, Default)]
struct Found {
    pods: Vec<Pod>,
    secrets: Vec<ObjectMeta>,
    config_maps: Vec<ObjectMeta>,
}

/// An object that goes.
type Removal = (Kind, String, String);

impl Kube {
    /// Removes what is left. `claim` says of a run whose it is.
    ///
    /// # Errors
    /// Pods cannot be listed.
    pub async fn sweep(
        &self,
        options: &Options,
        claim: impl Fn(&str) -> Claim,
    ) -> Result<Swept, Failure> {
        let mut swept = Swept::default();
        let found = self.find(options, &mut swept).await?;
        let (going, kept) = plan(&found, options, Timestamp::now(), claim);
        swept.kept = kept;
        let params = DeleteParams::default().grace_period(0);
        for (kind, namespace, name) in going {
            let client = self.connection.client.clone();
            let removed = match kind {
                Kind::Pod => delete::<Pod>(client, &namespace, &name, &params).await,
                Kind::Secret => delete::<Secret>(client, &namespace, &name, &params).await,
                Kind::ConfigMap => delete::<ConfigMap>(client, &namespace, &name, &params).await,
            };
            let full = format!("{namespace}/{name}");
            match (removed, kind) {
                (Ok(()), Kind::Pod) => swept.pods.push(full),
                (Ok(()), Kind::Secret) => swept.secrets.push(full),
                (Ok(()), Kind::ConfigMap) => swept.config_maps.push(full),
                (Err(error), _) => {
                    let failed = failure(&format!("remove {full}"), &error);
                    swept.failed.push(failed.message);
                }
            }
        }
        Ok(swept)
    }

    async fn find(&self, options: &Options, swept: &mut Swept) -> Result<Found, Failure> {
        let own = &self.connection.namespace;
        let mut scope = own.wins.then(|| own.name.clone());
        let labelled = ListParams::default().labels(RUN_LABEL);
        let mut pods = self.api::<Pod>(scope.as_deref()).list(&labelled).await;
        // Who may not look into every namespace looks into their own.
        if let (None, Err(Error::Api(status))) = (&scope, &pods)
            && status.code == 403
        {
            scope = Some(own.name.clone());
            pods = self.api::<Pod>(scope.as_deref()).list(&labelled).await;
        }
        let scope = scope.as_deref();
        let pods = pods.map_err(|e| failure("list pods", &e))?.items;
        let mut look = |what: &str, listed: Result<Vec<ObjectMeta>, Error>| {
            listed.unwrap_or_else(|error| {
                swept
                    .failed
                    .push(failure(&format!("list {what}"), &error).message);
                Vec::new()
            })
        };
        let ours = ListParams::default().labels(&format!("{MANAGED_BY}={STEPYARD}"));
        let secrets = look("secrets", self.metadata::<Secret>(scope, &ours).await);
        let config_maps = if options.agents {
            look("configmaps", self.metadata::<ConfigMap>(scope, &ours).await)
        } else {
            Vec::new()
        };
        Ok(Found {
            pods,
            secrets,
            config_maps,
        })
    }

    fn api<K>(&self, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let client = self.connection.client.clone();
        match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }

    /// No value of a secret is asked for.
    async fn metadata<K>(
        &self,
        namespace: Option<&str>,
        params: &ListParams,
    ) -> Result<Vec<ObjectMeta>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let listed = self.api::<K>(namespace).list_metadata(params).await?;
        Ok(listed
            .items
            .into_iter()
            .map(|own: PartialObjectMeta<K>| own.metadata)
            .collect())
    }
}

async fn delete<K>(
    client: kube::Client,
    namespace: &str,
    name: &str,
    params: &DeleteParams,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    match Api::<K>::namespaced(client, namespace)
        .delete(name, params)
        .await
    {
        Err(Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}

/// What goes, and the pods that stay.
fn plan(
    found: &Found,
    options: &Options,
    now: Timestamp,
    claim: impl Fn(&str) -> Claim,
) -> (Vec<Removal>, Vec<String>) {
    let (mut going, mut kept) = (Vec::new(), Vec::new());
    let goes = |meta: &ObjectMeta| {
        let run = meta.labels.as_ref().and_then(|own| own.get(RUN_LABEL))?;
        if options.run.as_ref().is_some_and(|only| only != run) {
            return None;
        }
        let old = options
            .older_than
            .is_some_and(|least| age(meta, now) >= least);
        Some(match claim(run) {
            Claim::Driven => false,
            Claim::Lost => true,
            Claim::Unknown => old,
        })
    };
    let mut there = BTreeSet::new();
    let mut used = BTreeSet::new();
    for pod in &found.pods {
        let (namespace, name) = names(&pod.metadata);
        there.insert((namespace.clone(), crate::pull_secret::of_pod(&name)));
        let volumes = pod
            .spec
            .iter()
            .flat_map(|spec| spec.volumes.iter().flatten());
        match goes(&pod.metadata) {
            Some(true) => going.push((Kind::Pod, namespace, name)),
            other => {
                if other == Some(false) {
                    kept.push(format!("{namespace}/{name}"));
                }
                let maps = volumes.filter_map(|own| own.config_map.as_ref());
                used.extend(maps.map(|own| (namespace.clone(), own.name.clone())));
            }
        }
    }
    for secret in &found.secrets {
        let key = names(secret);
        // One that a pod owns goes with it.
        let orphan = secret.owner_references.as_ref().is_none_or(Vec::is_empty);
        if orphan && !there.contains(&key) && goes(secret) == Some(true) {
            going.push((Kind::Secret, key.0, key.1));
        }
    }
    for map in &found.config_maps {
        let key = names(map);
        let idle = options
            .older_than
            .is_none_or(|least| unused(map, now) >= least);
        if options.agents && key.1.starts_with(PREFIX) && idle && !used.contains(&key) {
            going.push((Kind::ConfigMap, key.0, key.1));
        }
    }
    (going, kept)
}

fn names(meta: &ObjectMeta) -> (String, String) {
    let text = |own: &Option<String>| own.clone().unwrap_or_default();
    (text(&meta.namespace), text(&meta.name))
}

fn age(meta: &ObjectMeta, now: Timestamp) -> Duration {
    let made = meta.creation_timestamp.as_ref().map_or(now, |made| made.0);
    Duration::try_from(now.duration_since(made)).unwrap_or_default()
}

/// Since the day on which it was last used.
fn unused(map: &ObjectMeta, now: Timestamp) -> Duration {
    let day = map.annotations.as_ref().and_then(|own| own.get(LAST_USED));
    let used = day.and_then(|day| format!("{day}T00:00:00Z").parse::<Timestamp>().ok());
    used.map_or_else(
        || age(map, now),
        |used| Duration::try_from(now.duration_since(used)).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn meta(name: &str, run: &str, day: &str) -> Value {
        json!({"name": name, "namespace": "n", "creationTimestamp": format!("2026-11-{day}T00:00:00Z"), "labels": {RUN_LABEL: run, MANAGED_BY: STEPYARD}})
    }

    fn pod(name: &str, run: &str, day: &str, map: &str) -> Pod {
        let spec =
            json!({"containers": [], "volumes": [{"name": "agent", "configMap": {"name": map}}]});
        let pod = json!({"metadata": meta(name, run, day), "spec": spec});
        serde_json::from_value(pod).expect("a pod")
    }

    fn object(value: Value) -> ObjectMeta {
        serde_json::from_value(value).expect("metadata")
    }

    #[test]
    fn what_goes_and_what_stays() {
        let map = |name: &str, day: &str| {
            object(
                json!({"name": name, "namespace": "n", "annotations": {LAST_USED: format!("2026-11-{day}")}}),
            )
        };
        let mut owned = meta("lost-pull", "lost", "01");
        owned["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "Pod", "name": "lost", "uid": "1"}]);
        let found = Found {
            pods: vec![
                pod("driven", "driven", "01", "stepyard-agent-a"),
                pod("lost", "lost", "20", "stepyard-agent-b"),
                pod("old", "elsewhere", "01", "stepyard-agent-b"),
                pod("new", "elsewhere-2", "20", "stepyard-agent-c"),
            ],
            secrets: vec![
                object(owned),
                object(meta("gone-pull", "lost", "20")),
                object(meta("driven-pull", "driven", "01")),
                object(json!({"name": "foreign", "namespace": "n"})),
            ],
            config_maps: vec![
                map("stepyard-agent-a", "01"),
                map("stepyard-agent-b", "01"),
                map("stepyard-agent-d", "20"),
                map("other", "01"),
            ],
        };
        let now: Timestamp = "2026-11-21T00:00:00Z".parse().expect("a time");
        let claim = |run: &str| match run {
            "driven" => Claim::Driven,
            "lost" => Claim::Lost,
            _ => Claim::Unknown,
        };
        let swept = |options: &Options| {
            let (going, kept) = plan(&found, options, now, claim);
            let names: Vec<String> = going.into_iter().map(|own| own.2).collect();
            (names, kept)
        };
        let (names, kept) = swept(&Options::default());
        assert_eq!(names, ["lost", "gone-pull"]);
        assert_eq!(kept, ["n/driven", "n/old", "n/new"]);
        let week = Options {
            older_than: Some(Duration::from_hours(7 * 24)),
            agents: true,
            run: None,
        };
        assert_eq!(
            swept(&week).0,
            ["lost", "old", "gone-pull", "stepyard-agent-b"]
        );
        let agents = Options {
            agents: true,
            ..Options::default()
        };
        assert_eq!(swept(&agents).0, ["lost", "gone-pull", "stepyard-agent-d"]);
        let one = Options {
            run: Some("driven".to_owned()),
            ..Options::default()
        };
        assert_eq!(swept(&one), (Vec::new(), vec!["n/driven".to_owned()]));
    }
}
