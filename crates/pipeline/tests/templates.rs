//! Templates in place of their links: what they become, and every way in which a link is wrong.

use std::fmt::Write as _;

use pipeline::model::{Loaded, Options, read};
use pipeline::plan::Place;
use syntax::diagnostic::{Style, render};
use syntax::{Sources, code};

/// A library of every kind of template, as it lies beside a pipeline.
const LIBRARY: &str = include_str!("templates/library.yaml");

fn loaded(pipeline: &str, library: &str) -> (Sources, Loaded) {
    let mut sources = Sources::new();
    let ids = [
        sources.add("pipeline.yaml", pipeline),
        sources.add("templates.yaml", library),
    ];
    let loaded = read(&sources, ids, Options::default());
    (sources, loaded)
}

fn said(pipeline: &str, library: &str) -> String {
    let (sources, loaded) = loaded(pipeline, library);
    let mut out = String::new();
    for diagnostic in loaded.diagnostics.iter().filter(|own| own.is_error()) {
        writeln!(out, "{}\n", render(diagnostic, &sources, Style::PLAIN))
            .expect("a string takes all");
    }
    out
}

/// A pipeline with one step below a group.
fn with_step(step: &str) -> String {
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
              - stepGroup:
                  identifier: g
                  name: g
                  stepGroupInfra: {{type: KubernetesDirect, spec: {{connectorRef: k8s, namespace: ns}}}}
                  steps:
                    - step: {step}
"
    )
}

#[test]
fn every_kind_stands_in_its_place() {
    let (sources, loaded) = loaded(
        "pipeline:
  identifier: app
  name: App
  template:
    templateRef: account.whole
    versionLabel: v1
    templateInputs:
      variables: [{name: tag, type: String, value: v7}]
      stages:
        - stage:
            identifier: build
            template:
              templateInputs:
                spec:
                  execution:
                    steps:
                      - stepGroup:
                          identifier: pod
                          template: {templateInputs: {steps: [{step: {identifier: greet, template: {templateInputs: {spec: {command: echo hi}}}}}]}}
",
        LIBRARY,
    );
    assert!(!loaded.has_errors(), "{:#?}", loaded.diagnostics);
    let pipeline = loaded.pipeline.expect("a pipeline");
    let places: Vec<String> = Place::all(&pipeline)
        .iter()
        .map(|place| place.id.to_string())
        .collect();
    assert_eq!(
        places,
        [
            "pipeline",
            "stages.build",
            "stages.build.steps.pod",
            "stages.build.steps.pod.Initialize",
            "stages.build.steps.pod.steps.greet",
            "stages.build.steps.pod.steps.check",
        ]
    );
    let greet = format!("{:?}", Place::all(&pipeline)[4].what);
    assert!(
        greet.contains("echo hi") && greet.contains("alpine:3.20"),
        "{greet}"
    );
    assert!(pipeline.variables.is_some());
    assert_eq!(sources.iter().count(), 2);
}

#[test]
fn what_is_wrong_inside_a_template_is_told_there() {
    let library = LIBRARY.replace("image: alpine:3.20", "image: [alpine]");
    let said = said(
        &with_step(
            "{identifier: a, name: a, template: {templateRef: greet, versionLabel: v1, templateInputs: {spec: {command: x}}}}",
        ),
        &library,
    );
    assert!(said.contains("templates.yaml:"), "{said}");
    assert!(said.contains("`image` must be text"), "{said}");
}

#[test]
fn links_that_are_wrong() {
    let step = |link: &str| with_step(&format!("{{identifier: a, name: a, template: {{{link}}}}}"));
    let given = "templateInputs: {spec: {command: echo}}";
    let cases = [
        ("missing", step("templateRef: gret, versionLabel: v1")),
        (
            "wrong version",
            step(&format!("templateRef: greet, versionLabel: v9, {given}")),
        ),
        (
            "no version of several",
            step(&format!("templateRef: greet, {given}")),
        ),
        ("another kind", step("templateRef: pod, versionLabel: v1")),
        (
            "not a reference",
            step("templateRef: 'a b', versionLabel: v1"),
        ),
        (
            "an expression",
            step("templateRef: <+pipeline.name>, versionLabel: v1"),
        ),
        (
            "an input too few",
            step("templateRef: greet, versionLabel: v1"),
        ),
        (
            "an input too many",
            step(
                "templateRef: greet, versionLabel: v1, templateInputs: {spec: {command: x, imag: y}}",
            ),
        ),
        (
            "a value that is fixed",
            step(
                "templateRef: greet, versionLabel: v1, templateInputs: {spec: {command: x, image: debian}}",
            ),
        ),
        (
            "a value that is not allowed",
            step(
                "templateRef: greet, versionLabel: v1, templateInputs: {spec: {command: x, shell: Fish}}",
            ),
        ),
        (
            "includes itself",
            step("templateRef: itself, versionLabel: v1"),
        ),
        (
            "includes itself by another",
            step("templateRef: ping, versionLabel: v1"),
        ),
        (
            "an override that is not allowed",
            step(&format!(
                "templateRef: greet, versionLabel: v1, {given}, templateOverrides: {{strategy: {{parallelism: 2}}}}"
            )),
        ),
    ];
    let mut out = String::new();
    for (name, text) in cases {
        let said = said(&text, LIBRARY);
        assert!(!said.is_empty(), "nothing is said of {name}");
        writeln!(out, "===== {name}\n{said}").expect("a string takes all");
    }
    insta::assert_snapshot!(out);
}

#[test]
fn templates_that_double_at_each_level_are_told_once_and_end() {
    let mut bombs = String::from(LIBRARY);
    for n in 0..40 {
        write!(
            bombs,
            "---\ntemplate:\n  identifier: bomb{n}\n  name: b\n  versionLabel: v1\n  type: StepGroup\n  spec:\n    steps:\n      - stepGroup: {{identifier: a, name: a, template: {{templateRef: bomb{next}, versionLabel: v1}}}}\n      - stepGroup: {{identifier: b, name: b, template: {{templateRef: bomb{next}, versionLabel: v1}}}}\n",
            next = n + 1
        )
        .expect("a string takes all");
    }
    let link = "{identifier: a, name: a, template: {templateRef: bomb0, versionLabel: v1}}";
    let text = with_step(link).replace("- step: ", "- stepGroup: ");
    let (_, loaded) = loaded(&text, &bombs);
    let told = loaded
        .diagnostics
        .iter()
        .filter(|own| own.code == code::TEMPLATE_CYCLE)
        .count();
    assert_eq!(told, 1);
}
