//! Steps that run nowhere, and processes of the delegate, in whole runs through the fake backend.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use driver::backend::{Access, Backend as _};
use driver::control::{Ask, Reply, ask};
use driver::fake::{Fake, Leaf, Script, group, parallel, process, sequence, step, waits};
use driver::{Job, Notice, Outcome};
use engine::event::{ErrorKind, Event, Status};
use pipeline::plan::NodeId;
use tokio::sync::mpsc;

fn job(dir: &Path, run: &str, backend: &Fake, stages: Vec<Leaf>) -> Job {
    Job {
        run: run.to_owned(),
        dir: dir.join(run),
        planner: Arc::new(Script::new(stages)),
        backend: Arc::new(backend.clone()),
        access: Access::default(),
        queues: Some(dir.join("queues")),
        secrets: Vec::new(),
        resume: false,
        wishes: engine::Wishes::default(),
    }
}

/// Drives a run to its end; `see` is called for every event.
async fn drive(job: Job, mut see: impl FnMut(&Event)) -> (Outcome, Vec<Event>) {
    let (tell, mut hear) = mpsc::channel(driver::OBSERVER_DEPTH);
    let (_keep, interrupts) = mpsc::channel(1);
    let run = tokio::spawn(driver::run(job, tell, interrupts));
    let mut events = Vec::new();
    while let Some(notice) = hear.recv().await {
        if let Notice::Event(stamped) = notice {
            see(&stamped.event);
            events.push(stamped.event);
        }
    }
    (run.await.unwrap().unwrap(), events)
}

fn place(events: &[Event], what: impl Fn(&Event) -> bool) -> usize {
    events.iter().position(what).expect("it happened")
}

fn ends(id: &'static str) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::NodeFinished { node, .. } if node.0.ends_with(id))
}

fn status(events: &[Event], id: &'static str) -> Status {
    match &events[place(events, ends(id))] {
        Event::NodeFinished { status, .. } => *status,
        _ => unreachable!(),
    }
}

#[tokio::test]
async fn a_process_of_the_delegate_has_a_pod_of_its_own_that_is_gone_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let stages = vec![sequence(
        "s",
        vec![
            process("a", "echo:1"),
            group("g", vec![step("in", "echo:2"), process("beside", "echo:3")]),
            process("b", "exit:4"),
            process("c", "echo:5"),
        ],
    )];
    let (outcome, events) = drive(job(dir.path(), "r", &fake, stages), |_| {}).await;
    assert_eq!(outcome.status, Status::Failed);
    assert_eq!(status(&events, ".beside"), Status::Success);
    assert_eq!(status(&events, ".b"), Status::Failed);
    assert_eq!(status(&events, ".c"), Status::Skipped);
    let pods: Vec<&str> = events
        .iter()
        .filter_map(|event| match event {
            Event::PodRequested { group, .. } => Some(group.0.rsplit('.').next().unwrap()),
            _ => None,
        })
        .collect();
    assert_eq!(pods, ["a", "g", "beside", "b"]);
    // The group waits for what runs beside its pod.
    assert!(place(&events, ends(".beside")) < place(&events, ends(".g")));
    let gone = events
        .iter()
        .filter(|event| matches!(event, Event::PodDeleted { .. }))
        .count();
    assert_eq!(gone, 4);
    assert!(fake.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn branches_meet_at_a_barrier() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let branch = |name: &str, ms: &str| {
        sequence(
            name,
            vec![
                waits(&format!("{name}1"), "Wait", ms),
                waits(&format!("{name}2"), "Barrier", "meet"),
                waits(&format!("{name}3"), "Wait", "0"),
            ],
        )
    };
    let stages = vec![parallel("p", vec![branch("a", "1"), branch("b", "120")])];
    let (outcome, events) = drive(job(dir.path(), "r", &fake, stages), |_| {}).await;
    assert_eq!(outcome.status, Status::Success);
    assert!(place(&events, ends(".a2")) > place(&events, ends(".b1")));
}

#[tokio::test]
async fn who_waits_at_a_barrier_hears_that_nobody_will_come() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let stages = vec![parallel(
        "p",
        vec![
            sequence("a", vec![waits("a2", "Barrier", "meet")]),
            sequence(
                "b",
                vec![
                    group("g", vec![step("bad", "exit:1")]),
                    waits("b2", "Barrier", "meet"),
                ],
            ),
        ],
    )];
    let (outcome, events) = drive(job(dir.path(), "r", &fake, stages), |_| {}).await;
    assert_eq!(outcome.status, Status::Failed);
    assert_eq!(status(&events, ".a2"), Status::Failed);
    let Event::NodeFinished { failure, .. } = &events[place(&events, ends(".a2"))] else {
        unreachable!()
    };
    assert!(
        failure
            .as_ref()
            .unwrap()
            .message
            .contains("before it reached the barrier `meet`"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_wait_ends_by_its_timeout_and_by_an_abort() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let stages = vec![waits("w", "Wait", "600000").timeout(20)];
    let (outcome, events) = drive(job(dir.path(), "r", &fake, stages), |_| {}).await;
    assert_eq!(outcome.status, Status::Expired);
    assert_eq!(status(&events, ".w"), Status::Expired);
}

#[tokio::test]
async fn people_say_yes_and_no() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    for (run, approve, end) in [
        ("yes", true, Status::Success),
        ("no", false, Status::Failed),
    ] {
        let stages = vec![waits("ask", "HarnessApproval", "may we?")];
        let at = dir.path().join(run);
        let (outcome, events) = drive(job(dir.path(), run, &fake, stages), |event| {
            if let Event::Waiting { node, .. } = event {
                let answer = move |node: NodeId| Ask::Answer {
                    node,
                    approve,
                    comment: "well".to_owned(),
                    inputs: BTreeMap::new(),
                };
                let (at, node) = (at.clone(), node.clone());
                std::thread::spawn(move || {
                    let wrong = ask(&at, &answer(NodeId::from("pipeline.nobody"))).unwrap();
                    assert!(matches!(wrong, Reply::Refused(why) if why.contains("no approval")));
                    assert_eq!(ask(&at, &answer(node)).unwrap(), Reply::Done);
                });
            }
        })
        .await;
        assert_eq!(outcome.status, end);
        if !approve {
            let failure = outcome.failure.unwrap();
            assert_eq!(failure.error, ErrorKind::ApprovalRejection);
            assert!(failure.message.ends_with(": well"), "{}", failure.message);
        }
        assert_eq!(status(&events, ".ask"), end);
    }
}

#[tokio::test]
async fn runs_follow_one_another_in_a_queue() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let stages = || {
        vec![sequence(
            "s",
            vec![
                waits("q", "Queue", "db"),
                // The same queue again, while it is held: no deadlock with oneself.
                waits("again", "Queue", "db"),
                group("g", vec![step("work", "sleep:80")]),
            ],
        )]
    };
    let one = drive(job(dir.path(), "one", &fake, stages()), |_| {});
    let two = drive(job(dir.path(), "two", &fake, stages()), |_| {});
    let span = |events: &[Event]| {
        assert!(
            events
                .iter()
                .any(|event| matches!(event, Event::Admitted { .. }))
        );
        assert_eq!(status(events, ".work"), Status::Success);
    };
    let ((first, first_events), (second, second_events)) = tokio::join!(one, two);
    assert_eq!(
        (first.status, second.status),
        (Status::Success, Status::Success)
    );
    span(&first_events);
    span(&second_events);
    // By the journals' clocks, one after the other.
    let times = |run: &str| {
        let events = driver::run::history(&dir.path().join(run)).unwrap();
        let at = |what: &dyn Fn(&Event) -> bool| {
            events.iter().find(|own| what(&own.event)).unwrap().at_ms
        };
        (
            at(&|event| matches!(event, Event::Admitted { .. })),
            at(&|event| matches!(event, Event::RunFinished { .. })),
        )
    };
    let (a, b) = (times("one"), times("two"));
    assert!(a.1 <= b.0 || b.1 <= a.0, "{a:?} {b:?}");
}
