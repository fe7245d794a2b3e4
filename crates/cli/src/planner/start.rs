//! What is prepared becomes what an addon starts: the values of secrets are put in here, into the environment of the
//! step's one process, and nowhere else.

use addon::frame::{self, Attempt, OutputVar, Start};
use driver::backend::ImageFacts;
use engine::event::Failure;
use engine::facts::{Facts, Value};
use pipeline::resolve::script::Shell;
use pipeline::resolve::{Output, Piece, Prepared, Probe, Program, Readiness, SecretRef, Text};

use super::{configuration, facts, task};
use crate::delegate;
use crate::secrets::Secrets;

/// Milliseconds for one answer of a probe.
const ANSWER_MS: u64 = 1000;
/// The script of a clone, that of our own image, so that any image with git will do. Everything it needs is in its
/// environment, so that nothing has to be quoted.
const CLONE: &str = include_str!("../../../../images/git/clone");

/// Downloads what the environment names, each by the script of a clone.
const MANIFESTS: &str = include_str!("manifests.sh");

/// The start of an attempt.
pub(super) fn start(
    prepared: Prepared,
    attempt: Attempt,
    facts: &Facts,
    secrets: &Secrets,
    image: &ImageFacts,
) -> Result<Start, Failure> {
    let mut used = Vec::new();
    // Of a pipeline that names neither; what it says itself comes later and wins.
    let mut env: Vec<(String, String)> = ["HARNESS_ORG_ID", "HARNESS_PROJECT_ID"]
        .map(|name| (name.to_owned(), "default".to_owned()))
        .into();
    for (name, text) in &prepared.env {
        let value = fill(text, &attempt.step, facts, secrets, &mut used)?;
        env.push((name.clone(), value));
    }
    if let Program::Task(own) = &prepared.program {
        let mut fill = |text: &Text| fill(text, &attempt.step, facts, secrets, &mut used);
        env.extend(task::task(own, &prepared.outputs, &mut fill)?.variables());
    }
    used.sort();
    used.dedup();
    Ok(Start {
        program: program(prepared.program, &attempt.step, image)?,
        attempt,
        env,
        workdir: prepared.workdir,
        secrets: used,
        outputs: prepared.outputs.into_iter().map(output).collect(),
        background: prepared.background,
        readiness: prepared.readiness.map(readiness),
        timeout_ms: prepared.timeout_ms,
    })
}

/// A text with the values of its secrets, which are added to `used`.
fn fill(
    text: &Text,
    step: &str,
    facts: &Facts,
    secrets: &Secrets,
    used: &mut Vec<String>,
) -> Result<String, Failure> {
    let mut out = String::new();
    for piece in text {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Secret(secret) => {
                let value = value(secret, step, facts, secrets)?;
                out.push_str(&value);
                used.push(value);
            }
        }
    }
    Ok(out)
}

fn value(
    secret: &SecretRef,
    step: &str,
    facts: &Facts,
    secrets: &Secrets,
) -> Result<String, Failure> {
    if let Some((node, name)) = facts::output_of(secret) {
        let output = facts
            .nodes
            .get(&node)
            .and_then(|fact| fact.outputs.get(name));
        return match output {
            Some(Value::Secret(value) | Value::Plain(value)) => Ok(value.clone()),
            _ => Err(configuration(
                format!(
                    "the secret output `{name}` of {node} is not known any more: no journal holds it"
                ),
                Some(
                    "run the step again: `stepyard run --from` it, or `stepyard retry --from` it"
                        .to_owned(),
                ),
            )),
        };
    }
    secrets.get(&secret.0).map(str::to_owned).ok_or_else(|| {
        configuration(
            format!("the secret `{secret}` has no value; {step} needs it"),
            Some(Secrets::ways(&secret.0)),
        )
    })
}

fn program(program: Program, step: &str, image: &ImageFacts) -> Result<frame::Program, Failure> {
    let script = |shell, text| frame::Program::Script { shell, text };
    Ok(match program {
        Program::Script { shell, text } => {
            let shell = match shell {
                Shell::Sh => frame::Shell::Sh,
                Shell::Bash => frame::Shell::Bash,
                Shell::Pwsh => frame::Shell::Pwsh,
                Shell::Python => frame::Shell::Python,
            };
            script(shell, text)
        }
        Program::Exec(argv) => frame::Program::Exec { argv, before: None },
        Program::Image => {
            let argv: Vec<String> = image.entrypoint.iter().chain(&image.cmd).cloned().collect();
            if argv.is_empty() {
                return Err(configuration(
                    format!(
                        "{step} has nothing to execute: its image has neither ENTRYPOINT nor CMD"
                    ),
                    Some("give the step an `entrypoint`".to_owned()),
                ));
            }
            frame::Program::Exec { argv, before: None }
        }
        Program::Task(_) => frame::Program::Exec {
            argv: vec![delegate::HELPER.to_owned(), delegate::ARGUMENT.to_owned()],
            before: None,
        },
        Program::Clone => script(frame::Shell::Sh, CLONE.to_owned()),
        Program::Manifests => frame::Program::Exec {
            argv: ["sh", "-c", MANIFESTS, "manifests", CLONE]
                .map(str::to_owned)
                .into(),
            before: None,
        },
        Program::Tree { repo, directory } => frame::Program::Exec {
            argv: vec![
                "echo".to_owned(),
                format!("the working tree of {repo} is in {directory}"),
            ],
            before: None,
        },
    })
}

pub(super) fn output(own: Output) -> OutputVar {
    OutputVar {
        name: own.name,
        source: own.source,
        secret: own.secret,
    }
}

fn readiness(own: Readiness) -> frame::Readiness {
    frame::Readiness {
        probe: match own.probe {
            Probe::Exec(argv) => frame::Probe::Exec(argv),
            Probe::Tcp(port) => frame::Probe::Tcp(port),
            Probe::Http { port, path } => frame::Probe::Http { port, path },
            Probe::Unix(path) => frame::Probe::Unix(path),
        },
        period_ms: own.period_ms,
        answer_ms: ANSWER_MS,
        deadline_ms: own.deadline_ms,
        required: own.required,
    }
}
