//! A pipeline, and what its steps execute.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use syntax::expr::Value;
use syntax::{Diagnostic, Sources, code};

use crate::model::{self, Loaded};
use crate::plan::{self, NodeId};
use crate::pod;

use super::{Fact, Known, Piece, SecretRef, World, prepare};

pub(crate) const PIPELINE: &str = r#"
pipeline:
  identifier: demo
  name: Demo of steps
  orgIdentifier: org1
  projectIdentifier: p1
  timeout: 1h
  variables:
    - {name: tag, type: String, value: v1}
    - {name: image, type: String, value: "alpine:<+pipeline.variables.tag>"}
    - {name: token, type: Secret, value: org.token}
  stages:
    - stage:
        identifier: deploy
        name: Deploy
        type: Custom
        spec:
          execution:
            steps:
              - stepGroup:
                  identifier: build_group
                  name: Build
                  variables: [{name: mode, type: String, value: fast}]
                  sharedPaths: [/var/run, /shared]
                  stepGroupInfra:
                    type: KubernetesDirect
                    spec:
                      connectorRef: account.k8s
                      namespace: " builds "
                      labels: {team: a, stepID: mine}
                      runAsUser: "1000"
                      containerSecurityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
                      nodeSelector: {disktype: ssd}
                      tolerations: [{key: dedicated, operator: Exists, effect: NoExecute, tolerationSeconds: 60}]
                      priorityClassName: high
                      serviceAccountName: deployer
                      automountServiceAccountToken: false
                      volumes:
                        - {type: EmptyDir, mountPath: /cache, spec: {medium: Memory, size: 1Gi}}
                        - {type: PersistentVolumeClaim, mountPath: /pvc, spec: {claimName: c1, readOnly: true}}
                      hostNames: [db]
                      initTimeout: 5m
                  steps:
                    - step:
                        identifier: dind
                        name: dind
                        type: Background
                        spec:
                          image: docker:dind
                          privileged: true
                          runAsUser: 0
                          entrypoint: [dockerd-entrypoint.sh, "--mtu=1450"]
                          resources: {limits: {cpu: "1", memory: 512Mi}}
                    - step:
                        identifier: src
                        name: src
                        type: GitClone
                        spec:
                          connectorRef: git
                          repoName: team/app.git
                          build: {type: branch, spec: {branch: <+pipeline.variables.tag>}}
                          depth: 1
                    - parallel:
                        - step:
                            identifier: compile
                            name: compile
                            type: Run
                            timeout: 10m
                            spec:
                              connectorRef: reg
                              image: <+pipeline.variables.image>
                              shell: Bash
                              command: |
                                echo "<+pipeline.name> <+stepGroup.variables.mode> <+stage.name> <+step.identifier>"
                                curl -H 'Authorization: <+secrets.getValue("account.api")>' <+pipeline.variables.token>
                              envVariables: {TOKEN: "Bearer <+pipeline.variables.token>", MODE: <+stepGroup.variables.mode>}
                              outputVariables:
                                - {name: VERSION}
                                - {name: KEY, type: Secret, value: SECRET_KEY}
                              reports: {type: JUnit, spec: {paths: ["**/*.xml", out]}}
                              resources: {limits: {cpu: 500m, memory: 256Mi}}
                        - step:
                            identifier: Com_pile
                            name: lint
                            type: Run
                            spec:
                              connectorRef: reg
                              image: reg.local:5000/tools/lint
                              command: lint
                              resources: {limits: {cpu: 250m}, requests: {cpu: 100m, memory: 64Mi}}
                    - step:
                        identifier: publish
                        name: publish
                        type: Plugin
                        spec:
                          image: plugins/docker
                          settings:
                            repo: app
                            tags: [<+steps.compile.output.outputVariables.VERSION>, latest]
                            dry_run: true
                            password: <+execution.steps.build_group.steps.compile.output.outputVariables.KEY>
                          envVariables: {PLUGIN_REPO: other}
---
connector:
  identifier: reg
  name: reg
  type: DockerRegistry
  spec: {dockerRegistryUrl: "https://reg.local:5000/tools", providerType: Other, auth: {type: Anonymous}}
---
connector:
  identifier: git
  name: git
  type: Github
  spec:
    url: https://git.local
    type: Account
    authentication: {type: Http, spec: {type: UsernameToken, spec: {username: me, tokenRef: org.git}}}
"#;

/// The parts of a world, for tests.
pub(crate) struct Made {
    pub(crate) loaded: Loaded,
    pub(crate) known: Known,
    pub(crate) nodes: BTreeMap<NodeId, Fact>,
}

impl Made {
    pub(crate) fn world(&self) -> World<'_> {
        World {
            pipeline: self.loaded.pipeline.as_ref().expect("a pipeline"),
            entities: &self.loaded.entities,
            known: &self.known,
            nodes: &self.nodes,
        }
    }
}

pub(crate) fn made(text: &str) -> Made {
    let mut sources = Sources::default();
    let id = sources.add("pipeline.yaml", text);
    let loaded = model::read(&sources, [id], model::Options::default());
    // What is told already when a text is read is told by a run too: that is looked at here.
    let told = [
        code::BAD_LOOP,
        code::EXPRESSION_FAILED,
        code::UNKNOWN_EXPRESSION,
        code::UNKNOWN_STEP,
    ];
    let errors: Vec<_> = loaded
        .diagnostics
        .iter()
        .filter(|own| own.is_error() && !told.contains(&own.code))
        .collect();
    assert!(
        errors.is_empty(),
        "{:?}",
        errors.iter().map(|own| &own.message).collect::<Vec<_>>()
    );
    let known = Known {
        run: "run-1".to_owned(),
        sequence: Some(7),
        account: Some("acc".to_owned()),
        ..Known::default()
    };
    let compile = "stages.deploy.steps.build_group.steps.parallel3.compile";
    let outputs = [
        ("VERSION".to_owned(), Value::from("1.2")),
        (
            "KEY".to_owned(),
            Value::Secret(SecretRef("output:KEY".into())),
        ),
    ];
    let mut nodes = BTreeMap::new();
    nodes.insert(
        compile.into(),
        Fact {
            ran: true,
            outputs: outputs.into(),
            ..Fact::default()
        },
    );
    Made {
        loaded,
        known,
        nodes,
    }
}

pub(crate) fn messages(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics
        .iter()
        .map(|own| format!("{} {}", own.code, own.message))
        .collect()
}

#[test]
fn steps_are_prepared() {
    let made = made(PIPELINE);
    let world = made.world();
    let mut shown = String::new();
    for place in plan::Place::all(world.pipeline) {
        if !matches!(place.what, plan::What::Step(_)) {
            continue;
        }
        let step =
            prepare(&world, &place.id).unwrap_or_else(|errors| panic!("{:?}", messages(&errors)));
        let _ = writeln!(shown, "== {}", place.id);
        for (name, text) in &step.env {
            let text: String = text
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => text.to_string(),
                    Piece::Secret(secret) => format!("<secret {secret}>"),
                })
                .collect();
            if !name.starts_with("HARNESS_")
                || name.contains("SECRET")
                || place.identifier() == "dind"
            {
                let _ = writeln!(shown, "{name}={text:?}");
            }
        }
        let _ = writeln!(shown, "{:?}", step.program);
        let _ = writeln!(
            shown,
            "background={} readiness={:?} timeout_ms={} outputs={:?} reports={:?}",
            step.background, step.readiness, step.timeout_ms, step.outputs, step.reports
        );
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn what_cannot_be_resolved_is_told_by_name() {
    let step = |fields: &str| {
        let text = PIPELINE.replace("command: lint", fields);
        let made = made(&text);
        let id = NodeId::from("stages.deploy.steps.build_group.steps.parallel3.Com_pile");
        messages(&prepare(&made.world(), &id).expect_err("a problem"))
    };
    let table = [
        (
            "command: <+steps.compile.output.outputVariables.VERSIN>",
            "SY0502 `command`: unknown: `steps.compile.output.outputVariables.VERSIN`; did you mean `VERSION`?",
        ),
        (
            "command: <+pipeline.name.toUpercase()>",
            "SY0502 `command`: a text has no `toUpercase()`; did you mean `toUpperCase`? (in `pipeline.name.toUpercase()`)",
        ),
        (
            "command: <+pipeline.name == pipeline.variables.token>",
            "SY0504 `command`: `==` cannot look into a secret: its value is only known to the step's own process (in `pipeline.name == pipeline.variables.token`)",
        ),
        (
            "command: <+1 / 0>",
            "SY0503 `command`: division by zero (in `1 / 0`)",
        ),
        (
            "command: <+input>",
            "SY0601 `command` asks for an input that was not given",
        ),
    ];
    for (fields, wanted) in table {
        assert_eq!(step(fields), [wanted], "{fields}");
    }
}

#[test]
fn an_image_holds_no_secret() {
    let text = PIPELINE.replace(
        "image: plugins/docker",
        // A path that is put together is only known when it runs; any other is told before.
        "image: r/<+pipeline.variables[\"tok\".concat(\"en\")]>",
    );
    let made = made(&text);
    let options = pod::Options {
        git_image: "git".to_owned(),
        git_connector: None,
        tree_image: None,
        agent_image: "agent".to_owned(),
        agent_wanted: None,
        network: pod::Network::Private,
    };
    let group = "stages.deploy.steps.build_group".into();
    let errors = pod::describe(&made.world(), &group, "12345678", &options).expect_err("a problem");
    assert_eq!(messages(&errors), ["SY0504 `image` cannot hold a secret"]);
}
