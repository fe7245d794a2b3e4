//! A conversation with one addon, as short as a test can have it.

use addon::frame::{
    Attempt, Exit, Hello, Program, Record, Report, Request, Shell, Start, State, VERSION,
};
use addon::link::{Decoder, Frame, encode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Wrong;
use crate::backend::Carrier;

/// The one channel of such a connection.
const CHANNEL: u32 = 1;

/// A conversation.
pub struct Talk {
    carrier: Box<dyn Carrier>,
    decoder: Decoder,
    run: String,
    /// What the addon was doing when this connection said hello.
    pub state: State,
}

impl Talk {
    /// Opens the channel and says hello, knowing this much of an attempt.
    pub async fn open(
        carrier: Box<dyn Carrier>,
        run: &str,
        container: &str,
        known: Option<(Attempt, u64)>,
    ) -> Result<Self, Wrong> {
        let mut this = Self {
            carrier,
            decoder: Decoder::default(),
            run: run.to_owned(),
            state: State::Idle,
        };
        this.frame(&Frame::Open(container.to_owned())).await?;
        match this.next().await? {
            Frame::Opened => {}
            other => return Err(format!("opening {container}: {other:?}")),
        }
        let (attempt, acked) = known.unzip();
        let asked = attempt.clone();
        this.hello(attempt, acked.unwrap_or(0)).await?;
        // An earlier attempt whose settlement was lost with its connection.
        if let State::Done(record) = &this.state
            && asked.as_ref() != Some(&record.attempt)
        {
            let attempt = record.attempt.clone();
            this.finish(&mut Vec::new()).await?;
            this.say(&Request::Settled { attempt }).await?;
            this.state = State::Idle;
        }
        Ok(this)
    }

    async fn hello(&mut self, attempt: Option<Attempt>, acked: u64) -> Result<(), Wrong> {
        let hello = Hello {
            version: VERSION,
            run: self.run.clone(),
            epoch: 1,
            attempt,
            acked,
        };
        self.say(&Request::Hello(hello)).await?;
        loop {
            match self.report().await? {
                Report::Welcome { state, .. } => {
                    self.state = state;
                    return Ok(());
                }
                Report::Refused(why) => return Err(format!("hello was refused: {why:?}")),
                _ => {}
            }
        }
    }

    /// Sends a request.
    pub async fn say(&mut self, request: &Request) -> Result<(), Wrong> {
        self.frame(&Frame::Message(request.to_bytes())).await
    }

    async fn frame(&mut self, frame: &Frame) -> Result<(), Wrong> {
        let mut bytes = Vec::new();
        encode(CHANNEL, frame, &mut bytes).map_err(|e| e.to_string())?;
        let sent = self.carrier.write_all(&bytes).await;
        sent.map_err(|e| format!("sending: {e}"))?;
        // Some carriers keep what is written until they are told.
        self.carrier
            .flush()
            .await
            .map_err(|e| format!("sending: {e}"))
    }

    async fn next(&mut self) -> Result<Frame, Wrong> {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            if let Some((_, frame)) = self.decoder.take().map_err(|e| e.to_string())? {
                return Ok(frame);
            }
            match self.carrier.read(&mut chunk).await {
                Ok(0) => return Err("the connection ended".to_owned()),
                Ok(n) => self.decoder.push(&chunk[..n]),
                Err(e) => return Err(format!("the connection broke: {e}")),
            }
        }
    }

    /// The next report; grants the credit it took.
    pub async fn report(&mut self) -> Result<Report, Wrong> {
        loop {
            match self.next().await? {
                Frame::Message(bytes) => {
                    self.frame(&Frame::Credit(bytes.len() as u32)).await?;
                    return Report::from_bytes(&bytes).map_err(|e| e.to_string());
                }
                Frame::Close(why) => return Err(format!("the channel was closed: {why}")),
                _ => {}
            }
        }
    }

    /// Reports until the attempt is over; its output is added to `output`.
    pub async fn finish(&mut self, output: &mut Vec<u8>) -> Result<Record, Wrong> {
        loop {
            match self.report().await? {
                Report::Output { bytes, .. } => output.extend_from_slice(&bytes),
                Report::Finished(record) => return Ok(*record),
                Report::Refused(why) => return Err(format!("refused: {why:?}")),
                _ => {}
            }
        }
    }

    /// Runs a program beside the step, with this input in the steps that it asks for by dots: what it wrote, and how it ended.
    pub async fn attached(
        &mut self,
        argv: &[&str],
        input: Option<&[u8]>,
    ) -> Result<(Vec<u8>, Exit), Wrong> {
        const ID: u32 = 7;
        const PIECE: usize = addon::workspace::STEP as usize;
        self.say(&Request::Attach {
            id: ID,
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            tty: None,
            env: Vec::new(),
        })
        .await?;
        let mut pieces = input.map(|bytes| bytes.chunks(PIECE));
        let mut said = Vec::new();
        // Two pieces ahead of what it says to have taken; the last one is empty, and ends its input.
        let mut room = 2;
        loop {
            while room > 0
                && let Some(left) = &mut pieces
            {
                room -= 1;
                let bytes = left.next().unwrap_or_default().to_vec();
                if bytes.is_empty() {
                    pieces = None;
                }
                self.say(&Request::Input { id: ID, bytes }).await?;
            }
            match self.report().await? {
                Report::Attached { id: ID, bytes } => {
                    room += bytes.split(|byte| *byte == b'.').count() - 1;
                    said.extend(bytes);
                }
                Report::Detached { id: ID, exit } => return Ok((said, exit)),
                Report::Refused(why) => return Err(format!("refused: {why:?}")),
                _ => {}
            }
        }
    }

    /// Runs a script to its end and settles it.
    pub async fn run(&mut self, step: &str, text: &str) -> Result<(String, i32), Wrong> {
        let start = script(&self.run, step, text);
        let attempt = start.attempt.clone();
        self.say(&Request::Start(Box::new(start))).await?;
        let mut output = Vec::new();
        let record = self.finish(&mut output).await?;
        self.say(&Request::Settled { attempt }).await?;
        let code = match record.exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
            Exit::NotStarted(why) => return Err(format!("`{text}` did not start: {why}")),
        };
        Ok((String::from_utf8_lossy(&output).into_owned(), code))
    }
}

/// A start of a script in `sh`. Each text is an attempt of its own.
pub fn script(run: &str, step: &str, text: &str) -> Start {
    use std::hash::{Hash as _, Hasher as _};
    let mut hasher = std::hash::DefaultHasher::new();
    text.hash(&mut hasher);
    Start {
        attempt: Attempt {
            run: run.to_owned(),
            step: format!("{step}-{:x}", hasher.finish()),
            number: 0,
        },
        program: Program::Script {
            shell: Shell::Sh,
            text: text.to_owned(),
        },
        env: vec![("STEPYARD_CASE".to_owned(), "conformance".to_owned())],
        workdir: pipeline::pod::WORKSPACE.to_owned(),
        secrets: Vec::new(),
        outputs: Vec::new(),
        background: false,
        readiness: None,
        timeout_ms: 0,
    }
}
