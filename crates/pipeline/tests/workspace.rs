//! `workspaceFrom`: what may stand there, and what the nodes of a run say of it.

use std::collections::BTreeMap;

use pipeline::model::{Loaded, Options, read};
use pipeline::plan::{NodeId, Place, expand};
use pipeline::resolve::{Fact, Known, World};
use syntax::Sources;

fn loaded(stages: &str, portable: bool) -> Loaded {
    let text = format!("pipeline: {{identifier: p, name: p, stages: [{stages}]}}");
    let mut sources = Sources::new();
    let id = sources.add("p.yaml", text);
    read(&sources, [id], Options { portable })
}

fn stage(name: &str, more: &str, steps: &str) -> String {
    format!(
        "{{stage: {{identifier: {name}, name: {name}, type: Custom, {more} spec: {{execution: {{steps: [{steps}]}}}}}}}}"
    )
}

const STEP: &str = "{step: {identifier: a, name: a, type: Run, spec: {image: 'host:/', shell: Sh, command: 'true'}}}";
const LOOP: &str = "strategy: {repeat: {times: 2}},";

fn group(name: &str, from: &str, more: &str) -> String {
    let from = if from.is_empty() {
        String::new()
    } else {
        format!("workspaceFrom: {from}")
    };
    format!(
        "{{stepGroup: {{identifier: {name}, name: {name}, {more} stepGroupInfra: {{type: KubernetesDirect, spec: {{connectorRef: c, {from}}}}}, steps: [{STEP}]}}}}"
    )
}

/// What is said of it under the code of such things.
fn said(stages: &str) -> Vec<String> {
    let loaded = loaded(stages, false);
    let all = loaded.diagnostics.iter();
    all.filter(|own| own.code.as_str() == "SY0217")
        .map(|own| {
            assert!(own.span().is_some(), "it has a place");
            format!("{} | {}", own.message, own.help.clone().unwrap_or_default())
        })
        .collect()
}

#[test]
fn what_is_no_earlier_workspace_is_told() {
    let build = group("build", "", "");
    let test = group("test", "build", "");
    let one = |steps: &[&str]| stage("s", "", &steps.join(", "));
    let both = format!("{{parallel: [{build}, {test}]}}");
    let looped = group("build", "", LOOP);
    let plain = "{stepGroup: {identifier: build, name: build, steps: [{step: {identifier: w, name: w, type: Wait, spec: {duration: 1s}}}]}}";
    let inner = group("test", "build", "");
    let outer = format!(
        "{{stepGroup: {{identifier: o, name: o, stepGroupInfra: {{type: KubernetesDirect, spec: {{connectorRef: c}}}}, steps: [{inner}]}}}}"
    );
    let undoing = format!(
        "{{stage: {{identifier: s, name: s, type: Custom, spec: {{execution: {{steps: [{build}], rollbackSteps: [{test}]}}}}}}}}"
    );
    for (name, stages, wanted) in [
        (
            "nothing of that name",
            one(&[&build, &group("test", "buidl", "")]),
            "no step group has the identifier `buidl` | did you mean `build`?",
        ),
        (
            "a stage without it",
            one(&[&build, &group("test", "other.build", "")]),
            "no step group has the identifier `other.build` | name a containerized step group that runs before this one",
        ),
        (
            "itself",
            one(&[&group("test", "test", "")]),
            "the step group `test` cannot begin with the workspace that it leaves itself | name a step group that runs before it, or take `workspaceFrom` out",
        ),
        (
            "one without a pod",
            one(&[plain, &test]),
            "the step group `build` has no pod, and so no workspace, of its own | name a step group with `stepGroupInfra` that is in no other such group",
        ),
        (
            "in another's pod",
            one(&[&build, &outer]),
            "the step group `test` takes no workspace over: it runs in the pod of the group around it | put `workspaceFrom` into the group that has the pod",
        ),
        (
            "one that comes later",
            one(&[&test, &build]),
            "the step group `build` is not over for certain when `test` begins | name a step group before it, in the same sequence of steps or in an earlier stage",
        ),
        (
            "one beside it",
            one(&[&both]),
            "the step group `build` is not over for certain when `test` begins | name a step group before it, in the same sequence of steps or in an earlier stage",
        ),
        (
            "stages side by side",
            format!(
                "{{parallel: [{}, {}]}}",
                stage("s", "", &build),
                stage("t", "", &test)
            ),
            "the step group `build` is not over for certain when `test` begins | name a step group before it, in the same sequence of steps or in an earlier stage",
        ),
        (
            "a loop",
            one(&[&looped, &test]),
            "the step group `build` runs several times: nobody can say which of its workspaces is meant | put both groups into what is repeated, or name a group outside of the loop",
        ),
        (
            "a stage in a loop",
            [stage("s", LOOP, &build), stage("t", "", &test)].join(", "),
            "the step group `build` runs several times: nobody can say which of its workspaces is meant | put both groups into what is repeated, or name a group outside of the loop",
        ),
        (
            "two of that name",
            [
                stage("s", "", &build),
                stage("t", "", &build),
                stage("u", "", &test),
            ]
            .join(", "),
            "`build` may mean several step groups | name its stage, too: `s.build`",
        ),
        (
            "rollback",
            undoing,
            "a step group in `rollbackSteps` hands no workspace over, and takes none | take `workspaceFrom` out",
        ),
    ] {
        assert_eq!(said(&stages), [wanted], "{name}");
    }
}

/// What the nodes of these groups say, as they are entered one after the other.
fn nodes(stages: &str, parents: &[&str]) -> Vec<String> {
    let loaded = loaded(stages, false);
    let pipeline = loaded.pipeline.as_ref().expect("a pipeline");
    assert!(!loaded.has_errors(), "{:#?}", loaded.diagnostics);
    let (known, nodes) = (Known::default(), BTreeMap::<NodeId, Fact>::new());
    let world = World {
        pipeline,
        entities: &loaded.entities,
        known: &known,
        nodes: &nodes,
    };
    let mut told = Vec::new();
    for parent in parents {
        let children = expand(&world, &NodeId::from(*parent)).expect("it expands");
        told.extend(children.into_iter().filter_map(|node| {
            let from = node.takes_over.map(|of| format!(" takes {of}"));
            let gives = node.hands_over.then(|| " gives".to_owned());
            let all: String = from.into_iter().chain(gives).collect();
            (!all.is_empty()).then(|| format!("{}{all}", node.id))
        }));
    }
    assert!(Place::all(pipeline).len() > 3);
    told
}

#[test]
fn nodes_say_who_gives_and_who_takes() {
    let (build, test) = (group("build", "", ""), group("test", "build", ""));
    let chain = group("ship", "test", "");
    let other = group("other", "", "");
    let stages = stage(
        "s",
        "",
        &[build.clone(), other, test.clone(), chain].join(", "),
    );
    assert_eq!(
        nodes(&stages, &["stages.s"]),
        [
            "stages.s.steps.build gives",
            "stages.s.steps.test takes stages.s.steps.build gives",
            "stages.s.steps.ship takes stages.s.steps.test",
        ]
    );
    // The own stage first, another one by name.
    let stages = [
        stage("s", "", &build),
        stage(
            "t",
            "",
            &[build.clone(), test.clone(), group("far", "s.build", "")].join(", "),
        ),
    ];
    assert_eq!(
        nodes(&stages.join(", "), &["stages.s", "stages.t"]),
        [
            "stages.s.steps.build gives",
            "stages.t.steps.build gives",
            "stages.t.steps.test takes stages.t.steps.build",
            "stages.t.steps.far takes stages.s.steps.build",
        ]
    );
    // In a loop the one of the same iteration; out of one, each iteration the same.
    let stages = [
        stage("s", LOOP, &[build.clone(), test].join(", ")),
        stage(
            "t",
            "",
            &[group("first", "", ""), group("many", "first", LOOP)].join(", "),
        ),
    ];
    assert_eq!(
        nodes(
            &stages.join(", "),
            &["stages.s.s_1", "stages.t", "stages.t.steps.many"]
        ),
        [
            "stages.s.s_1.steps.build gives",
            "stages.s.s_1.steps.test takes stages.s.s_1.steps.build",
            "stages.t.steps.first gives",
            "stages.t.steps.many.many_0 takes stages.t.steps.first",
            "stages.t.steps.many.many_1 takes stages.t.steps.first",
        ]
    );
}

#[test]
fn other_servers_do_not_know_it() {
    let (build, test) = (group("build", "", ""), group("test", "build", ""));
    let text = stage("s", "", &[build, test].join(", "));
    let loaded = loaded(&text, true);
    let told = loaded
        .diagnostics
        .iter()
        .find(|own| own.message.contains("workspaceFrom"));
    let told = told.expect("it is told");
    assert_eq!(told.code.as_str(), "SY0403");
}
