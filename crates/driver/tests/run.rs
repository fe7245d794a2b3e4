//! Whole runs through the fake backend: the real engine, machine, journal, store, router and addon.

use std::path::Path;
use std::sync::Arc;

use driver::backend::Access;
use driver::fake::{Fake, Leaf, Script, group, parallel, sequence, step};
use driver::store::{Piece, Reader};
use driver::{Job, Notice, Outcome};
use engine::event::{ErrorKind, Event, Interrupt, Status};
use pipeline::plan::NodeId;
use tokio::sync::mpsc;

fn job(dir: &Path, backend: &Fake, stages: Vec<Leaf>) -> Job {
    Job {
        run: "r1".to_owned(),
        dir: dir.to_owned(),
        planner: Arc::new(Script::new(stages)),
        backend: Arc::new(backend.clone()),
        access: Access::default(),
        queues: Some(dir.join("queues")),
        secrets: vec!["hunter22".to_owned()],
        resume: false,
        wishes: engine::Wishes::default(),
    }
}

async fn drive(job: Job) -> (Outcome, Vec<Notice>) {
    let (tell, mut hear) = mpsc::channel(driver::OBSERVER_DEPTH);
    let (_keep, interrupts) = mpsc::channel(1);
    let run = tokio::spawn(driver::run(job, tell, interrupts));
    let mut notices = Vec::new();
    while let Some(notice) = hear.recv().await {
        notices.push(notice);
    }
    (run.await.unwrap().unwrap(), notices)
}

fn statuses(notices: &[Notice]) -> Vec<(String, Status)> {
    notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Event(stamped) => match &stamped.event {
                Event::NodeFinished { node, status, .. } => {
                    Some((node.0.rsplit('.').next()?.to_owned(), *status))
                }
                _ => None,
            },
            _ => None,
        })
        .collect()
}

fn log(dir: &Path, step: &str) -> String {
    let mut reader = Reader::open(&dir.join("logs"), &NodeId::from(step), 0).unwrap();
    let mut all = Vec::new();
    while let Some(piece) = reader.next_piece().unwrap() {
        match piece {
            Piece::Bytes { bytes, .. } => all.extend(bytes),
            Piece::Gap { bytes, .. } => all.extend(format!("[{bytes} missing]").bytes()),
        }
    }
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn a_pod_is_ready_once_its_first_container_is_up_and_has_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    // Against the order of the names, in which nothing may be asked for.
    let stages = vec![group("g", vec![step("z", "echo:1"), step("a", "echo:2")])];
    let (outcome, notices) = drive(job(dir.path(), &fake, stages)).await;
    assert_eq!(outcome.status, Status::Success);
    let story: Vec<String> = notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Pod { event, .. } if event.reason == "Started" => event.container.clone(),
            Notice::Event(stamped) if matches!(stamped.event, Event::PodReady { .. }) => {
                Some("ready".to_owned())
            }
            _ => None,
        })
        .collect();
    let at = |word: &str| story.iter().position(|told| told.ends_with(word));
    assert!(at("z").unwrap() < at("a").unwrap(), "{story:?}");
    assert!(at("z").unwrap() < at("ready").unwrap(), "{story:?}");
}

#[tokio::test]
async fn a_sequence_runs_and_outputs_pass_on_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let stages = vec![group(
        "g",
        vec![
            step("one", "echo:hello out:V=42 secret:S=topsecret"),
            step("two", "echo:v={one.V} echo:{one.S} echo:hunter22"),
        ],
    )];
    let (outcome, notices) = drive(job(dir.path(), &fake, stages)).await;
    assert_eq!(outcome.status, Status::Success);
    assert_eq!(log(dir.path(), "pipeline.g.one"), "hello\n");
    assert_eq!(
        log(dir.path(), "pipeline.g.two"),
        "v=42\n**************\n**************\n"
    );
    assert_eq!(fake.pods(), []);
    assert!(log(dir.path(), "pipeline.g.Initialize").contains("Started container step-one\n"));
    let journal = std::fs::read_to_string(dir.path().join("journal"));
    let journal = String::from_utf8_lossy(&journal.map_or_else(
        |_| std::fs::read(dir.path().join("journal")).unwrap(),
        String::into_bytes,
    ))
    .into_owned();
    assert!(!journal.contains("topsecret"));
    let order: Vec<_> = statuses(&notices)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(order, ["Initialize", "one", "two", "g", "pipeline"]);
}

#[tokio::test]
async fn a_failure_stops_what_follows_and_parallel_siblings_finish() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let both = parallel(
        "p",
        vec![
            step("bad", "exit:3"),
            step("slow", "sleep:30 echo:done"),
            sequence("s", vec![step("a", "echo:a"), step("b", "echo:b")]),
        ],
    );
    let stages = vec![group("g", vec![both, step("after", "echo:never")])];
    let (outcome, notices) = drive(job(dir.path(), &fake, stages)).await;
    assert_eq!(outcome.status, Status::Failed);
    assert_eq!(outcome.failure.unwrap().message, "exit code 3");
    let statuses = statuses(&notices);
    for (name, status) in [
        ("bad", Status::Failed),
        ("slow", Status::Success),
        ("b", Status::Success),
        ("p", Status::Failed),
        ("after", Status::Skipped),
        ("g", Status::Failed),
    ] {
        assert!(statuses.contains(&(name.to_owned(), status)), "{name}");
    }
    assert_eq!(fake.pods(), []);
}

#[tokio::test]
async fn background_steps_end_with_their_group_and_turn_red_when_they_end_early() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let stages = vec![group(
        "g",
        vec![
            step("db", "echo:up serve").background(),
            step("test", "echo:ok").reports("*.xml"),
        ],
    )];
    let (outcome, _) = drive(job(dir.path(), &fake, stages)).await;
    assert_eq!(outcome.status, Status::Success);
    let kept = dir.path().join("reports/pipeline.g.test/0/report.xml");
    assert!(kept.exists());

    let dir = tempfile::tempdir().unwrap();
    let stages = vec![group(
        "g",
        vec![
            step("db", "sleep:5 exit:1").background(),
            step("test", "sleep:60 echo:ok"),
            step("after", "echo:never"),
        ],
    )];
    let (outcome, notices) = drive(job(dir.path(), &fake, stages)).await;
    assert_eq!(outcome.status, Status::Failed);
    let statuses = statuses(&notices);
    assert!(statuses.contains(&("test".to_owned(), Status::Success)));
    assert!(statuses.contains(&("after".to_owned(), Status::Skipped)));
}

#[tokio::test]
async fn a_background_step_that_nothing_follows_begins_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let steps = vec![
        step("a", "exit:0"),
        step("db", "echo:up serve").background(),
    ];
    let (outcome, notices) = drive(job(dir.path(), &fake, vec![group("g", steps)])).await;
    assert_eq!(outcome.status, Status::Success);
    let db = ("db".to_owned(), Status::Success);
    assert!(statuses(&notices).contains(&db), "{notices:?}");
    assert_eq!(log(dir.path(), "pipeline.g.db"), "up\n");
}

#[tokio::test]
async fn all_bad_images_are_told_together_and_no_step_starts() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new().bad_image("step-one").bad_image("step-two");
    let stages = vec![group(
        "g",
        vec![step("one", "echo:1"), step("two", "echo:2")],
    )];
    let (outcome, _) = drive(job(dir.path(), &fake, stages)).await;
    let failure = outcome.failure.unwrap();
    assert_eq!(failure.error, ErrorKind::PluginImageFailure);
    assert!(failure.message.contains("step-one") && failure.message.contains("step-two"));
    assert_eq!(fake.pods(), []);
    assert!(!dir.path().join("logs/pipeline.g.one.0.log").exists());
}

#[tokio::test]
async fn a_flood_reaches_the_disk_whole_and_a_timeout_expires() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let stages = vec![
        group("g", vec![step("flood", "flood:3000000")]),
        group("h", vec![step("long", "serve").timeout(50)]),
    ];
    let (outcome, _) = drive(job(dir.path(), &fake, stages)).await;
    assert_eq!(outcome.status, Status::Expired);
    let log = log(dir.path(), "pipeline.g.flood");
    assert_eq!(log.len(), 3_000_000);
    for (number, line) in log.lines().enumerate() {
        assert_eq!(line.trim_end(), number.to_string());
    }
}

#[tokio::test]
async fn an_abort_ends_steps_and_removes_pods() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let stages = vec![group(
        "g",
        vec![step("long", "deaf echo:up serve"), step("x", "exit:0")],
    )];
    let (tell, mut hear) = mpsc::channel(8);
    let (interrupt, interrupts) = mpsc::channel(1);
    let run = tokio::spawn(driver::run(
        job(dir.path(), &fake, stages),
        tell,
        interrupts,
    ));
    while let Some(notice) = hear.recv().await {
        if matches!(notice, Notice::Output { .. }) {
            interrupt.send(Interrupt::Abort).await.unwrap();
            interrupt.send(Interrupt::Kill).await.unwrap();
        }
    }
    assert_eq!(run.await.unwrap().unwrap().status, Status::Aborted);
    assert_eq!(fake.pods(), []);
}

#[tokio::test]
async fn a_dropped_driver_is_followed_by_one_that_adopts_the_pod() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let stages = || {
        vec![group(
            "g",
            vec![
                step("one", "echo:1"),
                step("two", "echo:begin sleep:80 echo:end"),
                step("three", "echo:3"),
            ],
        )]
    };
    let (tell, mut hear) = mpsc::channel(64);
    let (_keep, interrupts) = mpsc::channel(1);
    let run = tokio::spawn(driver::run(
        job(dir.path(), &fake, stages()),
        tell,
        interrupts,
    ));
    while let Some(notice) = hear.recv().await {
        if matches!(&notice, Notice::Output { step, .. } if step.0.ends_with("two")) {
            run.abort();
        }
    }
    assert!(run.await.unwrap_err().is_cancelled());
    assert_eq!(fake.pods().len(), 1);
    let mut again = job(dir.path(), &fake, stages());
    again.resume = true;
    let (outcome, _) = drive(again).await;
    assert_eq!(outcome.status, Status::Success);
    assert_eq!(log(dir.path(), "pipeline.g.one"), "1\n");
    assert_eq!(log(dir.path(), "pipeline.g.two"), "begin\nend\n");
    assert_eq!(fake.pods(), []);
}

#[tokio::test]
async fn a_pod_lost_under_a_step_is_an_infrastructure_failure() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let stages = vec![group("g", vec![step("long", "echo:up serve")])];
    let (tell, mut hear) = mpsc::channel(64);
    let (_keep, interrupts) = mpsc::channel(1);
    let run = tokio::spawn(driver::run(
        job(dir.path(), &fake, stages),
        tell,
        interrupts,
    ));
    while let Some(notice) = hear.recv().await {
        if matches!(notice, Notice::Output { .. }) {
            fake.lose(&fake.pods()[0].name);
        }
    }
    let outcome = run.await.unwrap().unwrap();
    assert_eq!(outcome.status, Status::Failed);
    assert_eq!(
        outcome.failure.unwrap().error,
        ErrorKind::InfrastructureFailure
    );
}

#[tokio::test]
async fn another_command_asks_a_run_to_end() {
    use driver::control::{Ask, Reply, ask};

    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let stages = vec![group("g", vec![step("long", "sleep:600000")])];
    let (tell, mut hear) = mpsc::channel(driver::OBSERVER_DEPTH);
    let (_keep, interrupts) = mpsc::channel(1);
    let run = tokio::spawn(driver::run(
        job(dir.path(), &fake, stages),
        tell,
        interrupts,
    ));
    while let Some(notice) = hear.recv().await {
        if let Notice::Event(stamped) = &notice
            && matches!(stamped.event, Event::AttemptStarted { .. })
        {
            let place = dir.path().to_owned();
            let asked = move || ask(&place, &Ask::Interrupt(Interrupt::Kill));
            let reply = tokio::task::spawn_blocking(asked).await.unwrap();
            assert_eq!(reply.unwrap(), Reply::Done);
        }
    }
    assert_eq!(run.await.unwrap().unwrap().status, Status::Aborted);
    // Nobody listens there any more, and nothing is left of it.
    let late = ask(dir.path(), &Ask::Interrupt(Interrupt::Kill)).unwrap_err();
    assert_eq!(late.kind(), std::io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_workspace_is_handed_over_and_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let big = "z".repeat(300_000);
    let stages = vec![
        group("build", vec![step("make", &format!("put:first put:{big}"))]).handing_over(),
        group("test", vec![step("check", "show")]).taking_over("pipeline.build"),
    ];
    let (outcome, _) = drive(job(dir.path(), &fake, stages)).await;
    assert_eq!(outcome.status, Status::Success);
    assert_eq!(
        log(dir.path(), "pipeline.test.check"),
        format!("first\n{big}\n")
    );
    let told = log(dir.path(), "pipeline.test.Initialize");
    assert!(
        told.contains("Workspace of group \"build\" taken over: 293.0 KiB\n"),
        "{told}"
    );
    assert!(
        !dir.path().join("workspaces").exists(),
        "nobody needs it any more"
    );
    assert_eq!(fake.pods(), []);
}

#[tokio::test]
async fn a_retry_finds_the_workspace_of_the_run_before_it() {
    let runs = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let stages = |words| {
        vec![
            group("build", vec![step("make", "put:made")]).handing_over(),
            group("test", vec![step("check", words)]).taking_over("pipeline.build"),
        ]
    };
    let first = job(&runs.path().join("r1"), &fake, stages("exit:1"));
    std::fs::create_dir(&first.dir).unwrap();
    let (outcome, notices) = drive(first).await;
    assert_eq!(outcome.status, Status::Failed);
    let (mut state, mut facts) = (engine::State::default(), engine::facts::Facts::default());
    for notice in &notices {
        if let Notice::Event(stamped) = notice {
            engine::evolve(&mut state, stamped).unwrap();
            facts.apply(stamped);
        }
    }
    let from = NodeId::from("pipeline.test");
    let carry = engine::carry::plan(&state, &facts, &from).unwrap();
    let mut second = job(&runs.path().join("r2"), &fake, stages("show"));
    std::fs::create_dir(&second.dir).unwrap();
    second.run = "r2".to_owned();
    second.wishes.carried = Some(Box::new(carry));
    let dir = second.dir.clone();
    let (outcome, _) = drive(second).await;
    assert_eq!(outcome.status, Status::Success);
    assert_eq!(log(&dir, "pipeline.test.check"), "made\n");

    // Where that run was removed, it is said by name.
    std::fs::remove_dir_all(runs.path().join("r1")).unwrap();
    let mut third = job(&runs.path().join("r3"), &fake, stages("show"));
    std::fs::create_dir(&third.dir).unwrap();
    third.run = "r3".to_owned();
    third.wishes.carried = Some(Box::new(
        engine::carry::plan(&state, &facts, &from).unwrap(),
    ));
    let (outcome, _) = drive(third).await;
    assert_eq!(outcome.status, Status::Failed);
    let message = outcome.failure.unwrap().message;
    assert!(
        message.contains("pipeline.build") && message.contains("r1/workspaces"),
        "{message}"
    );
}

#[tokio::test]
async fn a_group_that_was_skipped_hands_nothing_over_and_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let stages = vec![
        group("build", vec![step("make", "put:made")])
            .handing_over()
            .when(pipeline::plan::WhenStatus::All, Some("no")),
        group("test", vec![step("check", "show echo:end")]).taking_over("pipeline.build"),
    ];
    let (outcome, _) = drive(job(dir.path(), &fake, stages)).await;
    assert_eq!(outcome.status, Status::Success);
    assert_eq!(log(dir.path(), "pipeline.test.check"), "end\n");
    let told = log(dir.path(), "pipeline.test.Initialize");
    let line =
        "Group \"build\" was skipped: there is no workspace to take over, this one is empty\n";
    assert!(told.contains(line), "{told}");
}
