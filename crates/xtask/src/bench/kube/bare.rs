//! The same work as pods that somebody would write by hand.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{IMAGE, Kube, audit};

/// How a pod brings its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As containers, all at once.
    Containers,
    /// As containers, after an init container that copies an agent, as every peer does it.
    WithAgent,
    /// As init containers, one after the other.
    Inits,
}

/// Each container prints how long the machine is up: of the same clock that is read here, in hundredths of seconds.
const STEP: &str = "cat /proc/uptime";

fn pod(name: &str, steps: usize, kind: Kind) -> Value {
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
    };
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
            "initContainers": inits, "containers": containers,
            "volumes": [{"name": "agent", "emptyDir": {}}],
        },
    })
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
    create(kube, &[pod(name, steps, kind)])?;
    succeeded(kube, &[name.to_owned()])?;
    let created = audit::created(kube, name)?;
    let booted = booted()?;
    let mut times = Vec::new();
    for i in 0..steps {
        let said = kube.kubectl(&["logs", name, "-c", &format!("c{i}")])?;
        let up = said.split(' ').next().unwrap_or_default();
        let up: f64 = up.parse().with_context(|| format!("c{i} said {said:?}"))?;
        times.push((booted + Duration::from_secs_f64(up)).saturating_sub(created));
    }
    times.sort();
    kube.remove(&[name.to_owned()])?;
    Ok(times)
}

/// Many pods of one step at once, from the request for the first to the end of the last as a watch tells it.
pub(super) fn many(kube: &Kube<'_>, count: usize) -> Result<Duration> {
    let names: Vec<String> = (0..count).map(|i| format!("many-{i}")).collect();
    let pods: Vec<Value> = names.iter().map(|n| pod(n, 1, Kind::Containers)).collect();
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
