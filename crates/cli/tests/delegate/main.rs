//! Steps that run on the delegate, or nowhere, with the real binary on this machine.

#[path = "../support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
mod http;
#[cfg(target_os = "linux")]
mod people;
#[cfg(target_os = "linux")]
mod scripts;

use std::io::{BufRead as _, BufReader};
use std::process::Child;

use support::Home;

/// Runs a step whose time, `<+pipeline.variables.limit>`, is up after a second.
#[cfg(target_os = "linux")]
pub(crate) fn expires(home: &Home, step: &str) {
    let text = stage(&[step]).replace(
        "  name: p\n",
        "  name: p\n  variables: [{name: limit, type: String, value: 1s}]\n",
    );
    let seen = home.run(&text);
    assert_eq!(seen.code, Some(1), "{}{}", seen.out, seen.err);
    assert!(seen.out.contains("timed out"), "{}", seen.out);
}

/// A Custom stage with these steps, each a line of YAML.
pub(crate) fn stage(steps: &[&str]) -> String {
    let lines: Vec<String> = steps
        .iter()
        .map(|step| format!("              - step: {step}\n"))
        .collect();
    format!(
        "pipeline:
  identifier: p
  name: p
  stages:
    - stage:
        identifier: s
        name: s
        type: Custom
        spec:
          execution:
            steps:
{}",
        lines.concat()
    )
}

/// A ShellScript step; the script stands in double quotes of YAML.
pub(crate) fn script(id: &str, text: &str) -> String {
    format!(
        "{{identifier: {id}, name: {id}, type: ShellScript, spec: {{shell: Bash, onDelegate: true, source: {{type: Inline, spec: {{script: \"{text}\"}}}}}}}}"
    )
}

/// Reads a run's output until a line holds `part`; what was read.
pub(crate) fn until(child: &mut Child, part: &str) -> String {
    let out = BufReader::new(child.stdout.as_mut().expect("a pipe"));
    let mut seen = String::new();
    for line in out.lines() {
        let line = line.expect("text");
        seen.push_str(&line);
        seen.push('\n');
        if line.contains(part) {
            return seen;
        }
    }
    panic!("`{part}` did not come:\n{seen}");
}

/// What of processes is left in a home.
pub(crate) fn processes(home: &Home) -> Vec<String> {
    support::names(&home.path().join("state/native/delegate"))
}
