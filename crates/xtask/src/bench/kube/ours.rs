//! Runs of the product in the cluster, read from what it prints for machines.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{IMAGE, Kube, audit};
use crate::bench::measure::done;
use crate::bench::texts;

/// A run that is over. Times are since the Unix epoch.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// When its command was started, and when it ended.
    pub(super) began: Duration,
    pub(super) ended: Duration,
    /// When the API server was asked for its first pod.
    pub(super) created: Duration,
    /// Beginning and end of each step's process, in the order of their ends.
    pub(super) steps: Vec<(Duration, Duration)>,
    /// Lines of steps: when they were read here, and what they say.
    pub(super) lines: Vec<(Duration, String)>,
}

/// The command of a run, its pipeline written to a file of this name.
pub(super) fn command(kube: &Kube<'_>, name: &str, text: &str) -> Result<Command> {
    let file = kube.bench.file(&format!("{name}.yaml"), text)?;
    let mut command = kube.bench.stepyard("kube");
    command
        .env("KUBECONFIG", &kube.kubeconfig)
        .args([
            "run",
            "--kube",
            "--namespace",
            &kube.namespace,
            "--output",
            "json",
        ])
        .arg(file);
    Ok(command)
}

/// Runs a group of these steps.
pub(super) fn run(kube: &Kube<'_>, name: &str, steps: &[(&str, String)]) -> Result<Run> {
    run_text(kube, name, &texts::pipeline(IMAGE, steps))
}

/// Runs a pipeline.
pub(super) fn run_text(kube: &Kube<'_>, name: &str, text: &str) -> Result<Run> {
    let mut command = command(kube, name, text)?;
    let began = now()?;
    let (took, out) = done(&mut command)?;
    let mut run = read(&String::from_utf8_lossy(&out.stdout));
    (run.began, run.ended) = (began, began + took);
    let pod = pods(&String::from_utf8_lossy(&out.stdout));
    let pod = pod.first().context("the run made no pod")?;
    run.created = audit::created(kube, pod)?;
    Ok(run)
}

/// Since the Unix epoch.
pub(super) fn now() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

/// The pods that a run asked for.
fn pods(out: &str) -> Vec<String> {
    let events = out
        .lines()
        .filter_map(|l| serde_json::from_str::<Value>(l).ok());
    events
        .filter_map(|e| {
            e["event"]["PodRequested"]["pod"]
                .as_str()
                .map(str::to_owned)
        })
        .collect()
}

fn read(out: &str) -> Run {
    let ms = |value: &Value| value.as_u64().map(Duration::from_millis);
    let mut run = Run::default();
    for line in out.lines() {
        let Ok(notice) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let record = &notice["event"]["AttemptFinished"]["record"];
        if let (Some(began), Some(ended)) = (ms(&record["started_ms"]), ms(&record["ended_ms"])) {
            run.steps.push((began, ended));
        }
        if notice["kind"] == "line"
            && let (Some(at), Some(text)) = (ms(&notice["at_ms"]), notice["text"].as_str())
        {
            run.lines.push((at, text.to_owned()));
        }
    }
    run
}

impl Run {
    /// From the request for its pod to the first instruction of its first step, and of its last.
    pub(super) fn starts(&self) -> (Duration, Duration) {
        let of = |at: Option<Duration>| at.unwrap_or_default().saturating_sub(self.created);
        let starts = self.steps.iter().map(|s| s.0);
        (of(starts.clone().min()), of(starts.max()))
    }

    /// Between the end of each step and the beginning of the next.
    pub(super) fn hand_overs(&self) -> Vec<Duration> {
        let pairs = self.steps.windows(2);
        pairs.map(|w| w[1].0.saturating_sub(w[0].1)).collect()
    }
}

/// A pipeline of this many groups side by side, each with one step.
pub(super) fn groups(count: usize, command: &str) -> String {
    let one = texts::pipeline(IMAGE, &[("Sh", command.to_owned())]);
    let (head, group) = one
        .split_once("              - stepGroup:\n")
        .unwrap_or((&one, ""));
    let mut text = format!("{head}              - parallel:\n");
    for i in 0..count {
        let named = group
            .replace("identifier: g\n", &format!("identifier: g{i}\n"))
            .replace("name: g\n", &format!("name: g{i}\n"));
        text += "                  - stepGroup:\n";
        for line in named.lines() {
            text.extend(["    ", line, "\n"]);
        }
    }
    text
}

/// What a process used of the processor, and the most that it had resident, by what the system accounts to it.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Used {
    pub(super) cpu: Duration,
    pub(super) resident: u64,
}

/// Runs a command to its end, looking at what it uses; the largest of what was seen.
pub(super) fn used(command: &mut Command) -> Result<Used> {
    let mut child = command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let mut used = Used::default();
    let status = loop {
        if let Some(now) = look(child.id()) {
            used.cpu = used.cpu.max(now.cpu);
            used.resident = used.resident.max(now.resident);
        }
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    anyhow::ensure!(status.success(), "{command:?}: {status}");
    Ok(used)
}

fn look(pid: u32) -> Option<Used> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let fields: BTreeMap<&str, &str> = status.lines().filter_map(|l| l.split_once(':')).collect();
    let kilobytes = fields.get("VmHWM")?.trim().strip_suffix(" kB")?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name in parentheses: user and system time are the 12th and 13th, in hundredths of a second.
    let mut rest = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: u64 = rest.next()?.parse::<u64>().ok()? + rest.next()?.parse::<u64>().ok()?;
    Some(Used {
        cpu: Duration::from_millis(ticks * 10),
        resident: kilobytes.parse::<u64>().ok()? * 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_read_from_its_notices() {
        let out = r#"{"event":{"PodRequested":{"pod":"p","attempt":0}},"kind":"event"}
{"event":{"AttemptFinished":{"record":{"started_ms":1000,"ended_ms":1500}}},"kind":"event"}
{"at_ms":1600,"kind":"line","step":"s","text":"hello"}
{"event":{"AttemptFinished":{"record":{"started_ms":1504,"ended_ms":1600}}},"kind":"event"}"#;
        let run = read(out);
        assert_eq!(pods(out), ["p"]);
        assert_eq!(run.hand_overs(), [Duration::from_millis(4)]);
        assert_eq!(run.lines.len(), 1);
        assert_eq!(run.starts().1, Duration::from_millis(1504));
    }

    #[test]
    fn groups_are_side_by_side() {
        let text = groups(3, "true");
        assert_eq!(text.matches("- stepGroup:").count(), 3);
        assert!(text.contains("identifier: g2\n") && text.contains("- parallel:\n"));
    }
}
