//! What is wrong with the texts, in the protocol's form.

use std::collections::BTreeMap;

use pipeline::model::{self, Loaded, Options};
use serde_json::{Value, json};
use syntax::{Diagnostic, SourceId, Sources, Span};

use super::state::{State, to_position};
use crate::folder;

/// Every text read, with the diagnostics of all.
struct Read {
    sources: Sources,
    /// URI, documents, whether it is open.
    files: Vec<(SourceId, folder::Documents, bool)>,
    diagnostics: Vec<Diagnostic>,
}

fn read(state: &State) -> Read {
    let mut sources = Sources::new();
    let mut files = Vec::new();
    let mut diagnostics = Vec::new();
    for (uri, text, open) in state.texts() {
        let id = sources.add(uri, text);
        let parsed = syntax::yaml::parse(&sources, id);
        if open {
            diagnostics.extend(parsed.diagnostics);
        }
        files.push((id, parsed.documents, open));
    }
    Read {
        sources,
        files,
        diagnostics,
    }
}

/// A file with the entities of the others.
fn loaded(read: &Read, at: usize) -> (Loaded, Vec<Diagnostic>) {
    let own = &read.files[at].1;
    let documents = if folder::is_pipeline(own) {
        let others = read.files.iter().enumerate().filter(|(n, _)| *n != at);
        folder::with_entities(own, others.map(|(_, (_, documents, _))| documents))
    } else {
        own.clone()
    };
    let (documents, told) = model::expand(documents);
    (model::load(&documents, Options::default()), told)
}

/// The model of an open text: what an editor completes from.
pub(super) fn model(state: &State, uri: &str) -> Option<Loaded> {
    let read = read(state);
    let at = read
        .files
        .iter()
        .position(|(id, ..)| read.sources.get(*id).name() == uri)?;
    Some(loaded(&read, at).0)
}

fn all(state: &State) -> (Sources, Vec<Diagnostic>) {
    let mut read = read(state);
    for at in 0..read.files.len() {
        if read.files[at].2 {
            let (loaded, told) = loaded(&read, at);
            read.diagnostics.extend(told);
            read.diagnostics.extend(loaded.diagnostics);
        }
    }
    syntax::diagnostic::sort(&mut read.diagnostics);
    read.diagnostics.dedup();
    (read.sources, read.diagnostics)
}

/// Every file that has something to be told, or had and has not any more.
pub(super) fn judge(state: &State) -> Vec<(String, Vec<Value>)> {
    let (sources, diagnostics) = all(state);
    let mut by: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (uri, _, open) in state.texts() {
        if open {
            by.insert(uri.to_owned(), Vec::new());
        }
    }
    for uri in state.told.borrow().iter() {
        by.entry(uri.clone()).or_default();
    }
    for own in &diagnostics {
        if let Some(span) = own.span() {
            let uri = sources.get(span.source).name().to_owned();
            by.entry(uri).or_default().push(diagnostic(own, &sources));
        }
    }
    *state.told.borrow_mut() = by
        .iter()
        .filter(|(_, told)| !told.is_empty())
        .map(|(uri, _)| uri.clone())
        .collect();
    by.into_iter().collect()
}

fn range(span: Span, sources: &Sources) -> Value {
    let text = sources.get(span.source).text();
    json!({
        "start": to_position(text, span.start as usize),
        "end": to_position(text, span.end as usize),
    })
}

fn diagnostic(own: &Diagnostic, sources: &Sources) -> Value {
    let message = match &own.help {
        Some(help) => format!("{}\nhelp: {help}", own.message),
        None => own.message.clone(),
    };
    let related: Vec<Value> = own
        .labels
        .iter()
        .skip(1)
        .map(|label| {
            let uri = sources.get(label.span.source).name();
            let says = if label.text.is_empty() {
                "here"
            } else {
                label.text.as_str()
            };
            json!({"location": {"uri": uri, "range": range(label.span, sources)}, "message": says})
        })
        .collect();
    json!({
        "range": own.span().map(|span| range(span, sources)),
        "severity": if own.is_error() { 1 } else { 2 },
        "code": own.code.as_str(),
        "source": "stepyard",
        "message": message,
        "relatedInformation": related,
    })
}

/// The mends that are known for what stands at a place.
pub(super) fn fixes(state: &State, params: &Value) -> Value {
    let uri = params["textDocument"]["uri"].as_str().unwrap_or_default();
    let lines = |key: &str| params["range"][key]["line"].as_u64().unwrap_or_default();
    let (from, to) = (lines("start"), lines("end"));
    let (sources, diagnostics) = all(state);
    let actions: Vec<Value> = diagnostics
        .iter()
        .filter_map(|own| {
            let fix = own.fix.as_ref()?;
            let span = own.span()?;
            let place = range(span, &sources);
            let line = place["start"]["line"].as_u64()?;
            let here = sources.get(span.source).name() == uri && (from..=to).contains(&line);
            here.then(|| {
                let edit = json!({"range": range(fix.span, &sources), "newText": fix.replacement});
                json!({
                    "title": format!("write `{}`", fix.replacement),
                    "kind": "quickfix",
                    "diagnostics": [diagnostic(own, &sources)],
                    "edit": {"changes": {uri: [edit]}},
                })
            })
        })
        .collect();
    actions.into()
}
