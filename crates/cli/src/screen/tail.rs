//! The end of an output: its last lines, however fast it is written.

use std::collections::VecDeque;

/// Lines kept of each step: what a person reads at the end of a failed step. The whole of it is in the log.
pub(crate) const KEPT: usize = 50;

/// Bytes kept of a line: several screens wide, and a 1 MB line does not fill memory.
const LONGEST: usize = 4096;

/// The last lines of an output.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail {
    lines: VecDeque<Vec<u8>>,
    /// The line that has no end yet.
    open: Vec<u8>,
    /// Lines seen in all, the open one not counted.
    total: u64,
}

impl Tail {
    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        let mut ends = memchr::memchr_iter(b'\n', bytes).count();
        // Lines that later ones push out anyway are only counted.
        if ends > KEPT {
            let first = memchr::memrchr_iter(b'\n', bytes).nth(KEPT);
            rest = first.map_or(bytes, |at| &bytes[at + 1..]);
            self.total += (ends - KEPT) as u64;
            ends = KEPT;
            self.open.clear();
            self.lines.clear();
        }
        for _ in 0..ends {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            self.total += 1;
            // The room of the line that goes serves the next one.
            let gone = (self.lines.len() == KEPT).then(|| self.lines.pop_front());
            let mut room = gone.flatten().unwrap_or_default();
            room.clear();
            let mut line_bytes = std::mem::replace(&mut self.open, room);
            extend(&mut line_bytes, line);
            self.lines.push_back(line_bytes);
        }
        extend(&mut self.open, rest);
    }

    /// A whole line.
    pub(crate) fn line(&mut self, text: &str) {
        self.push(text.as_bytes());
        self.push(b"\n");
    }

    /// The last `n` lines, the open one among them.
    pub(crate) fn last(&self, n: usize) -> Vec<&[u8]> {
        let open = (!self.open.is_empty()).then_some(self.open.as_slice());
        let closed = n.saturating_sub(usize::from(open.is_some()));
        let skip = self.lines.len().saturating_sub(closed);
        self.lines
            .iter()
            .skip(skip)
            .map(Vec::as_slice)
            .chain(open)
            .take(n)
            .collect()
    }

    /// Lines seen in all.
    pub(crate) fn total(&self) -> u64 {
        self.total + u64::from(!self.open.is_empty())
    }
}

fn extend(line: &mut Vec<u8>, bytes: &[u8]) {
    // Of a line that is rewritten by carriage returns only what stands there in the end matters.
    if line.len() + bytes.len() > LONGEST
        && let Some(at) = bytes[..bytes.len().saturating_sub(1)]
            .iter()
            .rposition(|b| *b == b'\r')
    {
        line.clear();
        line.extend_from_slice(&bytes[at + 1..][..(bytes.len() - at - 1).min(LONGEST)]);
        return;
    }
    let room = LONGEST.saturating_sub(line.len());
    line.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// Whole lines out of chunks: what is printed is never half a line of one step and half of another.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    open: Vec<u8>,
}

impl Lines {
    /// Longer than this, a line is given out in parts: memory stays bounded.
    const LONGEST: usize = 1 << 20;

    /// Calls `each` with every line that is complete now, its end not included.
    pub(crate) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            if self.open.is_empty() {
                each(&rest[..end]);
            } else {
                self.open.extend_from_slice(&rest[..end]);
                each(&self.open);
                self.open.clear();
            }
            rest = &rest[end + 1..];
        }
        self.open.extend_from_slice(rest);
        if self.open.len() > Self::LONGEST {
            each(&self.open);
            self.open.clear();
        }
    }

    /// Calls `each` with the line that never got an end.
    pub(crate) fn finish(&mut self, each: impl FnOnce(&[u8])) {
        if !self.open.is_empty() {
            each(&self.open);
            self.open.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_over_any_chunk_border() {
        let text = (0..120)
            .map(|i| {
                format!(
                    "line {i}
"
                )
            })
            .collect::<Vec<_>>()
            .concat()
            + "open";
        for size in [1, 3, 7, 1000] {
            let mut tail = Tail::default();
            for chunk in text.as_bytes().chunks(size) {
                tail.push(chunk);
            }
            assert_eq!(tail.total(), 121);
            assert_eq!(tail.last(3), [b"line 118".as_slice(), b"line 119", b"open"]);
            assert_eq!(tail.last(500).len(), KEPT + 1);
            assert!(tail.last(0).is_empty());
        }
    }

    #[test]
    fn a_long_line_is_bounded_and_a_progress_bar_shows_its_end() {
        let mut tail = Tail::default();
        for i in 0..10_000 {
            tail.push(format!("{i}%\r").as_bytes());
        }
        assert!(tail.open.len() <= LONGEST);
        let mut tail = Tail::default();
        tail.push(&vec![b'x'; 1 << 20]);
        assert_eq!(tail.last(1)[0].len(), LONGEST);
    }

    #[test]
    fn lines_come_whole() {
        let mut seen = Vec::new();
        let mut lines = Lines::default();
        for chunk in [b"a".as_slice(), b"b\nc\n", b"", b"d"] {
            lines.push(chunk, |l| {
                seen.push(String::from_utf8_lossy(l).into_owned());
            });
        }
        lines.finish(|l| seen.push(String::from_utf8_lossy(l).into_owned()));
        assert_eq!(seen, ["ab", "c", "d"]);
    }
}
