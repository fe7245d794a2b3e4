//! A terminal in a step's container: the client of [`Request::Attach`].
//!
//! It is a guest beside the driver: it takes nothing over, and the run neither waits for it nor ends with it.

use std::io::{self, IsTerminal as _, Write as _};

use addon::attempt::GUEST_EPOCH;
use addon::frame::{Exit, Hello, Refusal, Report, Request, VERSION};
use addon::link::{self, Decoder, Frame};
use driver::backend::Carrier;
use rustix::termios::{self, OptionalActions, Termios};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::problem::Problem;

/// The one channel that is opened.
const CHANNEL: u32 = 1;
/// The one process that is attached.
const ID: u32 = 1;
/// Credit is granted again when so much was taken: half of what is under way at most.
const GRANT: u32 = link::INITIAL_CREDIT / 2;
/// Pieces of typed input that wait to be sent: a paste, not a file; then reading stops.
const TYPED: usize = 16;

/// What to start, and where.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The run's id.
    pub(crate) run: String,
    /// The step's container.
    pub(crate) container: String,
    /// The program and its arguments; empty: a shell.
    pub(crate) argv: Vec<String>,
}

/// Standard input in raw mode, and as it was again when this is dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> Option<Self> {
        let before = termios::tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn size() -> (u16, u16) {
    termios::tcgetwinsize(io::stdout()).map_or((80, 24), |s| (s.ws_col.max(1), s.ws_row.max(1)))
}

/// Runs it to its end.
pub(crate) async fn attach(carrier: Box<dyn Carrier>, wanted: Wanted) -> Result<Exit, Problem> {
    let tty = io::stdin().is_terminal() && io::stdout().is_terminal();
    let (mut from, mut to) = tokio::io::split(carrier);
    let mut bytes = Vec::new();
    put(&mut bytes, &Frame::Open(wanted.container.clone()))?;
    ask(
        &mut bytes,
        &Request::Hello(Hello {
            version: VERSION,
            run: wanted.run.clone(),
            epoch: GUEST_EPOCH,
            attempt: None,
            acked: 0,
        }),
    )?;
    let term = std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned());
    let env = if tty {
        vec![("TERM".to_owned(), term)]
    } else {
        Vec::new()
    };
    ask(
        &mut bytes,
        &Request::Attach {
            id: ID,
            argv: wanted.argv.clone(),
            tty: tty.then(size),
            env,
        },
    )?;
    to.write_all(&bytes).await.map_err(|e| lost(&e))?;

    let raw = if tty { Raw::enter() } else { None };
    let mut typed = typing();
    let mut winch = signal(SignalKind::window_change())
        .map_err(|e| Problem::system("watch the terminal's size", &e))?;
    let mut decoder = Decoder::default();
    let mut taken = 0_u32;
    let mut buffer = vec![0_u8; 64 * 1024];
    let exit = loop {
        let mut out = Vec::new();
        tokio::select! {
            read = from.read(&mut buffer) => {
                let n = read.map_err(|e| lost(&e))?;
                if n == 0 {
                    return Err(Problem::failed("the pod ended"));
                }
                decoder.push(&buffer[..n]);
                let mut end = None;
                while let Some((_, frame)) = decoder.take().map_err(|e| lost(&e))? {
                    match frame {
                        Frame::Message(body) => {
                            taken += body.len() as u32;
                            if let Some(exit) = report(&body)? {
                                end = Some(exit);
                            }
                        }
                        Frame::Close(why) => {
                            return Err(Problem::failed(format!("the container {} cannot be reached: {why}", wanted.container)));
                        }
                        Frame::Ping => put(&mut out, &Frame::Pong)?,
                        _ => {}
                    }
                }
                if let Some(exit) = end {
                    break exit;
                }
                if taken >= GRANT {
                    put(&mut out, &Frame::Credit(taken))?;
                    taken = 0;
                }
            }
            // An empty piece is the end of what is typed.
            Some(bytes) = typed.recv() => ask(&mut out, &Request::Input { id: ID, bytes })?,
            _ = winch.recv(), if tty => ask(&mut out, &Request::Resize { id: ID, size: size() })?,
        }
        if !out.is_empty() {
            to.write_all(&out).await.map_err(|e| lost(&e))?;
        }
    };
    drop(raw);
    Ok(exit)
}

/// Writes what the process wrote; its end, if that is what is told.
fn report(body: &[u8]) -> Result<Option<Exit>, Problem> {
    match Report::from_bytes(body).map_err(|e| lost(&e))? {
        Report::Attached { bytes, .. } => {
            let mut out = io::stdout().lock();
            // A reader that left does not end the process in the container.
            let _ = out.write_all(&bytes).and_then(|()| out.flush());
            Ok(None)
        }
        Report::Detached { exit, .. } => Ok(Some(exit)),
        Report::Refused(refusal) => Err(Problem::failed(match refusal {
            Refusal::OtherRun => "the container belongs to another run".to_owned(),
            Refusal::Protocol(what) => format!("the container's agent does not understand: {what}"),
            other => format!("the container's agent refused: {other:?}"),
        })),
        _ => Ok(None),
    }
}

/// What is typed, piece by piece. The thread that reads cannot be called back; it ends with the command.
fn typing() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(TYPED);
    std::thread::spawn(move || {
        let mut buffer = vec![0_u8; 16 * 1024];
        loop {
            match rustix::io::read(io::stdin(), &mut buffer[..]) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(n) if n > 0 => {
                    if sender.blocking_send(buffer[..n].to_vec()).is_err() {
                        break;
                    }
                }
                _ => {
                    let _ = sender.blocking_send(Vec::new());
                    break;
                }
            }
        }
    });
    receiver
}

fn put(into: &mut Vec<u8>, frame: &Frame) -> Result<(), Problem> {
    link::encode(CHANNEL, frame, into).map_err(|e| Problem::system("say something to the pod", &e))
}

fn ask(into: &mut Vec<u8>, request: &Request) -> Result<(), Problem> {
    put(into, &Frame::Message(request.to_bytes()))
}

fn lost(error: &dyn std::error::Error) -> Problem {
    Problem::system("talk to the pod", error)
}
