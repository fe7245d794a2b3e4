//! `stepyard approve`: a person's answer to an approval of a run that goes on elsewhere.

use std::collections::BTreeMap;
use std::io;

use driver::control::{self, Ask, Reply};
use engine::event::Event;
use pipeline::plan::{NodeId, Wait};
use serde_json::json;

use crate::args::{Approve, Output};
use crate::home::{Home, RunDir};
use crate::out;
use crate::past::{self, State};
use crate::problem::{Exit, Problem};
use crate::screen::view::View;
use crate::steps;

/// Answers the approval of a step.
pub(crate) fn run(args: &Approve, output: Output) -> Result<Exit, Problem> {
    let home = Home::find()?;
    let (dir, word) = home.run_and_step(args.run.as_deref(), args.step.as_deref())?;
    let view = past::view(&dir)?;
    let open = open(&dir)?;
    let node = match word {
        Some(word) => steps::find(&view, &word)?,
        None => only(&open, &view)?,
    };
    let path = view.path(&node);
    if !open.contains(&node) {
        return Err(Problem::invalid(format!(
            "{path} of run {} asks for no approval now",
            dir.id
        )));
    }
    let mut inputs = BTreeMap::new();
    for text in &args.set {
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(
                Problem::invalid(format!("`--set {text}` is not `NAME=VALUE`"))
                    .help("give an input of the approval by its name: `--set version=1.2`"),
            );
        };
        inputs.insert(name.to_owned(), value.to_owned());
    }
    let ask = Ask::Answer {
        node,
        approve: !args.reject,
        comment: args.comment.clone().unwrap_or_default(),
        inputs,
    };
    ask_of(&dir, &view, &ask)?;
    let word = if args.reject { "rejected" } else { "approved" };
    if output == Output::Json {
        out::json(&json!({"run": dir.id, "step": path, "answer": word}))
    } else {
        out::text(&format!("{path} {word}\n"))
    }
}

/// Asks the command that drives a run.
pub(crate) fn ask_of(dir: &RunDir, view: &View, ask: &Ask) -> Result<(), Problem> {
    match control::ask(dir.path(), ask) {
        Ok(Reply::Done) => Ok(()),
        Ok(Reply::Refused(why)) => Err(Problem::invalid(why)),
        Err(error) => Err(match (error.kind(), past::state(dir, view)) {
            (_, State::Lost) => {
                Problem::invalid(format!("no command drives run {}: it was lost", dir.id)).help(
                    format!(
                        "`stepyard resume {}` goes on with it, then ask again",
                        dir.id
                    ),
                )
            }
            (io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused, State::Over(_)) => {
                Problem::invalid(format!("run {} is over", dir.id))
            }
            _ => Problem::system(
                format_args!("reach the command that drives run {}", dir.id),
                &error,
            ),
        }),
    }
}

/// What persons are asked now: approvals, and what is asked before a node begins.
pub(crate) fn questions(dir: &RunDir) -> Result<Vec<(NodeId, Wait)>, Problem> {
    let mut open: Vec<(NodeId, Wait)> = Vec::new();
    for stamped in past::events(dir)? {
        match stamped.event {
            Event::Waiting {
                node,
                wait: wait @ (Wait::Approval(_) | Wait::Start(_)),
                ..
            } => open.push((node, wait)),
            // An approval may need several answers.
            Event::Answered { node, .. } => {
                open.retain(|(own, wait)| *own != node || matches!(wait, Wait::Approval(_)));
            }
            Event::Failed { node, .. } | Event::NodeFinished { node, .. } => {
                open.retain(|(own, _)| *own != node);
            }
            _ => {}
        }
    }
    Ok(open)
}

/// The approvals that are asked for now.
fn open(dir: &RunDir) -> Result<Vec<NodeId>, Problem> {
    let questions = questions(dir)?.into_iter();
    let approvals = questions.filter(|(_, wait)| matches!(wait, Wait::Approval(_)));
    Ok(approvals.map(|(node, _)| node).collect())
}

/// Where nothing is said, the one approval that is asked for.
fn only(open: &[NodeId], view: &View) -> Result<NodeId, Problem> {
    match open {
        [one] => Ok(one.clone()),
        [] => Err(Problem::invalid(format!(
            "run {} asks for no approval now",
            view.run
        ))),
        many => {
            let paths: Vec<_> = many.iter().map(|id| view.path(id)).collect();
            Err(Problem::invalid(format!(
                "{} approvals of run {} are asked for",
                many.len(),
                view.run
            ))
            .help(format!("say which: {}", paths.join(", "))))
        }
    }
}
