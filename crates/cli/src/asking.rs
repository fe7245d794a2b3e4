//! Questions that are answered on the terminal of the run itself: approvals, inputs, and failures that a
//! person decides about.
//!
//! What is typed goes the way of `stepyard approve` and `stepyard intervene`, through the run's socket. While the tree is painted the
//! terminal shows nothing that is typed, for that would tear the picture: the screen shows it below the question.

use std::io::{self, IsTerminal as _, Read as _};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

use crate::cmd::questions;
use crate::home::RunDir;
use crate::past;
use crate::screen::question::{self, Given};
use crate::screen::show::Voice;

/// Bytes of an answer: more is no answer.
const LONGEST: usize = 4096;

/// The terminal as it was, given back when this is dropped.
pub(crate) struct Asking(Option<Termios>);

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Listens to the terminal until the run is over; none where there is no person at it. `live`: a tree is painted there.
pub(crate) fn listen(dir: &RunDir, voice: &Voice, live: bool) -> Option<Asking> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() || !in_front() {
        return None;
    }
    let before = live.then(quiet).flatten();
    let shown = before.is_some();
    let (dir, voice) = (dir.clone(), voice.clone());
    std::thread::spawn(move || {
        let mut keys = Keys::default();
        let mut given = Given::default();
        // As many as standard input takes at once: none are left where nobody waits for them.
        let mut bytes = [0; 8192];
        while ready() {
            let Ok(count @ 1..) = io::stdin().read(&mut bytes) else {
                return;
            };
            for byte in &bytes[..count] {
                if let Some(line) = keys.press(*byte) {
                    hear(&line, &dir, &mut given, &voice);
                }
            }
            if shown {
                voice.typed(keys.shown());
            }
        }
    });
    Some(Asking(before))
}

/// Whether this command may read: one in the background would be stopped by it.
fn in_front() -> bool {
    termios::tcgetpgrp(io::stdin()).is_ok_and(|front| front == rustix::process::getpgrp())
}

/// Waits until something was typed to this command; false where it went into the background.
fn ready() -> bool {
    let stdin = io::stdin();
    let mut wait = [PollFd::new(&stdin, PollFlags::IN)];
    loop {
        match poll(&mut wait, None) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return in_front(),
            Err(_) => return false,
        }
    }
}

/// Each key comes as it is pressed, and shows nowhere by itself; Ctrl-C and its kin stay signals.
fn quiet() -> Option<Termios> {
    let before = termios::tcgetattr(io::stdin()).ok()?;
    let mut silent = before.clone();
    silent
        .local_modes
        .remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON);
    termios::tcsetattr(io::stdin(), OptionalActions::Now, &silent).ok()?;
    Some(before)
}

/// A line that is being typed.
#[derive(Debug, Default)]
struct Keys {
    line: Vec<u8>,
    /// In an escape sequence: an arrow, a function key.
    escape: Escape,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    No,
    Begun,
    Inside,
}

impl Keys {
    /// Takes a byte; the line, where it is whole.
    fn press(&mut self, byte: u8) -> Option<String> {
        self.escape = match (self.escape, byte) {
            (Escape::No, 0x1b) => Escape::Begun,
            (Escape::Begun, b'[' | b'O') | (Escape::Inside, 0x20..=0x3f) => Escape::Inside,
            (Escape::Begun | Escape::Inside, _) => {
                self.escape = Escape::No;
                return None;
            }
            (Escape::No, _) => Escape::No,
        };
        if self.escape != Escape::No {
            return None;
        }
        match byte {
            b'\n' | b'\r' => {
                let line = std::mem::take(&mut self.line);
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            // Backspace takes a whole character.
            0x08 | 0x7f => while self.line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            // Ctrl-U and Ctrl-W.
            0x15 => self.line.clear(),
            0x17 => {
                let text = self.line.trim_ascii_end();
                let word = text.iter().rposition(u8::is_ascii_whitespace);
                self.line.truncate(word.map_or(0, |at| at + 1));
            }
            0x20.. if self.line.len() < LONGEST => self.line.push(byte),
            _ => {}
        }
        None
    }

    /// What is there so far.
    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.line).into_owned()
    }
}

/// A line that a person typed; `given` is what was typed before for the same question.
fn hear(line: &str, dir: &RunDir, given: &mut Given, voice: &Voice) {
    let Ok(view) = past::view(dir) else { return };
    // Nobody asked: keys are pressed for many reasons.
    let Some(answered) = question::answer(&view, line, given) else {
        return;
    };
    let told = answered.and_then(|ask| {
        let Some(ask) = ask else { return Ok(()) };
        questions::ask_of(dir, &view, &ask).map_err(|problem| problem.to_string())
    });
    if let Err(why) = told {
        *given = Given::default();
        voice.say(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_lines() {
        for (typed, wanted) in [
            ("retry\n", "retry"),
            ("ret\u{7f}\u{7f}\u{7f}i\r", "i"),
            ("yé\u{8}es\n", "yes"),
            ("one two\u{17}three\n", "one three"),
            ("away\u{15}r\n", "r"),
            ("\u{1b}[A\u{1b}OP\u{1b}[1;5Cr\n", "r"),
            ("\u{1b}xr\t\n", "r"),
        ] {
            let mut keys = Keys::default();
            let lines: Vec<_> = typed.bytes().filter_map(|byte| keys.press(byte)).collect();
            assert_eq!(lines, [wanted], "{typed:?}");
            assert_eq!(keys.shown(), "");
        }
    }
}
