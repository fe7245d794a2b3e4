//! What a retry takes over, by stories of a calm world: which nodes are carried, and what runs again.

mod calm;

use engine::carry::{self, Carry, Refusal};
use engine::event::{Event, Status};
use engine::{State, Wishes, evolve};
use pipeline::plan::{Action, Errors};

use calm::{
    End, Ran, Tree, bad, good, group, looped, parallel, retry, run, run_wishing, stage, step,
};

fn carrying(carry: Carry) -> Wishes {
    Wishes {
        carried: Some(Box::new(carry)),
        ..Wishes::default()
    }
}

/// Runs `first`, then retries it from a node as `second`.
fn retried(first: Vec<Tree>, from: Option<&str>, second: Vec<Tree>) -> Ran {
    let before = run(first);
    let carry = if let Some(from) = from {
        before.carry(from).expect("it may be retried from there")
    } else {
        let from = carry::failed(&before.state).expect("a stage");
        before.carry(&from.0).expect("it may be retried")
    };
    let ran = run_wishing(second, &[], carrying(carry));
    // Whoever takes it over anywhere sees the same.
    let mut folded = State::default();
    for stamped in &ran.journal {
        let text = serde_json::to_string(stamped).expect("JSON");
        let read = serde_json::from_str(&text).expect("an event");
        evolve(&mut folded, &read).expect("a legal event");
    }
    assert_eq!(folded, ran.state);
    ran
}

/// Steps in two groups of a stage; `bad` is the one that fails.
fn two_groups(name: &str, bad_one: &str) -> Tree {
    let own = |step: &str| {
        let name = format!("{name}{step}");
        if step == bad_one {
            bad(&name)
        } else {
            good(&name)
        }
    };
    let first = format!("{name}g");
    let second = format!("{name}h");
    stage(
        name,
        vec![
            group(&first, vec![own("1"), own("2")]),
            group(&second, vec![own("3"), own("4"), own("5")]),
        ],
    )
}

#[test]
fn the_failed_stage_runs_again_as_a_whole() {
    let first = vec![
        two_groups("a", ""),
        two_groups("b", "4"),
        two_groups("c", ""),
    ];
    let second = vec![
        two_groups("a", ""),
        two_groups("b", ""),
        two_groups("c", ""),
    ];
    let ran = retried(first, None, second);
    assert_eq!(ran.carried(), ["a"]);
    assert_eq!(ran.began().join(" "), "b1 b2 b3 b4 b5 c1 c2 c3 c4 c5");
    assert_eq!(
        (ran.status("a"), ran.status("p")),
        (Status::Success, Status::Success)
    );
    assert_eq!(ran.pods(), 4);
}

#[test]
fn from_a_group_or_a_step_the_rest_of_its_stage_is_carried() {
    for (from, carried, began) in [
        ("bh", "a b.bg", "b3 b4 b5 c1 c2 c3 c4 c5"),
        ("b4", "a b.bg b.bh.b3", "b4 b5 c1 c2 c3 c4 c5"),
        ("b2", "a b.bg.b1", "b2 b3 b4 b5 c1 c2 c3 c4 c5"),
        ("a", "", "a1 a2 a3 a4 a5 b1 b2 b3 b4 b5 c1 c2 c3 c4 c5"),
    ] {
        let first = vec![
            two_groups("a", ""),
            two_groups("b", "4"),
            two_groups("c", ""),
        ];
        let second = vec![
            two_groups("a", ""),
            two_groups("b", ""),
            two_groups("c", ""),
        ];
        let ran = retried(first, Some(from), second);
        assert_eq!(ran.carried().join(" "), carried, "{from}");
        assert_eq!(ran.began().join(" "), began, "{from}");
        assert_eq!(ran.status("p"), Status::Success);
    }
}

#[test]
fn what_comes_after_a_failure_is_no_beginning() {
    let ran = run(vec![two_groups("a", "4"), two_groups("b", "")]);
    let behind = |id: &str| Err(Refusal::Behind(id.into()));
    assert_eq!(ran.carry("a5"), behind("p.a.ah.a4"));
    assert_eq!(ran.carry("p.b"), behind("p.a"));
    assert_eq!(ran.carry("nowhere"), Err(Refusal::Unknown));
}

#[test]
fn side_by_side_what_succeeded_is_carried() {
    let stages = |c: fn(&str) -> Tree| {
        vec![
            parallel(
                "x",
                vec![
                    stage("a", vec![group("ag", vec![good("a1")])]),
                    looped(
                        "b",
                        vec![
                            stage("b0", vec![group("b0g", vec![good("b01")])]),
                            stage("b1", vec![group("b1g", vec![c("b11")])]),
                        ],
                    ),
                    stage("c", vec![group("cg", vec![c("c1")])]),
                ],
            ),
            stage("d", vec![group("dg", vec![good("d1")])]),
        ]
    };
    let ran = retried(stages(bad), None, stages(good));
    assert_eq!(ran.carried(), ["x.a", "x.b.b0"]);
    let mut began = ran.began();
    began.sort();
    assert_eq!(began, ["b11", "c1", "d1"]);
}

#[test]
fn what_lived_in_a_pod_runs_again_with_it() {
    let stages = |last: fn(&str) -> Tree| {
        let nested = vec![good("clone").of_type("GitClone"), good("make")];
        let first = vec![
            step("db", &[End::Runs]).of_type("Background"),
            good("a"),
            parallel("both", vec![group_in("n", nested), good("b")]),
            good("c"),
            last("d"),
            good("e"),
        ];
        vec![stage("s", vec![group("g", first)])]
    };
    let ran = retried(stages(bad), Some("d"), stages(good));
    assert_eq!(
        ran.carried().join(" "),
        "s.g.a s.g.both.b s.g.both.n.make s.g.c"
    );
    assert_eq!(ran.began(), ["db", "clone", "d", "e"]);
    assert_eq!(ran.status("p"), Status::Success);
}

/// A group in the pod of another.
fn group_in(name: &str, children: Vec<Tree>) -> Tree {
    let mut tree = stage(name, children);
    tree.is_group();
    tree
}

#[test]
fn what_was_rolled_back_is_done_again() {
    let stages = |last: Tree| {
        vec![
            stage("a", vec![group("ag", vec![good("a1")])]).undone_by(vec![]),
            stage("b", vec![group("bg", vec![good("b1"), last])]).undone_by(vec![]),
        ]
    };
    let ended = |action| stages(bad("b2").on(Errors::All, action));
    // A stage's rollback leaves nothing of that stage; the pipeline's nothing at all.
    let ran = retried(ended(Action::StageRollback), Some("b2"), stages(good("b2")));
    assert_eq!(ran.carried(), ["a"]);
    assert_eq!(ran.began(), ["b1", "b2"]);
    let ran = retried(
        ended(Action::PipelineRollback),
        Some("b2"),
        stages(good("b2")),
    );
    assert_eq!(ran.carried(), [""; 0]);
    assert_eq!(ran.began(), ["a1", "b1", "b2"]);
}

#[test]
fn a_pipeline_rollback_undoes_what_was_carried() {
    let stages = |action: Action| {
        let undo = |name: &str| vec![group(name, vec![good(&format!("{name}1"))])];
        vec![
            stage("a", vec![group("ag", vec![good("a1")])]).undone_by(undo("ua")),
            stage(
                "b",
                vec![group("bg", vec![bad("b1").on(Errors::All, action)])],
            )
            .undone_by(undo("ub")),
        ]
    };
    let first = stages(Action::MarkAsFailure);
    let ran = retried(first, None, stages(Action::PipelineRollback));
    assert_eq!(ran.carried(), ["a"]);
    assert_eq!(ran.began(), ["b1", "ub1", "ua1"]);
}

#[test]
fn a_group_that_begins_again_begins_whole() {
    let group_of = |ends: &[End]| {
        let again = Action::RetryStepGroup(retry(1, &[0]));
        let steps = vec![good("a"), step("b", ends).on(Errors::All, again)];
        vec![stage("s", vec![group("g", steps)])]
    };
    let fails = [End::Code(1)];
    let ran = retried(group_of(&fails), Some("b"), group_of(&fails));
    assert_eq!(ran.carried(), ["s.g.a"]);
    assert_eq!(ran.began(), ["b", "a", "b#1"]);
}

#[test]
fn a_retry_of_a_retry_knows_where_all_of_it_ran() {
    let stages = |bad_one: &str| vec![two_groups("a", ""), two_groups("b", bad_one)];
    let mut before = run(stages("2"));
    before.state.run = "first".to_owned();
    let carry = before.carry("b").expect("it may be retried");
    let again = run_wishing(stages("4"), &[], carrying(carry));
    let carry = again.carry("bh").expect("it may be retried");
    assert_eq!(carry.run, "r");
    assert_eq!(carry.nodes[&"p.a.ag.a1".into()].run, "first");
    assert_eq!(carry.nodes[&"p.b.bg.b1".into()].run, "r");
    let last = run_wishing(stages(""), &[], carrying(carry));
    assert_eq!(last.carried(), ["a", "b.bg"]);
    let from = last.journal.iter().filter_map(|own| match &own.event {
        Event::NodeCarried { run, .. } => Some(run.as_str()),
        _ => None,
    });
    assert_eq!(from.collect::<Vec<_>>(), ["first", "r"]);
}

/// They were left out because of the failure that the retry mends.
#[test]
fn iterations_that_a_failure_kept_in_their_queue_run() {
    let stages = |second: fn(&str) -> Tree| {
        let steps = vec![good("l_0"), second("l_1"), good("l_2")];
        let loops = looped("l", steps).limit(1).skip_queued();
        vec![stage("s", vec![group("g", vec![loops])])]
    };
    for from in [None, Some("l_1"), Some("s")] {
        let ran = retried(stages(bad), from, stages(good));
        assert!(ran.began().contains(&"l_2".to_owned()), "{from:?}");
        assert_eq!(ran.status("p"), Status::Success);
    }
}
