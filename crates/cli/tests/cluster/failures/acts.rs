//! How each failure is brought about.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::moment::{HOG, MOMENTS, Moment, Stage};
use crate::support::Seen;
use crate::world::Cluster;

/// Long enough for what is cut off to be noticed, and tried again.
const A_WHILE: Duration = Duration::from_secs(3);
/// Longer than what waits for a sign of life waits.
const LONG_WHILE: Duration = Duration::from_secs(30);
/// Longer than any moment takes to be reached.
const LONGEST: Duration = Duration::from_mins(10);

pub(super) fn container_killed(stage: Stage) -> Seen {
    kill(&stage, stage.container());
    stage.loses()
}

pub(super) fn lite_engine_killed(stage: Stage) -> Seen {
    kill(&stage, "lite-engine");
    stage.survives()
}

/// From here on the way in is through the step's own container; that is cut, and made again.
pub(super) fn lite_engine_killed_then_cut(stage: Stage) -> Seen {
    kill(&stage, "lite-engine");
    connection_cut(stage)
}

/// It says nothing and carries no more: the sign of life that is asked for does not come.
pub(super) fn lite_engine_killed_then_frozen(stage: Stage) -> Seen {
    kill(&stage, "lite-engine");
    connection_frozen(stage)
}

/// Cut for longer than an addon may be silent.
pub(super) fn lite_engine_killed_then_cut_long(stage: Stage) -> Seen {
    kill(&stage, "lite-engine");
    cut_for(stage, LONG_WHILE)
}

/// A command that comes back finds no lite-engine.
pub(super) fn lite_engine_killed_then_driver(stage: Stage) -> Seen {
    kill(&stage, "lite-engine");
    driver_killed(stage)
}

/// The way in goes with the step.
pub(super) fn lite_engine_killed_then_container(stage: Stage) -> Seen {
    kill(&stage, "lite-engine");
    container_killed(stage)
}

pub(super) fn pod_deleted(stage: Stage) -> Seen {
    stage
        .cluster
        .kubectl(&["delete", "pod", &stage.pod, "--wait=false"]);
    gone(&stage);
    stage.loses()
}

pub(super) fn pod_evicted(stage: Stage) -> Seen {
    let (namespace, pod) = (&stage.cluster.namespace, &stage.pod);
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
    let body = format!(
        r#"{{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {{"name": "{pod}"}}}}"#
    );
    stage
        .cluster
        .kubectl_with(&["create", "--raw", &path, "-f", "-"], &body);
    gone(&stage);
    stage.loses()
}

/// By the kubelet, of a pod that takes more room on its node than it may: the same way that it goes when the node itself has none left.
pub(super) fn pod_takes_too_much(stage: Stage) -> Seen {
    within(&stage, "head -c 4194304 /dev/zero >/small/file");
    if matches!(stage.moment, Moment::Between | Moment::End) {
        stage.cluster.until("the eviction", || {
            let pods = stage.cluster.pods();
            let phase = pods.first()?["status"]["phase"].as_str()?;
            (phase == "Failed").then_some(())
        });
    }
    stage.loses()
}

/// A step that runs takes more memory than it may; of one that does not, something else in its container does.
pub(super) fn out_of_memory(stage: Stage) -> Seen {
    if stage.moment == Moment::During {
        stage.words.say("one-hog");
    } else {
        within(&stage, HOG);
    }
    stage.survives()
}

/// The volume of the agent, with its spool and its records, takes no byte more.
pub(super) fn log_full(stage: Stage) -> Seen {
    within(&stage, "cat /dev/zero >/addon/tmp/all");
    within(&stage, "! echo more >/addon/tmp/more");
    stage.survives()
}

/// The command's clock and those of the cluster are hours apart from here on. Backwards, certificates would not be valid yet.
pub(super) fn clock_skewed(stage: Stage) -> Seen {
    stage.clock.jump(3 * 60 * 60);
    stage.survives()
}

/// Runs a command beside the step of the container that it is about, whatever becomes of it.
fn within(stage: &Stage, command: &str) {
    let container = stage.container();
    stage.cluster.kubectl_perhaps(&[
        "exec", &stage.pod, "-c", container, "--", "sh", "-c", command,
    ]);
}

/// Between steps and at the end the pod is gone before the driver, which is stopped, may look.
fn gone(stage: &Stage) {
    if matches!(stage.moment, Moment::Between | Moment::End) {
        stage.cluster.until("the end of the pod", || {
            stage.cluster.pods().is_empty().then_some(())
        });
    }
}

/// A command that comes back finds the pod as it was.
pub(super) fn driver_killed(stage: Stage) -> Seen {
    taken_over(stage, |_, _| ())
}

/// The pod ends by itself; a command that comes back finds it so.
pub(super) fn driver_gone(stage: Stage) -> Seen {
    taken_over(stage, |cluster, name| {
        cluster.until("the pod's own end", || {
            let pods = cluster.pods();
            let pod = pods.iter().find(|p| p["metadata"]["name"] == name)?;
            let phase = pod["status"]["phase"].as_str()?;
            ["Succeeded", "Failed"].contains(&phase).then_some(())
        });
    })
}

/// Kills the driver, wherever it is, and lets another one take its run over after this.
fn taken_over(stage: Stage, wait: impl FnOnce(&Cluster, &str)) -> Seen {
    let Stage {
        cluster,
        run,
        pod,
        gate,
        words,
        ..
    } = stage;
    let before = run.kill();
    wait(cluster, &pod);
    words.say_all();
    gate.open();
    let after = cluster.resume().end();
    // A resumed run shows the lines of the journal's steps from where it takes them over.
    Seen {
        out: before + &after.out,
        ..after
    }
}

pub(super) fn connection_cut(stage: Stage) -> Seen {
    cut_for(stage, A_WHILE)
}

fn cut_for(mut stage: Stage, long: Duration) -> Seen {
    stage.way.cut();
    stage.go_on();
    std::thread::sleep(long);
    stage.way.open();
    stage.survives()
}

pub(super) fn connection_frozen(stage: Stage) -> Seen {
    stage.way.freeze();
    stage.survives()
}

pub(super) fn connection_slow(stage: Stage) -> Seen {
    stage.way.slow(Duration::from_millis(100));
    stage.survives()
}

/// The moments of a row meet: the cluster is broken once for all of them, by the last that comes.
struct Meeting {
    there: Mutex<usize>,
    all: Condvar,
}

impl Meeting {
    const fn new() -> Self {
        Self {
            there: Mutex::new(0),
            all: Condvar::new(),
        }
    }

    /// Waits for the others; the last one does this first.
    fn meet(&self, last: impl FnOnce()) {
        let mut there = self.there.lock().expect("nobody panics with it");
        *there += 1;
        let round = (*there).next_multiple_of(MOMENTS.len());
        if *there == round {
            // Also where it panics: the others fail with it then, at once.
            let _wake = Wake(&self.all);
            last();
        }
        // A cell that failed before does not come: the others do not wait for ever.
        let (there, waited) = self
            .all
            .wait_timeout_while(there, LONGEST, |there| *there < round)
            .expect("nobody panics with it");
        drop(there);
        assert!(!waited.timed_out(), "the other moments were not reached");
    }
}

struct Wake<'a>(&'a Condvar);

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        self.0.notify_all();
    }
}

static NODE: Meeting = Meeting::new();
static SERVER: Meeting = Meeting::new();

pub(super) fn node_gone(mut stage: Stage) -> Seen {
    let (cluster, pod) = (stage.cluster, stage.pod.clone());
    NODE.meet(|| {
        stop("kubelet");
        cluster.until("the node's silence", || (!ready(cluster)).then_some(()));
        // Where every node is silent, as here the only one, the control plane thinks itself cut off and evicts nobody: what it does
        // where others answer is done for it.
        cluster.kubectl(&["taint", "node", "--all", "--overwrite", UNREACHABLE]);
    });
    // Whose steps are held: its node is gone, what runs there is not.
    stage.wake();
    cluster.until("the removal of the pod whose node is gone", || {
        let pods = cluster.pods();
        let pod = pods.iter().find(|p| p["metadata"]["name"] == pod.as_str());
        let stays = pod.is_some_and(|p| p["metadata"]["deletionTimestamp"].is_null());
        (!stays).then_some(())
    });
    // Who is to have another pod waits for the node; the others are told without it.
    stage.notices();
    let (waiting, ended) = match stage.moment {
        early if early.is_early() => (Some(stage), None),
        _ => (None, Some(stage.run.end())),
    };
    NODE.meet(|| {
        start("kubelet");
        cluster.until("the node", || ready(cluster).then_some(()));
        // The control plane takes it back by itself in time, perhaps while it is being told to.
        cluster.until("a node that takes pods", || {
            let silent = cluster.get("nodes", None).to_string().contains("NoExecute");
            if silent {
                cluster.kubectl_perhaps(&["taint", "node", "--all", &format!("{UNREACHABLE}-")]);
            }
            (!silent).then_some(())
        });
    });
    ended.unwrap_or_else(|| waiting.expect("one of both").run.end())
}

const UNREACHABLE: &str = "node.kubernetes.io/unreachable:NoExecute";

/// Whether the node is ready by its own word.
fn ready(cluster: &Cluster) -> bool {
    let path = "jsonpath={.items[0].status.conditions[?(@.type==\"Ready\")].status}";
    cluster.kubectl(&["get", "nodes", "-o", path]) == "True"
}

pub(super) fn api_server_down(mut stage: Stage) -> Seen {
    SERVER.meet(|| stop("apiserver"));
    stage.go_on();
    SERVER.meet(|| {
        std::thread::sleep(Duration::from_mins(1));
        start("apiserver");
    });
    // Who looks what is left must be answered.
    stage
        .cluster
        .until("the API server", || stage.cluster.answers().then_some(()));
    stage.survives()
}

/// Kills the first process of a container from outside.
fn kill(stage: &Stage, container: &str) {
    let pod = stage.cluster.get("pods", Some(&stage.pod));
    let states = pod["status"]["containerStatuses"].as_array();
    let id = states
        .into_iter()
        .flatten()
        .find(|s| s["name"] == container)
        .and_then(|s| s["containerID"].as_str()?.strip_prefix("containerd://"))
        .expect("a container that runs");
    let state = state();
    let done = Command::new(state.join("../deb/usr/bin/ctr"))
        .arg("-a")
        .arg(state.join("containerd.sock"))
        .args(["-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", id])
        .status();
    assert!(done.is_ok_and(|s| s.success()), "ctr kills {container}");
    stage.cluster.until("the end of the container", || {
        let pods = stage.cluster.pods();
        let pod = pods
            .iter()
            .find(|p| p["metadata"]["name"] == stage.pod.as_str());
        // A run that has noticed has removed it.
        let Some(pod) = pod else { return Some(()) };
        let states = pod["status"]["containerStatuses"].as_array()?.clone();
        let state = states.into_iter().find(|s| s["name"] == container)?;
        state["state"]["terminated"].is_object().then_some(())
    });
}

/// The state of the cluster of ours.
pub(super) fn state() -> PathBuf {
    PathBuf::from(std::env::var_os("STEPYARD_TEST_CLUSTER").expect("asked for before"))
}

/// Ends a part of the cluster.
fn stop(part: &str) {
    let pid = std::fs::read_to_string(state().join("pid").join(part)).expect("it was started");
    let pid = pid.trim();
    let done = Command::new("kill").args(["-9", pid]).status();
    assert!(done.is_ok_and(|s| s.success()), "{part} is killed");
    while PathBuf::from("/proc").join(pid).join("exe").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts it again as it was. It outlives the test.
fn start(part: &str) {
    let mut child = Command::new(state().join("part").join(part))
        .process_group(0)
        .spawn()
        .expect("its command line was kept");
    let file = state().join("pid").join(part);
    std::fs::write(file, child.id().to_string()).expect("a file");
    std::thread::spawn(move || child.wait());
}
