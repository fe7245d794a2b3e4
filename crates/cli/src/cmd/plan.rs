//! `stepyard plan` and `stepyard pod`: what would run, and the pods that would be made. Nothing is made.

use driver::planner::Planner as _;
use engine::facts::Facts;
use pipeline::plan::{Kind, Node, NodeId};
use serde_json::Value;
use std::fmt::Write as _;

use crate::args::{Output, Plan, Pod, Source};
use crate::documents::Documents;
use crate::inputs::Given;
use crate::out;
use crate::planner::{Options, Written};
use crate::problem::{Exit, Problem};
use crate::screen::line::{Line, Tone};
use crate::screen::show::Terminal;
use crate::secrets::Secrets;

/// In the place of the eight random characters of a pod's name.
const SUFFIX: &str = "xxxxxxxx";

/// Shows the tree of a pipeline.
pub(crate) fn plan(args: &Plan, output: Output) -> Result<Exit, Problem> {
    let planner = planner(&args.source)?;
    let root = planner.root();
    if output == Output::Json {
        return out::json(&tree(&planner, &root)?);
    }
    let mut lines = Vec::new();
    rows(&planner, &root, 0, &mut lines)?;
    let colour = Terminal::stdout().colour;
    let rows: Vec<_> = lines.iter().map(|line| line.render(colour)).collect();
    let text = rows.join(
        "
",
    ) + "
";
    out::text(&text)
}

/// Shows the pods of a pipeline.
pub(crate) fn pod(args: &Pod, output: Output) -> Result<Exit, Problem> {
    let planner = planner(&args.source)?;
    let mut groups = Vec::new();
    find(&planner, &planner.root(), &mut groups)?;
    if let Some(wanted) = &args.group {
        let names: Vec<_> = groups.iter().map(|g| g.identifier.clone()).collect();
        groups.retain(|g| g.identifier == *wanted || g.id.0 == *wanted);
        if groups.is_empty() {
            let problem = Problem::invalid(format!(
                "--group {wanted}: the pipeline has no such containerized step group"
            ));
            return Err(if names.is_empty() {
                problem
            } else {
                problem.help(format!("it has {}", names.join(", ")))
            });
        }
    }
    if groups.is_empty() {
        eprintln!("the pipeline has no containerized step group");
    }
    let specs = groups
        .iter()
        .map(|group| {
            planner
                .pod(&group.id, &facts(), SUFFIX)
                .map_err(|f| failure(&f))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if output == Output::Json {
        return out::json(&specs);
    }
    let mut text = String::new();
    for spec in &specs {
        if specs.len() > 1 {
            text.push_str("---\n");
        }
        let value = serde_json::to_value(spec).map_err(|e| Problem::system("write the pod", &e))?;
        yaml(&value, 0, &mut text);
    }
    out::text(&text)
}

fn planner(source: &Source) -> Result<Written, Problem> {
    let given = Given::read(&source.set, &source.inputs)?;
    let documents = Documents::read(&source.pipeline, &source.entities, Some(&given))?;
    let pipeline = documents.pipeline()?.clone();
    let options = Options {
        entities: documents.entities.clone(),
        native: true,
        git_image: Options::git_image(),
        outputs: given.outputs,
        ..Options::default()
    };
    Ok(Written::new(pipeline, Secrets::default(), options))
}

fn facts() -> Facts {
    Facts {
        run: "RUN".to_owned(),
        ..Facts::default()
    }
}

fn failure(failure: &engine::event::Failure) -> Problem {
    let problem = Problem::invalid(failure.message.clone());
    match &failure.help {
        Some(help) => problem.help(help.clone()),
        None => problem,
    }
}

fn children(planner: &Written, node: &NodeId) -> Result<Vec<Node>, Problem> {
    planner.expand(node, &facts()).map_err(|f| failure(&f))
}

fn find(planner: &Written, node: &Node, found: &mut Vec<Node>) -> Result<(), Problem> {
    if matches!(node.kind, Kind::StepGroup { pod: true }) {
        found.push(node.clone());
        return Ok(());
    }
    for child in children(planner, &node.id)? {
        find(planner, &child, found)?;
    }
    Ok(())
}

fn tree(planner: &Written, node: &Node) -> Result<Value, Problem> {
    let below = children(planner, &node.id)?;
    let mut value =
        serde_json::to_value(node).map_err(|e| Problem::system("write the plan", &e))?;
    if !below.is_empty() {
        value["children"] = below
            .iter()
            .map(|child| tree(planner, child))
            .collect::<Result<Vec<_>, _>>()?
            .into();
    }
    Ok(value)
}

fn rows(planner: &Written, node: &Node, depth: usize, out: &mut Vec<Line>) -> Result<(), Problem> {
    let (what, note) = match &node.kind {
        Kind::Pipeline => ("pipeline".to_owned(), String::new()),
        Kind::Stage(kind) => ("stage".to_owned(), kind.clone()),
        Kind::StepGroup { pod: true } => ("group".to_owned(), "one pod".to_owned()),
        Kind::StepGroup { pod: false } => ("group".to_owned(), String::new()),
        Kind::Parallel => ("parallel".to_owned(), String::new()),
        Kind::Initialize => ("Initialize".to_owned(), String::new()),
        Kind::Step(step) => (
            step.r#type.clone(),
            step.container.clone().unwrap_or_default(),
        ),
    };
    let mut line = Line::of(Tone::Plain, "  ".repeat(depth)).with(Tone::Busy, what);
    if !matches!(node.kind, Kind::Parallel | Kind::Initialize) {
        line.push(Tone::Plain, format!(" {}", node.identifier));
        if node.name != node.identifier {
            line.push(Tone::Plain, format!(" \"{}\"", node.name));
        }
    }
    line.push(
        Tone::Dim,
        if note.is_empty() {
            String::new()
        } else {
            format!("  {note}")
        },
    );
    out.push(line);
    for child in children(planner, &node.id)? {
        rows(planner, &child, depth + 1, out)?;
    }
    Ok(())
}

/// A value as YAML. What is not set is left out.
fn yaml(value: &Value, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(_, v)| !empty(v)) {
                let _ = write!(out, "{pad}{key}:");
                inline(value, depth, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut inner = String::new();
                yaml(item, depth + 1, &mut inner);
                // The first key stands beside the dash.
                let _ = write!(out, "{pad}- {}", inner.trim_start());
            }
        }
        scalar => {
            let _ = writeln!(out, "{pad}{scalar}");
        }
    }
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(empty),
        _ => false,
    }
}

fn inline(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(_) | Value::Array(_) => {
            out.push('\n');
            yaml(value, depth + 1, out);
        }
        scalar => {
            let _ = writeln!(out, " {scalar}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_as_yaml() {
        let value = json!({"a": 1, "none": null, "empty": [], "list": [{"x": "y", "z": true}, "s"], "map": {"k": "v"}});
        let mut text = String::new();
        yaml(&value, 0, &mut text);
        let mut sources = syntax::Sources::new();
        let id = sources.add("x", text.as_str());
        let parsed = syntax::yaml::parse(&sources, id);
        assert!(parsed.diagnostics.is_empty(), "{text}");
        assert_eq!(
            text,
            "a: 1\nlist:\n  - x: \"y\"\n    z: true\n  - \"s\"\nmap:\n  k: \"v\"\n"
        );
    }
}
