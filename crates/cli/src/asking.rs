//! Approvals that are answered on the terminal of the run itself: `yes` or `no`, and why.
//!
//! What is typed goes the way of `stepyard approve`, through the run's socket. While the tree is painted the terminal does not show what is
//! typed: it would tear the picture.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};

use driver::control::Ask;
use pipeline::plan::NodeId;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

use crate::cmd::approve;
use crate::home::RunDir;
use crate::past;
use crate::screen::show::Voice;

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
    let (dir, voice) = (dir.clone(), voice.clone());
    std::thread::spawn(move || {
        let mut line = String::new();
        while ready() {
            line.clear();
            match io::stdin().read_line(&mut line) {
                Ok(1..) => hear(line.trim(), &dir, &voice),
                _ => return,
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

fn quiet() -> Option<Termios> {
    let before = termios::tcgetattr(io::stdin()).ok()?;
    let mut silent = before.clone();
    silent
        .local_modes
        .remove(LocalModes::ECHO | LocalModes::ECHONL);
    termios::tcsetattr(io::stdin(), OptionalActions::Now, &silent).ok()?;
    Some(before)
}

/// A line that a person typed.
fn hear(line: &str, dir: &RunDir, voice: &Voice) {
    let Ok(open) = approve::open(dir) else { return };
    let Some(asked) = open.first() else { return };
    let answered = answer(line, asked.clone())
        .ok_or_else(|| "answer with `yes` or `no`, and why".to_owned())
        .and_then(|ask| {
            let view = past::view(dir).map_err(|problem| problem.to_string())?;
            approve::ask_of(dir, &view, &ask).map_err(|problem| problem.to_string())
        });
    if let Err(why) = answered {
        voice.say(why);
    }
}

/// What a line means; the first word decides, the rest is the comment.
fn answer(line: &str, node: NodeId) -> Option<Ask> {
    let (word, comment) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let approve = match &*word.to_ascii_lowercase() {
        "yes" | "approve" => true,
        "no" | "reject" => false,
        _ => return None,
    };
    Some(Ask::Answer {
        node,
        approve,
        comment: comment.trim().to_owned(),
        inputs: BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_are_answers() {
        for (line, wanted) in [
            ("yes", Some((true, ""))),
            ("Yes fine by me", Some((true, "fine by me"))),
            ("no  not on a Friday ", Some((false, "not on a Friday"))),
            ("reject", Some((false, ""))),
            ("approve", Some((true, ""))),
            ("y", None),
            ("", None),
            ("yesterday", None),
        ] {
            let found = answer(line.trim(), NodeId::from("n")).map(|ask| match ask {
                Ask::Answer {
                    approve, comment, ..
                } => (approve, comment),
                Ask::Interrupt(_) => unreachable!("no interrupt is typed"),
            });
            let wanted = wanted.map(|(approve, comment)| (approve, comment.to_owned()));
            assert_eq!(found, wanted, "{line}");
        }
    }
}
