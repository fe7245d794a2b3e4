//! How much memory the product's processes take: those that began after us and carry its name.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};

/// How often `/proc` is looked at. Peaks are the kernel's own, so nothing is missed but a process shorter than this.
const LOOK: Duration = Duration::from_millis(50);

/// The most that a kind of process had resident, in bytes.
pub(crate) type Peaks = BTreeMap<String, u64>;

/// Runs it and watches its processes until its end.
pub(crate) fn run(command: &mut Command) -> Result<Peaks> {
    let before = ours();
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut peaks = Peaks::new();
    let status = loop {
        look(&before, &child, "VmHWM:", &mut peaks);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(LOOK);
    };
    ensure!(status.success(), "{command:?}: {status}");
    Ok(peaks)
}

/// Runs it, and after `wait` reads what its processes have resident then; lets it run to its end.
pub(crate) fn at(command: &mut Command, wait: Duration) -> Result<Peaks> {
    let before = ours();
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::sleep(wait);
    let mut now = Peaks::new();
    look(&before, &child, "VmRSS:", &mut now);
    let status = child.wait()?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(now)
}

fn look(before: &BTreeSet<u32>, child: &Child, field: &str, peaks: &mut Peaks) {
    for pid in ours().difference(before) {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
            continue;
        };
        let kilobytes = status.lines().find_map(|l| {
            l.strip_prefix(field)?
                .trim()
                .strip_suffix(" kB")?
                .trim()
                .parse::<u64>()
                .ok()
        });
        let Some(kilobytes) = kilobytes else { continue };
        let kind = if *pid == child.id() {
            "command".to_owned()
        } else {
            kind(*pid).replace("stepyard", "keeper")
        };
        let peak = peaks.entry(kind).or_default();
        *peak = (*peak).max(kilobytes * 1024);
    }
}

/// The word that says what a process of the product is: its first argument that is one; what is left of the command is a pod's keeper.
fn kind(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    ["lite-engine", "addon"]
        .into_iter()
        .find(|w| line.contains(w))
        .map_or_else(|| name(pid), str::to_owned)
}

fn name(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// All processes of the product on this machine.
fn ours() -> BTreeSet<u32> {
    let Ok(all) = std::fs::read_dir("/proc") else {
        return BTreeSet::new();
    };
    all.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            ["stepyard", "lite-engine", "addon"]
                .iter()
                .any(|w| name(*pid).starts_with(w) || kind(*pid).starts_with(w))
        })
        .collect()
}
