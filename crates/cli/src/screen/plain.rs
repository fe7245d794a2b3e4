//! A run as plain lines, for pipes and files: `[stage/group/step] line`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use driver::backend::EventKind;
use engine::event::{Event, Handling, Status};
use pipeline::plan::{Kind, NodeId};

use super::tail::Lines;
use super::view::{Seen, View};
use super::{handling, question, tree, waits, words};

/// Writes what is seen, line by line.
#[derive(Debug)]
pub(crate) struct Plain {
    times: bool,
    lines: BTreeMap<NodeId, Lines>,
}

impl Plain {
    /// With `times`, each line begins with the time of day, UTC.
    pub(crate) fn new(times: bool) -> Self {
        Self {
            times,
            lines: BTreeMap::new(),
        }
    }

    /// Writes what `seen` is; `view` has already seen it.
    pub(crate) fn write(
        &mut self,
        view: &View,
        seen: &Seen,
        to: &mut impl Write,
    ) -> io::Result<()> {
        match seen {
            Seen::Output { step, at_ms, bytes } => {
                let prefix = self.prefix(*at_ms, &view.path(step));
                let mut result = Ok(());
                self.lines
                    .entry(step.clone())
                    .or_default()
                    .push(bytes, |line| {
                        if result.is_ok() {
                            result = write_line(to, &prefix, line);
                        }
                    });
                result
            }
            Seen::Pod { group, event } => {
                let path = format!("{}/Initialize", view.path(group));
                let prefix = self.prefix(event.at_ms, &path);
                let mark = match event.kind {
                    EventKind::Normal => "",
                    EventKind::Warning => "warning: ",
                };
                write_line(to, &prefix, format!("{mark}{}", event.message).as_bytes())
            }
            Seen::Event(stamped) => self.event(view, stamped.at_ms, &stamped.event, to),
        }
    }

    fn event(
        &mut self,
        view: &View,
        at_ms: u64,
        event: &Event,
        to: &mut impl Write,
    ) -> io::Result<()> {
        let mut say = |this: &mut Self, node: &NodeId, text: &str| {
            let prefix = this.prefix(at_ms, &view.path(node));
            let mut lines = text.lines();
            lines.try_for_each(|line| write_line(to, &prefix, line.as_bytes()))
        };
        match event {
            Event::RunCreated {
                run, root, carried, ..
            } => {
                let name = name(&root.identifier, &root.name);
                let text = match carried {
                    Some(carry) => format!("run {run} of {name}, a retry of {}", carry.run),
                    None => format!("run {run} of {name}"),
                };
                say(self, &root.id, &text)
            }
            Event::NodeCarried {
                node, run, status, ..
            } => {
                let word = tree::status_word(*status);
                say(self, node, &format!("{word} in run {run}; not run again"))
            }
            Event::Adopted { epoch, .. } if *epoch > 1 => match &view.root {
                Some(root) => say(self, root, "taken over from a command that was lost"),
                None => Ok(()),
            },
            Event::Waiting { node, wait, .. } => {
                say(self, node, &waits::says(wait))?;
                for line in waits::history(wait, view) {
                    say(self, node, &line)?;
                }
                match waits::how(wait, &view.run, &view.path(node)) {
                    Some(how) => say(self, node, &how),
                    None => Ok(()),
                }
            }
            Event::Admitted { node } => say(self, node, "its turn has come"),
            Event::Answered { node, answer } if view.asked(node) => {
                let names: Vec<_> = answer.inputs.keys().map(String::as_str).collect();
                let what = if names.is_empty() {
                    "answered".to_owned()
                } else {
                    format!("{} given", names.join(", "))
                };
                say(self, node, &format!("{what} by {}", answer.by))
            }
            Event::Answered { node, answer } => {
                let word = if answer.approve {
                    "approved"
                } else {
                    "rejected"
                };
                let comment = if answer.comment.is_empty() {
                    String::new()
                } else {
                    format!(": {}", answer.comment)
                };
                let by = if answer.automatic {
                    "itself, at its deadline"
                } else {
                    answer.by.as_str()
                };
                say(self, node, &format!("{word} by {by}{comment}"))
            }
            Event::AttemptStarted { step, attempt, .. } if *attempt > 0 => {
                say(self, step, &format!("started, try {}", attempt + 1))
            }
            Event::AttemptStarted { step, .. } => say(self, step, "started"),
            Event::AttemptReady { step, warning, .. } => match warning {
                Some(text) => say(self, step, &format!("warning: {text}")),
                None => say(self, step, "ready"),
            },
            Event::AttemptFinished { step, record } => {
                self.rest(view, at_ms, step, to)?;
                for warning in &record.warnings {
                    let prefix = self.prefix(at_ms, &view.path(step));
                    write_line(to, &prefix, format!("warning: {warning}").as_bytes())?;
                }
                Ok(())
            }
            Event::AttemptLost { step, reason, .. } => {
                self.rest(view, at_ms, step, to)?;
                let prefix = self.prefix(at_ms, &view.path(step));
                write_line(to, &prefix, format!("lost: {}", reason.message).as_bytes())
            }
            Event::PodLost { group, reason } => {
                say(self, group, &format!("the pod was lost: {reason}"))
            }
            Event::FailureHandled {
                node,
                failure,
                handling: what,
                by,
                ..
            } => {
                let decided = handling::decided(view, what, by, at_ms);
                say(self, node, &format!("{}; {decided}", failure.message))?;
                if matches!(what, Handling::Ask { .. }) {
                    let path = view.path(node);
                    let help = format!(
                        "decide with: stepyard intervene {} {path} {}",
                        view.run,
                        question::ways(view, node)
                    );
                    say(self, node, &help)?;
                }
                Ok(())
            }
            Event::InitializeAgain { node } => say(self, node, "begins again, for another pod"),
            Event::GroupRetried { group } => say(self, group, "begins again"),
            Event::RollbackStarted { of, .. } => say(self, of, "rolling back"),
            Event::Interrupted { interrupt } => {
                let root = view.root.clone().unwrap_or_else(|| NodeId(String::new()));
                say(self, &root, &handling::interrupt(view, interrupt))
            }
            Event::NodeFinished {
                node,
                status,
                failure,
                why,
            } => {
                let Some(item) = view.items.get(node) else {
                    return Ok(());
                };
                // The summary tells of the whole; what was never entered has nothing to tell.
                let unnamed = item.node.kind == Kind::Loop || item.node.identifier.is_empty();
                if item.parent.is_none() || (unnamed && !item.is_leaf()) {
                    return Ok(());
                }
                let mut text = tree::status_word(*status).to_owned();
                if let Some(ms) = item.elapsed(at_ms).filter(|_| *status != Status::Skipped) {
                    text = format!("{text} in {}", words::took(ms));
                }
                // Why something was not begun is told where it went wrong.
                let told = *status == Status::Skipped || !item.is_leaf();
                if let Some(failure) = failure
                    .as_ref()
                    .filter(|f| !told && f.message != tree::status_word(*status))
                {
                    text = format!("{text}: {}", failure.message);
                }
                let skip = item.node.skip.as_ref();
                if let Some(reason) = why.as_ref().or(skip.filter(|_| *status == Status::Skipped)) {
                    text = format!("{text}: {reason}");
                }
                say(self, node, &text)
            }
            _ => Ok(()),
        }
    }

    /// The line of a step that never got an end.
    fn rest(
        &mut self,
        view: &View,
        at_ms: u64,
        step: &NodeId,
        to: &mut impl Write,
    ) -> io::Result<()> {
        let prefix = self.prefix(at_ms, &view.path(step));
        let mut result = Ok(());
        if let Some(lines) = self.lines.get_mut(step) {
            lines.finish(|line| result = write_line(to, &prefix, line));
        }
        result
    }

    fn prefix(&self, at_ms: u64, path: &str) -> String {
        let path = if path.is_empty() { "pipeline" } else { path };
        if self.times {
            let s = at_ms / 1000;
            let (h, m, sec, ms) = (s / 3600 % 24, s / 60 % 60, s % 60, at_ms % 1000);
            format!("{h:02}:{m:02}:{sec:02}.{ms:03} [{path}] ")
        } else {
            format!("[{path}] ")
        }
    }
}

fn name(identifier: &str, name: &str) -> String {
    if name.is_empty() {
        identifier.to_owned()
    } else {
        name.to_owned()
    }
}

fn write_line(to: &mut impl Write, prefix: &str, line: &[u8]) -> io::Result<()> {
    to.write_all(prefix.as_bytes())?;
    to.write_all(line.strip_suffix(b"\r").unwrap_or(line))?;
    to.write_all(b"\n")
}
