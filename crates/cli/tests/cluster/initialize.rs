//! What Initialize tells of a pod, and why one cannot start.

use crate::support::{Group, Registry, busybox, slow_registry};
use crate::world::{Cluster, IMAGE};

#[test]
fn the_initialize_log_is_the_pods_own_events() {
    let Some(cluster) = Cluster::new("events") else {
        return;
    };
    // The last step waits to be seen: a group of no-op steps may be over before its last event comes.
    let group = Group::new().step("a", IMAGE, "shell: Sh", "echo one").step(
        "b",
        IMAGE,
        "shell: Sh",
        "until [ -e /harness/seen ]; do sleep 0.1; done; echo two",
    );
    let mut run = cluster.start(&group);
    run.until("Started container step-b");
    let pod = cluster.pods()[0]["metadata"]["name"].clone();
    let pod = pod.as_str().expect("a name");
    let seen = ["exec", pod, "-c", "step-b", "--", "touch", "/harness/seen"];
    cluster.kubectl(&seen);
    run.end().says("the run", 0, &["[s/g/b] two"]);
    let log = cluster.home.call(&["logs", "Initialize"]);
    let lines: Vec<&str> = log.out.lines().collect();
    let at = |part: &str| {
        let found: Vec<usize> = (0..lines.len())
            .filter(|at| lines[*at].contains(part))
            .collect();
        assert_eq!(found.len(), 1, "`{part}` once in:\n{}{}", log.out, log.err);
        found[0]
    };
    let order = [
        "Successfully assigned ",
        "Created container step-a",
        "Started container step-a",
        "Created container lite-engine",
        "Started container lite-engine",
        "Created container step-b",
        "Started container step-b",
    ]
    .map(at);
    assert!(order.is_sorted(), "{}", log.out);
}

/// What cannot start, by what is written over a group of one step, and the words of the failure.
#[test]
fn what_cannot_start_says_who_why_and_what_to_do() {
    let Some(cluster) = Cluster::new("cannot-start") else {
        return;
    };
    let one = || Group::new().infra("initTimeout: 10s");
    let step = |group: Group| group.step("a", IMAGE, "shell: Sh", "echo never");
    let volume = |kind: &str, spec: &str| {
        step(one().infra(&format!(
            "volumes: [{{type: {kind}, mountPath: /v, spec: {{{spec}}}}}]"
        )))
    };
    let table = [
        (
            "unschedulable",
            step(one().infra("nodeSelector: {nowhere: here}")),
            vec![
                "the pod harnesscd-g-",
                "did not start within 10 s (initTimeout)",
                "didn't match Pod's node affinity/selector",
            ],
        ),
        (
            "config map",
            volume("ConfigMap", "name: none"),
            vec![
                "the pod harnesscd-g-",
                "did not start within 10 s (initTimeout)",
                "configmap \"none\" not found",
            ],
        ),
        (
            "secret",
            volume("Secret", "name: none"),
            vec!["secret \"none\" not found"],
        ),
        (
            "claim",
            volume("PersistentVolumeClaim", "claimName: none"),
            vec!["persistentvolumeclaim \"none\" not found"],
        ),
        (
            "service account",
            step(one().infra("serviceAccountName: none")),
            vec![
                "serviceaccount \"none\" not found",
                "create the service account",
            ],
        ),
        (
            "priority class",
            step(one().infra("priorityClassName: none")),
            vec!["no PriorityClass with name none was found"],
        ),
        (
            "an overlay's typing mistake",
            step(one().infra("podSpecOverlay: '{runtimeClass: gvisor}'")),
            vec!["unknown field \"spec.runtimeClass\""],
        ),
        (
            "never pulled",
            one().step(
                "a",
                "127.0.0.1:5050/tc/none:1",
                "shell: Sh, imagePullPolicy: Never",
                "true",
            ),
            vec![
                "the container step-a cannot start",
                "is not present with pull policy of Never",
            ],
        ),
        (
            "a wrong architecture",
            step(one().infra("nodeSelector: {kubernetes.io/arch: arm64}")),
            vec![
                "is for arm64 nodes, and the agent that this stepyard brings is for amd64",
                "--agent-image",
            ],
        ),
    ];
    for (name, group, parts) in table {
        let seen = cluster.run(&group, &[]);
        seen.says(name, 1, &parts);
        assert_eq!(seen.times("[s/g/a] never"), 0, "{name}");
    }
    let quota =
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: q}\nspec: {hard: {pods: 0}}\n";
    cluster.kubectl_with(&["apply", "-f", "-"], quota);
    let seen = cluster.run(&step(one()), &[]);
    seen.says("quota", 1, &["exceeded quota: q"]);
}

#[test]
fn a_namespace_that_is_not_there() {
    let Some(cluster) = Cluster::new("nowhere") else {
        return;
    };
    let group = Group::new().step("a", IMAGE, "shell: Sh", "true");
    cluster.home.write("p.yaml", group.text());
    let args = [
        "run",
        "p.yaml",
        "--kube",
        "--namespace",
        "no-such-namespace",
    ];
    let mut run = crate::world::Running::of(cluster.command(&args));
    run.until("namespaces \"no-such-namespace\" not found");
    run.end().says(
        "no namespace",
        1,
        &["create the namespace, or name another one with --namespace"],
    );
}

#[test]
fn five_bad_images_are_one_error_that_names_them_and_the_pod_goes() {
    let Some(cluster) = Cluster::new("five-images") else {
        return;
    };
    let wrong = Registry::start(true);
    let dir = tempfile::tempdir().expect("a directory");
    let arm = Registry::start(false);
    let arm = arm_image(&arm, dir.path());
    let images = [
        "127.0.0.1:5050/tc/none:1".to_owned(),
        "127.0.0.1:5050/tc/busybox:none".to_owned(),
        format!("{}/priv/x:1", wrong.host),
        arm,
        "host:/".to_owned(),
    ];
    let mut group = Group::new().step("fine", IMAGE, "shell: Sh", "sleep 30; echo never");
    for (n, image) in images.iter().enumerate() {
        group = group.step(&format!("s{n}"), image, "shell: Sh", "true");
    }
    let seen = cluster.run(&group, &[]);
    let named: Vec<&str> = images.iter().map(String::as_str).collect();
    seen.says("five", 1, &["5 images cannot be used"])
        .says("five", 1, &named);
    seen.says("five", 1, &["linux/arm64"]);
    assert_eq!(seen.times("[s/g/fine] never"), 0);
}

fn arm_image(registry: &Registry, dir: &std::path::Path) -> String {
    registry.push(&crate::support::layout(dir, "linux/arm64"), "arm/image:1")
}

#[test]
fn a_container_that_cannot_start_fails_its_own_step_only() {
    let Some(cluster) = Cluster::new("own-step") else {
        return;
    };
    let group = Group::new()
        .infra("containerSecurityContext: {runAsNonRoot: true, runAsUser: 1000}")
        .step("fine", IMAGE, "shell: Sh", "sleep 1; echo done")
        .step(
            "root",
            IMAGE,
            "shell: Sh, runAsUser: <+pipeline.identifier.length() - 1>",
            "echo never",
        );
    let seen = cluster.run(&group, &[]);
    seen.says(
        "own step",
        1,
        &[
            "[s/g/fine] done",
            "the container step-root cannot start",
            "container's runAsUser breaks non-root policy",
        ],
    );
    assert_eq!(seen.times("[s/g/root] never"), 0);
}

#[test]
fn the_first_step_starts_while_a_later_ones_image_is_pulled() {
    let Some(cluster) = Cluster::new("slow-image") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let (slow, gate) = slow_registry(&busybox(dir.path(), |_| {}));
    let group = Group::new()
        .step("first", IMAGE, "shell: Sh", "echo first runs")
        .step("late", &slow, "shell: Sh", "echo late runs");
    let mut run = cluster.start(&group);
    run.until("[s/g/first] first runs");
    // Nobody has had the image so far.
    gate.open();
    run.end().says("slow", 0, &["[s/g/late] late runs"]);
}
