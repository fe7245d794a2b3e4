//! What a driver that was lost has told of its pods already: the lines of their Initialize logs.

use std::collections::BTreeMap;
use std::path::Path;

use pipeline::plan::NodeId;

use crate::store::{Piece, Reader};

/// How often each line is in a log, by its time: it comes that often again.
type Lines = BTreeMap<(u64, String), usize>;

/// The lines that were there when this driver began, read when a log is first written to.
#[derive(Debug)]
pub(crate) struct Told {
    resumed: bool,
    logs: BTreeMap<NodeId, Lines>,
}

impl Told {
    /// Of a run that is taken over, or of a new one, whose logs are empty.
    pub(crate) fn new(resumed: bool) -> Self {
        Self {
            resumed,
            logs: BTreeMap::new(),
        }
    }

    /// Whether this line of a node's log, in this directory, comes again.
    pub(crate) fn again(&mut self, dir: &Path, node: &NodeId, at_ms: u64, line: &str) -> bool {
        if !self.resumed {
            return false;
        }
        let lines = self
            .logs
            .entry(node.clone())
            .or_insert_with(|| read(dir, node));
        let left = lines.get_mut(&(at_ms, line.to_owned()));
        match left {
            Some(left @ 1..) => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}

/// A log that cannot be read says nothing: its lines then come twice.
fn read(dir: &Path, node: &NodeId) -> Lines {
    let mut lines = Lines::new();
    let Ok(mut reader) = Reader::open(dir, node, 0) else {
        return lines;
    };
    while let Ok(Some(piece)) = reader.next_piece() {
        if let Piece::Bytes { at_ms, bytes, .. } = piece {
            for line in String::from_utf8_lossy(&bytes).split_inclusive('\n') {
                *lines.entry((at_ms, line.to_owned())).or_default() += 1;
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Logs;

    #[test]
    fn a_line_comes_again_as_often_as_it_was_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let node = NodeId("stages.s.steps.g.steps.Initialize".to_owned());
        let mut logs = Logs::new(dir.path(), Vec::new());
        for (at_ms, line) in [
            (5, "Created container a\n"),
            (5, "Started container a\n"),
            (5, "Created container a\n"),
        ] {
            logs.append(&node, 0, at_ms, line.as_bytes())
                .expect("a disk");
            logs.flush(&node, 0).expect("a disk");
        }
        let mut told = Told::new(true);
        let mut again = |at_ms, line: &str| told.again(dir.path(), &node, at_ms, line);
        assert!(again(5, "Created container a\n"));
        assert!(again(5, "Created container a\n"));
        assert!(!again(5, "Created container a\n"), "the third is news");
        assert!(again(5, "Started container a\n"));
        assert!(!again(6, "Started container a\n"), "that is another one");
        let mut new = Told::new(false);
        assert!(!new.again(dir.path(), &node, 5, "Created container a\n"));
    }
}
