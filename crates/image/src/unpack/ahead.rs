//! A stream that is read ahead of its reader, on another thread.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes handed over at once: large enough that handing over costs nothing, small enough to stay in a core's cache.
const PIECE: usize = 64 * 1024;
/// Pieces that may wait: a large file is written at once, many small ones take their time; 2 MiB even that out.
const PIECES: usize = 32;

/// The end that reads ahead.
pub(super) struct Ahead(SyncSender<io::Result<Vec<u8>>>);

/// The end that follows.
pub(super) struct Behind {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
}

pub(super) fn pipe() -> (Ahead, Behind) {
    let (send, pieces) = sync_channel(PIECES);
    let behind = Behind {
        pieces,
        piece: Vec::new(),
        at: 0,
    };
    (Ahead(send), behind)
}

impl Ahead {
    /// Reads a stream to its end, or until nobody follows any more.
    pub(super) fn fill(&mut self, from: &mut impl Read) -> io::Result<()> {
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            from.take(PIECE as u64).read_to_end(&mut piece)?;
            if piece.is_empty() {
                return Ok(());
            }
            if self.0.send(Ok(piece)).is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
    }

    /// The end of the stream, or why there is none.
    pub(super) fn end(self, done: io::Result<()>) {
        if let Err(e) = done {
            // Nobody follows: nobody wants to know.
            let _ = self.0.send(Err(e));
        }
    }
}

impl Read for Behind {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.pieces.recv() {
                Ok(piece) => (self.piece, self.at) = (piece?, 0),
                Err(_) => return Ok(0),
            }
        }
        let n = buf.len().min(self.piece.len() - self.at);
        buf[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_an_error_stays_one() {
        let text: Vec<u8> = (0..PIECE * (PIECES + 3)).map(|i| (i % 251) as u8).collect();
        for fails in [false, true] {
            let (mut ahead, mut behind) = pipe();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    ahead.fill(&mut &*text).expect("it is followed");
                    ahead.end(if fails {
                        Err(io::Error::other("cut"))
                    } else {
                        Ok(())
                    });
                });
                let mut got = Vec::new();
                let end = behind.read_to_end(&mut got);
                assert_eq!(
                    end.err().map(|e| e.to_string()),
                    fails.then(|| "cut".to_owned())
                );
                assert!(got == text);
            });
        }
    }

    #[test]
    fn who_reads_ahead_stops_when_nobody_follows() {
        let (mut ahead, behind) = pipe();
        drop(behind);
        let e = ahead.fill(&mut io::repeat(1)).expect_err("nobody follows");
        assert_eq!(e.kind(), io::ErrorKind::BrokenPipe);
    }
}
