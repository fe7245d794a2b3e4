//! Real pipelines of other people: they must not be refused. They lie beside the checkout and are never copied here.

#![expect(clippy::disallowed_methods, reason = "the corpus lies in files")]

use std::path::PathBuf;

use pipeline::model::{Options, read};
use syntax::diagnostic::{Style, render};
use syntax::{Diagnostic, Sources, code};

/// The folder, where it is there.
fn corpus() -> Option<PathBuf> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let places = ["../shared/corpus", "../../shared/corpus"];
    places
        .iter()
        .map(|place| root.join(place))
        .find(|folder| folder.is_dir())
}

/// What is said of every file, rendered.
fn judged(portable: bool, expected: impl Fn(&str, &Diagnostic) -> bool) {
    let Some(folder) = corpus() else {
        eprintln!("skipped: no corpus beside the checkout");
        return;
    };
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the corpus can be listed")
        .map(|file| file.expect("a file").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|kind| kind == "yaml" || kind == "yml")
        })
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let mut wrong = String::new();
    for path in files {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let mut sources = Sources::new();
        let id = sources.add(&name, std::fs::read_to_string(&path).expect("text"));
        for diagnostic in read(&sources, [id], Options { portable }).diagnostics {
            if !expected(&name, &diagnostic) {
                wrong += &render(&diagnostic, &sources, Style::PLAIN);
                wrong += "\n\n";
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "not expected of a real pipeline:\n{wrong}"
    );
}

/// True diagnostics, each with its reason.
fn known(name: &str, diagnostic: &Diagnostic) -> bool {
    // Containerized groups in deployments of these types came after the oldest servers: the design names them.
    let newer = ["azure-function-deployment", "google-cloud-run"];
    // Its templates are not beside it.
    diagnostic.code == code::UNKNOWN_TEMPLATE
        || diagnostic.code == code::GROUP_PLACE && newer.iter().any(|kind| name.starts_with(kind))
}

#[test]
fn real_pipelines_are_not_refused() {
    judged(false, |name, diagnostic| {
        known(name, diagnostic)
            && (!diagnostic.is_error() || diagnostic.code == code::UNKNOWN_TEMPLATE)
    });
}

#[test]
fn nor_in_portable_mode_but_for_what_the_design_names() {
    judged(true, known);
}
