//! Every row of `reference/behaviour.md` §9 and §10, as a story of a calm world.

mod calm;

use engine::event::{ErrorKind, Intervention, Status};
use pipeline::plan::{Action, Errors, WhenStatus};

use calm::{
    End, Ran, Tree, bad, good, group, initialized, looped, parallel, retry, run, run_asking, stage,
    step,
};

const ALL: Errors = Errors::All;

fn these(error: ErrorKind) -> Errors {
    Errors::These(vec![error])
}

#[test]
fn ignore_goes_on_and_the_stage_succeeds() {
    let ran = run(vec![stage(
        "s",
        vec![group(
            "g",
            vec![bad("a").on(ALL, Action::Ignore), good("b")],
        )],
    )]);
    assert_eq!(ran.status("a"), Status::IgnoreFailed);
    assert_eq!(ran.began(), ["a", "b"]);
    assert_eq!(
        (ran.status("s"), ran.status("p")),
        (Status::Success, Status::Success)
    );
}

#[test]
fn mark_as_success_is_a_success_that_says_so() {
    let ran = run(vec![stage(
        "s",
        vec![group(
            "g",
            vec![bad("a").on(ALL, Action::MarkAsSuccess), good("b")],
        )],
    )]);
    assert_eq!(
        (ran.status("a"), ran.status("p")),
        (Status::Success, Status::Success)
    );
    assert_eq!(ran.why("a"), "marked as success: exit code 1");
    assert_eq!(ran.began(), ["a", "b"]);
}

#[test]
fn mark_as_failure_leaves_the_rest_to_its_when() {
    let ran = run(vec![stage(
        "s",
        vec![group(
            "g",
            vec![
                bad("a").on(ALL, Action::MarkAsFailure),
                good("b"),
                good("c").when(WhenStatus::All, None),
                good("d").when(WhenStatus::Failure, None),
                good("e").when(WhenStatus::Success, None),
            ],
        )],
    )]);
    assert_eq!(ran.began(), ["a", "c", "d"]);
    assert_eq!(
        (ran.status("b"), ran.status("e")),
        (Status::Skipped, Status::Skipped)
    );
    assert_eq!(
        (ran.status("g"), ran.status("p")),
        (Status::Failed, Status::Failed)
    );
    assert_eq!(ran.why("b"), "not started: exit code 1");
}

#[test]
fn abort_ends_the_pipeline_without_rollback() {
    let ran = run(vec![
        stage(
            "s",
            vec![group(
                "g",
                vec![bad("a"), good("b").when(WhenStatus::All, None)],
            )],
        )
        .on(ALL, Action::Abort)
        .undone_by(vec![group("undo", vec![good("u")])]),
        stage("t", vec![group("h", vec![good("c")])]).when(WhenStatus::All, None),
    ]);
    assert_eq!(ran.began(), ["a"]);
    assert_eq!(ran.status("p"), Status::Aborted);
    assert_eq!(
        (ran.status("b"), ran.status("t")),
        (Status::Skipped, Status::Skipped)
    );
}

#[test]
fn retry_waits_as_its_intervals_say_and_then_does_what_follows() {
    let own = |count, intervals: &[u64]| Action::Retry(retry(count, intervals));
    let ran = run(vec![stage(
        "s",
        vec![group(
            "g",
            vec![
                step("a", &[End::Code(1), End::Code(1), End::Code(0)]).on(ALL, own(3, &[10, 20])),
                good("b"),
            ],
        )],
    )]);
    assert_eq!(ran.began(), ["a", "a#1", "a#2", "b"]);
    assert_eq!(ran.waits(".a"), [10, 20]);
    assert_eq!((ran.status("a"), ran.pods()), (Status::Success, 1));
    // Beyond the list the last one holds; without any there is no wait.
    let ran = run(vec![stage(
        "s",
        vec![group("g", vec![bad("a").on(ALL, own(3, &[10, 20]))])],
    )]);
    assert_eq!(ran.waits(".a"), [10, 20, 20]);
    assert_eq!(ran.status("a"), Status::Failed);
    let ran = run(vec![stage(
        "s",
        vec![group("g", vec![bad("a").on(ALL, own(2, &[]))])],
    )]);
    assert_eq!(ran.waits(".a"), [0, 0]);
    // When nothing is left of it, `onRetryFailure` decides.
    let mut then = retry(1, &[5]);
    then.then = Some(Box::new(Action::Ignore));
    let ran = run(vec![stage(
        "s",
        vec![group(
            "g",
            vec![bad("a").on(ALL, Action::Retry(then)), good("b")],
        )],
    )]);
    assert_eq!(ran.began(), ["a", "a#1", "b"]);
    assert_eq!(
        (ran.status("a"), ran.status("p")),
        (Status::IgnoreFailed, Status::Success)
    );
}

#[test]
fn a_retry_has_a_condition() {
    for (condition, began, status) in [
        ("yes", vec!["a", "a#1", "a#2"], Status::Failed),
        ("no", vec!["a"], Status::Failed),
        ("broken", vec!["a"], Status::Failed),
    ] {
        let mut own = retry(2, &[1]);
        own.condition = Some(condition.to_owned());
        let ran = run(vec![stage(
            "s",
            vec![group("g", vec![bad("a").on(ALL, Action::Retry(own))])],
        )]);
        assert_eq!(ran.began(), began, "{condition}");
        assert_eq!(ran.status("a"), status);
    }
}

#[test]
fn the_first_entry_that_holds_at_the_innermost_level_wins() {
    let timeout = || these(ErrorKind::Timeout);
    let unknown = || these(ErrorKind::Unknown);
    for (own, outer, stages, status) in [
        // The step's own, in order.
        (
            vec![(unknown(), Action::Ignore), (ALL, Action::MarkAsSuccess)],
            vec![],
            vec![],
            Status::IgnoreFailed,
        ),
        (
            vec![(ALL, Action::MarkAsSuccess), (unknown(), Action::Ignore)],
            vec![],
            vec![],
            Status::Success,
        ),
        // One that does not hold leaves it to the next level.
        (
            vec![(timeout(), Action::Ignore)],
            vec![(unknown(), Action::MarkAsSuccess)],
            vec![(ALL, Action::Abort)],
            Status::Success,
        ),
        (
            vec![],
            vec![],
            vec![(ALL, Action::Ignore)],
            Status::IgnoreFailed,
        ),
        (
            vec![(timeout(), Action::Ignore)],
            vec![],
            vec![],
            Status::Failed,
        ),
    ] {
        let on = |mut tree: Tree, entries: Vec<(Errors, Action)>| {
            for (errors, action) in entries {
                tree = tree.on(errors, action);
            }
            tree
        };
        let step = on(bad("a"), own);
        let tree = on(stage("s", vec![on(group("g", vec![step]), outer)]), stages);
        assert_eq!(run(vec![tree]).status("a"), status);
    }
}

#[test]
fn every_error_has_its_entry() {
    for error in ErrorKind::ALL {
        let ran = run(vec![stage(
            "s",
            vec![group(
                "g",
                vec![step("a", &[End::Cannot(error)]).on(these(error), Action::Ignore)],
            )],
        )]);
        assert_eq!(ran.status("a"), Status::IgnoreFailed, "{error:?}");
        let all = run(vec![stage(
            "s",
            vec![group(
                "g",
                vec![step("a", &[End::Cannot(error)]).on(ALL, Action::Ignore)],
            )],
        )]);
        let expected = if error == ErrorKind::InputTimeoutError {
            Status::Failed
        } else {
            Status::IgnoreFailed
        };
        assert_eq!(all.status("a"), expected, "AllErrors and {error:?}");
        // What may pass when tried again is meant by one name more.
        let transient = these(ErrorKind::RetryableTransientFailure);
        let own = run(vec![stage(
            "s",
            vec![group(
                "g",
                vec![step("a", &[End::Cannot(error)]).on(transient, Action::Ignore)],
            )],
        )]);
        let expected = if error.is_transient() {
            Status::IgnoreFailed
        } else {
            Status::Failed
        };
        assert_eq!(
            own.status("a"),
            expected,
            "RetryableTransientFailure and {error:?}"
        );
    }
}

#[test]
fn memory_and_time_have_their_errors() {
    let ran = run(vec![stage(
        "s",
        vec![group(
            "g",
            vec![
                step("m", &[End::Memory])
                    .on(these(ErrorKind::ResourceLimitsFailure), Action::Ignore),
                step("t", &[End::Runs])
                    .timeout(50)
                    .on(these(ErrorKind::Timeout), Action::Ignore),
                good("b"),
            ],
        )],
    )]);
    assert_eq!(
        (ran.status("m"), ran.status("t")),
        (Status::IgnoreFailed, Status::IgnoreFailed)
    );
    assert_eq!(ran.status("p"), Status::Success);
    // A retry has the time of an attempt again.
    let ran = run(vec![stage(
        "s",
        vec![group(
            "g",
            vec![
                step("t", &[End::Runs, End::Code(0)])
                    .timeout(50)
                    .on(ALL, Action::Retry(retry(1, &[10]))),
            ],
        )],
    )]);
    assert_eq!(
        (ran.began(), ran.status("t")),
        (vec!["t".to_owned(), "t#1".to_owned()], Status::Success)
    );
}

#[test]
fn a_stage_that_takes_too_long_has_its_own_strategy() {
    let slow = |action| {
        run(vec![
            stage(
                "s",
                vec![group(
                    "g",
                    vec![step("a", &[End::Runs]).on(ALL, Action::Ignore), good("b")],
                )],
            )
            .timeout(100)
            .on(these(ErrorKind::Timeout), action)
            .undone_by(vec![group("undo", vec![good("u")])]),
            stage("t", vec![group("h", vec![good("c")])]),
        ])
    };
    let ran = slow(Action::StageRollback);
    assert_eq!(ran.began(), ["a", "u"]);
    assert_eq!(
        (ran.status("a"), ran.status("s"), ran.status("p")),
        (Status::Expired, Status::Expired, Status::Expired)
    );
    let ran = slow(Action::Ignore);
    assert_eq!(ran.began(), ["a", "c"]);
    assert_eq!(
        (ran.status("s"), ran.status("p")),
        (Status::IgnoreFailed, Status::Success)
    );
}

#[test]
fn strategies_of_group_and_stage_hold_for_initialize() {
    let broken = &[End::Cannot(ErrorKind::PluginImageFailure)];
    let make = |action| {
        stage(
            "s",
            vec![initialized(
                group("g", vec![good("a"), good("b").when(WhenStatus::All, None)]),
                broken,
            )],
        )
        .on(these(ErrorKind::PluginImageFailure), action)
    };
    // Ignored: there is no pod all the same, so its steps cannot run.
    let ran = run(vec![make(Action::MarkAsFailure)]);
    assert_eq!(
        (ran.began().len(), ran.status("b"), ran.status("s")),
        (0, Status::Skipped, Status::Failed)
    );
    assert_eq!(ran.why("b"), "not started: PluginImageFailure");
    // Tried again, with another pod.
    let ran = run(vec![make(Action::Retry(retry(1, &[10])))]);
    assert_eq!(
        (ran.began(), ran.pods()),
        (vec!["a".to_owned(), "b".to_owned()], 2)
    );
    assert_eq!(ran.status("p"), Status::Success);
}

#[test]
fn a_step_group_begins_again_with_a_new_pod() {
    let again = Action::RetryStepGroup(retry(2, &[30]));
    let ran = run(vec![stage(
        "s",
        vec![
            group(
                "g",
                vec![
                    good("a"),
                    step("b", &[End::Code(1), End::Code(1), End::Code(0)]),
                    good("c"),
                ],
            )
            .on(ALL, again),
        ],
    )]);
    assert_eq!(ran.began(), ["a", "b", "a#1", "b#1", "a#2", "b#2", "c"]);
    assert_eq!((ran.pods(), ran.status("p")), (3, Status::Success));
    let ran = run(vec![stage(
        "s",
        vec![group("g", vec![bad("b")]).on(ALL, Action::RetryStepGroup(retry(1, &[30])))],
    )]);
    assert_eq!(
        (ran.began(), ran.status("g")),
        (vec!["b".to_owned(), "b#1".to_owned()], Status::Failed)
    );
    // What runs beside it is ended first.
    let ran = run(vec![stage(
        "s",
        vec![
            group(
                "g",
                vec![parallel(
                    "p1",
                    vec![
                        step("a", &[End::Runs, End::Code(0)]),
                        step("b", &[End::Code(1), End::Code(0)]),
                    ],
                )],
            )
            .on(ALL, Action::RetryStepGroup(retry(1, &[]))),
        ],
    )]);
    assert_eq!(
        (ran.began(), ran.status("p")),
        (
            ["a", "b", "a#1", "b#1"].map(str::to_owned).to_vec(),
            Status::Success
        )
    );
}

/// A stage that fails and is rolled back, one of whose rollback steps may fail; then stages by what became of it.
fn rolled_back(last: Tree) -> Ran {
    run(vec![
        stage(
            "s",
            vec![group(
                "g",
                vec![good("a"), bad("b"), good("c").when(WhenStatus::All, None)],
            )],
        )
        .on(ALL, Action::StageRollback)
        .undone_by(vec![
            group("undo1", vec![good("u")]),
            group("undo2", vec![last, good("w")]),
        ]),
        stage("after", vec![group("h1", vec![good("x")])]),
        stage("failed", vec![group("h2", vec![good("y")])]).when(WhenStatus::Failure, None),
        stage("always", vec![group("h3", vec![good("z")])]).when(WhenStatus::All, None),
    ])
}

#[test]
fn a_stage_is_rolled_back_in_groups_of_its_own() {
    let ran = rolled_back(good("v"));
    // A stage that was rolled back has not failed for the `pipelineStatus: Failure` of what follows.
    assert_eq!(ran.began(), ["a", "b", "u", "v", "w", "z"]);
    assert_eq!(
        (ran.status("s"), ran.status("p")),
        (Status::Failed, Status::Failed)
    );
    assert_eq!(
        ran.why("failed"),
        "runs only after a failure; what failed was rolled back"
    );
    assert_eq!(ran.why("s"), "exit code 1");
}

#[test]
fn a_stage_whose_rollback_fails_has_failed() {
    let ran = rolled_back(bad("v"));
    assert_eq!(ran.began(), ["a", "b", "u", "v", "y", "z"]);
    assert_eq!(
        (ran.status("rollbackSteps"), ran.status("w")),
        (Status::Failed, Status::Skipped)
    );
    assert_eq!(ran.why("s"), "exit code 1");
}

#[test]
fn what_a_rollback_beside_it_cuts_off_is_no_success() {
    let block = parallel(
        "both",
        vec![
            group("g", vec![bad("a")]).on(ALL, Action::StageRollback),
            group("h", vec![good("b"), good("c")]),
        ],
    );
    let ran = run(vec![
        stage("s", vec![block]).undone_by(vec![group("undo", vec![good("u")])]),
    ]);
    assert_eq!(
        ["b", "c", "h", "both", "s"].map(|own| ran.status(own)),
        [
            Status::Skipped,
            Status::Skipped,
            Status::Skipped,
            Status::Failed,
            Status::Failed
        ]
    );
    assert_eq!(ran.why("s"), "exit code 1");
}

#[test]
fn a_step_group_is_rolled_back_in_its_pod() {
    let ran = run(vec![stage(
        "s",
        vec![
            group("g", vec![good("a"), bad("b")])
                .on(ALL, Action::StepGroupRollback)
                .undone_by(vec![good("u"), good("v")]),
            group("h", vec![good("c")]).when(WhenStatus::Failure, None),
        ],
    )]);
    assert_eq!(ran.began(), ["a", "b", "u", "v", "c"]);
    assert_eq!((ran.pods(), ran.status("g")), (2, Status::Failed));
}

#[test]
fn a_pipeline_is_rolled_back_last_stage_first() {
    let undone = |name: &str, steps: Vec<Tree>| {
        let undo = format!("undo_{name}");
        let step = format!("u_{name}");
        stage(name, vec![group(&format!("g_{name}"), steps)])
            .undone_by(vec![group(&undo, vec![good(&step)])])
    };
    let ran = run(vec![
        undone("one", vec![good("a")]),
        stage("two", vec![group("g2", vec![good("b")])]),
        undone("three", vec![bad("c")]).on(ALL, Action::PipelineRollback),
        undone("four", vec![good("d")]).when(WhenStatus::All, None),
    ]);
    assert_eq!(ran.began(), ["a", "b", "c", "u_three", "u_one"]);
    assert_eq!(
        (ran.status("four"), ran.status("p")),
        (Status::Skipped, Status::Failed)
    );
}

#[test]
fn a_rollback_step_that_asks_for_success_runs_where_what_it_undoes_had_it() {
    let undone = |name: &str, steps: Vec<Tree>| {
        let name = |part: &str| format!("{part}_{name}");
        let undo = vec![
            good(&name("success")).when(WhenStatus::Success, None),
            good(&name("failure")).when(WhenStatus::Failure, None),
            good(&name("all")).when(WhenStatus::All, None),
            good(&name("silent")),
        ];
        stage(&name("s"), vec![group(&name("g"), steps)]).undone_by(vec![group(&name("u"), undo)])
    };
    let ran = run(vec![
        undone("one", vec![good("a")]),
        undone("two", vec![bad("b")]).on(ALL, Action::PipelineRollback),
    ]);
    assert_eq!(
        ran.began(),
        [
            "a",
            "b",
            "failure_two",
            "all_two",
            "silent_two",
            "success_one",
            "failure_one",
            "all_one",
            "silent_one"
        ]
    );
    assert_eq!(
        ran.why("success_two"),
        "runs only where nothing failed before"
    );
}

#[test]
fn a_rollback_step_asks_for_no_rollback() {
    let ran = run(vec![
        stage("s", vec![group("g", vec![bad("a")])])
            .on(ALL, Action::StageRollback)
            .undone_by(vec![group(
                "undo",
                vec![
                    bad("u").on(ALL, Action::StageRollback),
                    good("v"),
                    good("w").when(WhenStatus::Failure, None),
                ],
            )]),
    ]);
    assert_eq!(ran.began(), ["a", "u", "w"]);
    assert_eq!(ran.status("p"), Status::Failed);
}

#[test]
fn a_person_is_asked_and_time_decides_where_nobody_answers() {
    let ask = |then| Action::ManualIntervention {
        timeout_ms: 1000,
        then: Box::new(then),
    };
    let tree = || {
        vec![
            stage(
                "s",
                vec![group(
                    "g",
                    vec![
                        step("a", &[End::Code(1), End::Code(0)]).on(ALL, ask(Action::Ignore)),
                        good("b"),
                    ],
                )],
            )
            .undone_by(vec![group("undo", vec![good("u")])]),
        ]
    };
    let ran = run(tree());
    assert_eq!(
        (ran.began(), ran.status("a")),
        (vec!["a".to_owned(), "b".to_owned()], Status::IgnoreFailed)
    );
    assert!(ran.state.at_ms >= 1000);
    for (action, began, status) in [
        (Intervention::Retry, vec!["a", "a#1", "b"], Status::Success),
        (Intervention::Ignore, vec!["a", "b"], Status::Success),
        (Intervention::MarkAsSuccess, vec!["a", "b"], Status::Success),
        (Intervention::MarkAsFailure, vec!["a"], Status::Failed),
        (Intervention::StageRollback, vec!["a", "u"], Status::Failed),
        (
            Intervention::PipelineRollback,
            vec!["a", "u"],
            Status::Failed,
        ),
        (
            Intervention::RetryStepGroup,
            vec!["a", "a#1", "b"],
            Status::Success,
        ),
        (Intervention::Abort, vec!["a"], Status::Aborted),
    ] {
        let ran = run_asking(tree(), &[("a", "Asking", action)]);
        assert_eq!(
            (ran.began(), ran.status("p")),
            (began.iter().map(ToString::to_string).collect(), status),
            "{action:?}"
        );
        assert!(ran.state.at_ms < 1000);
    }
}

/// Between two tries it is decided about, too, and at once.
#[test]
fn a_step_that_waits_for_its_next_try_is_decided_about() {
    let tree = || {
        let again = Action::Retry(retry(3, &[60_000]));
        let steps = vec![bad("a").on(ALL, again), good("b")];
        vec![stage("s", vec![group("g", steps)])]
    };
    for (action, of_a, of_all) in [
        (
            Intervention::MarkAsSuccess,
            Status::Success,
            Status::Success,
        ),
        (Intervention::Ignore, Status::IgnoreFailed, Status::Success),
        (Intervention::MarkAsFailure, Status::Failed, Status::Failed),
        (Intervention::Abort, Status::Aborted, Status::Aborted),
    ] {
        let ran = run_asking(tree(), &[("a", "Pausing", action)]);
        assert_eq!(
            (ran.status("a"), ran.status("p")),
            (of_a, of_all),
            "{action:?}"
        );
        assert!(ran.state.at_ms < 60_000, "{action:?}");
    }
    // Now, not when its time is there.
    let ran = run_asking(tree(), &[("a", "Pausing", Intervention::Retry)]);
    assert_eq!(ran.waits("a")[0], 0);
}

/// It is ended, and what the person said becomes of it, whatever a strategy says.
#[test]
fn a_running_step_is_decided_about() {
    let tree = || {
        vec![
            stage(
                "s",
                vec![group(
                    "g",
                    vec![
                        step("a", &[End::Runs, End::Code(0)]).on(ALL, Action::Abort),
                        good("b"),
                    ],
                )],
            )
            .undone_by(vec![group("undo", vec![good("u")])]),
        ]
    };
    for (action, began, of_a, of_all) in [
        (
            Intervention::MarkAsSuccess,
            vec!["a", "b"],
            Status::Success,
            Status::Success,
        ),
        (
            Intervention::Ignore,
            vec!["a", "b"],
            Status::IgnoreFailed,
            Status::Success,
        ),
        (
            Intervention::Retry,
            vec!["a", "a#1", "b"],
            Status::Success,
            Status::Success,
        ),
        (
            Intervention::RetryStepGroup,
            vec!["a", "a#1", "b"],
            Status::Success,
            Status::Success,
        ),
        (
            Intervention::StageRollback,
            vec!["a", "u"],
            Status::Failed,
            Status::Failed,
        ),
        (
            Intervention::PipelineRollback,
            vec!["a", "u"],
            Status::Failed,
            Status::Failed,
        ),
    ] {
        let ran = run_asking(tree(), &[("a", "Running", action)]);
        assert_eq!(
            (ran.began(), ran.status("a"), ran.status("p")),
            (
                began.iter().map(ToString::to_string).collect(),
                of_a,
                of_all
            ),
            "{action:?}"
        );
    }
}

#[test]
fn a_running_step_is_aborted_or_marked() {
    let tree = || {
        vec![stage(
            "s",
            vec![group(
                "g",
                vec![
                    step("a", &[End::Runs]).on(these(ErrorKind::UserMarkedFailure), Action::Ignore),
                    good("b"),
                    good("c").when(WhenStatus::Failure, None),
                ],
            )],
        )]
    };
    let ran = run_asking(tree(), &[("a", "Running", Intervention::MarkAsFailure)]);
    assert_eq!(
        (ran.began(), ran.status("a"), ran.status("p")),
        (
            vec!["a".to_owned(), "b".to_owned()],
            Status::IgnoreFailed,
            Status::Success
        )
    );
    let ran = run_asking(tree(), &[("a", "Running", Intervention::Abort)]);
    assert_eq!(
        (ran.began(), ran.status("a"), ran.status("p")),
        (
            vec!["a".to_owned(), "c".to_owned()],
            Status::Aborted,
            Status::Aborted
        )
    );
    // Also a whole group.
    let ran = run_asking(tree(), &[("g", "Entered", Intervention::Abort)]);
    assert_eq!(
        (ran.status("g"), ran.status("p")),
        (Status::Aborted, Status::Aborted)
    );
}

#[test]
fn conditions_decide_when_their_turn_comes() {
    let own = |status, condition| {
        run(vec![stage(
            "s",
            vec![group(
                "g",
                vec![
                    good("a"),
                    good("b").when(status, Some(condition)),
                    good("c"),
                ],
            )],
        )])
    };
    let ran = own(WhenStatus::Success, "yes");
    assert_eq!(ran.began(), ["a", "b", "c"]);
    let ran = own(WhenStatus::Success, "no");
    assert_eq!(
        (ran.began(), ran.status("b"), ran.status("p")),
        (
            vec!["a".to_owned(), "c".to_owned()],
            Status::Skipped,
            Status::Success
        )
    );
    assert_eq!(ran.why("b"), "its condition does not hold: no");
    // The status goes first: nothing is evaluated for nothing.
    let ran = own(WhenStatus::Failure, "broken");
    assert_eq!(
        (ran.status("b"), ran.status("p")),
        (Status::Skipped, Status::Success)
    );
    assert_eq!(ran.why("b"), "runs only after a failure");
    let ran = own(WhenStatus::Success, "broken");
    assert_eq!(
        (ran.began(), ran.status("b"), ran.status("c")),
        (vec!["a".to_owned()], Status::Failed, Status::Skipped)
    );
    // Of groups and stages.
    let ran = run(vec![
        stage(
            "s",
            vec![
                group("g", vec![good("a")]).when(WhenStatus::All, Some("no")),
                group("h", vec![good("b")]),
            ],
        ),
        stage("t", vec![group("i", vec![good("c")])]).when(WhenStatus::Success, Some("no")),
        stage("u", vec![group("j", vec![good("d")])]).when(WhenStatus::Success, Some("broken")),
    ]);
    assert_eq!(ran.began(), ["b"]);
    assert_eq!(
        (
            ran.status("g"),
            ran.status("t"),
            ran.status("u"),
            ran.status("p")
        ),
        (
            Status::Skipped,
            Status::Skipped,
            Status::Failed,
            Status::Failed
        )
    );
    assert_eq!(ran.pods(), 1);
}

#[test]
fn a_group_that_runs_after_a_failure_runs_what_is_in_it() {
    let ran = run(vec![stage(
        "s",
        vec![
            group("g", vec![bad("a")]),
            group(
                "h",
                vec![
                    good("b"),
                    bad("c"),
                    good("d"),
                    good("e").when(WhenStatus::Success, None),
                ],
            )
            .when(WhenStatus::All, None),
            group(
                "i",
                vec![good("f"), good("x").when(WhenStatus::Success, None)],
            )
            .when(WhenStatus::Failure, None),
            group("j", vec![good("k")]),
        ],
    )]);
    assert_eq!(ran.began(), ["a", "b", "c", "f"]);
    assert_eq!(
        (ran.status("j"), ran.status("p")),
        (Status::Skipped, Status::Failed)
    );
}

#[test]
fn what_runs_beside_a_failure_is_not_after_it() {
    let ran = run(vec![stage(
        "s",
        vec![
            parallel(
                "p1",
                vec![
                    group("g", vec![bad("a"), good("b")]),
                    group("h", vec![good("c"), good("d")]),
                ],
            ),
            group("z", vec![good("y")]),
        ],
    )]);
    let mut began = ran.began();
    began.sort();
    assert_eq!(began, ["a", "c", "d"]);
    assert_eq!(
        (ran.status("g"), ran.status("h"), ran.status("z")),
        (Status::Failed, Status::Success, Status::Skipped)
    );
}

#[test]
fn iterations_go_on_unless_those_that_wait_are_skipped() {
    let three = |tree: fn(Tree) -> Tree| {
        run(vec![stage(
            "s",
            vec![group(
                "g",
                vec![
                    tree(looped("l", vec![bad("l_0"), good("l_1"), good("l_2")]).limit(1)),
                    good("after"),
                ],
            )],
        )])
    };
    let ran = three(|tree| tree);
    assert_eq!(ran.began(), ["l_0", "l_1", "l_2"]);
    assert_eq!(
        (ran.status("l"), ran.status("after")),
        (Status::Failed, Status::Skipped)
    );
    let ran = three(Tree::skip_queued);
    assert_eq!(ran.began(), ["l_0"]);
    assert_eq!(
        (ran.status("l_1"), ran.status("l")),
        (Status::Skipped, Status::Failed)
    );
    assert_eq!(
        ran.why("l_2"),
        "an iteration failed, and `onFailure` is SkipQueued"
    );
    // A loop of nothing is skipped.
    let ran = run(vec![stage(
        "s",
        vec![group("g", vec![looped("l", vec![]), good("a")])],
    )]);
    assert_eq!(
        (ran.status("l"), ran.began()),
        (Status::Skipped, vec!["a".to_owned()])
    );
}

/// What a loop goes over may have changed with what ran before it: it is asked for again.
#[test]
fn a_group_that_begins_again_expands_its_loops_again() {
    let again = Action::RetryStepGroup(retry(1, &[0]));
    let loops = looped(
        "l",
        vec![step("l_0", &[End::Code(1), End::Code(0)]), good("l_1")],
    );
    let ran = run(vec![stage(
        "s",
        vec![group("g", vec![good("a"), loops]).on(ALL, again)],
    )]);
    let expanded = ran.journal.iter().filter(
        |own| matches!(&own.event, engine::event::Event::Expanded { node, .. } if node.0.rsplit('.').next() == Some("l")),
    );
    assert_eq!(expanded.count(), 2);
    // The number of a try goes on: a pod's files are called by it.
    assert_eq!(ran.began()[..2], ["a", "l_0"]);
    assert!(ran.began().contains(&"l_0#1".to_owned()));
    assert_eq!(ran.status("p"), Status::Success);
}
