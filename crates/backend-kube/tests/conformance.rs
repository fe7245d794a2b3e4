//! The conformance suite on a real cluster: the one that KUBECONFIG names, with an image that it can pull.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use backend_kube::{Agent, Kube, Target, connect};
use driver::backend::Backend as _;
use driver::conformance::{CASES, World};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};

/// The image of all containers, unless `STEPYARD_TEST_IMAGE` names another.
const IMAGE: &str = "127.0.0.1:5050/tc/busybox:1";
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
    let kube = Kube::new(connection, images, agent);
    let world = World {
        backend: &kube,
        image: std::env::var("STEPYARD_TEST_IMAGE").unwrap_or_else(|_| IMAGE.to_owned()),
        prefix: format!("k{}", std::process::id()),
        users: true,
    };
    let claim = format!("{}-claim", world.prefix);
    runtime.block_on(make_claim(&client, &claim))?;
    let mut wrong = Vec::new();
    let (mut right, mut left_out) = (0, 0);
    for (name, case) in CASES.iter().filter(|(name, _)| name.contains(only)) {
        if let Some((_, why)) = WITHOUT.iter().find(|(left, _)| left == name) {
            println!("cluster: {name} ... SKIPPED: {why}");
            left_out += 1;
            continue;
        }
        match runtime.block_on(case(&world)) {
            Ok(()) => {
                println!("cluster: {name} ... ok");
                right += 1;
            }
            Err(why) => {
                println!("cluster: {name} ... WRONG: {why}");
                wrong.push(*name);
            }
        }
        for pod in runtime.block_on(kube.list()).unwrap_or_default() {
            if pod.name.starts_with(&world.prefix) {
                let _ = runtime.block_on(kube.delete(&pod, std::time::Duration::ZERO));
            }
        }
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client, NAMESPACE);
    runtime.block_on(claims.delete(&claim, &DeleteParams::default()))?;
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
