//! The conformance suite on this machine, as root and as an ordinary user, and what only this backend can be asked.
//!
//! After every case nothing may be left: no process, mount, control group or directory.

mod left;
mod own;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, bail};
use backend_native::{Agent, Config, Native};
use driver::backend::Backend as _;
use driver::conformance::{CASES, Case, World};

/// The user that the suite runs as a second and third time; made and removed by the run that is root.
const USER: &str = "stepyard-test";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let first = args.next();
    match first.as_deref() {
        Some(backend_native::ARGUMENT) => return backend_native::pod_main(),
        Some(own::HOLD) => return own::hold(args.next().map(PathBuf::from)),
        _ => {}
    }
    // The test runner's own flags are not for us; a word chooses cases.
    let only = first.into_iter().chain(args).find(|a| !a.starts_with('-'));
    match run(only.as_deref().unwrap_or("")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(only: &str) -> anyhow::Result<()> {
    let root = nix::unistd::geteuid().is_root();
    let dir = tempfile::Builder::new().prefix("sy").tempdir()?;
    let who = match (root, own::several_users()) {
        (true, _) => "root",
        (false, true) => "user",
        (false, false) => "user of one id",
    };
    suite(who, dir.path(), only)?;
    if root {
        as_user(only, &[]).context("the suite as an ordinary user")?;
        let none = ["-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0"];
        as_user(only, &none).context("the suite as a user without subordinate ids")?;
    }
    Ok(())
}

fn suite(who: &str, state: &Path, only: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let native = Native::new(config(state));
    let world = World {
        backend: &native,
        image: "host:/".to_owned(),
        prefix: format!("t{}", std::process::id()),
        users: own::several_users(),
    };
    let mut wrong = Vec::new();
    let own: Vec<(&str, own::Check)> = own::CHECKS.to_vec();
    let chosen = |name: &str| name.contains(only);
    for (name, case) in CASES.iter().filter(|(name, _)| chosen(name)) {
        let done = runtime.block_on((case as &Case)(&world));
        one(who, name, &world, state, &mut wrong, done);
        runtime.block_on(clear(&native));
    }
    for (name, check) in own.iter().filter(|(name, _)| chosen(name)) {
        let own = own::Own {
            native: &native,
            world: &world,
            state,
        };
        let done = runtime.block_on(check(own));
        one(who, name, &world, state, &mut wrong, done);
        runtime.block_on(clear(&native));
    }
    let layout = own::busybox(state)?;
    let world = World {
        image: layout,
        prefix: format!("{}i", world.prefix),
        ..world
    };
    for (name, case) in CASES.iter().filter(|(name, _)| chosen(name)) {
        let done = runtime.block_on((case as &Case)(&world));
        let name = format!("{name} (image)");
        one(who, &name, &world, state, &mut wrong, done);
        runtime.block_on(clear(&native));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("as {who}, wrong: {}", wrong.join(", "))
}

fn one(
    who: &str,
    name: &str,
    world: &World<'_>,
    state: &Path,
    wrong: &mut Vec<String>,
    done: Result<(), String>,
) {
    match done.and_then(|()| left::nothing(state, &world.prefix)) {
        Ok(()) => println!("{who}: {name} ... ok"),
        Err(why) => {
            println!("{who}: {name} ... WRONG: {why}");
            wrong.push(name.to_owned());
        }
    }
}

/// What a case that went wrong has left would be found by all that follow.
async fn clear(native: &Native) {
    for pod in native.list().await.unwrap_or_default() {
        let _ = native.delete(&pod, Duration::ZERO).await;
    }
}

fn config(state: &Path) -> Config {
    let agent = Agent::Bytes(agent_embed::AGENT, agent_embed::digest().to_owned());
    let mut config = Config::new(state.to_owned(), agent);
    config.entities = Some(state.join("entities"));
    config
}

/// Runs this program again as a throw-away user. Where that cannot be, it says so and fails: the half of the suite would be missing.
fn as_user(only: &str, how: &[&str]) -> anyhow::Result<()> {
    let user = User::make(how)?;
    let home = tempfile::Builder::new().prefix("sy-user").tempdir()?;
    std::os::unix::fs::chown(home.path(), Some(user.0), Some(user.0))?;
    // The build's own directory may be closed to the user.
    let program = home.path().join("conformance");
    std::fs::copy(std::env::current_exe()?, &program)?;
    let id = user.0.to_string();
    let status = Command::new("setpriv")
        .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
        .arg(&program)
        .arg(only)
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .status()
        .context("setpriv")?;
    if !status.success() {
        bail!("it ended with {status}");
    }
    Ok(())
}

/// A user that goes with this value.
struct User(u32);

impl User {
    fn make(how: &[&str]) -> anyhow::Result<Self> {
        let find = || nix::unistd::User::from_name(USER).ok().flatten();
        if find().is_none() {
            let made = Command::new("useradd")
                .args(how)
                .arg(USER)
                .status()
                .context("useradd")?;
            if !made.success() {
                bail!("useradd ended with {made}");
            }
        }
        let user = find().context("the user that was just made is not there")?;
        Ok(Self(user.uid.as_raw()))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // Its processes and files are gone by then, or a check has said so.
        let _ = Command::new("userdel").arg(USER).status();
    }
}
