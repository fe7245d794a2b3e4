//! Documents that lie together: a pipeline is judged with the templates and entities of the files beside it.

use std::collections::HashSet;

use pipeline::model::{self, tree};
use syntax::yaml::Node;

/// The documents of one file.
pub(crate) type Documents = Vec<Node>;

/// Whether a file holds a pipeline.
pub(crate) fn is_pipeline(documents: &[Node]) -> bool {
    documents
        .iter()
        .any(|own| tree::get(own, "pipeline").is_some())
}

/// The documents of a file, and the entities of the others. Where an entity is in several files, the file's own counts: the
/// folders of several projects often each have one.
pub(crate) fn with_entities<'a>(
    own: &[Node],
    others: impl IntoIterator<Item = &'a Documents>,
) -> Documents {
    let mut documents = own.to_vec();
    let mut seen: HashSet<Key> = documents.iter().filter_map(key).collect();
    for document in others.into_iter().flatten() {
        let Some(key) = key(document) else { continue };
        // Manifests, charts, values lie beside pipelines, too: they are none of theirs.
        if key.0 != "pipeline" && model::is_root(&key.0) && (key.1.is_empty() || seen.insert(key)) {
            documents.push(document.clone());
        }
    }
    documents
}

/// The root of a document, its identifier, and what else tells it from others.
type Key = (String, String, String);

fn key(document: &Node) -> Option<Key> {
    let entry = document.as_mapping()?.entries.first()?;
    let text = |key: &str| {
        let own = tree::get(&entry.value, key).and_then(Node::as_text);
        own.unwrap_or_default().to_owned()
    };
    let more = [
        "versionLabel",
        "orgIdentifier",
        "projectIdentifier",
        "environmentRef",
    ]
    .map(text);
    Some((
        entry.key.text.to_string(),
        text("identifier"),
        more.join("/"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(text: &str) -> Documents {
        let mut sources = syntax::Sources::new();
        let id = sources.add("f.yaml", text.to_owned());
        syntax::yaml::parse(&sources, id).documents
    }

    #[test]
    fn what_is_of_another_kind_is_not_taken_in() {
        let own = documents("pipeline: {identifier: p}\n");
        let others = [
            documents("apiVersion: v1\nkind: Pod\n"),
            documents("pipeline: {identifier: q}\n"),
            documents("connector: {identifier: c}\n---\nreplicas: 3\n"),
            documents("connector: {identifier: c}\n"),
        ];
        let found = with_entities(&own, &others);
        let roots: Vec<_> = found.iter().filter_map(key).map(|key| key.0).collect();
        assert_eq!(roots, ["pipeline", "connector"]);
    }
}
