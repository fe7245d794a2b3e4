//! The rights that a run needs: those of `deploy/kubernetes/role.yaml`, and no fewer.

use serde_json::{Value, json};

use crate::support::{Group, Registry, busybox};
use crate::world::{Cluster, IMAGE, Running};

const ROLE: &str = include_str!("../../../../deploy/kubernetes/role.yaml");

/// A kubeconfig with a token of the service account `least`.
fn kubeconfig(cluster: &Cluster) -> std::path::PathBuf {
    let raw = [
        "config",
        "view",
        "--raw",
        "--flatten",
        "--minify",
        "-o",
        "json",
    ];
    let mut config: Value = serde_json::from_str(&cluster.kubectl(&raw)).expect("JSON");
    let token = cluster.kubectl(&["create", "token", "least"]);
    config["users"][0]["user"] = json!({"token": token.trim()});
    cluster.home.write("least", config.to_string())
}

fn run(cluster: &Cluster, group: &Group, kubeconfig: &std::path::Path) -> crate::support::Seen {
    let mut command = cluster.running_command(group, &[]);
    command.env("KUBECONFIG", kubeconfig);
    Running::of(command).end()
}

/// The rules of the first role of the file, as the server has them.
fn rules(cluster: &Cluster) -> Vec<Value> {
    let role = cluster.get("roles", Some("stepyard"));
    role["rules"].as_array().expect("rules").clone()
}

#[test]
fn the_role_is_enough_and_less_says_what_is_missing() {
    let Some(cluster) = Cluster::new("rights") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(true);
    let locked = registry.push(&busybox(dir.path(), |_| {}), "locked/busybox:1");
    let connector = format!(
        "connector: {{identifier: r, name: r, type: DockerRegistry, spec: {{dockerRegistryUrl: 'http://{}', providerType: Other, auth: {{type: UsernamePassword, spec: {{username: tc, passwordRef: pw}}}}}}}}
---
secret: {{identifier: pw, name: pw, type: SecretText, spec: {{secretManagerIdentifier: m, valueType: Inline, value: tc-secret}}}}
---
secret: {{identifier: word, name: word, type: SecretText, spec: {{secretManagerIdentifier: m, valueType: Inline, value: a-hidden-word}}}}
",
        registry.host
    );
    let group = Group::new()
        .step(
            "a",
            &locked,
            "shell: Sh, connectorRef: r, envVariables: {WORD: <+secrets.getValue(\"word\")>}",
            "echo \"$WORD\" | wc -c; echo holding; until [ -e /harness/go ]; do sleep 0.1; done",
        )
        .step("b", IMAGE, "shell: Sh", "echo done")
        .document(&connector);
    cluster.kubectl(&["create", "serviceaccount", "least"]);
    cluster.kubectl_with(&["apply", "-f", "-"], ROLE);
    let account = format!("--serviceaccount={}:least", cluster.namespace);
    cluster.kubectl(&[
        "create",
        "rolebinding",
        "least",
        "--role=stepyard",
        &account,
    ]);
    let least = kubeconfig(&cluster);

    // Enough, and meanwhile nothing in the namespace shows a secret but the pull secret.
    let mut command = cluster.running_command(&group, &[]);
    command.env("KUBECONFIG", &least);
    let mut held = Running::of(command);
    held.until("[s/g/a] holding");
    secrets_are_nowhere(&cluster);
    let pod = cluster.pods()[0]["metadata"]["name"].clone();
    cluster.kubectl(&[
        "exec",
        pod.as_str().expect("a name"),
        "-c",
        "step-a",
        "--",
        "touch",
        "/harness/go",
    ]);
    held.end()
        .says("enough", 0, &["[s/g/a] 14", "[s/g/b] done"]);

    // Each verb taken away alone.
    let group = Group::new()
        .step("a", &locked, "shell: Sh, connectorRef: r", "true")
        .document(&connector);
    let all = rules(&cluster);
    for (at, rule) in all.iter().enumerate() {
        let resource = rule["resources"][0].as_str().expect("a resource");
        for verb in rule["verbs"].as_array().expect("verbs") {
            let verb = verb.as_str().expect("a verb");
            let mut less = all.clone();
            less[at]["verbs"]
                .as_array_mut()
                .expect("verbs")
                .retain(|own| own != verb);
            let patch = json!({"rules": less}).to_string();
            cluster.kubectl(&["patch", "role", "stepyard", "--type=merge", "-p", &patch]);
            let seen = run(&cluster, &group, &least);
            let plain = resource.split('/').next().unwrap_or_default();
            let told = seen
                .out
                .contains(&format!("cannot {verb} resource \"{resource}\""))
                || seen
                    .out
                    .contains(&format!("cannot {verb} resource \"{plain}\""));
            // Once the agent is there nobody makes it; who may not mark it goes without; this server's exec is one verb; and a pull
            // secret is removed only where its pod could not be made.
            let spare = matches!(
                (resource, verb),
                ("configmaps", "create" | "patch") | ("pods/exec", "get") | ("secrets", "delete")
            );
            assert!(
                told || (spare && seen.code == Some(0)),
                "without {verb} on {resource}: {:?}\n{}",
                seen.code,
                seen.out
            );
            cluster.kubectl(&["delete", "pods", "--all", "--grace-period=0", "--force"]);
        }
    }
    cluster.kubectl(&["delete", "role", "--all"]);
    cluster.kubectl(&["delete", "secrets", "--all"]);
}

/// Binds the service account `least` to the role, without what `takes` takes away.
fn bind(cluster: &Cluster, takes: impl Fn(&str) -> bool) -> std::path::PathBuf {
    cluster.kubectl(&["create", "serviceaccount", "least"]);
    cluster.kubectl_with(&["apply", "-f", "-"], ROLE);
    let account = format!("--serviceaccount={}:least", cluster.namespace);
    let role = "--role=stepyard";
    cluster.kubectl(&["create", "rolebinding", "least", role, &account]);
    let left: Vec<Value> = rules(cluster)
        .into_iter()
        .filter(|rule| !takes(rule["resources"][0].as_str().expect("a resource")))
        .collect();
    let patch = json!({"rules": left}).to_string();
    cluster.kubectl(&["patch", "role", "stepyard", "--type=merge", "-p", &patch]);
    kubeconfig(cluster)
}

/// No role is left: the namespace is looked into for what runs left.
fn unbind(cluster: &Cluster) {
    cluster.kubectl(&["delete", "role", "--all"]);
}

#[test]
fn who_may_not_exec_is_told_at_once_and_nothing_is_left() {
    let Some(cluster) = Cluster::new("no-exec") else {
        return;
    };
    let less = bind(&cluster, |resource| resource == "pods/exec");
    // Longer than any test: what is tried again and again does not end.
    let group = Group::new()
        .infra("initTimeout: 1h")
        .step("a", IMAGE, "shell: Sh", "echo never");
    let seen = run(&cluster, &group, &less);
    seen.says(
        "no exec",
        1,
        &["resource \"pods/exec\"", "bind the Role in"],
    );
    assert_eq!(seen.times("trying"), 0, "{}", seen.out);
    assert_eq!(seen.times("[s/g/a] never"), 0);
    unbind(&cluster);
}

#[test]
fn without_config_maps_the_agent_comes_in_an_image() {
    let Some(cluster) = Cluster::new("no-maps") else {
        return;
    };
    let less = bind(&cluster, |resource| resource == "configmaps");
    let group = Group::new().step("a", IMAGE, "shell: Sh", "echo there");
    run(&cluster, &group, &less).says(
        "neither",
        1,
        &[
            "cannot get resource \"configmaps\"",
            "or bring the agent in an image:",
        ],
    );
    let dir = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(false);
    let built = crate::agent::image_of_agent(dir.path());
    let named = registry.push(&built, "own/agent:1");
    let mut command = cluster.running_command(&group, &["--agent-image", &named]);
    command.env("KUBECONFIG", &less);
    let seen = Running::of(command).end();
    seen.says("by the command", 0, &["setup-addon", "[s/g/a] there"]);
    let tag = &agent_embed::digest()[..12];
    registry.push(&built, &format!("ours/stepyard/agent:{tag}"));
    let connector = format!(
        "connector: {{identifier: ours, name: ours, type: DockerRegistry, spec: {{dockerRegistryUrl: 'http://{}/ours', providerType: Other, auth: {{type: Anonymous}}}}}}\n",
        registry.host
    );
    let group = group
        .infra("harnessImageConnectorRef: ours")
        .document(&connector);
    let seen = run(&cluster, &group, &less);
    seen.says("by the connector", 0, &["setup-addon", "[s/g/a] there"]);
    unbind(&cluster);
}

/// Dumps all that the namespace has and searches it.
fn secrets_are_nowhere(cluster: &Cluster) {
    let kinds = cluster.kubectl(&[
        "api-resources",
        "--namespaced",
        "--verbs=list",
        "-o",
        "name",
    ]);
    let kinds: Vec<&str> = kinds.lines().filter(|kind| *kind != "secrets").collect();
    let dump = cluster.kubectl(&["get", &kinds.join(","), "-o", "json"]);
    assert!(dump.contains("\"kind\": \"Pod\"") && dump.contains("\"kind\": \"Event\""));
    let encoded = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    for value in ["a-hidden-word", "tc-secret"] {
        for form in [value.to_owned(), encoded(value)] {
            assert!(!dump.contains(&form), "{form}");
        }
    }
    let secrets = cluster.get("secrets", None);
    let items = secrets["items"].as_array().expect("secrets");
    assert_eq!(items.len(), 1, "{secrets:#}");
    assert_eq!(items[0]["type"], "kubernetes.io/dockerconfigjson");
    assert_eq!(items[0]["metadata"]["ownerReferences"][0]["kind"], "Pod");
    assert!(!secrets.to_string().contains(&encoded("a-hidden-word")));
}
