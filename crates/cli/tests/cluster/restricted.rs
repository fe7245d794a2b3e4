//! The restricted Pod Security Standard.

use crate::agent::image_of_agent;
use crate::support::{Group, Registry};
use crate::world::{Cluster, IMAGE};

#[test]
fn a_group_without_privileges_runs_in_a_restricted_namespace() {
    let Some(cluster) = Cluster::new("restricted") else {
        return;
    };
    let enforce = "pod-security.kubernetes.io/enforce=restricted";
    cluster.kubectl(&["label", "namespace", &cluster.namespace, enforce]);
    // An image without a shell: its one program is the agent, which can say its version.
    let dir = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(false);
    let bare = registry.push(&image_of_agent(dir.path()), "bare/agent:1");
    let plugin = format!(
        "step: {{identifier: plugin, name: plugin, type: Plugin, spec: {{image: '{bare}', entrypoint: [/stepyard-agent, version]}}}}"
    );
    let script = "id -u; touch /x 2>/dev/null || echo read-only; echo mine > /harness/file; grep -E '^(NoNewPrivs|CapEff):' /proc/self/status";
    let wanted = [
        "[s/g/plugin] stepyard-agent ",
        "[s/g/a] read-only",
        "[s/g/a] NoNewPrivs:\t1",
        "[s/g/a] CapEff:\t0000000000000000",
        "[s/g/b] mine",
    ];
    let group = |context: &str| {
        Group::new()
            .infra(&format!(
                "containerSecurityContext: {{readOnlyRootFilesystem: true{context}}}"
            ))
            .step("a", IMAGE, "shell: Sh", script)
            .raw(&plugin)
            .step("b", IMAGE, "shell: Sh", "cat file")
    };
    // Nobody says a user: one is given, for the image would run as root.
    let seen = cluster.run(&group(""), &[]);
    seen.says("no user", 0, &wanted);
    let told = "is restricted: containers have no capabilities and gain no privileges; step-a, ";
    seen.says(
        "no user",
        0,
        &[told, "where their images would run as root"],
    );
    assert_eq!(seen.times("[s/g/a] 0\n"), 0, "{}", seen.out);
    // Any user, and the agent from an image.
    let seen = cluster.run(&group(", runAsUser: 54321"), &["--agent-image", &bare]);
    seen.says("any user", 0, &wanted);
    seen.says("any user", 0, &["[s/g/a] 54321"]);
    // What is privileged is refused in the server's words.
    let group = Group::new().step("a", IMAGE, "shell: Sh, privileged: true", "true");
    cluster.run(&group, &[]).says(
        "privileged",
        1,
        &["violates PodSecurity \"restricted:latest\"", "step-a"],
    );
}
