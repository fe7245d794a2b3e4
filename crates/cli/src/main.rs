//! stepyard: run the containerized step groups of Harness pipelines
//!
//! This crate is what a person meets: the command line ([`args`], [`cmd`]), the screen ([`screen`]), the place where runs
//! are kept ([`home`]). It reads files and the environment, so that nothing further in has to. Read [`cmd`] first: a file
//! a command. What is cheap starts nothing: only commands that talk to a pod have an asynchronous runtime.

mod args;
mod attach;
mod cmd;
mod documents;
mod extras;
mod home;
mod local;
mod meta;
mod out;
mod past;
mod problem;
mod screen;
mod secrets;
mod steps;
mod texts;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use problem::{Exit, Problem};

fn main() -> ExitCode {
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
            problem.say();
            problem.exit().into()
        }
    }
}

fn run(cli: &Cli) -> Result<Exit, Problem> {
    match &cli.command {
        Command::Validate(args) => cmd::validate::run(args, cli.output),
        Command::Explain(args) => cmd::explain::run(args, cli.output),
        Command::Completions(args) => cmd::completions::run(args),
        Command::Runs(args) => cmd::runs::run(args, cli.output),
        Command::Inspect(args) => cmd::inspect::run(args, cli.output),
        _ => Err(Problem::failed("this command is not there yet")),
    }
}
