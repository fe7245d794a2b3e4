//! `stepyard answer`: what a node of a run that goes on elsewhere asks for before it begins.

use std::collections::BTreeMap;

use driver::control::Ask;
use pipeline::plan::{NodeId, Wait};
use serde_json::json;

use super::approve;
use crate::args::{Answer, Output};
use crate::home::Home;
use crate::out;
use crate::past;
use crate::problem::{Exit, Problem};

/// Gives a node what it asks for.
pub(crate) fn run(args: &Answer, output: Output) -> Result<Exit, Problem> {
    let (words, inputs) = take_apart(&args.words)?;
    let home = Home::find()?;
    let word = |at: usize| words.get(at).map(String::as_str);
    let (dir, word) = match (word(0), word(1)) {
        // A stage may be called like a run's id.
        (Some(only), None) => match home.run(Some(only)) {
            Ok(run) => (run, None),
            Err(problem) => match home.run(None) {
                Ok(last) => (last, Some(only.to_owned())),
                Err(_) => return Err(problem),
            },
        },
        (run, node) => (home.run(run)?, node.map(str::to_owned)),
    };
    let view = past::view(&dir)?;
    let open: Vec<_> = approve::questions(&dir)?
        .into_iter()
        .filter(|(_, wait)| matches!(wait, Wait::Start(_)))
        .map(|(node, _)| (view.path(&node), node))
        .collect();
    let (path, node) = which(&open, word.as_deref(), &dir.id)?;
    let given: Vec<_> = inputs.keys().cloned().collect();
    let ask = Ask::Answer {
        node,
        approve: true,
        comment: String::new(),
        inputs,
    };
    approve::ask_of(&dir, &view, &ask)?;
    if output == Output::Json {
        return out::json(&json!({"run": dir.id, "node": path, "given": given}));
    }
    out::text(&if given.is_empty() {
        format!("{path} answered\n")
    } else {
        format!("{path}: {} given\n", given.join(", "))
    })
}

/// Words before the first `NAME=VALUE`, and what is given.
fn take_apart(words: &[String]) -> Result<(Vec<String>, BTreeMap<String, String>), Problem> {
    let mut inputs = BTreeMap::new();
    let mut places = Vec::new();
    for word in words {
        match word.split_once('=').filter(|(name, _)| !name.is_empty()) {
            Some((name, value)) => {
                inputs.insert(name.to_owned(), value.to_owned());
            }
            None if inputs.is_empty() && places.len() < 2 => places.push(word.clone()),
            None => {
                return Err(
                    Problem::invalid(format!("`{word}` is not `NAME=VALUE`")).help(
                        "give what is asked for by its name: `stepyard answer RUN STEP command=ls`",
                    ),
                );
            }
        }
    }
    Ok((places, inputs))
}

/// The node that a word means among those that ask; without a word the only one.
fn which(
    open: &[(String, NodeId)],
    word: Option<&str>,
    run: &str,
) -> Result<(String, NodeId), Problem> {
    let wanted = word.map(|word| word.trim_matches('/'));
    let means = |(path, id): &&(String, NodeId)| match wanted {
        None => true,
        Some(word) => {
            let end = path.strip_suffix(word);
            id.0 == word || end.is_some_and(|head| head.is_empty() || head.ends_with('/'))
        }
    };
    let found: Vec<_> = open.iter().filter(means).collect();
    match (found.as_slice(), wanted) {
        ([one], _) => Ok((*one).clone()),
        ([], Some(word)) => Err(Problem::invalid(format!(
            "{word} of run {run} asks for nothing now"
        ))),
        ([], None) => Err(Problem::invalid(format!("run {run} asks for nothing now"))),
        (many, _) => {
            let paths: Vec<_> = many.iter().map(|(path, _)| path.as_str()).collect();
            let count = many.len();
            Err(
                Problem::invalid(format!("{count} nodes of run {run} ask for something"))
                    .help(format!("say which: {}", paths.join(", "))),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_comes_after_the_run_and_the_node() {
        let words = |text: &str| {
            let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
            take_apart(&words).map(|(places, inputs)| (places.join("+"), inputs.len()))
        };
        assert_eq!(words("r s a=1 b=2=3").ok(), Some(("r+s".to_owned(), 2)));
        assert_eq!(words("s a=").ok(), Some(("s".to_owned(), 1)));
        assert!(words("r s t a=1").is_err());
        assert!(words("r a=1 s").is_err());
        assert!(words("r s =1").is_err());
    }
}
