//! The same pipelines, on this machine and on a cluster, give the same events.
//!
//! What runs side by side may come in another order, so the events are compared node by node, and the lines step by step. What is one
//! run's alone is left out by its key: see [`OWN`].

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Home, root};
use crate::world::{Cluster, IMAGE};

/// Pipelines of `examples/`: failures and what becomes of them, loops, rollback, outputs, a service.
const EXAMPLES: [&str; 17] = [
    "failures",
    "loops",
    "pipeline-rollback",
    "exports",
    "background",
    "fail-fast",
    "conditions",
    "errors",
    "expressions",
    "junit",
    "matrix-pods",
    "nested",
    "retry",
    "secret-outputs",
    "several",
    "stages",
    "timeouts",
];

/// Keys whose values say when, where or with how much, not what.
const OWN: [&str; 11] = [
    // Times, by several clocks, and what is counted from them.
    "at_ms",
    "started_ms",
    "ended_ms",
    "finished_ms",
    "until_ms",
    "elapsed_ms",
    "awake",
    // Each run, and each pod of it, has a name of its own.
    "run",
    "pod",
    // Measured.
    "peak_memory",
    "cpu_ms",
];

#[test]
fn here_and_on_a_cluster_the_same_happens() {
    let Some(cluster) = Cluster::new("alike") else {
        return;
    };
    if !root() {
        crate::world::skipped(
            "alike",
            "without root containers here may lack limits and users",
        );
        return;
    }
    let mut other = Vec::new();
    for name in EXAMPLES {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../examples/{name}.yaml"));
        let text = fs::read_to_string(&file).expect("an example");
        assert!(text.contains("host:/"), "{name} names its image so");
        let text = text.replace("host:/", IMAGE);
        let here = Home::new();
        here.write("p.yaml", &text);
        cluster.home.write("p.yaml", &text);
        let args = ["run", "p.yaml", "--output", "json"];
        let kube = ["--kube", "--namespace", &cluster.namespace];
        let (ours, theirs) = std::thread::scope(|scope| {
            let ours = scope.spawn(|| Told::by(here.command(&args)));
            let theirs = Told::by(cluster.command(&[&args[..], &kube].concat()));
            (ours.join().expect("it ran"), theirs)
        });
        let differ = ours.differs(&theirs);
        if !differ.is_empty() {
            other.push(format!("===== {name}\n{}", differ.join("\n")));
        }
    }
    assert!(other.is_empty(), "{}", other.join("\n"));
}

/// What a run told.
struct Told {
    code: Option<i32>,
    /// By node.
    events: BTreeMap<String, Vec<Value>>,
    /// By step.
    lines: BTreeMap<String, Vec<String>>,
}

impl Told {
    fn by(mut command: Command) -> Self {
        let out = command.output().expect("the binary is built");
        let said = String::from_utf8_lossy(&out.stderr);
        let mut told = Self {
            code: out.status.code(),
            events: BTreeMap::new(),
            lines: BTreeMap::new(),
        };
        for line in String::from_utf8_lossy(&out.stdout).lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            match line["kind"].as_str() {
                Some("event") => told.event(line["event"].clone()),
                Some("line") => {
                    let step = line["step"].as_str().expect("a step").to_owned();
                    let text = line["text"].as_str().expect("a text").to_owned();
                    told.lines.entry(step).or_default().push(text);
                }
                // The pod's own events: each backend has its words.
                _ => {}
            }
        }
        assert!(!told.events.is_empty(), "it told nothing: {said}");
        told
    }

    fn event(&mut self, mut event: Value) {
        strip(&mut event);
        let of = |key: &str| {
            let inner = event.as_object()?.values().next()?;
            inner[key].as_str().map(str::to_owned)
        };
        let node = ["node", "step", "group", "of"]
            .iter()
            .find_map(|key| of(key));
        let node = node.unwrap_or_default();
        self.events.entry(node).or_default().push(event);
    }

    /// A sentence for each node of which the other tells otherwise.
    fn differs(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.code != other.code {
            found.push(format!("ended with {:?} and {:?}", self.code, other.code));
        }
        found.extend(unlike("events", &self.events, &other.events));
        found.extend(unlike("lines", &self.lines, &other.lines));
        found
    }
}

fn unlike<T: PartialEq + std::fmt::Display>(
    what: &str,
    here: &BTreeMap<String, Vec<T>>,
    there: &BTreeMap<String, Vec<T>>,
) -> Vec<String> {
    let all: std::collections::BTreeSet<_> = here.keys().chain(there.keys()).collect();
    let told = |list: Option<&Vec<T>>| {
        let list = list.into_iter().flatten();
        list.fold(String::new(), |text, own| format!("{text}    {own}\n"))
    };
    all.into_iter()
        .filter(|node| here.get(*node) != there.get(*node))
        .map(|node| {
            let (here, there) = (told(here.get(node)), told(there.get(node)));
            format!("{what} of `{node}`\n  here\n{here}  on the cluster\n{there}")
        })
        .collect()
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|key, _| !OWN.contains(&key.as_str()));
            object.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}
