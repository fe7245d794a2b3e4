//! Input sets, and sets of them.

use pipeline::model::tree::{Fill, get};
use syntax::yaml::Node;
use syntax::{Diagnostic, code};

use crate::problem::Problem;

/// The root of an input set.
const SET: &str = "inputSet";
/// The root of several in a row.
const OVERLAY: &str = "overlayInputSet";

/// Whether a document is one of the two.
pub(super) fn is_set(document: &Node) -> bool {
    get(document, SET).or(get(document, OVERLAY)).is_some()
}

fn identifier(document: &Node) -> Option<&str> {
    let own = get(document, SET).or(get(document, OVERLAY))?;
    get(own, "identifier")?.as_text()
}

/// Puts an input set, found by its identifier, into a pipeline.
pub(super) fn named(
    pipeline: &mut Node,
    name: &str,
    all: &[Node],
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<(), Problem> {
    let document = all
        .iter()
        .find(|document| identifier(document) == Some(name))
        .ok_or_else(|| unknown(name, all))?;
    put(pipeline, document, all, diagnostics)
}

fn unknown(name: &str, all: &[Node]) -> Problem {
    let names: Vec<&str> = all.iter().filter_map(identifier).collect();
    let near = names
        .iter()
        .find(|own| strsim::damerau_levenshtein(own, name) <= 1 + name.len() / 4);
    let problem = Problem::invalid(format!("--input-set {name}: there is no such input set"));
    match (near, names.is_empty()) {
        (Some(near), _) => problem.help(format!("did you mean `{near}`?")),
        (None, true) => problem
            .help("put its document beside the pipeline, or into a directory of `--entities`"),
        (None, false) => problem.help(format!("there are {}", names.join(", "))),
    }
}

/// Puts an input set, or the ones that an overlay names in their order, into a pipeline.
pub(super) fn put(
    pipeline: &mut Node,
    document: &Node,
    all: &[Node],
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<(), Problem> {
    if let Some(own) = get(document, SET) {
        let name = identifier(document).unwrap_or("?");
        let Some(inputs) = get(own, "pipeline") else {
            diagnostics.push(
                Diagnostic::error(
                    code::WRONG_INPUT_SET,
                    format!("the input set `{name}` lacks `pipeline`"),
                )
                .at(own.span.head(1), "")
                .help("add `pipeline:` with what the pipeline asks for"),
            );
            return Ok(());
        };
        if belongs(pipeline, get(inputs, "identifier"), name, diagnostics) {
            diagnostics.extend(fill(pipeline, inputs, &format!("input set `{name}`")));
        }
        return Ok(());
    }
    let Some(own) = get(document, OVERLAY) else {
        return Ok(());
    };
    let name = identifier(document).unwrap_or("?");
    if !belongs(pipeline, get(own, "pipelineIdentifier"), name, diagnostics) {
        return Ok(());
    }
    let references = get(own, "inputSetReferences")
        .and_then(Node::as_sequence)
        .unwrap_or_default();
    for reference in references {
        let wanted = reference.as_text().unwrap_or_default();
        let found = all
            .iter()
            .find(|document| get(document, SET).is_some() && identifier(document) == Some(wanted));
        match found {
            Some(found) => put(pipeline, found, all, diagnostics)?,
            None => diagnostics.push(
                Diagnostic::error(
                    code::WRONG_INPUT_SET,
                    format!(
                        "the overlay `{name}` names the input set `{wanted}`, which is not there"
                    ),
                )
                .at(reference.span, "")
                .help("put its document beside the overlay, or remove it from the list"),
            ),
        }
    }
    Ok(())
}

/// Whether it is of this pipeline; told where it is of another.
fn belongs(
    pipeline: &Node,
    written: Option<&Node>,
    name: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> bool {
    let own = get(pipeline, "identifier").and_then(Node::as_text);
    let Some((written, other)) = written.and_then(|node| Some((node, node.as_text()?))) else {
        return true;
    };
    if own == Some(other) {
        return true;
    }
    diagnostics.push(
        Diagnostic::error(
            code::WRONG_INPUT_SET,
            format!(
                "the input set `{name}` is of the pipeline `{other}`, not of `{}`",
                own.unwrap_or("?")
            ),
        )
        .at(written.span, "")
        .help("name an input set of this pipeline"),
    );
    false
}

/// Puts a part of a pipeline over it; what the pipeline does not have is told.
pub(super) fn fill(pipeline: &mut Node, inputs: &Node, from: &str) -> Vec<Diagnostic> {
    let what = format!("the pipeline, by {from},");
    let mut fill = Fill {
        strict: false,
        ..Fill::strict(&what, code::WRONG_INPUT_SET)
    };
    fill.put(pipeline, inputs);
    fill.diagnostics
}
