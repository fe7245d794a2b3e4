//! Steps in the real agent, over its real socket: how they start, end, and what they leave.

mod support;

use addon::frame::{Exit, OutputVar, Program, Report, Request, Shell, State, StopReason};
use support::{Agent, Driver, attempt, begin, run, script, var};

fn stop(grace_ms: u64) -> Request {
    Request::Stop {
        attempt: attempt(0),
        grace_ms,
        reason: StopReason::Abort,
    }
}

#[test]
fn a_script_runs_and_leaves_its_output_and_its_record() {
    let agent = Agent::new();
    let mut start = script("echo hello $STEP; echo oops >&2; export V='two\nlines'; exit 0");
    start.outputs = vec![var("V"), var("UNDEFINED")];
    let (record, text) = run(&agent, start);
    assert_eq!(text, "hello a\noops\n");
    assert_eq!(record.exit, Exit::Code(0));
    assert_eq!(record.attempt, attempt(0));
    let outputs: Vec<_> = record
        .outputs
        .iter()
        .map(|o| (o.name.as_str(), o.value.as_str()))
        .collect();
    assert_eq!(outputs, [("V", "two\nlines")]);
    assert!(record.warnings.is_empty(), "{:?}", record.warnings);
    assert!(record.peak_memory > 0);
}

#[test]
fn outputs_come_whatever_way_the_script_ends() {
    for (text, code) in [
        ("V=1; exit 0", 0),
        ("V=1; exit 7", 7),
        ("V=1; false; V=2", 1),
        ("V=1; trap 'echo mine' EXIT", 0),
        ("V=1; [ -z x ] && echo no", 1),
        ("V=1; set -eux; true # a comment", 0),
        ("V=1; cat <<END\ntext\nEND", 0),
        ("V=1; true \\", 0),
    ] {
        let agent = Agent::new();
        let mut start = script(text);
        start.outputs = vec![var("V")];
        let (record, log) = run(&agent, start);
        assert_eq!(record.exit, Exit::Code(code), "{text}: {log}");
        let value = record.outputs.first().map(|output| output.value.as_str());
        assert_eq!(value, Some("1"), "{text}: {log}");
        assert!(
            !log.contains("stepyard"),
            "{text}: our lines are not traced: {log}"
        );
    }
}

#[test]
fn dotenv_files_are_outputs_and_secret_ones_stay_secret() {
    let agent = Agent::new();
    let start = script(
        "echo 'A=plain' >> $DRONE_OUTPUT; echo 'B=\"x y\"' >> $HARNESS_OUTPUT_FILE
         echo \"C=__B64__$(printf 'l1\\nl2' | base64)\" >> $DRONE_OUTPUT
         echo 'T=token' >> $HARNESS_OUTPUT_SECRET_FILE",
    );
    let (record, _) = run(&agent, start);
    let outputs: Vec<_> = record
        .outputs
        .iter()
        .map(|o| (o.name.as_str(), o.value.as_str(), o.secret))
        .collect();
    assert_eq!(
        outputs,
        [
            ("A", "plain", false),
            ("B", "x y", false),
            ("C", "l1\nl2", false),
            ("T", "token", true)
        ]
    );
}

#[test]
fn a_nul_byte_in_an_environment_value_is_told_and_nothing_runs() {
    let agent = Agent::new();
    let mut start = script("echo ran");
    start.env.push(("KEY".to_owned(), "hun\0ter2".to_owned()));
    let (record, text) = run(&agent, start);
    let Exit::NotStarted(why) = &record.exit else {
        panic!("{:?}", record.exit);
    };
    let words = "the environment variable KEY holds a NUL byte, ";
    assert!(why.contains(words) && !why.contains("hun"), "{why}");
    assert_eq!(text, "");
}

#[test]
fn an_environment_value_that_the_kernel_does_not_take_is_told_by_its_name() {
    let agent = Agent::new();
    // With `KEY=` and the NUL behind it exactly as long as may be.
    let fits = 128 * 1024 - 5;
    for (attempt, (bytes, runs)) in [(fits, true), (fits + 1, false)].into_iter().enumerate() {
        let mut start = script("echo ${#KEY}");
        start.attempt.number = attempt as u32;
        start.env.push(("KEY".to_owned(), "x".repeat(bytes)));
        let (record, text) = run(&agent, start);
        match &record.exit {
            Exit::Code(0) if runs => assert_eq!(text, format!("{bytes}\n")),
            Exit::NotStarted(why) if !runs => {
                assert!(
                    why.contains("the environment variable KEY is too long"),
                    "{why}"
                );
            }
            other => panic!("{bytes}: {other:?}"),
        }
    }
}

#[test]
fn a_file_of_outputs_over_the_limit_is_told_with_its_mend() {
    let agent = Agent::new();
    let start =
        script("truncate -s 16777217 $DRONE_OUTPUT; echo S=1 > $HARNESS_OUTPUT_SECRET_FILE");
    let (record, _) = run(&agent, start);
    assert_eq!(record.outputs.len(), 1);
    assert_eq!(
        record.warnings,
        [
            "no output of $HARNESS_OUTPUT_FILE ($DRONE_OUTPUT) is read: it has 16777217 bytes; the limit is 16777216. Write what is large to a file in /harness instead"
        ]
    );
}

#[test]
fn python_exports_after_an_early_exit() {
    let agent = Agent::new();
    let mut start = script("");
    start.program = Program::Script {
        shell: Shell::Python,
        text: "import os, sys\nos.environ['V'] = 'ü\\n2'\nprint('hi')\nsys.exit(3)".to_owned(),
    };
    start.outputs = vec![OutputVar {
        secret: true,
        ..var("V")
    }];
    let (record, log) = run(&agent, start);
    if let Exit::NotStarted(why) = &record.exit {
        assert!(why.contains("python3"), "{why}");
        return;
    }
    assert_eq!(record.exit, Exit::Code(3), "{log}");
    assert_eq!(record.outputs[0].value, "ü\n2");
    assert!(record.outputs[0].secret);
}

#[test]
fn what_is_missing_is_named_with_its_mend() {
    let plain = tempfile::NamedTempFile::new().expect("a file");
    let plain = plain.path().display().to_string();
    for (argv, words) in [
        (
            vec!["no-such-program"],
            "the image has no `no-such-program`",
        ),
        (vec!["/no/such"], "the image has no /no/such"),
        (vec![plain.as_str()], "may not be executed"),
        (vec![], "there is no command"),
    ] {
        let agent = Agent::new();
        let mut start = script("");
        start.program = Program::Exec {
            argv: argv.into_iter().map(str::to_owned).collect(),
            before: None,
        };
        let (record, _) = run(&agent, start);
        let Exit::NotStarted(why) = &record.exit else {
            panic!("{:?}", record.exit);
        };
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn a_program_runs_after_its_script_with_its_words_unharmed() {
    let agent = Agent::new();
    let mut start = script("");
    start.program = Program::Exec {
        argv: vec![
            "printf".into(),
            "%s|".into(),
            "a b".into(),
            "it's".into(),
            "$HOME".into(),
            "\"*\"".into(),
        ],
        before: Some("echo before; set -- changed".to_owned()),
    };
    let (record, log) = run(&agent, start);
    assert_eq!(record.exit, Exit::Code(0));
    assert_eq!(log, "before\na b|it's|$HOME|\"*\"|");
}

/// Starts a script that says `up`, and waits for it: a trap before that is set when its line has come.
fn up(agent: &Agent, text: &str) -> Driver {
    let mut driver = begin(agent, script(text));
    driver.started();
    let mut early = agent.connect();
    drop(driver);
    early.hello(1, Some(attempt(0)), 0);
    while early.text() != "up\n" {
        early.step();
    }
    early
}

#[test]
fn one_that_ignores_sigterm_is_killed_after_the_grace_and_a_second_stop_hurries() {
    let agent = Agent::new();
    let mut driver = up(&agent, "trap '' TERM; echo up; while :; do sleep 1; done");
    driver.say(&stop(3_600_000));
    driver.say(&stop(100));
    let record = driver.finished();
    assert_eq!(record.exit, Exit::Signal(9));
    assert_eq!(record.stopped, Some(StopReason::Abort));
}

#[test]
fn one_that_listens_to_sigterm_ends_as_it_likes() {
    let agent = Agent::new();
    let mut driver = up(
        &agent,
        "trap 'echo bye; exit 4' TERM; echo up; while :; do sleep 0.1; done",
    );
    driver.say(&stop(3_600_000));
    let record = driver.finished();
    assert_eq!(record.exit, Exit::Code(4));
    // The shell may say between the two what its `sleep` died of.
    assert!(
        driver.text().starts_with("up\n") && driver.text().ends_with("bye\n"),
        "{}",
        driver.text()
    );
}

#[test]
fn a_program_that_is_no_shell_hears_every_signal() {
    let agent = Agent::new();
    // Shells clear their signal mask; this says what a program that does not was given, and ends by SIGTERM itself.
    let mut start = script("");
    start.program = Program::Exec {
        argv: ["grep", "SigBlk", "/proc/self/status"]
            .map(str::to_owned)
            .to_vec(),
        before: None,
    };
    let (record, log) = run(&agent, start);
    assert_eq!(record.exit, Exit::Code(0));
    assert_eq!(log, "SigBlk:\t0000000000000000\n");

    let agent = Agent::new();
    let mut start = script("");
    start.program = Program::Exec {
        argv: ["sleep", "1000"].map(str::to_owned).to_vec(),
        before: None,
    };
    let mut driver = begin(&agent, start);
    driver.started();
    driver.say(&stop(3_600_000));
    assert_eq!(driver.finished().exit, Exit::Signal(15));
}

#[test]
fn its_own_timeout_holds_without_a_driver() {
    let agent = Agent::new();
    let mut start = script("sleep 1000");
    start.timeout_ms = 50;
    let mut driver = begin(&agent, start);
    driver.started();
    drop(driver);
    let mut driver = agent.connect();
    driver.hello(2, Some(attempt(0)), 0);
    let record = driver.finished();
    assert_eq!(record.stopped, Some(StopReason::Timeout));
    assert_eq!(record.exit, Exit::Signal(15));
}

#[test]
fn a_daemon_does_not_hold_the_step_and_dies_before_the_next_one() {
    let agent = Agent::new();
    let text = "setsid sh -c 'echo $$ >\"$0\"; exec sleep 1000' \"$PIDS\" & while [ ! -s \"$PIDS\" ]; do sleep 0.01; done; echo left";
    let pids = agent.slice().join("pid");
    let mut start = script(text);
    start
        .env
        .push(("PIDS".to_owned(), pids.display().to_string()));
    let (record, log) = run(&agent, start);
    assert_eq!((record.exit, log.as_str()), (Exit::Code(0), "left\n"));
    let pid: i32 = std::fs::read_to_string(&pids)
        .expect("its pid")
        .trim()
        .parse()
        .expect("a number");
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    assert!(
        rustix::process::test_kill_process(pid).is_ok(),
        "a daemon outlives its step"
    );
    let mut next = script("echo next");
    next.attempt = attempt(1);
    let (record, _) = run(&agent, next);
    assert_eq!(record.exit, Exit::Code(0));
    assert!(
        rustix::process::test_kill_process(pid).is_err(),
        "but not the next one's start"
    );
}

#[test]
fn the_rest_of_a_process_substitution_is_waited_for() {
    let agent = Agent::new();
    let mut start = script("exec > >(sleep 0.1; cat); echo late");
    start.program = Program::Script {
        shell: Shell::Bash,
        text: "exec > >(sleep 0.1; cat); echo late".to_owned(),
    };
    let (record, log) = run(&agent, start);
    assert_eq!((record.exit, log.as_str()), (Exit::Code(0), "late\n"));
}

#[test]
fn a_step_that_closes_its_output_or_kills_its_parent_ends_by_itself() {
    let agent = Agent::new();
    let (record, log) = run(&agent, script("echo a; exec >&- 2>&-; sleep 0.05; exit 5"));
    assert_eq!((record.exit, log.as_str()), (Exit::Code(5), "a\n"));
    let mut start = script("(kill -9 $$) ; echo never");
    start.attempt = attempt(1);
    let (record, _) = run(&agent, start);
    assert_eq!(record.exit, Exit::Signal(9));
}

#[test]
fn secrets_are_masked_and_nowhere_but_in_the_step() {
    let agent = Agent::new();
    let mut start = script("echo \"token=$TOKEN\"; printf %s \"$TOKEN\" | base64; sleep 0.2");
    start
        .env
        .push(("TOKEN".to_owned(), "hunter2-hunter2".to_owned()));
    start.secrets = vec!["hunter2-hunter2".to_owned()];
    let mut driver = begin(&agent, start);
    driver.started();
    let environ = std::fs::read(format!("/proc/{}/environ", agent.child.id()));
    let environ = String::from_utf8_lossy(&environ.unwrap_or_default()).into_owned();
    assert!(!environ.contains("hunter2"));
    let record = driver.finished();
    assert_eq!(record.exit, Exit::Code(0));
    assert_eq!(driver.text(), "token=**************\n**************\n");
    for file in walk(agent.dir.path()) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        assert!(
            !String::from_utf8_lossy(&bytes).contains("hunter2"),
            "{}",
            file.display()
        );
    }
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn a_background_step_is_ready_when_its_probe_says_so() {
    use addon::frame::{Probe, Readiness};
    let agent = Agent::new();
    let mark = agent.slice().join("mark");
    for (probe, required) in [
        (
            Probe::Exec(vec!["test".into(), "-e".into(), mark.display().to_string()]),
            true,
        ),
        (Probe::Tcp(1), false),
    ] {
        let number = u32::from(!required);
        let mut start = script("sleep 0.1; : > \"$MARK\"; sleep 1000");
        start.attempt = attempt(number);
        start
            .env
            .push(("MARK".to_owned(), mark.display().to_string()));
        start.background = true;
        start.readiness = Some(Readiness {
            probe,
            period_ms: 10,
            answer_ms: 5_000,
            deadline_ms: if required { 20_000 } else { 100 },
            required,
        });
        let mut driver = begin(&agent, start);
        driver.started();
        match driver.report() {
            Report::Ready { warning, .. } => {
                assert_eq!(warning.is_some(), !required, "{warning:?}");
            }
            other => panic!("{other:?}"),
        }
        driver.say(&Request::Stop {
            attempt: attempt(number),
            grace_ms: 10_000,
            reason: StopReason::GroupEnd,
        });
        let record = driver.finished();
        assert_eq!(record.stopped, Some(StopReason::GroupEnd));
        driver.say(&Request::Settled {
            attempt: attempt(number),
        });
    }
}

/// Starts a Background step with a probe; what is told of its readiness, which ends it.
fn readiness(
    agent: &Agent,
    number: u32,
    probe: addon::frame::Probe,
    deadline_ms: u64,
    between: impl FnOnce(),
) -> Option<String> {
    let mut start = script("sleep 1000");
    start.attempt = attempt(number);
    start.background = true;
    start.readiness = Some(addon::frame::Readiness {
        probe,
        period_ms: 5,
        answer_ms: 5_000,
        deadline_ms,
        required: false,
    });
    let mut driver = begin(agent, start);
    driver.started();
    between();
    let Report::Ready { warning, .. } = driver.report() else {
        panic!("not ready");
    };
    let attempt = attempt(number);
    driver.say(&Request::Stop {
        attempt: attempt.clone(),
        grace_ms: 10_000,
        reason: StopReason::GroupEnd,
    });
    driver.finished();
    driver.say(&Request::Settled { attempt });
    warning
}

/// A server that gives each connection the next of these answers, the last one again and again.
fn server(answers: &'static [&'static str]) -> (u16, std::sync::mpsc::Receiver<String>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (tell, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for (at, stream) in listener.incoming().flatten().enumerate() {
            let mut stream = stream;
            let mut request = [0; 1024];
            let count = stream.read(&mut request).unwrap_or(0);
            let _ = tell.send(String::from_utf8_lossy(&request[..count]).into_owned());
            let _ = stream.write_all(answers[at.min(answers.len() - 1)].as_bytes());
        }
    });
    (port, asked)
}

#[test]
fn http_probes_count_the_status() {
    use addon::frame::Probe;
    let agent = Agent::new();
    let path = "/health?x=1".to_owned();
    let http = |port| Probe::Http {
        port,
        path: path.clone(),
    };
    // It comes up, and redirects are fine.
    let (port, asked) = server(&[
        "",
        "HTTP/1.1 503 Busy\r\n\r\n",
        "HTTP/1.0 302 Found\r\n\r\n",
    ]);
    assert_eq!(readiness(&agent, 0, http(port), 60_000, || {}), None);
    let asked: Vec<String> = asked.try_iter().collect();
    assert_eq!(asked.len(), 3);
    assert!(
        asked[0].starts_with("GET /health?x=1 HTTP/1.1\r\nHost: localhost\r\n"),
        "{asked:?}"
    );
    // The last answer is what the warning tells.
    for (number, answer, says) in [
        (1, &["HTTP/1.1 500 No\r\n\r\n"], "HTTP status 500"),
        (2, &["SSH-2.0-x\r\n"], "not HTTP"),
    ] {
        let (port, _asked) = server(answer);
        let warning = readiness(&agent, number, http(port), 300, || {}).expect("a warning");
        assert!(warning.contains(says), "{warning}");
    }
}

#[test]
fn unix_probes_wait_for_who_accepts() {
    use addon::frame::Probe;
    let agent = Agent::new();
    let path = agent.slice().join("engine.sock");
    let probe = || Probe::Unix(path.display().to_string());
    let mut listener = None;
    // It is not there when it is asked for first.
    let ready = readiness(&agent, 0, probe(), 60_000, || {
        listener = std::os::unix::net::UnixListener::bind(&path).ok();
    });
    assert_eq!(ready, None);
    // One whose owner is gone does not count.
    drop(listener);
    let warning = readiness(&agent, 1, probe(), 100, || {}).expect("a warning");
    assert!(warning.contains("engine.sock"), "{warning}");
}

#[test]
fn sigterm_to_the_addon_stops_the_step_and_keeps_its_record_for_a_while() {
    let mut agent = Agent::new();
    let mut driver = begin(&agent, script("sleep 1000"));
    driver.started();
    let pid = rustix::process::Pid::from_child(&agent.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
    let record = driver.finished();
    assert_eq!(record.stopped, Some(StopReason::Terminated));
    driver.say(&Request::Settled {
        attempt: attempt(0),
    });
    assert!(agent.child.wait().expect("it ends").success());
}

#[test]
fn a_script_longer_than_an_argument_may_be_runs() {
    let agent = Agent::new();
    let (record, log) = run(
        &agent,
        script(&format!("# {}\necho $0 done", "x".repeat(300_000))),
    );
    assert_eq!(record.exit, Exit::Code(0), "{log}");
    assert!(log.ends_with("done\n"), "{log}");
}

#[test]
fn an_idle_addon_says_so() {
    let agent = Agent::new();
    let mut driver = agent.connect();
    driver.hello(1, None, 0);
    match driver.report() {
        Report::Welcome { state, .. } => assert_eq!(state, State::Idle),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_agent_copies_itself_without_a_shell() {
    let dir = tempfile::tempdir().expect("a directory");
    let to = dir.path().join("bin/stepyard-agent");
    let status = std::process::Command::new(support::binary())
        .arg("copy")
        .arg(&to)
        .env_clear()
        .status()
        .expect("it runs");
    assert!(status.success());
    let out = std::process::Command::new(&to)
        .arg("version")
        .output()
        .expect("the copy runs");
    assert!(String::from_utf8_lossy(&out.stdout).contains("frames 1"));
}
