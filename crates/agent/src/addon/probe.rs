//! Asking a Background step once whether it is ready, without blocking.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use ::addon::frame::Probe;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, Signal};

use super::spawn::{Wires, Wiring};

/// Bytes of an answer that are looked at: its status line.
const ANSWER: usize = 1024;

/// A probe under way.
#[derive(Debug)]
pub(super) struct Probing {
    until: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Command(Pid),
    Connecting(OwnedFd, Option<String>),
    Asking(OwnedFd, Vec<u8>),
    /// It was told.
    Over,
}

impl Probing {
    /// Begins to ask; none where the answer is yes at once.
    pub(super) fn begin(probe: Probe, until: u64) -> Result<Option<Self>, String> {
        let state = match probe {
            Probe::Exec(argv) => {
                let env = super::process::environment(&[])?;
                let program = super::process::prepare(&argv, &env)?;
                let spawn = |wires: Wires| {
                    program.spawn(&Wiring {
                        wires: &wires,
                        workdir: None,
                        group: false,
                    })
                };
                let pid = Wires::new([None; 3])
                    .and_then(spawn)
                    .map_err(|error| format!("failed to start the probe's command: {error}"))?;
                State::Command(pid)
            }
            Probe::Tcp(port) => connect(port, None)?,
            Probe::Http { port, path } => connect(port, Some(path))?,
            Probe::Unix(path) => {
                let text = |error: Errno| format!("{path}: {error}");
                let socket = rustix::net::socket_with(
                    AddressFamily::UNIX,
                    SocketType::STREAM,
                    SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
                    None,
                )
                .map_err(text)?;
                let address = SocketAddrUnix::new(&*path).map_err(text)?;
                rustix::net::connect(&socket, &address).map_err(text)?;
                return Ok(None);
            }
        };
        Ok(Some(Probing { until, state }))
    }

    /// When it counts as failed.
    pub(super) fn until(&self) -> u64 {
        self.until
    }

    /// Whether it is this process.
    pub(super) fn is(&self, pid: Pid) -> bool {
        matches!(self.state, State::Command(own) if own == pid)
    }

    /// What it waits for: reading, writing.
    pub(super) fn wait(&self) -> Option<(BorrowedFd<'_>, bool, bool)> {
        match &self.state {
            State::Connecting(fd, _) => Some((fd.as_fd(), false, true)),
            State::Asking(fd, _) => Some((fd.as_fd(), true, false)),
            State::Command(_) | State::Over => None,
        }
    }

    /// Goes on; the answer, once there is one.
    pub(super) fn go_on(&mut self) -> Option<Result<(), String>> {
        let state = std::mem::replace(&mut self.state, State::Over);
        match state {
            State::Connecting(fd, path) => {
                if let Err(error) | Ok(Err(error)) = rustix::net::sockopt::socket_error(&fd) {
                    return Some(Err(error.to_string()));
                }
                let Some(path) = path else {
                    return Some(Ok(()));
                };
                let ask = format!(
                    "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nUser-Agent: stepyard\r\n\r\n"
                );
                if let Err(error) = rustix::io::write(&fd, ask.as_bytes()) {
                    return Some(Err(error.to_string()));
                }
                self.state = State::Asking(fd, Vec::new());
                None
            }
            State::Asking(fd, mut answer) => {
                let mut buffer = [0; ANSWER];
                match rustix::io::read(&fd, &mut buffer) {
                    Ok(0) => return Some(status(&answer)),
                    Ok(count) => answer.extend_from_slice(&buffer[..count]),
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(error) => return Some(Err(error.to_string())),
                }
                if answer.contains(&b'\n') || answer.len() >= ANSWER {
                    return Some(status(&answer));
                }
                self.state = State::Asking(fd, answer);
                None
            }
            State::Over => None,
            State::Command(_) => {
                self.state = state;
                None
            }
        }
    }

    /// It is no longer awaited.
    pub(super) fn give_up(self) {
        if let State::Command(pid) = self.state {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

fn connect(port: u16, path: Option<String>) -> Result<State, String> {
    let text = |error: Errno| error.to_string();
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .map_err(text)?;
    match rustix::net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(State::Connecting(socket, path)),
        Err(error) => Err(error.to_string()),
    }
}

/// Below 400 is ready.
fn status(answer: &[u8]) -> Result<(), String> {
    let line = answer.split(|&b| b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    match line
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse::<u16>().ok())
    {
        Some(code) if line.starts_with("HTTP/") && code < 400 => Ok(()),
        Some(code) if line.starts_with("HTTP/") => Err(format!("HTTP status {code}")),
        _ => Err("the answer is not HTTP".to_owned()),
    }
}
