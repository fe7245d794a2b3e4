//! `stepyard intervene`: what a person asks of a run that goes on elsewhere.

use driver::control::Ask;
use engine::event::{Interrupt, Intervention};
use serde_json::json;

use super::questions::ask_of;
use crate::args::{Act, Intervene, Output};
use crate::home::Home;
use crate::out;
use crate::past;
use crate::problem::{Exit, Problem};
use crate::steps;

/// Asks it.
pub(crate) fn run(args: &Intervene, output: Output) -> Result<Exit, Problem> {
    let home = Home::find()?;
    let first = args.run.as_str();
    let (dir, node, action) = match (args.action, args.node.as_deref()) {
        (Some(action), node) => (home.run(Some(first))?, node.map(str::to_owned), action),
        // A run, or a step of the last one.
        (None, Some(word)) => {
            let action = act(word)?;
            let (dir, node) = home.run_and_step(Some(first), None)?;
            (dir, node, action)
        }
        (None, None) => match act(first) {
            Ok(action) => (home.run(None)?, None, action),
            Err(_) => return Err(Problem::invalid("nothing is asked").help(WAYS)),
        },
    };
    let (view, node) = (past::view(&dir)?, node.as_deref());
    let interrupt = match (node, action) {
        (None, Act::Abort) => Interrupt::Abort,
        (_, Act::Pause) => Interrupt::Pause,
        (_, Act::Resume) => Interrupt::Resume,
        (None, _) => {
            return Err(Problem::invalid("it is not said which step is meant").help(WAYS));
        }
        (Some(word), action) => {
            let mut all = view.items.keys();
            let node = match all.find(|id| id.0 == word || view.path(id) == word) {
                Some(node) => node.clone(),
                None => steps::find(&view, word)?,
            };
            let action = intervention(action);
            Interrupt::Node { node, action }
        }
    };
    ask_of(&dir, &view, &Ask::Interrupt(interrupt))?;
    if output == Output::Json {
        out::json(&json!({"run": dir.id, "node": node, "asked": true}))
    } else {
        out::text("done\n")
    }
}

const WAYS: &str = "write `stepyard intervene [RUN] abort`, `pause` or `resume`, or `stepyard intervene [RUN] STEP ACTION`";

fn act(word: &str) -> Result<Act, Problem> {
    <Act as clap::ValueEnum>::from_str(word, false).map_err(|_| {
        Problem::invalid(format!("`{word}` is nothing that a run can be asked")).help(WAYS)
    })
}

fn intervention(action: Act) -> Intervention {
    match action {
        Act::Retry => Intervention::Retry,
        Act::RetryStepGroup => Intervention::RetryStepGroup,
        Act::Ignore => Intervention::Ignore,
        Act::MarkAsSuccess => Intervention::MarkAsSuccess,
        Act::MarkAsFailure => Intervention::MarkAsFailure,
        Act::StageRollback => Intervention::StageRollback,
        Act::StepGroupRollback => Intervention::StepGroupRollback,
        Act::PipelineRollback => Intervention::PipelineRollback,
        Act::Abort | Act::Pause | Act::Resume => Intervention::Abort,
    }
}
