//! Values into a pipeline.

use super::*;

const PIPELINE: &str = "pipeline:
  identifier: p
  variables:
    - {name: version, type: String, value: <+input>}
    - {name: a.b, type: Number, value: 1}
    - {name: level, type: String, value: '<+input>.default(low).allowedValues(low,high)'}
  stages:
    - stage:
        identifier: build
        type: Custom
        variables:
          - {name: target, type: String, value: <+input>}
        spec:
          execution:
            steps:
              - parallel:
                  - step: {identifier: compile, type: Run, spec: {image: <+input>, command: make}}
";

fn document(text: &str) -> (Sources, Node) {
    let mut sources = Sources::new();
    let id = sources.add("p.yaml", text);
    let mut parsed = syntax::yaml::parse(&sources, id);
    assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
    (sources, parsed.documents.remove(0))
}

fn apply(set: &[&str], files: &[&str]) -> Result<(Node, Vec<String>), Problem> {
    apply_sets(set, files, &[], "")
}

/// The same with input sets of further documents.
fn apply_sets(
    set: &[&str],
    files: &[&str],
    sets: &[&str],
    more: &str,
) -> Result<(Node, Vec<String>), Problem> {
    let sets: Vec<_> = sets.iter().map(|s| (*s).to_owned()).collect();
    let (mut sources, mut pipeline) = document(PIPELINE);
    let set: Vec<_> = set.iter().map(|s| (*s).to_owned()).collect();
    let given = Given::read(&set, &[], &sets)?;
    let mut documents = Vec::new();
    for (at, file) in files.iter().enumerate() {
        let id = sources.add(format!("i{at}.yaml"), *file);
        documents.extend(syntax::yaml::parse(&sources, id).documents);
    }
    let id = sources.add("sets.yaml", more);
    let all = syntax::yaml::parse(&sources, id).documents;
    let diagnostics = given.apply(&mut pipeline, &all, &documents, &sources)?;
    let told = diagnostics.iter().map(|d| {
        format!(
            "{}: {}",
            sources.start(d.span().expect("a place")).line,
            d.message
        )
    });
    Ok((pipeline, told.collect()))
}

fn value(pipeline: &mut Node, path: &str) -> String {
    let parts: Vec<_> = path.split('.').collect();
    let node = find(get_mut(pipeline, "pipeline").expect("a pipeline"), &parts).expect(path);
    node.as_text().expect("text").to_owned()
}

#[test]
fn values_get_to_their_places() {
    let set = [
        "version=1.2",
        "a.b=7",
        "stages.build.variables.target=x86",
        "pipeline.stages.build.spec.execution.steps.compile.spec.image=debian",
    ];
    let (mut pipeline, told) = apply(&set, &[]).expect("applied");
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(value(&mut pipeline, "variables.version.value"), "1.2");
    assert_eq!(value(&mut pipeline, "variables.level.value"), "low");
    assert_eq!(
        value(&mut pipeline, "stages.build.variables.target.value"),
        "x86"
    );
    assert_eq!(
        value(&mut pipeline, "stages.build.steps.compile.spec.image"),
        "debian"
    );
}

#[test]
fn files_and_input_sets_come_before_set() {
    let plain = "version: 1\nstages.build.variables.target: arm\n";
    let set = "inputSet:\n  identifier: i\n  pipeline:\n    identifier: p\n    variables:\n      - {name: version, type: String, value: '2'}\n    stages:\n      - stage:\n          identifier: build\n          spec:\n            execution:\n              steps:\n                - parallel:\n                    - step: {identifier: compile, spec: {image: alpine}}\n";
    let (mut pipeline, told) = apply(&["level=high"], &[plain, set]).expect("applied");
    assert!(told.is_empty(), "{told:?}");
    for (path, expected) in [
        ("variables.version.value", "2"),
        ("variables.level.value", "high"),
        ("stages.build.variables.target.value", "arm"),
        ("stages.build.steps.compile.spec.image", "alpine"),
    ] {
        assert_eq!(value(&mut pipeline, path), expected, "{path}");
    }
}

#[test]
fn what_is_missing_is_named_with_its_place() {
    let (_, told) = apply(&["stages.build.steps.compile.spec.image=x"], &[]).expect("applied");
    assert_eq!(
        told,
        [
            "4: the runtime input `version` has no value",
            "12: the runtime input `stages.build.variables.target` has no value"
        ]
    );
}

#[test]
fn all_inputs_of_an_entity_at_once_may_be_none() {
    let (_, mut pipeline) = document(
        "pipeline:
  stages:
    - stage:
        identifier: s
        type: Deployment
        spec:
          service:
            serviceRef: <+input>
            serviceInputs: <+input>
          environment:
            environmentRef: <+input>
            environmentInputs: <+input>
            serviceOverrideInputs: <+input>
            infrastructureDefinitions:
              - {identifier: i, inputs: <+input>}
          execution: {steps: []}
",
    );
    let given = Given::read(&[], &[], &[]).expect("nothing is read");
    let told = given
        .apply(&mut pipeline, &[], &[], &Sources::new())
        .expect("applied");
    let told: Vec<_> = told.iter().map(|own| &*own.message).collect();
    assert_eq!(
        told,
        [
            "the runtime input `stages.s.service.serviceRef` has no value",
            "the runtime input `stages.s.environment.environmentRef` has no value",
        ]
    );
}

#[test]
fn a_value_that_is_not_allowed_is_told() {
    let set = [
        "level=medium",
        "version=1",
        "stages.build.variables.target=x",
        "stages.build.steps.compile.spec.image=y",
    ];
    let (_, told) = apply(&set, &[]).expect("applied");
    assert_eq!(
        told,
        ["6: `medium` is not a value that the runtime input `level` allows"]
    );
}

#[test]
fn what_comes_last_must_be_allowed_too() {
    let given = |set: &[&str], level: &str| {
        let mut all = vec!["version=1", "stages.build.variables.target=x"];
        all.push("stages.build.steps.compile.spec.image=y");
        all.extend(set);
        let file = format!("level: {level}\n");
        apply(&all, &[&file]).expect("applied").1
    };
    let refused = |text: &str| {
        vec![format!(
            "6: `{text}` is not a value that the runtime input `level` allows"
        )]
    };
    assert_eq!(given(&["level=high"], "low"), Vec::<String>::new());
    assert_eq!(given(&["level=medium"], "low"), refused("medium"));
    // It is told once, of what was wrong first.
    assert_eq!(given(&["level=none"], "medium"), refused("medium"));
}

#[test]
fn a_variable_may_have_a_default_beside_its_value_or_none_at_all() {
    let (_, mut pipeline) = document(
        "pipeline:
  variables:
    - {name: text, type: String, required: false, value: <+input>}
    - {name: own, type: String, required: true, default: dd, value: <+input>}
    - {name: both, type: String, default: dd, value: <+input>.default(inner)}
    - {name: none, type: String, required: true, value: <+input>}
",
    );
    let given = Given::read(&[], &[], &[]).expect("nothing is read");
    let told = given
        .apply(&mut pipeline, &[], &[], &Sources::new())
        .expect("applied");
    let told: Vec<_> = told.iter().map(|own| &*own.message).collect();
    assert_eq!(told, ["the runtime input `none` has no value"]);
    for (name, expected) in [("text", ""), ("own", "dd"), ("both", "inner")] {
        assert_eq!(
            value(&mut pipeline, &format!("variables.{name}.value")),
            expected
        );
    }
}

#[test]
fn a_text_stays_a_text_however_it_looks() {
    let set = ["version={\"a\": [1]}", "stages.build.variables.target="];
    let (mut pipeline, _) = apply(&set, &[]).expect("applied");
    for (path, expected) in [
        ("variables.version.value", "{\"a\": [1]}"),
        ("stages.build.variables.target.value", ""),
    ] {
        assert_eq!(value(&mut pipeline, path), expected, "{path}");
    }
}

const SETS: &str = "inputSet:
  identifier: base
  pipeline:
    identifier: p
    variables:
      - {name: version, type: String, value: '1'}
      - {name: level, type: String, value: low}
    stages:
      - stage:
          identifier: build
          type: Custom
          variables: [{name: target, type: String, value: arm}]
          spec: {execution: {steps: [{step: {identifier: compile, type: Run, spec: {image: alpine}}}]}}
---
inputSet:
  identifier: release
  pipeline: {identifier: p, variables: [{name: version, type: String, value: '2'}]}
---
inputSet: {identifier: foreign, pipeline: {identifier: other}}
---
inputSet: {identifier: wrong, pipeline: {identifier: p, variables: [{name: level, type: String, value: middle}, {name: gone, type: String, value: x}]}}
---
overlayInputSet: {identifier: both, pipelineIdentifier: p, inputSetReferences: [base, release]}
---
overlayInputSet: {identifier: broken, pipelineIdentifier: p, inputSetReferences: [gone]}
---
overlayInputSet: {identifier: alien, pipelineIdentifier: other, inputSetReferences: [base]}
";

#[test]
fn input_sets_are_named_and_overlays_put_several_in_a_row() {
    let (mut pipeline, told) = apply_sets(&[], &[], &["base"], SETS).expect("applied");
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(value(&mut pipeline, "variables.version.value"), "1");
    let (mut pipeline, told) = apply_sets(&["level=high"], &[], &["both"], SETS).expect("applied");
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(value(&mut pipeline, "variables.version.value"), "2");
    assert_eq!(value(&mut pipeline, "variables.level.value"), "high");
    assert_eq!(
        value(&mut pipeline, "stages.build.steps.compile.spec.image"),
        "alpine"
    );
}

#[test]
fn an_input_set_that_does_not_fit_is_told() {
    for (name, says) in [
        (
            "foreign",
            "19: the input set `foreign` is of the pipeline `other`, not of `p`",
        ),
        (
            "wrong",
            "21: `middle` is not a value that the pipeline, by input set `wrong`, allows here",
        ),
        (
            "wrong",
            "21: the pipeline, by input set `wrong`, has no `gone` here",
        ),
        (
            "broken",
            "25: the overlay `broken` names the input set `gone`, which is not there",
        ),
        (
            "alien",
            "27: the input set `alien` is of the pipeline `other`, not of `p`",
        ),
    ] {
        let (_, told) = apply_sets(&[], &[], &[name], SETS).expect("applied");
        assert!(told.iter().any(|own| own == says), "{name}: {told:#?}");
    }
    let problem = apply_sets(&[], &[], &["relase"], SETS)
        .unwrap_err()
        .to_string();
    assert!(problem.contains("did you mean `release`?"), "{problem}");
}

#[test]
fn several_of_the_allowed_ones_are_a_list_where_no_variable_asks() {
    let input = Input::parse("<+input>.selectManyFrom(a,b,c)").expect("an input");
    assert_eq!(input.refuses("a, c"), None);
    assert!(input.refuses("a,d").is_some());
    let (_, mut node) = document(
        "pipeline: {identifier: p, delegateSelectors: '<+input>.selectManyFrom(a,b,c).default(a,c)'}\n",
    );
    let given = Given::default();
    let told = given
        .apply(&mut node, &[], &[], &Sources::new())
        .expect("applied");
    assert!(told.is_empty());
    let list = get(get(&node, "pipeline").expect("it"), "delegateSelectors").expect("it");
    assert_eq!(list.as_sequence().map(<[Node]>::len), Some(2));
}

#[test]
fn what_is_wrong_is_named() {
    for (set, says) in [
        ("version", "`--set version` is not `NAME=VALUE`"),
        ("=1", "is not `NAME=VALUE`"),
        ("versoin=1", "did you mean `version`?"),
        ("nothing.like.it=1", "it has a.b, level, "),
    ] {
        let problem = apply(&[set], &[]).unwrap_err().to_string();
        assert!(problem.contains(says), "{problem}");
    }
    let problem = apply(&[], &["- a\n"]).unwrap_err().to_string();
    assert!(problem.contains("i0.yaml holds no inputs"), "{problem}");
}

#[test]
fn outputs_of_steps_are_kept_apart() {
    let given = Given::read(
        &["stages.a.spec.execution.steps.b.output.outputVariables.TAG=1".to_owned()],
        &[],
        &[],
    )
    .expect("given");
    assert!(given.set.is_empty());
    assert_eq!(given.outputs[&("b".to_owned(), "TAG".to_owned())], "1");
}
