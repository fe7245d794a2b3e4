//! The conformance suite on a real cluster: the one that KUBECONFIG names, with an image that it can pull.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use backend_kube::{Agent, Kube, Target, connect};
use driver::backend::{
    Access, Backend, Carrier, Created, Deleted, Events, Failure, ImageFacts, PodRef,
};
use driver::conformance::{CASES, World};
use image::build::Builder;
use image::{Platform, Reference};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use pipeline::pod;

/// The image of all containers, unless `STEPYARD_TEST_IMAGE` names another.
const IMAGE: &str = "127.0.0.1:5050/tc/busybox:1";
/// Where the agent's image is put.
const REGISTRY: &str = "127.0.0.1:5050";
/// Where the suite makes its pods.
const NAMESPACE: &str = "default";
/// Cases that need what the test cluster does not have.
const WITHOUT: &[(&str, &str)] = &[(
    "users",
    "a user by its name is not looked up in a cluster yet: Kubernetes knows numbers only",
)];

fn main() -> ExitCode {
    // The test runner's own flags are not for us; a word chooses cases.
    let only = std::env::args()
        .skip(1)
        .find(|a| !a.starts_with('-'))
        .unwrap_or_default();
    if std::env::var_os("KUBECONFIG").is_none() {
        return skipped("KUBECONFIG names no cluster (`cargo xtask cluster up` brings one up)");
    }
    match run(&only) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says so loudly, and where the one who counts finds it.
fn skipped(why: &str) -> ExitCode {
    println!("SKIPPED: the conformance suite on a cluster: {why}");
    if let Some(list) = std::env::var_os("STEPYARD_TEST_SKIPS") {
        use std::io::Write as _;
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(list);
        let told = file.and_then(|mut file| writeln!(file, "backend-kube conformance: {why}"));
        if let Err(error) = told {
            eprintln!("the list of skipped tests cannot be written: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(only: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let dir = tempfile::tempdir()?;
    let store = image::Store::open(dir.path())?;
    let images = image::Client::new(store, image::Settings::default());
    let target = Target {
        context: None,
        namespace: Some(NAMESPACE.to_owned()),
        manual: None,
    };
    let connection = runtime.block_on(connect(&target)).context("the cluster")?;
    let client = connection.client.clone();
    let agent = Agent::new(agent_embed::AGENT, agent_embed::digest());
    // The suite speaks on one connection; the early way, which is cut once, is what the tests of the command go by.
    let kube = Kube::new(connection, images, agent).by_lite_engine();
    let named = format!("{REGISTRY}/conformance/agent:{}", std::process::id());
    runtime.block_on(push_agent(&dir.path().join("agent"), &named))?;
    let with_image = WithImage(&kube, named);
    let ways: [(&str, &dyn Backend); 2] = [("a ConfigMap", &kube), ("an image", &with_image)];
    let (mut wrong, mut right, mut left_out) = (Vec::new(), 0, 0);
    for (number, (way, backend)) in ways.into_iter().enumerate() {
        let prefix = format!("k{}-{number}", std::process::id());
        println!("cluster, the agent from {way}:");
        suite(
            &runtime,
            backend,
            prefix,
            only,
            &client,
            (&mut wrong, &mut right, &mut left_out),
        )?;
    }
    // In libtest's words, for who sums up.
    println!(
        "test result: {}. {right} passed; {} failed; {left_out} ignored",
        if wrong.is_empty() { "ok" } else { "FAILED" },
        wrong.len()
    );
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("in the cluster, wrong: {}", wrong.join(", "))
}

/// All cases by one way of the agent; what was wrong, how many were right, and how many left out is added.
fn suite(
    runtime: &tokio::runtime::Runtime,
    kube: &dyn Backend,
    prefix: String,
    only: &str,
    client: &Client,
    (wrong, right, left_out): (&mut Vec<&'static str>, &mut u32, &mut u32),
) -> anyhow::Result<()> {
    let world = World {
        backend: kube,
        image: std::env::var("STEPYARD_TEST_IMAGE").unwrap_or_else(|_| IMAGE.to_owned()),
        prefix,
        users: true,
    };
    let claim = format!("{}-claim", world.prefix);
    runtime.block_on(make_claim(client, &claim))?;
    for (name, case) in CASES.iter().filter(|(name, _)| name.contains(only)) {
        if let Some((_, why)) = WITHOUT.iter().find(|(left, _)| left == name) {
            println!("cluster: {name} ... SKIPPED: {why}");
            *left_out += 1;
            continue;
        }
        match runtime.block_on(case(&world)) {
            Ok(()) => {
                println!("cluster: {name} ... ok");
                *right += 1;
            }
            Err(why) => {
                println!("cluster: {name} ... WRONG: {why}");
                wrong.push(*name);
            }
        }
        for pod in runtime.block_on(kube.list()).unwrap_or_default() {
            if pod.name.starts_with(&world.prefix) {
                let _ = runtime.block_on(kube.delete(&pod, Duration::ZERO));
            }
        }
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), NAMESPACE);
    runtime.block_on(claims.delete(&claim, &DeleteParams::default()))?;
    Ok(())
}

/// The same backend, its pods with the agent from an image.
struct WithImage<'a>(&'a Kube, String);

impl WithImage<'_> {
    fn spec(&self, spec: &pod::Spec) -> pod::Spec {
        let image = pod::Image {
            reference: self.1.clone(),
            connector: None,
            pull: pod::Pull::IfNotPresent,
        };
        pod::Spec {
            agent_image: Some(image),
            ..spec.clone()
        }
    }
}

#[async_trait]
impl Backend for WithImage<'_> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn preflight(
        &self,
        spec: &pod::Spec,
        access: &Access,
    ) -> BTreeMap<String, Result<ImageFacts, Failure>> {
        self.0.preflight(&self.spec(spec), access).await
    }

    async fn create(
        &self,
        spec: &pod::Spec,
        access: &Access,
        events: Events,
    ) -> Result<Created, Failure> {
        self.0.create(&self.spec(spec), access, events).await
    }

    async fn container(
        &self,
        spec: &pod::Spec,
        access: &Access,
        container: &str,
        events: Events,
    ) -> Result<(), Failure> {
        let spec = self.spec(spec);
        self.0.container(&spec, access, container, events).await
    }

    async fn connect(&self, pod: &PodRef) -> Result<Box<dyn Carrier>, Failure> {
        self.0.connect(pod).await
    }

    async fn gone(&self, pod: &PodRef) -> Failure {
        self.0.gone(pod).await
    }

    async fn ended(&self, pod: &PodRef, container: &str) -> Option<Failure> {
        self.0.ended(pod, container).await
    }

    async fn delete(&self, pod: &PodRef, grace: Duration) -> Result<Deleted, Failure> {
        self.0.delete(pod, grace).await
    }

    async fn list(&self) -> Result<Vec<PodRef>, Failure> {
        self.0.list().await
    }
}

/// The agent's image, in the registry of the test image.
async fn push_agent(dir: &Path, name: &str) -> anyhow::Result<()> {
    let root = dir.join("root");
    std::fs::create_dir_all(&root)?;
    let file = root.join(pod::AGENT_FILE);
    std::fs::write(&file, agent_embed::AGENT)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
    let mut builder = Builder::new(dir.join("layout"), Platform::here())?;
    builder.layer_from_dir(&root)?;
    builder.facts().user = Some("65532".to_owned());
    let built = builder.finish(None)?;
    let Reference::Registry(name) = name.parse()? else {
        bail!("{name} is no image of a registry");
    };
    built.push(&name, None, image::Settings::default()).await?;
    Ok(())
}

/// What `a_claim_outlives_its_pod` asks for: a claim that the cluster's default storage class provides for.
async fn make_claim(client: &Client, name: &str) -> anyhow::Result<()> {
    let claim = serde_json::from_value(serde_json::json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }))?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), NAMESPACE);
    claims.create(&PostParams::default(), &claim).await?;
    Ok(())
}
