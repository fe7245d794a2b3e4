//! Every setting of a group: read from inside the running containers, and from the object that the API server has.

use serde_json::{Value, json};

use crate::support::Group;
use crate::world::{Cluster, IMAGE};

/// What the table's pipeline refers to, in the namespace and outside of it.
const OBJECTS: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: builder}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {key: \"from the config map\\n\"}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {key: \"from the secret\\n\"}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: cache}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Mi}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: given}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Mi}}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: stepyard-tests}
value: 7
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: stepyard-tests}
handler: runc
";

/// The settings, as a user writes them.
const INFRA: &str = "serviceAccountName: ' builder '
automountServiceAccountToken: true
labels: {team: a, stepID: mine}
annotations: {note: words}
priorityClassName: stepyard-tests
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: dedicated, operator: Equal, value: cd, effect: NoExecute, tolerationSeconds: 60}]
hostNames: [db.local, cache.local]
initTimeout: 60s
runAsUser: 1234
containerSecurityContext: {runAsGroup: 4321, capabilities: {drop: [ALL], add: [KILL]}, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true}
volumes: [{type: EmptyDir, mountPath: /memory, spec: {medium: Memory, size: 8Mi}}, {type: HostPath, mountPath: /host, spec: {path: /etc, type: Directory}}, {type: PersistentVolumeClaim, mountPath: /cache, spec: {claimName: cache}}, {type: PersistentVolumeClaim, mountPath: /given, spec: {claimName: given, readOnly: true}}, {type: ConfigMap, mountPath: /settings, spec: {name: settings}}, {type: Secret, mountPath: /keys, spec: {name: keys}}, {type: ConfigMap, mountPath: /maybe, spec: {name: none, optional: true}}]
podSpecOverlay: \"{runtimeClassName: stepyard-tests, topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {team: a}}}], affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/os, operator: In, values: [linux]}]}]}}}, containers: [{name: step-limits, resources: {requests: {ephemeral-storage: 1Mi}}}]}\"";

#[test]
fn every_setting_of_a_group_reaches_the_object_and_the_containers() {
    let Some(cluster) = Cluster::new("settings") else {
        return;
    };
    cluster.kubectl_with(&["apply", "-f", "-"], OBJECTS);
    let image = IMAGE;
    let sh = "shell: Sh";
    let mut group = Group::new().key("sharedPaths: [/shared, /var/shared/deep]");
    for line in INFRA.lines() {
        group = group.infra(line);
    }
    let group = group
        .step("ids", image, sh, "echo $(id -u) $(id -g); grep -E '^(NoNewPrivs|CapEff|Seccomp):' /proc/self/status; touch /x 2>/dev/null || echo read-only; pwd; echo to b > /shared/file; echo deep > /var/shared/deep/file")
        .step("volumes", image, sh, "cat /shared/file /var/shared/deep/file /settings/key /keys/key; grep -c ^root: /host/passwd; grep ' /memory ' /proc/mounts; head -c 9000000 /dev/zero > /memory/x 2>/dev/null || echo full; ls /maybe | wc -l; grep -E 'db|cache' /etc/hosts; test -s /var/run/secrets/kubernetes.io/serviceaccount/token && echo token")
        .step("claim", image, "shell: Sh, runAsUser: 0", "echo kept > /cache/file; cat /cache/file; touch /given/x 2>/dev/null || echo claim read-only; id -u")
        .step("limits", image, "shell: Sh, resources: {limits: {memory: 64Mi, cpu: 500m}}", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null || true")
        .step("privileged", image, "shell: Sh, privileged: true, runAsUser: 0", "grep CapEff /proc/self/status; ls /dev | grep -c loop")
        .step("hold", image, sh, "echo holding; until [ -e /shared/go ]; do sleep 0.1; done");
    let mut run = cluster.start(&group);
    run.until("holding");
    let pod = cluster.pods()[0].clone();
    cluster.kubectl(&[
        "exec",
        pod["metadata"]["name"].as_str().expect("a name"),
        "-c",
        "step-hold",
        "--",
        "touch",
        "/shared/go",
    ]);
    run.end().says(
        "settings",
        0,
        &[
            "[s/g/ids] 1234 4321\n",
            "[s/g/ids] NoNewPrivs:\t1\n",
            "[s/g/ids] CapEff:\t0000000000000000\n",
            "[s/g/ids] Seccomp:\t2\n",
            "[s/g/ids] read-only\n",
            "[s/g/ids] /harness\n",
            "[s/g/volumes] to b\n",
            "[s/g/volumes] deep\n",
            "[s/g/volumes] from the config map\n",
            "[s/g/volumes] from the secret\n",
            "[s/g/volumes] 1\n",
            "[s/g/volumes] tmpfs /memory tmpfs",
            "[s/g/volumes] full\n",
            "[s/g/volumes] 127.0.0.1\tdb.local\tcache.local\n",
            "[s/g/volumes] token\n",
            "[s/g/claim] kept\n",
            "[s/g/claim] claim read-only\n",
            "[s/g/claim] 0\n",
            "[s/g/limits] 67108864\n",
            "[s/g/privileged] CapEff:\t000001ff",
        ],
    );
    object(&cluster, &pod);
    cluster.kubectl(&[
        "delete",
        "configmap/settings",
        "secret/keys",
        "persistentvolumeclaim/cache",
        "persistentvolumeclaim/given",
    ]);
}

/// What the object has, by the path in it.
fn object(cluster: &Cluster, pod: &Value) {
    let (meta, spec) = (&pod["metadata"], &pod["spec"]);
    let name = meta["name"].as_str().unwrap_or_default();
    assert!(
        name.starts_with("harnesscd-g-") && name.len() == 12 + 8,
        "{name}"
    );
    let table = [
        (&meta["labels"]["team"], json!("a")),
        (&meta["labels"]["stepID"], json!("mine")),
        (&meta["labels"]["pipelineID"], json!("p")),
        (&meta["labels"]["accountID"], json!("local")),
        (&meta["annotations"]["note"], json!("words")),
        (
            &meta["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"],
            json!("false"),
        ),
        (
            &meta["annotations"]["karpenter.sh/do-not-disrupt"],
            json!("true"),
        ),
        (&spec["restartPolicy"], json!("Never")),
        (&spec["activeDeadlineSeconds"], json!(86_400)),
        (&spec["serviceAccountName"], json!("builder")),
        (&spec["automountServiceAccountToken"], json!(true)),
        (&spec["priorityClassName"], json!("stepyard-tests")),
        (&spec["priority"], json!(7)),
        (&spec["nodeSelector"]["kubernetes.io/os"], json!("linux")),
        (&spec["nodeSelector"]["kubernetes.io/arch"], json!("amd64")),
        (&spec["runtimeClassName"], json!("stepyard-tests")),
        (
            &spec["topologySpreadConstraints"][0]["topologyKey"],
            json!("kubernetes.io/hostname"),
        ),
        (
            &spec["hostAliases"][0]["hostnames"],
            json!(["db.local", "cache.local"]),
        ),
        (&spec["securityContext"]["runAsUser"], json!(1234)),
        (&spec["containers"][1]["name"], json!("lite-engine")),
        (
            &spec["containers"][1]["securityContext"]["runAsUser"],
            json!(1234),
        ),
        (
            &spec["containers"][1]["securityContext"]["privileged"],
            Value::Null,
        ),
        (&spec["containers"][0]["name"], json!("step-ids")),
    ];
    for (found, wanted) in table {
        assert_eq!(*found, wanted, "{pod:#}");
    }
    let of = |name: &str| {
        let all = spec["containers"].as_array().expect("containers");
        all.iter()
            .find(|own| own["name"] == name)
            .expect(name)
            .clone()
    };
    assert_eq!(
        of("step-limits")["resources"]["limits"],
        json!({"cpu": "500m", "memory": "64Mi"})
    );
    assert_eq!(
        of("step-limits")["resources"]["requests"]["ephemeral-storage"],
        json!("1Mi")
    );
    assert_eq!(
        of("step-privileged")["securityContext"]["privileged"],
        json!(true)
    );
    let toleration = json!({"key": "dedicated", "operator": "Equal", "value": "cd", "effect": "NoExecute", "tolerationSeconds": 60});
    let tolerations = spec["tolerations"].as_array().expect("tolerations");
    assert!(tolerations.contains(&toleration), "{tolerations:?}");
    assert_eq!(meta["namespace"], json!(cluster.namespace));
}

#[test]
fn what_is_shown_is_what_is_applied() {
    let Some(cluster) = Cluster::new("shown") else {
        return;
    };
    let image = IMAGE;
    let mut group = Group::new().key("sharedPaths: [/shared]");
    // Without what refers to other objects of the cluster: the dry run looks them up.
    for line in INFRA.lines().filter(|l| {
        ![
            "serviceAccountName",
            "priorityClassName",
            "podSpecOverlay",
            "volumes",
        ]
        .iter()
        .any(|key| l.starts_with(key))
    }) {
        group = group.infra(line);
    }
    let group = group
        .step(
            "a",
            image,
            "shell: Sh, resources: {limits: {memory: 1Gi}, requests: {cpu: 100m}}",
            "echo holding; until [ -e /shared/go ]; do sleep 0.1; done",
        )
        .step(
            "b",
            image,
            "shell: Sh, resources: {limits: {memory: 2Gi}}",
            "true",
        );
    cluster.home.write("p.yaml", group.text());
    let args = ["pod", "--kube", "--namespace", &cluster.namespace, "p.yaml"];
    let shown = cluster
        .command(&args)
        .output()
        .expect("the binary is built");
    let shown = String::from_utf8(shown.stdout).expect("YAML");
    let dry = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
    let accepted: Value = serde_json::from_str(&cluster.kubectl_with(&dry, &shown)).expect("JSON");
    let mut run = cluster.start(&group);
    run.until("holding");
    let applied = cluster.pods()[0].clone();
    cluster.kubectl(&[
        "exec",
        applied["metadata"]["name"].as_str().expect("a name"),
        "-c",
        "step-a",
        "--",
        "touch",
        "/shared/go",
    ]);
    run.end().says("the run", 0, &[]);
    // What the server adds to both is the same but for names, times and the token's volume.
    let strip = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        for key in ["nodeName", "volumes"] {
            spec.as_object_mut().expect("a spec").remove(key);
        }
        for container in spec["containers"].as_array_mut().expect("containers") {
            let mounts = container["volumeMounts"].as_array_mut().expect("mounts");
            mounts.retain(|mount| {
                mount["name"]
                    .as_str()
                    .is_some_and(|name| !name.starts_with("kube-api-access"))
            });
        }
        spec
    };
    assert_eq!(strip(&accepted), strip(&applied));
    // The larger of two serial steps, and what the other resource is asked for.
    assert_eq!(
        applied["spec"]["resources"]["requests"],
        json!({"cpu": "100m", "memory": "2Gi"})
    );
}

#[test]
fn ten_steps_of_a_gibibyte_need_room_for_one() {
    let Some(cluster) = Cluster::new("requests") else {
        return;
    };
    // Ten such pods would not be allowed: the quota has room for one and what ten containers ask for besides.
    cluster.kubectl_with(&["apply", "-f", "-"], "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: q}\nspec: {hard: {requests.memory: 1200Mi}}\n");
    let mut group = Group::new();
    for n in 0..10 {
        group = group.step(
            &format!("s{n}"),
            IMAGE,
            "shell: Sh, resources: {limits: {memory: 1Gi}}",
            &format!("echo {n}"),
        );
    }
    let seen = cluster.run(&group, &[]);
    seen.says("ten steps", 0, &["[s/g/s9] 9\n"]);
}
