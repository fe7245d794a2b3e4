//! What of a folder would run here, and what the rest lacks.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pipeline::model::Pipeline;
use pipeline::plan;
use serde::Serialize;
use syntax::{Diagnostic, code};

use crate::screen::words;

/// A pipeline, and whether it would run here.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    /// Its file.
    pub(super) file: String,
    /// Its identifier, where it could be read.
    pub(super) pipeline: Option<String>,
    /// It would run.
    pub(super) runs: bool,
    /// Errors in its text.
    pub(super) errors: usize,
    /// What is missing here, each once.
    pub(super) lacks: Vec<String>,
}

/// What is missing, and who lacks it.
#[derive(Debug, Serialize)]
pub(super) struct Lack {
    /// What.
    pub(super) what: String,
    /// The files that lack it.
    pub(super) files: Vec<String>,
}

impl Judged {
    /// By what was said of it.
    pub(super) fn new(
        file: &str,
        pipeline: Option<&Pipeline>,
        told: &[Diagnostic],
        whole: bool,
    ) -> Self {
        let mut lacks: Vec<String> = Vec::new();
        let mut errors = usize::from(!whole);
        for own in told.iter().filter(|own| own.is_error()) {
            // What is not beside it is missing; everything else is wrong.
            if own.code == code::UNKNOWN_TEMPLATE {
                lacks.push(own.message.replacen("there is no ", "", 1));
            } else {
                errors += 1;
            }
        }
        if let Some(pipeline) = pipeline {
            let refused = plan::unsupported(pipeline);
            lacks.extend(
                refused
                    .iter()
                    .filter(|own| own.is_error())
                    .map(|own| what(&own.message)),
            );
        }
        if errors > 0 {
            lacks.push(format!(
                "{} in its text",
                words::count(errors as u64, "error")
            ));
        }
        lacks.sort();
        lacks.dedup();
        Self {
            file: file.to_owned(),
            pipeline: pipeline.map(|own| own.identifier.to_string()),
            runs: lacks.is_empty(),
            errors,
            lacks,
        }
    }
}

/// ``step `a`: steps of type Email are not run yet``: what is missing is `steps of type Email`.
fn what(message: &str) -> String {
    let rest = message.split_once("`: ").map_or(message, |(_, rest)| rest);
    let end = [
        " are not run",
        " is not run",
        " are not acted",
        " is not acted",
    ]
    .iter()
    .filter_map(|says| rest.find(says))
    .min()
    .unwrap_or(rest.len());
    // `a Run step is not run outside of a containerized step group`: where it is is what is missing.
    let outside = rest
        .find(" outside of ")
        .filter(|_| rest[..end].ends_with("step"))
        .map_or("", |at| &rest[at..]);
    format!("{}{outside}", &rest[..end])
}

/// What is missing, the most often first.
pub(super) fn missing(judged: &[Judged]) -> Vec<Lack> {
    let mut by: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for own in judged {
        for lack in &own.lacks {
            by.entry(lack).or_default().push(own.file.clone());
        }
    }
    let mut all: Vec<Lack> = by
        .into_iter()
        .map(|(what, files)| Lack {
            what: what.to_owned(),
            files,
        })
        .collect();
    all.sort_by(|a, b| b.files.len().cmp(&a.files.len()).then(a.what.cmp(&b.what)));
    all
}

/// For people: how many run, what each of the others lacks, and what is lacked most.
pub(super) fn text(judged: &[Judged], missing: &[Lack]) -> String {
    let of = judged.len() as u64;
    let bad: Vec<&Judged> = judged.iter().filter(|own| !own.runs).collect();
    let good = of - bad.len() as u64;
    if bad.is_empty() {
        return format!("{} of {} here\n", good, words::count(of, "pipeline"))
            .replace(" here", if of == 1 { " runs here" } else { " run here" });
    }
    let verb = if good == 1 { "runs" } else { "run" };
    let these = if bad.len() == 1 {
        "this one lacks".to_owned()
    } else {
        format!("these {} lack", bad.len())
    };
    let mut out = format!(
        "{good} of {} {verb} here; {these}\n",
        words::count(of, "pipeline")
    );
    for own in bad {
        let _ = writeln!(out, "  {}: {}", own.file, own.lacks.join("; "));
    }
    if missing.len() > 1 || missing.iter().any(|own| own.files.len() > 1) {
        out.push_str("missing, by how many lack it\n");
        for own in missing {
            let _ = writeln!(out, "  {:>3}  {}", own.files.len(), own.what);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(file: &str, lacks: &[&str]) -> Judged {
        Judged {
            file: file.to_owned(),
            pipeline: None,
            runs: lacks.is_empty(),
            errors: 0,
            lacks: lacks.iter().map(|own| (*own).to_owned()).collect(),
        }
    }

    #[test]
    fn what_is_missing_is_named_without_the_step_that_lacks_it() {
        for (message, wanted) in [
            (
                "step `a`: steps of type Email are not run yet",
                "steps of type Email",
            ),
            (
                "stage `s`: stages of type CI are not run",
                "stages of type CI",
            ),
            ("step group `g`: `os: Windows` is not run", "`os: Windows`"),
            (
                "step `a`: a Run step is not run outside of a containerized step group",
                "a Run step outside of a containerized step group",
            ),
            ("step `a`: `enforce` is not acted on yet", "`enforce`"),
        ] {
            assert_eq!(what(message), wanted, "{message}");
        }
    }

    #[test]
    fn a_folder_is_summed_up() {
        let all = [
            judged("a.yaml", &[]),
            judged("b.yaml", &["stages of type CI", "steps of type Email"]),
            judged("c.yaml", &["steps of type Email"]),
        ];
        assert_eq!(
            text(&all, &missing(&all)),
            "1 of 3 pipelines runs here; these 2 lack\n  b.yaml: stages of type CI; steps of type Email\n  c.yaml: steps of type Email\n\
             missing, by how many lack it\n    2  steps of type Email\n    1  stages of type CI\n"
        );
        let one = [judged("a.yaml", &[])];
        assert_eq!(text(&one, &[]), "1 of 1 pipeline runs here\n");
    }
}
