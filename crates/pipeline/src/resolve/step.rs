//! A step becomes what is executed.

use syntax::expr::{Piece, SecretRef};
use syntax::yaml::{Node, Value};
use syntax::{Diagnostic, Spanned, code};

use crate::model::{
    self, Background, Container, OutputType, OutputVariable, Param, Plugin, Reports, Run, StepSpec,
};
use crate::plan::{Level, NodeId, Place, Runs, STEP_TIMEOUT_MS, What, runs};
use crate::pod::WORKSPACE;

use super::image::{docker_in_docker, reference};
use super::task::{self, Task};
use super::values::{Values, plain};
use super::{Text, World, git, manifests, script};

/// Everything a driver needs to start an attempt, secrets still references.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// What to execute.
    pub program: Program,
    /// Set over the container's own environment, later entries win.
    pub env: Vec<(String, Text)>,
    /// Working directory.
    pub workdir: String,
    /// Output variables to read when it ends.
    pub outputs: Vec<Output>,
    /// Globs or directories of test reports.
    pub reports: Vec<String>,
    /// A Background step.
    pub background: bool,
    /// When a Background step counts as ready; none: at once.
    pub readiness: Option<Readiness>,
    /// Milliseconds it may take; 0: no limit.
    pub timeout_ms: u64,
}

/// What is executed.
#[derive(Debug, Clone, PartialEq)]
pub enum Program {
    /// A script in a shell of the image; it names variables of the environment in place of secrets.
    Script {
        /// Which shell.
        shell: Shell,
        /// The text.
        text: String,
    },
    /// A program and its arguments.
    Exec(Vec<String>),
    /// The image's own ENTRYPOINT and CMD.
    Image,
    /// What the delegate does by itself.
    Task(Task),
    /// A clone of what the environment names (`reference/steps.md` §3.5), by the git in the image.
    Clone,
    /// The manifests of a service, as the environment names them, by the git in the image.
    Manifests,
    /// Nothing is cloned: a working tree is mounted there.
    Tree {
        /// What it stands in for, as the user said it.
        repo: String,
        /// Where it is in the container.
        directory: String,
    },
}

/// The shells that are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// `sh`.
    Sh,
    /// `bash`.
    Bash,
    /// PowerShell 7.
    Pwsh,
    /// `python3`.
    Python,
}

/// An output variable that a step declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The name it is exported under.
    pub name: String,
    /// The script's variable that holds it.
    pub source: String,
    /// Its value is a secret.
    pub secret: bool,
}

/// When a Background step is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// What is asked.
    pub probe: Probe,
    /// Milliseconds between two askings.
    pub period_ms: u64,
    /// Milliseconds after which the wait ends.
    pub deadline_ms: u64,
    /// At the deadline: `true` fails the step, `false` warns and goes on.
    pub required: bool,
}

/// How readiness is asked, from inside the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Exit code 0 of a command.
    Exec(Vec<String>),
    /// A TCP connection to this port of localhost.
    Tcp(u16),
    /// A status below 400 of `GET http://localhost:<port><path>`.
    Http {
        /// The port.
        port: u16,
        /// With its leading slash.
        path: String,
    },
    /// A Unix socket that accepts.
    Unix(String),
}

/// How long a readiness is waited for where nothing is said.
const READY_MS: u64 = 60_000;
/// How often it is asked where nothing is said.
const PERIOD_MS: u64 = 1000;

/// The patterns of a step's reports; none where it has none, which is known without resolving anything else of it.
pub fn reports_of(world: &World<'_>, step: &NodeId) -> Result<Vec<String>, Vec<Diagnostic>> {
    let written = match Place::of(world, step).map(|place| place.what) {
        Some(What::Step(own)) => match &own.spec {
            StepSpec::Run(run) => run.reports.is_some(),
            StepSpec::Background(background) => background.reports.is_some(),
            StepSpec::Plugin(plugin) => plugin.reports.is_some(),
            _ => false,
        },
        _ => false,
    };
    if !written {
        return Ok(Vec::new());
    }
    prepare(world, step).map(|prepared| prepared.reports)
}

/// What an attempt of a step executes, by what is known now.
pub fn prepare(world: &World<'_>, step: &NodeId) -> Result<Prepared, Vec<Diagnostic>> {
    let Some(place) = Place::of(world, step) else {
        return Err(Vec::new());
    };
    let What::Step(own) = place.what else {
        return Err(Vec::new());
    };
    let values = Values::new(world, &place);
    let mut env = environment(world, &place);
    let delegate = runs(own.step_type()) == Runs::Process;
    // A process of the delegate begins in the directory that is its own.
    let workdir = if delegate { "." } else { WORKSPACE };
    if delegate {
        env.retain(|(name, _)| !["HARNESS_WORKSPACE", "DRONE_WORKSPACE"].contains(&&**name));
    }
    let mut made = Prepared {
        program: Program::Image,
        env: Vec::new(),
        workdir: workdir.to_owned(),
        outputs: Vec::new(),
        reports: Vec::new(),
        background: false,
        readiness: None,
        timeout_ms: values
            .get(own.timeout.as_ref(), "timeout")
            .map(|duration| duration.ms)
            .filter(|ms| *ms > 0)
            .unwrap_or(STEP_TIMEOUT_MS),
    };
    match &own.spec {
        StepSpec::Run(run) => run_step(run, &values, &mut env, &mut made),
        StepSpec::Background(background) => {
            background_step(background, &values, &mut env, &mut made);
        }
        StepSpec::Plugin(plugin) => plugin_step(plugin, &values, &mut env, &mut made),
        StepSpec::GitClone(clone) => {
            made.program = if let Some((tree, directory)) = git::stand_in(clone, &place, &values) {
                Program::Tree {
                    repo: tree.repo.clone(),
                    directory,
                }
            } else {
                git::environment(clone, &values, &mut env);
                Program::Clone
            };
        }
        StepSpec::DownloadManifests(_) => {
            manifests::environment(own, &values, &mut env);
            made.program = Program::Manifests;
        }
        StepSpec::ShellScript(script) => {
            task::shell_script(script, &values, &mut env, &mut made);
        }
        StepSpec::Http(http) => task::http(http, &values, &mut made),
        StepSpec::CustomApproval(approval) => {
            task::custom_approval(approval, &values, &mut env, &mut made);
        }
        _ => values.push(
            Diagnostic::error(
                code::STEP_NOT_RUN,
                format!("steps of type {} are not run yet", own.step_type()),
            )
            .at(own.kind.span, "")
            .help("Run, Background, Plugin, GitClone and DownloadManifests steps are"),
        ),
    }
    made.env = env;
    values.finish(made)
}

/// `HARNESS_*`, and what images made for Drone read.
fn environment(world: &World<'_>, place: &Place<'_>) -> Vec<(String, Text)> {
    let (pipeline, known) = (world.pipeline, world.known);
    let sequence = known.sequence.map(|number| number.to_string());
    let stage = place
        .stage
        .as_ref()
        .map(|(stage, _)| stage.identifier().as_str());
    let all = [
        ("HARNESS_WORKSPACE", Some(WORKSPACE)),
        ("HARNESS_ACCOUNT_ID", known.account.as_deref()),
        (
            "HARNESS_ORG_ID",
            pipeline.org.as_ref().map(|own| own.value.as_str()),
        ),
        (
            "HARNESS_PROJECT_ID",
            pipeline.project.as_ref().map(|own| own.value.as_str()),
        ),
        ("HARNESS_PIPELINE_ID", Some(pipeline.identifier.as_str())),
        ("HARNESS_BUILD_ID", sequence.as_deref()),
        ("HARNESS_STAGE_ID", stage),
        (
            "HARNESS_EXECUTION_ID",
            Some(known.run.as_str()).filter(|run| !run.is_empty()),
        ),
        ("DRONE_WORKSPACE", Some(WORKSPACE)),
        ("DRONE_BUILD_NUMBER", sequence.as_deref()),
        ("CI", Some("true")),
    ];
    let mut env: Vec<(String, Text)> = all
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), plain(value?))))
        .collect();
    // Of each level the innermost loop, and of any level the innermost of all.
    for (level, iteration) in &place.iterations {
        let heads: &[&str] = match level {
            Level::Stage => &["HARNESS_STAGE", "HARNESS_NODE"],
            Level::Group => &["HARNESS_NODE"],
            Level::Step => &["HARNESS_STEP", "HARNESS_NODE"],
        };
        for head in heads {
            for (tail, number) in [("INDEX", iteration.index), ("TOTAL", iteration.total)] {
                let name = format!("{head}_{tail}");
                env.retain(|(own, _)| *own != name);
                env.push((name, plain(&number.to_string())));
            }
        }
    }
    env
}

/// What the user wrote goes last: it wins over what is computed.
fn written(container: &Container, values: &Values<'_, '_>, env: &mut Vec<(String, Text)>) {
    for (name, value) in &container.env {
        if let Some(text) = values.text(value, name) {
            env.push((name.clone(), text));
        }
    }
}

/// A script, its secrets put into the environment.
fn scripted(
    command: &Param<String>,
    shell: Option<&Param<model::Shell>>,
    values: &Values<'_, '_>,
    env: &mut Vec<(String, Text)>,
) -> Program {
    let shell = match values.get(shell, "shell").unwrap_or(model::Shell::Sh) {
        model::Shell::Sh => Shell::Sh,
        model::Shell::Bash => Shell::Bash,
        model::Shell::Pwsh => Shell::Pwsh,
        model::Shell::Python => Shell::Python,
        model::Shell::Powershell => {
            values.push(
                Diagnostic::error(code::OS_NOT_RUN, "Windows PowerShell is not run")
                    .at(command.span(), "")
                    .help("write `shell: Pwsh`, and an image that has it"),
            );
            Shell::Pwsh
        }
    };
    let pieces = values.text(command, "command").unwrap_or_default();
    let taken: Vec<&str> = env.iter().map(|(name, _)| name.as_str()).collect();
    let placed = script::place(&pieces, shell, &taken);
    for (name, secret) in placed.secrets {
        env.push((name, vec![Piece::Secret(secret)]));
    }
    Program::Script {
        shell,
        text: placed.text,
    }
}

fn run_step(
    run: &Run,
    values: &Values<'_, '_>,
    env: &mut Vec<(String, Text)>,
    made: &mut Prepared,
) {
    written(&run.container, values, env);
    if let Some(command) = &run.command {
        made.program = scripted(command, run.shell.as_ref(), values, env);
    }
    made.outputs = outputs(run.outputs.as_ref(), values);
    made.reports = reports(run.reports.as_ref(), values);
}

fn background_step(
    own: &Background,
    values: &Values<'_, '_>,
    env: &mut Vec<(String, Text)>,
    made: &mut Prepared,
) {
    written(&own.container, values, env);
    made.background = true;
    made.timeout_ms = 0;
    made.program = match (entrypoint(own.entrypoint.as_ref(), values), &own.command) {
        (Some(argv), _) => Program::Exec(argv),
        (None, Some(command)) => scripted(command, own.shell.as_ref(), values, env),
        (None, None) => Program::Image,
    };
    made.reports = reports(own.reports.as_ref(), values);
    made.readiness = match &own.readiness {
        Some(readiness) => self::readiness(readiness, values),
        None => docker(&own.container, values),
    };
}

fn plugin_step(
    own: &Plugin,
    values: &Values<'_, '_>,
    env: &mut Vec<(String, Text)>,
    made: &mut Prepared,
) {
    for (name, value) in &own.settings {
        if let Some(text) = setting(value, name, values) {
            env.push((format!("PLUGIN_{}", name.to_uppercase()), text));
        }
    }
    written(&own.container, values, env);
    if let Some(argv) = entrypoint(own.entrypoint.as_ref(), values) {
        made.program = Program::Exec(argv);
    }
    made.outputs = outputs(own.outputs.as_ref(), values);
    made.reports = reports(own.reports.as_ref(), values);
}

/// A setting: text as it is, anything else as JSON.
fn setting(node: &Node, name: &str, values: &Values<'_, '_>) -> Option<Text> {
    if let Some(text) = node.as_text() {
        return values.text(&param(text, node), name);
    }
    Some(plain(&json(node, name, values)?.to_string()))
}

fn param(text: &str, node: &Node) -> Param<String> {
    let text = Spanned::new(text.to_owned(), node.span);
    if text.value.contains("<+") {
        Param::Expr(text)
    } else {
        Param::Literal(text)
    }
}

fn json(node: &Node, name: &str, values: &Values<'_, '_>) -> Option<serde_json::Value> {
    use serde_json::Value as Json;
    use syntax::yaml::Kind;
    Some(match &node.value {
        Value::Scalar(scalar) => match scalar.kind {
            Kind::Null => Json::Null,
            Kind::Bool(own) => own.into(),
            Kind::Int(own) => own.into(),
            Kind::Float(own) => own.into(),
            Kind::String => values.open(&param(&scalar.text, node), name)?.into(),
        },
        Value::Sequence(items) => Json::Array(
            items
                .iter()
                .map(|item| json(item, name, values))
                .collect::<Option<_>>()?,
        ),
        Value::Mapping(mapping) => Json::Object(
            mapping
                .entries
                .iter()
                .map(|entry| {
                    Some((
                        entry.key.text.to_string(),
                        json(&entry.value, name, values)?,
                    ))
                })
                .collect::<Option<_>>()?,
        ),
    })
}

/// Arguments can be read by every process that lists them: they hold no secrets.
fn entrypoint(
    written: Option<&Param<Vec<Param<String>>>>,
    values: &Values<'_, '_>,
) -> Option<Vec<String>> {
    let items = values.get(written, "entrypoint")?;
    let argv: Vec<String> = items
        .iter()
        .filter_map(|item| values.open(item, "entrypoint"))
        .collect();
    (!argv.is_empty()).then_some(argv)
}

pub(super) fn outputs(
    written: Option<&Param<Vec<OutputVariable>>>,
    values: &Values<'_, '_>,
) -> Vec<Output> {
    let list = values.get(written, "outputVariables").unwrap_or_default();
    list.iter()
        .filter_map(|own| {
            let name = own.name.as_ref()?.value.clone();
            let source: Option<String> = values.get(own.value.as_ref(), "value");
            Some(Output {
                source: source
                    .filter(|text| !text.is_empty())
                    .unwrap_or_else(|| name.clone()),
                name,
                secret: own
                    .kind
                    .as_ref()
                    .is_some_and(|kind| kind.value == OutputType::Secret),
            })
        })
        .collect()
}

fn reports(written: Option<&Param<Reports>>, values: &Values<'_, '_>) -> Vec<String> {
    let own = values.get(written, "reports");
    let paths = own
        .as_ref()
        .and_then(|own| own.spec.as_ref())
        .and_then(|spec| spec.paths.as_ref());
    values.list(paths, "paths")
}

fn readiness(own: &model::Readiness, values: &Values<'_, '_>) -> Option<Readiness> {
    let port = |param: Option<&Param<u32>>| {
        values
            .get(param, "port")
            .and_then(|port| u16::try_from(port).ok())
    };
    for host in [
        own.tcp.as_ref().and_then(|tcp| tcp.host.as_ref()),
        own.http.as_ref().and_then(|http| http.host.as_ref()),
    ]
    .into_iter()
    .flatten()
    {
        let name = values.get(Some(host), "host").unwrap_or_default();
        if !["localhost", "127.0.0.1", ""].contains(&name.as_str()) {
            values.push(
                Diagnostic::error(
                    code::SETTING_NOT_RUN,
                    format!("readiness is asked of localhost, not of `{name}`"),
                )
                .at(host.span(), "")
                .help("remove `host`: the containers of a pod share localhost"),
            );
        }
    }
    let probe = if let Some(exec) = &own.exec {
        let items = values
            .get(exec.command.as_ref(), "command")
            .unwrap_or_default();
        Probe::Exec(
            items
                .iter()
                .filter_map(|item| values.open(item, "command"))
                .collect(),
        )
    } else if let Some(tcp) = &own.tcp {
        Probe::Tcp(port(tcp.port.as_ref())?)
    } else if let Some(http) = &own.http {
        let path = values.get(http.path.as_ref(), "path").unwrap_or_default();
        Probe::Http {
            port: port(http.port.as_ref())?,
            path: if path.starts_with('/') {
                path
            } else {
                format!("/{path}")
            },
        }
    } else {
        Probe::Unix(values.get(own.unix.as_ref()?.path.as_ref(), "path")?)
    };
    let ms = |param, name| {
        values
            .get(param, name)
            .map(|duration: model::Duration| duration.ms)
            .filter(|ms| *ms > 0)
    };
    Some(Readiness {
        probe,
        period_ms: ms(own.period.as_ref(), "period").unwrap_or(PERIOD_MS),
        deadline_ms: ms(own.timeout.as_ref(), "timeout").unwrap_or(READY_MS),
        required: values
            .get(own.required.as_ref(), "required")
            .unwrap_or(true),
    })
}

/// Docker in Docker is waited for unless something else is said: what follows wants its socket.
fn docker(container: &Container, values: &Values<'_, '_>) -> Option<Readiness> {
    let image: String = values.get(container.image.as_ref(), "image")?;
    docker_in_docker(&reference(&image, None, values.world().entities)).then(|| Readiness {
        probe: Probe::Unix("/var/run/docker.sock".to_owned()),
        // It is up in a second or two, and asking costs next to nothing.
        period_ms: PERIOD_MS / 5,
        deadline_ms: READY_MS,
        required: false,
    })
}

/// A secret's reference as a text.
pub(super) fn secret(reference: &model::Ref) -> Text {
    vec![Piece::Secret(SecretRef(reference.to_string().into()))]
}
