//! Two real registries on loopback, Debian's `docker-registry`: one open, one with a login, both with the repository's images.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{Cmd, target};
use crate::{http, images, tools};

/// Where the open one listens unless told otherwise.
pub(crate) const OPEN: u16 = 5500;
/// Where the one with a login listens unless told otherwise.
pub(crate) const LOCKED: u16 = 5501;
/// The login of the locked one; it protects nothing.
pub(crate) const USER: &str = "stepyard";
/// Its password.
pub(crate) const PASSWORD: &str = "open-sesame";
/// USER and PASSWORD as `htpasswd -B` writes them.
const HTPASSWD: &str = "stepyard:$2y$05$bXoNA30xusyOkMWV0XobPeFVWNHxOUePVXt5l0Uv765d4Oqt98dCW\n";
/// `stepyard:open-sesame` in base64.
const BASIC: &str = "Basic c3RlcHlhcmQ6b3Blbi1zZXNhbWU=";
/// A registry listens within a second; so long is a broken machine.
const START: Duration = Duration::from_secs(30);

/// A registry that ends with this value.
#[derive(Debug)]
pub(crate) struct Registry {
    child: Child,
    /// Where it listens.
    pub(crate) port: u16,
    locked: bool,
}

impl Registry {
    /// Starts one with its state in `dir`.
    pub(crate) fn start(dir: &Path, port: u16, locked: bool) -> Result<Self> {
        let child = spawn(dir, port, locked)?;
        let mut registry = Self {
            child,
            port,
            locked,
        };
        registry.wait_until_up(dir)?;
        Ok(registry)
    }

    fn wait_until_up(&mut self, dir: &Path) -> Result<()> {
        let began = Instant::now();
        // The program has no way to say that it listens: asking is all there is.
        while TcpStream::connect(addr(self.port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
                bail!(
                    "docker-registry on port {} ended: {status}\n{log}",
                    self.port
                );
            }
            ensure!(
                began.elapsed() < START,
                "docker-registry does not listen on port {}",
                self.port
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Pushes an image of the repository as `stepyard/NAME:TAG`.
    pub(crate) fn push(&self, name: &str) -> Result<()> {
        push(
            &images::layout_of(name),
            self.port,
            self.locked,
            &format!("stepyard/{name}"),
            &images::tag(name)?,
        )
        .with_context(|| format!("could not push image `{name}` to 127.0.0.1:{}", self.port))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn addr(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(addr(0))?.local_addr()?.port())
}

fn spawn(dir: &Path, port: u16, locked: bool) -> Result<Child> {
    let program = tools::get("docker-registry")?;
    std::fs::create_dir_all(dir)?;
    let data = dir.join("data");
    let mut config = format!(
        "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n",
        data.display()
    );
    if locked {
        let file = dir.join("htpasswd");
        std::fs::write(&file, HTPASSWD)?;
        let auth = format!(
            "auth: {{htpasswd: {{realm: stepyard, path: {}}}}}\n",
            file.display()
        );
        config += &auth;
    }
    let path = dir.join("config.yml");
    std::fs::write(&path, config)?;
    let log = std::fs::File::create(dir.join("log"))?;
    let also = log.try_clone()?;
    Cmd::new(program).arg("serve").arg(&path).spawn(|c| {
        c.stdout(Stdio::from(log)).stderr(Stdio::from(also));
    })
}

/// Pushes the image of a layout.
fn push(layout: &Path, port: u16, locked: bool, repository: &str, tag: &str) -> Result<()> {
    let login: &[(&str, &str)] = if locked {
        &[("Authorization", BASIC)]
    } else {
        &[]
    };
    let (manifest, _) = images::read(layout)?;
    let blobs = manifest["layers"]
        .as_array()
        .into_iter()
        .flatten()
        .chain([&manifest["config"]]);
    for digest in blobs.filter_map(|b| b["digest"].as_str()) {
        let there = http::ask(
            addr(port),
            "HEAD",
            &format!("/v2/{repository}/blobs/{digest}"),
            login,
            &[],
        )?;
        if there.status() == 200 {
            continue;
        }
        let begun = http::ask(
            addr(port),
            "POST",
            &format!("/v2/{repository}/blobs/uploads/"),
            login,
            &[],
        )?;
        ensure!(
            begun.status() == 202,
            "it refused an upload: {}",
            begun.first
        );
        let location = begun
            .header("location")
            .context("an upload without a place")?;
        // Absolute or relative, as the registry likes.
        let path = location.find("/v2/").map_or(location, |at| &location[at..]);
        let sep = if path.contains('?') { '&' } else { '?' };
        let bytes = std::fs::read(images::blob_path(layout, digest))?;
        let mut headers = login.to_vec();
        headers.push(("Content-Type", "application/octet-stream"));
        let done = http::ask(
            addr(port),
            "PUT",
            &format!("{path}{sep}digest={digest}"),
            &headers,
            &bytes,
        )?;
        ensure!(
            done.status() == 201,
            "it refused blob {digest}: {}",
            done.first
        );
    }
    let mut headers = login.to_vec();
    headers.push((
        "Content-Type",
        manifest["mediaType"].as_str().unwrap_or_default(),
    ));
    let done = http::ask(
        addr(port),
        "PUT",
        &format!("/v2/{repository}/manifests/{tag}"),
        &headers,
        &serde_json::to_vec(&manifest)?,
    )?;
    ensure!(
        done.status() == 201,
        "it refused the manifest: {}",
        done.first
    );
    Ok(())
}

fn state() -> PathBuf {
    target().join("registry")
}

/// `cargo xtask registry up [OPEN LOCKED]` and `down`.
pub(crate) fn command(args: &[String]) -> Result<()> {
    let port = |i: usize, default: u16| {
        args.get(i).map_or(Ok(default), |p| {
            p.parse().with_context(|| format!("`{p}` is not a port"))
        })
    };
    match args.first().map(String::as_str) {
        Some("up") => {
            down()?;
            images::build(&[], false)?;
            let (open, locked) = (port(1, OPEN)?, port(2, LOCKED)?);
            for (port, is_locked) in [(open, false), (locked, true)] {
                let dir = state().join(port.to_string());
                let registry = Registry::start(&dir, port, is_locked)?;
                for name in images::names()? {
                    registry.push(&name)?;
                }
                std::fs::write(dir.join("pid"), registry.child.id().to_string())?;
                // It stays up: `down` ends it by its id.
                std::mem::forget(registry);
            }
            println!(
                "127.0.0.1:{open} is open, 127.0.0.1:{locked} asks for {USER} / {PASSWORD}; both have stepyard/NAME:1 (docker:dind) of"
            );
            println!("{}", images::names()?.join(" "));
            Ok(())
        }
        Some("down") => down(),
        _ => bail!("cargo xtask registry up [OPEN_PORT LOCKED_PORT] | down"),
    }
}

/// Ends what `up` started.
fn down() -> Result<()> {
    let Ok(entries) = std::fs::read_dir(state()) else {
        return Ok(());
    };
    for entry in entries {
        let file = entry?.path().join("pid");
        let Ok(pid) = std::fs::read_to_string(&file) else {
            continue;
        };
        // Only if it is still the program that we started, and not another one with its number.
        let is_ours = std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|c| c.contains("docker-registry"));
        if is_ours {
            Cmd::new("kill").arg(&pid).run()?;
        }
        std::fs::remove_file(&file)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_pushed_once_and_the_locked_registry_asks_for_a_login() -> Result<()> {
        // The smallest of ours: one package.
        images::build(&["plugin".to_owned()], false)?;
        let dir = tempfile::tempdir()?;
        for locked in [false, true] {
            let registry =
                Registry::start(&dir.path().join(locked.to_string()), free_port()?, locked)?;
            for _ in 0..2 {
                registry.push("plugin")?;
            }
            let path = "/v2/stepyard/plugin/manifests/1";
            let accept = ("Accept", "application/vnd.oci.image.manifest.v1+json");
            let bare = http::ask(addr(registry.port), "GET", path, &[accept], &[])?;
            assert_eq!(bare.status(), if locked { 401 } else { 200 });
            let known = http::ask(
                addr(registry.port),
                "GET",
                path,
                &[accept, ("Authorization", BASIC)],
                &[],
            )?;
            assert_eq!(known.status(), 200);
        }
        Ok(())
    }
}
