//! `stepyard completions`: what a shell needs to complete our commands.

use clap::CommandFactory as _;

use crate::args::{Cli, Completions};
use crate::out;
use crate::problem::{Exit, Problem};

/// Prints the script of a shell.
pub(crate) fn run(args: &Completions) -> Result<Exit, Problem> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "stepyard", &mut script);
    out::bytes(&script)
}
