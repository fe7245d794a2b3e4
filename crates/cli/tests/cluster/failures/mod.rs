//! Failures that must not lie: each of them before a step, during it, between two steps and at the end, on a real cluster.
//!
//! One test a failure; its four moments run side by side, each in a namespace of its own. Of each cell are checked: the
//! outcome, what is told, that no line of a step came twice (and, where the run succeeded, that each came), and what is left behind.

mod acts;
mod moment;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::support::Seen;
use crate::world::Cluster;
use moment::{MOMENTS, Moment, Stage};

/// What has to become of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    /// It succeeds, as if nothing had been.
    Green,
    /// It succeeds with another pod: no step had run its first instruction.
    Again,
    /// It fails as a loss of infrastructure, and says all of this.
    Red(&'static [&'static str]),
    /// The record of the last step was under way: it came, or the run fails and says all of this.
    Either(&'static [&'static str]),
}

/// Lines that the two steps of a cell print, once each.
const LINES: [&str; 4] = [
    "[s/g/one] one up",
    "[s/g/one] one done",
    "[s/g/two] two up",
    "[s/g/two] two done",
];

impl Outcome {
    /// `journal` is that of the run, whose events name the sort of a failure.
    fn check(self, cell: &str, seen: &Seen, journal: &str) {
        for line in LINES {
            let times = seen.out.lines().filter(|l| l.ends_with(line)).count();
            assert!(
                times <= 1,
                "{cell}: `{line}` came {times} times:\n{}",
                seen.out
            );
            if seen.code == Some(0) {
                assert_eq!(times, 1, "{cell}: `{line}` is missing:\n{}", seen.out);
            }
        }
        let pods = seen.times("Successfully assigned ");
        let fails = |parts: &[&str]| {
            seen.says(cell, 1, parts);
            let lost = journal.contains("InfrastructureFailure");
            assert!(lost, "{cell}: not told as a loss:\n{}", seen.out);
        };
        match self {
            Self::Green => {
                seen.says(cell, 0, &[]);
                assert!(pods <= 1, "{cell}: one pod is enough:\n{}", seen.out);
            }
            Self::Again => {
                seen.says(cell, 0, &["lost"]);
            }
            Self::Red(parts) => fails(parts),
            Self::Either(parts) => {
                if seen.code != Some(0) {
                    fails(parts);
                }
            }
        }
    }
}

/// A row of the table: what happens, and the outcome at each of [`MOMENTS`].
struct Failure {
    name: &'static str,
    /// Brings it about in a run that has reached the moment, and gives what the run said to its end.
    act: fn(Stage) -> Seen,
    outcomes: [Outcome; 4],
    /// It breaks the cluster for everybody: no other test runs meanwhile.
    alone: bool,
}

/// After so long without a driver the pod of a cell ends by itself: longer than any cell leaves it alone, but those that wait for it.
const ABANDONED: (&str, &str) = ("2m", "20s");

/// Runs the row.
fn check(failure: &Failure) {
    if std::env::var_os("STEPYARD_TEST_CLUSTER").is_none() {
        let why = "the cluster is not one of ours, whose parts may be stopped and looked into";
        crate::world::skipped(failure.name, why);
        return;
    }
    let _alone = failure.alone.then(crate::world::alone);
    let abandoned = match failure.name {
        "driver_gone" => ABANDONED.1,
        _ => ABANDONED.0,
    };
    let cell = |moment: Moment, outcome: Outcome| {
        let name = format!("{} {moment}", failure.name);
        let space = name.replace([' ', '_'], "-");
        let made = if failure.alone {
            Cluster::within(&space)
        } else {
            Cluster::new(&space)
        };
        let Some(cluster) = made else {
            return;
        };
        let began = Instant::now();
        let stage = Stage::reach(&cluster, moment, abandoned);
        let seen = (failure.act)(stage);
        outcome.check(&name, &seen, &cluster.journal());
        let left = cluster.left();
        assert_eq!(left, Vec::<String>::new(), "{name}: something is left");
        println!(
            "{name}: {outcome:?} in {:.1} s",
            began.elapsed().as_secs_f32()
        );
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let cells = MOMENTS.into_iter().zip(failure.outcomes);
        let cells: Vec<_> = cells
            .map(|(moment, outcome)| {
                scope.spawn(move || {
                    let done = catch_unwind(AssertUnwindSafe(|| cell(moment, outcome)));
                    done.err().map(|_| format!("{} {moment}", failure.name))
                })
            })
            .collect();
        let ended = cells.into_iter().filter_map(|c| c.join().expect("caught"));
        ended.collect()
    });
    assert!(wrong.is_empty(), "not as expected: {}", wrong.join(", "));
}

macro_rules! failures {
    ($($name:ident: $act:expr, alone $alone:literal, [$before:expr, $during:expr, $between:expr, $end:expr])*) => {$(
        #[test]
        fn $name() {
            check(&Failure {
                name: stringify!($name),
                act: $act,
                outcomes: [$before, $during, $between, $end],
                alone: $alone,
            });
        }
    )*};
}

use Outcome::{Again, Either, Green, Red};

const KILLED: &[&str] = &["is over: Error (exit code 137)"];
const OVER: &[&str] = &["the pod harnesscd-g-", " is over"];
const LOST: &[&str] = &["the pod harnesscd-g-", "its node does not answer"];
/// By the step's record, which says `an eviction or a deletion`, where that came before the pod's end, else by the pod's.
const ENDED: &[&str] = &["delet"];
const DELETED: &[&str] = &["the pod harnesscd-g-", " was deleted"];

failures! {
    //                                                 before during     between    end
    container_killed: acts::container_killed, alone false, [Again, Red(KILLED), Red(KILLED), Either(KILLED)]
    pod_deleted: acts::pod_deleted, alone false, [Again, Red(ENDED), Red(DELETED), Either(DELETED)]
    pod_evicted: acts::pod_evicted, alone false, [Again, Red(ENDED), Red(DELETED), Either(DELETED)]
    lite_engine_killed: acts::lite_engine_killed, alone false, [Green, Green, Green, Green]
    driver_killed: acts::driver_killed, alone false, [Green, Green, Green, Green]
    driver_gone: acts::driver_gone, alone false, [Again, Red(OVER), Red(OVER), Red(OVER)]
    connection_cut: acts::connection_cut, alone false, [Green, Green, Green, Green]
    connection_frozen: acts::connection_frozen, alone false, [Green, Green, Green, Green]
    connection_slow: acts::connection_slow, alone false, [Green, Green, Green, Green]
    node_gone: acts::node_gone, alone true, [Again, Red(LOST), Red(LOST), Either(LOST)]
    api_server_down: acts::api_server_down, alone true, [Green, Green, Green, Green]
}
