//! `stepyard answer`: what a node of a run that goes on elsewhere asks for before it begins.

use std::collections::BTreeMap;

use driver::control::Ask;
use serde_json::json;

use super::questions::{self, Asked};
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
    let (path, node) = questions::which(&dir, &view, Asked::Start, word.as_deref())?;
    let given: Vec<_> = inputs.keys().cloned().collect();
    let ask = Ask::Answer {
        node,
        approve: true,
        comment: String::new(),
        inputs,
    };
    questions::ask_of(&dir, &view, &ask)?;
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
