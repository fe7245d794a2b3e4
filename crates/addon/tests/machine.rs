//! The attempt's machine by itself: the orders of events that a real process rarely shows.

use addon::attempt::{Action, Event, GRACE_MS, LEAVE_MS, Machine, Now, Usage};
use addon::frame::{
    Attempt, Exit, Hello, Probe, Program, Readiness, Refusal, Report, Request, Shell, Start, State,
    StopReason,
};
use addon::link::{Frame, INITIAL_CREDIT};
use addon::outputs::Files;
use addon::spool::Store;

struct Nowhere;

impl Store for Nowhere {
    fn write(&mut self, _: u32, _: u64, _: &[u8]) -> bool {
        false
    }
    fn read(&mut self, _: u32, _: u64, _: &mut [u8]) -> bool {
        false
    }
    fn remove(&mut self, _: u32) {}
}

struct World {
    machine: Machine<Nowhere>,
    now: u64,
}

fn attempt(number: u32) -> Attempt {
    Attempt {
        run: "r".to_owned(),
        step: "s".to_owned(),
        number,
    }
}

fn start(number: u32) -> Start {
    Start {
        attempt: attempt(number),
        program: Program::Script {
            shell: Shell::Sh,
            text: "true".to_owned(),
        },
        env: Vec::new(),
        workdir: "/harness".to_owned(),
        secrets: vec!["hunter2".to_owned()],
        outputs: Vec::new(),
        background: false,
        readiness: None,
        timeout_ms: 0,
    }
}

impl World {
    fn new() -> Self {
        let files = Files {
            exported: "/t/e".to_owned(),
            dotenv: "/t/d".to_owned(),
            secret: "/t/s".to_owned(),
            scratch: "/t".to_owned(),
        };
        World {
            machine: Machine::new(Some("r".to_owned()), files, Nowhere),
            now: 1000,
        }
    }

    /// A Background step runs, and is asked whether it is ready.
    fn probing(period_ms: u64, deadline_ms: u64, required: bool) -> Self {
        let mut world = World::new();
        world.connect(1, 1, 0);
        let mut start = start(0);
        start.background = true;
        start.readiness = Some(Readiness {
            probe: Probe::Tcp(5432),
            period_ms,
            answer_ms: 50,
            deadline_ms,
            required,
        });
        world.say(1, &Request::Start(Box::new(start)));
        world.event(Event::Spawned);
        world
    }

    fn clock(&self) -> Now {
        Now {
            mono_ms: self.now,
            wall_ms: 1_700_000_000_000 + self.now,
        }
    }

    fn event(&mut self, event: Event<'_>) {
        self.machine.handle(event, self.clock());
    }

    fn say(&mut self, id: u32, request: &Request) {
        self.event(Event::Frame(id, Frame::Message(request.to_bytes())));
    }

    fn connect(&mut self, id: u32, epoch: u64, acked: u64) {
        self.event(Event::Connected(id));
        self.say(
            id,
            &Request::Hello(Hello {
                version: 1,
                run: "r".to_owned(),
                epoch,
                attempt: Some(attempt(0)),
                acked,
            }),
        );
    }

    fn actions(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.machine.poll_action())
            .map(|action| {
                let text = format!("{action:?}");
                text.split([' ', '(', '{'])
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    }

    fn reports(&mut self, id: u32) -> Vec<Report> {
        std::iter::from_fn(|| self.machine.poll_transmit(id))
            .filter_map(|frame| match frame {
                Frame::Message(body) => Some(Report::from_bytes(&body).expect("a report")),
                _ => None,
            })
            .collect()
    }

    fn due(&mut self) {
        self.now = self.machine.poll_timeout().expect("something is due");
        let now = self.clock();
        self.machine.handle_timeout(now);
    }

    /// A running attempt, its driver on connection 1.
    fn running() -> Self {
        let mut world = World::new();
        world.connect(1, 1, 0);
        world.say(1, &Request::Start(Box::new(start(0))));
        assert_eq!(world.actions(), ["Spawn"]);
        world.event(Event::Spawned);
        world.reports(1);
        world
    }

    fn end(&mut self, exit: Exit) {
        self.event(Event::Closed);
        self.event(Event::Exited { exit, alive: false });
        assert!(self.actions().contains(&"Finish".to_owned()));
        self.event(Event::Left(Box::default(), Usage::default()));
        assert_eq!(
            self.actions(),
            ["Keep"],
            "the record is written before it is sent"
        );
    }
}

fn kinds(reports: &[Report]) -> Vec<&'static str> {
    reports
        .iter()
        .map(|report| match report {
            Report::Welcome { .. } => "welcome",
            Report::Refused(_) => "refused",
            Report::Started { .. } => "started",
            Report::Ready { .. } => "ready",
            Report::Output { .. } => "output",
            Report::Gap { .. } => "gap",
            Report::Finished(_) => "finished",
            _ => "other",
        })
        .collect()
}

#[test]
fn the_record_comes_after_all_output_however_little_credit_there_is() {
    let mut world = World::running();
    let log = vec![b'x'; 3 * INITIAL_CREDIT as usize];
    world.event(Event::Bytes(&log));
    world.end(Exit::Code(0));
    let mut seen = 0;
    let mut rounds = 0;
    loop {
        let reports = world.reports(1);
        rounds += 1;
        assert!(rounds < 100);
        let mut finished = false;
        for report in &reports {
            match report {
                Report::Output { offset, bytes, .. } => {
                    assert_eq!(*offset, seen);
                    seen += bytes.len() as u64;
                }
                Report::Finished(record) => {
                    assert_eq!(
                        (seen, record.output_bytes),
                        (log.len() as u64, log.len() as u64)
                    );
                    finished = true;
                }
                other => panic!("{other:?}"),
            }
        }
        if finished {
            break;
        }
        world.event(Event::Frame(1, Frame::Credit(1)));
        world.event(Event::Frame(1, Frame::Credit(70_000)));
    }
    assert!(rounds > 5);
}

#[test]
fn output_is_held_back_only_with_a_driver_there() {
    let mut world = World::running();
    assert!(world.machine.wants_output());
    world.event(Event::Bytes(&vec![b'x'; 2 << 20]));
    assert!(!world.machine.wants_output());
    world.event(Event::Disconnected(1));
    assert!(world.machine.wants_output());
}

#[test]
fn an_unfinished_secret_is_given_out_only_at_the_end() {
    let mut world = World::running();
    world.event(Event::Bytes(b"a hunter"));
    assert_eq!(
        world.reports(1),
        [Report::Output {
            offset: 0,
            at_ms: world.clock().wall_ms,
            bytes: b"a ".to_vec()
        }]
    );
    world.event(Event::Bytes(b"2"));
    world.end(Exit::Code(0));
    let reports = world.reports(1);
    assert_eq!(kinds(&reports), ["output", "finished"]);
    assert!(matches!(&reports[0], Report::Output { bytes, .. } if bytes == b"**************"));
}

#[test]
fn a_start_lost_and_said_again_starts_once() {
    let mut world = World::running();
    world.say(1, &Request::Start(Box::new(start(0))));
    assert_eq!(kinds(&world.reports(1)), ["started"]);
    assert_eq!(world.actions(), Vec::<String>::new());
    world.say(1, &Request::Start(Box::new(start(1))));
    assert_eq!(
        world.reports(1),
        [Report::Refused(Refusal::Busy(attempt(0)))]
    );
    world.end(Exit::Code(0));
    world.say(1, &Request::Start(Box::new(start(0))));
    assert_eq!(world.actions(), Vec::<String>::new());
    world.reports(1);
    world.say(
        1,
        &Request::Settled {
            attempt: attempt(0),
        },
    );
    world.say(
        1,
        &Request::Settled {
            attempt: attempt(0),
        },
    );
    assert_eq!(world.actions(), ["Forget"]);
    assert_eq!(world.machine.state(), State::Idle);
    world.say(1, &Request::Start(Box::new(start(0))));
    assert_eq!(kinds(&world.reports(1)), ["refused"]);
    world.say(1, &Request::Start(Box::new(start(1))));
    assert_eq!(world.actions(), ["Spawn"]);
}

#[test]
fn stopping_escalates_and_hurries() {
    let mut world = World::running();
    let stop = |grace_ms, number| Request::Stop {
        attempt: attempt(number),
        grace_ms,
        reason: StopReason::Abort,
    };
    world.say(1, &stop(5_000, 9));
    assert_eq!(world.actions(), Vec::<String>::new(), "another attempt's");
    world.say(1, &stop(60_000, 0));
    assert_eq!(world.actions(), ["Terminate"]);
    world.say(1, &stop(3_000, 0));
    assert_eq!(world.machine.poll_timeout(), Some(world.now + 3_000));
    world.say(1, &stop(90_000, 0));
    assert_eq!(
        world.machine.poll_timeout(),
        Some(world.now + 3_000),
        "a longer grace does not slow it"
    );
    world.due();
    assert_eq!(world.actions(), ["Kill"]);
    world.event(Event::Exited {
        exit: Exit::Signal(9),
        alive: true,
    });
    assert_eq!(
        world.actions(),
        ["Kill", "Finish"],
        "what is left of it goes too"
    );
    let mut world = World::running();
    world.say(1, &stop(0, 0));
    assert_eq!(world.actions(), ["Kill"]);
}

#[test]
fn a_group_that_lives_on_is_waited_for_a_moment() {
    let mut world = World::running();
    world.event(Event::Exited {
        exit: Exit::Code(0),
        alive: true,
    });
    assert_eq!(world.actions(), Vec::<String>::new());
    world.event(Event::Bytes(b"late"));
    world.due();
    assert_eq!(world.actions(), ["Finish"]);
    world.event(Event::Bytes(b"too late"));
    world.event(Event::Left(Box::default(), Usage::default()));
    let reports = world.reports(1);
    assert!(matches!(&reports[0], Report::Output { bytes, .. } if bytes == b"late"));
    assert_eq!(kinds(&reports), ["output", "finished"]);
}

#[test]
fn a_probe_is_asked_again_until_its_deadline() {
    for required in [true, false] {
        let mut world = World::probing(2_000, 5_000, required);
        assert_eq!(world.actions(), ["Spawn", "Probe"]);
        for _ in 0..2 {
            world.event(Event::Probed(Err("connection refused: hunter2".to_owned())));
            world.due();
            assert_eq!(world.actions(), ["Probe"]);
        }
        world.event(Event::Probed(Err("connection refused: hunter2".to_owned())));
        world.reports(1);
        world.due();
        if required {
            assert_eq!(world.actions(), ["Terminate"]);
            world.end(Exit::Signal(15));
            let reports = world.reports(1);
            let Some(Report::Finished(record)) = reports.last() else {
                panic!("{reports:?}");
            };
            assert!(
                record.warnings[0].contains("not ready after 5000 ms"),
                "{:?}",
                record.warnings
            );
            assert!(!record.warnings[0].contains("hunter2"));
        } else {
            let reports = world.reports(1);
            assert!(
                matches!(
                    &reports[..],
                    [Report::Ready {
                        warning: Some(_),
                        ..
                    }]
                ),
                "{reports:?}"
            );
        }
    }
}

/// Where nobody wants it to be asked rarely: a service that is up at once is not found a second later.
#[test]
fn a_probe_is_asked_often_in_the_beginning() {
    let mut world = World::probing(1_000, 60_000, true);
    let mut waits = Vec::new();
    for _ in 0..40 {
        let asked = world.now;
        world.event(Event::Probed(Err("connection refused".to_owned())));
        world.due();
        waits.push(world.now - asked);
    }
    assert_eq!(waits[0], 20);
    assert!(
        waits.is_sorted() && waits.last() == Some(&1_000),
        "{waits:?}"
    );
}

#[test]
fn the_container_s_end_stops_the_step_and_waits_for_the_record_to_be_settled() {
    let mut world = World::running();
    world.event(Event::Terminate);
    assert_eq!(world.actions(), ["Terminate"]);
    assert!(!world.machine.may_exit(world.clock()));
    assert_eq!(world.machine.poll_timeout(), Some(world.now + GRACE_MS));
    world.end(Exit::Signal(15));
    assert!(!world.machine.may_exit(world.clock()));
    assert_eq!(world.machine.poll_timeout(), Some(world.now + LEAVE_MS));
    let mut late = world.clock();
    late.mono_ms += LEAVE_MS;
    assert!(world.machine.may_exit(late));
    world.say(
        1,
        &Request::Settled {
            attempt: attempt(0),
        },
    );
    assert!(world.machine.may_exit(world.clock()));
    world.say(1, &Request::Start(Box::new(start(1))));
    assert_eq!(world.actions(), ["Forget"], "nothing starts any more");
}

#[test]
fn only_the_newest_connection_of_the_highest_epoch_speaks_for_the_run() {
    let mut world = World::running();
    world.connect(2, 1, 0);
    assert_eq!(world.actions(), ["Close"], "same epoch: the newest");
    assert!(
        world
            .reports(1)
            .contains(&Report::Refused(Refusal::OldEpoch { seen: 1 }))
    );
    world.connect(3, 5, 0);
    world.connect(4, 4, 0);
    assert_eq!(
        world.reports(4),
        [Report::Refused(Refusal::OldEpoch { seen: 5 })]
    );
    world.event(Event::Connected(5));
    world.say(5, &Request::Start(Box::new(start(0))));
    assert_eq!(kinds(&world.reports(5)), ["refused"], "no hello");
    world.event(Event::Connected(6));
    world.say(
        6,
        &Request::Hello(Hello {
            version: 1,
            run: "other".to_owned(),
            epoch: 9,
            attempt: None,
            acked: 0,
        }),
    );
    assert_eq!(world.reports(6), [Report::Refused(Refusal::OtherRun)]);
    world.event(Event::Bytes(b"x"));
    assert_eq!(kinds(&world.reports(3)), ["welcome", "output"]);
}

#[test]
fn what_could_not_start_is_a_record_too() {
    let mut world = World::new();
    world.connect(1, 1, 0);
    world.say(1, &Request::Start(Box::new(start(0))));
    world.actions();
    world.event(Event::NotStarted("the image has no `sh`".to_owned()));
    assert_eq!(world.actions(), ["Finish"]);
    world.event(Event::Left(Box::default(), Usage::default()));
    let reports = world.reports(1);
    assert_eq!(kinds(&reports), ["welcome", "finished"]);
    assert!(
        matches!(&reports[1], Report::Finished(record) if record.exit == Exit::NotStarted("the image has no `sh`".to_owned()))
    );
    let _ = world
        .machine
        .poll_action()
        .map(|action| matches!(action, Action::Keep(_)));
}

/// However small its pieces are: what lets the rest go must be heard.
#[test]
fn credit_is_read_while_many_pieces_wait_for_it() {
    const PIECE: usize = 1024;
    let mut world = World::new();
    world.connect(1, 1, 0);
    let piece = || Report::Attached {
        id: 1,
        bytes: vec![b'x'; PIECE],
    };
    let mut sent = 0;
    for _ in 0..2 * INITIAL_CREDIT as usize / PIECE {
        if world.machine.wants_reply(1) {
            world.event(Event::Reply(1, piece()));
        }
        while world.machine.poll_transmit(1).is_some() {
            sent += 1;
        }
    }
    assert!(world.machine.wants_frames(1), "after {sent} pieces");
    let credit = Frame::Credit(INITIAL_CREDIT);
    world.event(Event::Frame(1, credit));
    assert!(world.machine.poll_transmit(1).is_some());
}
