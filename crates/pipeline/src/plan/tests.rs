//! Tables of what `when`, `failureStrategies` and `strategy` become (`reference/behaviour.md` §9 to §11).

use std::collections::BTreeMap;
use std::sync::Arc;

use syntax::expr::Value;

use super::{Iteration, Kind, Node, NodeId, Place, WhenStatus, expand, judge};
use crate::pod;
use crate::resolve::tests::{made, messages};
use crate::resolve::{Fact, Nodes, World};

/// A pipeline of one containerized group; `step` is what its step `work` says besides its spec.
fn pipeline(step: &str) -> String {
    text(
        "",
        step,
        "image: 'alpine:3', command: 'echo <+strategy.iteration>'",
    )
}

fn text(group: &str, step: &str, spec: &str) -> String {
    format!(
        r#"
pipeline:
  identifier: p
  name: p
  variables:
    - {{name: list, type: String, value: "a, b,c"}}
    - {{name: n, type: Number, value: 2}}
    - {{name: no, type: String, value: "false"}}
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
                  stepGroupInfra: {{type: KubernetesDirect, spec: {{connectorRef: c, namespace: n}}}}
                  {group}
                  steps:
                    - step: {{identifier: before, name: before, type: Run, spec: {{image: 'alpine:3', command: x}}}}
                    - step: {{identifier: work, name: Work it, type: Run, {step} spec: {{{spec}}}}}
"#
    )
}

const GROUP: &str = "stages.s.steps.g";
const WORK: &str = "stages.s.steps.g.steps.work";

/// The iterations of `work`: identifiers, names, and what they loop over.
fn iterations(step: &str) -> Result<Vec<String>, Vec<String>> {
    let made = made(&pipeline(step));
    let world = made.world();
    let all = expand(&world, &WORK.into()).map_err(|errors| messages(&errors))?;
    Ok(all.iter().map(told).collect())
}

fn told(node: &Node) -> String {
    let own = node.iteration.as_deref().expect("an iteration");
    let mut what: Vec<String> = own
        .matrix
        .iter()
        .map(|(axis, value)| format!("{axis}={value}"))
        .collect();
    what.extend(own.item.clone());
    if !own.partition.is_empty() {
        what.push(format!("{:?}", own.partition));
    }
    format!("{} {:?} {}", node.identifier, node.name, what.join(" "))
}

#[test]
fn loops_become_iterations() {
    let table: [(&str, &[&str]); 17] = [
        (
            "strategy: {parallelism: 2},",
            &["work_0 \"Work it_0\" ", "work_1 \"Work it_1\" "],
        ),
        (
            "strategy: {repeat: {times: <+pipeline.variables.n>}},",
            &["work_0 \"Work it_0\" 0", "work_1 \"Work it_1\" 1"],
        ),
        ("strategy: {repeat: {times: 0}},", &[]),
        (
            "strategy: {repeat: {items: [x, <+pipeline.name>]}},",
            &["work_0 \"Work it_0\" x", "work_1 \"Work it_1\" p"],
        ),
        (
            "strategy: {repeat: {items: <+pipeline.variables.list>}},",
            &[
                "work_0 \"Work it_0\" a",
                "work_1 \"Work it_1\" b",
                "work_2 \"Work it_2\" c",
            ],
        ),
        (
            "strategy: {repeat: {items: '<+pipeline.variables.list.split(\",\")>'}},",
            &[
                "work_0 \"Work it_0\" a",
                "work_1 \"Work it_1\"  b",
                "work_2 \"Work it_2\" c",
            ],
        ),
        (
            "strategy: {repeat: {items: [a, b, c, d], start: 1, end: 3}},",
            &["work_0 \"Work it_0\" b", "work_1 \"Work it_1\" c"],
        ),
        (
            "strategy: {repeat: {items: [a, b, c], partitionSize: 2}},",
            &[
                "work_0 \"Work it_0\" a [\"a\", \"b\"]",
                "work_1 \"Work it_1\" c [\"c\"]",
            ],
        ),
        (
            // round(50 · 3 / 100) = 2.
            "strategy: {repeat: {items: [a, b, c], partitionSize: 50, unit: Percentage}},",
            &[
                "work_0 \"Work it_0\" a [\"a\", \"b\"]",
                "work_1 \"Work it_1\" c [\"c\"]",
            ],
        ),
        (
            "strategy: {repeat: {items: [a, b], partitionSize: 1, unit: Percentage}},",
            &[
                "work_0 \"Work it_0\" a [\"a\"]",
                "work_1 \"Work it_1\" b [\"b\"]",
            ],
        ),
        (
            "strategy: {matrix: {os: [linux, mac], v: [3.10, 2]}},",
            &[
                "work_0_0 \"Work it_0_0\" os=\"linux\" v=\"3.10\"",
                "work_0_1 \"Work it_0_1\" os=\"linux\" v=2",
                "work_1_0 \"Work it_1_0\" os=\"mac\" v=\"3.10\"",
                "work_1_1 \"Work it_1_1\" os=\"mac\" v=2",
            ],
        ),
        (
            "strategy: {matrix: {os: [linux, mac], v: [3.10, 2], exclude: [{os: mac, v: 3.10}]}},",
            &[
                "work_0_0 \"Work it_0_0\" os=\"linux\" v=\"3.10\"",
                "work_0_1 \"Work it_0_1\" os=\"linux\" v=2",
                "work_1_1 \"Work it_1_1\" os=\"mac\" v=2",
            ],
        ),
        (
            // A partial one leaves out all that contain it.
            "strategy: {matrix: {os: [linux, mac], v: [1, 2], exclude: [{os: mac}]}},",
            &[
                "work_0_0 \"Work it_0_0\" os=\"linux\" v=1",
                "work_0_1 \"Work it_0_1\" os=\"linux\" v=2",
            ],
        ),
        (
            "strategy: {matrix: {os: [linux, 'mac os'], nodeName: <+matrix.os>-x}},",
            &[
                "work_linux_x \"Work it_linux_x\" os=\"linux\"",
                "work_mac_os_x \"Work it_mac_os_x\" os=\"mac os\"",
            ],
        ),
        (
            // Names that are alike are told apart by their numbers.
            "strategy: {matrix: {os: [a, b], nodeName: same}},",
            &[
                "work_same \"Work it_same\" os=\"a\"",
                "work_same_1 \"Work it_same_1\" os=\"b\"",
            ],
        ),
        (
            "strategy: {matrix: {part: [{n: 1, dir: x}, {n: 2, dir: <+pipeline.name>}]}},",
            &[
                "work_0 \"Work it_0\" part={\"dir\":\"x\",\"n\":1}",
                "work_1 \"Work it_1\" part={\"dir\":\"p\",\"n\":2}",
            ],
        ),
        (
            "strategy: {matrix: {v: <+pipeline.variables.list>}},",
            &[
                "work_0 \"Work it_0\" v=\"a\"",
                "work_1 \"Work it_1\" v=\"b\"",
                "work_2 \"Work it_2\" v=\"c\"",
            ],
        ),
    ];
    for (step, wanted) in table {
        let found = iterations(step).unwrap_or_else(|errors| panic!("{step}: {errors:?}"));
        assert_eq!(found, wanted, "{step}");
        assert_eq!(iterations(step).expect("again"), found, "{step}");
    }
}

#[test]
fn a_loop_that_cannot_be_run_says_why() {
    let table = [
        (
            "strategy: {repeat: {times: 1000000}},",
            "SY0622 the loop of `work` has 1000000 iterations; at most 10000 are run",
        ),
        (
            "strategy: {parallelism: 10001},",
            "SY0622 the loop of `work` has 10001 iterations; at most 10000 are run",
        ),
        (
            "strategy: {matrix: {os: [a, b], exclude: [{os: a}, {os: b}]}},",
            "SY0622 `exclude` leaves no iteration of `work`",
        ),
        (
            "strategy: {matrix: {os: [a, b], exclude: [{arch: a}]}},",
            "SY0622 `exclude` names `arch`, which is no axis of the matrix",
        ),
        (
            // What a step of the same group gives out is not known when its pod is made.
            "strategy: {repeat: {items: <+steps.before.output.outputVariables.all>}},",
            "SY0502 `items` needs the output `all` of step `before`, which was not run",
        ),
    ];
    for (step, wanted) in table {
        assert_eq!(iterations(step), Err(vec![wanted.to_owned()]), "{step}");
    }
    let axis: Vec<String> = (0..200).map(|at| at.to_string()).collect();
    let axis = axis.join(", ");
    let huge = format!(
        "strategy: {{matrix: {{a: [{axis}], b: [{axis}], c: [{axis}], d: [{axis}], e: [{axis}], f: [{axis}], g: [{axis}], h: [{axis}], i: [{axis}]}}}},"
    );
    assert_eq!(
        iterations(&huge),
        Err(vec![format!(
            "SY0622 the loop of `work` has {} iterations; at most 10000 are run",
            u64::MAX
        )])
    );
}

#[test]
fn long_names_stay_names() {
    let step = format!(
        "strategy: {{matrix: {{v: [1, 2], nodeName: {}}}}},",
        "n".repeat(300)
    );
    for told in iterations(&step).expect("iterations") {
        let identifier = told.split(' ').next().expect("an identifier");
        assert!(identifier.len() <= 126, "{identifier}");
    }
}

#[test]
fn expressions_see_their_iteration() {
    let made = made(&pipeline(
        "strategy: {matrix: {os: [linux], part: [{n: 7}]}},",
    ));
    let world = made.world();
    let iteration = NodeId(format!("{WORK}.work_0_0"));
    for (condition, holds) in [
        ("<+matrix.os> == 'linux'", true),
        ("<+matrix.part.n> + 1 == 8", true),
        ("<+step.matrix.os> == 'linux'", true),
        ("<+stage.matrix.os> == 'linux'", false),
        (
            "<+strategy.iteration> == 0 && <+strategy.iterations> == 1",
            true,
        ),
        ("<+strategy.totalIterations> == 1", true),
        ("<+strategy.identifierPostFix> == '_0_0'", true),
        ("<+repeat.item> == 'x'", false),
        ("<+strategy.currentStatus> == 'RUNNING'", true),
        ("<+strategy.node.work.currentStatus> == 'RUNNING'", true),
        ("<+pipeline.variables.no>", false),
        ("<+pipeline.variables.list>", true),
        ("<+nothing.there> == null", true),
    ] {
        let found = judge(&world, &iteration, condition);
        assert_eq!(found, Ok(holds), "{condition}");
    }
    for (condition, wanted) in [
        ("<+matrix.os> ==", "SY0501"),
        ("1 / 0 == 1", "SY0503"),
        ("<+secrets.getValue('x')>", "SY0504"),
    ] {
        let errors = judge(&world, &iteration, condition).expect_err("a problem");
        assert!(
            messages(&errors)[0].starts_with(wanted),
            "{condition}: {:?}",
            messages(&errors)
        );
    }
}

/// While a stage goes on, `status` is its own and `currentStatus` what became of what is in it.
#[test]
fn what_goes_on_has_a_status() {
    let fact = |status: Option<&str>| Fact {
        begun: true,
        status: status.map(str::to_owned),
        ..Fact::default()
    };
    let before = NodeId(format!("{GROUP}.steps.before"));
    for (of_before, current, live) in [
        (Some("SUCCEEDED"), "SUCCEEDED", "RUNNING"),
        (Some("SKIPPED"), "SUCCEEDED", "RUNNING"),
        (Some("FAILED"), "FAILED", "FAILED"),
        (
            Some("APPROVAL_REJECTED"),
            "APPROVAL_REJECTED",
            "APPROVAL_REJECTED",
        ),
        (Some("IGNORE_FAILED"), "IGNORE_FAILED", "RUNNING"),
        (None, "SUCCEEDED", "RUNNING"),
    ] {
        let mut made = made(&pipeline(""));
        for id in ["pipeline", "stages.s", GROUP, WORK] {
            made.nodes.insert(NodeId::from(id), fact(None));
        }
        made.nodes.insert(before.clone(), fact(of_before));
        let world = made.world();
        for of in ["pipeline", "stage", "stepGroup"] {
            for (name, wanted) in [
                ("status", "RUNNING"),
                ("currentStatus", current),
                ("liveStatus", live),
            ] {
                let condition = format!("<+{of}.{name}> == '{wanted}'");
                let found = judge(&world, &NodeId::from(WORK), &condition);
                assert_eq!(found, Ok(true), "{condition} after {of_before:?}");
            }
        }
    }
    // What has not begun has none.
    let made = made(&pipeline(""));
    let found = judge(
        &made.world(),
        &NodeId::from(WORK),
        "<+stage.currentStatus> == null",
    );
    assert_eq!(found, Ok(true));
}

#[test]
fn how_a_loop_runs_is_told_to_the_engine() {
    for (step, limit, skip) in [
        (
            "strategy: {repeat: {times: 3, maxConcurrency: 2}},",
            Some(2),
            false,
        ),
        (
            "strategy: {matrix: {v: [1, 2], maxConcurrency: <+pipeline.variables.n>}},",
            Some(2),
            false,
        ),
        (
            "strategy: {parallelism: 3, maxConcurrency: 1},",
            Some(1),
            false,
        ),
        (
            "strategy: {parallelism: 3, onFailure: SkipQueued},",
            None,
            true,
        ),
    ] {
        let made = made(&pipeline(step));
        let children = expand(&made.world(), &GROUP.into()).expect("children");
        let own = children.iter().find(|node| node.id.0 == WORK).expect("it");
        assert_eq!(
            (&own.kind, own.limit, own.skip_queued, own.slots),
            (&Kind::Loop, limit, skip, None),
            "{step}"
        );
    }
}

fn options() -> pod::Options {
    pod::Options {
        git_image: "git".to_owned(),
        git_connector: None,
        tree_image: None,
        agent_image: "agent".to_owned(),
        agent_wanted: None,
        network: pod::Network::Private,
    }
}

/// The containers of the group's pod, and what Initialize says of them.
fn containers(text: &str) -> (Vec<String>, Vec<String>) {
    let made = made(text);
    let world = made.world();
    let group = Place::of(&world, &GROUP.into()).expect("the group");
    let layout = pod::layout(&world, &group).expect("a pod");
    let names = layout.containers().iter().map(|(_, name)| name.clone());
    (names.collect(), layout.notes().to_vec())
}

#[test]
fn an_iteration_has_a_container_of_its_own_up_to_fifty() {
    let (names, notes) = containers(&pipeline("strategy: {repeat: {times: 3}},"));
    assert_eq!(
        names,
        ["step-before", "step-work0", "step-work1", "step-work2"]
    );
    assert!(notes.is_empty());
    let (names, notes) = containers(&pipeline("strategy: {repeat: {times: 49}},"));
    assert_eq!((names.len(), notes.len()), (50, 0));
    let (names, notes) = containers(&pipeline(
        "strategy: {repeat: {times: 1000, maxConcurrency: 3}},",
    ));
    assert_eq!(
        names,
        [
            "step-before",
            "step-work-s1",
            "step-work-s2",
            "step-work-s3"
        ]
    );
    assert_eq!(
        notes,
        [
            "1000 iterations of work take turns in 3 containers: each finds the files that the one before it left"
        ]
    );
    let (names, notes) = containers(&pipeline("strategy: {repeat: {times: 1000}},"));
    assert_eq!(names.len(), 50);
    assert_eq!(
        notes,
        [
            "1000 iterations of work take turns in 49 containers: each finds the files that the one before it left"
        ]
    );
}

#[test]
fn iterations_that_take_turns_are_bounded_by_their_containers() {
    let text = pipeline("strategy: {repeat: {times: 1000, maxConcurrency: 200}},");
    let made = made(&text);
    let world = made.world();
    let children = expand(&world, &GROUP.into()).expect("children");
    let own = children.iter().find(|node| node.id.0 == WORK).expect("it");
    assert_eq!((own.limit, own.slots), (Some(49), Some(49)));
    let all = expand(&world, &WORK.into()).expect("iterations");
    let Kind::Step(last) = &all[999].kind else {
        panic!("a step");
    };
    assert_eq!(last.container.as_deref(), Some("step-work"));
    // They need the same image.
    let text = super::tests::text(
        "",
        "strategy: {matrix: {v: ['1', '2', '3'], w: <+pipeline.variables.list>, x: [1, 2, 3, 4, 5, 6]}},",
        "image: 'alpine:<+matrix.v>', command: x",
    );
    let made = self::made(&text);
    let errors =
        pod::describe(&made.world(), &GROUP.into(), "x", &options()).expect_err("a problem");
    assert_eq!(
        messages(&errors),
        [
            "SY0622 the iterations of `work` have different images, and there are too many for a container each"
        ]
    );
}

#[test]
fn a_step_that_is_known_not_to_run_has_no_container() {
    for (when, made, skipped) in [
        (
            "when: {stageStatus: Success, condition: '<+pipeline.variables.no> == true'},",
            false,
            true,
        ),
        (
            "when: {stageStatus: Success, condition: 'false'},",
            false,
            true,
        ),
        (
            "when: {stageStatus: Success, condition: '<+pipeline.name> == \"p\"'},",
            true,
            false,
        ),
        // Only known once `before` is over.
        (
            "when: {stageStatus: Success, condition: '<+steps.before.output.outputVariables.x> == \"y\"'},",
            true,
            false,
        ),
        ("when: {stageStatus: Failure},", true, false),
    ] {
        let text = pipeline(when);
        let (names, _) = containers(&text);
        assert_eq!(names.contains(&"step-work".to_owned()), made, "{when}");
        let world = self::made(&text);
        let children = expand(&world.world(), &GROUP.into()).expect("children");
        let own = children.iter().find(|node| node.id.0 == WORK).expect("it");
        assert_eq!(own.skip.is_some(), skipped, "{when}");
    }
}

/// What is known of a run in which the group was entered and `before` is over.
#[derive(Debug)]
struct Later(BTreeMap<NodeId, Fact>);

impl Nodes for Later {
    fn fact(&self, node: &NodeId) -> Option<Fact> {
        self.0.get(node).cloned()
    }

    fn over_before(&self, _: &NodeId, _: &NodeId) -> bool {
        false
    }

    fn iterations(&self, _: &NodeId) -> Option<Vec<Arc<Iteration>>> {
        None
    }
}

#[test]
fn a_pod_is_the_same_whenever_it_is_asked_for() {
    let made = made(&pipeline(
        "when: {stageStatus: Success, condition: '<+steps.before.output.outputVariables.x> == \"y\"'},",
    ));
    let world = made.world();
    let over = Fact {
        status: Some("SUCCEEDED".to_owned()),
        ran: true,
        outputs: [("x".to_owned(), Value::from("n"))].into(),
        ..Fact::default()
    };
    let later = Later([(NodeId(format!("{GROUP}.steps.before")), over)].into());
    let world = World {
        nodes: &later,
        ..world
    };
    let spec = pod::describe(&world, &GROUP.into(), "x", &options()).expect("a pod");
    assert!(spec.containers.iter().any(|own| own.name == "step-work"));
    let children = expand(&world, &GROUP.into()).expect("children");
    assert!(children.iter().all(|node| node.skip.is_none()));
    // When its turn comes the condition is what it is.
    let condition = "<+steps.before.output.outputVariables.x> == \"y\"";
    assert_eq!(judge(&world, &WORK.into(), condition), Ok(false));
}

#[test]
fn conditions_and_strategies_are_resolved_with_their_node() {
    let made = made(&pipeline(
        "when: {stageStatus: Failure, condition: <+pipeline.name> == \"p\"}, failureStrategies: [{onFailure: {errors: [Timeout, Connectivity], action: {type: Retry, spec: {retryCount: <+pipeline.variables.n>, retryIntervals: [10s, 1m], onRetryFailure: {action: {type: ManualIntervention, spec: {timeout: 1h, onTimeout: {action: {type: StageRollback}}}}}}}}}, {onFailure: {errors: [AllErrors], action: {type: Ignore}}}],",
    ));
    let children = expand(&made.world(), &GROUP.into()).expect("children");
    let own = children.iter().find(|node| node.id.0 == WORK).expect("it");
    insta::assert_json_snapshot!((&own.when, &own.strategies));
}

/// What a loop or a block says of failures before it is what is in it says, so that it is asked at all.
#[test]
fn a_loop_and_a_block_are_entered_after_failures_where_what_is_in_them_is() {
    for (when, expected) in [
        ("", None),
        ("when: {stageStatus: Success},", None),
        (
            "when: {stageStatus: Success, condition: <+repeat.item> == 1},",
            None,
        ),
        ("when: {stageStatus: Failure},", Some(WhenStatus::All)),
        (
            "when: {stageStatus: All, condition: <+repeat.item> == 1},",
            Some(WhenStatus::All),
        ),
    ] {
        let looped = pipeline(&format!("{when} strategy: {{repeat: {{times: 2}}}},"));
        let block = pipeline(when).replace(
            "- step: {identifier: work",
            "- parallel:\n                        - step: {identifier: beside, name: beside, type: Run, spec: {image: a, command: x}}\n                        - step: {identifier: work",
        );
        for text in [looped, block] {
            let made = made(&text);
            let children = expand(&made.world(), &GROUP.into()).expect("children");
            let own = children.last().expect("it");
            assert!(
                matches!(own.kind, Kind::Loop | Kind::Parallel),
                "{:?}",
                own.kind
            );
            let found = own.when.as_ref().map(|own| (own.status, &own.condition));
            let expected = expected.map(|own| (Some(own), &None));
            assert_eq!(found, expected, "{text}");
        }
    }
}

/// Steps come one after the other, and are looked for where the last one was: whatever the order, each is found.
#[test]
fn every_id_of_a_long_list_leads_to_its_own_place() {
    let step = |id: &str| {
        format!("{{step: {{identifier: {id}, name: {id}, type: Wait, spec: {{duration: 1s}}}}}}")
    };
    let steps = |head: &str| {
        let all: Vec<_> = (0..40).map(|at| step(&format!("{head}{at}"))).collect();
        all.join(", ")
    };
    let mut elements: Vec<String> = (0..40).map(|at| step(&format!("s{at}"))).collect();
    elements[5] = format!(
        "{{stepGroup: {{identifier: n, name: n, steps: [{}]}}}}",
        steps("n")
    );
    elements[10] = format!(
        "{{insert: {{identifier: i, name: i, steps: [{}]}}}}",
        steps("i")
    );
    elements[11] = format!("{{parallel: [{}]}}", steps("p"));
    let text = format!(
        "pipeline: {{identifier: p, name: p, stages: [{{stage: {{identifier: s, name: s, type: Custom, spec: {{execution: {{steps: [{{stepGroup: {{identifier: g, name: g, steps: [{}]}}}}]}}}}}}}}]}}",
        elements.join(", ")
    );
    let made = made(&text);
    let pipeline = made.world().pipeline;
    let all = Place::all(pipeline);
    assert!(all.len() > 150, "{}", all.len());
    for stride in [1, all.len() - 1, 7, 41] {
        for at in 0..all.len() {
            let place = &all[at * stride % all.len()];
            let way = Place::way(pipeline, &place.id).expect("it is there");
            let found = way.last().expect("the root at least");
            assert_eq!((&found.id, found.what), (&place.id, place.what));
        }
    }
}
