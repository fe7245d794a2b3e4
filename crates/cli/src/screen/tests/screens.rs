//! The screens of [`super::story`], as text.

use engine::event::{By, ErrorKind, Event, Failure, Handling, Status};
use insta::assert_snapshot;
use pipeline::plan::Action;
use pipeline::pod::Amounts;

use super::super::json::Json;
use super::super::line::Line;
use super::super::plain::Plain;
use super::super::summary::{self, Extras, Tests};
use super::super::view::View;
use super::super::{question, scroll, tree};
use super::story::{self, Story, at, id};

fn text(lines: &[Line]) -> String {
    let rows: Vec<_> = lines.iter().map(|l| l.render(false)).collect();
    rows.join("\n")
}

/// The tree at 80 by 24, and that it fits.
fn fitted(story: &Story, columns: usize, rows: usize) -> String {
    let lines = tree::rows(&story.view(), columns, rows);
    assert!(lines.len() <= rows, "{} rows of {rows}", lines.len());
    for line in &lines {
        assert!(
            line.width() <= columns,
            "{:?} is wider than {columns}",
            line.render(false)
        );
    }
    text(&lines)
}

#[test]
fn a_run_under_way_at_80_columns() {
    assert_snapshot!(fitted(&story::building(), 80, 22));
}

#[test]
fn a_small_terminal_shows_what_runs() {
    assert_snapshot!(fitted(&story::building(), 60, 9));
    assert_snapshot!("tiny", fitted(&story::building(), 30, 4));
}

#[test]
fn colours_are_tones_of_the_same_text() {
    let view = story::building().view();
    let lines = tree::rows(&view, 80, 22);
    let coloured: Vec<_> = lines.iter().map(|l| l.render(true)).collect();
    assert_snapshot!(coloured.join("\n").replace('\u{1b}', "^"));
}

#[test]
fn many_steps_in_few_rows() {
    let mut s = story::story("Wide");
    let stages: Vec<_> = (0..12)
        .map(|i| story::stage(&format!("stages.s{i}"), &format!("Stage {i}")))
        .collect();
    s.expand("pipeline", stages);
    for i in 0..5 {
        let stage = format!("stages.s{i}");
        s.enter(&stage, vec![story::step(&format!("{stage}.steps.a"), "a")]);
        s.wait(1000)
            .end(&format!("{stage}.steps.a"), Status::Success)
            .end(&stage, Status::Success);
    }
    let par = "stages.s5.steps.parallel1";
    s.enter("stages.s5", vec![story::parallel(par)]);
    s.enter(
        par,
        (0..30)
            .map(|i| story::step(&format!("{par}.p{i}"), &format!("p{i}")))
            .collect(),
    );
    for i in 0..20 {
        s.run(&format!("{par}.p{i}"));
    }
    for i in 0..10 {
        s.record(&format!("{par}.p{i}"), |_| {})
            .end(&format!("{par}.p{i}"), Status::Success);
    }
    assert_snapshot!(fitted(&s, 80, 22));
    assert_snapshot!("even_fewer", fitted(&s, 80, 8));
}

fn extras() -> Extras {
    let memory = |bytes| Amounts {
        cpu_millis: None,
        memory_bytes: Some(bytes),
    };
    Extras {
        reports: None,
        limits: [
            (id(&at("compile")), memory(1 << 30)),
            (
                id(&format!("{}.browser", at("parallel2"))),
                memory(512 << 20),
            ),
            (id(&at("db")), memory(1 << 30)),
        ]
        .into(),
        tests: [(
            id(&format!("{}.unit", at("parallel2"))),
            Tests {
                total: 1204,
                failed: 1,
                skipped: 3,
                took_ms: 1_930,
                failures: vec![(
                    "cart::empties".to_owned(),
                    "expected 0, found 1\nat cart.rs:12".to_owned(),
                )],
                slowest: vec![
                    ("cart::adds a thousand".to_owned(), 1_100),
                    ("cart::removes".to_owned(), 20),
                ],
                unread: Vec::new(),
            },
        )]
        .into(),
    }
}

fn summed(view: &View, columns: usize) -> String {
    let lines = summary::lines(view, &extras(), columns);
    text(&lines)
}

#[test]
fn the_summary_of_a_failed_run() {
    let view = story::built().view();
    assert_snapshot!("summary_80", summed(&view, 80));
    assert_snapshot!("summary_wide", summed(&view, 160));
    assert_snapshot!("summary_narrow", summed(&view, 50));
}

#[test]
fn the_summary_of_an_aborted_run() {
    let mut s = story::building();
    s.interrupt();
    for step in ["db", "parallel2.unit", "parallel2.browser"] {
        s.wait(3)
            .record(&at(step), |r| r.exit = addon::frame::Exit::Signal(15));
        s.end(&at(step), Status::Aborted);
    }
    for node in [&at("parallel2"), story::GROUP, story::BUILD, "pipeline"] {
        s.end(node, Status::Aborted);
    }
    s.over(Status::Aborted);
    assert_snapshot!(summed(&s.view(), 80));
}

#[test]
fn what_stays_above_the_tree() {
    let story = story::built();
    let mut view = View::default();
    let mut out = Vec::new();
    for seen in &story.seen {
        view.see(seen);
        out.extend(scroll::block(&view, seen, 80, false));
    }
    assert_snapshot!(out.join("\n"));
}

#[test]
fn plain_lines() {
    let story = story::built();
    let mut view = View::default();
    let mut plain = Plain::new(false);
    let mut timed = Plain::new(true);
    let (mut out, mut with_times) = (Vec::new(), Vec::new());
    for seen in &story.seen {
        view.see(seen);
        plain.write(&view, seen, &mut out).expect("memory");
        timed.write(&view, seen, &mut with_times).expect("memory");
    }
    let out = String::from_utf8(out).expect("text");
    assert_snapshot!(
        out.lines()
            .filter(|l| !l.contains("Compiling"))
            .collect::<Vec<_>>()
            .join("\n")
    );
    let with_times = String::from_utf8(with_times).expect("text");
    assert!(
        with_times.starts_with("10:00:00.000 [pipeline] run 7bk3fm2xqz of Shop\n"),
        "{with_times}"
    );
    assert_eq!(with_times.lines().count(), out.lines().count());
}

#[test]
fn json_lines() {
    let mut s = story::story("Tiny");
    s.expand("pipeline", vec![story::step("stages.a.steps.b", "b")]);
    s.run("stages.a.steps.b")
        .says("stages.a.steps.b", "half ")
        .says("stages.a.steps.b", "a line\nno end");
    s.record("stages.a.steps.b", |_| {})
        .end("stages.a.steps.b", Status::Success);
    let mut json = Json::default();
    let mut out = Vec::new();
    for seen in &s.seen {
        json.write(seen, &mut out).expect("memory");
    }
    assert_snapshot!(String::from_utf8(out).expect("text"));
}

#[test]
fn a_retry_and_a_lost_pod_are_told() {
    let mut s = story::story("Again");
    s.expand("pipeline", vec![story::stage("stages.a", "A")]);
    s.enter("stages.a", vec![story::group("stages.a.steps.g", "G")]);
    s.enter(
        "stages.a.steps.g",
        vec![
            story::init("stages.a.steps.g.steps.initialize"),
            story::step("stages.a.steps.g.steps.x", "x"),
        ],
    );
    s.start("stages.a.steps.g.steps.initialize");
    s.wait(90).event(Event::PodLost {
        group: id("stages.a.steps.g"),
        reason: "its lite-engine was killed".to_owned(),
    });
    s.wait(80)
        .end("stages.a.steps.g.steps.initialize", Status::Success);
    s.run("stages.a.steps.g.steps.x");
    s.record("stages.a.steps.g.steps.x", |r| {
        r.exit = addon::frame::Exit::Code(1);
    });
    let ended = fitted(&s, 80, 20);
    s.event(Event::FailureHandled {
        node: id("stages.a.steps.g.steps.x"),
        failure: Failure {
            error: ErrorKind::Unknown,
            message: "the step failed with exit code 1".to_owned(),
            help: None,
        },
        status: Status::Failed,
        handling: Handling::Retry {
            number: 1,
            of: Some(2),
            at_ms: 60_000,
        },
        by: By::Strategy(id("stages.a")),
    });
    let waiting = fitted(&s, 80, 20);
    s.event(Event::RetryBegun {
        node: id("stages.a.steps.g.steps.x"),
    });
    s.event(Event::AttemptStarting {
        step: id("stages.a.steps.g.steps.x"),
        attempt: 1,
    });
    assert_snapshot!(format!("{ended}\n\n{waiting}\n\n{}", fitted(&s, 80, 20)));
}

#[test]
fn what_was_carried_and_what_is_asked_stand_on_the_screen() {
    let mut s = story::story("Again");
    let (first, second) = (story::stage("stages.a", "A"), story::stage("stages.b", "B"));
    s.expand("pipeline", vec![first, second]);
    s.event(Event::NodeCarried {
        node: id("stages.a"),
        run: "bcdfghjkl1".to_owned(),
        status: Status::Success,
        why: None,
    });
    s.enter("stages.b", vec![story::group("stages.b.steps.g", "G")]);
    let step = "stages.b.steps.g.steps.x";
    let init = story::init("stages.b.steps.g.steps.initialize");
    s.enter("stages.b.steps.g", vec![init, story::step(step, "X")]);
    s.run(step);
    s.record(step, |r| r.exit = addon::frame::Exit::Code(1));
    let nobody = question::rows(&s.view(), "", 80);
    let until_ms = s.now() + 90_000;
    s.event(Event::FailureHandled {
        node: id(step),
        failure: Failure {
            error: ErrorKind::Unknown,
            message: "exit code 1".to_owned(),
            help: None,
        },
        status: Status::Failed,
        handling: Handling::Ask {
            until_ms,
            then: Action::Ignore,
        },
        by: By::Keep,
    });
    let view = s.view();
    let mut plain = (Plain::new(false), Vec::new());
    let mut above = Vec::new();
    for seen in &s.seen {
        plain.0.write(&view, seen, &mut plain.1).expect("memory");
        above.extend(scroll::block(&view, seen, 100, false));
    }
    let plain = String::from_utf8(plain.1).expect("text");
    let asked = text(&question::rows(&view, "ret", 80));
    let narrow = text(&question::rows(&view, "a long answer", 16));
    for (text, part) in [
        (fitted(&s, 80, 20), "A  from run bcdfghjkl1"),
        (asked.clone(), " exit code 1  1m 30s left, then Ignore"),
        (asked.clone(), "r retry  g retry-step-group  i ignore"),
        (asked, "  › ret▏"),
        (narrow, "answer▏"),
        (
            above.join("\n"),
            "its pod is kept, and waits for a decision for 1m 30s, then Ignore",
        ),
        (plain, "succeeded in run bcdfghjkl1; not run again\n"),
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    assert!(nobody.is_empty());
    assert!(
        question::answer(&view, "retry", &mut question::Given::default())
            .is_some_and(|own| own.is_ok())
    );
    assert!(
        question::answer(&view, "yes", &mut question::Given::default())
            .is_some_and(|own| own.is_err())
    );
    // Once it is decided nothing is asked any more.
    s.event(Event::RetryBegun { node: id(step) });
    s.end(step, Status::Success);
    assert!(question::rows(&s.view(), "ret", 80).is_empty());
}
