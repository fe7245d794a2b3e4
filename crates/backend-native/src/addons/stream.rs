//! A Unix stream that wakes its owner only for what it waits for.
//!
//! `tokio::net::UnixStream` is registered for both directions: each time an addon reads what it was sent, the driver is woken to hear that
//! there is room again, in the middle of the start of a step.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

pub(crate) struct Stream {
    read: AsyncFd<UnixStream>,
    /// Registered when there was no room.
    write: Option<AsyncFd<UnixStream>>,
}

impl Stream {
    /// Of a stream that does not block.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        let read = register(stream, Interest::READABLE)?;
        Ok(Self { read, write: None })
    }
}

fn register(stream: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    // SAFETY: the stream is owned from here on, stays open until it is dropped, and has one descriptor all the time.
    let registered = unsafe { AsyncFd::register_with_interest(stream, interest) };
    Ok(registered?)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let mut guard = ready!(this.read.poll_read_ready(context))?;
            let place = into.initialize_unfilled();
            let wanted = place.len();
            let Ok(read) = guard.try_io(|own| own.get_ref().read(place)) else {
                continue;
            };
            let count = read?;
            if (1..wanted).contains(&count) {
                // There was no more: what comes next says so.
                guard.clear_ready();
            }
            into.advance(count);
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            match this.read.get_ref().write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => {
                    this.write = None;
                    return Poll::Ready(done);
                }
            }
            let room = match &mut this.write {
                Some(room) => room,
                none => {
                    let again = this.read.get_ref().try_clone()?;
                    none.insert(register(again, Interest::WRITABLE)?)
                }
            };
            // Known to be none by now, whatever was heard before.
            ready!(room.poll_write_ready(context))?.clear_ready();
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.read.get_ref().shutdown(std::net::Shutdown::Write))
    }
}
