//! The static in-pod binary: addon, lite-engine, attach, copy, pack and unpack

use std::path::PathBuf;
use std::process::ExitCode;

use agent::abandoned::Abandoned;
use agent::engine::Listen;

/// musl's own gives every few freed bytes back to the kernel and asks for them again, at every frame and every start.
#[global_allocator]
static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

const USAGE: &str = "usage:
  stepyard-agent addon [--dir /addon] [--workspace /harness] [--run RUN] [--abandoned SECONDS] [--listening]
  stepyard-agent lite-engine --slices DIR (--listen SOCKET | --stdio) [--abandoned SECONDS]
  stepyard-agent connect --socket SOCKET
  stepyard-agent copy DEST
  stepyard-agent pack DIR MOST
  stepyard-agent unpack DIR
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
        Some("pack") => match (
            words.next(),
            words.next().map(std::ffi::OsString::into_string),
        ) {
            (Some(dir), Some(Ok(most))) => match most.parse() {
                Ok(most) => return agent::workspace::give(&PathBuf::from(dir), most),
                Err(_) => return misuse(&format!("{most} is no number of bytes")),
            },
            _ => return misuse("pack needs a directory and a number of bytes"),
        },
        Some("unpack") => match words.next() {
            Some(dir) => return agent::workspace::take(&PathBuf::from(dir)),
            None => return misuse("unpack needs a directory"),
        },
        Some("addon") => {
            let words: Vec<_> = words.collect();
            let listening = words.iter().any(|word| word == "--listening");
            let spooling = words.iter().any(|word| word == "--spooling");
            let rest = words
                .into_iter()
                .filter(|word| word != "--listening" && word != "--spooling");
            match options(rest, &["--dir", "--workspace", "--run", "--abandoned"]) {
                Err(why) => return misuse(&why),
                Ok([dir, workspace, run, seconds]) => agent::addon::run(agent::addon::Options {
                    dir: dir.map_or_else(|| PathBuf::from("/addon"), PathBuf::from),
                    workspace: workspace.map_or_else(|| PathBuf::from("/harness"), PathBuf::from),
                    run,
                    listening,
                    spooling,
                    abandoned: match abandoned(seconds) {
                        Ok(abandoned) => abandoned,
                        Err(why) => return misuse(&why),
                    },
                }),
            }
        }
        Some("connect") => match options(words, &["--socket"]) {
            Ok([Some(socket)]) => agent::connect::run(&PathBuf::from(socket)),
            Ok([None]) => return misuse("connect needs --socket"),
            Err(why) => return misuse(&why),
        },
        Some("lite-engine") => {
            let words: Vec<_> = words.collect();
            let stdio = words.iter().any(|word| word == "--stdio");
            let rest = words.into_iter().filter(|word| word != "--stdio");
            match options(rest, &["--slices", "--listen", "--abandoned"]) {
                Ok([Some(slices), listen, seconds]) => {
                    let abandoned = match abandoned(seconds) {
                        Ok(abandoned) => abandoned,
                        Err(why) => return misuse(&why),
                    };
                    let listen = listen.map(PathBuf::from);
                    let listen = match (&listen, stdio) {
                        (Some(path), false) => Listen::At(path),
                        (None, true) => Listen::Stdio,
                        _ => return misuse("lite-engine takes one of --listen and --stdio"),
                    };
                    agent::engine::run(&PathBuf::from(slices), listen, abandoned)
                }
                Ok(_) => return misuse("lite-engine needs --slices"),
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

fn abandoned(seconds: Option<String>) -> Result<Abandoned, String> {
    let seconds = seconds.map(|text| {
        text.parse()
            .map_err(|_| format!("--abandoned: {text} is no number of seconds"))
    });
    Ok(Abandoned::after(seconds.transpose()?))
}

fn misuse(why: &str) -> ExitCode {
    eprintln!("stepyard-agent: {why}\n{USAGE}");
    ExitCode::from(2)
}
