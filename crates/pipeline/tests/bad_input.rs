//! Every way in which a pipeline is wrong that its text alone shows, as a person sees it.

use std::fmt::Write;

use pipeline::model::{Options, read};
use syntax::Sources;
use syntax::diagnostic::{Style, render};

/// What is said of a text.
fn said(text: &str, portable: bool) -> String {
    let mut sources = Sources::new();
    let id = sources.add("p.yaml", text);
    let loaded = read(&sources, [id], Options { portable });
    let all: Vec<_> = loaded
        .diagnostics
        .iter()
        .map(|it| render(it, &sources, Style::PLAIN))
        .collect();
    all.join("\n\n")
}

/// Cases under their names, and what is said of each; a case of which nothing is said fails.
fn judged(cases: &[(&str, String)]) -> String {
    let mut out = String::new();
    for (name, text) in cases {
        let said = said(text, false);
        assert!(!said.is_empty(), "nothing is said of {name}");
        writeln!(out, "===== {name}\n{said}\n").expect("a string takes all");
    }
    out
}

/// A pipeline with one AWS SAM stage around some lines of YAML, indented so that they fit.
fn steps(lines: &str) -> String {
    let head = "\
pipeline:
  name: p
  identifier: p
  stages:
    - stage:
        name: s
        identifier: s
        type: Deployment
        spec:
          deploymentType: AWS_SAM
          service: {serviceRef: s}
          environment: {environmentRef: e}
          execution:
            steps:
";
    let tail = "        failureStrategies:
          - onFailure: {errors: [AllErrors], action: {type: StageRollback}}
";
    format!("{head}{}{tail}", indented(14, lines))
}

/// The same with a containerized group around steps; `group` has its further keys, `infra` those of its spec.
fn group(group: &str, infra: &str, list: &str) -> String {
    let head = "\
- stepGroup:
    name: g
    identifier: g
";
    let spec = "    stepGroupInfra:
      type: KubernetesDirect
      spec:
        connectorRef: k8s
        namespace: ns
";
    steps(&format!(
        "{head}{}{spec}{}    steps:\n{}",
        indented(4, group),
        indented(8, infra),
        indented(6, list)
    ))
}

/// A Run step with these keys in its spec.
fn run(spec: &str) -> String {
    let head = "- step: {type: Run, name: r, identifier: r, spec: {connectorRef: d, image: alpine, command: echo hi";
    if spec.is_empty() {
        format!("{head}}}}}\n")
    } else {
        format!("{head}, {spec}}}}}\n")
    }
}

fn indented(by: usize, lines: &str) -> String {
    lines.lines().fold(String::new(), |text, line| {
        text + &" ".repeat(by) + line + "\n"
    })
}

fn case(name: &'static str, text: impl Into<String>) -> (&'static str, String) {
    (name, text.into())
}

#[test]
fn the_helpers_make_pipelines_without_a_fault() {
    assert_eq!(said(&group("", "", &run("")), true), "");
}

#[test]
fn structure() {
    let cases = [
        case("another root", "pipelin:\n  name: p\n"),
        case("no root", "stages:\n  - stage: {}\n"),
        case("not a mapping", "- a\n- b\n"),
        case(
            "two pipelines",
            format!(
                "{}---\n{}",
                group("", "", &run("")),
                group("", "", &run(""))
            ),
        ),
        case("nothing in it", "pipeline: {}\n"),
        case("no stages", "pipeline: {name: p, identifier: p}\n"),
        case(
            "missing identifier",
            group(
                "",
                "",
                "- step: {type: Run, name: r, spec: {connectorRef: d, image: a, command: x}}\n",
            ),
        ),
        case(
            "blank identifier",
            "pipeline: {name: p, identifier: '', stages: []}\n",
        ),
        case(
            "bad identifier",
            group(
                "",
                "",
                &run("").replace("identifier: r", "identifier: build-it"),
            ),
        ),
        case(
            "bad name",
            group("", "", &run("").replace("name: r", "name: \"a/b\"")),
        ),
        case(
            "doubled step",
            group(
                "",
                "",
                &format!("{}- parallel:\n{}", run(""), indented(4, &run(""))),
            ),
        ),
        case(
            "doubled stage",
            "\
pipeline:
  name: p
  identifier: p
  stages:
    - stage: {name: a, identifier: a, type: Approval, spec: {}}
    - parallel:
        - stage: {name: a, identifier: a, type: Approval, spec: {}}
",
        ),
        case(
            "stage type",
            "pipeline: {name: p, identifier: p, stages: [{stage: {name: s, identifier: s, type: Deploy, spec: {}}}]}\n",
        ),
        case(
            "several of one",
            steps(
                "- step: {type: Wait, name: w, identifier: w, spec: {duration: 1m}}\n  parallel: []\n",
            ),
        ),
        case(
            "none of one",
            steps("- steps:\n    type: Run\n- type: Run\n"),
        ),
        case(
            "unknown key",
            group(
                "sharedPath: [/a]\n",
                "",
                &run("envVariable: {A: b}, imagePullPolcy: Always"),
            ),
        ),
        case(
            "a level too high or too low",
            group(
                "volumes: []\n",
                "sharedPaths: [/a]\n",
                &run("timeout: 1m").replace("type: Run", "type: Run, image: alpine"),
            ),
        ),
        case(
            "wrong type",
            group("", "", &run("privileged: maybe, envVariables: [a]")),
        ),
        case(
            "unknown word",
            group("", "", &run("shell: Zsh, imagePullPolicy: always")),
        ),
        case(
            "durations",
            group(
                "",
                "initTimeout: 10\n",
                &run("").replace("type: Run", "type: Run, timeout: 1y"),
            ),
        ),
        case(
            "quantities",
            group(
                "",
                "",
                &run(
                    "resources: {limits: {cpu: much, memory: 64MB}, requests: {cpu: 2, memory: 1Gi}}",
                ),
            ),
        ),
        case(
            "request over limit",
            group(
                "",
                "",
                &run("resources: {limits: {cpu: 500m}, requests: {cpu: 1}}"),
            ),
        ),
        case(
            "runtime inputs",
            group(
                "",
                "",
                &run(
                    "privileged: <+input>.deflaut(true), runAsUser: '<+input>.default(c).allowedValues(a,b)'",
                ),
            ),
        ),
        case(
            "strategies",
            steps(
                "\
- step: {type: Wait, name: a, identifier: a, spec: {duration: 1m}, strategy: {repeat: {}, parallelism: 2}}
- step: {type: Wait, name: b, identifier: b, spec: {duration: 1m}, strategy: {repeat: {times: 2, items: [a]}}}
- step: {type: Wait, name: c, identifier: c, spec: {duration: 1m}, strategy: {matrix: {maxConcurrency: 2}}}
- step: {type: Wait, name: d, identifier: d, spec: {duration: 1m}, strategy: {maxConcurrency: 2}}
",
            ),
        ),
        case(
            "loops that do nothing",
            steps(
                "\
- step: {type: Wait, name: a, identifier: a, spec: {duration: 1m}, strategy: {parallelism: 2, maxConcurrency: 0}}
- step: {type: Wait, name: b, identifier: b, spec: {duration: 1m}, strategy: {repeat: {items: [a, b], start: 2, end: 2, partitionSize: 0}}}
- step: {type: Wait, name: c, identifier: c, spec: {duration: 1m}, strategy: {matrix: {os: [linux, mac], n: [1, 2], exclude: [{os: linus, n: 1}, {os: mac, n: 3}]}}}
- parallel: []
",
            ),
        ),
        case(
            "failure strategies",
            steps(
                "\
- step:
    {type: Wait, name: a, identifier: a, spec: {duration: 1m}, failureStrategies: [
      {onFailure: {errors: [Timeouts], action: {type: StageRolback}}},
      {onFailure: {errors: [Timeout], action: {type: Retry, spec: {retryIntervals: []}}}},
      {onFailure: {errors: [Timeout], action: {type: ManualIntervention}}},
      {errors: [Timeout]}]}
",
            ),
        ),
        case(
            "failure strategies that contradict themselves",
            steps(
                "\
- step:
    {type: Wait, name: a, identifier: a, spec: {duration: 1m}, failureStrategies: [
      {onFailure: {errors: [], action: {type: Ignore}}},
      {onFailure: {errors: [Timeout], action: {type: RetryStepGroup, spec: {retryCount: 1, retryIntervals: [1s]}}}},
      {onFailure: {errors: [Connectivity, InputTimeoutError], action: {type: ProceedWithDefaultValues}}},
      {onFailure: {errors: [Unknown], action: {type: Retry, spec: {retryCount: 1, retryIntervals: [1s], onRetryFailure: {action: {type: Retry, spec: {retryCount: 1, retryIntervals: [1s]}}}}}}},
      {onFailure: {errors: [Authorization], action: {type: ManualIntervention, spec: {timeout: 1h, onTimeout: {action: {type: ManualIntervention, spec: {timeout: 1h, onTimeout: {action: {type: Abort}}}}}}}}}]}
- stepGroup:
    identifier: g
    name: g
    steps:
      - step: {type: Wait, name: b, identifier: b, spec: {duration: 1m}, failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: StepGroupRollback}}}]}
    rollbackSteps:
      - step: {type: Wait, name: r, identifier: r, spec: {duration: 1m}, failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: PipelineRollback}}}, {onFailure: {errors: [InputTimeoutError], action: {type: StepGroupRollback}}}]}
",
            ),
        ),
        case(
            "failure strategies that are never used",
            steps(
                "\
- step:
    {type: Wait, name: a, identifier: a, spec: {duration: 1m}, failureStrategies: [
      {onFailure: {errors: [Timeout, Timeout], action: {type: Ignore}}},
      {onFailure: {errors: [RetryableTransientFailure, Timeout], action: {type: Abort}}},
      {onFailure: {errors: [Connectivity], action: {type: Ignore}}},
      {onFailure: {errors: [AllErrors], action: {type: Abort}}},
      {onFailure: {errors: [InputTimeoutError, Unknown], action: {type: Ignore}}}]}
",
            ),
        ),
        case(
            "conditions",
            steps(
                "- step: {type: Wait, name: a, identifier: a, spec: {duration: 1m}, when: {stageStatus: Succes}}\n- step: {type: Wait, name: b, identifier: b, spec: {duration: 1m}, when: {condition: x}}\n",
            ),
        ),
        case(
            "a step's condition in a stage's words",
            steps(
                "- step: {type: Wait, name: c, identifier: c, spec: {duration: 1m}, when: {pipelineStatus: All}}\n",
            ),
        ),
        case(
            "whole settings",
            steps(
                "- step: {type: Wait, name: a, identifier: a, spec: {duration: 1m}, when: <+input>.default(x), strategy: <+pipeline.variables.x>}\n",
            ),
        ),
        case(
            "variables",
            group(
                "variables: [{name: 1a, type: String, value: x}, {name: b, type: Number, value: x}, {name: b, type: Text, value: x}]\n",
                "",
                &run(""),
            ),
        ),
    ];
    insta::assert_snapshot!(judged(&cases));
}

#[test]
fn groups_and_steps() {
    let cases = [
        case(
            "unknown step type",
            steps(
                "- step: {type: ShelScript, name: a, identifier: a, spec: {}}\n- step: {type: Frobnicate, name: b, identifier: b, spec: {}}\n- step: {type: K8sHibernate, name: c, identifier: c, spec: {}}\n",
            ),
        ),
        case(
            "forbidden in a pod",
            group(
                "",
                "",
                "- step: {type: BuildAndPushECR, name: a, identifier: a, spec: {}}\n- step: {type: JiraApproval, name: b, identifier: b, spec: {}}\n",
            ),
        ),
        case(
            "runs beside the pod",
            group(
                "",
                "",
                "- step: {type: ShellScript, name: a, identifier: a, spec: {shell: Bash, onDelegate: true, source: {type: Inline, spec: {script: x}}}}\n",
            ),
        ),
        case("needs a pod", steps(&run(""))),
        case(
            "nested group",
            group(
                "",
                "",
                &format!(
                    "- stepGroup:\n    name: inner\n    identifier: inner\n    steps:\n{}",
                    indented(6, &run(""))
                ),
            ),
        ),
        case(
            "nested group with infrastructure",
            group(
                "",
                "",
                &format!(
                    "- stepGroup:\n    name: inner\n    identifier: inner\n    stepGroupInfra: {{type: KubernetesDirect, spec: {{connectorRef: k, namespace: n}}}}\n    steps:\n{}",
                    indented(6, &run(""))
                ),
            ),
        ),
        case(
            "no steps",
            group("", "", "").replace("steps:\n        failure", "steps: []\n        failure"),
        ),
        case(
            "no image and no command",
            group(
                "",
                "",
                "- step: {type: Run, name: r, identifier: r, spec: {connectorRef: d}}\n- step: {type: Plugin, name: p, identifier: p}\n",
            ),
        ),
        case(
            "settings that no container takes",
            group(
                "",
                "containerSecurityContext: {capabilities: {add: [NET_ADMN, CAP_CHOWN], drop: [all, ALL]}}\nvolumes:\n  - {type: HostPath, mountPath: /a, spec: {path: cache}}\n  - {type: PersistentVolumeClaim, mountPath: /b, spec: {claimName: Team_Cache}}\n  - {type: ConfigMap, mountPath: /c, spec: {name: ../x}}\n",
                &run("").replace("image: ", "image: my "),
            ),
        ),
        case(
            "names and labels that no cluster takes",
            group(
                "",
                "serviceAccountName: Builder\npriorityClassName: very high\nlabels: {team: my team, 'a b': x, ok: '', when: <+pipeline.name>}\nannotations: {example.com/note: any text at all, /x: y}\nnodeSelector: {disk: -ssd}\nhostNames: [db_1, db.local]\ntolerations:\n  - {key: 'a b', operator: Exists}\n  - {key: a, value: b c, effect: NoSchedule, tolerationSeconds: 5}\n",
                &run(""),
            )
            .replace("namespace: ns", "namespace: Team_A"),
        ),
        case(
            "reserved shared paths",
            group(
                "sharedPaths: [/harness, /addon/, /addon/bin, relative, /]\n",
                "",
                &run(""),
            ),
        ),
        case(
            "shared paths that lead elsewhere, or hide /proc",
            group(
                "sharedPaths: [/a/../harness, /proc, /proc/x]\n",
                "",
                &run(""),
            ),
        ),
        case(
            "mount path twice",
            group(
                "sharedPaths: [/cache, //cache/]\n",
                "volumes:\n  - {type: EmptyDir, mountPath: /cache}\n",
                &run(""),
            ),
        ),
        case(
            "unknown volume type",
            group(
                "",
                "volumes:\n  - {type: EmptyDirs, mountPath: /a, spec: {}}\n  - {type: Nfs, mountPath: /b, spec: {}}\n",
                &run(""),
            ),
        ),
        case(
            "volumes without what they need",
            group(
                "",
                "volumes:\n  - {type: HostPath, mountPath: /a, spec: {}}\n  - {type: PersistentVolumeClaim, mountPath: /b}\n  - {type: EmptyDir, spec: {medium: Disk, size: big}}\n  - {mountPath: /c}\n",
                &run(""),
            ),
        ),
        case(
            "tolerations",
            group(
                "",
                "tolerations:\n  - {key: a, operator: Equals, effect: NoScedule}\n  - {effect: NoExecute}\n  - {operator: Exists, key: a, value: b}\n",
                &run(""),
            ),
        ),
        case(
            "service account meant",
            group("", "automountServiceAccountToken: deployer\n", &run("")),
        ),
        case(
            "automount of no kind",
            group("", "automountServiceAccountToken: [a]\n", &run("")),
        ),
        case(
            "user 0 refused",
            group(
                "",
                "runAsUser: 0\ncontainerSecurityContext: {runAsNonRoot: true, runAsUser: 0}\n",
                &run("runAsUser: root"),
            ),
        ),
        case("user", group("", "", &run("runAsUser: -1"))),
        case(
            "infrastructure",
            steps(
                "- stepGroup: {name: g, identifier: g, stepGroupInfra: {type: Kubernetes, spec: {}}, steps: [{step: {type: Wait, name: w, identifier: w, spec: {duration: 1m}}}]}\n",
            ),
        ),
        case(
            "infrastructure without a spec",
            steps(
                "- stepGroup: {name: g, identifier: g, stepGroupInfra: {type: KubernetesDirect}, steps: [{step: {type: Wait, name: w, identifier: w, spec: {duration: 1m}}}]}\n",
            ),
        ),
        case(
            "ports",
            group(
                "",
                "",
                "- step: {type: Background, name: b, identifier: b, spec: {connectorRef: d, image: redis, portBindings: {\"80\": \"80\"}}}\n",
            ),
        ),
        case(
            "readiness",
            group(
                "",
                "",
                "- step: {type: Background, name: b, identifier: b, spec: {connectorRef: d, image: redis, readiness: {tcp: {port: 70000}, exec: {}, period: 1s}}}\n",
            ),
        ),
        case(
            "clone",
            group(
                "",
                "",
                "- step: {type: GitClone, name: c, identifier: c, spec: {connectorRef: g, cloneDirectory: /harness, build: {type: commit, spec: {}}}}\n- step: {type: GitClone, name: e, identifier: e, spec: {connectorRef: g, build: {type: commitSha, spec: {commitSha: main}}}}\n",
            ),
        ),
        case("time-out of a group", group("timeout: 10m\n", "", &run(""))),
        case(
            "shared paths without containers",
            steps(
                "- stepGroup: {name: g, identifier: g, sharedPaths: [/a], steps: [{step: {type: Wait, name: w, identifier: w, spec: {duration: 1m}}}]}\n",
            ),
        ),
        case(
            "Container",
            steps(
                "- step: {type: Container, name: c, identifier: c, spec: {connectorRef: d, image: a, command: x, infrastructure: {}}}\n",
            ),
        ),
        case(
            "template and steps",
            group("template: {versionLabel: v1}\n", "", &run("")),
        ),
    ];
    insta::assert_snapshot!(judged(&cases));
}

#[test]
fn references_and_entities() {
    let cases = [
        case(
            "reference",
            group(
                "",
                "",
                &run("").replace("connectorRef: d", "connectorRef: my docker"),
            ),
        ),
        case(
            "secret variables",
            group(
                "variables: [{name: a, type: Secret, value: <+secrets.getValue(\"x\")>}]\n",
                "",
                &run(""),
            ),
        ),
        case("connector", "connector: {name: a, type: DockerRegistry}\n"),
        case(
            "connector type",
            "connector: {name: a, identifier: a, type: Dockerregistry, spec: {}}\n",
        ),
        case(
            "registry",
            "connector: {name: a, identifier: a, type: DockerRegistry, spec: {providerType: Docker, auth: {type: Basic}}}\n",
        ),
        case(
            "registry login",
            "connector: {name: a, identifier: a, type: DockerRegistry, spec: {dockerRegistryUrl: http://x, auth: {type: UsernamePassword, spec: {username: u, usernameRef: r}}}}\n",
        ),
        case(
            "git",
            "connector: {name: a, identifier: a, type: Github, spec: {type: Repo, authentication: {type: Http, spec: {type: UsernameToken, spec: {}}}}}\n",
        ),
        case(
            "unknown step",
            group(
                "",
                "",
                "\
- step:
    type: Run
    name: r
    identifier: build
    spec:
      connectorRef: d
      image: alpine
      command: |
        echo <+execution.steps.g.steps.build.x> <+execution.steps.other.x>
      envVariables:
        A: <+steps.biuld.output.outputVariables.X>
",
            ),
        ),
        case(
            "expressions",
            group(
                "",
                "",
                "\
- step:
    type: Run
    name: r
    identifier: build
    when: {stageStatus: Success, condition: <+pipeline.name> ==}
    spec:
      connectorRef: d
      image: <+pipeline.variables.image
      command: |-
        echo one

        echo <+pipeline.>
    timeout: <+secrets.getValue(\"my token\")>
",
            ),
        ),
        case(
            "entity twice",
            "secret: {identifier: a, type: SecretText, spec: {value: x}}\n---\nsecret: {identifier: a, type: SecretText, spec: {value: y}}\n",
        ),
        case(
            "secret",
            "secret: {identifier: a, type: Text, spec: {value: x, env: Y}}\n",
        ),
    ];
    insta::assert_snapshot!(judged(&cases));
}

#[test]
fn portability() {
    let custom = "\
pipeline:
  identifier: p
  stages:
    - stage:
        identifier: s
        type: Custom
        spec:
          execution:
            steps:
              - stepGroup:
                  identifier: g
                  stepGroupInfra: {type: KubernetesDirect, spec: {}}
                  steps:
                    - step: {type: Background, identifier: b, timeout: 5s, spec: {image: redis, readiness: {tcp: {port: 6379}}}}
                    - step:
                        type: Run
                        identifier: r
                        spec: {image: host:/, command: echo hi}
                        failureStrategies:
                          - onFailure: {errors: [InfrastructureFailure], action: {type: Abort}}
";
    assert!(
        said(custom, false)
            .lines()
            .all(|line| !line.starts_with("error")),
        "warnings only"
    );
    insta::assert_snapshot!(said(custom, true));
}

#[test]
fn everything_at_once_and_in_the_order_of_the_text() {
    let text = group(
        "sharedPaths: [/addon]\n",
        "tolerations: [{operator: Is}]\n",
        &run("shell: Zsh, comand: x"),
    );
    let mut sources = Sources::new();
    let id = sources.add("p.yaml", text);
    let found = read(&sources, [id], Options::default()).diagnostics;
    let lines: Vec<_> = found
        .iter()
        .map(|it| sources.start(it.span().expect("a place")).line)
        .collect();
    assert!(lines.len() >= 4 && lines.is_sorted(), "{lines:?}");
}

#[test]
fn machines_read_the_same() {
    let mut sources = Sources::new();
    let id = sources.add("p.yaml", group("", "", &run("shell: Bsh")));
    let found = read(&sources, [id], Options::default()).diagnostics;
    let reports: Vec<_> = found
        .iter()
        .map(|it| syntax::diagnostic::Report::new(it, &sources))
        .collect();
    insta::assert_json_snapshot!(reports);
}

#[test]
fn an_identifier_twice_is_told_also_of_steps_that_are_wrong_themselves() {
    let text = "pipeline:
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
              - step: {identifier: a, name: a, type: Wait, spec: {duration: 1m}}
              - step: {identifier: a, name: a, type: Wayt, spec: {duration: 1m}}
              - step: {identifier: b, name: b, spec: {duration: 1m}}
              - parallel:
                  - step: {identifier: b, name: b, type: Run}
";
    let mut sources = Sources::default();
    let id = sources.add("p.yaml", text);
    let loaded = read(&sources, [id], Options::default());
    let errors: Vec<String> = loaded
        .diagnostics
        .iter()
        .filter(|own| own.is_error())
        .map(|own| format!("{} {}", own.code, own.message))
        .collect();
    for wanted in [
        "SY0107 the step `a` is there twice",
        "SY0201 unknown step type `Wayt`",
        "SY0107 the step `b` is there twice",
    ] {
        assert!(
            errors.iter().any(|own| own == wanted),
            "{wanted}: {errors:?}"
        );
    }
}

/// Two stages side by side, with these steps.
fn meeting(barriers: &str, a: &str, b: &str) -> String {
    let stage = |name: &str, list: &str| {
        format!(
            "        - stage:\n            name: {name}\n            identifier: {name}\n            type: Custom\n            spec:\n              execution:\n                steps:\n{}",
            indented(18, list)
        )
    };
    format!(
        "pipeline:\n  name: p\n  identifier: p\n  flowControl: {{barriers: [{barriers}]}}\n  stages:\n    - parallel:\n{}{}",
        stage("a", a),
        stage("b", b)
    )
}

fn barrier(id: &str, barrier: &str) -> String {
    format!(
        "- step: {{type: Barrier, name: {id}, identifier: {id}, spec: {{barrierRef: {barrier}}}}}\n"
    )
}

#[test]
fn barriers_at_which_a_run_would_stand_for_ever() {
    let one = "{identifier: meet, name: meet}";
    let two = "{identifier: meet, name: meet}, {identifier: then, name: then}";
    let both = |x: &str, y: &str| barrier("s1", x) + &barrier("s2", y);
    let wait = "- step: {type: Wait, name: w, identifier: w, spec: {duration: 10s}}\n";
    let cases = [
        ("only one comes", meeting(one, &barrier("s1", "meet"), wait)),
        (
            "not declared",
            meeting("", &barrier("s1", "meet"), &barrier("s2", "meet")),
        ),
        (
            "twice in one branch",
            meeting(one, &both("meet", "meet"), wait),
        ),
        (
            "in different orders",
            meeting(two, &both("meet", "then"), &both("then", "meet")),
        ),
    ];
    insta::assert_snapshot!(judged(&cases));
    for (a, b) in [
        (barrier("s1", "meet"), barrier("s1", "meet")),
        (both("meet", "then"), both("meet", "then")),
    ] {
        let said = said(&meeting(two, &a, &b), false);
        assert!(!said.contains("SY0631"), "{said}");
    }
}

#[test]
fn deadlines_of_approvals() {
    let ask = |time: &str, zone: &str| {
        steps(&format!(
            "- step:
    type: HarnessApproval
    name: ask
    identifier: ask
    timeout: 1d
    spec:
      approvers: {{userGroups: [release], minimumCount: 1}}
      autoApproval:
        action: APPROVE
        scheduledDeadline: {{time: {time}, timeZone: {zone}}}
        comments: nobody objected
"
        ))
    };
    let right = ask("2026-11-28 06:30 PM", "Europe/Berlin");
    let later = ask("<+pipeline.variables.when>", "<+pipeline.variables.where>");
    for text in [&right, &later] {
        let said = said(text, false);
        assert!(!said.contains("SY0120"), "{said}");
    }
    let cases = [
        ("hours to 24", ask("2026-11-28 18:30", "Europe/Berlin")),
        ("no such day", ask("2026-02-30 06:30 PM", "Europe/Berlin")),
        ("nearly a zone", ask("2026-11-28 06:30 PM", "Europe/Belrin")),
        ("an offset", ask("2026-11-28 06:30 PM", "'+01:00'")),
        (
            "another action",
            right.replace("action: APPROVE", "action: REJECT"),
        ),
        (
            "without a zone",
            right.replace(", timeZone: Europe/Berlin", ""),
        ),
    ];
    insta::assert_snapshot!(judged(&cases));
}
