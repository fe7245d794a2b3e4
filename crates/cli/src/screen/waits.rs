//! What a step that runs nowhere waits for, in words.

use pipeline::plan::Wait;

use super::words;

/// What it waits for.
pub(crate) fn says(wait: &Wait) -> String {
    match wait {
        Wait::Time { ms } => format!("waits {}", words::took(*ms)),
        Wait::Barrier { barrier, .. } => format!("waits at the barrier {barrier}"),
        Wait::Queue { key, .. } => format!("waits for its turn in the queue {key}"),
        Wait::Approval(approval) if approval.message.trim().is_empty() => {
            "waits for an approval".to_owned()
        }
        Wait::Approval(approval) => {
            let mut lines = approval.message.trim().lines();
            let first = lines.next().unwrap_or_default();
            let more = if lines.next().is_some() { " …" } else { "" };
            format!("waits for an approval: {first}{more}")
        }
    }
}

/// How people answer; none where it waits for no person. `path` is that of the step.
pub(crate) fn how(wait: &Wait, run: &str, path: &str) -> Option<String> {
    let Wait::Approval(approval) = wait else {
        return None;
    };
    let inputs: Vec<_> = approval
        .inputs
        .iter()
        .map(|own| format!(" --set {}=…", own.name))
        .collect();
    Some(format!(
        "stepyard approve {run} {path}{} (or --reject)",
        inputs.concat()
    ))
}
