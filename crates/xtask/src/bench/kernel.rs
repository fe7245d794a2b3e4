//! When processes end and begin, by the kernel's own events: where root may read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// The states of `sched_switch` in which a process leaves its processor for good: as a zombie, or dead where it was reaped already.
const ENDED: u32 = 0x20 | 0x10;

/// Events of one program are kept until they are asked for, apart from what else is traced on this machine.
pub(super) struct Watch {
    dir: PathBuf,
    program: String,
}

impl Watch {
    /// Of programs with this file's name; none where the kernel does not tell us.
    pub(super) fn of(program: &Path) -> Option<Self> {
        let program = program.file_name()?.to_str()?.to_owned();
        let dir = PathBuf::from(format!(
            "/sys/kernel/tracing/instances/stepyard-bench-{}",
            std::process::id()
        ));
        fs::create_dir(&dir).ok()?;
        let watch = Self { dir, program };
        watch.begin().ok()?;
        Some(watch)
    }

    fn begin(&self) -> Result<()> {
        let set = |file: &str, value: &str| {
            let path = self.dir.join(file);
            fs::write(&path, value).with_context(|| format!("write {}", path.display()))
        };
        let name = &self.program;
        set("trace_clock", "mono")?;
        set(
            "events/sched/sched_switch/filter",
            &format!("prev_state & {ENDED} && prev_comm == \"{name}\""),
        )?;
        set(
            "events/sched/sched_process_exec/filter",
            &format!("filename ~ \"*/{name}\""),
        )?;
        set("events/sched/sched_switch/enable", "1")?;
        set("events/sched/sched_process_exec/enable", "1")
    }

    /// The times from each end to the next beginning.
    pub(super) fn gaps(self) -> Result<Vec<Duration>> {
        fs::write(self.dir.join("tracing_on"), "0")?;
        let text = fs::read_to_string(self.dir.join("trace"))?;
        let mut gaps = Vec::new();
        let mut ended: Option<Duration> = None;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((head, _)) = line.split_once(": sched_") else {
                continue;
            };
            let at = head.split_whitespace().last().unwrap_or_default();
            let at = Duration::from_secs_f64(at.parse().context("the time of an event")?);
            if line.contains(": sched_switch: ") {
                ended = Some(at);
            } else if let Some(ended) = ended.take() {
                gaps.push(at.saturating_sub(ended));
            }
        }
        Ok(gaps)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.dir);
    }
}
