//! What this machine must have for the tests, and getting it: Debian's packages where we are root, else one line that says what is missing.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::command::{Cmd, ci, which};

/// A program that tests or examples use, and the Debian package that has it.
struct Need {
    program: &'static str,
    package: &'static str,
    why: &'static str,
}

const NEEDS: &[Need] = &[
    Need {
        program: "cc",
        package: "gcc",
        why: "linking",
    },
    Need {
        program: "musl-gcc",
        package: "musl-tools",
        why: "the static agent",
    },
    Need {
        program: "git",
        package: "git",
        why: "the served repository of examples/real",
    },
    Need {
        program: "busybox",
        package: "busybox-static",
        why: "small test images",
    },
    Need {
        program: "podman",
        package: "podman",
        why: "the conformance suite on an engine's socket",
    },
    Need {
        program: "runc",
        package: "runc",
        why: "podman on machines with cgroup v1",
    },
    Need {
        program: "newuidmap",
        package: "uidmap",
        why: "containers of an ordinary user",
    },
    Need {
        program: "slirp4netns",
        package: "slirp4netns",
        why: "the way out of a private network",
    },
    Need {
        program: "ip",
        package: "iproute2",
        why: "looking at networks",
    },
    Need {
        program: "tmux",
        package: "tmux",
        why: "looking at the screen of a run",
    },
    Need {
        program: "nvim",
        package: "neovim",
        why: "a client of the language server",
    },
];

/// Makes sure of everything that the tests need. Where something cannot be had: in CI an error, else one line and `false`.
pub(crate) fn prepare() -> Result<bool> {
    let mut whole = true;
    let missing: Vec<&Need> = NEEDS
        .iter()
        .filter(|n| which(n.program).is_none())
        .collect();
    if !missing.is_empty() {
        let packages: Vec<&str> = missing.iter().map(|n| n.package).collect();
        if root_on_debian() {
            install(&packages)?;
        } else {
            let what: Vec<String> = missing
                .iter()
                .map(|n| format!("{} ({})", n.program, n.why))
                .collect();
            whole = lacking(&format!(
                "missing here: {}; on Debian, as root: apt-get install {}",
                what.join(", "),
                packages.join(" ")
            ))?;
        }
    }
    Ok(musl()? && whole)
}

/// A C++ compiler, which libFuzzer is built with.
pub(crate) fn cpp() -> Result<bool> {
    if which("c++").is_some() {
        return Ok(true);
    }
    if root_on_debian() {
        install(&["g++"])?;
        return Ok(true);
    }
    lacking("missing here: c++ (libFuzzer); on Debian, as root: apt-get install g++")
}

/// The Rust target of the static agent.
fn musl() -> Result<bool> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let has = || {
        let dir = Cmd::new("rustc")
            .args(["--print", "target-libdir", "--target", &target])
            .output();
        dir.is_ok_and(|dir| PathBuf::from(dir.trim()).is_dir())
    };
    if has() {
        return Ok(true);
    }
    if which("rustup").is_some()
        && Cmd::new("rustup")
            .args(["target", "add", &target])
            .run()
            .is_ok()
        && has()
    {
        return Ok(true);
    }
    lacking(&format!(
        "missing here: the Rust target {target}; rustup target add {target}"
    ))
}

/// Says what is lacking; in CI that is an error.
pub(crate) fn lacking(words: &str) -> Result<bool> {
    if ci() {
        bail!("{words}");
    }
    eprintln!("{words}");
    Ok(false)
}

/// Whether packages can be installed here.
pub(crate) fn root_on_debian() -> bool {
    which("apt-get").is_some() && is_root()
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    Cmd::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.trim() == "0")
}

/// Makes sure that apt knows the packages of its sources.
pub(crate) fn refresh_lists(package: &str) -> Result<()> {
    let known = Cmd::new("apt-cache")
        .args(["show", "--no-all-versions", package])
        .succeeds();
    if known || !root_on_debian() {
        return Ok(());
    }
    Cmd::new("apt-get").args(["update", "-qq"]).run()
}

/// Installs Debian's packages of these names.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    println!("installing {}", packages.join(" "));
    for package in packages {
        refresh_lists(package)?;
    }
    Cmd::new("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .run()
}
