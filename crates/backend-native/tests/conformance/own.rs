//! What only this backend can be asked.

use std::fs;
use std::future::Future;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::left;

use addon::frame::{Exit, Record, Request};
use anyhow::Context as _;
use backend_native::Native;
use driver::backend::{Access, Backend as _, Deleted, FailureKind, PodRef};
use driver::conformance::{Pod, World, holds, same, script};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pipeline::pod::{Source, Spec, Volume};

/// The hidden first argument of a driver that makes a pod and waits to be killed.
pub(crate) const HOLD: &str = "__hold";

/// What a check is given.
pub(crate) struct Own<'a> {
    pub(crate) native: &'a Native,
    pub(crate) world: &'a World<'a>,
    pub(crate) state: &'a Path,
}

pub(crate) type Check =
    for<'a> fn(Own<'a>) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

macro_rules! checks {
    ($($name:ident)*) => {
        pub(crate) const CHECKS: &[(&str, Check)] = &[$((stringify!($name), |own| Box::pin($name(own)))),*];
    };
}

checks! {
    an_addon_is_awaited_until_it_is_made
    a_killed_driver_leaves_a_pod_to_adopt
    a_killed_keeper_ends_the_pod
    a_killed_addon_is_told
    a_pod_that_does_not_listen_yet_is_removed
    a_pod_that_nobody_wants_ends
    the_state_directory_is_hidden
    host_paths_and_entities
    limits
    the_network_is_private
    thirty_two_bits
    times
}

/// Whether containers here can run as several users.
pub(crate) fn several_users() -> bool {
    nix::unistd::geteuid().is_root()
        || fs::read_to_string("/etc/subuid").is_ok_and(|text| {
            let uid = nix::unistd::geteuid();
            let name = nix::unistd::User::from_uid(uid)
                .ok()
                .flatten()
                .map(|u| u.name);
            text.lines().any(|l| l.split(':').next() == name.as_deref())
        })
}

/// An image of busybox alone, as an OCI layout.
pub(crate) fn busybox(state: &Path) -> anyhow::Result<String> {
    let root = state.join("busybox");
    for dir in ["bin", "etc", "tmp", "usr", "var"] {
        fs::create_dir_all(root.join(dir))?;
    }
    fs::copy("/usr/bin/busybox", root.join("bin/busybox"))
        .or_else(|_| fs::copy("/bin/busybox", root.join("bin/busybox")))
        .context("busybox (apt-get install busybox-static)")?;
    for name in [
        "sh", "cat", "grep", "head", "id", "ls", "readlink", "sleep", "test", "touch", "tr",
    ] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name))?;
    }
    let passwd = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n";
    fs::write(root.join("etc/passwd"), passwd)?;
    fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    let layout = state.join("layout");
    let mut builder = image::build::Builder::new(&layout, image::Platform::here())?;
    builder.layer_from_dir(&root)?;
    builder.finish(None)?;
    Ok(format!("oci:{}", layout.display()))
}

/// A step may be asked for while its container waits to be made.
async fn an_addon_is_awaited_until_it_is_made(own: Own<'_>) -> Result<(), String> {
    let pod = own
        .world
        .running(own.world.spec("awaited", &["step-a", "step-b"]))
        .await?;
    let made = async {
        // The way is open before: the keeper has answered that it stands.
        tokio::time::sleep(Duration::from_millis(50)).await;
        pod.container("step-b").await.map_err(|f| f.message)
    };
    let (said, made) = tokio::join!(pod.ok("step-b", "echo here"), made);
    made?;
    same("what it says", &said?.trim(), &"here")?;
    pod.delete().await
}

/// A driver that makes the pod of the specification in this file, says so and waits.
pub(crate) fn hold(spec: Option<PathBuf>) -> ExitCode {
    let Some(path) = spec else {
        return ExitCode::FAILURE;
    };
    let text = fs::read_to_string(&path).expect("the specification");
    let spec: Spec = serde_json::from_str(&text).expect("a specification");
    let state = path.parent().expect("a directory").to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let native = Native::new(super::config(&state));
        let (send, _events) = tokio::sync::mpsc::unbounded_channel();
        let access = Access::default();
        native
            .create(&spec, &access, send.clone())
            .await
            .expect("a pod");
        native
            .container(&spec, &access, "step-a", send)
            .await
            .expect("a container");
        println!("made");
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

async fn a_killed_driver_leaves_a_pod_to_adopt(own: Own<'_>) -> Result<(), String> {
    let spec = own.world.spec("adopt", &["step-a", "step-b"]);
    let file = own.state.join("spec.json");
    fs::write(&file, serde_json::to_vec(&spec).expect("JSON")).map_err(|e| e.to_string())?;
    let mut driver = Command::new("/proc/self/exe")
        .arg(HOLD)
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    let mut line = String::new();
    let out = driver.stdout.take().expect("a pipe");
    BufReader::new(out)
        .read_line(&mut line)
        .map_err(|e| e.to_string())?;
    same("the first driver", &line.trim(), &"made")?;
    driver.kill().map_err(|e| e.to_string())?;
    driver.wait().map_err(|e| e.to_string())?;
    let pod = own.world.adopt(spec);
    pod.ok("step-a", "echo by the first > x").await?;
    pod.container("step-b").await.map_err(|f| f.message)?;
    same(
        "the workspace",
        &pod.ok("step-b", "cat x").await?,
        &"by the first".to_owned(),
    )?;
    pod.delete().await
}

async fn a_killed_keeper_ends_the_pod(own: Own<'_>) -> Result<(), String> {
    let pod = own
        .world
        .running(own.world.spec("killed", &["step-a"]))
        .await?;
    let reference = pod.pod_ref();
    let dir = own.state.join("pods").join(&pod.spec.name);
    let keeper = fs::read_to_string(dir.join("lock")).map_err(|e| e.to_string())?;
    let keeper = Pid::from_raw(keeper.parse().map_err(|_| "no number of a keeper")?);
    let (gone, killed) = tokio::join!(own.native.gone(&reference), async {
        kill(keeper, Signal::SIGKILL)
    });
    killed.map_err(|e| e.to_string())?;
    same("the kind of failure", &gone.kind, &FailureKind::Gone)?;
    let failure = pod.container("step-a").await.expect_err("the pod is gone");
    same("the kind of failure", &failure.kind, &FailureKind::Gone)?;
    // What is left are directories: they are listed and swept.
    let listed = own.native.list().await.map_err(|f| f.message)?;
    same("what is listed", &listed, &vec![reference])?;
    pod.delete().await
}

async fn a_pod_that_does_not_listen_yet_is_removed(own: Own<'_>) -> Result<(), String> {
    // As one that is just being made by a command that was killed: there is a keeper, and no socket of it.
    let pod = own
        .world
        .running(own.world.spec("early", &["step-a"]))
        .await?;
    let control = own.state.join("pods").join(&pod.spec.name).join("control");
    fs::remove_file(control).map_err(|e| e.to_string())?;
    let other = Native::new(super::config(own.state));
    let deleted = other.delete(&pod.pod_ref(), Duration::from_secs(10)).await;
    same("its sweep", &deleted, &Ok(Deleted::Deleted))
}

async fn a_pod_that_nobody_wants_ends(own: Own<'_>) -> Result<(), String> {
    let mut config = super::config(own.state);
    config.unattended = Duration::from_millis(100);
    let spec = own.world.spec("alone", &["step-a"]);
    let reference = PodRef {
        name: spec.name.clone(),
        namespace: None,
        run: spec.run.clone(),
        group: spec.group.clone(),
        connector: None,
    };
    {
        let native = Native::new(config);
        let (send, _events) = tokio::sync::mpsc::unbounded_channel();
        let access = Access::default();
        native
            .create(&spec, &access, send.clone())
            .await
            .map_err(|f| f.message)?;
        native
            .container(&spec, &access, "step-a", send)
            .await
            .map_err(|f| f.message)?;
    }
    let lock = own.state.join("pods").join(&spec.name).join("lock");
    let ended = tokio::task::spawn_blocking(move || fs::File::open(lock)?.lock());
    ended
        .await
        .map_err(|e| e.to_string())?
        .map_err(|e| e.to_string())?;
    let deleted = own.native.delete(&reference, Duration::ZERO).await;
    same("its sweep", &deleted, &Ok(Deleted::Deleted))
}

async fn the_state_directory_is_hidden(own: Own<'_>) -> Result<(), String> {
    let pod = own
        .world
        .running(own.world.spec("hidden", &["step-a"]))
        .await?;
    let text = format!(
        "ls -A {} 2>/dev/null | grep . && exit 1; exit 0",
        own.state.display()
    );
    pod.ok("step-a", &text).await?;
    pod.delete().await
}

async fn host_paths_and_entities(own: Own<'_>) -> Result<(), String> {
    let io = |e: std::io::Error| e.to_string();
    let shared = own.state.join("host path, with: marks");
    fs::create_dir_all(&shared).map_err(io)?;
    fs::write(shared.join("file"), "of the host").map_err(io)?;
    let map = own.state.join("entities/configmaps/settings");
    fs::create_dir_all(&map).map_err(io)?;
    fs::write(map.join("key"), "value").map_err(io)?;
    let volume = |name: &str, path: &str, source| Volume {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        source,
    };
    let mut spec = own.world.spec("paths", &["step-a"]);
    spec.volumes.push(volume(
        "volume-0",
        "/from-host",
        Source::HostPath {
            path: shared.display().to_string(),
            kind: Some("Directory".to_owned()),
        },
    ));
    spec.volumes.push(volume(
        "volume-1",
        "/settings",
        Source::ConfigMap {
            name: "settings".to_owned(),
            optional: false,
        },
    ));
    let pod = own.world.running(spec).await?;
    let read = pod
        .ok("step-a", "cat /from-host/file; echo; cat /settings/key")
        .await?;
    same("the files", &read, &"of the host\nvalue".to_owned())?;
    pod.ok(
        "step-a",
        "echo back > /from-host/new; ! touch /settings/key 2>/dev/null",
    )
    .await?;
    pod.delete().await?;
    let new = fs::metadata(shared.join("new")).map_err(io)?;
    holds("it is there", new.permissions().mode() & 0o400 != 0, &new)?;
    let mut spec = own.world.spec("nosecret", &["step-a"]);
    spec.volumes.push(volume(
        "volume-0",
        "/secret",
        Source::Secret {
            name: "none".to_owned(),
            optional: false,
        },
    ));
    match own.world.pod(spec).await {
        Err(why) => holds("the Secret is named", why.contains("Secret none"), &why),
        Ok(_) => Err("a Secret that is not here was mounted".to_owned()),
    }
}

async fn limits(own: Own<'_>) -> Result<(), String> {
    let mut spec = own.world.spec("limits", &["step-a", "step-b"]);
    spec.containers[0].resources.limits.memory_bytes = Some(32 << 20);
    spec.containers[0].resources.limits.cpu_millis = Some(500);
    let mut pod = own.world.running(spec).await?;
    let mut warned = String::new();
    while let Ok(event) = pod.events.try_recv() {
        if event.message.contains("not limited") {
            warned = event.message;
        }
    }
    // A child is killed, the script ends as scripts do.
    let text = "sh -c 'x=$(head -c 60000000 /dev/zero | tr \"\\0\" x); echo ${#x}' || exit 3";
    let record = record(&pod, "step-a", text).await?;
    let code = &record.exit;
    let limited = *code != Exit::Code(0);
    same("it is told that it was for memory", &record.oom, &limited)?;
    holds(
        "it is limited, or that is said",
        limited == warned.is_empty(),
        &(code, &warned),
    )?;
    if nix::unistd::geteuid().is_root() {
        same("what is said as root", &warned.as_str(), &"")?;
    }
    if limited {
        let text = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";
        let seen = pod.ok("step-a", text).await?;
        same("the limit as seen inside", &seen, &(32 << 20).to_string())?;
        pod.ok("step-a", "! touch /sys/fs/cgroup/x 2>/dev/null")
            .await?;
        holds("peak", record.peak_memory > 16 << 20, &record.peak_memory)?;
    }
    pod.delete().await
}

/// The record of a script.
async fn record(pod: &Pod<'_>, container: &str, text: &str) -> Result<Record, String> {
    let mut talk = pod.talk(container).await?;
    let start = script(&pod.spec.run, container, text);
    talk.say(&Request::Start(Box::new(start))).await?;
    talk.finish(&mut Vec::new()).await
}

async fn a_killed_addon_is_told(own: Own<'_>) -> Result<(), String> {
    let pod = own
        .world
        .running(own.world.spec("addon", &["step-a", "step-b"]))
        .await?;
    let reference = pod.pod_ref();
    same(
        "while it stands",
        &own.native.ended(&reference, "step-a").await,
        &None,
    )?;
    let mut killed = 0;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.contains("addon\0--listening")
            && line.contains(&pod.spec.run)
            && let Ok(pid) = entry.file_name().to_string_lossy().parse()
        {
            killed += 1;
            let pid = Pid::from_raw(pid);
            kill(pid, Signal::SIGKILL).map_err(|e| e.to_string())?;
            left::end_of(pid)?;
        }
    }
    same("addons", &killed, &2)?;
    let failure = own.native.ended(&reference, "step-a").await;
    let failure = failure.ok_or("nothing is known of its end")?;
    same("the kind of failure", &failure.kind, &FailureKind::Gone)?;
    holds(
        "it says how",
        failure.message == "the container step-a ended: its first process was killed by SIGKILL",
        &failure.message,
    )?;
    pod.delete().await
}

async fn the_network_is_private(own: Own<'_>) -> Result<(), String> {
    let mut pod = own
        .world
        .running(own.world.spec("net", &["step-a"]))
        .await?;
    let host = fs::read_link("/proc/self/ns/net").map_err(|e| e.to_string())?;
    let inside = pod.ok("step-a", "readlink /proc/self/ns/net").await?;
    holds("not the host's", host.to_string_lossy() != inside, &inside)?;
    let way_out = pod
        .ok("step-a", "grep -c tap0: /proc/net/dev || true")
        .await?
        == "1";
    let mut warned = false;
    while let Ok(event) = pod.events.try_recv() {
        warned |= event.message.contains("no way out");
    }
    holds(
        "there is a way out, or that is said",
        way_out != warned,
        &(way_out, warned),
    )?;
    pod.delete().await?;
    let mut spec = own.world.spec("hostnet", &["step-a"]);
    spec.network = pipeline::pod::Network::Host;
    let pod = own.world.running(spec).await?;
    let inside = pod.ok("step-a", "readlink /proc/self/ns/net").await?;
    same(
        "the host's on request",
        &inside,
        &host.to_string_lossy().into_owned(),
    )?;
    pod.delete().await
}

/// A 32-bit program that writes a line, and ends with 0 where it may make no namespace and change no clock.
const PROGRAM: &str = r#"
static long call(long number, long a, long b, long c) {
    long done;
    __asm__ volatile("int $0x80" : "=a"(done) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return done;
}
void _start(void) {
    static const char line[] = "32 bits\n";
    call(4, 1, (long)line, 8);
    long unshare = call(310, 0x20000, 0, 0), clone = call(120, 0x20000 | 17, 0, 0), time = call(25, 0, 0, 0);
    call(1, unshare == -1 && clone == -1 && time == -1 ? 0 : 9, 0, 0);
}
"#;

async fn thirty_two_bits(own: Own<'_>) -> Result<(), String> {
    let dir = own.state.join("bits");
    fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    let (source, program) = (dir.join("p.c"), dir.join("p"));
    fs::write(&source, PROGRAM).map_err(|e| e.to_string())?;
    let built = Command::new("cc")
        .args([
            "-m32",
            "-nostdlib",
            "-static",
            "-fno-pic",
            "-fno-stack-protector",
            "-O1",
            "-o",
        ])
        .args([&program, &source])
        .status()
        .map_err(|e| e.to_string())?;
    // Of another architecture, or a kernel without these calls.
    if !built.success() || Command::new(&program).output().is_err() {
        println!("  NOT RUN: no 32-bit programs here");
        return Ok(());
    }
    let mut spec = own.world.spec("bits", &["step-a"]);
    spec.volumes.push(Volume {
        name: "volume-0".to_owned(),
        mount_path: "/bits".to_owned(),
        source: Source::HostPath {
            path: dir.display().to_string(),
            kind: None,
        },
    });
    let pod = own.world.running(spec).await?;
    same(
        "what it writes",
        &pod.ok("step-a", "/bits/p").await?,
        &"32 bits".to_owned(),
    )?;
    pod.delete().await
}

/// Prints what a pod of five containers costs; the bound of the whole is for the bench.
async fn times(own: Own<'_>) -> Result<(), String> {
    let names = ["step-a", "step-b", "step-c", "step-d", "step-e"];
    for _ in 0..3 {
        let start = Instant::now();
        let pod = own.world.pod(own.world.spec("times", &names)).await?;
        let created = start.elapsed();
        for name in names {
            pod.container(name).await.map_err(|f| f.message)?;
        }
        let stood = start.elapsed();
        for name in names {
            pod.ok(name, "true").await?;
        }
        let ran = start.elapsed();
        pod.delete().await?;
        println!(
            "  pod {created:.1?}, five containers {:.1?}, five steps {:.1?}, delete {:.1?}",
            stood.checked_sub(created).unwrap_or_default(),
            ran.checked_sub(stood).unwrap_or_default(),
            start.elapsed().checked_sub(ran).unwrap_or_default(),
        );
    }
    Ok(())
}
