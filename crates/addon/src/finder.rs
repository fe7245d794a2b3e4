//! Finding many patterns in bytes: leftmost first, the longest where several begin at one place.
//!
//! An automaton for this is fast and large: in code (a tenth of the agent) and, for secrets of many lines, in memory. Here each
//! place costs one look into a table of bits, by the hash of its next three bytes; only where a pattern may begin are the sorted
//! patterns asked.

/// The shortest pattern: as many bytes as the hash takes.
pub(crate) const SHORTEST: usize = 3;
/// Bits of the table for each pattern: one place in 64 is looked at in vain.
const BITS_EACH: usize = 64;
/// Bits of the smallest table: 8 KiB, which stays in the nearest cache.
const FEWEST_BITS: usize = 1 << 16;

pub(crate) struct Finder {
    /// Sorted, without doubles, none shorter than [`SHORTEST`].
    patterns: Vec<Vec<u8>>,
    /// For each pattern the longest other one that it begins with.
    shorter: Vec<Option<u32>>,
    table: Vec<u64>,
    shift: u32,
    longest: usize,
}

impl Finder {
    pub(crate) fn new(mut patterns: Vec<Vec<u8>>) -> Self {
        patterns.retain(|pattern| pattern.len() >= SHORTEST);
        patterns.sort();
        patterns.dedup();
        let mut shorter: Vec<Option<u32>> = Vec::with_capacity(patterns.len());
        for at in 0..patterns.len() {
            // Sorted: whatever this one begins with is the one before it, or what that begins with.
            let mut before = at.checked_sub(1).map(|before| before as u32);
            while let Some(other) = before
                && !patterns[at].starts_with(&patterns[other as usize])
            {
                before = shorter[other as usize];
            }
            shorter.push(before);
        }
        let bits = (patterns.len() * BITS_EACH)
            .next_power_of_two()
            .max(FEWEST_BITS);
        let mut finder = Finder {
            shorter,
            table: vec![0; bits / 64],
            shift: 32 - bits.trailing_zeros().min(32),
            longest: patterns.iter().map(Vec::len).max().unwrap_or(0),
            patterns,
        };
        for pattern in &finder.patterns {
            let bit = hash(word(pattern), finder.shift);
            finder.table[bit / 64] |= 1 << (bit % 64);
        }
        finder
    }

    pub(crate) fn len(&self) -> usize {
        self.patterns.len()
    }

    /// The next match from `from` on, as its start and end.
    pub(crate) fn find(&self, bytes: &[u8], from: usize) -> Option<(usize, usize)> {
        let (&[first, second], rest) = bytes.get(from..)?.split_first_chunk::<2>()?;
        let mut three = u32::from(first) << 8 | u32::from(second) << 16;
        for (at, &next) in (from..).zip(rest) {
            three = three >> 8 | u32::from(next) << 16;
            let bit = hash(three, self.shift);
            if self.table[bit / 64] >> (bit % 64) & 1 != 0
                && let Some(len) = self.longest_at(&bytes[at..])
            {
                return Some((at, at + len));
            }
        }
        None
    }

    /// The length of the longest pattern that `rest` begins with.
    fn longest_at(&self, rest: &[u8]) -> Option<usize> {
        // What `rest` begins with is not behind it in the order, and between such a pattern and `rest` stand only
        // patterns that begin with it too.
        let mut next = self
            .patterns
            .partition_point(|pattern| pattern.as_slice() <= rest)
            .checked_sub(1)
            .map(|at| at as u32);
        while let Some(at) = next {
            let pattern = &self.patterns[at as usize];
            if rest.starts_with(pattern) {
                return Some(pattern.len());
            }
            next = self.shorter[at as usize];
        }
        None
    }

    /// The first place from `from` on where the rest of `bytes` is the beginning of a pattern, and not all of it.
    /// No pattern may contain a line end.
    pub(crate) fn unfinished(&self, bytes: &[u8], from: usize) -> usize {
        let near = from.max(bytes.len().saturating_sub(self.longest.saturating_sub(1)));
        let first = bytes[near..]
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(near, |at| near + at + 1);
        (first..bytes.len())
            .find(|&at| {
                let rest = &bytes[at..];
                let next = self
                    .patterns
                    .partition_point(|pattern| pattern.as_slice() <= rest);
                self.patterns
                    .get(next)
                    .is_some_and(|pattern| pattern.starts_with(rest))
            })
            .unwrap_or(bytes.len())
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from(bytes[0]) | u32::from(bytes[1]) << 8 | u32::from(bytes[2]) << 16
}

#[inline]
fn hash(three: u32, shift: u32) -> usize {
    // Knuth's multiplier: the high bits depend on all three bytes.
    (three.wrapping_mul(2_654_435_769) >> shift) as usize
}
