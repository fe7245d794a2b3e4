//! A real registry (Debian's `docker-registry`) for each test that wants one, a front before it that misbehaves on
//! order, and small images to push.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use image::build::{Builder, Built, Compress};
use image::{Client, Error, Image, Login, Name, Platform, Pull, Reference, Settings, Store, Want};

/// User `tc`, password `tc-secret`.
const HTPASSWD: &str = "tc:$2y$04$UbEkTR73WPm6scveRoMuUOMfsg8b5VlFZRA7TX.5d1jmHlw7wKkIm\n";

pub(crate) struct Registry {
    child: Child,
    pub(crate) host: String,
    _dir: tempfile::TempDir,
}

impl Registry {
    pub(crate) fn open() -> Self {
        Self::start(false)
    }

    pub(crate) fn with_login() -> Self {
        Self::start(true)
    }

    fn start(login: bool) -> Self {
        let dir = tempfile::tempdir().expect("a temp dir");
        // The port is free until somebody else takes it in between: then the registry says so and another is tried.
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0")
                .and_then(|l| l.local_addr())
                .expect("a free port")
                .port();
            let host = format!("127.0.0.1:{port}");
            fs::write(dir.path().join("htpasswd"), HTPASSWD).expect("htpasswd");
            let auth = if login {
                format!(
                    "auth: {{htpasswd: {{realm: tc, path: {}}}}}",
                    dir.path().join("htpasswd").display()
                )
            } else {
                String::new()
            };
            let config = dir.path().join("config.yml");
            let text = format!(
                "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{host}\"}}\n{auth}\n",
                dir.path().join("data").display()
            );
            fs::write(&config, text).expect("config");
            let mut child = Command::new("docker-registry")
                .arg("serve")
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("docker-registry (Debian's package of that name) can be started");
            let mut lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
            let up = lines
                .by_ref()
                .map_while(Result::ok)
                .any(|l| l.contains("listening on"));
            if up {
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return Self {
                    child,
                    host,
                    _dir: dir,
                };
            }
            let _ = child.wait();
        }
        panic!("docker-registry does not start");
    }

    pub(crate) fn name(&self, rest: &str) -> Name {
        name(&format!("{}/{rest}", self.host))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the front does with one request.
pub(crate) enum Act {
    /// Sends it on.
    Forward,
    /// Answers it itself: status line, headers, body.
    Answer(String),
    /// Sends it on, and cuts the answer after so many bytes of its body.
    Cut(usize),
    /// Sends it on, and changes the last byte of the answer.
    Spoil,
    /// Says nothing until the other side goes.
    Silence,
}

/// One request as the front saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) head: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().filter_map(|l| l.split_once(':'));
        lines
            .find(|(k, _)| k.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim().to_owned())
    }
}

/// Listens before a registry and does what it is told.
pub(crate) struct Front {
    pub(crate) host: String,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

impl Front {
    pub(crate) fn before(to: &str, act: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("its address").to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (to, act, all) = (to.to_owned(), Arc::new(act), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (to, act, all) = (to.clone(), act.clone(), all.clone());
                std::thread::spawn(move || serve(stream, &to, &*act, &all));
            }
        });
        Self { host, seen }
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

/// One request a connection: the client is told to close it.
fn serve(
    mut client: TcpStream,
    to: &str,
    act: &dyn Fn(&Seen) -> Act,
    all: &Mutex<Vec<Seen>>,
) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut head = String::new();
    loop {
        let before = head.len();
        reader.read_line(&mut head).ok()?;
        if head.len() - before <= 2 {
            break;
        }
    }
    let line = head.lines().next()?.to_owned();
    let seen = Seen {
        line,
        head: head.clone(),
    };
    all.lock().expect("not poisoned").push(seen.clone());
    let decided = act(&seen);
    if let Act::Answer(text) = &decided {
        return client.write_all(text.as_bytes()).ok();
    }
    if matches!(decided, Act::Silence) {
        return reader.read(&mut [0]).ok().map(drop);
    }
    let mut server = TcpStream::connect(to).ok()?;
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(head.as_bytes()).ok()?;
    let length = seen
        .header("content-length")
        .and_then(|v| v.parse().ok())
        .unwrap_or(0);
    std::io::copy(&mut reader.take(length), &mut server).ok()?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).ok()?;
    let body = answer.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    match decided {
        Act::Cut(after) => answer.truncate((body + after).min(answer.len())),
        Act::Spoil => *answer.last_mut()? ^= 1,
        _ => {}
    }
    client.write_all(&answer).ok()?;
    client.shutdown(Shutdown::Both).ok()
}

pub(crate) fn name(text: &str) -> Name {
    match text.parse() {
        Ok(Reference::Registry(name)) => name,
        other => panic!("{text}: {other:?}"),
    }
}

pub(crate) fn client(dir: &Path) -> Client {
    client_with(dir, Settings::default())
}

pub(crate) fn client_with(dir: &Path, settings: Settings) -> Client {
    Client::new(Store::open(dir.join("store")).expect("a store"), settings)
}

pub(crate) fn want(pull: Pull) -> Want {
    Want {
        pull,
        ..Want::default()
    }
}

pub(crate) fn login(user: &str, password: &str) -> Login {
    Login {
        server: None,
        username: user.into(),
        password: password.into(),
    }
}

pub(crate) async fn ensure(client: &Client, name: &Name, want: &Want) -> Result<Image, Error> {
    client
        .ensure(&Reference::Registry(name.clone()), want, &|_| ())
        .await
}

/// A layer as a tar, entry by entry.
pub(crate) struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// An entry whose name is written as it stands: `tar` itself would refuse hostile ones.
    pub(crate) fn raw(mut self, kind: tar::EntryType, name: &str, link: &str, data: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(data.len() as u64);
        if kind.is_character_special() {
            header.set_device_major(1).expect("major");
            header.set_device_minor(3).expect("minor");
        }
        header.set_cksum();
        self.0.append(&header, data).expect("an entry");
        self
    }

    pub(crate) fn file(self, name: &str, data: &str) -> Self {
        self.raw(tar::EntryType::Regular, name, "", data.as_bytes())
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.raw(tar::EntryType::Directory, name, "", b"")
    }

    pub(crate) fn link(self, name: &str, to: &str) -> Self {
        self.raw(tar::EntryType::Symlink, name, to, b"")
    }

    pub(crate) fn hard(self, name: &str, to: &str) -> Self {
        self.raw(tar::EntryType::Link, name, to, b"")
    }

    /// Extended attributes of the entry that follows.
    pub(crate) fn attributes(mut self, all: &[(&str, &[u8])]) -> Self {
        let all: Vec<_> = all
            .iter()
            .map(|(k, v)| (format!("SCHILY.xattr.{k}"), *v))
            .collect();
        self.0
            .append_pax_extensions(all.iter().map(|(k, v)| (k.as_str(), *v)))
            .expect("pax");
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.into_inner().expect("a tar")
    }
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

/// An image of these layers.
pub(crate) fn build(dir: &Path, platform: Platform, layers: &[Vec<u8>]) -> Built {
    let mut b = Builder::new(dir, platform).expect("a builder");
    for (i, layer) in layers.iter().enumerate() {
        b.compress = [Compress::Gzip, Compress::Zstd, Compress::None][i % 3];
        b.layer_from_tar(&mut layer.as_slice()).expect("a layer");
    }
    b.facts().entrypoint = vec!["/bin/tool".into(), "run".into()];
    b.facts().cmd = vec!["--help".into()];
    b.facts().user = Some("1000:1000".into());
    b.facts().workdir = Some("/srv".into());
    b.finish(Some("t")).expect("an image")
}

/// Builds and pushes a small image of one layer with one incompressible file.
pub(crate) async fn push_noise(
    registry: &Registry,
    rest: &str,
    len: usize,
) -> (Name, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temp dir");
    let layer = Tar::new()
        .raw(
            tar::EntryType::Regular,
            "noise",
            "",
            &noise(len as u64, len),
        )
        .bytes();
    let built = build(dir.path(), Platform::here(), &[layer]);
    let name = registry.name(rest);
    let login = login("tc", "tc-secret");
    built
        .push(&name, Some(&login), Settings::default())
        .await
        .expect("pushed");
    (name, dir)
}

pub(crate) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
