//! Interactive processes beside the step, for `stepyard exec`.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use ::addon::frame::{Exit, Report};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::spawn::{Wires, Wiring};
use super::{Wait, process};
use crate::terminal;

/// Bytes typed and not yet taken by the process; what is beyond is dropped, as a terminal does.
const TYPED: usize = 256 * 1024;
/// Attached processes at once.
const MOST: usize = 16;

/// All of them, by connection and id.
#[derive(Debug, Default)]
pub(super) struct Attached {
    all: BTreeMap<(u32, u32), One>,
}

#[derive(Debug)]
struct One {
    pid: Pid,
    /// `None` once its end is reached.
    output: Option<OwnedFd>,
    /// The terminal again, or the pipe of its standard input; `None` once closed.
    input: Option<OwnedFd>,
    typed: Vec<u8>,
    close: bool,
    tty: bool,
    exit: Option<Exit>,
}

impl Attached {
    /// Starts one; an error is in words for the user.
    pub(super) fn start(
        &mut self,
        connection: u32,
        id: u32,
        argv: &[String],
        tty: Option<(u16, u16)>,
        env: &[(String, String)],
        workdir: Option<&str>,
    ) -> Result<(), String> {
        if self.all.len() >= MOST || self.all.contains_key(&(connection, id)) {
            return Err(format!(
                "at most {MOST} processes may be attached, each under an id of its own"
            ));
        }
        let mut env = process::environment(env)?;
        let shell = [if Path::new("/bin/bash").exists() {
            "bash"
        } else {
            "sh"
        }
        .to_owned()];
        let argv = if argv.is_empty() { &shell[..] } else { argv };
        if tty.is_some() {
            env.entry("TERM".into())
                .or_insert_with(|| "xterm-256color".into());
        }
        let found = process::prepare(argv, &env)?;
        let text = |error: io::Error| format!("failed to attach {}: {error}", argv[0]);
        let (program, output, input, theirs) = match tty {
            None => {
                let (output, theirs) = pipe().map_err(text)?;
                let (their_input, input) = pipe().map_err(text)?;
                rustix::io::ioctl_fionbio(&output, true).map_err(|e| text(e.into()))?;
                rustix::io::ioctl_fionbio(&input, true).map_err(|e| text(e.into()))?;
                (found, output, input, (their_input, theirs))
            }
            Some(size) => {
                let (terminal, theirs) = pseudo_terminal(size).map_err(|e| text(e.into()))?;
                let again = theirs.try_clone().map_err(text)?;
                let input = terminal.try_clone().map_err(text)?;
                (
                    found.through(terminal::HELPER),
                    terminal,
                    input,
                    (again, theirs),
                )
            }
        };
        let both = Some(theirs.1.as_fd());
        let wires = Wires::new([Some(theirs.0.as_fd()), both, both]).map_err(text)?;
        let wiring = Wiring {
            wires: &wires,
            workdir: workdir.map(Path::new).filter(|dir| dir.is_dir()),
            // On a terminal the helper makes a session instead, which a leader of a group may not.
            group: tty.is_none(),
        };
        let pid = program.spawn(&wiring).map_err(text)?;
        drop(theirs);
        self.all.insert(
            (connection, id),
            One {
                pid,
                output: Some(output),
                input: Some(input),
                typed: Vec::new(),
                close: false,
                tty: tty.is_some(),
                exit: None,
            },
        );
        Ok(())
    }

    pub(super) fn waits(&self) -> impl Iterator<Item = (u32, u32, Wait<'_>)> {
        self.all.iter().map(|(&(connection, id), one)| {
            let wait = Wait {
                output: one.output.as_ref().map(OwnedFd::as_fd),
                input: one
                    .input
                    .as_ref()
                    .filter(|_| !one.typed.is_empty())
                    .map(OwnedFd::as_fd),
            };
            (connection, id, wait)
        })
    }

    /// Reads its output once; what to tell its connection.
    pub(super) fn read(&mut self, connection: u32, id: u32, buffer: &mut [u8]) -> Option<Report> {
        let one = self.all.get_mut(&(connection, id))?;
        match rustix::io::read(one.output.as_ref()?, &mut *buffer) {
            Ok(count @ 1..) => Some(Report::Attached {
                id,
                bytes: buffer[..count].to_vec(),
            }),
            Err(Errno::AGAIN | Errno::INTR) => None,
            // A terminal whose last user is gone says EIO.
            Ok(_) | Err(_) => {
                one.output = None;
                let exit = one.exit.take()?;
                self.all.remove(&(connection, id));
                Some(Report::Detached { id, exit })
            }
        }
    }

    /// A process ended: whether it is one of these, and what to tell then.
    pub(super) fn ended(&mut self, pid: Pid, exit: Exit) -> Option<(u32, Vec<Report>)> {
        let (&(connection, id), one) = self.all.iter_mut().find(|(_, one)| one.pid == pid)?;
        // What it wrote last is read first; a daemon that holds it open is not waited for.
        let mut reports = Vec::new();
        let mut buffer = vec![0; crate::peer::READ];
        let waiting = one
            .output
            .as_ref()
            .and_then(|fd| rustix::io::ioctl_fionread(fd).ok());
        let mut left = waiting.unwrap_or(0) as usize;
        while left > 0
            && let Some(output) = &one.output
            && let Ok(count @ 1..) = rustix::io::read(output, &mut buffer)
        {
            left = left.saturating_sub(count);
            reports.push(Report::Attached {
                id,
                bytes: buffer[..count].to_vec(),
            });
        }
        reports.push(Report::Detached { id, exit });
        self.all.remove(&(connection, id));
        Some((connection, reports))
    }

    /// Bytes typed; none closes its input.
    pub(super) fn input(&mut self, connection: u32, id: u32, bytes: &[u8]) {
        if let Some(one) = self.all.get_mut(&(connection, id)) {
            if bytes.is_empty() {
                one.close = true;
            } else {
                let room = TYPED.saturating_sub(one.typed.len());
                one.typed.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
        }
        self.write(connection, id);
    }

    /// Writes what was typed.
    pub(super) fn write(&mut self, connection: u32, id: u32) {
        let Some(one) = self.all.get_mut(&(connection, id)) else {
            return;
        };
        if let Some(input) = &one.input
            && !one.typed.is_empty()
        {
            match rustix::io::write(input, &one.typed) {
                Ok(count) => {
                    one.typed.drain(..count);
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => one.typed.clear(),
            }
        }
        if one.close && one.typed.is_empty() {
            one.close = false;
            if one.tty {
                // A terminal has no end; its end-of-input character says the same.
                one.typed.push(4);
            } else {
                one.input = None;
            }
        }
    }

    /// A terminal's new size.
    pub(super) fn resize(&mut self, connection: u32, id: u32, size: (u16, u16)) {
        if let Some(one) = self.all.get(&(connection, id))
            && one.tty
            && let Some(terminal) = &one.output
        {
            let _ = rustix::termios::tcsetwinsize(terminal, window(size));
        }
    }

    /// A connection is gone, and with it who could see its processes.
    pub(super) fn gone(&mut self, connection: u32) {
        self.all.retain(|&(of, _), one| {
            if of == connection {
                let _ = rustix::process::kill_process_group(one.pid, Signal::HUP);
                let _ = rustix::process::kill_process(one.pid, Signal::KILL);
            }
            of != connection
        });
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

fn window((columns, rows): (u16, u16)) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

fn pseudo_terminal(size: (u16, u16)) -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&ours)?;
    rustix::pty::unlockpt(&ours)?;
    let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
    rustix::termios::tcsetwinsize(&ours, window(size))?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}
