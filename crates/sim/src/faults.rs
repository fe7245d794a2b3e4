//! What a seed does to a world.

use crate::random::Random;

/// How bad a world is; chances are in a thousand.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// That a frame's delivery cuts its connection instead.
    pub cut: u64,
    /// That the driver dies after a journal record.
    pub crash: u64,
    /// That the driver dies between two actions.
    pub crash_anywhere: u64,
    /// Crashes at most.
    pub crashes: u32,
    /// The driver dies right after this record of the journal, whatever the chances.
    pub crash_after: Option<usize>,
    /// That lite-engine dies when a frame reaches it.
    pub lite_engine: u64,
    /// That the pod is lost when a frame reaches it.
    pub pod: u64,
    /// Pods lost at most.
    pub pods: u32,
    /// That the addon of the container that a frame is for is killed when it comes.
    pub addon: u64,
    /// Addons killed at most.
    pub addons: u32,
    /// That a connection is gone without anybody being told: what is sent on it from here on, either way, goes nowhere.
    pub half_open: u64,
    /// Connections at most that this happens to.
    pub half_opens: u32,
    /// That an answer of the backend comes twice.
    pub twice: u64,
    /// That a call of the backend fails for a reason that passes.
    pub flaky: u64,
    /// That something takes seconds, not milliseconds.
    pub slow: u64,
    /// Milliseconds by which clocks may differ, and jump from one driver to the next.
    pub skew: u64,
    /// After so many events somebody aborts the run.
    pub abort_at: Option<u64>,
    /// That somebody asks something of a node, or pauses the run, when anything happens.
    pub ask: u64,
}

impl Faults {
    /// Chosen by a seed: some worlds are calm in some respects, so that faults meet alone too.
    pub fn random(random: &mut Random) -> Self {
        let mut some = |most: u64| {
            if random.chance(500) {
                random.below(most + 1)
            } else {
                0
            }
        };
        Self {
            cut: some(40),
            crash: some(80),
            crash_anywhere: some(20),
            crashes: 8,
            crash_after: None,
            lite_engine: some(20),
            pod: some(10),
            pods: some(3) as u32,
            addon: some(10),
            addons: some(3) as u32,
            half_open: some(20),
            half_opens: 1,
            twice: some(200),
            flaky: some(200),
            slow: some(50),
            skew: some(3_600_000),
            abort_at: (some(9) == 9).then(|| some(400) + 20),
            ask: some(8),
        }
    }
}
