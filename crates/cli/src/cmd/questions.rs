//! What a run that goes on elsewhere asks persons, which of it a word means, and how its command is told.

use std::io;

use driver::control::{self, Ask, Reply};
use engine::event::Event;
use pipeline::plan::{NodeId, Wait};

use crate::home::RunDir;
use crate::past::{self, State};
use crate::problem::Problem;
use crate::screen::view::View;
use crate::steps;

/// What a command answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Whether a step may go on.
    Approval,
    /// What a node wants before it begins.
    Start,
}

impl Asked {
    const fn is(self, wait: &Wait) -> bool {
        match self {
            Self::Approval => matches!(wait, Wait::Approval(_)),
            Self::Start => matches!(wait, Wait::Start(_)),
        }
    }

    /// After "asks for", where nothing does.
    const fn none(self) -> &'static str {
        match self {
            Self::Approval => "no approval",
            Self::Start => "nothing",
        }
    }

    /// After "ask for", where several do.
    const fn some(self) -> &'static str {
        match self {
            Self::Approval => "an approval",
            Self::Start => "something",
        }
    }
}

/// The node that a word means among those that ask now, with its path; without a word the only one.
pub(super) fn which(
    dir: &RunDir,
    view: &View,
    asked: Asked,
    word: Option<&str>,
) -> Result<(String, NodeId), Problem> {
    let open: Vec<_> = questions(dir)?
        .into_iter()
        .filter(|(_, wait)| asked.is(wait))
        .map(|(node, _)| (view.path(&node), node))
        .collect();
    let word = word.map(|word| word.trim_matches('/'));
    let (run, none) = (&dir.id, asked.none());
    match (named(&open, word).as_slice(), word) {
        ([one], _) => Ok((*one).clone()),
        ([], None) => Err(Problem::invalid(format!("run {run} asks for {none} now"))),
        ([], Some(word)) => {
            // A word for nothing in the run is told with what comes near.
            let all: Vec<_> = view
                .items
                .keys()
                .map(|id| (view.path(id), id.clone()))
                .collect();
            let path = match named(&all, Some(word)).as_slice() {
                [] => view.path(&steps::find(view, word)?),
                [(path, _)] => path.clone(),
                _ => word.to_owned(),
            };
            Err(Problem::invalid(format!(
                "{path} of run {run} asks for {none} now"
            )))
        }
        (many, _) => {
            let paths: Vec<_> = many.iter().map(|(path, _)| path.as_str()).collect();
            let (count, some) = (many.len(), asked.some());
            Err(
                Problem::invalid(format!("{count} nodes of run {run} ask for {some}"))
                    .help(format!("say which: {}", paths.join(", "))),
            )
        }
    }
}

/// Those that a word is the id or the path of, else the end of the path; without a word all.
fn named<'n>(nodes: &'n [(String, NodeId)], word: Option<&str>) -> Vec<&'n (String, NodeId)> {
    let Some(word) = word else {
        return nodes.iter().collect();
    };
    let whole = |(path, id): &&(String, NodeId)| id.0 == word || path == word;
    let found: Vec<_> = nodes.iter().filter(whole).collect();
    if !found.is_empty() {
        return found;
    }
    let end = |(path, _): &&(String, NodeId)| {
        path.strip_suffix(word)
            .is_some_and(|head| head.ends_with('/'))
    };
    nodes.iter().filter(end).collect()
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
fn questions(dir: &RunDir) -> Result<Vec<(NodeId, Wait)>, Problem> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_path_is_meant_before_the_end_of_another() {
        let nodes = ["build/ask", "more/build/ask", "more/task"]
            .map(|path| (path.to_owned(), NodeId(path.replace('/', "."))));
        let means = |word| {
            let found = named(&nodes, word);
            found
                .iter()
                .map(|(path, _)| path.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(means(Some("build/ask")), ["build/ask"]);
        assert_eq!(means(Some("more.build.ask")), ["more/build/ask"]);
        assert_eq!(means(Some("ask")), ["build/ask", "more/build/ask"]);
        assert_eq!(means(Some("sk")), Vec::<&str>::new());
        assert_eq!(means(None).len(), 3);
    }
}
