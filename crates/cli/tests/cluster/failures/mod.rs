//! Failures that must not lie: each of them before a step, once its pod is ready, during it, between two steps and at the end, on a real cluster.
//!
//! One test a failure; its moments run side by side, each in a namespace of its own. Of each cell are checked: the
//! outcome, what is told, that no line of a step came twice (and, where the run succeeded, that each came), and what is left
//! behind. An outcome is all that the promise allows, and nothing that only a fast machine shows.

mod acts;
mod moment;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::support::Seen;
use crate::world::Cluster;
use moment::{MOMENTS, Moment, Stage};

/// What has to become of a run, on a machine of any speed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    /// It succeeds, as if nothing had been; where no step had begun, also with another pod.
    Green,
    /// It succeeds with another pod: no step had run its first instruction.
    Again,
    /// It fails as a loss of infrastructure, and says it in one of these ways.
    Red(Ways),
    /// The record of the last step was under way: it came, or the run fails and says it in one of these ways.
    Either(Ways),
    /// It fails for a limit of its own, and says it in one of these ways.
    Limited(Ways),
    /// The same, where the kernel takes the whole container and not only the process that goes too far.
    MayBeLimited(Ways),
}

/// Ways in which one loss may be told: by whatever noticed it first. Each is the parts of one line.
type Ways = &'static [&'static [&'static str]];

/// Lines that the two steps of a cell print, once each.
const LINES: [(&str, &str); 4] = [
    ("one", "one up"),
    ("one", "one done"),
    ("two", "two up"),
    ("two", "two done"),
];

/// What a cell left to be looked at.
struct Left<'a> {
    cell: &'a str,
    moment: Moment,
    seen: Seen,
    journal: String,
    /// The stored log of a step.
    log: &'a dyn Fn(&str) -> String,
}

impl Outcome {
    fn check(self, left: &Left) {
        let (cell, seen) = (left.cell, &left.seen);
        for (step, line) in LINES {
            let shown = format!("[s/g/{step}] {line}");
            let times = seen.out.lines().filter(|l| l.ends_with(&shown)).count();
            assert!(times <= 1, "{cell}: `{line}` shown {times} times: {seen:?}");
        }
        if seen.code == Some(0) {
            // What a killed command had stored it may not have shown any more.
            for step in ["one", "two"] {
                let log = (left.log)(step);
                let lines = format!("{step} up\n{step} done\n");
                assert_eq!(log, lines, "{cell}: the log of {step}");
            }
        }
        let again = seen.out.contains("the pod was lost");
        match self {
            Self::Green => {
                seen.says(cell, 0, &[]);
                let spare = left.moment.is_early();
                assert!(spare || !again, "{cell}: one pod is enough:\n{}", seen.out);
            }
            Self::Again => {
                seen.says(cell, 0, &["the pod was lost"]);
            }
            Self::Red(ways) => left.fails(ways, "InfrastructureFailure"),
            Self::Limited(ways) => left.fails(ways, "ResourceLimitsFailure"),
            Self::Either(ways) if seen.code != Some(0) => left.fails(ways, "InfrastructureFailure"),
            Self::MayBeLimited(ways) if seen.code != Some(0) => {
                left.fails(ways, "ResourceLimitsFailure");
            }
            Self::Either(_) | Self::MayBeLimited(_) => {}
        }
    }
}

impl Left<'_> {
    fn fails(&self, ways: Ways, error: &str) {
        let (cell, seen) = (self.cell, &self.seen);
        seen.says(cell, 1, &[]);
        let told = seen.out.lines().any(|line| {
            ways.iter()
                .any(|way| way.iter().all(|part| line.contains(part)))
        });
        assert!(told, "{cell}: none of {ways:?} in:\n{}", seen.out);
        let named = self.journal.contains(error);
        assert!(named, "{cell}: not told as {error}:\n{}", seen.out);
    }
}

/// A row of the table: what happens, and the outcome at each of [`MOMENTS`].
struct Failure {
    name: &'static str,
    /// Brings it about in a run that has reached the moment, and gives what the run said to its end.
    act: fn(Stage) -> Seen,
    outcomes: [Outcome; 5],
    /// It breaks the cluster for everybody: no other test runs meanwhile.
    alone: bool,
    /// After so long without a driver the pod ends by itself, where not after the usual time.
    abandoned: Option<&'static str>,
    /// More of the group's infrastructure `spec`.
    spec: &'static str,
}

impl Failure {
    /// Of a cluster and a pod as they usually are.
    fn of(name: &'static str, act: fn(Stage) -> Seen, outcomes: [Outcome; 5], alone: bool) -> Self {
        Self {
            name,
            act,
            outcomes,
            alone,
            abandoned: None,
            spec: "",
        }
    }
}

/// Longer than a driver needs to come for the first time.
const ABANDONED: &str = "30s";

/// The agent's volume in memory: it is small and may be filled without harm to the node.
const SMALL_ADDON: &str =
    "podSpecOverlay: '{volumes: [{name: addon, emptyDir: {medium: Memory, sizeLimit: 4Mi}}]}'";

/// Runs the row.
fn check(failure: &Failure) {
    if std::env::var_os("STEPYARD_TEST_CLUSTER").is_none() {
        let why = "the cluster is not one of ours, whose parts may be stopped and looked into";
        crate::world::skipped(failure.name, why);
        return;
    }
    let _alone = failure.alone.then(crate::world::alone);
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
        let stage = Stage::reach(&cluster, moment, failure.abandoned, failure.spec);
        let seen = (failure.act)(stage);
        outcome.check(&Left {
            cell: &name,
            moment,
            seen,
            journal: cluster.journal(),
            log: &|step| cluster.home.call(&["logs", step]).out,
        });
        cluster.is_empty();
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
    ($($name:ident: $act:expr, alone $alone:literal, [$before:expr, $ready:expr, $during:expr, $between:expr, $end:expr] $(, $field:ident: $value:expr)?)*) => {$(
        #[test]
        fn $name() {
            let outcomes = [$before, $ready, $during, $between, $end];
            check(&Failure {
                $($field: $value,)?
                ..Failure::of(stringify!($name), $act, outcomes, $alone)
            });
        }
    )*};
}

use Outcome::{Again, Either, Green, Limited, MayBeLimited, Red};

/// A container whose addon does not answer any more is gone, also where its status, which says more, comes late.
const SILENT: &[&str] = &["the container step-", " is gone: "];
const KILLED: Ways = &[
    &["the container step-", "is over: Error (exit code 137)"],
    SILENT,
];
const ALONE: Ways = &[&[
    "the pod harnesscd-g-",
    " ended itself: no driver came for 30 s",
]];
const LOST: Ways = &[&["the pod harnesscd-g-", "its node does not answer"]];
const DELETED: Ways = &[
    &["the pod harnesscd-g-", " was deleted"],
    // By the record of a step that was told to end.
    &["told to end from outside (an eviction or a deletion)"],
    SILENT,
];

const FULL: Ways = &[
    &[
        "the pod harnesscd-g-",
        "Evicted: Usage of EmptyDir volume",
        "exceeds the limit",
    ],
    &["told to end from outside (an eviction or a deletion)"],
    SILENT,
];
const MEMORY: Ways = &[
    &["killed for memory, of which it had "],
    &["the container step-", "is over: OOMKilled"],
];

failures! {
    //                                                 before ready during     between    end
    container_killed: acts::container_killed, alone false, [Again, Again, Red(KILLED), Red(KILLED), Either(KILLED)]
    pod_deleted: acts::pod_deleted, alone false, [Again, Again, Red(DELETED), Red(DELETED), Either(DELETED)]
    pod_evicted: acts::pod_evicted, alone false, [Again, Again, Red(DELETED), Red(DELETED), Either(DELETED)]
    pod_takes_too_much: acts::pod_takes_too_much, alone false, [Again, Again, Red(FULL), Red(FULL), Either(FULL)]
    out_of_memory: acts::out_of_memory, alone false, [MayBeLimited(MEMORY), MayBeLimited(MEMORY), Limited(MEMORY), MayBeLimited(MEMORY), MayBeLimited(MEMORY)]
    log_full: acts::log_full, alone false, [Green, Green, Green, Green, Green], spec: SMALL_ADDON
    clock_skewed: acts::clock_skewed, alone false, [Green, Green, Green, Green, Green]
    lite_engine_killed: acts::lite_engine_killed, alone false, [Green, Green, Green, Green, Green]
    lite_engine_killed_then_cut: acts::lite_engine_killed_then_cut, alone false, [Green, Green, Green, Green, Green]
    lite_engine_killed_then_frozen: acts::lite_engine_killed_then_frozen, alone false, [Green, Green, Green, Green, Green]
    lite_engine_killed_then_cut_long: acts::lite_engine_killed_then_cut_long, alone false, [Green, Green, Green, Green, Green]
    lite_engine_killed_then_driver: acts::lite_engine_killed_then_driver, alone false, [Green, Green, Green, Green, Green]
    lite_engine_killed_then_container: acts::lite_engine_killed_then_container, alone false, [Again, Again, Red(KILLED), Red(KILLED), Either(KILLED)]
    driver_killed: acts::driver_killed, alone false, [Green, Green, Green, Green, Green]
    driver_gone: acts::driver_gone, alone false, [Again, Again, Red(ALONE), Red(ALONE), Red(ALONE)], abandoned: Some(ABANDONED)
    connection_cut: acts::connection_cut, alone false, [Green, Green, Green, Green, Green]
    connection_frozen: acts::connection_frozen, alone false, [Green, Green, Green, Green, Green]
    connection_slow: acts::connection_slow, alone false, [Green, Green, Green, Green, Green]
    node_gone: acts::node_gone, alone true, [Again, Again, Red(LOST), Red(LOST), Either(LOST)]
    api_server_down: acts::api_server_down, alone true, [Green, Green, Green, Green, Green]
}
