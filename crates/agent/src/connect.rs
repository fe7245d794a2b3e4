//! `connect`: this process's standard input and output as a connection to a socket, for exec streams.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::Shutdown;

use crate::peer::READ;
use crate::poll::Waits;
use crate::socket;

/// One direction: what was read and not yet written.
struct Way {
    buffer: Vec<u8>,
    filled: usize,
    written: usize,
    ended: bool,
}

impl Way {
    fn new() -> Self {
        Way {
            buffer: vec![0; READ],
            filled: 0,
            written: 0,
            ended: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.written == self.filled
    }

    fn read(&mut self, from: BorrowedFd<'_>) {
        match rustix::io::read(from, &mut self.buffer[..]) {
            Ok(0) => self.ended = true,
            Ok(count) => (self.filled, self.written) = (count, 0),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.ended = true,
        }
    }

    fn write(&mut self, to: BorrowedFd<'_>) -> Result<(), Errno> {
        match rustix::io::write(to, &self.buffer[self.written..self.filled]) {
            Ok(count) => self.written += count,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Copies both ways until the socket's end is reached and written out. The end of standard input is passed on.
pub fn run(path: &Path) -> io::Result<()> {
    let missing = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("failed to connect to {}: {error}", path.display()),
        )
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = socket::directory(dir.unwrap_or(Path::new("."))).map_err(missing)?;
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let socket = socket::connect(dir.as_fd(), name).map_err(|e| missing(e.into()))?;
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let (mut up, mut down) = (Way::new(), Way::new());
    let mut passed_on = false;
    loop {
        if down.ended && down.is_empty() {
            return Ok(());
        }
        if up.ended && up.is_empty() && !passed_on {
            passed_on = true;
            let _ = rustix::net::shutdown(&socket, Shutdown::Write);
        }
        let mut waits = Waits::new();
        waits.add(0, stdin.as_fd(), up.is_empty() && !up.ended, false);
        waits.add(
            1,
            socket.as_fd(),
            down.is_empty() && !down.ended,
            !up.is_empty(),
        );
        waits.add(2, stdout.as_fd(), false, !down.is_empty());
        for (key, ready) in waits.wait(None)? {
            match key {
                0 => up.read(stdin.as_fd()),
                1 => {
                    if ready.read && down.is_empty() && !down.ended {
                        down.read(socket.as_fd());
                    }
                    if ready.write && !up.is_empty() && up.write(socket.as_fd()).is_err() {
                        // What is on its way back still comes.
                        up.written = up.filled;
                        up.ended = true;
                    }
                }
                _ => down.write(stdout.as_fd())?,
            }
        }
    }
}
