//! A driver's end, for tests: blocking, with every wait bounded.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use addon::frame::{Attempt, Hello, OutputVar, Program, Record, Report, Request, Shell, Start};
use addon::link::{Decoder, Frame, encode};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Agent {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) child: Child,
    /// How long it may take to end by itself; a namespace ends at once with its keeper.
    pub(crate) ends_within: Duration,
}

impl Drop for Agent {
    fn drop(&mut self) {
        // SIGTERM first: an addon that is killed leaves its step to nobody.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let until = Instant::now() + self.ends_within;
        while Instant::now() < until && !matches!(self.child.try_wait(), Ok(Some(_))) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Agent {
    /// An addon in a slice of its own, `slices/step-a`.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temp dir");
        let child = addon_in(&dir.path().join("step-a"), &[]);
        Agent {
            dir,
            child,
            ends_within: Duration::from_secs(8),
        }
    }

    /// One in namespaces of its own, which `unshare` makes with these flags; `before` is a line of shell that is run there first, with the
    /// directory of the slice as `$0`. `None` where this machine lets nobody make them; said on standard error.
    pub(crate) fn unshared(flags: &[&str], before: &str) -> Option<Self> {
        let allowed = Command::new("unshare").args(flags).arg("true").status();
        if !allowed.is_ok_and(|status| status.success()) {
            eprintln!("no namespace can be made here ({flags:?}): not tested");
            return None;
        }
        let dir = tempfile::tempdir().expect("a temp dir");
        let child = Command::new("unshare")
            .args(flags)
            .args(["sh", "-ec", &format!("{before}\nexec \"$@\"")])
            .arg(dir.path())
            .arg(binary())
            .args(["addon", "--run", "r1", "--dir"])
            .arg(dir.path().join("step-a"))
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare starts");
        Some(Self {
            dir,
            child,
            ends_within: Duration::ZERO,
        })
    }

    pub(crate) fn slice(&self) -> PathBuf {
        self.dir.path().join("step-a")
    }

    pub(crate) fn connect(&self) -> Driver {
        Driver::connect(&self.slice().join("socket"), 0)
    }
}

pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_stepyard-agent")
}

pub(crate) fn addon_in(slice: &Path, env: &[(&str, &str)]) -> Child {
    let workspace = slice.join("harness");
    std::fs::create_dir_all(&workspace).expect("a workspace");
    Command::new(binary())
        .args(["addon", "--run", "r1", "--dir"])
        .arg(slice)
        .arg("--workspace")
        .arg(workspace)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .spawn()
        .expect("the agent starts")
}

pub(crate) struct Driver {
    pub(crate) stream: UnixStream,
    decoder: Decoder,
    channel: u32,
    pub(crate) grant: bool,
    pub(crate) output: Vec<u8>,
    pub(crate) gaps: Vec<(u64, u64)>,
    pub(crate) next: u64,
}

impl Driver {
    pub(crate) fn connect(socket: &Path, channel: u32) -> Self {
        let until = Instant::now() + PATIENCE;
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > until => panic!("{}: {error}", socket.display()),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        Driver::over(stream, channel)
    }

    pub(crate) fn over(stream: UnixStream, channel: u32) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Driver {
            stream,
            decoder: Decoder::default(),
            channel,
            grant: true,
            output: Vec::new(),
            gaps: Vec::new(),
            next: 0,
        }
    }

    pub(crate) fn frame(&mut self, channel: u32, frame: &Frame) {
        let mut bytes = Vec::new();
        encode(channel, frame, &mut bytes).expect("small");
        self.stream.write_all(&bytes).expect("it is read");
    }

    pub(crate) fn say(&mut self, request: &Request) {
        self.frame(self.channel, &Frame::Message(request.to_bytes()));
    }

    pub(crate) fn hello(&mut self, epoch: u64, attempt: Option<Attempt>, acked: u64) {
        self.next = acked;
        self.say(&Request::Hello(Hello {
            version: addon::frame::VERSION,
            run: "r1".to_owned(),
            epoch,
            attempt,
            acked,
        }));
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) fn next_frame(&mut self) -> Option<(u32, Frame)> {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            if let Some(frame) = self.decoder.take().expect("frames") {
                return Some(frame);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.decoder.push(&buffer[..count]),
                Err(error) => panic!(
                    "no frame: {error}; so far {:?}",
                    String::from_utf8_lossy(&self.output)
                ),
            }
        }
    }

    /// The next report, output aside, which is gathered.
    pub(crate) fn report(&mut self) -> Report {
        loop {
            if let Some(report) = self.step() {
                return report;
            }
        }
    }

    /// Takes one frame; output is gathered, another report comes back.
    pub(crate) fn step(&mut self) -> Option<Report> {
        match self.next_frame().expect("the connection stands") {
            (channel, Frame::Message(body)) => {
                assert_eq!(channel, self.channel);
                if self.grant {
                    let mut bytes = Vec::new();
                    encode(self.channel, &Frame::Credit(body.len() as u32), &mut bytes)
                        .expect("small");
                    // The last words of one who hangs up are read all the same.
                    let _ = self.stream.write_all(&bytes);
                }
                match Report::from_bytes(&body).expect("a report") {
                    Report::Output { offset, bytes, .. } => {
                        assert_eq!(offset, self.next, "output is dense");
                        self.next += bytes.len() as u64;
                        self.output.extend(bytes);
                    }
                    Report::Gap { offset, bytes } => {
                        assert_eq!(offset, self.next, "output is dense");
                        self.next += bytes;
                        self.gaps.push((offset, bytes));
                    }
                    other => return Some(other),
                }
            }
            (_, Frame::Opened) => {}
            (_, Frame::Close(why)) => panic!("closed: {why}"),
            (_, other) => panic!("unexpected {other:?}"),
        }
        None
    }

    /// Takes about so much output, or the record where it comes before.
    pub(crate) fn some(&mut self, bytes: usize) -> Option<Record> {
        while self.output.len() < bytes {
            if let Some(Report::Finished(record)) = self.step() {
                return Some(*record);
            }
        }
        None
    }

    pub(crate) fn finished(&mut self) -> Record {
        loop {
            match self.report() {
                Report::Finished(record) => return *record,
                Report::Refused(why) => panic!("refused: {why:?}"),
                _ => {}
            }
        }
    }

    pub(crate) fn started(&mut self) {
        loop {
            match self.report() {
                Report::Started { .. } => return,
                Report::Welcome { .. } => {}
                other => panic!("not started: {other:?}"),
            }
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

pub(crate) fn attempt(number: u32) -> Attempt {
    Attempt {
        run: "r1".to_owned(),
        step: "stages.s.steps.a".to_owned(),
        number,
    }
}

pub(crate) fn script(text: &str) -> Start {
    let mut start = Start {
        attempt: attempt(0),
        program: Program::Script {
            shell: Shell::Sh,
            text: text.to_owned(),
        },
        env: Vec::new(),
        workdir: "/tmp".to_owned(),
        secrets: Vec::new(),
        outputs: Vec::new(),
        background: false,
        readiness: None,
        timeout_ms: 0,
    };
    start.env.push(("STEP".to_owned(), "a".to_owned()));
    start
}

pub(crate) fn var(name: &str) -> OutputVar {
    OutputVar {
        name: name.to_owned(),
        source: name.to_owned(),
        secret: false,
    }
}

/// Starts an attempt on a new connection.
pub(crate) fn begin(agent: &Agent, start: Start) -> Driver {
    let mut driver = agent.connect();
    driver.hello(1, None, 0);
    driver.say(&Request::Start(Box::new(start)));
    driver
}

/// Runs one to its record, which is settled.
pub(crate) fn run(agent: &Agent, start: Start) -> (Record, String) {
    let mut driver = begin(agent, start);
    let record = driver.finished();
    assert_eq!(
        record.output_bytes, driver.next,
        "all output came before the record"
    );
    driver.say(&Request::Settled {
        attempt: record.attempt.clone(),
    });
    (record, driver.text())
}
