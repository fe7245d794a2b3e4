//! `cargo xtask fuzz [TARGET…] [--seconds N]`: bytes of strangers, found by libFuzzer, for what reads them.
//!
//! Stable Rust is enough: the coverage that leads the search comes from LLVM's own pass, and no sanitizer is used, as no target
//! holds `unsafe` code. Targets and their corpus are in `crates/fuzz`; the binary around them, in `fuzz/`, is not part of the
//! workspace, since it needs a C++ compiler. `--seconds 0` only builds it.
//!
//! In CI the seed is a fixed one, so that a run there looks at what was looked at before: news are found by people and
//! their machines, not by a change that has nothing to do with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::command::{Cmd, ci, root, target};
use crate::machine;

/// Seconds a target, where nobody says another number.
const SECONDS: u64 = 60;
/// So many run at once.
const BESIDE: usize = 2;
/// Bytes of one input: most problems are found in few.
const LONGEST: u32 = 4096;
/// Those that read YAML begin with the examples too.
const READ_YAML: [&str; 2] = ["yaml", "lowering"];
/// Coverage, as libFuzzer reads it.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

/// Builds the fuzzer and runs the targets that are named, or all of them, two at once.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let wanted = Wanted::parse(args)?;
    let all = names()?;
    let targets = if wanted.targets.is_empty() {
        all
    } else {
        for name in &wanted.targets {
            if !all.contains(name) {
                bail!("`{name}` is no target: there are {}", all.join(", "));
            }
        }
        wanted.targets
    };
    if !machine::cpp()? {
        return Ok(());
    }
    let binary = build()?;
    if wanted.seconds == 0 {
        return Ok(());
    }
    let mut broken = Vec::new();
    for some in targets.chunks(BESIDE) {
        let began = Instant::now();
        let running = some
            .iter()
            .map(|name| Fuzzer::start(&binary, name, wanted.seconds))
            .collect::<Result<Vec<_>>>()?;
        for fuzzer in running {
            let name = fuzzer.name.clone();
            match fuzzer.end()? {
                Ok(told) => println!("fuzz {name}: {told}, {} s", began.elapsed().as_secs()),
                Err(told) => {
                    println!("fuzz {name}: {told}");
                    broken.push(name);
                }
            }
        }
    }
    if !broken.is_empty() {
        bail!("inputs were found that break {}", broken.join(", "));
    }
    Ok(())
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    targets: Vec<String>,
    seconds: u64,
}

impl Wanted {
    fn parse(args: &[String]) -> Result<Self> {
        let mut wanted = Self {
            targets: Vec::new(),
            seconds: SECONDS,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--seconds" {
                let number = args.next().context("--seconds wants a number")?;
                wanted.seconds = number
                    .parse()
                    .with_context(|| format!("--seconds {number}: that is no number"))?;
            } else {
                wanted.targets.push(arg.clone());
            }
        }
        Ok(wanted)
    }
}

/// Where a target's corpus lies in the repository.
fn corpus(name: &str) -> PathBuf {
    root().join("crates/fuzz/corpus").join(name)
}

/// The targets: each has a folder in the corpus, as a test of theirs makes sure.
fn names() -> Result<Vec<String>> {
    let folder = root().join("crates/fuzz/corpus");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn build() -> Result<PathBuf> {
    let host = Cmd::new("rustc").args(["--print", "host-tuple"]).output()?;
    let host = host.trim();
    let folder = target().join("fuzz");
    Cmd::cargo()
        .args(["build", "--release", "--manifest-path", "fuzz/Cargo.toml"])
        // With a target, build scripts and macros are left as they are.
        .args(["--target", host, "--target-dir"])
        .arg(&folder)
        .env("RUSTFLAGS", FLAGS)
        .run()?;
    Ok(folder.join(host).join("release/fuzz"))
}

/// One target under way.
struct Fuzzer {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Fuzzer {
    fn start(binary: &Path, name: &str, seconds: u64) -> Result<Self> {
        let folder = target().join("fuzz").join("found").join(name);
        let kept = folder.join("corpus");
        if ci() && kept.exists() {
            fs::remove_dir_all(&kept)?;
        }
        fs::create_dir_all(&kept)?;
        let log = folder.join("log");
        let file = fs::File::create(&log)?;
        let mut command = Cmd::new(binary)
            .env("STEPYARD_FUZZ_TARGET", name)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={LONGEST}"))
            .arg(format!("-artifact_prefix={}/", folder.display()))
            .args([
                "-timeout=60",
                "-print_final_stats=1",
                "-use_value_profile=1",
            ])
            // What is new is kept in the first folder.
            .arg(&kept)
            .arg(corpus(name));
        if ci() {
            command = command.arg("-seed=1");
        }
        if READ_YAML.contains(&name) {
            command = command.arg(root().join("examples"));
        }
        let child = command.spawn(|c| {
            let also = file.try_clone().map(Into::into);
            c.stdout(file);
            c.stderr(also.unwrap_or_else(|_| std::process::Stdio::null()));
        })?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// What it looked at; where it broke something, the input and how to see it again.
    fn end(mut self) -> Result<std::result::Result<String, String>> {
        let status = self.child.wait()?;
        let text = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
        if status.success() {
            return Ok(Ok(summary(&text)));
        }
        let input = text
            .lines()
            .find_map(|line| line.split_once("Test unit written to "))
            .map_or("(none was written)", |(_, path)| path.trim());
        let said: Vec<&str> = text.lines().collect();
        let end = said[said.len().saturating_sub(40)..].join("\n");
        Ok(Err(format!(
            "broken ({status}) by {input}\n--- the end of {} ---\n{end}\n---\n\
             once it is mended, move the input to {}/",
            self.log.display(),
            corpus(&self.name).display(),
        )))
    }
}

/// `1234 inputs, 56 of them kept`.
fn summary(log: &str) -> String {
    let number = |name: &str| {
        let line = log.lines().find_map(|line| line.strip_prefix(name));
        line.map_or("?", str::trim).to_owned()
    };
    format!(
        "{} inputs, {} of them kept",
        number("stat::number_of_executed_units:"),
        number("stat::new_units_added:")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_read() {
        let parse = |text: &str| {
            let args: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            Wanted::parse(&args)
        };
        let wanted = parse("yaml --seconds 5 frames").expect("it is understood");
        assert_eq!(wanted.targets, ["yaml", "frames"]);
        assert_eq!(wanted.seconds, 5);
        assert_eq!(parse("").expect("nothing is all").seconds, SECONDS);
        assert!(parse("--seconds").is_err());
        assert!(parse("--seconds soon").is_err());
    }

    #[test]
    fn the_end_of_a_log_is_told() {
        let log = "stat::number_of_executed_units: 12\nstat::new_units_added:          3\n";
        assert_eq!(summary(log), "12 inputs, 3 of them kept");
    }
}
