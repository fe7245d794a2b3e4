//! One end of a conversation in frames, without blocking.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ::addon::link::{self, Decoder, Frame};
use rustix::io::Errno;

/// Bytes encoded ahead of the socket: a few pieces of output, so that a write fills it.
const AHEAD: usize = 192 * 1024;
/// Bytes of one read.
pub const READ: usize = 64 * 1024;

/// A connection: a socket, or the two ends of a pair of pipes.
#[derive(Debug)]
pub struct Peer {
    input: OwnedFd,
    output: Option<OwnedFd>,
    decoder: Decoder,
    out: Vec<u8>,
    written: usize,
    /// Nothing more will be read: the other end is done, or broke the rules.
    ended: bool,
    /// It goes when what waits is written.
    pub closing: bool,
}

impl Peer {
    /// Over one socket.
    pub fn socket(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Peer::new(socket, None))
    }

    /// Over two pipes.
    pub fn pipes(input: OwnedFd, output: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&input, true)?;
        rustix::io::ioctl_fionbio(&output, true)?;
        Ok(Peer::new(input, Some(output)))
    }

    fn new(input: OwnedFd, output: Option<OwnedFd>) -> Self {
        Peer {
            input,
            output,
            decoder: Decoder::default(),
            out: Vec::new(),
            written: 0,
            ended: false,
            closing: false,
        }
    }

    /// Where it is read.
    pub fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    /// Where it is written.
    pub fn output(&self) -> BorrowedFd<'_> {
        self.output.as_ref().unwrap_or(&self.input).as_fd()
    }

    /// Whether both are one socket.
    pub fn is_socket(&self) -> bool {
        self.output.is_none()
    }

    /// Something waits to be written.
    pub fn has_output(&self) -> bool {
        self.written < self.out.len()
    }

    /// There is room for more to be encoded.
    pub fn has_room(&self) -> bool {
        self.out.len() - self.written < AHEAD
    }

    /// Nothing more is to be read.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Adds a frame to what is written next.
    pub fn send(&mut self, channel: u32, frame: &Frame) {
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        if let Err(error) = link::encode(channel, frame, &mut self.out) {
            // Only a message that no peer may take is refused: the channel cannot go on without it.
            let _ = link::encode(channel, &Frame::Close(error.to_string()), &mut self.out);
            self.closing = true;
        }
    }

    /// Writes what goes. `false`: the other end is gone.
    pub fn flush(&mut self) -> bool {
        while self.has_output() {
            match rustix::io::write(self.output(), &self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    // What was written must not be kept for ever by what was not.
                    if self.written > AHEAD {
                        self.out.drain(..self.written);
                        self.written = 0;
                    }
                    return true;
                }
                Err(_) => return false,
            }
        }
        self.out.clear();
        self.written = 0;
        if self.out.capacity() > 2 * AHEAD {
            self.out = Vec::new();
        }
        true
    }

    /// Reads once, through the caller's buffer. `false`: the other end is gone or broken.
    pub fn fill(&mut self, buffer: &mut [u8]) -> bool {
        match rustix::io::read(&self.input, &mut *buffer) {
            Ok(0) => {
                self.ended = true;
                false
            }
            Ok(count) => {
                self.decoder.push(&buffer[..count]);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => {
                self.ended = true;
                false
            }
        }
    }

    /// The next frame of what was read. After an error the peer is of no more use.
    pub fn take(&mut self) -> Result<Option<(u32, Frame)>, link::Error> {
        self.decoder.take()
    }
}
