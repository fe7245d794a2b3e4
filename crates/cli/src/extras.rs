//! What a summary says beyond the events: limits from the pods that were made, sums of the reports that were kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use engine::junit::{Case, Summary};
use pipeline::plan::NodeId;
use pipeline::pod::{Amounts, Spec};

use crate::home::RunDir;
use crate::problem::Problem;
use crate::screen::summary::{Extras, Tests};
use crate::screen::view::View;

/// Keeps the description of a pod with its run.
pub(crate) fn keep_pod(run: &RunDir, spec: &Spec) -> Result<(), Problem> {
    let dir = run.join("pods");
    let path = dir.join(format!("{}.json", spec.name));
    fs::create_dir_all(&dir)
        .and_then(|()| fs::write(&path, serde_json::to_vec_pretty(spec)?))
        .map_err(|e| Problem::system(format_args!("write {}", path.display()), &e))
}

/// The description of a pod that was kept.
pub(crate) fn pod(run: &RunDir, name: &str) -> Option<Spec> {
    let text = fs::read(run.join("pods").join(format!("{name}.json"))).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The limits of the steps of a pod.
pub(crate) fn limits(spec: &Spec, into: &mut BTreeMap<NodeId, Amounts>) {
    for container in &spec.containers {
        for step in &container.steps {
            into.insert(NodeId(step.clone()), container.resources.limits);
        }
    }
}

/// The sums of the tests that steps reported, from the files that are kept.
pub(crate) fn tests(reports: &Path, view: &View) -> BTreeMap<NodeId, Tests> {
    let mut found = BTreeMap::new();
    for (id, item) in view.items.iter().filter(|(_, item)| item.step().is_some()) {
        // Of a step that was tried again the last attempt counts.
        let attempt = item.attempts.len().saturating_sub(1);
        let dir = reports
            .join(driver::store::file_name(id))
            .join(attempt.to_string());
        let mut files = Vec::new();
        files_below(&dir, &mut files);
        files.retain(|path| {
            path.extension()
                .is_some_and(|e| e.eq_ignore_ascii_case("xml"))
        });
        files.sort();
        let mut sum = Summary::default();
        for path in files {
            let name = path.strip_prefix(&dir).unwrap_or(&path).display();
            match fs::read(&path) {
                Ok(text) => sum.add(&name.to_string(), &text),
                Err(error) => sum.warnings.push(format!("{name}: {error}")),
            }
        }
        if sum.tests > 0 || !sum.warnings.is_empty() {
            found.insert(id.clone(), tests_of(&sum));
        }
    }
    found
}

/// Slowest cases that are worth a look.
const SLOWEST: usize = 3;

fn tests_of(sum: &Summary) -> Tests {
    let name = |case: &Case| {
        if case.class.is_empty() {
            case.name.clone()
        } else {
            format!("{}::{}", case.class, case.name)
        }
    };
    Tests {
        total: sum.tests,
        failed: sum.failed + sum.errors,
        skipped: sum.skipped,
        took_ms: sum.time_ms,
        failures: sum
            .bad()
            .map(|case| (name(case), case.message.clone()))
            .collect(),
        slowest: sum
            .slowest(SLOWEST)
            .into_iter()
            .map(|case| (name(case), case.time_ms))
            .collect(),
        unread: sum.warnings.clone(),
    }
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    // A step without reports has no such directory.
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path(), found),
            Ok(_) => found.push(entry.path()),
            Err(_) => {}
        }
    }
}

/// What is kept of a run. What cannot be read is not said.
pub(crate) fn of(run: &RunDir) -> Extras {
    let mut extras = Extras {
        reports: Some(run.join("reports")),
        ..Extras::default()
    };
    for entry in fs::read_dir(run.join("pods"))
        .into_iter()
        .flatten()
        .flatten()
    {
        if let Ok(text) = fs::read(entry.path())
            && let Ok(spec) = serde_json::from_slice::<Spec>(&text)
        {
            limits(&spec, &mut extras.limits);
        }
    }
    extras
}
