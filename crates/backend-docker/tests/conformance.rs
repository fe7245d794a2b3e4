//! The conformance suite on a real engine: Podman from Debian's packages, started here on a socket of its own with a
//! store of its own, so that nothing of the machine's engine is touched. As root, then as a throw-away user.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use backend_docker::{Docker, connect};
use driver::backend::Backend as _;
use driver::conformance::{CASES, World};

/// The user that the suite runs as a second time; made and removed by the run that is root.
const USER: &str = "stepyard-engine";
/// The image of all containers.
const IMAGE: &str = "localhost/busybox:1";

fn main() -> ExitCode {
    // The test runner's own flags are not for us; a word chooses cases.
    let only = std::env::args()
        .skip(1)
        .find(|a| !a.starts_with('-'))
        .unwrap_or_default();
    match run(&only) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(only: &str) -> anyhow::Result<()> {
    if Command::new("podman")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        if std::env::var_os("CI").is_some() {
            bail!("podman is missing here: apt-get install podman runc");
        }
        println!(
            "SKIPPED: the conformance suite on an engine: podman is missing here (apt-get install podman runc)"
        );
        return Ok(());
    }
    let root = nix::unistd::geteuid().is_root();
    let dir = tempfile::Builder::new().prefix("sye").tempdir()?;
    let suite = suite(
        if root { "engine, root" } else { "engine, user" },
        dir.path(),
        root,
        only,
    );
    // Files of other ids of the user's range can be removed from inside its user namespace only.
    if !root {
        let _ = Command::new("podman")
            .args(["unshare", "rm", "-rf"])
            .arg(dir.path().join("root"))
            .status();
    }
    suite?;
    if root {
        as_user(only).context("the suite as an ordinary user")?;
    }
    Ok(())
}

fn suite(who: &str, dir: &Path, root: bool, only: &str) -> anyhow::Result<()> {
    let engine = Engine::start(dir, root)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let host = format!("unix://{}", engine.socket.display());
    let client = runtime.block_on(connect(Some(&host)))?;
    let docker = Docker::new(client, agent_embed::AGENT, agent_embed::digest().to_owned());
    let world = World {
        backend: &docker,
        image: IMAGE.to_owned(),
        prefix: format!("e{}", std::process::id()),
        users: true,
    };
    let mut wrong = Vec::new();
    for (name, case) in CASES.iter().filter(|(name, _)| name.contains(only)) {
        let done = runtime
            .block_on(case(&world))
            .and_then(|()| engine.nothing_of(&world.prefix));
        match done {
            Ok(()) => println!("{who}: {name} ... ok"),
            Err(why) => {
                println!("{who}: {name} ... WRONG: {why}");
                wrong.push(*name);
            }
        }
        for pod in runtime.block_on(docker.list()).unwrap_or_default() {
            let _ = runtime.block_on(docker.delete(&pod, std::time::Duration::ZERO));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{who}, wrong: {}", wrong.join(", "))
}

/// A Podman of this test's own. It ends with this value.
struct Engine {
    dir: PathBuf,
    socket: PathBuf,
    service: Child,
}

impl Engine {
    fn start(dir: &Path, root: bool) -> anyhow::Result<Self> {
        // Podman lowers its own bound of processes to the highest pid.
        let highest: u64 = std::fs::read_to_string("/proc/sys/kernel/pid_max")?
            .trim()
            .parse()?;
        let (files, processes) = (
            limit("Max open files")?,
            limit("Max processes")?.min(highest),
        );
        // runc: Debian's crun refuses hybrid cgroups. The limits: raising them is not allowed everywhere. A user's network without a
        // way out: the suite needs none, and the device for one may be closed to users.
        let network = if root { "" } else { "netns = \"none\"\n" };
        std::fs::write(
            dir.join("containers.conf"),
            format!(
                "[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
                 [containers]\n{network}default_ulimits = [\"nofile={files}:{files}\", \"nproc={processes}:{processes}\"]\n"
            ),
        )?;
        std::fs::create_dir_all(dir.join("run"))?;
        let socket = dir.join("sock");
        let mut engine = Self {
            dir: dir.to_owned(),
            socket,
            service: Command::new("true").spawn()?,
        };
        engine.service.wait()?;
        engine.image()?;
        let mut service = engine.podman();
        service
            .args(["system", "service", "--time=0"])
            .arg(format!("unix://{}", engine.socket.display()));
        let log = std::fs::File::create(dir.join("log"))?;
        engine.service = service
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("podman system service")?;
        // It has no word for being ready: its socket is the sign, and it says nothing when that comes.
        for _ in 0..200 {
            if std::os::unix::net::UnixStream::connect(&engine.socket).is_ok() {
                return Ok(engine);
            }
            if let Some(status) = engine.service.try_wait()? {
                bail!(
                    "podman system service ended with {status}: {}",
                    std::fs::read_to_string(dir.join("log"))?
                );
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        bail!("podman system service has no socket after 10 s")
    }

    fn podman(&self) -> Command {
        let mut command = Command::new("podman");
        command
            .arg("--root")
            .arg(self.dir.join("root"))
            .arg("--runroot")
            .arg(self.dir.join("run"))
            .env("CONTAINERS_CONF", self.dir.join("containers.conf"))
            .env("XDG_RUNTIME_DIR", self.dir.join("run"))
            .env_remove("DBUS_SESSION_BUS_ADDRESS");
        command
    }

    /// Debian's static busybox as an image of the engine.
    fn image(&self) -> anyhow::Result<()> {
        let root = self.dir.join("busybox");
        for dir in ["bin", "etc", "tmp", "usr", "var"] {
            std::fs::create_dir_all(root.join(dir))?;
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox"))
            .context("busybox (apt-get install busybox-static)")?;
        for name in [
            "sh", "cat", "grep", "head", "id", "ls", "readlink", "sleep", "test", "touch", "tr",
        ] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name))?;
        }
        std::fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
        )?;
        std::fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
        let tar = self.dir.join("busybox.tar");
        let packed = Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&tar)
            .arg(".")
            .status()?;
        let imported = self
            .podman()
            .args(["import", "-q"])
            .arg(&tar)
            .arg(IMAGE)
            .stdout(Stdio::null())
            .status()?;
        if !packed.success() || !imported.success() {
            bail!("the test's image could not be made: tar {packed}, podman import {imported}");
        }
        Ok(())
    }

    /// No container and no volume of this prefix is left, but for claims.
    fn nothing_of(&self, prefix: &str) -> Result<(), String> {
        for list in [
            vec!["ps", "-a", "--format", "{{.Names}}"],
            vec!["volume", "ls", "--format", "{{.Name}}"],
        ] {
            let output = self
                .podman()
                .args(&list)
                .output()
                .map_err(|e| e.to_string())?;
            let names = String::from_utf8_lossy(&output.stdout).into_owned();
            if let Some(left) = names.lines().find(|name| name.starts_with(prefix)) {
                return Err(format!("{left} is left on the engine"));
            }
        }
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self
            .podman()
            .args(["rm", "-af", "-t", "0"])
            .stdout(Stdio::null())
            .status();
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}

/// A hard limit of this process.
fn limit(name: &str) -> anyhow::Result<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find(|l| l.starts_with(name))
        .context("no such limit")?;
    let hard = line[name.len()..]
        .split_whitespace()
        .nth(1)
        .context("no hard limit")?;
    Ok(hard.parse().unwrap_or(1_048_576))
}

/// Runs this program again as a throw-away user.
fn as_user(only: &str) -> anyhow::Result<()> {
    let _user = User::make()?;
    let _tun = Tun::open()?;
    let user =
        nix::unistd::User::from_name(USER)?.context("the user that was just made is not there")?;
    let home = tempfile::Builder::new().prefix("syu").tempdir()?;
    std::os::unix::fs::chown(
        home.path(),
        Some(user.uid.as_raw()),
        Some(user.gid.as_raw()),
    )?;
    // The build's own directory may be closed to the user.
    let program = home.path().join("conformance");
    std::fs::copy(std::env::current_exe()?, &program)?;
    let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
    let status = Command::new("setpriv")
        .args(["--reuid", &uid, "--regid", &gid, "--clear-groups", "--"])
        .arg(&program)
        .arg(only)
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .env("USER", USER)
        .status()
        .context("setpriv")?;
    if !status.success() {
        bail!("it ended with {status}");
    }
    Ok(())
}

/// A user that goes with this value.
struct User;

impl User {
    fn make() -> anyhow::Result<Self> {
        if nix::unistd::User::from_name(USER)?.is_none() {
            let made = Command::new("useradd")
                .arg(USER)
                .status()
                .context("useradd")?;
            if !made.success() {
                bail!("useradd ended with {made}");
            }
        }
        Ok(Self)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // Podman leaves a process that holds the user's namespaces.
        let _ = Command::new("pkill").args(["-KILL", "-u", USER]).status();
        let _ = Command::new("userdel").arg(USER).status();
    }
}

/// A user's Podman needs this device for its network. Where it is closed to users, it is open as long as this value.
struct Tun(Option<std::fs::Permissions>);

impl Tun {
    const DEVICE: &str = "/dev/net/tun";

    fn open() -> anyhow::Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let closed = std::fs::metadata(Self::DEVICE)
            .context(Self::DEVICE)?
            .permissions();
        if closed.mode() & 0o006 == 0o006 {
            return Ok(Self(None));
        }
        std::fs::set_permissions(Self::DEVICE, std::fs::Permissions::from_mode(0o666))?;
        Ok(Self(Some(closed)))
    }
}

impl Drop for Tun {
    fn drop(&mut self) {
        if let Some(closed) = self.0.take() {
            let _ = std::fs::set_permissions(Self::DEVICE, closed);
        }
    }
}
