//! A text as a pipeline with what lies beside it: read, and where nothing is wrong with it, expanded node by node.

use std::collections::BTreeMap;

use pipeline::model::{Loaded, Options, read};
use pipeline::plan::{NodeId, deadlocks, expand, root, unsupported};
use pipeline::resolve::{Fact, Known, World};
use syntax::Sources;
use syntax::diagnostic::{Report, Style, render};

/// Nodes of one plan that are looked at: a loop of thousands tells nothing more.
const NODES: usize = 200;

pub(crate) fn check(bytes: &[u8]) {
    let mut sources = Sources::new();
    let Ok(id) = sources.add_bytes("any.yaml", bytes.to_vec()) else {
        return;
    };
    let loaded = read(&sources, [id], Options { portable: true });
    for diagnostic in &loaded.diagnostics {
        assert!(!render(diagnostic, &sources, Style::PLAIN).is_empty());
        assert!(
            Report::new(diagnostic, &sources).line.is_some(),
            "a diagnostic without a place: {diagnostic:?}"
        );
    }
    plan(&loaded);
}

fn plan(loaded: &Loaded) {
    let Some(pipeline) = &loaded.pipeline else {
        return;
    };
    // These are asked also where there are errors: an editor shows all that can be told.
    let _ = deadlocks(pipeline);
    let _ = unsupported(pipeline);
    if loaded.has_errors() {
        return;
    }
    let known = Known::default();
    let nodes = BTreeMap::<NodeId, Fact>::new();
    let world = World {
        pipeline,
        entities: &loaded.entities,
        known: &known,
        nodes: &nodes,
    };
    let Ok(root) = root(&world) else { return };
    let mut seen = 0;
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        seen += 1;
        if seen > NODES {
            break;
        }
        let Ok(children) = expand(&world, &node.id) else {
            continue;
        };
        for child in &children {
            assert_ne!(child.id, node.id, "a node is its own child");
        }
        open.extend(children);
    }
}
