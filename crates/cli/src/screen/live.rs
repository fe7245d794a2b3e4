//! The part of a terminal that is painted again and again, without flicker.
//!
//! Everything of one frame is one write: lines are overwritten in place and only what is left of an older, longer one is
//! erased. Nothing is hidden and no mode is left on, so a command that is killed leaves a usable terminal.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::line::Line;

/// A region at the bottom of a terminal.
#[derive(Debug)]
pub(crate) struct Live<W> {
    out: W,
    colour: bool,
    /// The widths of the lines that stand there now.
    drawn: Vec<usize>,
}

/// Between these a terminal that knows them shows nothing half done; others ignore them.
const BEGIN: &str = "\u{1b}[?2026h";
const END: &str = "\u{1b}[?2026l";

impl<W: Write> Live<W> {
    /// Nothing is painted yet.
    pub(crate) fn new(out: W, colour: bool) -> Self {
        Self {
            out,
            colour,
            drawn: Vec::new(),
        }
    }

    /// Writes `above` to stay, and the region anew below it. `columns` is the terminal's width now.
    pub(crate) fn paint(
        &mut self,
        above: &[String],
        region: &[Line],
        columns: usize,
    ) -> io::Result<()> {
        let columns = columns.max(2);
        // A terminal that became narrower has broken what stood there into more rows.
        let rows: usize = self.drawn.iter().map(|w| w.div_ceil(columns).max(1)).sum();
        let narrower = self.drawn.iter().any(|w| *w > columns);
        let mut frame = String::from(BEGIN);
        if rows > 0 {
            let _ = write!(frame, "\r\u{1b}[{rows}A");
        }
        if !above.is_empty() || narrower {
            // These may be as wide as they like: what they flow over must be gone.
            frame.push_str("\r\u{1b}[J");
        }
        for line in above {
            frame.push_str(line);
            frame.push_str("\r\n");
        }
        self.drawn.clear();
        for line in region {
            // One column stays free: a full row would be ended by the terminal and by us.
            let line = line.clone().cut(columns - 1);
            self.drawn.push(line.width());
            frame.push_str(&line.render(self.colour));
            frame.push_str("\u{1b}[K\r\n");
        }
        frame.push_str("\u{1b}[J");
        frame.push_str(END);
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }
}
