//! From a word to the step of a run that a person means by it.

use pipeline::plan::NodeId;

use crate::problem::Problem;
use crate::screen::view::{Item, View};

/// The run in which a step ran that `word` means, where this one carried it.
pub(crate) fn carried(view: &View, word: &str) -> Option<String> {
    let carry = view.carried.as_ref()?;
    let wanted = word.trim_matches('/');
    let names = |id: &NodeId| {
        let parts = id.0.split('.');
        let path: Vec<_> = parts
            .filter(|part| !matches!(*part, "stages" | "steps"))
            .collect();
        let path = path.join("/");
        let head = path.strip_suffix(wanted);
        id.0 == wanted || head.is_some_and(|head| head.is_empty() || head.ends_with('/'))
    };
    // One that ran here, too, is meant as it ran here.
    let here = view
        .items
        .iter()
        .any(|(id, item)| item.is_leaf() && item.carried.is_none() && names(id));
    let mut all = carry.nodes.iter().filter(|_| !here);
    all.find(|(id, _)| names(id))
        .map(|(_, own)| own.run.clone())
}

/// What [`find`] takes for this step and for no other: its identifier, or its path where others have that too.
pub(crate) fn called(view: &View, item: &Item) -> String {
    let own = &item.node.identifier;
    let leaves = view.items.values().filter(|other| other.is_leaf());
    let same = leaves.filter(|other| other.node.identifier == *own);
    if same.take(2).count() < 2 {
        own.clone()
    } else {
        view.path(&item.node.id)
    }
}

/// The leaf that `word` means: its whole id, its path (`build/compile_group/unit`), the end of its path, or its identifier.
pub(crate) fn find(view: &View, word: &str) -> Result<NodeId, Problem> {
    // In the order in which they are written, for the message that lists them.
    let all = view.root.as_ref().map(|root| view.below(root));
    let all = all.unwrap_or_default();
    let leaves: Vec<_> = all
        .iter()
        .filter(|id| view.items.get(*id).is_some_and(Item::is_leaf))
        .map(|id| (id, view.path(id)))
        .collect();
    let wanted = word.trim_matches('/');
    let exact = |(id, path): &&(&NodeId, String)| id.0 == wanted || *path == wanted;
    let end = |(_, path): &&(&NodeId, String)| {
        path.strip_suffix(wanted)
            .is_some_and(|head| head.is_empty() || head.ends_with('/'))
    };
    let mut found: Vec<_> = leaves.iter().filter(exact).collect();
    if found.is_empty() {
        found = leaves.iter().filter(end).collect();
    }
    match found.as_slice() {
        [(id, _)] => Ok((*id).clone()),
        [] => {
            let problem = Problem::invalid(format!("run {} has no step `{word}`", view.run));
            let names = leaves.iter().map(|(_, path)| path.as_str());
            let near = names
                .clone()
                .map(|path| {
                    (
                        strsim::damerau_levenshtein(
                            path.rsplit('/').next().unwrap_or(path),
                            wanted,
                        ),
                        path,
                    )
                })
                .min()
                .filter(|(distance, _)| {
                    *distance <= 1 + wanted.len() / 4 && *distance < wanted.len()
                });
            Err(match near {
                Some((_, path)) => problem.help(format!("did you mean `{path}`?")),
                None if leaves.is_empty() => problem.help("it has not got to any step"),
                None => problem.help(format!(
                    "it has {}",
                    names.take(20).collect::<Vec<_>>().join(", ")
                )),
            })
        }
        many => {
            let paths: Vec<_> = many.iter().map(|(_, path)| path.as_str()).collect();
            Err(Problem::invalid(format!(
                "`{word}` is the name of {} steps of run {}",
                many.len(),
                view.run
            ))
            .help(format!("say which: {}", paths.join(", "))))
        }
    }
}
