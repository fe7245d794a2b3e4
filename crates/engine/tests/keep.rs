//! A pod that is kept for a failed step: what is asked, who decides, and what happens if nobody does.

mod calm;

use engine::Wishes;
use engine::event::{By, Event, Handling, Intervention, Status};
use pipeline::plan::{Action, Errors};

use calm::{Ask, End, Ran, Tree, bad, good, group, retry, run_wishing, stage, step};

const KEPT: u64 = 60_000;

fn kept(steps: Vec<Tree>, asks: &[Ask]) -> Ran {
    let wishes = Wishes {
        keep_ms: Some(KEPT),
        ..Wishes::default()
    };
    run_wishing(vec![stage("s", vec![group("g", steps)])], asks, wishes)
}

/// Who was asked, until when after the failure, and what is done after that.
fn asked(ran: &Ran) -> Vec<(String, u64, String, By)> {
    let all = ran.journal.iter().filter_map(|own| match &own.event {
        Event::FailureHandled {
            node,
            handling: Handling::Ask { until_ms, then },
            by,
            ..
        } => Some((
            node.0.rsplit('.').next().unwrap_or_default().to_owned(),
            until_ms - own.at_ms,
            then.name().to_owned(),
            by.clone(),
        )),
        _ => None,
    });
    all.collect()
}

fn question(step: &str, then: &str) -> (String, u64, String, By) {
    (step.to_owned(), KEPT, then.to_owned(), By::Keep)
}

#[test]
fn a_failure_is_a_question_and_its_step_runs_again_in_the_same_pod() {
    let fails_twice = step("a", &[End::Code(1), End::Code(1), End::Code(0)]);
    let asks = [
        ("a", "Asking", Intervention::Retry),
        ("a", "Asking", Intervention::Retry),
    ];
    let ran = kept(vec![fails_twice, good("b")], &asks);
    assert_eq!(ran.began(), ["a", "a#1", "a#2", "b"]);
    assert_eq!(
        asked(&ran),
        [
            question("a", "MarkAsFailure"),
            question("a", "MarkAsFailure")
        ]
    );
    assert_eq!((ran.pods(), ran.status("p")), (1, Status::Success));
}

#[test]
fn with_no_answer_what_is_written_happens() {
    let ran = kept(vec![bad("a"), good("b")], &[]);
    assert_eq!(asked(&ran), [question("a", "MarkAsFailure")]);
    assert_eq!(
        (ran.status("a"), ran.status("b")),
        (Status::Failed, Status::Skipped)
    );
    // What ends the pod is asked about before it does.
    let again = Action::RetryStepGroup(retry(1, &[0]));
    let step = step("a", &[End::Code(1), End::Code(0)]).on(Errors::All, again);
    let ran = kept(vec![step, good("b")], &[]);
    assert_eq!(asked(&ran), [question("a", "RetryStepGroup")]);
    assert_eq!(ran.began(), ["a", "a#1", "b"]);
    assert_eq!((ran.pods(), ran.status("p")), (2, Status::Success));
}

#[test]
fn what_goes_on_by_itself_is_no_question() {
    for (action, wanted) in [
        (Action::Ignore, Status::Success),
        (Action::MarkAsSuccess, Status::Success),
    ] {
        let ran = kept(vec![bad("a").on(Errors::All, action), good("b")], &[]);
        assert_eq!(asked(&ran), []);
        assert_eq!(ran.status("p"), wanted);
    }
    // Retries that are written come first.
    let step = bad("a").on(Errors::All, Action::Retry(retry(2, &[0])));
    let ran = kept(vec![step], &[]);
    assert_eq!(ran.began(), ["a", "a#1", "a#2"]);
    assert_eq!(asked(&ran), [question("a", "MarkAsFailure")]);
    assert_eq!(ran.status("a"), Status::Failed);
}

#[test]
fn whoever_marks_a_step_as_failed_has_decided() {
    let ran = kept(
        vec![step("a", &[End::Runs]), good("b")],
        &[("a", "Running", Intervention::MarkAsFailure)],
    );
    assert_eq!(asked(&ran), []);
    assert_eq!(ran.status("a"), Status::Failed);
}
