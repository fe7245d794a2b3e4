//! What an attempt of a step executes.

use addon::frame::{Attempt, OutputVar, Probe, Program, Readiness, Shell, Start};
use driver::backend::ImageFacts;
use engine::event::Failure;
use pipeline::model::{self, Param, Step, StepSpec};
use pipeline::pod::WORKSPACE;
use syntax::yaml::{Node, Value};

use super::tree::Place;
use super::values::{Values, configuration};
use super::{Options, git, pod};

/// Milliseconds between two askings of a probe, where nothing is said.
const PERIOD_MS: u64 = 1000;
/// Milliseconds after which a probe's wait ends, where nothing is said.
const DEADLINE_MS: u64 = 60_000;
/// Where a script that holds secrets travels: not in the arguments, which everybody on the machine can read.
const SCRIPT: &str = "STEPYARD_SCRIPT";

/// The start of an attempt.
pub(super) fn start(
    place: &Place<'_>,
    step: &Step,
    attempt: u32,
    values: &Values<'_>,
    image: &ImageFacts,
    options: &Options,
) -> Result<Start, Failure> {
    let mut env = common(place, values);
    let mut outputs = Vec::new();
    let mut readiness = None;
    let mut background = false;
    let program = match &step.spec {
        StepSpec::Run(run) => {
            environment(&run.container.env, values, &mut env)?;
            outputs = output_vars(run.outputs.as_ref(), values)?;
            script(run.command.as_ref(), run.shell.as_ref(), values, &mut env)?
        }
        StepSpec::Plugin(plugin) => {
            for (key, value) in &plugin.settings {
                env.push((
                    format!("PLUGIN_{}", key.to_uppercase()),
                    setting(value, values)?,
                ));
            }
            environment(&plugin.container.env, values, &mut env)?;
            outputs = output_vars(plugin.outputs.as_ref(), values)?;
            exec(step, &values.list(plugin.entrypoint.as_ref())?, image)?
        }
        StepSpec::Background(service) => {
            background = true;
            readiness = ready(service, step, values, options)?;
            environment(&service.container.env, values, &mut env)?;
            let entrypoint = values.list(service.entrypoint.as_ref())?;
            let has_command = service
                .command
                .as_ref()
                .is_some_and(|c| !c.text().trim().is_empty());
            if entrypoint.is_empty() && has_command {
                script(
                    service.command.as_ref(),
                    service.shell.as_ref(),
                    values,
                    &mut env,
                )?
            } else {
                exec(step, &entrypoint, image)?
            }
        }
        StepSpec::GitClone(clone) => git::program(place, clone, values, options, &mut env)?,
        _ => return Err(pod::refused(step)),
    };
    let timeout_ms = step
        .timeout
        .as_ref()
        .map(|p| values.duration(p))
        .transpose()?
        .unwrap_or(0);
    let mut secrets = values.used();
    secrets.sort();
    secrets.dedup();
    Ok(Start {
        attempt: Attempt {
            run: values.facts.run.clone(),
            step: place.id.0.clone(),
            number: attempt,
        },
        program,
        env,
        workdir: WORKSPACE.to_owned(),
        secrets,
        outputs,
        background,
        readiness,
        timeout_ms,
    })
}

/// What every step finds in its environment.
fn common(place: &Place<'_>, values: &Values<'_>) -> Vec<(String, String)> {
    let pipeline = values.pipeline;
    let text = |spanned: Option<&syntax::Spanned<String>>, default: &str| {
        spanned.map_or_else(|| default.to_owned(), |s| s.value.clone())
    };
    let stage = place
        .stage
        .as_ref()
        .map_or(String::new(), |(stage, _)| stage.identifier().to_string());
    let run = values.facts.run.clone();
    [
        ("HARNESS_WORKSPACE", WORKSPACE.to_owned()),
        ("HARNESS_ACCOUNT_ID", "local".to_owned()),
        ("HARNESS_ORG_ID", text(pipeline.org.as_ref(), "default")),
        (
            "HARNESS_PROJECT_ID",
            text(pipeline.project.as_ref(), "default"),
        ),
        ("HARNESS_PIPELINE_ID", pipeline.identifier.to_string()),
        ("HARNESS_BUILD_ID", "1".to_owned()),
        ("HARNESS_STAGE_ID", stage),
        ("HARNESS_EXECUTION_ID", run),
        ("DRONE_WORKSPACE", WORKSPACE.to_owned()),
        ("DRONE_BUILD_NUMBER", "1".to_owned()),
        ("CI", "true".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn environment(
    written: &indexmap::IndexMap<String, Param<String>>,
    values: &Values<'_>,
    env: &mut Vec<(String, String)>,
) -> Result<(), Failure> {
    for (name, value) in written {
        env.push((name.clone(), values.rich(value)?));
    }
    Ok(())
}

fn output_vars(
    written: Option<&Param<Vec<model::OutputVariable>>>,
    values: &Values<'_>,
) -> Result<Vec<OutputVar>, Failure> {
    let list = match written {
        None => return Ok(Vec::new()),
        Some(Param::Literal(list)) => &list.value,
        Some(other) => return Err(super::values::whole(other)),
    };
    list.iter()
        .filter_map(|var| {
            let name = var.name.as_ref()?.value.clone();
            let source = match &var.value {
                Some(p) if !p.text().is_empty() => match values.text(p) {
                    Ok(text) => text,
                    Err(failure) => return Some(Err(failure)),
                },
                _ => name.clone(),
            };
            let secret = var
                .kind
                .as_ref()
                .is_some_and(|k| k.value == model::OutputType::Secret);
            Some(Ok(OutputVar {
                name,
                source,
                secret,
            }))
        })
        .collect()
}

fn script(
    command: Option<&Param<String>>,
    shell: Option<&Param<model::Shell>>,
    values: &Values<'_>,
    env: &mut Vec<(String, String)>,
) -> Result<Program, Failure> {
    let before = values.used().len();
    let text = command
        .map(|c| values.rich(c))
        .transpose()?
        .unwrap_or_default();
    let shell = match shell
        .map(|p| values.word(p, model::Shell::from_word))
        .transpose()?
    {
        None | Some(model::Shell::Sh) => Shell::Sh,
        Some(model::Shell::Bash) => Shell::Bash,
        Some(model::Shell::Pwsh) => Shell::Pwsh,
        Some(model::Shell::Python) => Shell::Python,
        Some(model::Shell::Powershell) => {
            return Err(configuration(
                "`shell: Powershell` is of Windows and is not run here",
                "`Pwsh` is PowerShell on Linux",
            ));
        }
    };
    if values.used().len() == before {
        return Ok(Program::Script { shell, text });
    }
    env.push((SCRIPT.to_owned(), text));
    let text = match shell {
        Shell::Sh | Shell::Bash => {
            format!("stepyard_script=${SCRIPT}; unset {SCRIPT}; eval \"$stepyard_script\"")
        }
        Shell::Pwsh => {
            format!("$s = $env:{SCRIPT}; Remove-Item env:{SCRIPT}; Invoke-Expression $s")
        }
        Shell::Python => format!("import os\nexec(os.environ.pop('{SCRIPT}'))"),
    };
    Ok(Program::Script { shell, text })
}

/// A plugin's setting: text as it is, anything else as JSON.
fn setting(node: &Node, values: &Values<'_>) -> Result<String, Failure> {
    match node.as_text() {
        Some(text) => values.secret_text(text),
        None if node.is_null() => Ok(String::new()),
        None => values.secret_text(&json(node).to_string()),
    }
}

fn json(node: &Node) -> serde_json::Value {
    use syntax::yaml::Kind;
    match &node.value {
        Value::Scalar(scalar) => match scalar.kind {
            Kind::Null => serde_json::Value::Null,
            Kind::Bool(b) => b.into(),
            Kind::Int(n) => n.into(),
            Kind::Float(n) => n.into(),
            Kind::String => (*scalar.text).into(),
        },
        Value::Sequence(items) => items.iter().map(json).collect(),
        Value::Mapping(mapping) => {
            let entries = mapping
                .entries
                .iter()
                .map(|e| (e.key.text.to_string(), json(&e.value)));
            serde_json::Value::Object(entries.collect())
        }
    }
}

fn exec(step: &Step, entrypoint: &[String], image: &ImageFacts) -> Result<Program, Failure> {
    let argv: Vec<String> = if entrypoint.is_empty() {
        image.entrypoint.iter().chain(&image.cmd).cloned().collect()
    } else {
        entrypoint.to_vec()
    };
    if argv.is_empty() {
        return Err(configuration(
            format!(
                "step `{}` has nothing to execute: its image has neither ENTRYPOINT nor CMD",
                step.identifier
            ),
            "give the step an `entrypoint`",
        ));
    }
    Ok(Program::Exec { argv, before: None })
}

/// When a Background step is ready: what is written, else a Docker daemon's socket for the images that are one.
fn ready(
    service: &model::Background,
    step: &Step,
    values: &Values<'_>,
    _: &Options,
) -> Result<Option<Readiness>, Failure> {
    let Some(written) = &service.readiness else {
        let image = service
            .container
            .image
            .as_ref()
            .map(|p| values.text(p))
            .transpose()?
            .unwrap_or_default();
        let name = image.rsplit('/').next().unwrap_or("");
        let dind = name
            .split_once(':')
            .is_some_and(|(name, tag)| name == "docker" && tag.ends_with("dind"));
        return Ok(dind.then(|| Readiness {
            probe: Probe::Unix("/var/run/docker.sock".to_owned()),
            period_ms: PERIOD_MS / 5,
            answer_ms: PERIOD_MS,
            deadline_ms: DEADLINE_MS,
            required: false,
        }));
    };
    let port = |p: Option<&Param<u32>>| {
        let n = p
            .map(|p| values.parsed(p, |t| t.parse().ok(), |n| *n))
            .transpose()?
            .unwrap_or(0);
        u16::try_from(n).map_err(|_| {
            configuration(
                format!("`{n}` is not a port"),
                "write a number from 1 to 65535",
            )
        })
    };
    let probe = if let Some(exec) = &written.exec {
        Probe::Exec(values.list(exec.command.as_ref())?)
    } else if let Some(tcp) = &written.tcp {
        Probe::Tcp(port(tcp.port.as_ref())?)
    } else if let Some(http) = &written.http {
        let path = http
            .path
            .as_ref()
            .map(|p| values.text(p))
            .transpose()?
            .unwrap_or_else(|| "/".to_owned());
        Probe::Http {
            port: port(http.port.as_ref())?,
            path,
        }
    } else if let Some(unix) = &written.unix {
        Probe::Unix(
            unix.path
                .as_ref()
                .map(|p| values.text(p))
                .transpose()?
                .unwrap_or_default(),
        )
    } else {
        return Err(configuration(
            format!("`readiness` of step `{}` has no probe", step.identifier),
            "write for instance `tcp: {port: 5432}`",
        ));
    };
    let ms = |p: Option<&Param<model::Duration>>, default: u64| {
        p.map_or(Ok(default), |p| values.duration(p))
    };
    Ok(Some(Readiness {
        probe,
        period_ms: ms(written.period.as_ref(), PERIOD_MS)?,
        answer_ms: PERIOD_MS,
        deadline_ms: ms(written.timeout.as_ref(), DEADLINE_MS)?,
        required: written
            .required
            .as_ref()
            .map_or(Ok(false), |p| values.boolean(p))?,
    }))
}
