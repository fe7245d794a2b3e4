//! Connections that come, go and contradict each other; what is beside the step.

mod support;

use addon::frame::{Exit, Refusal, Report, Request, State};
use addon::link::Frame;
use support::{Agent, Driver, attempt, begin, run, script};

struct Engine {
    child: std::process::Child,
    socket: std::path::PathBuf,
}

impl Engine {
    fn new(agent: &Agent) -> Self {
        let socket = agent.dir.path().join("lite-engine");
        let child = std::process::Command::new(support::binary())
            .args(["lite-engine", "--slices"])
            .arg(agent.dir.path())
            .arg("--listen")
            .arg(&socket)
            .spawn()
            .expect("lite-engine starts");
        Engine { child, socket }
    }

    fn open(&self, channel: u32, container: &str) -> Driver {
        let mut driver = Driver::connect(&self.socket, channel);
        driver.frame(channel, &Frame::Open(container.to_owned()));
        driver
    }

    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ended");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_connection_lost_at_any_moment_loses_and_doubles_nothing() {
    let agent = Agent::new();
    let mut engine = Engine::new(&agent);
    let mut driver = engine.open(7, "step-a");
    driver.hello(1, None, 0);
    driver.say(&Request::Start(Box::new(script(
        "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done",
    ))));
    driver.started();
    let mut output = Vec::new();
    let mut lost = 0;
    let record = loop {
        // A little is taken, then the line is cut: by the driver, or by a lite-engine that dies.
        let record = driver.some(10_000);
        output.append(&mut driver.output);
        if let Some(record) = record {
            break record;
        }
        lost += 1;
        if lost % 3 == 0 {
            engine.kill();
            engine = Engine::new(&agent);
        }
        drop(driver);
        driver = engine.open(lost, "step-a");
        driver.hello(1, Some(attempt(0)), output.len() as u64);
        // A start said again is answered, not obeyed.
        driver.say(&Request::Start(Box::new(script("echo again"))));
    };
    assert!(lost > 2, "the test means something: {lost}");
    let expected = (0..20_000).fold(String::new(), |text, i| text + &format!("line {i}\n"));
    assert_eq!(output.len() as u64, record.output_bytes);
    assert!(output == expected.as_bytes(), "every line, once, in order");
}

#[test]
fn a_record_waits_until_it_is_settled_and_an_attempt_never_runs_twice() {
    let agent = Agent::new();
    let mark = agent.slice().join("mark");
    let mut start = script("echo x >> \"$MARK\"");
    start
        .env
        .push(("MARK".to_owned(), mark.display().to_string()));
    let mut driver = begin(&agent, start.clone());
    driver.started();
    drop(driver);
    let mut driver = agent.connect();
    driver.hello(1, Some(attempt(0)), 0);
    let first = driver.finished();
    let mut driver = agent.connect();
    driver.hello(1, Some(attempt(0)), 0);
    match driver.report() {
        Report::Welcome {
            state: State::Done(record),
            ..
        } => assert_eq!(*record, first),
        other => panic!("{other:?}"),
    }
    let mut other = start.clone();
    other.attempt = attempt(1);
    driver.say(&Request::Start(Box::new(other)));
    loop {
        match driver.report() {
            Report::Refused(refusal) => {
                assert_eq!(refusal, Refusal::Busy(attempt(0)));
                break;
            }
            Report::Finished(_) => {}
            other => panic!("{other:?}"),
        }
    }
    driver.say(&Request::Settled {
        attempt: attempt(0),
    });
    driver.say(&Request::Start(Box::new(start)));
    loop {
        match driver.report() {
            Report::Refused(Refusal::Protocol(why)) => {
                assert!(why.contains("never starts again"), "{why}");
                break;
            }
            Report::Finished(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(std::fs::read_to_string(mark).expect("it ran"), "x\n");
}

#[test]
fn a_newer_epoch_takes_over_and_an_older_one_is_refused() {
    let agent = Agent::new();
    let mut old = begin(&agent, script("sleep 0.3"));
    old.started();
    let mut new = agent.connect();
    new.hello(2, Some(attempt(0)), 0);
    assert_eq!(old.report(), Report::Refused(Refusal::OldEpoch { seen: 2 }));
    assert!(matches!(old.next_frame(), Some((0, Frame::Close(_)))));
    let mut old = agent.connect();
    old.hello(1, Some(attempt(0)), 0);
    assert_eq!(old.report(), Report::Refused(Refusal::OldEpoch { seen: 2 }));
    assert_eq!(new.finished().exit, Exit::Code(0));
}

#[test]
fn a_flood_without_a_driver_keeps_head_and_tail_and_tells_the_gap() {
    let agent = Agent::new();
    let mut driver = begin(
        &agent,
        script("echo first; head -c 100000000 /dev/zero | tr '\\0' x; echo; echo last"),
    );
    driver.started();
    drop(driver);
    // Nobody is there while it runs; a guest sees when it is over.
    loop {
        let mut guest = agent.connect();
        guest.hello(addon::attempt::GUEST_EPOCH, None, 0);
        if let Report::Welcome {
            state: State::Done(_),
            ..
        } = guest.report()
        {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut driver = agent.connect();
    driver.hello(2, Some(attempt(0)), 0);
    let record = driver.finished();
    assert_eq!(record.output_bytes, 100_000_000 + 12);
    assert_eq!(
        driver.next, record.output_bytes,
        "output and gaps make all of it"
    );
    assert_eq!(driver.gaps.len(), 1, "{:?}", driver.gaps);
    assert!(
        driver.output.len() < 64 * 1024 * 1024,
        "{}",
        driver.output.len()
    );
    assert!(driver.output.starts_with(b"first\nx"));
    assert!(driver.output.ends_with(b"x\nlast\n"));
}

#[test]
fn a_driver_that_grants_nothing_holds_the_flood_and_still_stops_it() {
    let agent = Agent::new();
    let engine = Engine::new(&agent);
    let mut driver = engine.open(1, "step-a");
    driver.grant = false;
    driver.hello(1, None, 0);
    driver.say(&Request::Start(Box::new(script("yes"))));
    driver.started();
    while driver.output.len() < 200_000 {
        driver.step();
    }
    driver.say(&Request::Stop {
        attempt: attempt(0),
        grace_ms: 0,
        reason: addon::frame::StopReason::Abort,
    });
    driver.grant = true;
    driver.frame(1, &Frame::Credit(4_000_000));
    let record = driver.finished();
    assert_eq!(record.exit, Exit::Signal(9));
    assert!(
        record.output_bytes < 4_000_000,
        "held back at {}",
        record.output_bytes
    );
}

#[test]
fn lite_engine_waits_for_a_slice_and_refuses_links_and_names_that_are_none() {
    let agent = Agent::new();
    let engine = Engine::new(&agent);
    let mut driver = Driver::connect(&engine.socket, 9);
    std::os::unix::fs::symlink(agent.slice(), agent.dir.path().join("step-link")).expect("a link");
    std::fs::create_dir(agent.dir.path().join("step-fake")).expect("a slice");
    std::os::unix::fs::symlink(
        agent.slice().join("socket"),
        agent.dir.path().join("step-fake/socket"),
    )
    .expect("a link");
    for (channel, name) in [
        (1, "step-link"),
        (2, "step-fake"),
        (3, "../step-a"),
        (4, ""),
    ] {
        driver.frame(channel, &Frame::Open(name.to_owned()));
        match driver.next_frame() {
            Some((of, Frame::Close(_))) => assert_eq!(of, channel),
            other => panic!("{name}: {other:?}"),
        }
    }
    driver.frame(9, &Frame::Open("step-late".to_owned()));
    driver.frame(9, &Frame::Ping);
    assert!(
        matches!(driver.next_frame(), Some((9, Frame::Pong))),
        "not there yet, and nobody waits"
    );
    let mut late = support::addon_in(&agent.dir.path().join("step-late"), &[]);
    assert!(matches!(driver.next_frame(), Some((9, Frame::Opened))));
    late.kill().expect("it runs");
    late.wait().expect("it ended");
    assert!(matches!(driver.next_frame(), Some((9, Frame::Close(_)))));
}

/// As the deletion of a pod does it: every process is told at once.
#[test]
fn lite_engine_stays_until_the_step_has_said_its_last_words() {
    use rustix::process::{Pid, Signal, kill_process};
    let mut agent = Agent::new();
    let mut engine = Engine::new(&agent);
    let mut driver = engine.open(1, "step-a");
    driver.hello(1, None, 0);
    driver.say(&Request::Start(Box::new(script(
        "trap 'sleep 0.3; echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done",
    ))));
    driver.some(3);
    for child in [&engine.child, &agent.child] {
        kill_process(Pid::from_child(child), Signal::TERM).expect("it lives");
    }
    let record = driver.finished();
    assert_eq!(record.exit, Exit::Code(7));
    // Between them a shell may tell of its own child that was told, too.
    let text = driver.text();
    assert!(
        text.starts_with("up\n") && text.ends_with("bye\n"),
        "{text}"
    );
    driver.say(&Request::Settled {
        attempt: attempt(0),
    });
    assert!(agent.child.wait().expect("it ends").success());
    // The last that it waits for is gone, although its driver is still there.
    assert!(engine.child.wait().expect("it ends").success());
}

#[test]
fn a_terminal_can_be_attached_beside_the_step() {
    let agent = Agent::new();
    let mut start = script("sleep 1000");
    start
        .env
        .push(("TOKEN".to_owned(), "hunter2-hunter2".to_owned()));
    start.secrets = vec!["hunter2-hunter2".to_owned()];
    let mut driver = begin(&agent, start);
    driver.started();
    let mut guest = agent.connect();
    guest.hello(addon::attempt::GUEST_EPOCH, None, 0);
    guest.say(&Request::Attach {
        id: 3,
        argv: vec![
            "sh".into(),
            "-c".into(),
            "test -t 0 && stty size; tty >/dev/null && echo $STEP:$TOKEN:; read x; echo got $x"
                .into(),
        ],
        tty: Some((80, 24)),
        env: Vec::new(),
    });
    guest.say(&Request::Input {
        id: 3,
        bytes: b"typed\n".to_vec(),
    });
    let mut seen = String::new();
    let exit = loop {
        match guest.report() {
            Report::Attached { id: 3, bytes } => seen += &String::from_utf8_lossy(&bytes),
            Report::Detached { id: 3, exit } => break exit,
            Report::Welcome { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(exit, Exit::Code(0), "{seen}");
    assert!(
        seen.contains("24 80") && seen.contains("a::") && seen.contains("got typed"),
        "{seen}"
    );
    guest.say(&Request::Settled {
        attempt: attempt(0),
    });
    assert!(
        matches!(guest.report(), Report::Refused(_)),
        "a guest settles nothing"
    );
}

#[test]
fn files_are_collected_by_pattern() {
    let agent = Agent::new();
    let dir = agent.slice().join("harness");
    for (path, text) in [
        ("a/TEST-1.xml", "one"),
        ("a/b/TEST-2.xml", "two"),
        ("a/x.txt", "no"),
        ("big.xml", "too large"),
    ] {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }
    let mut driver = agent.connect();
    driver.hello(1, None, 0);
    driver.say(&Request::Collect {
        id: 5,
        globs: vec![
            "**/TEST-*.xml".into(),
            "a".into(),
            "big.xml".into(),
            "none/*.xml".into(),
        ],
        max_bytes: 8,
    });
    let mut found = Vec::new();
    loop {
        match driver.report() {
            Report::File {
                id: 5,
                path,
                offset: 0,
                bytes,
            } => {
                let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                found.push((name, String::from_utf8(bytes).expect("text")));
            }
            Report::Collected { id: 5, files, left } => {
                assert_eq!(files, 2);
                assert_eq!(left.len(), 2, "{left:?}");
                assert_eq!(left[0].1, "no file matches it", "{left:?}");
                assert!(left[1].0.ends_with("big.xml"), "{left:?}");
                break;
            }
            Report::Welcome { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    found.sort();
    assert_eq!(
        found,
        [
            ("TEST-1.xml".to_owned(), "one".to_owned()),
            ("TEST-2.xml".to_owned(), "two".to_owned())
        ]
    );
}

#[test]
fn what_cannot_be_read_ends_its_own_connection_only() {
    use std::io::Write as _;
    let agent = Agent::new();
    for garbage in [
        &b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"\0\0\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x06\0\0\0\0\0\0\0\x04\0",
    ] {
        let mut bad = agent.connect();
        bad.stream.write_all(garbage).expect("it is read");
        while let Some((_, frame)) = bad.next_frame() {
            assert!(
                matches!(frame, Frame::Message(_) | Frame::Close(_)),
                "{frame:?}"
            );
        }
    }
    let (record, _) = run(&agent, script("true"));
    assert_eq!(record.exit, Exit::Code(0));
}

/// A driver whose connection is the standard streams of this command.
fn over_streams(
    words: &[&str],
    path: &std::path::Path,
    channel: u32,
) -> (std::process::Child, Driver) {
    use std::os::fd::OwnedFd;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let child = std::process::Command::new(support::binary())
        .args(words)
        .arg(path)
        .stdin(OwnedFd::from(theirs.try_clone().expect("a copy")))
        .stdout(OwnedFd::from(theirs))
        .spawn()
        .expect("it starts");
    (child, Driver::over(ours, channel))
}

#[test]
fn a_connection_goes_through_standard_streams() {
    let agent = Agent::new();
    drop(agent.connect());
    let socket = agent.slice().join("socket");
    let (mut bridge, mut driver) = over_streams(&["connect", "--socket"], &socket, 0);
    driver.hello(1, None, 0);
    driver.say(&Request::Start(Box::new(script("echo through"))));
    assert_eq!(driver.finished().exit, Exit::Code(0));
    assert_eq!(driver.text(), "through\n");
    driver.say(&Request::Settled {
        attempt: attempt(0),
    });
    drop(driver);
    assert!(bridge.wait().expect("it ends").success());

    let words = ["lite-engine", "--stdio", "--slices"];
    let (mut engine, mut driver) = over_streams(&words, agent.dir.path(), 4);
    driver.frame(4, &Frame::Open("step-a".to_owned()));
    driver.hello(1, None, 0);
    let mut next = script("echo routed");
    next.attempt = attempt(1);
    driver.say(&Request::Start(Box::new(next)));
    assert_eq!(driver.finished().exit, Exit::Code(0));
    driver.say(&Request::Settled {
        attempt: attempt(1),
    });
    drop(driver);
    assert!(
        engine
            .wait()
            .expect("it ends with its connection")
            .success()
    );
}

#[test]
fn a_record_survives_its_addon() {
    let mut agent = Agent::new();
    let mut driver = begin(&agent, script("echo kept; exit 3"));
    let first = driver.finished();
    agent.child.kill().expect("it runs");
    agent.child.wait().expect("it ended");
    std::fs::remove_file(agent.slice().join("socket")).expect("its socket stays");
    agent.child = support::addon_in(&agent.slice(), &[]);
    let mut driver = agent.connect();
    driver.hello(2, Some(attempt(0)), 2);
    let again = driver.finished();
    assert_eq!((again.exit, again.attempt), (Exit::Code(3), first.attempt));
    assert_eq!(driver.gaps, [(2, 3)], "its output is told as missing");
    driver.say(&Request::Settled {
        attempt: attempt(0),
    });
    driver.say(&Request::Start(Box::new({
        let mut next = script("true");
        next.attempt = attempt(1);
        next
    })));
    assert_eq!(driver.finished().attempt, attempt(1));
    driver.say(&Request::Settled {
        attempt: attempt(1),
    });
}
