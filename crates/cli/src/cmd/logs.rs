//! `stepyard logs`: what the steps of a run wrote.
//!
//! Of one step the bytes as they are stored, so that they can be piped; of several, lines with the step before each. On a
//! terminal the lines are made fit for it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use driver::store::{Piece, Reader};
use pipeline::plan::NodeId;
use serde_json::json;

use crate::args::{Logs, Output};
use crate::home::{Home, RunDir};
use crate::past::{self, State};
use crate::problem::{Exit, Problem};
use crate::screen::show::Terminal;
use crate::screen::tail::Lines;
use crate::screen::view::View;
use crate::screen::{ansi, words};
use crate::steps;
use crate::watch::Watch;

/// Shows logs, and goes on until the run is over where that is asked for.
pub(crate) fn run(args: &Logs, output: Output) -> Result<Exit, Problem> {
    let home = Home::find()?;
    let (mut dir, step) = home.run_and_step(args.run.as_deref(), args.step.as_deref())?;
    // What a carried step wrote is with the run in which it ran.
    if let Some(word) = &step
        && let Some(run) = steps::carried(&past::view(&dir)?, word)
    {
        dir = home.run(Some(&run))?;
    }
    let mut printer = Printer::new(output);
    let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    // Set up before the first reading, so that nothing falls between the two.
    let mut watch = if args.follow {
        Some(Watch::new(&dir)?)
    } else {
        None
    };
    loop {
        let view = past::view(&dir)?;
        let state = past::state(&dir, &view);
        let result = match &step {
            Some(word) => steps::find(&view, word)
                .and_then(|id| printer.step(&dir, &view, &id, true, &mut out)),
            None => printer.all(&dir, &view, &mut out),
        };
        match (result, state, &watch) {
            // A step that is not there yet may come.
            (Err(_), State::Running, Some(_)) | (Ok(()), ..) => {}
            (Err(problem), ..) => return Err(problem),
        }
        if out.flush().is_err() {
            // Whoever read this has left.
            return Ok(Exit::Success);
        }
        let over = match (&step, state) {
            (_, State::Over(_)) => true,
            (Some(word), _) => steps::find(&view, word)
                .ok()
                .and_then(|id| view.items.get(&id)?.status)
                .is_some(),
            (None, _) => false,
        };
        match &mut watch {
            Some(watch) if !over => {
                if state == State::Lost {
                    printer.finish(&view, &mut out);
                    let _ = out.flush();
                    return Err(Problem::failed(format!(
                        "the command that drove run {} was lost",
                        dir.id
                    ))
                    .help(format!("`stepyard resume {}` goes on with it", dir.id)));
                }
                watch.wait()?;
            }
            _ => {
                printer.finish(&view, &mut out);
                let _ = out.flush();
                return Ok(Exit::Success);
            }
        }
    }
}

/// One attempt's log, as far as it was read.
struct Open {
    reader: Reader,
    lines: Lines,
}

struct Printer {
    json: bool,
    terminal: Option<Terminal>,
    open: BTreeMap<(NodeId, u32), Open>,
    /// Bytes go out as they are.
    raw: bool,
}

impl Printer {
    fn new(output: Output) -> Self {
        let terminal = Terminal::stdout();
        Self {
            json: output == Output::Json,
            terminal: (terminal.live || terminal.colour).then_some(terminal),
            open: BTreeMap::new(),
            raw: false,
        }
    }

    /// Every leaf in the order of the tree.
    fn all(&mut self, dir: &RunDir, view: &View, out: &mut impl Write) -> Result<(), Problem> {
        let Some(root) = &view.root else {
            return Ok(());
        };
        for id in view.below(root) {
            if view
                .items
                .get(&id)
                .is_some_and(super::super::screen::view::Item::is_leaf)
            {
                self.step(dir, view, &id, false, out)?;
            }
        }
        Ok(())
    }

    /// What is new of a step's attempts.
    fn step(
        &mut self,
        dir: &RunDir,
        view: &View,
        id: &NodeId,
        alone: bool,
        out: &mut impl Write,
    ) -> Result<(), Problem> {
        self.raw = alone && !self.json && self.terminal.is_none();
        let attempts = view.items.get(id).map_or(1, |i| i.attempts.len().max(1)) as u32;
        let path = view.path(id);
        for attempt in 0..attempts {
            let key = (id.clone(), attempt);
            if !self.open.contains_key(&key) {
                match Reader::open(&dir.join("logs"), id, attempt) {
                    Ok(reader) => {
                        self.open.insert(
                            key.clone(),
                            Open {
                                reader,
                                lines: Lines::default(),
                            },
                        );
                    }
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    Err(e) => {
                        return Err(Problem::system(format_args!("read the log of {path}"), &e));
                    }
                }
            }
            let Some(open) = self.open.get_mut(&key) else {
                continue;
            };
            loop {
                let piece = open
                    .reader
                    .next_piece()
                    .map_err(|e| Problem::system(format_args!("read the log of {path}"), &e))?;
                let (at_ms, bytes) = match piece {
                    None => break,
                    Some(Piece::Bytes { at_ms, bytes, .. }) => (at_ms, bytes),
                    Some(Piece::Gap { bytes, .. }) => (
                        0,
                        format!(
                            "\n[{} of output were lost here]\n",
                            words::count(bytes, "byte")
                        )
                        .into_bytes(),
                    ),
                };
                let put = if self.raw {
                    out.write_all(&bytes)
                } else {
                    let mut result = Ok(());
                    let form = Form {
                        json: self.json,
                        alone,
                        terminal: self.terminal,
                        path: &path,
                        id,
                        attempt,
                    };
                    open.lines.push(&bytes, |line| {
                        if result.is_ok() {
                            result = form.line(at_ms, line, out);
                        }
                    });
                    result
                };
                if put.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Lines that never got an end.
    fn finish(&mut self, view: &View, out: &mut impl Write) {
        let alone = self
            .open
            .keys()
            .map(|(id, _)| id)
            .collect::<std::collections::BTreeSet<_>>()
            .len()
            < 2;
        for ((id, attempt), open) in &mut self.open {
            let path = view.path(id);
            let form = Form {
                json: self.json,
                alone,
                terminal: self.terminal,
                path: &path,
                id,
                attempt: *attempt,
            };
            open.lines.finish(|line| {
                let _ = form.line(0, line, out);
            });
        }
    }
}

/// How a line is written.
struct Form<'a> {
    json: bool,
    alone: bool,
    terminal: Option<Terminal>,
    path: &'a str,
    id: &'a NodeId,
    attempt: u32,
}

impl Form<'_> {
    fn line(&self, at_ms: u64, line: &[u8], out: &mut impl Write) -> io::Result<()> {
        if self.json {
            let text = String::from_utf8_lossy(line);
            let value =
                json!({"step": self.id, "attempt": self.attempt, "at_ms": at_ms, "text": text});
            return writeln!(out, "{value}");
        }
        if !self.alone {
            write!(out, "[{}] ", self.path)?;
        }
        match self.terminal {
            Some(terminal) => out.write_all(ansi::clean(line, terminal.colour).as_bytes())?,
            None => out.write_all(line)?,
        }
        out.write_all(b"\n")
    }
}
