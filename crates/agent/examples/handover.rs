//! How long one step after another takes in one container: `handover AGENT [STEPS]`, each of them `/bin/true`.
//!
//! From the start's sending to the record's coming, and from one record to the next step's `Started`: the hand-over.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use addon::frame::{Attempt, Hello, Program, Report, Request, Start, VERSION};
use addon::link::{Decoder, Frame, encode};

fn main() {
    let mut words = std::env::args().skip(1);
    let agent = words.next().expect("the agent's path");
    let steps: u32 = words
        .next()
        .map_or(1000, |word| word.parse().expect("steps"));
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(&agent)
        .args(["addon", "--dir"])
        .arg(dir.path())
        .stdin(Stdio::null())
        .spawn()
        .expect("the agent starts");
    let mut stream = loop {
        match UnixStream::connect(dir.path().join("socket")) {
            Ok(stream) => break stream,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let say = |request: &Request, stream: &mut UnixStream| {
        let mut out = Vec::new();
        encode(0, &Frame::Message(request.to_bytes()), &mut out).expect("small");
        encode(0, &Frame::Credit(4096), &mut out).expect("small");
        stream.write_all(&out).expect("it is read");
    };
    say(
        &Request::Hello(Hello {
            version: VERSION,
            run: "r".to_owned(),
            epoch: 1,
            attempt: None,
            acked: 0,
        }),
        &mut stream,
    );
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 64 * 1024];
    let (mut whole, mut handover) = (Vec::new(), Vec::new());
    for number in 0..steps {
        let attempt = Attempt {
            run: "r".to_owned(),
            step: "s".to_owned(),
            number,
        };
        let begun = Instant::now();
        say(
            &Request::Start(Box::new(Start {
                attempt: attempt.clone(),
                program: Program::Exec {
                    argv: vec!["/bin/true".to_owned()],
                    before: None,
                },
                env: Vec::new(),
                workdir: "/tmp".to_owned(),
                secrets: Vec::new(),
                outputs: Vec::new(),
                background: false,
                readiness: None,
                timeout_ms: 0,
            })),
            &mut stream,
        );
        'one: loop {
            while let Some((_, frame)) = decoder.take().expect("frames") {
                let Frame::Message(body) = frame else {
                    continue;
                };
                match Report::from_bytes(&body).expect("a report") {
                    Report::Started { .. } => handover.push(begun.elapsed()),
                    Report::Finished(_) => break 'one,
                    _ => {}
                }
            }
            let count = stream.read(&mut buffer).expect("it goes on");
            assert!(count > 0, "the agent is gone");
            decoder.push(&buffer[..count]);
        }
        whole.push(begun.elapsed());
        say(&Request::Settled { attempt }, &mut stream);
    }
    for (name, mut times) in [
        ("record to the next start", handover),
        ("start to record", whole),
    ] {
        times.sort();
        println!(
            "{name}: p50 {:?}, p99 {:?} over {steps} steps",
            times[times.len() / 2],
            times[times.len() * 99 / 100]
        );
    }
    child.kill().expect("it runs");
    child.wait().expect("it ended");
}
