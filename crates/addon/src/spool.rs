//! What is kept of an attempt's masked output until the driver has stored it.
//!
//! The newest bytes are in memory; older ones go to segments, files of the shell that this index only numbers. With a
//! driver there the attempt is held up when both are full. With no driver it runs on: the head and the tail are kept,
//! and what is dropped between them is a hole, told to the driver as a gap when its turn comes. A write that fails
//! (no space left) is a hole too.

use std::borrow::Cow;
use std::collections::VecDeque;

/// Bytes kept in memory before the oldest go to a segment: more than a driver leaves unacknowledged while it keeps up,
/// so that a disk is touched only when it does not.
pub const RECENT: usize = 2 * 1024 * 1024;
/// Bytes of a segment.
pub const SEGMENT: u64 = 4 * 1024 * 1024;
/// Segments at most; with [`RECENT`] that is below the 64 MiB an attempt may take.
pub const SEGMENTS: usize = 15;
/// Segments at the beginning that are never dropped for later ones.
const HEAD: usize = 7;
/// A chunk in memory grows to this before the next begins: the largest piece that is sent.
const CHUNK: usize = crate::message::PIECE;
/// Output read within this many milliseconds shares one time.
const SAME_TIME_MS: u64 = 20;
/// In a segment: bytes and milliseconds between two marks of time, at least.
const MARK_BYTES: u64 = 4096;
const MARK_MS: u64 = 1000;

/// Where segments are kept: files of the agent, memory of a test. Synchronous: a page cache takes it.
pub trait Store {
    /// Writes into a segment, which begins to exist by that. `false`: nothing of it counts as written.
    fn write(&mut self, segment: u32, at: u64, bytes: &[u8]) -> bool;
    /// Reads `into.len()` bytes. `false`: they cannot be had.
    fn read(&mut self, segment: u32, at: u64, into: &mut [u8]) -> bool;
    /// Removes a segment.
    fn remove(&mut self, segment: u32);
}

/// The next thing to tell a driver.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Output.
    Bytes {
        /// Of the first byte.
        offset: u64,
        /// When it was read.
        at_ms: u64,
        /// At most 64 KiB.
        bytes: Cow<'a, [u8]>,
    },
    /// A hole.
    Gap {
        /// Of the first byte that is missing.
        offset: u64,
        /// How many are.
        bytes: u64,
    },
}

#[derive(Debug)]
struct Segment {
    id: u32,
    from: u64,
    len: u64,
    /// (bytes from the start, time) in order; the first is for byte 0.
    marks: Vec<(u64, u64)>,
}

#[derive(Debug)]
struct Chunk {
    from: u64,
    at_ms: u64,
    bytes: Vec<u8>,
}

/// The index of one attempt's output.
#[derive(Debug, Default)]
pub struct Spool {
    end: u64,
    acked: u64,
    segments: VecDeque<Segment>,
    recent: VecDeque<Chunk>,
    recent_bytes: usize,
    next_segment: u32,
}

impl Spool {
    /// The index of output of which only the length is known: all of it is a hole.
    pub fn lost(bytes: u64) -> Self {
        Spool {
            end: bytes,
            ..Spool::default()
        }
    }

    /// Offset after the last byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Everything below is stored by the driver.
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// Whether more would push something out: with a driver there the pipe is then left alone.
    pub fn full(&self) -> bool {
        self.segments.len() >= SEGMENTS && self.recent_bytes >= RECENT
    }

    /// Adds output.
    pub fn append(&mut self, mut bytes: &[u8], at_ms: u64, store: &mut impl Store) {
        while !bytes.is_empty() {
            let room = match self.recent.back() {
                Some(last) if at_ms.abs_diff(last.at_ms) <= SAME_TIME_MS => {
                    CHUNK.saturating_sub(last.bytes.len())
                }
                _ => 0,
            };
            let (now, later) = if room == 0 {
                let (now, later) = bytes.split_at(bytes.len().min(CHUNK));
                self.recent.push_back(Chunk {
                    from: self.end,
                    at_ms,
                    bytes: now.to_vec(),
                });
                (now, later)
            } else {
                let (now, later) = bytes.split_at(bytes.len().min(room));
                if let Some(last) = self.recent.back_mut() {
                    last.bytes.extend_from_slice(now);
                }
                (now, later)
            };
            self.end += now.len() as u64;
            self.recent_bytes += now.len();
            bytes = later;
        }
        while self.recent_bytes > RECENT {
            let Some(chunk) = self.recent.pop_front() else {
                break;
            };
            self.recent_bytes -= chunk.bytes.len();
            self.spill(&chunk, store);
        }
    }

    fn spill(&mut self, chunk: &Chunk, store: &mut impl Store) {
        let len = chunk.bytes.len() as u64;
        if let Some(last) = self.segments.back_mut()
            && last.from + last.len == chunk.from
            && last.len + len <= SEGMENT
        {
            if store.write(last.id, last.len, &chunk.bytes) {
                if let Some(&(at, time)) = last.marks.last()
                    && last.len >= at + MARK_BYTES
                    && chunk.at_ms.abs_diff(time) >= MARK_MS
                {
                    last.marks.push((last.len, chunk.at_ms));
                }
                last.len += len;
            }
            return;
        }
        if self.segments.len() >= SEGMENTS
            && let Some(middle) = self.segments.remove(HEAD)
        {
            store.remove(middle.id);
        }
        let id = self.next_segment;
        self.next_segment += 1;
        if store.write(id, 0, &chunk.bytes) {
            self.segments.push_back(Segment {
                id,
                from: chunk.from,
                len,
                marks: vec![(0, chunk.at_ms)],
            });
        } else {
            store.remove(id);
        }
    }

    /// The driver has everything below `offset`.
    pub fn ack(&mut self, offset: u64, store: &mut impl Store) {
        self.acked = self.acked.max(offset.min(self.end));
        while let Some(first) = self.segments.front()
            && first.from + first.len <= self.acked
        {
            store.remove(first.id);
            self.segments.pop_front();
        }
        while let Some(first) = self.recent.front()
            && first.from + first.bytes.len() as u64 <= self.acked
        {
            self.recent_bytes -= first.bytes.len();
            self.recent.pop_front();
        }
    }

    /// What is at `cursor`; `None` at the end.
    pub fn read(&self, cursor: u64, store: &mut impl Store) -> Option<Piece<'_>> {
        if cursor >= self.end {
            return None;
        }
        let next = self
            .segments
            .partition_point(|segment| segment.from + segment.len <= cursor);
        if let Some(segment) = self.segments.get(next) {
            if cursor < segment.from {
                return Some(gap(cursor, segment.from));
            }
            let at = cursor - segment.from;
            let mark = segment.marks.partition_point(|(from, _)| *from <= at);
            let until = segment
                .marks
                .get(mark)
                .map_or(segment.len, |(from, _)| *from);
            let mut bytes = vec![0; (until - at).min(CHUNK as u64) as usize];
            if store.read(segment.id, at, &mut bytes) {
                return Some(Piece::Bytes {
                    offset: cursor,
                    at_ms: segment.marks[mark - 1].1,
                    bytes: Cow::Owned(bytes),
                });
            }
            return Some(gap(cursor, segment.from + segment.len));
        }
        let next = self
            .recent
            .partition_point(|chunk| chunk.from + chunk.bytes.len() as u64 <= cursor);
        let Some(chunk) = self.recent.get(next) else {
            return Some(gap(cursor, self.end));
        };
        if cursor < chunk.from {
            return Some(gap(cursor, chunk.from));
        }
        Some(Piece::Bytes {
            offset: cursor,
            at_ms: chunk.at_ms,
            bytes: Cow::Borrowed(&chunk.bytes[(cursor - chunk.from) as usize..]),
        })
    }

    /// Forgets everything, segments included.
    pub fn clear(&mut self, store: &mut impl Store) {
        for segment in self.segments.drain(..) {
            store.remove(segment.id);
        }
        self.recent = VecDeque::new();
        self.recent_bytes = 0;
    }
}

fn gap(from: u64, to: u64) -> Piece<'static> {
    Piece::Gap {
        offset: from,
        bytes: to - from,
    }
}
