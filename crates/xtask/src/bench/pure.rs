//! The figures of what decides and computes: the benches of those crates, and `plan` of the widest loop there may be.

use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::measure::{Bench, median, ms, times};
use super::{Row, texts};
use crate::command::Cmd;

/// How long `plan` may take until it waits for somebody who reads what it prints.
const PLANNED: Duration = Duration::from_secs(2);

/// What a bench of a crate prints.
fn bench(package: &str, name: &str) -> Result<String> {
    Cmd::cargo()
        .args(["bench", "--quiet", "-p", package, "--bench", name])
        .output()
}

/// The first number after a word of a text.
fn number_after(text: &str, word: &str) -> Result<f64> {
    let (_, rest) = text
        .split_once(word)
        .with_context(|| format!("no `{word}` in {text}"))?;
    let number = rest.split_whitespace().next().unwrap_or_default();
    number
        .trim_end_matches(',')
        .parse()
        .with_context(|| format!("`{number}` after `{word}` is no number"))
}

/// A typical expression.
pub(crate) fn expressions(_: &Bench) -> Result<Vec<Row>> {
    let text = bench("syntax", "expressions")?;
    let mean = number_after(&text, "mean ")?;
    Ok(vec![Row {
        what: "a typical expression is evaluated",
        reach: "≤ 2 µs: ≥ 500,000 a second",
        here: format!("{:.2} µs: {:.0} a second", mean / 1e3, 1e9 / mean),
        good: Some(mean <= 2000.0),
    }])
}

/// Time and memory of `plan`, the whole process.
pub(crate) fn plan(bench: &Bench) -> Result<Vec<Row>> {
    let file = bench.file("matrix.yaml", &texts::matrix())?;
    let make = || {
        let mut command = bench.stepyard("state");
        command.arg("plan").arg(&file);
        command
    };
    let took = median(&times(11, || Ok(make()))?);
    // Nobody reads what it prints until its memory was looked at: it is there for as long as that takes.
    let mut child = make().stdout(Stdio::piped()).spawn()?;
    std::thread::sleep(PLANNED);
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let peak = number_after(&status, "VmHWM:")? * 1024.0;
    let mut printed = String::new();
    let mut out = child.stdout.take().context("no stdout")?;
    out.read_to_string(&mut printed)?;
    ensure!(child.wait()?.success(), "`plan` of the matrix failed");
    let iterations = printed.matches("Run ").count();
    ensure!(
        iterations >= 10_000,
        "`plan` shows {iterations} of the 10,000 iterations"
    );
    Ok(vec![Row {
        what: "`plan` of a 10,000-iteration matrix, whole process",
        reach: "≤ 200 ms, ≤ 100 MB",
        here: format!("{}, {:.1} MB", ms(took), peak / 1e6),
        good: Some(took.as_millis() <= 200 && peak <= 100e6),
    }])
}

/// Events that are decided and folded.
pub(crate) fn engine(_: &Bench) -> Result<Vec<Row>> {
    let text = bench("engine", "changes")?;
    let rates = text
        .lines()
        .map(|line| {
            let (rate, rest) = line
                .split_once(" changes a second  ")
                .with_context(|| format!("not a line of the bench: {line}"))?;
            let what = rest.split(" (").next().unwrap_or_default();
            Ok((rate.trim().parse::<f64>()?, what.to_owned()))
        })
        .collect::<Result<Vec<_>>>()?;
    let told: Vec<String> = rates
        .iter()
        .map(|(rate, what)| format!("{rate:.0} ({what})"))
        .collect();
    // What is wanted is asked once for each answer that a driver gets, and costs what is under way.
    let changes = rates.iter().filter(|(_, what)| !what.contains("wanted"));
    let least = changes.map(|(rate, _)| *rate).reduce(f64::min);
    Ok(vec![Row {
        what: "state changes a second on one core",
        reach: "≥ 200,000",
        here: told.join(", "),
        good: Some(least.context("the bench printed nothing")? >= 200_000.0),
    }])
}

/// A driver that takes a long run over.
pub(crate) fn recovery(_: &Bench) -> Result<Vec<Row>> {
    let text = bench("driver", "recovery")?;
    let median = number_after(&text, "median ")?;
    Ok(vec![Row {
        what: "recovery of a journal of 100,000 records",
        reach: "≤ 1 s",
        here: format!("{median:.0} ms"),
        good: Some(median <= 1000.0),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_behind_their_words() {
        let text = "recovery of 100000 records (34 kB): median 321.5 ms, worst 400.0 ms of 15";
        assert!((number_after(text, "median ").unwrap() - 321.5).abs() < 1e-9);
        assert!((number_after("VmHWM:\t   5120 kB", "VmHWM:").unwrap() - 5120.0).abs() < 1e-9);
        assert!(number_after(text, "mean ").is_err());
    }
}
