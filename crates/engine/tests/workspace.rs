//! The workspace of a group is handed to a later one, or that one does not begin.

mod calm;

use calm::{Ran, Tree, bad, good, group, run, run_wishing, stage, step};
use engine::Wishes;
use engine::event::{ErrorKind, Event, Status};
use engine::workspace::{Source, source};
use pipeline::plan::{Action, Errors, NodeId, WhenStatus};

use crate::calm::{End, retry};

const OK: End = End::Code(0);
const FAILS: End = End::Code(1);

fn giver(children: Vec<Tree>) -> Tree {
    group("build", children).handing_over(OK)
}

fn taker() -> Tree {
    group("test", vec![good("check")]).taking_over("p.s.build", OK)
}

/// What was said of workspaces and pods, in order.
fn told(ran: &Ran) -> Vec<String> {
    let last = |id: &NodeId| id.0.rsplit('.').next().unwrap_or_default().to_owned();
    let all = ran.journal.iter().filter_map(|stamped| {
        Some(match &stamped.event {
            Event::WorkspaceKept { group, bytes } => format!("{} kept {bytes}", last(group)),
            Event::WorkspaceLost { group, reason } => format!("{} lost: {reason}", last(group)),
            Event::WorkspaceGiven { group, bytes } => format!("{} given {bytes}", last(group)),
            Event::PodReady { group } => format!("{} ready", last(group)),
            Event::PodDeleted { group } => format!("{} deleted", last(group)),
            Event::GroupRetried { group } => format!("{} again", last(group)),
            _ => return None,
        })
    });
    all.collect()
}

#[test]
fn it_is_kept_before_its_pod_goes_and_given_before_a_step_begins() {
    let ran = run(vec![stage("s", vec![giver(vec![good("make")]), taker()])]);
    assert_eq!(ran.status("p"), Status::Success);
    let wanted = [
        "build ready",
        "build kept 10240",
        "build deleted",
        "test given 10240",
        "test ready",
        "test deleted",
    ];
    assert_eq!(told(&ran), wanted);
}

#[test]
fn where_nothing_is_asked_nothing_is_said() {
    let plain = |name| group(name, vec![good("a")]);
    let ran = run(vec![stage("s", vec![plain("build"), plain("test")])]);
    assert_eq!(
        told(&ran),
        ["build ready", "build deleted", "test ready", "test deleted"]
    );
    let text = serde_json::to_string(&ran.journal).expect("it can be written");
    assert!(!text.contains("hands_over") && !text.contains("takes_over"));
}

#[test]
fn a_group_that_failed_hands_over_too() {
    let ran = run(vec![stage(
        "s",
        vec![
            giver(vec![bad("make")]),
            taker().when(WhenStatus::All, None),
        ],
    )]);
    assert_eq!(ran.status("test"), Status::Success);
    assert!(told(&ran).contains(&"test given 10240".to_owned()));
}

#[test]
fn what_cannot_be_kept_fails_who_was_to_begin_with_it() {
    let giver = group("build", vec![good("make")]).handing_over(FAILS);
    let ran = run(vec![stage("s", vec![giver, taker()])]);
    assert_eq!(ran.status("build"), Status::Success);
    assert_eq!(ran.status("test"), Status::Failed);
    assert_eq!(ran.began(), ["make"]);
    let why = "the workspace of the step group p.s.build cannot be taken over: there is no room";
    assert_eq!(ran.why("test"), why);
    let id = NodeId::from("p.s.test");
    let failure = ran.state.nodes[&id].failure.clone().expect("it failed");
    assert_eq!(failure.error, ErrorKind::InfrastructureFailure);
    assert_eq!(ran.pods(), 1, "no pod is made for what cannot begin");
}

#[test]
fn what_cannot_be_put_into_its_pod_fails_it() {
    let taker = group("test", vec![good("check")]).taking_over("p.s.build", FAILS);
    let ran = run(vec![stage("s", vec![giver(vec![good("make")]), taker])]);
    assert_eq!(ran.status("test"), Status::Failed);
    assert_eq!(ran.began(), ["make"]);
    assert!(
        ran.why("test").ends_with("there is no room"),
        "{}",
        ran.why("test")
    );
    assert_eq!(told(&ran).last().expect("something"), "test deleted");
}

#[test]
fn a_pod_that_is_lost_takes_its_workspace_with_it() {
    let mut giver = giver(vec![good("make")]);
    giver.initialize(&[End::Lost, End::Lost, End::Lost]);
    let ran = run(vec![stage(
        "s",
        vec![giver, taker().when(WhenStatus::All, None)],
    )]);
    assert_eq!(ran.status("test"), Status::Failed);
    assert_eq!(
        ran.why("test"),
        "the workspace of the step group p.s.build cannot be taken over: its pod is gone: taken"
    );
}

#[test]
fn a_group_that_was_skipped_leaves_an_empty_one() {
    let giver = giver(vec![good("make")]).when(WhenStatus::All, Some("no"));
    let ran = run(vec![stage("s", vec![giver, taker()])]);
    assert_eq!(ran.status("p"), Status::Success);
    assert_eq!(told(&ran), ["test ready", "test deleted"]);
    let of = NodeId::from("p.s.build");
    assert_eq!(
        source(&ran.state, &NodeId::from("p.s.test")),
        Some(Ok(Source::Empty { of }))
    );
    // With all of its stage.
    let skipped = stage("s", vec![giver_plain()]).when(WhenStatus::All, Some("no"));
    let ran = run(vec![skipped, stage("t", vec![taker()])]);
    assert_eq!(ran.status("p"), Status::Success);
    assert_eq!(told(&ran), ["test ready", "test deleted"]);
}

fn giver_plain() -> Tree {
    giver(vec![good("make")])
}

#[test]
fn a_group_that_begins_again_leaves_its_last_one() {
    let again = || Action::RetryStepGroup(retry(1, &[5]));
    let giver = giver(vec![step("make", &[End::Code(1), OK])]).on(Errors::All, again());
    let ran = run(vec![stage("s", vec![giver, taker()])]);
    assert_eq!(ran.status("p"), Status::Success);
    let wanted = [
        "build ready",
        "build deleted",
        "build again",
        "build ready",
        "build kept 10240",
        "build deleted",
        "test given 10240",
        "test ready",
        "test deleted",
    ];
    assert_eq!(told(&ran), wanted);

    // And one that takes takes it again.
    let check = step("check", &[End::Code(1), OK]);
    let taker = group("test", vec![check])
        .taking_over("p.s.build", OK)
        .on(Errors::All, again());
    let ran = run(vec![stage("s", vec![giver_plain(), taker])]);
    assert_eq!(ran.status("p"), Status::Success);
    let given = told(&ran);
    let given = given.iter().filter(|own| *own == "test given 10240");
    assert_eq!(given.count(), 2);
}

#[test]
fn a_retry_takes_over_what_the_run_before_it_kept() {
    let failing = || group("test", vec![bad("check")]).taking_over("p.s.build", OK);
    let before = run(vec![stage("s", vec![giver_plain(), failing()])]);
    let carry = before.carry("test").expect("it can be retried");
    let of = NodeId::from("p.s.build");
    assert_eq!(carry.nodes[&of].workspace, Some(10_240));
    let wishes = Wishes {
        carried: Some(Box::new(carry)),
        ..Wishes::default()
    };
    let ran = run_wishing(vec![stage("s", vec![giver_plain(), taker()])], &[], wishes);
    assert_eq!(ran.status("p"), Status::Success);
    assert_eq!(ran.began(), ["check"]);
    assert_eq!(
        told(&ran),
        ["test given 10240", "test ready", "test deleted"]
    );
}
