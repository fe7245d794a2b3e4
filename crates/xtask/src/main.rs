//! Builds, images, registries, examples, benches and checks: what a person or CI runs on the repository itself.
//!
//! `cargo xtask` lists the commands. It uses few crates on purpose: it is the first thing that a fresh clone builds.

mod bench;
mod cluster;
mod command;
mod examples;
mod fuzz;
mod git_server;
mod http;
mod images;
mod layers;
mod machine;
mod macos;
mod registry;
mod suite;
mod tools;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask test [ARGS]      run every test of the workspace; ARGS go to `cargo test`; `--repeat N` in front: so often, on a busy machine
cargo xtask images [NAME]    build the images of images/ from Debian packages; --fresh builds them again
cargo xtask registry up|down  two registries on loopback with these images, one open, one with a login
cargo xtask examples [WORD]   run the pipelines of examples/ for real and compare what comes out
cargo xtask serve             what examples/real talks to: both registries and a git server, until Ctrl-C
cargo xtask cluster build|up|down|status|kubeconfig  a real one-node Kubernetes on this machine; --oldest, --instance N, --wipe
cargo xtask cluster smoke     what is tested against the oldest server that is supported
cargo xtask bench [FIGURE]    measure the table of figures, with ratios in the same run; --kube [--instance N] [--rounds N] [FIGURE] that of a cluster
cargo xtask fuzz [TARGET] [--seconds N]  feed what reads strangers' bytes with mutated ones, two targets at once
cargo xtask check-layers     check that crates depend on each other inwards only, and that the pure ones are pure
cargo xtask check-macos      check that the command compiles for macOS, where that Rust target can be had";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    let Some((command, rest)) = args.split_first() else {
        println!("{HELP}");
        return Ok(());
    };
    match command.as_str() {
        "test" => suite::run(rest),
        "check-layers" => layers::check(),
        "check-macos" => macos::check(),
        "bench" => bench::run(rest),
        "examples" => examples::run(rest),
        "fuzz" => fuzz::run(rest),
        "serve" => examples::serve(),
        "cluster" => cluster::command(rest),
        "registry" => registry::command(rest),
        "images" => {
            let fresh = rest.iter().any(|a| a == "--fresh");
            let names: Vec<String> = rest.iter().filter(|a| *a != "--fresh").cloned().collect();
            images::build(&names, fresh)
        }
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(())
        }
        other => bail!("no such command: `{other}`\n\n{HELP}"),
    }
}
