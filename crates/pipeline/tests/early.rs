//! What is said of expressions before anything runs.

use std::fmt::Write as _;

use pipeline::model::{Options, read};
use syntax::Sources;
use syntax::diagnostic::{Style, render};

const HEAD: &str = "pipeline:
  identifier: p
  name: p
  variables:
    - {name: tag, type: String, value: v1}
    - {name: asked, type: String, value: <+input>}
    - {name: token, type: Secret, value: org.token}
  stages:
    - stage:
        identifier: s
        name: s
        type: Custom
        variables: [{name: own, type: String, value: x}]
        spec:
          execution:
            steps:
              - stepGroup:
                  identifier: g
                  name: g
                  variables: [{name: level, type: Number, value: 2}]
                  stepGroupInfra: {type: KubernetesDirect, spec: {connectorRef: k8s, namespace: ns}}
                  steps:
                    - step: {identifier: first, name: first, type: Run, spec: {image: a, command: make, outputVariables: [{name: VERSION}]}}
                    - step:
";

const TAIL: &str = "                    - parallel:
                        - step: {identifier: left, name: left, type: Run, spec: {image: a, command: echo}}
                        - step: {identifier: right, name: right, type: Run, spec: {image: a, command: 'echo @RIGHT@'}}
                    - step: {identifier: last, name: last, type: Run, spec: {image: a, command: echo}}
";

/// What is said of a step's keys, and of the text of the one beside another.
fn said(step: &str, right: &str) -> String {
    said_with(step, right, "")
}

/// The same, with lines behind those of the group.
fn said_with(step: &str, right: &str, more: &str) -> String {
    let mut sources = Sources::new();
    let step = step.lines().fold(String::new(), |text, line| {
        text + &" ".repeat(24) + line + "\n"
    });
    let id = sources.add(
        "p.yaml",
        format!("{HEAD}{step}{}{more}", TAIL.replace("@RIGHT@", right)),
    );
    let loaded = read(&sources, [id], Options::default());
    let mut out = String::new();
    for own in &loaded.diagnostics {
        if !own.code.as_str().starts_with("SY04") {
            writeln!(out, "{}", render(own, &sources, Style::PLAIN)).expect("a string takes all");
        }
    }
    out
}

fn step(keys: &str) -> String {
    format!("identifier: mid\nname: mid\ntype: Run\n{keys}")
}

fn command(text: &str) -> String {
    step(&format!("spec: {{image: a, command: '{text}'}}"))
}

#[test]
fn what_the_run_will_answer_is_not_judged() {
    for text in [
        "<+pipeline.variables.tag> <+pipeline.variables.asked> <+stage.variables.own> <+stepGroup.variables.level + 1>",
        "<+steps.first.output.outputVariables.VERSION> <+steps.first.output.outputVariables.FROM_A_FILE>",
        "<+execution.steps.g.steps.first.status> <+pipeline.stages.s.spec.execution.steps.g.steps.first.name>",
        "<+stepGroup.steps.first.output.outputVariables.VERSION.split(\".\")[0]>",
        "<+trigger.branch> <+strategy.identifierPostFix> <+step.identifierPostFix> <+rollbackArtifact.image>",
        "<+secrets.getValue(\"a\")> <+pipeline.variables.token> x<+secrets.getValue(\"a\")>",
        "<+pipeline.variables.gone ?? \"x\"> <+empty(pipeline.variables.gone)> <+pipeline.variables.gone?.x>",
        "<+pipeline.variables[<+stage.name>]> <+json.select(\"a\", steps.first.output.outputVariables.VERSION)>",
        "<+steps.mid.name> <+step.name> <+stage.type> <+pipeline.triggeredBy.name> <+datetime.currentDate()>",
        "<+steps.last.name> <+steps.right.identifier>",
    ] {
        assert_eq!(said(&command(text), ""), "", "{text}");
    }
    // When a retry is decided, what failed is over.
    let retry = "failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: Retry, spec: {retryCount: 2, retryIntervals: [1s], \
                 condition: <+execution.steps.g.steps.mid.retryCount> < 2 && <+steps.mid.output.outputVariables.V> == 1, onRetryFailure: {action: {type: Ignore}}}}}}]";
    let text = step(&format!(
        "{retry}\nspec: {{image: a, command: x, outputVariables: [{{name: V}}]}}"
    ));
    assert_eq!(said(&text, ""), "");
}

/// What is said of a text in a stage that deploys, with the documents beside it.
fn said_of_deployed(service: &str, environment: &str, text: &str, documents: &str) -> String {
    let mut sources = Sources::new();
    let id = sources.add(
        "p.yaml",
        format!(
            "pipeline:
  identifier: p
  name: p
  stages:
    - stage:
        identifier: s
        name: s
        type: Deployment
        failureStrategies: [{{onFailure: {{errors: [AllErrors], action: {{type: StageRollback}}}}}}]
        spec:
          deploymentType: Kubernetes
          service: {service}
          environment: {environment}
          execution:
            steps:
              - stepGroup:
                  identifier: g
                  name: g
                  stepGroupInfra: {{type: KubernetesDirect, spec: {{connectorRef: k8s, namespace: ns}}}}
                  steps:
                    - step: {{identifier: a, name: a, type: Run, spec: {{image: '<+artifacts.primary.image>', command: '{text}'}}}}
{documents}"
        ),
    );
    let loaded = read(&sources, [id], Options::default());
    let mut out = String::new();
    for own in &loaded.diagnostics {
        if !own.code.as_str().starts_with("SY04") {
            writeln!(out, "{}", own.message).expect("a string takes all");
        }
    }
    out
}

#[test]
fn what_the_documents_elsewhere_say_is_not_judged() {
    const ALL: &str = "<+service.name> <+serviceVariables.x> <+serviceVariableOverrides.x> <+artifact.image> <+artifacts.primary.tag> \
        <+artifacts.sidecars.x.tag> <+manifests.a.store.branch> <+env.name> <+env.variables.x> <+infra.namespace> <+infra.variables.x> <+INFRA_KEY>";
    const SERVICE: &str = "---
service:
  identifier: svc
  name: svc
  serviceDefinition:
    type: Kubernetes
    spec:
      artifacts:
        primary:
          primaryArtifactRef: CHOSEN
          sources:
            - {identifier: one, type: DockerRegistry, spec: {connectorRef: c, imagePath: a, tag: '1'}}
            - {identifier: two, type: DockerRegistry, spec: {connectorRef: c, imagePath: b, tag: '1'}}
";
    const HERE: &str = "---
environment: {identifier: dev, name: dev, type: Production}
";
    let (asked, named) = (
        "{serviceRef: <+input>, serviceInputs: <+input>}",
        "{serviceRef: svc, serviceInputs: <+input>}",
    );
    let somewhere = "{environmentRef: <+input>, environmentInputs: <+input>, infrastructureDefinitions: <+input>}";
    let dev = "{environmentRef: dev, infrastructureDefinitions: [{identifier: i}]}";
    let two = SERVICE.replace("CHOSEN", "<+input>");
    let none = "";
    for (service, environment, documents) in [
        (asked, somewhere, none),
        (named, dev, none),
        (asked, dev, HERE),
    ] {
        assert_eq!(
            said_of_deployed(service, environment, ALL, documents),
            "",
            "{service} {environment}"
        );
    }
    // The environment may override what the service does not have.
    let text = "<+serviceVariables.x> <+manifests.a.store.branch>";
    assert_eq!(said_of_deployed(named, somewhere, text, &two), "");
    // Which of its artifacts it is may be asked for; where both are here, all is known.
    assert_eq!(
        said_of_deployed(named, dev, text, &format!("{two}{HERE}")),
        "unknown: `serviceVariables.x`\nunknown: `manifests.a`\n"
    );
    // What the document asks for and the stage does not give is told here, and not where it is used.
    assert_eq!(
        said_of_deployed("{serviceRef: svc}", dev, "echo", &(two + HERE)),
        "service `svc` asks for `serviceDefinition.spec.artifacts.primary.primaryArtifactRef`, which is not given\n"
    );
    // A variable may have a default of its own, or need none.
    let variables = "---
service:
  identifier: svc
  name: svc
  serviceDefinition:
    type: Kubernetes
    spec:
      variables:
        - {name: x, type: String, required: false, value: <+input>}
        - {name: y, type: String, default: d, value: <+input>}
        - {name: z, type: Number, required: true, value: <+input>}
      artifacts: {primary: {primaryArtifactRef: one, sources: [{identifier: one, type: DockerRegistry, spec: {connectorRef: c, imagePath: a, tag: '<+input>.default(1)'}}]}}
";
    assert_eq!(
        said_of_deployed(
            "{serviceRef: svc}",
            dev,
            "<+serviceVariables.x> <+serviceVariables.y>",
            &(variables.to_owned() + HERE)
        ),
        "service `svc` asks for `serviceDefinition.spec.variables.z.value`, which is not given\n"
    );
    let wrong = SERVICE.replace("CHOSEN", "three");
    assert_eq!(
        said_of_deployed(named, dev, "echo", &(wrong + HERE)),
        "unknown: `artifacts.primary`\n"
    );
}

/// What its loop gives, a step may ask for, wherever it stands in it.
#[test]
fn what_loops_around_give_is_not_judged() {
    let looped = |strategy: &str, text: &str| {
        step(&format!(
            "strategy: {strategy}\nwhen: {{stageStatus: All, condition: <+strategy.iteration> != 1}}\nspec: {{image: a, command: '{text}'}}"
        ))
    };
    for (strategy, text) in [
        (
            "{matrix: {os: [a, b], arch: <+input>, nodeName: <+matrix.os>}}",
            "<+matrix.os> <+matrix.os.key> <+step.matrix.os> <+matrix.get(\"os\")> <+strategy.iterations>",
        ),
        ("{matrix: <+pipeline.variables.tag>}", "<+matrix.whatever>"),
        (
            "{repeat: {items: [a, b], partitionSize: 2}}",
            "<+repeat.item> <+repeat.partition> <+step.strategy.totalIterations>",
        ),
        ("{repeat: {times: 2}}", "<+repeat.item> <+step.repeat.item>"),
        ("{parallelism: 2}", "<+strategy.currentStatus>"),
    ] {
        assert_eq!(said(&looped(strategy, text), ""), "", "{text}");
    }
}

/// The pod of another stage's group was there before, whatever it is called.
#[test]
fn an_image_may_come_from_a_group_of_another_stage() {
    let stage = |id: &str, image: &str| {
        format!(
            "    - stage: {{identifier: {id}, name: {id}, type: Custom, spec: {{execution: {{steps: [{{stepGroup: {{identifier: g, name: g, \
             stepGroupInfra: {{type: KubernetesDirect, spec: {{connectorRef: k, namespace: n}}}}, \
             steps: [{{step: {{identifier: x, name: x, type: Run, spec: {{image: '{image}', command: make, outputVariables: [{{name: V}}]}}}}}}]}}}}]}}}}}}\n"
        )
    };
    let read_there =
        "<+pipeline.stages.one.spec.execution.steps.g.steps.x.output.outputVariables.V>";
    let text = format!(
        "pipeline:\n  identifier: p\n  name: p\n  stages:\n{}{}",
        stage("one", "a"),
        stage("two", read_there)
    );
    let mut sources = Sources::new();
    let id = sources.add("p.yaml", text);
    let loaded = read(&sources, [id], Options::default());
    let errors: Vec<_> = loaded
        .diagnostics
        .iter()
        .filter(|own| own.is_error())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn of_steps_with_conditions_several_may_export_under_one_alias() {
    let alias = "outputAlias: {key: k, scope: Stage}, outputVariables: [{name: V}]";
    let last = |when: &str| {
        format!(
            "                    - step: {{identifier: z, name: z, type: Run, {when} spec: {{image: a, command: x, {alias}}}}}\n"
        )
    };
    let first = |when: &str| step(&format!("{when}spec: {{image: a, command: x, {alias}}}"));
    let (own, other) = (
        "when: {stageStatus: Success, condition: <+pipeline.name> == \"a\"}",
        "when: {stageStatus: Failure}",
    );
    for (before, after) in [
        (format!("{own}\n"), format!("{own},")),
        (String::new(), format!("{own},")),
        (String::new(), format!("{other},")),
    ] {
        let text = said_with(&first(&before), "", &last(&after));
        assert_eq!(text, "", "{before} {after}");
    }
    let text = said_with(&first(""), "", &last("when: {stageStatus: All},"));
    assert!(
        text.contains("the alias `k` is there twice in its Stage"),
        "{text}"
    );
}

/// What undoes a group or a stage runs after all of it, and in its own order.
#[test]
fn rollback_steps_read_what_the_forward_run_gave_out() {
    let rollback = |of_group: &str, of_stage: &str| {
        format!(
            "                  rollbackSteps:
                    - step: {{identifier: undo, name: undo, type: Run, spec: {{image: a, command: 'echo {of_group}'}}}}
                    - step: {{identifier: tell, name: tell, type: Run, spec: {{image: a, command: echo}}}}
            rollbackSteps:
              - step: {{identifier: restore, name: restore, type: ShellScript, spec: {{shell: Bash, source: {{type: Inline, spec: {{script: 'echo {of_stage}'}}}}}}}}
"
        )
    };
    let first = "output.outputVariables.VERSION>";
    for (of_group, of_stage) in [
        (
            format!("<+steps.first.{first}"),
            format!("<+execution.steps.g.steps.first.{first}"),
        ),
        (
            format!("<+execution.steps.g.steps.first.{first} <+steps.last.status>"),
            format!("<+pipeline.stages.s.spec.execution.steps.g.steps.first.{first}"),
        ),
    ] {
        let text = said_with(&command("x"), "", &rollback(&of_group, &of_stage));
        assert_eq!(text, "", "{of_group} {of_stage}");
    }
    // By their path, those before read each other, too.
    for path in [
        "execution.rollbackSteps.restore.status",
        "pipeline.stages.s.spec.execution.rollbackSteps.restore.output.outputVariables.V",
    ] {
        let more = format!(
            "              - step: {{identifier: end, name: end, type: ShellScript, spec: {{shell: Bash, source: {{type: Inline, spec: {{script: 'echo <+{path}>'}}}}}}}}\n"
        );
        let text = said_with(&command("x"), "", &(rollback("x", "x") + &more));
        assert_eq!(text, "", "{path}");
        let text = said_with(
            &command("x"),
            "",
            &(rollback("x", "x") + &more.replace("restore", "resto")),
        );
        assert!(text.contains("did you mean `restore`?"), "{text}");
    }
    let text = said_with(
        &command("x"),
        "",
        &rollback("<+stage.variables.won>", "<+stage.variables.own>"),
    );
    assert!(text.contains("unknown: `stage.variables.won`"), "{text}");
}

#[test]
fn what_can_be_known_before_is_told_before() {
    let cases = [
        (
            "an unknown variable",
            command("<+pipeline.variables.tga>"),
            "",
        ),
        ("an unknown member", command("<+stage.nmae>"), ""),
        ("an unknown root", command("<+pipelin.name>"), ""),
        (
            "an unknown root that is like none",
            command("<+zzz.name>"),
            "",
        ),
        (
            "an unknown variable in a condition",
            step(
                "when: {stageStatus: All, condition: <+pipeline.variables.tga> == \"x\"}\nspec: {image: a, command: x}",
            ),
            "",
        ),
        (
            "its own output",
            command("<+steps.mid.output.outputVariables.X>"),
            "",
        ),
        (
            "a step that runs later",
            command("<+steps.last.output.outputVariables.X>"),
            "",
        ),
        (
            "the status of a step that runs later",
            command("<+execution.steps.g.steps.last.status>"),
            "",
        ),
        (
            "a step beside it",
            command("x"),
            "<+steps.left.output.outputVariables.X>",
        ),
        (
            "nearly a declared output",
            command("<+steps.first.output.outputVariables.VERSOIN>"),
            "",
        ),
        (
            "a method that no value has",
            command("<+stage.name.toUpercase()>"),
            "",
        ),
        (
            "a method that its functor has not",
            command("<+json.selct(\"a\", stage.name)>"),
            "",
        ),
        ("nearly a functor", command("<+jsn.select(\"a\", \"{}\")>"), ""),
        ("no function", command("<+emtpy(stage.name)>"), ""),
        (
            "an export that nothing makes, and one that is none",
            command("<+exportedVariables.getValue(\"stage.made.TAG\")> <+exportedVariables.getValue(\"made\")>"),
            "",
        ),
        (
            "a member of a text",
            command("<+pipeline.name.length> <+stage.variables.own.x>"),
            "",
        ),
        (
            "loops where there is none",
            command("<+matrix.os> <+repeat.item> <+step.strategy.iteration>"),
            "",
        ),
        (
            "a loop in a condition where there is none",
            step("when: {stageStatus: All, condition: <+matrix.os> == \"x\"}\nspec: {image: a, command: x}"),
            "",
        ),
        (
            "an axis that no matrix has, and items where there are none",
            step("strategy: {matrix: {os: [a, b]}}\nspec: {image: a, command: '<+matrix.oss> <+matrix.arch> <+repeat.item>'}"),
            "",
        ),
        (
            "what is deployed where nothing is",
            command("<+service.name> <+artifacts.primary.image> <+env.variables.x> <+infra.namespace>"),
            "",
        ),
        (
            "an image that a step of the same pod would name",
            step("spec: {image: '<+steps.first.output.outputVariables.VERSION>', command: x}"),
            "",
        ),
        (
            "a loop, a timeout and a strategy of what a step of the same group gives out",
            step("timeout: <+steps.first.output.outputVariables.VERSION>
strategy: {repeat: {times: <+steps.first.output.outputVariables.VERSION>}}
failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: Retry, spec: {retryCount: <+steps.first.output.outputVariables.VERSION>, retryIntervals: [1s], onRetryFailure: {action: {type: Ignore}}}}}}]
spec: {image: a, command: x}"),
            "",
        ),
        (
            "expressions beside a value that is none",
            step("timeout: soon\nspec: {image: a, command: '<+pipelin.name> <+json.selct(1)> <+stage.nmae> <+1 / 0> <+steps.gone.status>', privileged: perhaps}"),
            "",
        ),
        (
            "a secret in an image",
            step("spec: {image: 'r/<+pipeline.variables.token>', command: x}"),
            "",
        ),
        (
            "a secret in a condition",
            step(
                "when: {stageStatus: All, condition: <+secrets.getValue(\"a\")> == \"x\"}\nspec: {image: a, command: x}",
            ),
            "",
        ),
        (
            "a secret that is looked into",
            command("<+secrets.getValue(\"a\").length()>"),
            "",
        ),
        (
            "a secret that decides",
            command("<+secrets.getValue(\"a\") ? 1 : 2>"),
            "",
        ),
    ];
    let mut out = String::new();
    for (name, step, right) in cases {
        let said = said(&step, right);
        assert!(!said.is_empty(), "nothing is said of {name}");
        writeln!(out, "===== {name}\n{said}").expect("a string takes all");
    }
    insta::assert_snapshot!(out);
}
