//! `stepyard plan` and `stepyard pod`: what would run, and the pods that would be made. Nothing is made.

use driver::planner::Planner as _;
use engine::facts::Facts;
use pipeline::plan::{Kind, Node, NodeId};
use serde_json::Value;
use syntax::Diagnostic;

use crate::args::{Output, Plan, Pod, Source};
use crate::documents::Documents;
use crate::inputs::Given;
use crate::out;
use crate::planner::{Options, Part, Written};
use crate::problem::{Exit, Problem};
use crate::screen::line::{Line, Tone};
use crate::screen::show::Terminal;
use crate::secrets::Secrets;
use crate::texts;

/// In the place of the eight random characters of a pod's name.
const SUFFIX: &str = "xxxxxxxx";

/// Shows the tree of a pipeline.
pub(crate) fn plan(args: &Plan, output: Output) -> Result<Exit, Problem> {
    let (planner, documents) = planner(&args.source)?;
    let refused = documents
        .pipeline
        .as_ref()
        .map_or_else(Vec::new, |own| Part::All.unsupported(own));
    // The graph is shown whole, but a script is told that `run` would refuse it.
    let exit = |shown: Exit| {
        if refused.iter().any(Diagnostic::is_error) {
            Exit::Invalid
        } else {
            shown
        }
    };
    let root = planner.root();
    if output == Output::Json {
        let mut value = tree(&planner, &root)?;
        if !refused.is_empty() {
            value["unsupported"] =
                serde_json::to_value(texts::reports(&refused, &documents.sources))
                    .map_err(|e| Problem::system("write the plan", &e))?;
        }
        return out::json(&value).map(exit);
    }
    let mut lines = Vec::new();
    rows(&planner, &root, 0, &mut lines)?;
    let colour = Terminal::stdout().colour;
    let rows: Vec<_> = lines.iter().map(|line| line.render(colour)).collect();
    let text = rows.join("\n") + "\n";
    let shown = out::text(&text)?;
    texts::tell(&refused, &documents.sources);
    Ok(exit(shown))
}

/// Shows the pods of a pipeline.
pub(crate) fn pod(args: &Pod, output: Output) -> Result<Exit, Problem> {
    let (planner, _) = planner(&args.source)?;
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
        text.push_str(&planner.manifest(spec).map_err(|f| failure(&f))?);
    }
    out::text(&text)
}

fn planner(source: &Source) -> Result<(Written, Documents), Problem> {
    let given = Given::read(&source.set, &source.inputs, &source.input_set)?;
    let documents = Documents::read(&source.pipeline, &source.entities, Some(&given))?;
    let pipeline = documents.pipeline()?.clone();
    let options = Options {
        entities: documents.entities.clone(),
        sources: documents.sources.clone(),
        native: true,
        git_image: Options::git_image(),
        outputs: given.outputs,
        ..Options::default()
    };
    let planner = Written::new(pipeline, Secrets::default(), options);
    Ok((planner, documents))
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
