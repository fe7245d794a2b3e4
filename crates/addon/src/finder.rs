//! Finding many patterns in bytes: leftmost first, the longest where several begin at one place.
//!
//! An automaton for this is fast and large: in code (a tenth of the agent) and, for secrets of many lines, in memory. Here a window
//! as long as the shortest pattern moves over the bytes, as Wu and Manber describe it: by its last three bytes a table says how far
//! it may go on without passing over a beginning. Only where that is not at all are the sorted patterns asked.

/// The shortest pattern: as many bytes as the table goes by.
pub(crate) const SHORTEST: usize = 3;
/// The longest window: beyond it the table would fill for little.
const WIDEST: usize = 16;
/// Places of the table for each three bytes of a pattern: few are taken for another's.
const PLACES_EACH: usize = 8;
/// Places of the smallest table: 4 KiB, which stay in the nearest cache.
const FEWEST_PLACES: usize = 1 << 12;
/// Places of the largest.
const MOST_PLACES: usize = 1 << 18;

pub(crate) struct Finder {
    /// Sorted, without doubles, none shorter than [`SHORTEST`].
    patterns: Vec<Vec<u8>>,
    /// For each pattern the longest other one that it begins with.
    shorter: Vec<Option<u32>>,
    /// The width of the window.
    window: usize,
    /// By the hash of the window's last three bytes: how far it may go on.
    table: Vec<u8>,
    shift: u32,
    /// For each hash at which patterns may begin, in order, where they are in `beginning`.
    places: Vec<(u32, u32)>,
    /// Patterns by the hash of the window's end in them, sorted among their like.
    beginning: Vec<u32>,
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
        let shortest = patterns.iter().map(Vec::len).min().unwrap_or(SHORTEST);
        let window = shortest.min(WIDEST);
        let places = (patterns.len() * (window - SHORTEST + 1) * PLACES_EACH)
            .next_power_of_two()
            .clamp(FEWEST_PLACES, MOST_PLACES);
        let shift = 32 - places.trailing_zeros();
        let mut table = vec![(window - SHORTEST + 1) as u8; places];
        let mut ends: Vec<(u32, u32)> = Vec::with_capacity(patterns.len());
        for (number, pattern) in (0..).zip(&patterns) {
            for (at, three) in pattern[..window].windows(SHORTEST).enumerate() {
                let go_on = (window - SHORTEST - at) as u8;
                let hash = hash(three, shift);
                let place = &mut table[hash];
                *place = go_on.min(*place);
                if go_on == 0 {
                    ends.push((hash as u32, number));
                }
            }
        }
        ends.sort_unstable();
        let mut places: Vec<(u32, u32)> = Vec::new();
        for (at, (hash, _)) in (0..).zip(&ends) {
            if places.last().is_none_or(|(last, _)| last != hash) {
                places.push((*hash, at));
            }
        }
        Finder {
            longest: patterns.iter().map(Vec::len).max().unwrap_or(0),
            patterns,
            shorter,
            window,
            table,
            shift,
            places,
            beginning: ends.into_iter().map(|(_, number)| number).collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.patterns.len()
    }

    /// The next match from `from` on, as its start and end.
    pub(crate) fn find(&self, bytes: &[u8], from: usize) -> Option<(usize, usize)> {
        let mut end = from + self.window;
        while let Some(three) = bytes.get(end - SHORTEST..end) {
            let hash = hash(three, self.shift);
            match self.table[hash] {
                0 => {
                    let at = end - self.window;
                    if let Some(len) = self.longest_at(hash as u32, &bytes[at..]) {
                        return Some((at, at + len));
                    }
                    end += 1;
                }
                go_on => end += usize::from(go_on),
            }
        }
        None
    }

    /// The length of the longest pattern that `rest` begins with; all of them have this hash at the window's end.
    fn longest_at(&self, hash: u32, rest: &[u8]) -> Option<usize> {
        let place = self.places.binary_search_by_key(&hash, |(h, _)| *h).ok()?;
        let (_, first) = self.places[place];
        let last = self.places.get(place + 1);
        let last = last.map_or(self.beginning.len(), |(_, next)| *next as usize);
        let candidates = &self.beginning[first as usize..last];
        // What `rest` begins with is not behind it in the order, and between such a pattern and `rest` stand only
        // patterns that begin with it too.
        let mut next = candidates
            .partition_point(|at| self.patterns[*at as usize].as_slice() <= rest)
            .checked_sub(1)
            .map(|at| candidates[at]);
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

#[inline]
fn hash(three: &[u8], shift: u32) -> usize {
    let word = u32::from(three[0]) | u32::from(three[1]) << 8 | u32::from(three[2]) << 16;
    // Knuth's multiplier: the high bits depend on all three bytes.
    (word.wrapping_mul(2_654_435_769) >> shift) as usize
}

#[cfg(test)]
mod tests {
    use super::Finder;

    /// Leftmost, then longest, by looking everywhere.
    fn plain(patterns: &[&[u8]], bytes: &[u8], from: usize) -> Option<(usize, usize)> {
        (from..bytes.len()).find_map(|at| {
            let begins = patterns.iter().filter(|p| bytes[at..].starts_with(p));
            begins.map(|p| (at, at + p.len())).max()
        })
    }

    #[test]
    fn finds_what_looking_everywhere_finds() {
        let sets: [&[&[u8]]; 5] = [
            &[b"abc"],
            &[b"abcabc", b"abcab", b"bcabca"],
            &[b"aaa", b"aaaa", b"aaaaaaa"],
            &[
                b"first-s3cret",
                b"second-s3cret",
                b"third-s3cret",
                b"s3cret-and-more-than-a-window-is-wide",
            ],
            &[b"aab", b"caabbaac"],
        ];
        for patterns in sets {
            let finder = Finder::new(patterns.iter().map(|p| p.to_vec()).collect());
            // Texts of few letters, so that beginnings of patterns are everywhere.
            let mut seed = 7_u32;
            for round in 0..300 {
                let mut text = Vec::new();
                while text.len() < 40 + round {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    match seed >> 29 {
                        0 => text.extend_from_slice(patterns[round % patterns.len()]),
                        1 => {
                            let pattern = patterns[(seed >> 16) as usize % patterns.len()];
                            text.extend_from_slice(&pattern[..=(pattern.len() / 2)]);
                        }
                        n => text.push(b"abcabc"[n as usize - 2]),
                    }
                }
                for from in 0..=text.len() {
                    assert_eq!(finder.find(&text, from), plain(patterns, &text, from));
                }
            }
        }
    }
}
