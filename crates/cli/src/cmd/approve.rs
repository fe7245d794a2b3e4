//! `stepyard approve`: a person's answer to an approval of a run that goes on elsewhere.

use std::collections::BTreeMap;

use driver::control::Ask;
use serde_json::json;

use super::questions::{self, Asked};
use crate::args::{Approve, Output};
use crate::home::Home;
use crate::out;
use crate::past;
use crate::problem::{Exit, Problem};

/// Answers the approval of a step.
pub(crate) fn run(args: &Approve, output: Output) -> Result<Exit, Problem> {
    let home = Home::find()?;
    let (dir, word) = home.run_and_step(args.run.as_deref(), args.step.as_deref())?;
    let view = past::view(&dir)?;
    let (path, node) = questions::which(&dir, &view, Asked::Approval, word.as_deref())?;
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
    questions::ask_of(&dir, &view, &ask)?;
    let word = if args.reject { "rejected" } else { "approved" };
    if output == Output::Json {
        out::json(&json!({"run": dir.id, "step": path, "answer": word}))
    } else {
        out::text(&format!("{path} {word}\n"))
    }
}
