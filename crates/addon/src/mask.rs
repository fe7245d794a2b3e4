//! Masking secrets in a stream of bytes, whatever the borders of its chunks.
//!
//! No pattern contains a line end: a secret of several lines is masked line by line (and as a whole in the forms that
//! write it on one line). So a line end is a border that no match crosses, and of an unfinished line only the part is
//! held back that may still become a secret: the longest end of it that some pattern begins with. What was given out
//! can therefore never turn out to have been a piece of a secret, however long the next chunk waits, and any chunking
//! gives the same output. Everything else passes as it is: invalid UTF-8, CR, NUL, lines of any length.

use crate::finder::Finder;
use crate::forms;

/// What stands in place of a secret.
pub const MASK: &str = "**************";

/// A masker for one stream.
pub struct Masker {
    /// `None`: nothing is secret.
    finder: Option<Finder>,
    held: Vec<u8>,
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its patterns are what nobody may see.
        f.debug_struct("Masker")
            .field("patterns", &self.finder.as_ref().map_or(0, Finder::len))
            .finish_non_exhaustive()
    }
}

impl Masker {
    /// A masker for these values in all their forms.
    pub fn new<T: AsRef<str>>(secrets: &[T]) -> Self {
        let patterns: Vec<Vec<u8>> = secrets
            .iter()
            .flat_map(|secret| forms::of(secret.as_ref()))
            .collect();
        Masker {
            finder: (!patterns.is_empty()).then(|| Finder::new(patterns)),
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
            let kept = mask(finder, chunk, into);
            self.held.extend_from_slice(&chunk[kept..]);
        } else {
            self.held.extend_from_slice(chunk);
            let kept = mask(finder, &self.held, into);
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
        self.whole(&held, into);
    }

    /// A whole text at once.
    pub fn text(&self, text: &str) -> String {
        let mut out = Vec::with_capacity(text.len());
        self.whole(text.as_bytes(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn whole(&self, bytes: &[u8], into: &mut Vec<u8>) {
        let mut at = 0;
        if let Some(finder) = &self.finder {
            while let Some((start, end)) = finder.find(bytes, at) {
                into.extend_from_slice(&bytes[at..start]);
                into.extend_from_slice(MASK.as_bytes());
                at = end;
            }
        }
        into.extend_from_slice(&bytes[at..]);
    }
}

/// Masks `bytes` as far as it is certain; the answer is how much was dealt with.
fn mask(finder: &Finder, bytes: &[u8], into: &mut Vec<u8>) -> usize {
    let mut at = 0;
    let mut open = finder.unfinished(bytes, 0);
    // A match that may still become a longer one, or stands behind the beginning of an earlier one, waits.
    while let Some((start, end)) = finder.find(bytes, at)
        && start < open
    {
        into.extend_from_slice(&bytes[at..start]);
        into.extend_from_slice(MASK.as_bytes());
        at = end;
        if open < at {
            open = finder.unfinished(bytes, at);
        }
    }
    into.extend_from_slice(&bytes[at..open]);
    open
}
