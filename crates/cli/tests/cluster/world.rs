//! A namespace of a test on the cluster, the command with the pods of its runs in there, and a look at what they left.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ask;
use crate::proxy::Proxy;
use crate::support::{Group, Home, Seen};

/// An image that the cluster can pull.
pub(crate) const IMAGE: &str = "127.0.0.1:5050/tc/busybox:1";
/// So long is no step of a test, also on a machine that is ten times slower: what has not come by then does not come.
const LONG: Duration = Duration::from_mins(5);

/// A namespace of its own, removed at the end, when nothing of a run may be left in it.
pub(crate) struct Cluster {
    pub(crate) home: Home,
    pub(crate) namespace: String,
    kubeconfig: PathBuf,
    /// Held while it is used.
    beside: Option<RwLockReadGuard<'static, ()>>,
}

/// Tests that break the cluster wait for the others, and the others for them.
static BROKEN: RwLock<()> = RwLock::new(());

/// No other test uses the cluster while this is held.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    BROKEN.write().unwrap_or_else(PoisonError::into_inner)
}

/// A command that runs.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Receiver<String>,
    seen: String,
}

impl Cluster {
    /// None where no cluster is: told, and counted as skipped.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let beside = BROKEN.read().unwrap_or_else(PoisonError::into_inner);
        let mut cluster = Self::within(test)?;
        cluster.beside = Some(beside);
        Some(cluster)
    }

    /// The same for a test that has the cluster to itself, see [`alone`].
    pub(crate) fn within(test: &str) -> Option<Self> {
        let Some(kubeconfig) = std::env::var_os("KUBECONFIG").map(PathBuf::from) else {
            skipped(test, "KUBECONFIG names no cluster");
            return None;
        };
        let cluster = Self {
            home: Home::new(),
            namespace: format!("sy-{}-{}", test.replace('_', "-"), std::process::id()),
            kubeconfig,
            beside: None,
        };
        cluster.kubectl(&["create", "namespace", &cluster.namespace]);
        // Pods are refused until it is there.
        cluster.until("the namespace's service account", || {
            let names = ask::names(&cluster.kubeconfig, &cluster.namespace, "serviceaccounts");
            names
                .iter()
                .any(|own| own.ends_with("/default"))
                .then_some(())
        });
        Some(cluster)
    }

    /// `kubectl` in the namespace; its output. It must succeed.
    #[track_caller]
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        self.kubectl_with(args, "")
    }

    /// The same, where something else may have done it already.
    pub(crate) fn kubectl_perhaps(&self, args: &[&str]) {
        let _ = self.kubectl_output(args, "");
    }

    /// The same with a text on its standard input.
    #[track_caller]
    pub(crate) fn kubectl_with(&self, args: &[&str], input: &str) -> String {
        let out = self.kubectl_output(args, input);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "kubectl {args:?}: {said}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn kubectl_output(&self, args: &[&str], input: &str) -> Output {
        let mut child = Command::new("kubectl")
            .args(["--kubeconfig", &self.kubeconfig.to_string_lossy()])
            .args(["--namespace", &self.namespace])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl is in PATH: `cargo xtask test` sees to it");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).expect("it reads");
        drop(stdin);
        child.wait_with_output().expect("it ends")
    }

    /// All objects of a kind, which is its plural, or the one of this name.
    #[track_caller]
    pub(crate) fn get(&self, kind: &str, name: Option<&str>) -> Value {
        ask::object(&self.kubeconfig, &self.namespace, kind, name)
    }

    /// The pods of runs here.
    #[track_caller]
    pub(crate) fn pods(&self) -> Vec<Value> {
        let list = self.get("pods", None);
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Asks until there is an answer: for what nothing tells.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(
                began.elapsed() < LONG,
                "{what} does not come; pods: {}",
                self.kubectl(&["get", "pods", "-o", "wide"])
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Whether the API server answers.
    pub(crate) fn answers(&self) -> bool {
        Command::new("kubectl")
            .args(["--kubeconfig", &self.kubeconfig.to_string_lossy()])
            .args(["get", "--raw", "/readyz"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// A way to the API server of this machine, and a kubeconfig that goes there.
    pub(crate) fn by_proxy(&self) -> (Proxy, PathBuf) {
        let text = std::fs::read_to_string(&self.kubeconfig).expect("the kubeconfig");
        let head = "https://127.0.0.1:";
        let (before, rest) = text.split_once(head).expect("a server on loopback");
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let proxy = Proxy::to(rest[..end].parse().expect("a port"));
        let text = format!("{before}{head}{}{}", proxy.port, &rest[end..]);
        let path = self.home.write("by-proxy.kubeconfig", text);
        (proxy, path)
    }

    /// Makes the node have an image.
    pub(crate) fn pull(&self, image: &str) {
        let image = format!("--image={image}");
        self.kubectl(&["run", "pull", &image, "--restart=Never", "--", "true"]);
        self.until("the image", || {
            let pod = self.get("pods", Some("pull"));
            (pod["status"]["phase"] == "Succeeded").then_some(())
        });
        self.kubectl(&["delete", "pod", "pull", "--force", "--grace-period=0"]);
    }

    /// The command on this cluster.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.home.command(args);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// `run` of a group with its pods in this namespace.
    pub(crate) fn run(&self, group: &Group, more: &[&str]) -> Seen {
        let out = self.running_command(group, more).output();
        let out = out.expect("the binary is built");
        Seen {
            code: out.status.code(),
            out: String::from_utf8_lossy(&out.stdout).into_owned(),
            err: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }

    /// Starts such a run.
    pub(crate) fn start(&self, group: &Group) -> Running {
        Running::of(self.running_command(group, &[]))
    }

    /// The command of such a run.
    pub(crate) fn running_command(&self, group: &Group, more: &[&str]) -> Command {
        self.home.write("p.yaml", group.text());
        let head = ["run", "p.yaml", "--kube", "--namespace", &self.namespace];
        self.command(&[&head[..], more].concat())
    }

    /// The directory of the one run that was begun.
    fn run_dir(&self) -> PathBuf {
        let runs = self.home.path().join("state/runs");
        let mut runs = std::fs::read_dir(runs).expect("a run was begun");
        runs.next()
            .expect("a run was begun")
            .expect("its directory")
            .path()
    }

    /// Takes the run over.
    pub(crate) fn resume(&self) -> Running {
        let run = self.run_dir();
        let name = run.file_name().expect("a name").to_string_lossy();
        Running::of(self.command(&["resume", &name]))
    }

    /// The journal of the run, as text.
    pub(crate) fn journal(&self) -> String {
        let bytes = std::fs::read(self.run_dir().join("journal")).expect("a journal");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Nothing of a run is left, once the cluster has removed what it was told to remove.
    #[track_caller]
    pub(crate) fn is_empty(&self) {
        let began = Instant::now();
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(began.elapsed() < LONG, "something is left: {left:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// All that runs left here: everything but the shared agent and what every namespace has.
    pub(crate) fn left(&self) -> Vec<String> {
        let kinds = [
            "pods",
            "secrets",
            "configmaps",
            "persistentvolumeclaims",
            "roles",
            "jobs",
        ];
        kinds
            .into_iter()
            .flat_map(|kind| ask::names(&self.kubeconfig, &self.namespace, kind))
            .filter(|name| {
                !name.starts_with("configmaps/stepyard-agent-")
                    && *name != "configmaps/kube-root-ca.crt"
            })
            .collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.is_empty();
        }
        self.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

impl Running {
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary is built");
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (tell, lines) = channel();
        let also = tell.clone();
        let read = |from: Box<dyn std::io::Read + Send>, tell: std::sync::mpsc::Sender<String>| {
            std::thread::spawn(move || {
                for line in BufReader::new(from).lines().map_while(Result::ok) {
                    if tell.send(line).is_err() {
                        break;
                    }
                }
            })
        };
        read(Box::new(out.expect("a pipe")), tell);
        read(Box::new(err.expect("a pipe")), also);
        Self {
            child,
            lines,
            seen: String::new(),
        }
    }

    /// Reads on until a line holds `part`.
    #[track_caller]
    pub(crate) fn until(&mut self, part: &str) {
        loop {
            match self.lines.recv_timeout(LONG) {
                Ok(line) => {
                    self.seen += &line;
                    self.seen.push('\n');
                    if line.contains(part) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    panic!("`{part}` does not come:\n{}", self.seen)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("it ended before `{part}`:\n{}", self.seen)
                }
            }
        }
    }

    /// The same, unless a line that was read already holds it.
    #[track_caller]
    pub(crate) fn until_once(&mut self, part: &str) {
        if !self.seen.contains(part) {
            self.until(part);
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// `kill -9`, and all that it said before.
    pub(crate) fn kill(mut self) -> String {
        self.signal(rustix::process::Signal::KILL);
        self.child.wait().expect("it was started");
        self.rest();
        self.seen
    }

    /// Its end, and all that it said.
    #[track_caller]
    pub(crate) fn end(mut self) -> Seen {
        let began = Instant::now();
        self.rest();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it was started") {
                break status;
            }
            assert!(began.elapsed() < LONG, "it does not end:\n{}", self.seen);
            std::thread::sleep(Duration::from_millis(10));
        };
        Seen {
            code: status.code(),
            out: self.seen,
            err: String::new(),
        }
    }

    #[track_caller]
    fn rest(&mut self) {
        let began = Instant::now();
        loop {
            match self.lines.recv_timeout(LONG) {
                Ok(line) => {
                    self.seen += &line;
                    self.seen.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    panic!(
                        "it says nothing for {} s and does not end:\n{}",
                        began.elapsed().as_secs(),
                        self.seen
                    );
                }
            }
        }
    }
}

/// Says so loudly, and where the one who counts finds it.
pub(crate) fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED: {test}: {why}");
    if let Some(list) = std::env::var_os("STEPYARD_TEST_SKIPS") {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(list)
            .expect("the list of skipped tests");
        writeln!(file, "cluster {test}: {why}").expect("the list of skipped tests");
    }
}
