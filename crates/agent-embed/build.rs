//! Builds the agent, in a target directory of its own: the build that waits for this one holds the lock of the usual one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=STEPYARD_AGENT");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(var("OUT_DIR")).join("stepyard-agent");
    if let Some(ready) = std::env::var_os("STEPYARD_AGENT") {
        println!("cargo:rerun-if-changed={}", Path::new(&ready).display());
        return take(Path::new(&ready), &out, "STEPYARD_AGENT");
    }
    let workspace = PathBuf::from(var("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("this crate is in crates/ of its workspace");
    for part in [
        "crates/agent/src",
        "crates/agent/Cargo.toml",
        "crates/addon/src",
        "crates/addon/Cargo.toml",
    ] {
        println!("cargo:rerun-if-changed={}", workspace.join(part).display());
    }
    let arch = var("CARGO_CFG_TARGET_ARCH")
        .into_string()
        .expect("an architecture is a word");
    let musl = format!("{arch}-unknown-linux-musl");
    let target = if is_installed(&musl) {
        musl
    } else if var("CARGO_CFG_TARGET_OS") != "linux" {
        eprintln!(
            "error: the agent runs in containers of Linux, and the Rust target {musl} that it is built for is not installed\n  \
             help: `rustup target add {musl}`, or STEPYARD_AGENT=<path of a ready one>"
        );
        std::process::exit(1);
    } else {
        println!(
            "cargo:warning=the Rust target {musl} is not installed: the agent is built for glibc, too large for a ConfigMap; `rustup target add {musl}` mends it"
        );
        format!("{arch}-unknown-linux-gnu")
    };
    let target_dir = target_dir(&workspace);
    build(&workspace, &target, &target_dir);
    take(
        &target_dir.join(&target).join("agent/stepyard-agent"),
        &out,
        &target,
    );
}

fn build(workspace: &Path, target: &str, target_dir: &Path) {
    let mut cargo = Command::new(var("CARGO"));
    cargo
        .current_dir(workspace)
        .args([
            "build",
            "--profile",
            "agent",
            "-p",
            "agent",
            "--bin",
            "stepyard-agent",
            "--target",
            target,
        ])
        .arg("--target-dir")
        .arg(target_dir);
    // What cargo tells a build script about the outer build must not steer the inner one.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let steers = text.starts_with("CARGO")
            && !text.starts_with("CARGO_HOME")
            && !text.starts_with("CARGO_NET")
            && !text.starts_with("CARGO_HTTP")
            && !text.starts_with("CARGO_REGISTR")
            && !text.starts_with("CARGO_SOURCE")
            || matches!(
                &*text,
                "RUSTC"
                    | "RUSTC_WRAPPER"
                    | "RUSTC_WORKSPACE_WRAPPER"
                    | "RUSTDOC"
                    | "RUSTFLAGS"
                    | "TARGET"
                    | "HOST"
                    | "PROFILE"
                    | "OUT_DIR"
                    | "OPT_LEVEL"
                    | "DEBUG"
                    | "NUM_JOBS"
            );
        if steers {
            cargo.env_remove(&name);
        }
    }
    if target.ends_with("gnu") {
        cargo.env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
    }
    if is_foreign(target) {
        // The C compiler here links for here. Rust brings a linker, and with musl all that is linked.
        let name = target.to_uppercase().replace('-', "_");
        cargo.env(format!("CARGO_TARGET_{name}_LINKER"), "rust-lld");
    }
    let output = cargo.output().expect("cargo can be started");
    assert!(
        output.status.success(),
        "the agent does not build for {target}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Whether the machine that builds is of another system or processor than the one that the agent is for.
fn is_foreign(target: &str) -> bool {
    let host = var("HOST");
    let host = host.to_string_lossy();
    let arch = |triple: &str| triple.split('-').next().map(str::to_owned);
    !host.contains("-linux-") || arch(&host) != arch(target)
}

/// Beside the outer build's, wherever that is: `<target>/agent`.
fn target_dir(workspace: &Path) -> PathBuf {
    // OUT_DIR is `<target>/[triple/]<profile>/build/<package>/out`.
    let out = PathBuf::from(var("OUT_DIR"));
    let triple = var("TARGET");
    out.ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").exists() && dir.file_name() != Some(&triple))
        .map_or_else(|| workspace.join("target"), Path::to_owned)
        .join("agent")
}

fn is_installed(target: &str) -> bool {
    let rustc = var("RUSTC");
    let Ok(output) = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .output()
    else {
        return false;
    };
    output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
}

fn take(from: &Path, to: &Path, target: &str) {
    std::fs::copy(from, to).unwrap_or_else(|error| {
        panic!("the agent cannot be taken from {}: {error}", from.display())
    });
    println!("cargo:rustc-env=STEPYARD_AGENT_TARGET={target}");
}

fn var(name: &str) -> OsString {
    std::env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"))
}
