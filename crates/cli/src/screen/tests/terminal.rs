//! Painting in place, checked on a terminal of our own that knows just what we write.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::line::{Line, Tone};
use super::super::live::Live;

/// Rows of text, and where the cursor is.
struct Glass {
    rows: Vec<Vec<char>>,
    at: (usize, usize),
    columns: usize,
}

impl Glass {
    fn new(columns: usize) -> Self {
        Self {
            rows: vec![Vec::new()],
            at: (0, 0),
            columns,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).expect("we write UTF-8");
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\u{1b}' => {
                    assert_eq!(chars.next(), Some('['), "only CSI is written");
                    let mut body = String::new();
                    while !body.ends_with(|c| ('@'..='~').contains(&c)) {
                        body.extend(chars.next());
                    }
                    self.control(&body);
                }
                '\r' => self.at.1 = 0,
                '\n' => self.down(),
                c => {
                    if self.at.1 == self.columns {
                        self.at.1 = 0;
                        self.down();
                    }
                    let row = &mut self.rows[self.at.0];
                    row.resize(row.len().max(self.at.1 + 1), ' ');
                    row[self.at.1] = c;
                    self.at.1 += 1;
                }
            }
        }
    }

    fn down(&mut self) {
        self.at.0 += 1;
        if self.at.0 == self.rows.len() {
            self.rows.push(Vec::new());
        }
    }

    fn control(&mut self, body: &str) {
        let (number, what) = body.split_at(body.len() - 1);
        match what {
            "A" => self.at.0 -= number.parse::<usize>().expect("rows"),
            "K" => self.rows[self.at.0].truncate(self.at.1),
            "J" => {
                self.rows[self.at.0].truncate(self.at.1);
                self.rows.truncate(self.at.0 + 1);
            }
            "m" | "h" | "l" => {}
            other => panic!("{other} is not known to this terminal"),
        }
    }

    fn text(&self) -> String {
        let rows: Vec<String> = self
            .rows
            .iter()
            .map(|r| r.iter().collect::<String>())
            .collect();
        rows.join("\n").trim_end().to_owned()
    }
}

fn region(texts: &[&str]) -> Vec<Line> {
    texts.iter().map(|t| Line::of(Tone::Good, *t)).collect()
}

/// The two ends of a terminal.
#[derive(Clone)]
struct Shared(Rc<RefCell<Glass>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().feed(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_region_is_painted_over_and_text_stays_above_it() {
    let glass = Shared(Rc::new(RefCell::new(Glass::new(20))));
    let mut live = Live::new(glass.clone(), true);
    for (above, lines, expected) in [
        (None, &["one", "two", "three"][..], "one\ntwo\nthree"),
        (
            None,
            &["a longer first line", "2"],
            "a longer first line\n2",
        ),
        (
            None,
            &["a line that is too long", "2"],
            "a line that is too…\n2",
        ),
        (Some("to stay"), &["1", "2"], "to stay\n1\n2"),
        (
            Some("text that flows over three rows of this terminal"),
            &["1"],
            "to stay\ntext that flows over\n three rows of this \nterminal\n1",
        ),
        (
            None,
            &[],
            "to stay\ntext that flows over\n three rows of this \nterminal",
        ),
    ] {
        let above: Vec<String> = above.into_iter().map(str::to_owned).collect();
        live.paint(&above, &region(lines), 20).expect("memory");
        assert_eq!(glass.0.borrow().text(), expected);
    }
}
