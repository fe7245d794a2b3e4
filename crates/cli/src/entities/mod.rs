//! What a pipeline refers to: connectors, secrets and other entities, from further documents of its file and from `--entities`.
//!
//! On one machine there is one scope: `account.docker`, `org.docker` and `docker` mean a document of just that scope
//! if there is one, and else the one document with that identifier.

mod connector;
mod secret;

use std::collections::BTreeMap;
use std::path::PathBuf;

use syntax::yaml::{Mapping, Node};
use syntax::{Diagnostic, Sources, Span};

use crate::problem::Problem;
use crate::texts;

pub(crate) use connector::{Auth, Connector, Git, Kind, Registry, Value};

/// The roots of documents that are entities of the format.
const ROOTS: [&str; 12] = [
    "connector",
    "secret",
    "template",
    "service",
    "environment",
    "environmentGroup",
    "infrastructureDefinition",
    "overrides",
    "serviceOverrides",
    "inputSet",
    "overlayInputSet",
    "trigger",
];

/// Everything that was read for one command.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    /// Every text.
    pub(crate) sources: Sources,
    /// The pipeline's document: the mapping with the root `pipeline`.
    pub(crate) pipeline: Option<Node>,
    /// Connectors by reference: `id`, `org.id`, `account.id`.
    pub(crate) connectors: BTreeMap<String, Connector>,
    /// Values of secrets by reference.
    pub(crate) secrets: BTreeMap<String, String>,
    /// Templates, services and the like, as documents.
    pub(crate) others: Vec<Node>,
    /// Where values of secrets stand: they are left out of what is stored.
    pub(crate) redact: Vec<Span>,
    /// Problems of the texts.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Things worth saying that have no code of their own.
    pub(crate) warnings: Vec<String>,
    places: BTreeMap<(&'static str, String), Span>,
}

impl Documents {
    /// Reads the pipeline's file and the directories of entities.
    pub(crate) fn read(pipeline: &std::path::Path, entities: &[PathBuf]) -> Result<Self, Problem> {
        let mut documents = Self::default();
        documents.file(pipeline, true)?;
        for dir in entities {
            for file in texts::yaml_files(dir)? {
                // The pipeline may lie among its entities.
                if file != pipeline {
                    documents.file(&file, false)?;
                }
            }
        }
        Ok(documents)
    }

    fn file(&mut self, path: &std::path::Path, main: bool) -> Result<(), Problem> {
        let id = match texts::read(path, &mut self.sources)? {
            Ok(id) => id,
            Err(diagnostic) => {
                self.diagnostics.push(diagnostic);
                return Ok(());
            }
        };
        let parsed = syntax::yaml::parse(&self.sources, id);
        self.diagnostics.extend(parsed.diagnostics);
        for document in parsed.documents {
            self.document(document, main)?;
        }
        Ok(())
    }

    fn document(&mut self, document: Node, main: bool) -> Result<(), Problem> {
        let Some(mapping) = document.as_mapping() else {
            // The pipeline's own shape is told by its model.
            if main && self.pipeline.is_none() {
                self.pipeline = Some(document);
            }
            return Ok(());
        };
        if main
            && self.pipeline.is_none()
            && (mapping.entry("pipeline").is_some() || !is_entity(mapping))
        {
            self.pipeline = Some(document);
            return Ok(());
        }
        if let Some(node) = mapping.get("connector") {
            let connector =
                Connector::read(node).map_err(|e| self.wrong("connector", node.span, e))?;
            let reference = reference(node)?;
            self.place("connector", &reference, node.span)?;
            self.connectors.insert(reference, connector);
        } else if let Some(node) = mapping.get("secret") {
            let reference = reference(node)?;
            self.place("secret", &reference, node.span)?;
            if let Some((value, span)) = secret::value(node) {
                self.redact.push(span);
                self.secrets.insert(reference, value);
            }
        } else if is_entity(mapping) {
            self.others.push(document);
        } else if mapping.entry("pipeline").is_none() {
            let place = self.at(document.span);
            self.warnings.push(format!(
                "{place}: this document is none that Stepyard knows; it is not used"
            ));
        }
        Ok(())
    }

    fn place(&mut self, what: &'static str, reference: &str, span: Span) -> Result<(), Problem> {
        let key = (what, reference.to_owned());
        match self.places.get(&key) {
            None => {
                self.places.insert(key, span);
                Ok(())
            }
            Some(first) => {
                let (first, second) = (self.at(*first), self.at(span));
                Err(Problem::invalid(format!("the {what} `{reference}` is given twice, in {first} and in {second}"))
                    .help("remove one of them, or give them different scopes (orgIdentifier, projectIdentifier)"))
            }
        }
    }

    /// The connector of a reference.
    pub(crate) fn connector(&self, reference: &str) -> Option<&Connector> {
        find(&self.connectors, reference)
    }

    fn wrong(&self, what: &str, span: Span, error: String) -> Problem {
        Problem::invalid(format!("{}: this {what} {error}", self.at(span)))
    }

    /// `file:line` of a place.
    pub(crate) fn at(&self, span: Span) -> String {
        format!(
            "{}:{}",
            self.sources.get(span.source).name(),
            self.sources.start(span).line
        )
    }
}

/// The entry that a reference means: the very one, else the one with its bare identifier in whatever scope.
fn find<'a, T>(map: &'a BTreeMap<String, T>, reference: &str) -> Option<&'a T> {
    let bare = bare(reference);
    map.get(reference).or_else(|| {
        let mut like = map.iter().filter(|(key, _)| self::bare(key) == bare);
        like.next().map(|(_, value)| value)
    })
}

fn bare(reference: &str) -> &str {
    reference
        .strip_prefix("account.")
        .or_else(|| reference.strip_prefix("org."))
        .unwrap_or(reference)
}

fn is_entity(mapping: &Mapping) -> bool {
    ROOTS.iter().any(|root| mapping.entry(root).is_some())
}

/// What an entity is called in references.
fn reference(node: &Node) -> Result<String, Problem> {
    let text = |key: &str| {
        field(node, key)
            .and_then(Node::as_text)
            .filter(|t| !t.is_empty())
    };
    let Some(identifier) = text("identifier") else {
        return Err(Problem::invalid("an entity has no `identifier`")
            .help("every connector and secret needs one: it is what a pipeline refers to"));
    };
    Ok(match (text("orgIdentifier"), text("projectIdentifier")) {
        (None, _) => format!("account.{identifier}"),
        (Some(_), None) => format!("org.{identifier}"),
        (Some(_), Some(_)) => identifier.to_owned(),
    })
}

/// A key of a mapping.
fn field<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    node.as_mapping()?.get(key)
}

/// A key's text below others: `text(node, &["spec", "value"])`.
fn text<'n>(node: &'n Node, path: &[&str]) -> Option<&'n str> {
    let mut at = node;
    for key in path {
        at = field(at, key)?;
    }
    at.as_text().filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests;
