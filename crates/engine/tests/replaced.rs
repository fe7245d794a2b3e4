//! Pods that are lost after they were ready: before the first instruction another one takes their place, after it none does.

mod calm;

use engine::event::{ErrorKind, Status};
use pipeline::plan::{Action, Errors};

use calm::{End, Tree, good, group, initialized, parallel, retry, run, stage, step};

fn lost(times: usize, end: Option<End>, steps: Vec<Tree>) -> Vec<Tree> {
    let mut ends = vec![End::Lost; times];
    ends.extend(end);
    vec![stage("s", vec![initialized(group("g", steps), &ends)])]
}

#[test]
fn a_pod_lost_before_the_first_instruction_is_replaced() {
    for times in [1, 2] {
        let ran = run(lost(times, None, vec![good("a"), good("b")]));
        assert_eq!(ran.status("p"), Status::Success);
        // One attempt each, whatever the number of pods.
        assert_eq!(
            (ran.pods(), ran.began()),
            (times + 1, vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(ran.again(), times);
    }
}

#[test]
fn all_steps_that_were_entered_wait_for_the_next_pod() {
    let ran = run(lost(
        1,
        None,
        vec![parallel("q", vec![good("a"), good("b")])],
    ));
    assert_eq!(ran.status("p"), Status::Success);
    assert_eq!((ran.pods(), ran.again()), (2, 1));
    assert_eq!(ran.began(), ["a", "b"]);
}

#[test]
fn three_pods_are_enough() {
    let ran = run(lost(3, None, vec![good("a")]));
    assert_eq!((ran.status("p"), ran.pods()), (Status::Failed, 3));
    assert!(ran.began().is_empty());
    assert_eq!(
        ran.why("a"),
        "3 pods were lost before any step began; the last: taken"
    );
}

/// Then it is as if the first had failed: Initialize has failed, and no step has.
#[test]
fn a_next_pod_that_cannot_be_made_is_the_failure_of_initialize() {
    let wrong = Some(End::Cannot(ErrorKind::ConfigurationFailure));
    let ran = run(lost(1, wrong, vec![good("a")]));
    assert_eq!(
        (ran.status("Initialize"), ran.status("a")),
        (Status::Failed, Status::Skipped)
    );
    assert_eq!(ran.why("a"), "not started: ConfigurationFailure");
    assert_eq!((ran.status("p"), ran.pods()), (Status::Failed, 2));
}

#[test]
fn the_time_of_a_step_begins_with_the_pod_that_it_gets() {
    // The pod that never comes up after the first: nothing but the stage's own time would end it.
    let slow = group("g", vec![step("a", &[End::Runs]).timeout(50)]);
    let ran = run(vec![stage("s", vec![initialized(slow, &[End::Lost])])]);
    assert_eq!((ran.status("a"), ran.pods()), (Status::Expired, 2));
    assert_eq!(ran.began(), ["a"]);
}

#[test]
fn a_group_that_begins_again_may_lose_pods_again() {
    let pods = [End::Lost, End::Lost, End::Code(0), End::Lost, End::Lost];
    let steps = vec![step("a", &[End::Code(1), End::Code(0)])];
    let again = Action::RetryStepGroup(retry(1, &[10]));
    let own = initialized(group("g", steps), &pods).on(Errors::All, again);
    let ran = run(vec![stage("s", vec![own])]);
    assert_eq!((ran.status("p"), ran.pods()), (Status::Success, 6));
    assert_eq!(ran.began(), ["a", "a#1"]);
}
