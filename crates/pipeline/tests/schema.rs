//! The published JSON Schema is the one that the model makes, and a validator that others wrote agrees with it.

#![expect(clippy::disallowed_methods, reason = "pipelines lie in files")]

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use pipeline::model::Forms;
use serde_json::Value;
use syntax::Sources;
use syntax::yaml::{self, Kind, Node};

#[test]
fn the_published_schema_is_that_of_the_model() {
    let made = serde_json::to_string_pretty(&Forms::new().schema()).expect("it is JSON") + "\n";
    assert!(
        made == include_str!("../../../docs/schema.json"),
        "run `stepyard schema > docs/schema.json`: the model has changed"
    );
}

#[test]
fn every_object_that_is_named_is_there_and_every_key_is_explained() {
    let forms = Forms::new();
    let text = forms.schema().to_string();
    for name in text.split("\"#/$defs/").skip(1) {
        let name = name.split('"').next().expect("it ends");
        let known = forms.objects.contains_key(name) || ["Expression", "Blank"].contains(&name);
        assert!(known, "{name}");
    }
    for (name, object) in &forms.objects {
        assert!(!object.doc.is_empty(), "{name}");
        for key in &object.keys {
            assert!(
                key.doc.ends_with(['.', '…']),
                "{name}.{}: {}",
                key.name,
                key.doc
            );
        }
    }
}

/// A document as JSON: what an editor gives to a validator.
fn json(node: &Node) -> Value {
    match &node.value {
        yaml::Value::Scalar(scalar) => match scalar.kind {
            Kind::Null => Value::Null,
            Kind::Bool(own) => own.into(),
            Kind::Int(own) => own.into(),
            Kind::Float(own) => own.into(),
            Kind::String => scalar.text.as_ref().into(),
        },
        yaml::Value::Sequence(all) => all.iter().map(json).collect(),
        yaml::Value::Mapping(all) => {
            let entries = all.entries.iter();
            let entries = entries.map(|own| (own.key.text.to_string(), json(&own.value)));
            Value::Object(entries.collect())
        }
    }
}

fn documents(name: &str, text: &str) -> Vec<Value> {
    let mut sources = Sources::new();
    let id = sources.add(name, text);
    let parsed = yaml::parse(&sources, id);
    assert!(parsed.diagnostics.is_empty(), "{name}");
    parsed.documents.iter().map(json).collect()
}

fn validator() -> Validator {
    let schema = Forms::new().schema();
    jsonschema::validator_for(&schema).expect("it is a schema")
}

/// What a validator says of each document.
fn refused(validator: &Validator, name: &str, text: &str) -> Vec<String> {
    let documents = documents(name, text);
    assert!(!documents.is_empty(), "{name}");
    let errors = documents.iter().flat_map(|own| validator.iter_errors(own));
    errors
        .map(|own| {
            let said: String = own.to_string().chars().take(300).collect();
            format!("{name}: {}: {said}", own.instance_path())
        })
        .collect()
}

fn yaml_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("it can be listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            yaml_below(&path, found);
        } else if path
            .extension()
            .is_some_and(|kind| kind == "yaml" || kind == "yml")
        {
            found.push(path);
        }
    }
}

#[test]
fn the_schema_is_one_by_its_own_schema() {
    jsonschema::meta::validate(&Forms::new().schema()).expect("it is a schema");
}

/// What stepyard runs no editor may underline. Files of other people lie beside the checkout, where they lie at all.
#[test]
fn every_pipeline_that_is_known_to_be_right_is_valid_by_it() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let own = ["examples", "crates/pipeline/tests"];
    let others = ["../shared/corpus", "../../shared/corpus"];
    let mut files = Vec::new();
    for folder in own {
        yaml_below(&root.join(folder), &mut files);
    }
    for folder in others.iter().map(|own| root.join(own)) {
        if folder.is_dir() {
            yaml_below(&folder, &mut files);
        }
    }
    files.sort();
    assert!(files.len() > 40, "{files:?}");
    let validator = validator();
    let wrong: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).expect("text");
            refused(&validator, &path.display().to_string(), &text)
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const RIGHT: &str = "pipeline:
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
              - stepGroup:
                  identifier: g
                  name: g
                  stepGroupInfra: {type: KubernetesDirect, spec: {connectorRef: k, namespace: n}}
                  steps:
                    - step:
                        identifier: a
                        name: a
                        type: Run
                        timeout: 10m
                        spec:
                          image: alpine
                          shell: Sh
                          command: make
                          privileged: false
                        failureStrategies:
                          - onFailure:
                              errors: [AllErrors]
                              action: {type: Retry, spec: {retryCount: 2, retryIntervals: [1s], onRetryFailure: {action: {type: Ignore}}}}
";

#[test]
fn planted_errors_are_found_by_a_validator() {
    let validator = validator();
    assert_eq!(refused(&validator, "right", RIGHT), [""; 0]);
    for (from, to) in [
        (
            "pipeline:\n  identifier: p",
            "pipeline:\n  identifier: 'no identifier'",
        ),
        ("pipeline:\n  identifier: p\n", "pipeline:\n"),
        ("pipeline:", "pipelines:"),
        ("pipeline:", "template: {}\npipeline:"),
        ("timeout: 10m", "timeout: soon"),
        ("shell: Sh", "shell: Fish"),
        ("command: make", "command: [make]"),
        ("                          command: make\n", ""),
        ("privileged: false", "privileged: perhaps"),
        ("errors: [AllErrors]", "errors: AllErrors"),
        ("errors: [AllErrors]", "errors: [Everything]"),
        ("type: Ignore", "type: Forget"),
        ("retryCount: 2", "retryCount: twice"),
        ("retryIntervals: [1s]", "retryIntervals: 1s"),
        ("                        identifier: a\n", ""),
    ] {
        assert!(RIGHT.contains(from), "{from}");
        let text = RIGHT.replacen(from, to, 1);
        assert!(
            !refused(&validator, "planted", &text).is_empty(),
            "`{from}` as `{to}` is not found"
        );
    }
}
