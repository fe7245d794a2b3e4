//! How the agent arrives: in a ConfigMap that is checked, or in an image.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use image::Platform;
use image::build::{Builder, Built};

use crate::support::{Group, Registry};
use crate::world::{Cluster, IMAGE};

/// The agent's image, as `cargo xtask images agent` makes it: the agent alone, and a user.
pub(crate) fn image_of_agent(dir: &Path) -> Built {
    let root = dir.join("root");
    fs::create_dir_all(&root).expect("a directory");
    let file = root.join("stepyard-agent");
    fs::write(&file, agent_embed::AGENT).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a mode");
    let mut builder = Builder::new(dir.join("layout"), Platform::here()).expect("a builder");
    builder.layer_from_dir(&root).expect("a layer");
    builder.facts().user = Some("65532".to_owned());
    builder.facts().entrypoint = vec!["/stepyard-agent".to_owned()];
    builder.finish(Some("t")).expect("an image")
}

fn config_map() -> String {
    format!("stepyard-agent-{}", &agent_embed::digest()[..12])
}

#[test]
fn it_comes_in_an_image_of_the_override_connector_or_of_the_command_line() {
    let Some(cluster) = Cluster::new("agent-image") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(true);
    let built = image_of_agent(dir.path());
    let tag = &agent_embed::digest()[..12];
    registry.push(&built, &format!("ours/stepyard/agent:{tag}"));
    let named = registry.push(&built, "other/agent:1");
    let connector = format!(
        "connector:
  identifier: ours
  name: ours
  type: DockerRegistry
  spec:
    dockerRegistryUrl: http://{}/ours
    providerType: Other
    auth: {{type: UsernamePassword, spec: {{username: tc, passwordRef: pw}}}}
---
secret: {{identifier: pw, name: pw, type: SecretText, spec: {{secretManagerIdentifier: m, valueType: Inline, value: tc-secret}}}}
",
        registry.host
    );
    let group = Group::new()
        .infra("harnessImageConnectorRef: ours")
        .step("a", IMAGE, "shell: Sh", "echo one; cat /proc/1/comm")
        .document(&connector);
    let seen = cluster.run(&group, &[]);
    seen.says(
        "by the connector",
        0,
        &[
            "Created container setup-addon",
            "[s/g/a] one",
            "[s/g/a] stepyard-agent",
        ],
    );
    let order = ["Started container setup-addon", "Created container step-a"];
    let at = order.map(|part| seen.out.find(part).expect(part));
    assert!(at.is_sorted(), "{}", seen.out);
    // The command line's wins, and it has no login.
    let open = Registry::start(false);
    let named = open.push(&built, named.split_once('/').expect("a host").1);
    let group = Group::new().step("a", IMAGE, "shell: Sh", "echo two");
    let seen = cluster.run(&group, &["--agent-image", &named]);
    seen.says(
        "by the command",
        0,
        &[&format!("\"{named}\""), "[s/g/a] two"],
    );
    let maps = cluster.kubectl(&["get", "configmaps", "-o", "name"]);
    assert!(!maps.contains(&config_map()), "{maps}");
}

#[test]
fn an_image_that_is_none_of_the_agents_says_so() {
    let Some(cluster) = Cluster::new("agent-none") else {
        return;
    };
    let group = Group::new().step("a", IMAGE, "shell: Sh", "true");
    let seen = cluster.run(&group, &["--agent-image", IMAGE]);
    seen.says(
        "a wrong image",
        1,
        &["setup-addon", "StartError", "is that one of Stepyard"],
    );
}

#[test]
fn a_config_map_that_somebody_changed_is_not_used() {
    let Some(cluster) = Cluster::new("agent-changed") else {
        return;
    };
    let name = config_map();
    cluster.kubectl(&[
        "create",
        "configmap",
        &name,
        "--from-literal=stepyard-agent=x",
    ]);
    let group = Group::new().step("a", IMAGE, "shell: Sh", "echo never");
    let seen = cluster.run(&group, &[]);
    seen.says(
        "a changed agent",
        1,
        &[
            &format!("the ConfigMap {name} in the namespace"),
            "somebody changed it",
            &format!("kubectl delete configmap {name} -n"),
        ],
    );
    assert_eq!(seen.times("[s/g/a] never"), 0);
    cluster.kubectl(&["delete", "configmap", &name]);
    cluster
        .run(&group, &[])
        .says("made again", 0, &["[s/g/a] never"]);
    // Used again on another day: it says so.
    let annotate = [
        "annotate",
        "configmap",
        &name,
        "--overwrite",
        "stepyard.dev/last-used=2020-01-01",
    ];
    cluster.kubectl(&annotate);
    cluster.run(&group, &[]).says("again", 0, &[]);
    let map = cluster.get("configmaps", Some(&name));
    assert_ne!(
        map["metadata"]["annotations"]["stepyard.dev/last-used"],
        "2020-01-01"
    );
    assert_eq!(map["immutable"], true);
}

#[test]
fn a_config_map_that_is_removed_under_a_run_is_made_again() {
    let Some(cluster) = Cluster::new("agent-removed") else {
        return;
    };
    let label = format!("test-{}", cluster.namespace);
    let group = Group::new()
        .infra(&format!("nodeSelector: {{{label}: here}}"))
        .step("a", IMAGE, "shell: Sh", "echo there");
    let mut run = cluster.start(&group);
    run.until("didn't match Pod's node affinity/selector");
    cluster.kubectl(&["delete", "configmap", &config_map()]);
    cluster.kubectl(&["label", "nodes", "--all", &format!("{label}=here")]);
    run.end().says(
        "removed",
        0,
        &[
            &format!("configmap \"{}\" not found", config_map()),
            "[s/g/a] there",
        ],
    );
    cluster.kubectl(&["label", "nodes", "--all", &format!("{label}-")]);
}

/// The node says that it is of another architecture: the agent that comes with the command would not run there.
#[test]
fn nodes_of_another_architecture_need_an_image_of_the_agent() {
    let _alone = crate::world::alone();
    let Some(cluster) = Cluster::within("other-arch") else {
        return;
    };
    let label = |arch: &str| {
        let label = format!("kubernetes.io/arch={arch}");
        cluster.kubectl(&["label", "nodes", "--all", "--overwrite", &label]);
    };
    let group = Group::new().step("a", IMAGE, "shell: Sh", "echo never");
    let other = match agent_arch() {
        "amd64" => "arm64",
        _ => "amd64",
    };
    // The kubelet may put its own label back at any time: then it was no node of another architecture.
    let mut seen = None;
    for _ in 0..5 {
        label(other);
        let run = cluster.run(&group, &[]);
        let path = "jsonpath={.items[*].metadata.labels.kubernetes\\.io/arch}";
        let still = cluster.kubectl(&["get", "nodes", "-o", path]);
        if still == other {
            seen = Some(run);
            break;
        }
    }
    label(agent_arch());
    let seen = seen.expect("a run while the label stood");
    let words = format!(
        "the nodes of this cluster are {other}, and the agent that this stepyard brings is for"
    );
    seen.says("by the command", 1, &[&words, "--agent-image"]);
    assert_eq!(seen.times("[s/g/a] never"), 0);
}

fn agent_arch() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}
