//! Workspaces are handed over whole or not at all, whatever fails on the way.

mod support;

use std::sync::Arc;

use driver::core::Planted;
use driver::fake::{Script, group, node, step};
use engine::event::{Event, Status};
use pipeline::plan::{Kind, Order};
use sim::random::Random;
use sim::{Ended, Faults, World};

use support::{crashes_after_every_record, keeps, seeds};

/// Seeds of one `cargo test`.
const SEEDS: u64 = 1_000;

fn count(ended: &Ended, of: impl Fn(&Event) -> bool) -> usize {
    let all = ended.disk.journal.iter();
    all.filter(|stamped| of(&stamped.event)).count()
}

#[test]
fn they_are_whole_under_every_seed() {
    let (mut kept, mut given, mut lost, mut missing) = (0, 0, 0, 0);
    for seed in seeds(SEEDS) {
        let mut random = Random::new(seed ^ 0x7a7);
        let script = Arc::new(sim::story::handing_over(&mut random));
        let faults = Faults::random(&mut random);
        let ended = World::new(random.bits(), script, faults, Planted::default()).run();
        keeps(&ended, &format!("seed {seed}"));
        kept += count(&ended, |own| matches!(own, Event::WorkspaceKept { .. }));
        given += count(&ended, |own| matches!(own, Event::WorkspaceGiven { .. }));
        lost += count(&ended, |own| matches!(own, Event::WorkspaceLost { .. }));
        missing += count(
            &ended,
            |own| matches!(own, Event::Failed { failure, .. } if failure.message.contains("cannot be taken over")),
        );
    }
    println!("kept {kept}, given {given}, lost {lost}, missing {missing}");
    assert!(kept > 100 && given > 100 && missing > 0);
}

fn story() -> Arc<Script> {
    let big = format!("put:{}", "y".repeat(150_000));
    let children = vec![
        group("giver", vec![step("a", "put:one"), step("b", &big)]).handing_over(),
        group("taker", vec![step("c", "show")]).taking_over("pipeline.s.giver"),
        group("other", vec![step("d", "show")]).taking_over("pipeline.s.giver"),
    ];
    let kind = Kind::Stage("Custom".to_owned());
    Arc::new(Script::new(vec![node(
        "s",
        kind,
        Order::Sequence,
        children,
    )]))
}

#[test]
fn a_crash_after_every_record_changes_no_outcome() {
    let calm = crashes_after_every_record(&story());
    assert_eq!(calm.status, Some(Status::Success));
}

#[test]
fn a_crash_or_a_cut_while_one_is_on_its_way_changes_no_outcome() {
    let mut begun_anew = 0;
    for seed in 0..400 {
        let faults = Faults {
            crash_anywhere: 20,
            crashes: 4,
            cut: 20,
            slow: 20,
            ..Faults::default()
        };
        let ended = World::new(seed, story(), faults, Planted::default()).run();
        keeps(&ended, &format!("seed {seed}"));
        assert_eq!(ended.status, Some(Status::Success), "seed {seed}");
        begun_anew += count(&ended, |own| matches!(own, Event::Adopted { .. })) - 1;
    }
    assert!(begun_anew > 100, "{begun_anew} drivers took over");
}
