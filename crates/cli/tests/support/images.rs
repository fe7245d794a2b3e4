//! Small images, and the registries they are asked of: Debian's `docker-registry`, and one that says nothing.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use image::build::{Builder, Built};
use image::{Login, Platform, Reference, Settings};

/// User `tc`, password `tc-secret`.
const HTPASSWD: &str = "tc:$2y$04$UbEkTR73WPm6scveRoMuUOMfsg8b5VlFZRA7TX.5d1jmHlw7wKkIm\n";

/// Programs of the busybox image.
const PROGRAMS: [&str; 16] = [
    "sh", "cat", "echo", "env", "id", "grep", "ls", "mkdir", "touch", "sleep", "test", "stat",
    "hostname", "pwd", "true", "printf",
];

/// A layout of an image whose only program is Debian's static busybox, by many names.
pub(crate) fn busybox(dir: &Path, change: impl FnOnce(&mut Builder)) -> Built {
    let root = dir.join("root");
    fs::create_dir_all(root.join("bin")).expect("a directory");
    fs::create_dir_all(root.join("tmp")).expect("a directory");
    fs::create_dir_all(root.join("etc")).expect("a directory");
    fs::copy("/bin/busybox", root.join("bin/busybox"))
        .expect("/bin/busybox (Debian's package busybox-static)");
    for name in PROGRAMS {
        symlink("busybox", root.join("bin").join(name)).expect("a link");
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n",
    )
    .expect("a file");
    fs::write(root.join("etc/group"), "root:x:0:\nann:x:1000:\n").expect("a file");
    let mut builder = Builder::new(dir.join("layout"), Platform::here()).expect("a builder");
    builder.layer_from_dir(&root).expect("a layer");
    change(&mut builder);
    builder.finish(Some("t")).expect("an image")
}

/// A layout of an image with one file, for a platform.
pub(crate) fn layout(dir: &Path, platform: &str) -> Built {
    let root = dir.join("root");
    fs::create_dir_all(&root).expect("a directory");
    fs::write(root.join("file"), platform).expect("a file");
    let platform: Platform = platform.parse().expect("a platform");
    let mut builder = Builder::new(dir.join("layout"), platform).expect("a builder");
    builder.layer_from_dir(&root).expect("a layer");
    builder.finish(Some("t")).expect("an image")
}

/// A registry on loopback, ended with its value.
pub(crate) struct Registry {
    child: Child,
    pub(crate) host: String,
    pub(crate) dir: tempfile::TempDir,
}

impl Registry {
    pub(crate) fn start(login: bool) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        fs::write(at("htpasswd"), HTPASSWD).expect("a file");
        let auth = if login {
            format!(
                "auth: {{htpasswd: {{realm: tc, path: {}}}}}\n",
                at("htpasswd").display()
            )
        } else {
            String::new()
        };
        // A port is free until somebody else takes it: then the registry ends and another is tried.
        for _ in 0..20 {
            let host = free_port();
            let text = format!(
                "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{host}\"}}\n{auth}",
                at("data").display()
            );
            fs::write(at("config.yml"), text).expect("a file");
            let mut child = Command::new("docker-registry")
                .arg("serve")
                .arg(at("config.yml"))
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("docker-registry (Debian's package of that name) can be started");
            let mut lines = BufReader::new(child.stderr.take().expect("a pipe"))
                .lines()
                .map_while(Result::ok);
            if lines.any(|line| line.contains("listening on")) {
                std::thread::spawn(move || lines.for_each(drop));
                return Self { child, host, dir };
            }
            let _ = child.wait();
        }
        panic!("docker-registry does not start");
    }

    /// Pushes an image under a name, and says how it is called.
    pub(crate) fn push(&self, built: &Built, rest: &str) -> String {
        let name = format!("{}/{rest}", self.host);
        let Ok(Reference::Registry(reference)) = name.parse() else {
            panic!("{name} is a name");
        };
        let login = Login {
            server: None,
            username: "tc".to_owned(),
            password: "tc-secret".to_owned(),
        };
        tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(built.push(&reference, Some(&login), Settings::default()))
            .expect("pushed");
        name
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address on loopback that nobody listens at.
pub(crate) fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a free port")
        .to_string()
}

/// An address that takes connections and never answers.
pub(crate) fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("its address").to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    host
}

/// Holds a registry's layers back until it is opened.
pub(crate) struct Gate(std::sync::Arc<(std::sync::Mutex<bool>, std::sync::Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().expect("no panic") = true;
        self.0.1.notify_all();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

/// A registry of one image that says at once what the image is, and holds its layers back. The image's name, and the gate.
pub(crate) fn slow_registry(built: &Built) -> (String, Gate) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("its address").to_string();
    let gate = Gate(std::sync::Arc::default());
    let (shared, dir, digest) = (gate.0.clone(), built.dir.clone(), built.digest.clone());
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(blob(&dir, &digest)).expect("its manifest"))
            .expect("JSON");
    let config = manifest["config"]["digest"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (shared, dir) = (shared.clone(), dir.clone());
            let (digest, config) = (digest.clone(), config.clone());
            std::thread::spawn(move || {
                let mut reader = BufReader::new(&stream);
                while let Some((method, path)) = request(&mut reader) {
                    let (kind, name) = if path.contains("/manifests/") {
                        (
                            "application/vnd.oci.image.manifest.v1+json",
                            digest.as_str(),
                        )
                    } else {
                        (
                            "application/octet-stream",
                            path.rsplit('/').next().unwrap_or_default(),
                        )
                    };
                    if path.contains("/blobs/") && name != config {
                        let open = shared.0.lock().expect("no panic");
                        drop(shared.1.wait_while(open, |open| !*open));
                    }
                    let body = fs::read(blob(&dir, name)).unwrap_or_default();
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nDocker-Content-Digest: {digest}\r\nContent-Length: {}\r\n\r\n",
                        body.len()
                    );
                    let body = if method == "HEAD" { &[][..] } else { &body };
                    if (&stream)
                        .write_all(&[head.as_bytes(), body].concat())
                        .is_err()
                    {
                        break;
                    }
                }
            });
        }
    });
    (format!("{host}/slow/image:1"), gate)
}

fn blob(dir: &Path, digest: &str) -> std::path::PathBuf {
    dir.join("blobs").join(digest.replace(':', "/"))
}

/// The method and path of the next request.
fn request(reader: &mut impl std::io::BufRead) -> Option<(String, String)> {
    let mut lines = reader.lines().map_while(Result::ok);
    let first = lines.next()?;
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let mut words = first.split(' ').map(str::to_owned);
    Some((words.next()?, words.next()?))
}
