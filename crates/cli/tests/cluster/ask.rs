//! Questions to the API server by one `kubectl proxy` for all tests: a `kubectl` for each costs a processor a fifth of a second, and tests
//! ask again and again while the run that they look at needs that time.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;

use serde_json::Value;

/// The port of the proxy. It is a child of a thread that lives as long as the tests, and ends with it.
fn port(kubeconfig: &Path) -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let kubeconfig = kubeconfig.to_owned();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut child = Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "kubectl", "--kubeconfig"])
                .arg(kubeconfig)
                .args(["proxy", "--port=0"])
                .stdout(Stdio::piped())
                .spawn()
                .expect("setpriv and kubectl are in PATH: `cargo xtask test` sees to it");
            let mut line = String::new();
            let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
            out.read_line(&mut line).expect("the proxy says its port");
            let port = line.trim().rsplit(':').next().expect("a port").parse();
            tell.send(port.expect("a port")).expect("somebody waits");
            child.wait()
        });
        told.recv().expect("a proxy")
    })
}

/// What is at a path of the API, and with which status.
fn get(kubeconfig: &Path, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port(kubeconfig))).expect("the proxy");
    // The older protocol: the answer comes in one piece and ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
    let status = head.split(' ').nth(1).and_then(|own| own.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// Where the API has a kind, by its plural.
fn path(namespace: &str, kind: &str, name: Option<&str>) -> String {
    let group = match kind {
        "roles" => "/apis/rbac.authorization.k8s.io/v1",
        "jobs" => "/apis/batch/v1",
        _ => "/api/v1",
    };
    let space = match kind {
        "nodes" => String::new(),
        _ => format!("/namespaces/{namespace}"),
    };
    let name = name.map_or(String::new(), |name| format!("/{name}"));
    format!("{group}{space}/{kind}{name}")
}

/// An object, or a list of them: `kind` is the plural. It must be there.
#[track_caller]
pub(crate) fn object(kubeconfig: &Path, namespace: &str, kind: &str, name: Option<&str>) -> Value {
    let path = path(namespace, kind, name);
    let (status, body) = get(kubeconfig, &path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("the API speaks JSON")
}

/// The names of all of a kind.
#[track_caller]
pub(crate) fn names(kubeconfig: &Path, namespace: &str, kind: &str) -> Vec<String> {
    let list = object(kubeconfig, namespace, kind, None);
    let items = list["items"].as_array().into_iter().flatten();
    items
        .filter_map(|item| item["metadata"]["name"].as_str())
        .map(|name| format!("{kind}/{name}"))
        .collect()
}
