//! The same work as pods that somebody would write by hand.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::figures::noops;
use super::{IMAGE, Kube, audit};
use crate::bench::measure::done;
use crate::bench::texts;

/// How a pod brings its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As containers, all at once.
    Containers,
    /// As containers, after an init container that copies an agent, as every peer does it.
    WithAgent,
    /// As init containers, one after the other.
    Inits,
    /// In the very pod that a group of ours gets, with every mount and setting: what it takes is the kubelet's own.
    Ours,
}

/// Each container prints how long the machine is up: of the same clock that is read here, in hundredths of seconds.
const STEP: &str = "cat /proc/uptime";

fn pod(kube: &Kube<'_>, name: &str, steps: usize, kind: Kind) -> Result<Value> {
    let container = |name: String, command: &str| {
        json!({
            "name": name, "image": IMAGE, "command": ["sh", "-c", command],
            "volumeMounts": [{"name": "agent", "mountPath": "/agent"}],
        })
    };
    let all: Vec<Value> = (0..steps)
        .map(|i| container(format!("c{i}"), STEP))
        .collect();
    let (inits, containers) = match kind {
        Kind::Containers => (Vec::new(), all),
        Kind::WithAgent => (
            vec![container(
                "agent".to_owned(),
                "cp /bin/busybox /agent/agent",
            )],
            all,
        ),
        Kind::Inits => (all, vec![container("end".to_owned(), "true")]),
        Kind::Ours => return ours(kube, name, steps),
    };
    Ok(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
            "initContainers": inits, "containers": containers,
            "volumes": [{"name": "agent", "emptyDir": {}}],
        },
    }))
}

/// The pod of a group, its containers with these commands in place of the agent.
fn ours(kube: &Kube<'_>, name: &str, steps: usize) -> Result<Value> {
    let text = texts::pipeline(IMAGE, &noops(steps));
    let file = kube.bench.file(&format!("{name}.yaml"), &text)?;
    let mut command = kube.bench.stepyard("kube");
    command.env("KUBECONFIG", &kube.kubeconfig);
    command.args(["pod", "--kube", "--namespace", &kube.namespace]);
    let (_, out) = done(command.args(["--output", "plain"]).arg(file))?;
    let shown = kube.bench.file(
        &format!("{name}.pod.yaml"),
        std::str::from_utf8(&out.stdout)?,
    )?;
    let args = ["create", "--dry-run=client", "--output=json", "--filename"];
    let mut pod: Value =
        serde_json::from_str(&kube.kubectl(&[&args[..], &[&shown.to_string_lossy()]].concat())?)?;
    pod["metadata"]["name"] = json!(name);
    let containers = pod["spec"]["containers"].as_array_mut();
    for (i, own) in containers
        .context("it has containers")?
        .iter_mut()
        .enumerate()
    {
        let (name, command) = match own["name"].as_str() {
            Some("lite-engine") => ("engine".to_owned(), "true"),
            _ => (format!("c{i}"), STEP),
        };
        own["name"] = json!(name);
        own["command"] = json!(["sh", "-c", command]);
    }
    Ok(pod)
}

/// Gives objects to the API server.
pub(super) fn create(kube: &Kube<'_>, objects: &[Value]) -> Result<()> {
    let mut child = kube
        .kubectl_command()
        .args(["create", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let mut stdin = child.stdin.take().context("it has an input")?;
    stdin.write_all(list.to_string().as_bytes())?;
    drop(stdin);
    ensure!(child.wait()?.success(), "kubectl create failed");
    Ok(())
}

/// From its creation to the first instruction of each step, earliest first.
pub(super) fn starts(
    kube: &Kube<'_>,
    name: &str,
    steps: usize,
    kind: Kind,
) -> Result<Vec<Duration>> {
    create(kube, &[pod(kube, name, steps, kind)?])?;
    succeeded(kube, &[name.to_owned()])?;
    let created = audit::created(kube, name)?;
    let booted = booted()?;
    let mut times = Vec::new();
    // All that print anything are steps.
    let said = kube.kubectl(&["logs", name, "--all-containers"])?;
    for line in said.lines() {
        let up = line.split(' ').next().unwrap_or_default();
        let up: f64 = up
            .parse()
            .with_context(|| format!("a step said {line:?}"))?;
        times.push((booted + Duration::from_secs_f64(up)).saturating_sub(created));
    }
    ensure!(times.len() == steps, "{} of {steps} steps ran", times.len());
    times.sort();
    kube.remove(&[name.to_owned()])?;
    Ok(times)
}

/// Many pods of one step at once, from the request for the first to the end of the last as a watch tells it.
pub(super) fn many(kube: &Kube<'_>, name: &str, count: usize, kind: Kind) -> Result<Duration> {
    let names: Vec<String> = (0..count).map(|i| format!("{name}-{i}")).collect();
    let one = pod(kube, name, 1, kind)?;
    let named = |name: &String| {
        let mut pod = one.clone();
        pod["metadata"]["name"] = json!(name);
        pod
    };
    let pods: Vec<Value> = names.iter().map(named).collect();
    let began = Instant::now();
    create(kube, &pods)?;
    succeeded(kube, &names)?;
    let took = began.elapsed();
    kube.remove(&names)?;
    Ok(took)
}

fn succeeded(kube: &Kube<'_>, names: &[String]) -> Result<()> {
    let args = [
        "wait",
        "--for=jsonpath={.status.phase}=Succeeded",
        "--timeout=200s",
        "pod",
    ];
    let names = names.iter().map(String::as_str);
    kube.kubectl(&args.into_iter().chain(names).collect::<Vec<_>>())?;
    Ok(())
}

/// When the machine came up, since the Unix epoch, to a hundredth of a second.
pub(super) fn booted() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/uptime")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let up: f64 = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(now.saturating_sub(Duration::from_secs_f64(up)))
}
