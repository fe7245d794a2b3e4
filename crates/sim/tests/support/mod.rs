//! What the worlds of all tests are asked.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use driver::core::Planted;
use driver::fake::Script;
use sim::check::check;
use sim::{Ended, Faults, World};

/// So many seeds; `STEPYARD_SIM_SEEDS` from `STEPYARD_SIM_FIRST` on where they are set.
pub(crate) fn seeds(usual: u64) -> Range<u64> {
    let number = |name| std::env::var(name).ok()?.parse().ok();
    let first = number("STEPYARD_SIM_FIRST").unwrap_or(0);
    first..first + number("STEPYARD_SIM_SEEDS").unwrap_or(usual)
}

/// The journal, an event a line.
pub(crate) fn told(ended: &Ended) -> String {
    let mut text = String::new();
    for (number, stamped) in ended.disk.journal.iter().enumerate() {
        let at = stamped.at_ms - ended.disk.journal[0].at_ms;
        let _ = writeln!(text, "{number:4} {at:6} {:?}", stamped.event);
    }
    text
}

/// No part of the promise is broken.
#[track_caller]
pub(crate) fn keeps(ended: &Ended, which: &str) {
    let broken = check(ended);
    assert!(broken.is_empty(), "{which}: {broken:#?}\n{}", told(ended));
}

/// A story in a calm world, and again with a crash after each of its records: it keeps the promise and ends alike. The calm one's end.
#[track_caller]
pub(crate) fn crashes_after_every_record(story: &Arc<Script>) -> Ended {
    let run = |faults| World::new(1, story.clone(), faults, Planted::default()).run();
    let calm = run(Faults::default());
    keeps(&calm, "a calm world");
    for after in 1..calm.disk.journal.len() {
        let ended = run(Faults {
            crash_after: Some(after),
            ..Faults::default()
        });
        keeps(&ended, &format!("after record {after}"));
        assert_eq!(ended.status, calm.status, "after record {after}");
    }
    calm
}
