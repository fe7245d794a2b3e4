//! `sh` and `bash`.

use std::fmt::Write as _;

use super::Unit;

/// What is around a character.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Frame {
    /// Commands, until this character; `\0` is the end of the script.
    Code(char),
    /// `"…"`.
    Double,
    /// `${…}`.
    Brace,
    /// `$((…))`, and how many parentheses are open in it.
    Arithmetic(usize),
}

/// A here-document whose body is yet to come.
struct Here {
    word: String,
    quoted: bool,
    tabs: bool,
    /// Where its word stands in the output.
    at: std::ops::Range<usize>,
}

pub(super) fn place(units: &[Unit], names: &[&str]) -> String {
    let mut scanner = Scanner {
        units,
        names,
        at: 0,
        out: String::with_capacity(units.len() + 32),
        frames: vec![Frame::Code('\0')],
        here: Vec::new(),
    };
    while scanner.at < units.len() {
        scanner.step();
    }
    scanner.out
}

struct Scanner<'a> {
    units: &'a [Unit],
    names: &'a [&'a str],
    at: usize,
    out: String,
    frames: Vec<Frame>,
    here: Vec<Here>,
}

impl Scanner<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        match self.units.get(self.at + ahead) {
            Some(Unit::Char(char)) => Some(*char),
            _ => None,
        }
    }

    fn top(&self) -> Frame {
        self.frames.last().copied().unwrap_or(Frame::Code('\0'))
    }

    fn pop(&mut self) {
        if self.frames.len() > 1 {
            self.frames.pop();
        }
    }

    /// Copies so many characters.
    fn copy(&mut self, count: usize) {
        for unit in &self.units[self.at..(self.at + count).min(self.units.len())] {
            if let Unit::Char(char) = unit {
                self.out.push(*char);
            }
        }
        self.at += count;
    }

    /// Inside of double quotes, at any level.
    fn expands(&self) -> bool {
        for frame in self.frames.iter().rev() {
            match frame {
                Frame::Double | Frame::Arithmetic(_) => return true,
                Frame::Code(_) => return false,
                Frame::Brace => {}
            }
        }
        false
    }

    fn step(&mut self) {
        let char = match self.units[self.at] {
            Unit::Secret(index) => {
                let name = self.names[index];
                if self.expands() {
                    let _ = write!(self.out, "${{{name}}}");
                } else {
                    let _ = write!(self.out, "\"${{{name}}}\"");
                }
                self.at += 1;
                return;
            }
            Unit::Char(char) => char,
        };
        match char {
            '\\' => match self.units.get(self.at + 1) {
                // It would quote what we put there.
                Some(Unit::Secret(_)) => self.at += 1,
                _ => self.copy(2),
            },
            '$' if self.peek(1) == Some('(') && self.peek(2) == Some('(') => {
                self.frames.push(Frame::Arithmetic(0));
                self.copy(3);
            }
            '$' if self.peek(1) == Some('(') => {
                self.frames.push(Frame::Code(')'));
                self.copy(2);
            }
            '$' if self.peek(1) == Some('{') => {
                self.frames.push(Frame::Brace);
                self.copy(2);
            }
            '}' if self.top() == Frame::Brace => {
                self.pop();
                self.copy(1);
            }
            '`' => {
                if self.top() == Frame::Code('`') {
                    self.pop();
                } else {
                    self.frames.push(Frame::Code('`'));
                }
                self.copy(1);
            }
            '"' => {
                if self.top() == Frame::Double {
                    self.pop();
                } else {
                    self.frames.push(Frame::Double);
                }
                self.copy(1);
            }
            _ => match self.top() {
                Frame::Arithmetic(open) => self.arithmetic(char, open),
                Frame::Code(close) => self.code(char, close),
                // In `${…}` outside of double quotes, single quotes quote.
                Frame::Brace if char == '\'' && !self.expands() => self.single(1),
                Frame::Brace | Frame::Double => self.copy(1),
            },
        }
    }

    fn arithmetic(&mut self, char: char, open: usize) {
        match char {
            ')' if open == 0 => {
                self.pop();
                self.copy(if self.peek(1) == Some(')') { 2 } else { 1 });
                return;
            }
            '(' | ')' => {
                let open = if char == '(' { open + 1 } else { open - 1 };
                self.pop();
                self.frames.push(Frame::Arithmetic(open));
            }
            _ => {}
        }
        self.copy(1);
    }

    fn code(&mut self, char: char, close: char) {
        match char {
            '\'' => self.single(1),
            '$' if self.peek(1) == Some('\'') => self.single(2),
            '(' => {
                self.frames.push(Frame::Code(')'));
                self.copy(1);
            }
            ')' if close == ')' => {
                self.pop();
                self.copy(1);
            }
            '#' if self.begins_word() => {
                while self.at < self.units.len() && self.peek(0) != Some('\n') {
                    // A comment says nothing: the secret's name will do.
                    if let Unit::Secret(index) = self.units[self.at] {
                        self.out.push_str(self.names[index]);
                        self.at += 1;
                    } else {
                        self.copy(1);
                    }
                }
            }
            '<' if self.peek(1) == Some('<') && self.peek(2) == Some('<') => self.copy(3),
            '<' if self.peek(1) == Some('<') => self.here_word(),
            '\n' => {
                self.copy(1);
                for at in 0..self.here.len() {
                    self.here_body(at);
                }
                self.here.clear();
            }
            _ => self.copy(1),
        }
    }

    fn begins_word(&self) -> bool {
        self.out
            .chars()
            .next_back()
            .is_none_or(|before| before.is_whitespace() || ";&|()`".contains(before))
    }

    /// `'…'`, or `$'…'`, whose opening is that long.
    fn single(&mut self, opening: usize) {
        let escapes = opening == 2;
        let open = if escapes { "$'" } else { "'" };
        self.copy(opening);
        while self.at < self.units.len() {
            match self.units[self.at] {
                Unit::Secret(index) => {
                    let _ = write!(self.out, "'\"${{{}}}\"{open}", self.names[index]);
                    self.at += 1;
                }
                Unit::Char('\\') if escapes => match self.units.get(self.at + 1) {
                    Some(Unit::Secret(_)) => self.at += 1,
                    _ => self.copy(2),
                },
                Unit::Char('\'') => {
                    self.copy(1);
                    return;
                }
                Unit::Char(_) => self.copy(1),
            }
        }
    }

    /// `<<WORD`, `<<-'WORD'`.
    fn here_word(&mut self) {
        self.copy(2);
        let tabs = self.peek(0) == Some('-');
        if tabs {
            self.copy(1);
        }
        while matches!(self.peek(0), Some(' ' | '\t')) {
            self.copy(1);
        }
        let start = self.out.len();
        let (mut word, mut quoted, mut quote) = (String::new(), false, None);
        while let Some(char) = self.peek(0) {
            match (quote, char) {
                (None, '\'' | '"') => {
                    quoted = true;
                    quote = Some(char);
                }
                (Some(own), _) if own == char => quote = None,
                (None, '\\') => {
                    quoted = true;
                    self.copy(1);
                    word.extend(self.peek(0));
                }
                (None, char) if char.is_whitespace() || ";&|()<>".contains(char) => break,
                _ => word.push(char),
            }
            self.copy(1);
        }
        if !word.is_empty() {
            self.here.push(Here {
                word,
                quoted,
                tabs,
                at: start..self.out.len(),
            });
        }
    }

    /// The body of a here-document, with the line that ends it.
    fn here_body(&mut self, which: usize) {
        let end = self.here_end(which);
        let body = self.at..end;
        let secret = self.units[body.clone()]
            .iter()
            .any(|unit| matches!(unit, Unit::Secret(_)));
        let escape = self.here[which].quoted && secret;
        if escape {
            // Without quotes around its word the body expands: what may not is escaped.
            let at = self.here[which].at.clone();
            let word = self.here[which].word.clone();
            let shorter = at.len() - word.len();
            self.out.replace_range(at.clone(), &word);
            for later in &mut self.here {
                if later.at.start > at.start {
                    later.at = later.at.start - shorter..later.at.end - shorter;
                }
            }
        }
        while self.at < end {
            match self.units[self.at] {
                Unit::Secret(index) => {
                    let _ = write!(self.out, "${{{}}}", self.names[index]);
                }
                Unit::Char(char) => {
                    if escape && matches!(char, '\\' | '$' | '`') {
                        self.out.push('\\');
                    }
                    self.out.push(char);
                }
            }
            self.at += 1;
        }
        while self.at < self.units.len() {
            let last = self.peek(0) == Some('\n');
            self.copy(1);
            if last {
                break;
            }
        }
    }

    /// Where the line that ends it begins.
    fn here_end(&self, which: usize) -> usize {
        let here = &self.here[which];
        let mut start = self.at;
        while start < self.units.len() {
            let end = self.units[start..]
                .iter()
                .position(|unit| *unit == Unit::Char('\n'))
                .map_or(self.units.len(), |len| start + len);
            let line: Option<String> = self.units[start..end]
                .iter()
                .map(|unit| match unit {
                    Unit::Char(char) => Some(*char),
                    Unit::Secret(_) => None,
                })
                .collect();
            let ends = line.is_some_and(|line| {
                let line = if here.tabs {
                    line.trim_start_matches('\t')
                } else {
                    &line
                };
                line == here.word
            });
            if ends {
                return start;
            }
            start = end + 1;
        }
        self.units.len()
    }
}
