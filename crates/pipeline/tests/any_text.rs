//! Whatever is written, reading it ends with a model and diagnostics, never with a panic.

use pipeline::model::{Options, read};
use proptest::prelude::*;
use syntax::Sources;
use syntax::diagnostic::{Report, Style, render};

/// Reads a text and renders all that is said of it.
fn survives(text: &str) -> pipeline::model::Loaded {
    let mut sources = Sources::new();
    let id = sources.add("any.yaml", text);
    let loaded = read(&sources, [id], Options::default());
    for diagnostic in &loaded.diagnostics {
        assert!(!render(diagnostic, &sources, Style::PLAIN).is_empty());
        let report = Report::new(diagnostic, &sources);
        assert!(
            report.line.is_some(),
            "every diagnostic has a place: {diagnostic:?}"
        );
    }
    loaded
}

/// Words of the format, so that the lines of a text often mean something.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "pipeline",
            "stages",
            "stage",
            "steps",
            "step",
            "stepGroup",
            "parallel",
            "insert",
            "identifier",
            "name",
            "type",
            "spec",
            "execution",
            "Deployment",
            "Custom",
            "Run",
            "Background",
            "Plugin",
            "GitClone",
            "strategy",
            "matrix",
            "repeat",
            "items",
            "when",
            "failureStrategies",
            "onFailure",
            "errors",
            "action",
            "stepGroupInfra",
            "KubernetesDirect",
            "volumes",
            "tolerations",
            "sharedPaths",
            "/harness",
            "resources",
            "limits",
            "cpu",
            "memory",
            "timeout",
            "10m",
            "<+input>",
            "<+input>.default(a",
            "<+a.b>",
            "connector",
            "secret",
            "build",
            "readiness",
            "template",
            "variables",
            "~",
            "true",
            "-1",
            "1e999",
            "&a x",
            "*a",
            "[]",
            "{}",
            "<<",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Zé0-9_<+>./ ]{0,8}",
    ]
}

/// A text of lines with keys, items and values at any depth.
fn lines() -> impl Strategy<Value = String> {
    let line = (0_usize..8, any::<bool>(), word(), word()).prop_map(|(depth, item, key, value)| {
        let dash = if item { "- " } else { "" };
        format!("{}{dash}{key}: {value}\n", "  ".repeat(depth))
    });
    prop::collection::vec(line, 0..24).prop_map(|lines| lines.concat())
}

/// A tree of the format's words, always valid YAML.
fn tree() -> impl Strategy<Value = serde_json::Value> {
    let leaf = word().prop_map(serde_json::Value::from);
    leaf.prop_recursive(8, 96, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            prop::collection::vec((word(), inner), 0..6)
                .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn lines_of_the_format(text in lines()) {
        survives(&text);
    }

    #[test]
    fn trees_of_the_format(tree in tree()) {
        survives(&serde_json::json!({"pipeline": tree, "connector": tree, "secret": tree}).to_string());
    }

    #[test]
    fn any_characters(text in "\\PC{0,80}") {
        survives(&text);
    }

    /// A pipeline cut off anywhere is still read as far as it goes.
    #[test]
    fn the_beginning_of_a_pipeline(cut in 0..WHOLE.len()) {
        if WHOLE.is_char_boundary(cut) {
            survives(&WHOLE[..cut]);
        }
    }
}

/// As deep as YAML may be: recursion over the tree and the model stays within a test's stack of 2 MiB.
#[test]
fn the_deepest_nesting_is_survived() {
    for (open, close) in [
        (
            "{stepGroup: {name: g, identifier: g, strategy: {matrix: {a: [1]}}, steps: [",
            "]}}",
        ),
        ("{parallel: [", "]}"),
        ("{insert: {name: i, identifier: i, steps: [", "]}}"),
        (
            "{step: {type: Plugin, name: p, identifier: p, spec: {settings: {a: [",
            "]}}}}",
        ),
    ] {
        for depth in [10, 36, 48, 200] {
            let steps = open.repeat(depth) + &close.repeat(depth);
            survives(&format!(
                "pipeline: {{stages: [{{stage: {{type: Custom, spec: {{execution: {{steps: [{steps}]}}}}}}}}]}}"
            ));
        }
    }
    let stages = "{parallel: [".repeat(70) + &"]}".repeat(70);
    survives(&format!("pipeline: {{stages: [{stages}]}}"));
    let retry = "{type: Retry, spec: {onRetryFailure: {action: ".repeat(48) + &"}}}".repeat(48);
    survives(&format!(
        "pipeline: {{stages: [{{stage: {{failureStrategies: [{{onFailure: {{action: {retry}}}}}]}}}}]}}"
    ));
}

#[test]
fn nothing_is_said_of_the_whole_pipeline() {
    let loaded = survives(WHOLE);
    assert_eq!(loaded.diagnostics, []);
    assert_eq!(
        (
            loaded.entities.connectors.len(),
            loaded.entities.secrets.len()
        ),
        (5, 3)
    );
}

/// Most of the format in one pipeline.
const WHOLE: &str = include_str!("whole.yaml");
