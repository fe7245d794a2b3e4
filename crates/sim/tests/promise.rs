//! The promise, under every seed; and the proof that it can fail.

mod support;

use std::sync::Arc;

use driver::core::Planted;
use driver::fake::{Script, group, node, parallel, step};
use engine::carry::{self, Carry};
use engine::event::{ErrorKind, Event};
use engine::facts::Facts;
use engine::{State, Wishes};
use pipeline::plan::{Action, Errors, Kind, NodeId, Order, Retry, Strategy, WhenStatus};
use sim::check::check;
use sim::random::Random;
use sim::{Ended, Faults, World};

use support::{crashes_after_every_record, keeps, seeds, told};

/// Seeds of one `cargo test`.
const SEEDS: u64 = 20_000;

fn world(seed: u64, planted: Planted) -> Ended {
    let mut random = Random::new(seed);
    let script = Arc::new(sim::story::random(&mut random));
    let faults = Faults::random(&mut random);
    let wishes = Wishes {
        keep_ms: random.chance(200).then(|| 1 + random.below(400)),
        ..Wishes::default()
    };
    World::new(random.bits(), script, faults, planted)
        .wishing(wishes)
        .run()
}

/// What is left to do of a run that did not succeed; none where it did.
fn carried(ended: &Ended, random: &mut Random) -> Option<Carry> {
    let (mut state, mut facts) = (State::default(), Facts::default());
    for stamped in &ended.disk.journal {
        engine::evolve(&mut state, stamped).expect("it was folded before");
        facts.apply(stamped);
    }
    if ended.status?.is_positive() {
        return None;
    }
    // By default from the stage that failed; or from anywhere, where that can be.
    let from = carry::failed(&state)?;
    let all: Vec<_> = state.nodes.keys().collect();
    let other = all[random.below(all.len() as u64) as usize];
    let other = carry::plan(&state, &facts, other).ok();
    let chosen = other.filter(|_| random.chance(700));
    chosen.or_else(|| carry::plan(&state, &facts, &from).ok())
}

#[test]
fn a_retry_keeps_the_promise_and_starts_nothing_that_was_carried() {
    let (mut retried, mut found) = (0, 0);
    for seed in seeds(SEEDS).take(5_000) {
        let mut random = Random::new(seed ^ 0x5eed);
        let Some(carry) = carried(&world(seed, Planted::default()), &mut random) else {
            continue;
        };
        let mut script = Random::new(seed);
        let script = Arc::new(sim::story::random(&mut script));
        let faults = Faults::random(&mut random);
        let wishes = Wishes {
            carried: Some(Box::new(carry.clone())),
            ..Wishes::default()
        };
        let ended = World::new(random.bits(), script, faults, Planted::default())
            .wishing(wishes)
            .run();
        keeps(&ended, &format!("seed {seed}"));
        retried += 1;
        // A group that begins again begins whole: what is in it is not carried any more.
        let whole = ended
            .disk
            .journal
            .iter()
            .any(|own| matches!(own.event, Event::GroupRetried { .. }));
        for stamped in &ended.disk.journal {
            match &stamped.event {
                Event::NodeCarried { node, .. } => {
                    found += 1;
                    assert!(carry.nodes.contains_key(node), "seed {seed}: {node}");
                }
                Event::NodeStarted { node } if !whole => assert!(
                    !carry.nodes.contains_key(node),
                    "seed {seed}: {node} runs again\n{}",
                    told(&ended)
                ),
                _ => {}
            }
        }
    }
    assert!(
        retried > 1000 && found > 500,
        "{retried} retries carried {found} nodes"
    );
}

#[test]
fn the_promise_holds_under_every_seed() {
    for seed in seeds(SEEDS) {
        let ended = world(seed, Planted::default());
        keeps(&ended, &format!("seed {seed}"));
    }
}

#[test]
fn a_crash_after_every_record_changes_no_outcome() {
    let calm = crashes_after_every_record(&story());
    assert!(calm.disk.journal.len() > 30);
}

/// Two groups, with something of every sort.
fn story() -> Arc<Script> {
    Arc::new(Script::new(vec![
        group(
            "g",
            vec![
                step("db", "echo:up serve").background(),
                step("a", "echo:a out:V=1"),
                parallel(
                    "p",
                    vec![step("b", "sleep:30 echo:b"), step("c", "flood:5000")],
                ),
                step("d", "echo:{a.V}").reports("*.xml"),
            ],
        ),
        group("h", vec![step("e", "exit:1"), step("f", "echo:never")]),
    ]))
}

/// Where nothing goes wrong, nothing waits for a sign of life or for a deadline: what a message could wake goes on with it.
#[test]
fn a_run_without_faults_never_stands_still() {
    /// Longer than any step of a story works, any retry waits, or any deadline of one is.
    const LONG_MS: u64 = 2_000;
    let turns = (0..20).map(|n| step(&format!("x{n}"), "echo:fine").in_container("step-x"));
    let many = (0..20).map(|n| step(&format!("x{n}"), "echo:fine"));
    let of = |steps| Arc::new(Script::new(vec![group("g", steps)]));
    let (turns, many) = (of(turns.collect()), of(many.collect()));
    for seed in 0..1_000 {
        let script = match seed {
            0..20 => turns.clone(),
            20..40 => many.clone(),
            _ => Arc::new(sim::story::random(&mut Random::new(seed))),
        };
        let planted = Planted::default();
        let ended = World::new(seed, script, Faults::default(), planted).run();
        keeps(&ended, &format!("seed {seed}"));
        let times: Vec<u64> = ended.disk.journal.iter().map(|own| own.at_ms).collect();
        let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(longest < Some(LONG_MS), "seed {seed}: {}", told(&ended));
    }
}

#[test]
fn a_connection_that_is_gone_on_one_side_changes_no_outcome() {
    let calm = World::new(1, story(), Faults::default(), Planted::default()).run();
    for seed in 0..200 {
        let faults = Faults {
            half_open: 60,
            half_opens: 1,
            ..Faults::default()
        };
        let ended = World::new(seed, story(), faults, Planted::default()).run();
        keeps(&ended, &format!("seed {seed}"));
        assert_eq!(ended.status, calm.status, "seed {seed}");
    }
}

#[test]
fn a_killed_addon_loses_its_attempt_and_no_other() {
    let (mut found, mut early) = (0, 0);
    for seed in 0..200 {
        let faults = Faults {
            addon: 60,
            addons: 1,
            ..Faults::default()
        };
        let ended = World::new(seed, story(), faults, Planted::default()).run();
        keeps(&ended, &format!("seed {seed}"));
        let lost = ended.disk.journal.iter().filter_map(|s| match &s.event {
            Event::AttemptLost { reason, .. } => Some(reason),
            _ => None,
        });
        let lost: Vec<_> = lost.collect();
        assert!(lost.len() <= 1, "seed {seed}: {lost:#?}");
        // Before any step has run it costs a pod and nothing else.
        let mut replaced = ended.disk.journal.iter().filter_map(|s| match &s.event {
            Event::PodLost { group, .. } => Some(group),
            _ => None,
        });
        if let Some(group) = replaced.next() {
            early += 1;
            assert!(lost.is_empty(), "seed {seed}: {}", told(&ended));
            let initialized =
                ended.disk.journal.iter().any(
                    |s| matches!(&s.event, Event::PodReady { group: ready } if ready == group),
                );
            assert!(initialized, "seed {seed}: {}", told(&ended));
        }
        for reason in lost {
            found += 1;
            assert_eq!(reason.error, ErrorKind::InfrastructureFailure);
        }
    }
    assert!(found > 10, "{found} attempts were lost");
    assert!(early > 3, "{early} pods were replaced");
}

#[test]
fn a_crash_after_every_record_changes_nothing_that_is_decided() {
    let script = || {
        let on = |action| {
            vec![Strategy {
                errors: Errors::All,
                action,
            }]
        };
        let retry = |count| Retry {
            count,
            intervals_ms: vec![5, 20],
            condition: Some("yes".to_owned()),
            then: None,
        };
        let mut looped = node(
            "l",
            Kind::Loop,
            Order::Parallel,
            vec![
                step("l_0", "echo:0"),
                step("l_1", "exit:1").failing(on(Action::Ignore)),
                step("l_2", "echo:2"),
            ],
        );
        looped.node.limit = Some(1);
        let first = node(
            "one",
            Kind::Stage("Custom".to_owned()),
            Order::Sequence,
            vec![
                group(
                    "g",
                    vec![
                        step("a", "out:V=yes"),
                        step("b", "exit:1").failing(on(Action::Retry(retry(2)))),
                        step("c", "echo:c").when(WhenStatus::Failure, Some("{a.V}")),
                    ],
                )
                .failing(on(Action::MarkAsSuccess)),
                group("h", vec![looped, step("d", "echo:d")]),
            ],
        )
        .undone_by(vec![group("undo1", vec![step("u", "echo:u")])]);
        let second = node(
            "two",
            Kind::Stage("Custom".to_owned()),
            Order::Sequence,
            vec![
                group("i", vec![step("e", "exit:1")]).failing(on(Action::RetryStepGroup(Retry {
                    then: Some(Box::new(Action::ManualIntervention {
                        timeout_ms: 50,
                        then: Box::new(Action::PipelineRollback),
                    })),
                    ..retry(1)
                }))),
            ],
        )
        .when(WhenStatus::All, None)
        .undone_by(vec![group("undo2", vec![step("v", "echo:v")])]);
        Arc::new(Script::new(vec![first, second]))
    };
    let calm = World::new(1, script(), Faults::default(), Planted::default()).run();
    assert!(check(&calm).is_empty(), "{}", told(&calm));
    let decided = |ended: &Ended| {
        let all = ended.disk.journal.iter().filter_map(|stamped| {
            let name = |id: &NodeId| id.0.clone();
            Some(match &stamped.event {
                Event::NodeFinished { node, status, .. } => format!("{} {status:?}", name(node)),
                Event::AttemptStarting { step, attempt } => format!("{} {attempt}", name(step)),
                Event::GroupRetried { group } => format!("again {}", name(group)),
                Event::RollbackStarted { of, .. } => format!("undo {}", name(of)),
                Event::Judged { node, answer } => format!("{} {answer:?}", name(node)),
                _ => return None,
            })
        });
        all.collect::<Vec<_>>()
    };
    let wanted = decided(&calm);
    let undone: Vec<_> = wanted
        .iter()
        .filter(|own| own.starts_with("undo"))
        .collect();
    assert_eq!(undone, ["undo pipeline.two", "undo pipeline.one"]);
    for after in 1..calm.disk.journal.len() {
        let faults = Faults {
            crash_after: Some(after),
            ..Faults::default()
        };
        let ended = World::new(1, script(), faults, Planted::default()).run();
        keeps(&ended, &format!("after record {after}"));
        assert_eq!(
            decided(&ended),
            wanted,
            "after record {after}\n{}",
            told(&ended)
        );
    }
}

/// The first seed that finds a planted bug, and what it says.
fn finds(planted: Planted) -> Option<(u64, Vec<String>)> {
    (0..SEEDS).find_map(|seed| {
        let broken = check(&world(seed, planted));
        (!broken.is_empty()).then_some((seed, broken))
    })
}

#[test]
fn five_planted_bugs_are_each_found() {
    let none = Planted::default();
    for (name, planted) in [
        (
            "a result applied twice",
            Planted {
                result_twice: true,
                ..none
            },
        ),
        (
            "an acknowledgement before the commit",
            Planted {
                settled_before_commit: true,
                ..none
            },
        ),
        (
            "a lost line",
            Planted {
                lost_line: true,
                ..none
            },
        ),
        (
            "an old epoch accepted",
            Planted {
                old_epoch: true,
                ..none
            },
        ),
        (
            "a step started twice",
            Planted {
                start_twice: true,
                ..none
            },
        ),
    ] {
        let found = finds(planted);
        assert!(found.is_some(), "{name} was not found");
        println!("{name}: {found:?}");
    }
}
