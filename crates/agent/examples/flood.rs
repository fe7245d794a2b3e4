//! How fast a log goes from a step's process to a reader of the addon's socket: `flood AGENT [BYTES]`.
//!
//! Lines of 100 bytes, three secrets, one line in a hundred holds one. The reader decodes and grants, and stores nothing.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use addon::frame::{Attempt, Hello, Program, Report, Request, Shell, Start, VERSION};
use addon::link::{Decoder, Frame, encode};

fn main() {
    let mut words = std::env::args().skip(1);
    let agent = words.next().expect("the agent's path");
    let bytes: u64 = words
        .next()
        .map_or(1_000_000_000, |word| word.parse().expect("bytes"));
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
    let resident = |field: &str| {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status
            .lines()
            .find(|line| line.starts_with(field))
            .unwrap_or_default()
            .to_owned();
        line.split_whitespace().nth(1).unwrap_or("?").to_owned()
    };
    println!("resident while it waits: {} kB", resident("VmRSS"));
    let attempt = Attempt {
        run: "r".to_owned(),
        step: "s".to_owned(),
        number: 0,
    };
    let line = "x".repeat(99);
    let secret = format!("{}hunter2-hunter2{}", "y".repeat(40), "y".repeat(44));
    let text = format!(
        "yes \"$(i=0; while [ $i -lt 99 ]; do echo {line}; i=$((i+1)); done; echo {secret})\" | head -c {bytes}"
    );
    let send = |request: &Request, stream: &mut UnixStream| {
        let mut out = Vec::new();
        encode(0, &Frame::Message(request.to_bytes()), &mut out).expect("small");
        stream.write_all(&out).expect("it is read");
    };
    send(
        &Request::Hello(Hello {
            version: VERSION,
            run: "r".to_owned(),
            epoch: 1,
            attempt: None,
            acked: 0,
        }),
        &mut stream,
    );
    let begun = Instant::now();
    send(
        &Request::Start(Box::new(Start {
            attempt: attempt.clone(),
            program: Program::Script {
                shell: Shell::Sh,
                text,
            },
            env: Vec::new(),
            workdir: "/tmp".to_owned(),
            secrets: vec![
                "hunter2-hunter2".to_owned(),
                "correct horse".to_owned(),
                "-----KEY-----\nabcdefgh\nijklmnop".to_owned(),
            ],
            outputs: Vec::new(),
            background: false,
            readiness: None,
            timeout_ms: 0,
        })),
        &mut stream,
    );
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 256 * 1024];
    let (mut got, mut messages, mut unacked) = (0u64, 0u64, 0u32);
    let record = 'all: loop {
        let count = stream.read(&mut buffer).expect("it goes on");
        assert!(count > 0, "the agent is gone");
        decoder.push(&buffer[..count]);
        while let Some((_, frame)) = decoder.take().expect("frames") {
            let Frame::Message(body) = frame else {
                continue;
            };
            unacked += body.len() as u32;
            match Report::from_bytes(&body).expect("a report") {
                Report::Output { bytes, .. } => {
                    got += bytes.len() as u64;
                    messages += 1;
                }
                Report::Finished(record) => break 'all record,
                _ => {}
            }
        }
        if unacked > 64 * 1024 {
            let mut out = Vec::new();
            encode(0, &Frame::Credit(std::mem::take(&mut unacked)), &mut out).expect("small");
            stream.write_all(&out).expect("it is read");
            send(
                &Request::Acked {
                    attempt: attempt.clone(),
                    offset: got,
                },
                &mut stream,
            );
        }
    };
    let took = begun.elapsed();
    println!(
        "{got} bytes in {messages} messages, {:.2} s: {:.0} MB/s; largest resident set {} kB; exit {:?}",
        took.as_secs_f64(),
        bytes as f64 / 1e6 / took.as_secs_f64(),
        resident("VmHWM"),
        record.exit
    );
    send(&Request::Settled { attempt }, &mut stream);
    child.kill().expect("it runs");
    child.wait().expect("it ended");
}
