//! `stepyard plan` and `stepyard pod`: what would run, and the pods that would be made. Nothing is made.

use driver::backend::Access;
use driver::planner::Planner as _;
use engine::event::{Event, Stamped};
use engine::facts::Facts;
use pipeline::model::Entities;
use pipeline::plan::{Kind, Node};
use pipeline::pod::{self, AgentFrom, Cluster};
use serde_json::Value;
use syntax::Diagnostic;

use crate::access;
use crate::args::{BackendName, Output, Plan, Pod, Source};
use crate::backends;
use crate::documents::Documents;
use crate::file_store;
use crate::home::Home;
use crate::inputs::Given;
use crate::out;
use crate::planner::{Options, Part, Written};
use crate::problem::{Exit, Problem};
use crate::screen::line::{Line, Tone};
use crate::screen::show::Terminal;
use crate::screen::words;
use crate::secrets::Secrets;
use crate::target::Target;
use crate::texts;

/// In the place of the eight random characters of a pod's name.
const SUFFIX: &str = "xxxxxxxx";

/// Shows the tree of a pipeline.
pub(crate) fn plan(args: &Plan, output: Output) -> Result<Exit, Problem> {
    let (planner, documents) = planner(&args.source, &Target::Native)?;
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
        let mut value = tree(&planner, &root, &mut facts())?;
        if !refused.is_empty() {
            value["unsupported"] =
                serde_json::to_value(texts::reports(&refused, &documents.sources))
                    .map_err(|e| Problem::system("write the plan", &e))?;
        }
        return out::json(&value).map(exit);
    }
    let mut lines = Vec::new();
    rows(&planner, &root, 0, &mut facts(), &mut lines)?;
    let colour = Terminal::stdout().colour;
    let rows: Vec<_> = lines.iter().map(|line| line.render(colour)).collect();
    let text = rows.join("\n") + "\n";
    let shown = out::text(&text)?;
    texts::tell(&refused, &documents.sources);
    Ok(exit(shown))
}

/// Shows the pods of a pipeline.
pub(crate) fn pod(args: &Pod, output: Output) -> Result<Exit, Problem> {
    let target = Target::of(
        BackendName::HERE,
        &args.cluster,
        args.agent_image.as_deref(),
    );
    let (planner, documents) = planner(&args.source, &target)?;
    let mut groups = Vec::new();
    find(&planner, &planner.root(), &mut facts(), &mut groups)?;
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
        out::tell("the pipeline has no containerized step group");
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
    for manifest in manifests(&specs, &target, &documents)? {
        if specs.len() > 1 {
            text.push_str("---\n");
        }
        text.push_str(&pod::yaml(&manifest));
    }
    out::text(&text)
}

/// The objects of pods: as they are given to the cluster that is named, else to one of the newest servers.
fn manifests(
    specs: &[pod::Spec],
    target: &Target,
    documents: &Documents,
) -> Result<Vec<Value>, Problem> {
    let access = logins(specs, &documents.entities);
    let Target::Kube {
        context, namespace, ..
    } = target
    else {
        let shown = specs.iter().map(|spec| {
            let agent = match &spec.agent_image {
                Some(image) => AgentFrom::Image(image.clone()),
                None => AgentFrom::ConfigMap(backends::agent().config_map()),
            };
            let cluster = Cluster {
                pull_secret: backend_kube::pull_secret(spec, &access),
                ..Cluster::newest(agent)
            };
            pod::manifest(spec, &cluster)
        });
        return Ok(shown.collect());
    };
    let target = backend_kube::Target {
        context: context.clone(),
        namespace: namespace.clone(),
        manual: None,
    };
    let home = Home::find()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Problem::system("start", &e))?;
    runtime.block_on(async {
        let kube = backends::kube(&target, &home).await?;
        let mut made = Vec::new();
        for spec in specs {
            let manifest = kube.manifest(spec, &access).await;
            made.push(manifest.map_err(|e| backends::problem(&e))?);
        }
        Ok(made)
    })
}

/// Which images have a login: it is not shown, but that there is one.
fn logins(specs: &[pod::Spec], entities: &Entities) -> Access {
    let mut access = Access::default();
    for spec in specs {
        let images = spec.containers.iter().map(|own| &own.image);
        for connector in images
            .chain(&spec.agent_image)
            .filter_map(|image| image.connector.as_ref())
        {
            if let Some(login) = access::login_of(connector, entities) {
                access.registries.insert(connector.clone(), login);
            }
        }
    }
    access
}

fn planner(source: &Source, target: &Target) -> Result<(Written, Documents), Problem> {
    let given = Given::read(&source.set, &source.inputs, &source.input_set)?;
    let documents = Documents::read(&source.pipeline, &source.entities, Some(&given))?;
    let pipeline = documents.pipeline()?.clone();
    let options = Options {
        entities: documents.entities.clone(),
        sources: documents.sources.clone(),
        native: target.is_native(),
        git_image: Options::git_image(),
        agent_image: target.agent_image(),
        sequence: Home::find().map_or(1, |home| home.coming_number(&pipeline)),
        user: file_store::user(),
        files: file_store::read(source.file_store.as_deref())?,
        event: given.event,
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

/// The children of a node, as far as it is known what is around it, and last what would undo them. What a loop becomes is found once and
/// known from there on: else each iteration would ask for all of them.
fn children(planner: &Written, node: &Node, known: &mut Facts) -> Result<Vec<Node>, Problem> {
    if matches!(node.kind, Kind::Step(_) | Kind::Initialize) {
        return Ok(Vec::new());
    }
    let mut children = planner.expand(&node.id, known).map_err(|f| failure(&f))?;
    if node.kind == Kind::Loop {
        let event = Event::Expanded {
            node: node.id.clone(),
            children: children.clone(),
        };
        known.apply(&Stamped { at_ms: 0, event });
    }
    if node.rollback {
        children.push(node.undo());
    }
    Ok(children)
}

fn find(
    planner: &Written,
    node: &Node,
    known: &mut Facts,
    found: &mut Vec<Node>,
) -> Result<(), Problem> {
    if matches!(node.kind, Kind::StepGroup { pod: true }) {
        found.push(node.clone());
        return Ok(());
    }
    for child in children(planner, node, known)? {
        find(planner, &child, known, found)?;
    }
    Ok(())
}

fn tree(planner: &Written, node: &Node, known: &mut Facts) -> Result<Value, Problem> {
    let below = children(planner, node, known)?;
    let mut value =
        serde_json::to_value(node).map_err(|e| Problem::system("write the plan", &e))?;
    if let Some(why) = skip(planner, node, known) {
        value["skip"] = why.into();
    }
    if !below.is_empty() {
        value["children"] = below
            .iter()
            .map(|child| tree(planner, child, known))
            .collect::<Result<Vec<_>, _>>()?
            .into();
    }
    Ok(value)
}

/// Why a node is known to be skipped.
fn skip(planner: &Written, node: &Node, known: &Facts) -> Option<String> {
    let condition = node.when.as_ref().and_then(|when| when.condition.as_ref());
    let of_condition = || condition.and_then(|_| planner.known_skip(&node.id, known));
    node.skip.clone().or_else(of_condition)
}

fn rows(
    planner: &Written,
    node: &Node,
    depth: usize,
    known: &mut Facts,
    out: &mut Vec<Line>,
) -> Result<(), Problem> {
    let below = children(planner, node, known)?;
    let (what, note) = match &node.kind {
        Kind::Pipeline => ("pipeline".to_owned(), String::new()),
        Kind::Stage(kind) => ("stage".to_owned(), kind.clone()),
        Kind::StepGroup { pod: true } => ("group".to_owned(), "one pod".to_owned()),
        Kind::StepGroup { pod: false } => ("group".to_owned(), String::new()),
        Kind::Parallel => ("parallel".to_owned(), String::new()),
        Kind::Loop => {
            let count = words::count(below.len() as u64, "iteration");
            let note = match node.limit {
                Some(limit) => format!("{count}, {limit} at once"),
                None => count,
            };
            ("loop".to_owned(), note)
        }
        Kind::Rollback => (node.name.clone(), "where a failure asks for it".to_owned()),
        Kind::Initialize => ("Initialize".to_owned(), String::new()),
        Kind::Step(step) => (
            step.r#type.clone(),
            step.container.clone().unwrap_or_default(),
        ),
    };
    let mut line = Line::of(Tone::Plain, "  ".repeat(depth)).with(Tone::Busy, what);
    if !matches!(
        node.kind,
        Kind::Parallel | Kind::Initialize | Kind::Rollback
    ) {
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
    if let Some(why) = skip(planner, node, known) {
        line.push(Tone::Warn, format!("  skipped: {why}"));
    }
    out.push(line);
    for child in below {
        rows(planner, &child, depth + 1, known, out)?;
    }
    Ok(())
}
