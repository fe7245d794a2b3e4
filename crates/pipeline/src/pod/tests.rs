//! Pods and plans as people see them.

use std::fmt::Write as _;

use crate::plan::{self, NodeId, Place};
use crate::pod::{AgentFrom, Cluster, Image, Pull};
use crate::resolve::tests::{PIPELINE, made, messages};

use super::{Network, Options, describe, manifest, yaml};

const GROUP: &str = "stages.deploy.steps.build_group";

fn options() -> Options {
    Options {
        git_image: "stepyard/git:1".to_owned(),
        git_connector: None,
        tree_image: None,
        agent_image: "stepyard/agent:1".to_owned(),
        agent_wanted: None,
        network: Network::Private,
    }
}

#[test]
fn a_pod_as_it_is_shown() {
    let made = made(PIPELINE);
    let world = made.world();
    let spec = describe(&world, &GROUP.into(), "bcdf1234", &options()).expect("a pod");
    let agent = AgentFrom::ConfigMap("stepyard-agent-0123456789ab".to_owned());
    insta::assert_snapshot!(yaml(&manifest(&spec, &Cluster::newest(agent))));
}

#[test]
fn a_pod_of_an_older_server_with_its_agent_from_an_image_in_a_restricted_namespace() {
    let made = made(PIPELINE);
    let mut spec = describe(&made.world(), &GROUP.into(), "bcdf1234", &options()).expect("a pod");
    spec.overlay = Some(serde_json::json!({"runtimeClassName": "gvisor"}));
    let agent = AgentFrom::Image(Image {
        reference: "reg.local:5000/stepyard/agent:1".to_owned(),
        connector: None,
        pull: Pull::IfNotPresent,
    });
    let cluster = Cluster {
        namespace: Some("other".to_owned()),
        arch: Some("amd64".to_owned()),
        pod_resources: false,
        pull_secret: Some("a-pull".to_owned()),
        restricted: Some([("step-src".to_owned(), 4242)].into()),
        ..Cluster::newest(agent)
    };
    insta::assert_snapshot!(yaml(&manifest(&spec, &cluster)));
}

#[test]
fn users_and_privileges_are_inherited_by_the_new_table() {
    let made = made(PIPELINE);
    let spec = describe(&made.world(), &GROUP.into(), "x", &options()).expect("a pod");
    let shown: Vec<String> = spec
        .containers
        .iter()
        .map(|own| {
            format!(
                "{} {:?} {:?} {:?} {}",
                own.name,
                own.security.run_as_user,
                own.security.privileged,
                own.image.pull,
                own.image.reference
            )
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn the_plan_of_a_run() {
    let made = made(PIPELINE);
    let world = made.world();
    let mut shown = String::new();
    let mut open = vec![plan::root(&world).expect("a root")];
    while let Some(node) = open.pop() {
        let _ = writeln!(
            shown,
            "{} {:?} {:?} {:?} {:?}",
            node.id, node.kind, node.name, node.order, node.timeout_ms
        );
        let children = plan::expand(&world, &node.id).expect("children");
        open.extend(children.into_iter().rev());
    }
    insta::assert_snapshot!(shown);
    assert_eq!(
        messages(&plan::unsupported(world.pipeline)),
        Vec::<String>::new()
    );
}

#[test]
fn every_id_leads_back_to_its_place() {
    let made = made(PIPELINE);
    let world = made.world();
    for place in Place::all(world.pipeline) {
        assert_eq!(
            Place::find(world.pipeline, &place.id).as_ref(),
            Some(&place)
        );
    }
    assert_eq!(
        Place::find(world.pipeline, &NodeId::from("stages.nowhere")),
        None
    );
}

#[test]
fn what_is_not_run_is_refused_by_name() {
    let table = [
        (
            "shell: Bash",
            "shell: Powershell",
            "SY0616 step `compile`: Windows PowerShell is not run",
        ),
        (
            "hostNames: [db]",
            "os: Windows",
            "SY0616 step group `build_group`: `os: Windows` is not run",
        ),
        (
            "            steps:\n              - stepGroup",
            "            rollbackSteps: [{step: {type: Email, identifier: h, name: h, spec: {}}}]\n            steps:\n              - stepGroup",
            "SY0611 step `h`: steps of type Email are not run yet",
        ),
        (
            "            steps:\n              - stepGroup",
            "            steps:\n              - step: {type: Email, identifier: h, name: h, spec: {to: x}}\n              - stepGroup",
            "SY0611 step `h`: steps of type Email are not run yet",
        ),
    ];
    for (from, to, wanted) in table {
        let text = PIPELINE.replacen(from, to, 1);
        assert_ne!(text, PIPELINE, "{from}");
        let made = made(&text);
        let found = messages(&plan::unsupported(made.world().pipeline));
        assert_eq!(found, [wanted], "{to}");
    }
}
