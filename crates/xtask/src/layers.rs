//! `cargo xtask check-layers`: arrows between crates point inwards only, and the pure crates stay pure.
//!
//! The table below is the only place that says what may depend on what. A crate without a row is refused, so that a new
//! one gets its place in the same commit.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::command::Cmd;

/// A crate of the workspace and the workspace crates that it may use, also in tests and build scripts.
const ROWS: &[(&str, &[&str])] = &[
    ("syntax", &[]),
    ("pipeline", &["syntax"]),
    ("addon", &[]),
    // The language of expressions is in `syntax`; the engine evaluates what `pipeline` left open.
    ("engine", &["syntax", "pipeline", "addon"]),
    ("agent", &["addon"]),
    // The agent's bytes, for the backends that bring them.
    ("agent-embed", &["agent"]),
    ("driver", &["addon", "engine", "pipeline"]),
    // Its feature `backend` says what it knows in the words of the driver's trait.
    ("image", &["driver", "pipeline"]),
    (
        "backend-native",
        &[
            "addon",
            "agent",
            "agent-embed",
            "driver",
            "image",
            "pipeline",
        ],
    ),
    (
        "backend-docker",
        &["addon", "agent-embed", "driver", "pipeline"],
    ),
    (
        "backend-kube",
        &["addon", "agent-embed", "driver", "image", "pipeline"],
    ),
    (
        "stepyard",
        &[
            "syntax",
            "pipeline",
            "addon",
            "engine",
            "agent",
            "agent-embed",
            "driver",
            "image",
            "backend-native",
            "backend-docker",
            "backend-kube",
        ],
    ),
    ("fuzz-targets", &["addon", "engine", "pipeline", "syntax"]),
    ("sim", &["addon", "driver", "engine", "pipeline"]),
    ("xtask", &["image"]),
];

/// The crates that decide and compute only: the clock, files, threads, randomness and the network are given to them.
const PURE: &[&str] = &["syntax", "pipeline", "engine", "addon"];

/// What would let a pure crate reach the machine. Looked for behind every dependency, not only the direct ones. `jiff` is none of it:
/// its arithmetic is used, and `clippy.toml` of `pipeline` forbids its clock and its way to the machine's zones.
const IMPURE: &[&str] = &[
    "async-std",
    "chrono",
    "fastrand",
    "getrandom",
    "hyper",
    "libc",
    "mio",
    "nix",
    "rand",
    "reqwest",
    "rustix",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
];

/// Reads `cargo metadata` and fails with a sentence for each edge that the table does not have.
pub(crate) fn check() -> Result<()> {
    let text = Cmd::cargo()
        .args(["metadata", "--format-version", "1"])
        .output()?;
    let metadata: Value =
        serde_json::from_str(&text).context("`cargo metadata` did not print JSON")?;
    let wrong = problems(&metadata, ROWS, PURE)?;
    if wrong.is_empty() {
        println!(
            "layers: {} crates, every arrow points inwards; {} are pure",
            members(&metadata)?.len(),
            PURE.len()
        );
        return Ok(());
    }
    for problem in &wrong {
        eprintln!("error: {problem}");
    }
    bail!(
        "{} of the workspace's edges break the layers; the table is in crates/xtask/src/layers.rs",
        wrong.len()
    )
}

/// The workspace's members: package id to name.
fn members(metadata: &Value) -> Result<BTreeMap<&str, &str>> {
    let names: BTreeMap<&str, &str> = list(metadata, "packages")?
        .iter()
        .filter_map(|p| Some((p["id"].as_str()?, p["name"].as_str()?)))
        .collect();
    Ok(list(metadata, "workspace_members")?
        .iter()
        .filter_map(|id| {
            names
                .get_key_value(id.as_str()?)
                .map(|(id, name)| (*id, *name))
        })
        .collect())
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key]
        .as_array()
        .with_context(|| format!("`cargo metadata` has no list `{key}`"))
}

fn problems(metadata: &Value, rows: &[(&str, &[&str])], pure: &[&str]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let members = members(metadata)?;
    let rows: BTreeMap<&str, &[&str]> = rows.iter().copied().collect();
    for package in list(metadata, "packages")? {
        let Some(name) = package["id"].as_str().and_then(|id| members.get(id)) else {
            continue;
        };
        let Some(allowed) = rows.get(name) else {
            wrong.push(format!(
                "crate `{name}` has no row in the table of layers: give it its place there"
            ));
            continue;
        };
        let used: BTreeSet<&str> = list(package, "dependencies")?
            .iter()
            .filter(|d| d["path"].is_string())
            .filter_map(|d| d["name"].as_str())
            .collect();
        for other in used
            .iter()
            .filter(|other| *other != name && !allowed.contains(other))
        {
            let may = if allowed.is_empty() {
                "no crate of the workspace".to_owned()
            } else {
                allowed.join(", ")
            };
            wrong.push(format!(
                "`{name}` uses `{other}`: that arrow points outwards; it may use {may}"
            ));
        }
    }
    wrong.extend(impure(metadata, &members, pure)?);
    Ok(wrong)
}

/// The ways from a pure crate to what it must not reach, by the resolved graph without dev- and build-dependencies.
fn impure(metadata: &Value, members: &BTreeMap<&str, &str>, pure: &[&str]) -> Result<Vec<String>> {
    let names: BTreeMap<&str, &str> = list(metadata, "packages")?
        .iter()
        .filter_map(|p| Some((p["id"].as_str()?, p["name"].as_str()?)))
        .collect();
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in list(&metadata["resolve"], "nodes")? {
        let Some(id) = node["id"].as_str() else {
            continue;
        };
        let normal = list(node, "deps")?
            .iter()
            .filter(|d| {
                d["dep_kinds"]
                    .as_array()
                    .is_some_and(|kinds| kinds.iter().any(|k| k["kind"].is_null()))
            })
            .filter_map(|d| d["pkg"].as_str());
        edges.insert(id, normal.collect());
    }
    let mut wrong = Vec::new();
    for (root, name) in members.iter().filter(|(_, name)| pure.contains(*name)) {
        // Breadth first, so that the shortest way is the one that is told.
        let mut from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut next = std::collections::VecDeque::from([*root]);
        while let Some(id) = next.pop_front() {
            for &dep in edges.get(id).into_iter().flatten() {
                if dep == *root || from.contains_key(dep) {
                    continue;
                }
                from.insert(dep, id);
                if names.get(dep).is_some_and(|n| IMPURE.contains(n)) {
                    let mut way = vec![names[dep]];
                    let mut at = id;
                    while at != *root {
                        way.push(names.get(at).copied().unwrap_or(at));
                        at = from[at];
                    }
                    way.push(name);
                    way.reverse();
                    wrong.push(format!(
                        "`{name}` is pure, but reaches `{}` ({}): what it needs from the machine is to be given to it",
                        names[dep],
                        way.join(" → ")
                    ));
                } else {
                    next.push_back(dep);
                }
            }
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn world(edges: &[(&str, &str, &str)]) -> Value {
        let mut names: BTreeSet<&str> = ["inner", "outer"].into();
        names.extend(edges.iter().map(|e| e.1));
        let dependencies = |of: &str| -> Vec<Value> {
            let used = edges.iter().filter(|e| e.0 == of);
            used.map(|e| match e.1 {
                "inner" | "outer" => json!({"name": e.1, "path": format!("/{}", e.1)}),
                _ => json!({"name": e.1, "path": null}),
            })
            .collect()
        };
        let deps = |of: &str| -> Vec<Value> {
            let kind = |k: &str| if k == "normal" { Value::Null } else { json!(k) };
            let used = edges.iter().filter(|e| e.0 == of);
            used.map(|e| json!({"pkg": e.1, "dep_kinds": [{"kind": kind(e.2)}]}))
                .collect()
        };
        json!({
            "workspace_members": ["inner", "outer"],
            "packages": names.iter().map(|n| json!({"id": n, "name": n, "dependencies": dependencies(n)})).collect::<Vec<_>>(),
            "resolve": {"nodes": names.iter().map(|n| json!({"id": n, "deps": deps(n)})).collect::<Vec<_>>()},
        })
    }

    const TABLE: &[(&str, &[&str])] = &[("inner", &[]), ("outer", &["inner"])];

    #[test]
    fn an_arrow_inwards_is_allowed_and_one_outwards_is_not() {
        let good = world(&[("outer", "inner", "normal")]);
        assert_eq!(
            problems(&good, TABLE, &["inner"]).unwrap(),
            Vec::<String>::new()
        );
        // Also where only a test uses it: tests that need an outer layer belong there.
        for kind in ["normal", "dev"] {
            let wrong = problems(&world(&[("inner", "outer", kind)]), TABLE, &[]).unwrap();
            assert_eq!(
                wrong,
                [
                    "`inner` uses `outer`: that arrow points outwards; it may use no crate of the workspace"
                ]
            );
        }
    }

    #[test]
    fn a_crate_without_a_row_is_refused() {
        let wrong = problems(&world(&[]), &TABLE[..1], &[]).unwrap();
        assert_eq!(
            wrong,
            ["crate `outer` has no row in the table of layers: give it its place there"]
        );
    }

    #[test]
    fn a_pure_crate_reaches_the_machine_through_nobody() {
        let wrong = problems(
            &world(&[("inner", "helper", "normal"), ("helper", "tokio", "normal")]),
            TABLE,
            &["inner"],
        );
        let words = "`inner` is pure, but reaches `tokio` (inner → helper → tokio): what it needs from the machine is to be given to it";
        assert_eq!(wrong.unwrap(), [words]);
        let tests_may = world(&[("inner", "tokio", "dev")]);
        assert_eq!(
            problems(&tests_may, TABLE, &["inner"]).unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn every_name_in_the_table_has_a_row_itself() {
        let rows: BTreeSet<&str> = ROWS.iter().map(|r| r.0).collect();
        for (name, allowed) in ROWS {
            let unknown: Vec<_> = allowed.iter().filter(|a| !rows.contains(*a)).collect();
            assert!(
                unknown.is_empty(),
                "{name} may use {unknown:?}, which the table does not have"
            );
            assert!(!allowed.contains(name));
        }
    }
}
