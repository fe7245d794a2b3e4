//! Masking secrets in a stream of bytes, whatever the borders of its chunks.
//!
//! No pattern contains a line end: a secret of several lines is masked line by line (and as a whole in the forms that
//! write it on one line). So a line end is a border that no match crosses, and of an unfinished line only the part is
//! held back that may still become a secret: the longest end of it that some pattern begins with. What was given out
//! can therefore never turn out to have been a piece of a secret, however long the next chunk waits, and any chunking
//! gives the same output. Everything else passes as it is: invalid UTF-8, CR, NUL, lines of any length.

use aho_corasick::{AhoCorasick, MatchKind};

use crate::forms;

/// What stands in place of a secret.
pub const MASK: &str = "**************";

/// A masker for one stream.
pub struct Masker {
    finder: Option<AhoCorasick>,
    /// Sorted, for the search of prefixes.
    patterns: Vec<Vec<u8>>,
    longest: usize,
    held: Vec<u8>,
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its patterns are what nobody may see.
        f.debug_struct("Masker")
            .field("patterns", &self.patterns.len())
            .finish_non_exhaustive()
    }
}

impl Masker {
    /// A masker for these values in all their forms.
    pub fn new<T: AsRef<str>>(secrets: &[T]) -> Self {
        let mut patterns: Vec<Vec<u8>> = secrets
            .iter()
            .flat_map(|secret| forms::of(secret.as_ref()))
            .collect();
        patterns.sort();
        patterns.dedup();
        let finder = (!patterns.is_empty()).then(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(&patterns)
                .expect("the patterns of one step's secrets fit the automaton")
        });
        Masker {
            finder,
            longest: patterns.iter().map(Vec::len).max().unwrap_or(0),
            patterns,
            held: Vec::new(),
        }
    }

    /// Takes a chunk and appends what is certain to `into`.
    pub fn push(&mut self, chunk: &[u8], into: &mut Vec<u8>) {
        let Some(finder) = &self.finder else {
            into.extend_from_slice(chunk);
            return;
        };
        if self.held.is_empty() {
            let kept = mask(finder, &self.patterns, self.longest, chunk, into);
            self.held.extend_from_slice(&chunk[kept..]);
        } else {
            self.held.extend_from_slice(chunk);
            let kept = mask(finder, &self.patterns, self.longest, &self.held, into);
            self.held.drain(..kept);
        }
    }

    /// Bytes that were pushed and are not given out yet, because they may be the beginning of a secret.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The stream is over: gives out what was held.
    pub fn finish(&mut self, into: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        if let Some(finder) = &self.finder {
            let mut at = 0;
            for found in finder.find_iter(&held) {
                into.extend_from_slice(&held[at..found.start()]);
                into.extend_from_slice(MASK.as_bytes());
                at = found.end();
            }
            into.extend_from_slice(&held[at..]);
        }
    }

    /// A whole text at once.
    pub fn text(&self, text: &str) -> String {
        match &self.finder {
            None => text.to_owned(),
            Some(finder) => {
                let mut out = String::with_capacity(text.len());
                let mut at = 0;
                for found in finder.find_iter(text) {
                    out.push_str(&text[at..found.start()]);
                    out.push_str(MASK);
                    at = found.end();
                }
                out.push_str(&text[at..]);
                out
            }
        }
    }
}

/// Masks `bytes` as far as it is certain; the answer is how much was dealt with.
fn mask(
    finder: &AhoCorasick,
    patterns: &[Vec<u8>],
    longest: usize,
    bytes: &[u8],
    into: &mut Vec<u8>,
) -> usize {
    let mut at = 0;
    let mut open = unfinished(patterns, longest, bytes, 0);
    for found in finder.find_iter(bytes) {
        // A match that may still become a longer one, or stands behind the beginning of an earlier one, waits.
        if found.start() >= open {
            break;
        }
        into.extend_from_slice(&bytes[at..found.start()]);
        into.extend_from_slice(MASK.as_bytes());
        at = found.end();
        if open < at {
            open = unfinished(patterns, longest, bytes, at);
        }
    }
    into.extend_from_slice(&bytes[at..open]);
    open
}

/// The first place from `from` on where the rest of `bytes` is the beginning of a pattern, and not all of it.
fn unfinished(patterns: &[Vec<u8>], longest: usize, bytes: &[u8], from: usize) -> usize {
    let line = bytes[from..]
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(from, |at| from + at + 1);
    let first = line.max(bytes.len().saturating_sub(longest.saturating_sub(1)));
    (first..bytes.len())
        .find(|&at| {
            let rest = &bytes[at..];
            let next = patterns.partition_point(|pattern| pattern.as_slice() <= rest);
            patterns
                .get(next)
                .is_some_and(|pattern| pattern.starts_with(rest))
        })
        .unwrap_or(bytes.len())
}
