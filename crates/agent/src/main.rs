//! The static in-pod binary: addon, lite-engine, attach, copy

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage:
  stepyard-agent addon [--dir /addon] [--workspace /harness] [--run RUN]
  stepyard-agent lite-engine --slices DIR (--listen SOCKET | --stdio)
  stepyard-agent connect --socket SOCKET
  stepyard-agent copy DEST
  stepyard-agent version";

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(command) = words.next() else {
        return misuse("no command");
    };
    let result = match command.to_str() {
        Some("version") => {
            println!(
                "stepyard-agent {} frames {}",
                env!("CARGO_PKG_VERSION"),
                addon::frame::VERSION
            );
            Ok(())
        }
        // The helper that `attach` starts: what follows is the program.
        Some(agent::terminal::HELPER) => agent::terminal::become_program(words),
        Some("copy") => match words.next() {
            Some(to) => agent::copy::run(&PathBuf::from(to)),
            None => return misuse("copy needs a destination"),
        },
        Some("addon") => match options(words, &["--dir", "--workspace", "--run"]) {
            Err(why) => return misuse(&why),
            Ok([dir, workspace, run]) => agent::addon::run(agent::addon::Options {
                dir: dir.map_or_else(|| PathBuf::from("/addon"), PathBuf::from),
                workspace: workspace.map_or_else(|| PathBuf::from("/harness"), PathBuf::from),
                run,
            }),
        },
        Some("connect") => match options(words, &["--socket"]) {
            Ok([Some(socket)]) => agent::connect::run(&PathBuf::from(socket)),
            Ok([None]) => return misuse("connect needs --socket"),
            Err(why) => return misuse(&why),
        },
        Some("lite-engine") => {
            let words: Vec<_> = words.collect();
            let stdio = words.iter().any(|word| word == "--stdio");
            let rest = words.into_iter().filter(|word| word != "--stdio");
            match options(rest, &["--slices", "--listen"]) {
                Ok([Some(slices), listen]) if stdio != listen.is_some() => {
                    agent::engine::run(&PathBuf::from(slices), listen.map(PathBuf::from).as_deref())
                }
                Ok(_) => {
                    return misuse("lite-engine needs --slices, and one of --listen and --stdio");
                }
                Err(why) => return misuse(&why),
            }
        }
        _ => return misuse(&format!("{} is not a command", command.display())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stepyard-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `--name value` pairs, in the order of `names`.
fn options<const N: usize>(
    words: impl Iterator<Item = std::ffi::OsString>,
    names: &[&str; N],
) -> Result<[Option<String>; N], String> {
    let mut found = [const { None }; N];
    let mut words = words;
    while let Some(word) = words.next() {
        let Some(at) = names.iter().position(|name| word == *name) else {
            return Err(format!("{} is not an option here", word.display()));
        };
        let value = words.next().and_then(|value| value.into_string().ok());
        found[at] = Some(value.ok_or_else(|| format!("{} needs a value", names[at]))?);
    }
    Ok(found)
}

fn misuse(why: &str) -> ExitCode {
    eprintln!("stepyard-agent: {why}\n{USAGE}");
    ExitCode::from(2)
}
