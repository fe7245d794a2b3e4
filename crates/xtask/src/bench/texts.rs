//! Pipelines made for measuring.

use std::fmt::Write as _;

/// A pipeline with one containerized group; each step is its shell and its command.
pub(crate) fn pipeline(image: &str, steps: &[(&str, String)]) -> String {
    let specs = steps.iter().map(|(shell, command)| {
        let command = serde_json::Value::from(command.as_str());
        (
            "Run",
            format!("shell: {shell}\n                          command: {command}"),
        )
    });
    group(image, specs)
}

/// So many steps that are this program, with no shell before it, and last a command.
pub(crate) fn plugins(
    image: &str,
    entrypoint: &[&str],
    steps: usize,
    last: Option<String>,
) -> String {
    let entrypoint = format!("entrypoint: {}", serde_json::Value::from(entrypoint));
    let last = last.map(|command| ("Run", format!("command: {command}")));
    group(
        image,
        std::iter::repeat_n(("Plugin", entrypoint), steps).chain(last),
    )
}

fn group(image: &str, steps: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut text = String::from(
        "pipeline:\n  identifier: bench\n  name: bench\n  stages:\n    - stage:\n        identifier: s\n        name: s\n        type: Custom\n        \
         spec:\n          execution:\n            steps:\n              - stepGroup:\n                  identifier: g\n                  name: g\n                  \
         stepGroupInfra: {type: KubernetesDirect, spec: {connectorRef: account.cluster, namespace: builds}}\n                  steps:\n",
    );
    for (i, (kind, spec)) in steps.into_iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "                    - step:\n                        identifier: n{i}\n                        name: n{i}\n                        type: {kind}\n                        \
             spec:\n                          image: {image}\n                          {spec}\n"
        );
    }
    text
}

/// A valid pipeline of at least so many lines.
pub(crate) fn long(lines: usize) -> String {
    // Seven lines a step.
    let steps: Vec<_> = (0..lines.div_ceil(7))
        .map(|i| ("Sh", format!("echo \"step {i} of <+pipeline.name>\"")))
        .collect();
    pipeline("host:/", &steps)
}

/// A pipeline with a matrix of 100 by 100 values: as many iterations as a loop may have.
pub(crate) fn matrix() -> String {
    let values: Vec<String> = (0..100).map(|value| format!("v{value}")).collect();
    let values = values.join(", ");
    let step = pipeline(
        "host:/",
        &[("Sh", "echo <+matrix.one> <+matrix.two>".to_owned())],
    );
    let strategy = format!(
        "                        strategy: {{matrix: {{one: [{values}], two: [{values}], maxConcurrency: 50}}}}\n"
    );
    step + &strategy
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_matrix_has_ten_thousand_iterations() {
        let text = super::matrix();
        assert!(text.contains("one: [v0, v1,") && text.contains("v99], two: [v0,"));
    }

    #[test]
    fn a_long_pipeline_is_as_long_as_told() {
        assert!(super::long(10_000).lines().count() >= 10_000);
    }
}
