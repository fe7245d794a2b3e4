//! A CustomApproval step: a script is asked again and again, until its outputs say yes or no.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::time::Duration;

use addon::frame::{Attempt, Exit, Program, Shell, Start};
use addon::outputs::{self, Files, Left};
use engine::delegate::{MISWRITTEN, REJECTED};
use rustix::process::{Pid, Signal};
use syntax::expr::{Map, Value};
use tokio::signal::unix::{SignalKind, signal};

use super::scope::{Seen, map};
use super::{Asking, Criteria, Failed, Outputs, Task};

/// Between SIGTERM and SIGKILL for a script whose time is up.
const GRACE: Duration = Duration::from_secs(5);

/// Asks it until it is decided. The step's own timeout ends it otherwise.
pub(super) async fn ask(asking: &Asking, out: &mut Outputs) -> Result<(), Failed> {
    // From the first moment: one that comes between two tries is not to be lost.
    let mut term = signal(SignalKind::terminate()).map_err(|e| Failed {
        code: 1,
        message: format!("failed to listen for the end of its time: {e}"),
    })?;
    for number in 1_u64.. {
        println!("asking, try {number}");
        let found = once(asking, &mut term).await?;
        if let Some(found) = found {
            let values: Map = map(found
                .iter()
                .map(|own| (&*own.name, Value::from(own.value.as_str()))));
            for own in &found {
                let to = if own.secret {
                    &mut out.secret
                } else {
                    println!("{} = {}", own.name, own.value);
                    &mut out.open
                };
                to.insert(own.name.clone(), own.value.clone());
            }
            // In this order (`reference/entities.md` §9).
            if judge(Some(&asking.approval), &values, asking)? {
                println!("approved");
                return Ok(());
            }
            if judge(asking.rejection.as_ref(), &values, asking)? {
                return Err(Failed {
                    code: REJECTED,
                    message: "rejected: the criteria for a rejection are met".to_owned(),
                });
            }
            println!("neither approved nor rejected");
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(asking.interval_ms)) => {}
            _ = term.recv() => return Err(told_to_end()),
        }
    }
    Ok(())
}

fn told_to_end() -> Failed {
    Failed {
        code: 128 + 15,
        message: "told to end".to_owned(),
    }
}

/// One asking; none where the script failed or took too long.
async fn once(
    asking: &Asking,
    term: &mut tokio::signal::unix::Signal,
) -> Result<Option<Vec<addon::frame::Output>>, Failed> {
    let failed = |what: &str, error: &std::io::Error| Failed {
        code: 1,
        message: format!("failed to {what}: {error}"),
    };
    let dir = scratch();
    std::fs::create_dir_all(&dir).map_err(|e| failed("make a directory for the script", &e))?;
    let path = |name: &str| dir.join(name).display().to_string();
    let files = Files {
        exported: path("exported"),
        dotenv: path("output.env"),
        secret: path("secret.env"),
        scratch: dir.display().to_string(),
    };
    for file in [&files.exported, &files.dotenv, &files.secret] {
        std::fs::write(file, "").map_err(|e| failed("make the script's files", &e))?;
    }
    let start = start(asking);
    let argv = outputs::argv(&start, &files);
    let mut command = std::process::Command::new(&argv[0]);
    command.args(&argv[1..]).envs(outputs::env(&files));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(Task::owns) {
            command.env_remove(name);
        }
    }
    // A group of its own, so that all of it can be ended.
    command.process_group(0).stdin(std::process::Stdio::null());
    let mut child = tokio::process::Command::from(command)
        .spawn()
        .map_err(|e| failed(&format!("start {}", argv[0]), &e))?;
    let exit = watched(&mut child, asking.timeout_ms, term).await?;
    if !matches!(exit, Some(Exit::Code(0))) {
        match exit {
            Some(Exit::Code(code)) => println!("the script failed with exit code {code}"),
            Some(_) => println!("the script was killed"),
            None => println!("the script took longer than {} ms", asking.timeout_ms),
        }
        return Ok(None);
    }
    let read = |file: &str| std::fs::read(file).unwrap_or_default();
    let left = Left {
        exported: read(&files.exported),
        dotenv: read(&files.dotenv),
        secret: read(&files.secret),
        warnings: Vec::new(),
    };
    let (found, warnings) = outputs::collect(&start, &left);
    for warning in warnings {
        println!("warning: {warning}");
    }
    let _ = std::fs::remove_dir_all(&dir);
    Ok(Some(found))
}

/// Awaits the script's end; none where its time was up. When this process is told to end, so is the script.
async fn watched(
    child: &mut tokio::process::Child,
    timeout_ms: u64,
    term: &mut tokio::signal::unix::Signal,
) -> Result<Option<Exit>, Failed> {
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let tell = |signal| {
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, signal);
        }
    };
    let limit = async {
        if timeout_ms == 0 {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(timeout_ms)).await;
    };
    let failed = |error: std::io::Error| Failed {
        code: 1,
        message: format!("failed to wait for the script: {error}"),
    };
    let ended = tokio::select! {
        status = child.wait() => Some(status.map_err(failed)?),
        () = limit => None,
        _ = term.recv() => {
            tell(Signal::TERM);
            let _ = child.wait().await;
            return Err(told_to_end());
        }
    };
    if let Some(status) = ended {
        use std::os::unix::process::ExitStatusExt as _;
        return Ok(Some(match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, number) => Exit::Signal(number.unwrap_or(0)),
        }));
    }
    tell(Signal::TERM);
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        tell(Signal::KILL);
        let _ = child.wait().await;
    }
    Ok(None)
}

fn start(asking: &Asking) -> Start {
    Start {
        attempt: Attempt {
            run: String::new(),
            step: String::new(),
            number: 0,
        },
        program: Program::Script {
            shell: if asking.bash { Shell::Bash } else { Shell::Sh },
            text: asking.text.clone(),
        },
        env: Vec::new(),
        workdir: ".".to_owned(),
        secrets: Vec::new(),
        outputs: asking.outputs.clone(),
        background: false,
        readiness: None,
        timeout_ms: 0,
    }
}

fn scratch() -> PathBuf {
    let base =
        std::env::var_os("HARNESS_SCRATCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    base.join(format!("approval-{}", std::process::id()))
}

/// Whether criteria are met by a script's outputs.
fn judge(criteria: Option<&Criteria>, values: &Map, asking: &Asking) -> Result<bool, Failed> {
    let Some(criteria) = criteria else {
        return Ok(false);
    };
    match criteria {
        Criteria::Jexl(text) => {
            let mut output = values.clone();
            output.insert("outputVariables".into(), values.clone().into());
            let seen = Seen {
                answer: map([("output", output.into())]),
                known: &asking.known,
            };
            seen.holds(text).map_err(|why| Failed {
                code: MISWRITTEN,
                message: format!("the criteria `{text}` cannot be evaluated: {why}"),
            })
        }
        Criteria::KeyValues { any, conditions } => {
            let mut all = conditions.iter().map(|own| {
                let found = values.get(&*own.key).and_then(Value::to_text);
                compare(found.as_deref(), &own.operator, &own.value)
            });
            Ok(if *any {
                all.any(|holds| holds)
            } else {
                all.all(|holds| holds)
            })
        }
    }
}

/// A value that is not there equals nothing and is in no list.
fn compare(found: Option<&str>, operator: &str, value: &str) -> bool {
    let listed = || value.split(',').any(|one| found == Some(one.trim()));
    match operator {
        "equals" => found == Some(value),
        "not equals" => found != Some(value),
        "in" => listed(),
        _ => !listed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared() {
        for (found, operator, value, wanted) in [
            (Some("a"), "equals", "a", true),
            (Some("a"), "equals", "b", false),
            (None, "equals", "a", false),
            (Some("a"), "not equals", "b", true),
            (None, "not equals", "b", true),
            (Some("b"), "in", "a, b ,c", true),
            (Some("d"), "in", "a,b", false),
            (Some("d"), "not in", "a,b", true),
            (None, "in", "a", false),
        ] {
            let what = format!("{found:?} {operator} {value}");
            assert_eq!(compare(found, operator, value), wanted, "{what}");
        }
    }
}
