//! stepyard: run the containerized step groups of Harness pipelines
//!
//! This crate is what a person meets: the command line ([`args`], [`cmd`]), the screen ([`screen`]), the place where runs
//! are kept ([`home`]). It reads files and the environment, so that nothing further in has to. Read [`cmd`] first: a file
//! a command. What is cheap starts nothing: only commands that talk to a pod have an asynchronous runtime.

mod access;
mod args;
mod asking;
mod attach;
mod backends;
mod clusters;
mod cmd;
mod delegate;
mod documents;
mod drive;
mod extras;
mod file_store;
mod folder;
mod home;
mod inputs;
mod interrupts;
mod local;
mod lsp;
mod meta;
mod out;
mod past;
mod planner;
mod problem;
mod registries;
mod screen;
mod secrets;
mod steps;
mod target;
mod texts;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use problem::{Exit, Problem};

fn main() -> ExitCode {
    // The process of a pod: before anything else, and before any thread.
    #[cfg(target_os = "linux")]
    if std::env::args_os()
        .nth(1)
        .is_some_and(|arg| arg == backend_native::ARGUMENT)
    {
        return backend_native::pod_main();
    }
    // A step that this program does itself, as a process of the delegate.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|arg| arg == delegate::ARGUMENT)
    {
        return delegate::main();
    }
    #[cfg(target_os = "linux")]
    if runs_here(std::env::args_os().skip(1)) {
        // Without it all goes on, only slower.
        let _ = backend_native::keepers_early(&secrets::variables(std::env::args_os()));
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, on standard output; the rest is talk.
            let exit = if error.use_stderr() {
                Exit::Invalid
            } else {
                Exit::Success
            };
            let _ = error.print();
            return exit.into();
        }
    };
    let result = run(&cli);
    match result {
        Ok(exit) => exit.into(),
        Err(problem) => {
            problem.say(cli.output);
            problem.exit().into()
        }
    }
}

/// Whether these words may make a pod on this machine: a guess that costs some time where it is wrong.
#[cfg(target_os = "linux")]
fn runs_here(words: impl Iterator<Item = std::ffi::OsString>) -> bool {
    let mut runs = false;
    for word in words {
        let word = word.to_string_lossy();
        if word.starts_with("--kube") || word.starts_with("--backend") {
            return false;
        }
        runs |= word == "run" || word == "resume" || word == "retry";
    }
    runs
}

fn run(cli: &Cli) -> Result<Exit, Problem> {
    match &cli.command {
        Command::Validate(args) => cmd::validate::run(args, cli.output),
        Command::Schema => cmd::schema::run(),
        Command::Lsp => lsp::run(),
        Command::Explain(args) => cmd::explain::run(args, cli.output),
        Command::Completions(args) => cmd::completions::run(args),
        Command::Run(args) => cmd::run::run(args, cli.output),
        Command::Answer(args) => cmd::answer::run(args, cli.output),
        Command::Approve(args) => cmd::approve::run(args, cli.output),
        Command::Intervene(args) => cmd::intervene::run(args, cli.output),
        Command::Resume(args) => cmd::resume::run(args, cli.output),
        Command::Retry(args) => cmd::retry::run(args, cli.output),
        Command::Logs(args) => cmd::logs::run(args, cli.output),
        Command::Exec(args) => cmd::exec::run(args),
        Command::Sweep(args) => cmd::sweep::run(args, cli.output),
        Command::Plan(args) => cmd::plan::plan(args, cli.output),
        Command::Pod(args) => cmd::plan::pod(args, cli.output),
        Command::Runs(args) => cmd::runs::run(args, cli.output),
        Command::Inspect(args) => cmd::inspect::run(args, cli.output),
    }
}
