//! The figures, one function each. None has a bound of its own here: the table tells, a person judges.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::kernel::Watch;
use super::measure::{Bench, done, median, ms, quantile, times};
use super::{Row, texts, watch};
use crate::command::{Cmd, target, which};
use crate::registry::{Registry, free_port};
use crate::{images, machine};

/// Steps of the one group whose hand-overs are measured.
const STEPS: usize = 1_000;
/// Runs of what takes seconds.
const ROUNDS: usize = 3;
/// Lines of the long log.
const LINES: u64 = 10_000_000;
/// Bytes of each, its end included.
const LINE: u64 = 100;

fn below(time: Duration, bound_ms: f64) -> bool {
    time.as_secs_f64() * 1e3 <= bound_ms
}

/// A row of a time that has a bound: the time, and which share of the bound it takes.
fn within(what: &'static str, reach: &'static str, time: Duration, bound_ms: f64) -> Row {
    Row {
        what,
        reach,
        here: format!(
            "{}, {:.2} of it",
            ms(time),
            time.as_secs_f64() * 1e3 / bound_ms
        ),
        good: Some(below(time, bound_ms)),
    }
}

/// `--version`, and `validate` of a small file.
pub(crate) fn version(bench: &Bench) -> Result<Vec<Row>> {
    let version = median(&times(30, || {
        let mut c = bench.stepyard("state");
        c.arg("--version");
        Ok(c)
    })?);
    let small = bench.file(
        "small.yaml",
        &texts::pipeline("host:/", &[("Sh", "true".to_owned())]),
    )?;
    let validate = median(&times(30, || {
        let mut c = bench.stepyard("state");
        c.arg("validate").arg(&small);
        Ok(c)
    })?);
    Ok(vec![
        within("`stepyard --version`", "≤ 5 ms", version, 5.0),
        within("`validate` of a small file", "≤ 5 ms", validate, 5.0),
    ])
}

/// `validate` of a long file.
pub(crate) fn validate(bench: &Bench) -> Result<Vec<Row>> {
    let text = texts::long(10_000);
    let file = bench.file("long.yaml", &text)?;
    let took = median(&times(15, || {
        let mut c = bench.stepyard("state");
        c.arg("validate").arg(&file);
        Ok(c)
    })?);
    let here = format!("{} ({} lines)", ms(took), text.lines().count());
    Ok(vec![Row {
        what: "`validate` on 10,000 lines",
        reach: "≤ 50 ms",
        here,
        good: Some(below(took, 50.0)),
    }])
}

/// A step's process that does nothing but say when it began and when it is about to end, for as little as a process costs: into a file,
/// or where none is named on its standard output.
const STAMPS: &str = r#"
use std::fs::File;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn now() -> String {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("at {}.{:06}\n", at.as_secs(), at.subsec_micros())
}

fn main() {
    let began = now();
    let words: Vec<String> = std::env::args().collect();
    let mut to: Box<dyn Write> = match words.get(2) {
        Some(path) => Box::new(File::options().create(true).append(true).open(path).unwrap()),
        None => Box::new(std::io::stdout()),
    };
    to.write_all(began.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(words[1].parse().unwrap()));
    to.write_all(now().as_bytes()).unwrap();
    to.flush().unwrap();
}
"#;

/// Compiles [`STAMPS`], where a container of this machine's own root filesystem finds it.
fn stamping() -> Result<String> {
    let dir = target().join("bench");
    std::fs::create_dir_all(&dir)?;
    let (source, program) = (dir.join("stamps.rs"), dir.join("stamps"));
    std::fs::write(&source, STAMPS)?;
    let musl = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    Cmd::new("rustc")
        .args(["--edition", "2024", "-O", "-C", "panic=abort", "--target"])
        .arg(&musl)
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .run()?;
    Ok(program.to_string_lossy().into_owned())
}

/// From the end of a step's process to the start of the next one's, in one group: by the kernel's own events (a zombie, the next execution),
/// where they can be read. Each step is a static program that notes when it began and when it is about to end, too; of the times by these
/// notes what it takes from its execution to the first and from the second to its end is measured beside it, before and after, and taken
/// off: on processors that have not slept, so that more is left than a hand-over is. Beside it the same where the last thing that a step
/// does is to print a line, which is on its way when the end comes, and with steps that end at once: there every step waits for its
/// container to be made, which takes both processors.
pub(crate) fn hand_over(bench: &Bench) -> Result<Vec<Row>> {
    const NOTES: &str = "/dev/shm/stamps";
    let program = stamping()?;
    let here = "/dev/shm/stepyard-bench-stamps".to_owned();
    // Half and most of the times from a step's last stamp to the first one of the next step.
    let gaps = |name: &str, millis: &str, noted: bool| -> Result<(Duration, Duration, String)> {
        let mut words = vec![millis];
        let mut last = None;
        let mut alone = vec!["0"];
        if noted {
            words.push(NOTES);
            last = Some(format!("cat {NOTES}"));
            alone.push(&here);
        }
        let entrypoint: Vec<_> = std::iter::once(&*program).chain(words).collect();
        let text = texts::plugins("host:/", &entrypoint, STEPS, last);
        let file = bench.file(name, &text)?;
        let mut floor = by_itself(&program, &alone, noted.then_some(&*here))?;
        let watch = Watch::of(Path::new(&program));
        let (_, out) = done(
            bench
                .stepyard("state")
                .args(["run", "--output", "plain"])
                .arg(&file),
        )?;
        let seen = watch.map(Watch::gaps).transpose()?;
        floor.extend(by_itself(&program, &alone, noted.then_some(&*here))?);
        let floor = median(&floor);
        let mut at = stamps(&String::from_utf8_lossy(&out.stdout));
        // Lines of different steps may come in another order than they were printed in.
        at.sort();
        ensure!(
            at.len() == 2 * STEPS,
            "{STEPS} steps noted {} times",
            at.len()
        );
        let gaps: Vec<Duration> = at[1..at.len() - 1]
            .chunks(2)
            .map(|pair| pair[1].saturating_sub(pair[0]).saturating_sub(floor))
            .collect();
        let (half, most) = (quantile(&gaps, 0.5), quantile(&gaps, 0.99));
        let noted = format!(
            "p50 {}, p99 {} over {STEPS} steps (the program's own start and end, {}, taken off)",
            ms(half),
            ms(most),
            ms(floor)
        );
        let Some(seen) = seen.filter(|seen| seen.len() == STEPS - 1) else {
            return Ok((half, most, noted));
        };
        let (half, most) = (quantile(&seen, 0.5), quantile(&seen, 0.99));
        let told = format!(
            "p50 {}, p99 {} by the kernel's events; by the steps' own notes {noted}",
            ms(half),
            ms(most)
        );
        Ok((half, most, told))
    };
    let row = |what, (half, most, here)| Row {
        what,
        reach: "p50 ≤ 1 ms, p99 ≤ 5 ms",
        here,
        good: Some(below(half, 1.0) && below(most, 5.0)),
    };
    let silent = gaps("handover.yaml", "20", true)?;
    let printing = gaps("handover-printing.yaml", "20", false)?;
    let (_, _, idle) = gaps("handover-at-once.yaml", "0", true)?;
    std::fs::remove_file(&here)?;
    Ok(vec![
        row(
            "hand-over from step to step, one group, steps of 20 ms",
            silent,
        ),
        row("the same, a line printed right before the end", printing),
        Row {
            what: "the same, steps that end at once",
            reach: "(a container is made for each)",
            here: idle,
            good: None,
        },
    ])
}

/// What 200 runs of it take from their execution to the first stamp and from the second to their end: into this file, or printed.
fn by_itself(program: &str, words: &[&str], file: Option<&str>) -> Result<Vec<Duration>> {
    let since = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    (0..200)
        .map(|_| {
            if let Some(file) = file {
                std::fs::write(file, "")?;
            }
            let mut command = Command::new(program);
            command
                .args(words)
                .stdin(Stdio::null())
                .stdout(Stdio::piped());
            // That this returns says that it has been executed.
            let child = command.spawn()?;
            let began = since()?;
            let out = child.wait_with_output()?;
            let ended = since()?;
            let noted = match file {
                Some(file) => std::fs::read(file)?,
                None => out.stdout,
            };
            let [first, last] = stamps(&String::from_utf8_lossy(&noted))[..] else {
                anyhow::bail!("{program} noted no two times");
            };
            Ok(first.saturating_sub(began) + ended.saturating_sub(last))
        })
        .collect()
}

/// The times that steps printed as `at SECONDS.MICROSECONDS`.
fn stamps(text: &str) -> Vec<Duration> {
    text.lines()
        .filter_map(|l| l.split("at ").last()?.trim().split_once('.'))
        .filter_map(|(s, us)| {
            Some(Duration::new(
                s.parse().ok()?,
                us.parse::<u32>().ok()? * 1000,
            ))
        })
        .collect()
}

/// Five steps that do nothing, the whole command, as root.
pub(crate) fn noop(bench: &Bench) -> Result<Vec<Row>> {
    if !machine::is_root() {
        machine::lacking("not root: the figures of root are not measured")?;
        return Ok(Vec::new());
    }
    let took = five_steps(bench, 21)?;
    Ok(vec![within(
        "5 no-op steps, whole process, root",
        "≤ 40 ms",
        took,
        40.0,
    )])
}

fn five_steps(bench: &Bench, rounds: usize) -> Result<Duration> {
    let file = bench.file(
        "noop.yaml",
        &texts::pipeline("host:/", &vec![("Sh", "true".to_owned()); 5]),
    )?;
    Ok(median(&times(rounds, || {
        let mut c = bench.stepyard("state");
        c.args(["run", "--output", "plain"]).arg(&file);
        Ok(c)
    })?))
}

/// Five `podman run` that do the same, in turns with ours.
pub(crate) fn podman(bench: &Bench) -> Result<Vec<Row>> {
    let podman = Podman::new(bench)?;
    podman.pull(&format!("oci:{}", layout("debian")?.display()))?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(five_steps(bench, 7)?);
        let each = (0..5)
            .map(|_| Ok(done(&mut podman.run("true")?)?.0))
            .collect::<Result<Vec<_>>>()?;
        theirs.push(each.iter().sum());
    }
    let (ours, theirs) = (median(&ours), median(&theirs));
    let times = theirs.as_secs_f64() / ours.as_secs_f64();
    let here = format!("{times:.1} times ({} against {})", ms(theirs), ms(ours));
    Ok(vec![Row {
        what: "five `podman run` take",
        reach: "≥ 12 times as long",
        here,
        good: Some(times >= 12.0),
    }])
}

/// The same as an ordinary user.
pub(crate) fn noop_user(bench: &Bench) -> Result<Vec<Row>> {
    let file = bench.file(
        "noop.yaml",
        &texts::pipeline("host:/", &vec![("Sh", "true".to_owned()); 5]),
    )?;
    let took = median(&times(21, || {
        let mut c = bench.stepyard_as_nobody()?;
        c.args(["run", "--output", "plain"]).arg(&file);
        Ok(c)
    })?);
    Ok(vec![within(
        "5 no-op steps, whole process, user",
        "≤ 60 ms",
        took,
        60.0,
    )])
}

/// The agent's size, and what it takes while its step sleeps.
pub(crate) fn agent(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let agent = find_agent().context("the build left no stepyard-agent")?;
    let size = agent.metadata()?.len();
    rows.push(Row {
        what: "agent on disk",
        reach: "< 1,000,000 bytes",
        here: format!("{size} bytes"),
        good: Some(size < 1_000_000),
    });
    let file = bench.file(
        "wait.yaml",
        &texts::pipeline("host:/", &[("Sh", "exec sleep 2".to_owned())]),
    )?;
    let now = watch::at(
        bench.stepyard("state").arg("run").arg(&file),
        Duration::from_millis(1200),
    )?;
    let waits = now
        .iter()
        .filter(|(kind, _)| ["addon", "lite-engine"].contains(&kind.as_str()))
        .map(|(_, bytes)| *bytes)
        .max()
        .unwrap_or(0);
    ensure!(waits > 0, "no process of the agent was found: {now:?}");
    let here = format!("{:.2} MB ({})", waits as f64 / 1e6, told(&now));
    rows.push(Row {
        what: "agent resident while it waits",
        reach: "≤ 2 MB",
        here,
        good: Some(waits <= 2_000_000),
    });
    Ok(rows)
}

fn told(peaks: &watch::Peaks) -> String {
    peaks
        .iter()
        .map(|(kind, bytes)| format!("{kind} {:.1} MB", *bytes as f64 / 1e6))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The newest agent below the target directory.
fn find_agent() -> Option<PathBuf> {
    fn look(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && depth > 0 {
                look(&path, depth - 1, found);
            } else if path.ends_with("agent/stepyard-agent") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    look(&target(), 4, &mut found);
    found
        .into_iter()
        .max_by_key(|p| p.metadata().and_then(|m| m.modified()).ok())
}

/// Ten steps that sleep: what is above their sleeps.
pub(crate) fn sleep(bench: &Bench) -> Result<Vec<Row>> {
    let sleeps: Vec<u64> = (0..10).map(|i| 200 + i * 1000 / 9).collect();
    let steps: Vec<_> = sleeps
        .iter()
        .map(|t| ("Sh", format!("exec sleep {}.{:03}", t / 1000, t % 1000)))
        .collect();
    let file = bench.file("sleep.yaml", &texts::pipeline("host:/", &steps))?;
    let took = (0..ROUNDS)
        .map(|_| Ok(done(bench.stepyard("state").arg("run").arg(&file))?.0))
        .collect::<Result<Vec<_>>>()?;
    let above = median(&took).saturating_sub(Duration::from_millis(sleeps.iter().sum()));
    Ok(vec![within(
        "10 sleeping steps: time above the sleeps",
        "≤ 50 ms",
        above,
        50.0,
    )])
}

/// A gigabyte of lines with three secrets, from the process to the disk.
pub(crate) fn log(bench: &Bench) -> Result<Vec<Row>> {
    let words = "one secret is first-s3cret, another second-s3cret, the third third-s3cret, and here the line goes on";
    let line: String = words
        .chars()
        .chain(std::iter::repeat('.'))
        .take(LINE as usize - 1)
        .collect();
    let text = texts::pipeline("host:/", &[("Sh", format!("yes '{line}' | head -n {LINES}"))]).replace(
        "                          shell: Sh\n",
        "                          shell: Sh\n                          envVariables: {A: '<+secrets.getValue(\"a\")>', B: '<+secrets.getValue(\"b\")>', C: '<+secrets.getValue(\"c\")>'}\n",
    );
    let file = bench.file("log.yaml", &text)?;
    let make = || {
        let mut c = bench.stepyard("log");
        c.args(["run", "--output", "plain"]).arg(&file);
        for secret in ["a=first-s3cret", "b=second-s3cret", "c=third-s3cret"] {
            c.args(["--secret", secret]);
        }
        c
    };
    let (mut took, mut peaks) = (Vec::new(), watch::Peaks::new());
    for _ in 0..ROUNDS {
        let began = std::time::Instant::now();
        for (kind, bytes) in watch::run(&mut make())? {
            let peak = peaks.entry(kind).or_default();
            *peak = bytes.max(*peak);
        }
        took.push(began.elapsed());
        std::fs::remove_dir_all(bench.dir.path().join("log"))?;
    }
    let took = median(&took);
    let rate = (LINES * LINE) as f64 / 1e6 / took.as_secs_f64();
    let most = peaks.values().copied().max().unwrap_or(0);
    Ok(vec![
        Row {
            what: "1 GB of 100-byte lines with three secrets, to disk",
            reach: "≥ 150 MB/s",
            here: format!("{rate:.0} MB/s ({:.1} s)", took.as_secs_f64()),
            good: Some(rate >= 150.0),
        },
        Row {
            what: "resident meanwhile, every process",
            reach: "≤ 64 MB",
            here: told(&peaks),
            good: Some(most <= 64_000_000),
        },
    ])
}

/// Pull and unpack from a registry on loopback, beside podman.
pub(crate) fn pull(bench: &Bench) -> Result<Vec<Row>> {
    images::build(&["debian".to_owned()], false)?;
    let registry = Registry::start(&bench.dir.path().join("registry"), free_port()?, false)?;
    registry.push("debian")?;
    let image = format!("127.0.0.1:{}/stepyard/debian:1", registry.port);
    let file = bench.file(
        "pull.yaml",
        &texts::pipeline(&image, &[("Sh", "true".to_owned())]),
    )?;
    let run = |state: &str| -> Result<Duration> {
        let mut c = bench.stepyard(state);
        let home = bench.dir.path().join(state);
        c.env("XDG_CACHE_HOME", home.join("cache"))
            .env("XDG_DATA_HOME", home.join("data"));
        Ok(done(c.args(["run", "--output", "plain"]).arg(&file))?.0)
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for i in 0..5 {
        let state = format!("pull{i}");
        let cold = run(&state)?;
        ours.push(cold.saturating_sub(run(&state)?));
        let podman = Podman::new(bench)?;
        theirs.push(podman.pull(&format!("docker://{image}"))?);
    }
    let (ours, theirs) = (median(&ours), median(&theirs));
    let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
    let here = format!(
        "{} against podman's {}: {ratio:.1} times as fast",
        ms(ours),
        ms(theirs)
    );
    Ok(vec![Row {
        what: "pull and unpack of a Debian image from loopback",
        reach: "faster than podman",
        here,
        good: Some(ratio > 1.0),
    }])
}

fn layout(name: &str) -> Result<PathBuf> {
    images::build(&[name.to_owned()], false)?;
    Ok(images::layout_of(name))
}

/// Debian's podman with its state in a place of its own.
struct Podman {
    dir: tempfile::TempDir,
}

impl Podman {
    fn new(bench: &Bench) -> Result<Self> {
        ensure!(
            which("podman").is_some(),
            "podman is missing: apt-get install podman runc"
        );
        let dir = tempfile::tempdir_in(bench.dir.path())?;
        // Its own limits are higher ones, which some machines do not let even root set; processes it bounds by the highest pid.
        let ours = std::fs::read_to_string("/proc/self/limits")?;
        let highest: u64 = std::fs::read_to_string("/proc/sys/kernel/pid_max")?
            .trim()
            .parse()?;
        let limit = |name: &str, most: u64| {
            let hard = ours.lines().find_map(|l| l.strip_prefix(name));
            let hard = hard.and_then(|l| l.split_whitespace().nth(1)?.parse().ok());
            hard.map_or(most, |hard: u64| hard.min(most))
        };
        let files = limit("Max open files", 1_048_576);
        let processes = limit("Max processes", highest);
        std::fs::write(
            dir.path().join("containers.conf"),
            format!(
                "[containers]\ndefault_ulimits = [\"nofile={files}:{files}\", \"nproc={processes}:{processes}\"]\n"
            ),
        )?;
        Ok(Self { dir })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        // crun refuses machines with both kinds of control groups, runc does not.
        command
            .arg("--root")
            .arg(self.dir.path().join("root"))
            .arg("--runroot")
            .arg(self.dir.path().join("run"));
        command
            .args(["--runtime", "runc", "--cgroup-manager", "cgroupfs"])
            .env("CONTAINERS_CONF", self.dir.path().join("containers.conf"))
            .stdin(Stdio::null());
        command
    }

    fn pull(&self, image: &str) -> Result<Duration> {
        Ok(done(
            self.command()
                .args(["pull", "-q", "--tls-verify=false"])
                .arg(image),
        )?
        .0)
    }

    fn run(&self, word: &str) -> Result<Command> {
        let (_, out) = done(self.command().args(["images", "-q"]))?;
        let id = String::from_utf8(out.stdout)?
            .lines()
            .next()
            .context("podman has no image")?
            .to_owned();
        let mut command = self.command();
        command.args(["run", "--rm", "--network", "none", &id, word]);
        Ok(command)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Unmounts and removes what belongs to it, so that the folder can go.
        let _ = self
            .command()
            .args(["system", "reset", "--force"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_in_lines_with_prefixes() {
        let text = "[s/g/n0] at 1700000000.000250\n[s/g] succeeded in 3ms\n[s/g/n1] at 1700000000.001250\n";
        let at = stamps(text);
        assert_eq!(at.len(), 2);
        assert_eq!(at[1].checked_sub(at[0]), Some(Duration::from_millis(1)));
    }
}
