//! The entities that a local run takes from YAML: connectors and secrets. Others are kept as they are.

mod connector;
mod secret;

pub use connector::{
    ConnectionType, Connector, ConnectorCommon, ConnectorSpec, DockerAuth, DockerRegistry, GitAuth,
    GitConnector, GitKind, Kubernetes, ProviderType, Transport, UserName,
};
pub use secret::{Secret, SecretCommon, SecretKind, SecretValue};

use std::collections::HashMap;

use syntax::yaml::Node;
use syntax::{Diagnostic, Span, code};

use super::lower::Cx;
use super::name::{Identifier, Ref, Scope};
use super::template::Template;

/// Every entity of the documents.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entities {
    /// `connector:`.
    pub connectors: Vec<Connector>,
    /// `secret:`.
    pub secrets: Vec<Secret>,
    /// `template:`.
    pub templates: Vec<Template>,
    /// Every other known root.
    pub others: Vec<OtherEntity>,
}

/// A document whose root is known and that is read elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct OtherEntity {
    /// `service`, `environment`, …
    pub root: String,
    /// The root's key.
    pub span: Span,
    /// What is below it.
    pub value: Node,
}

impl Entities {
    /// The connector that a reference means. Where none is of its scope, it is any of that identifier: what lies beside
    /// a pipeline on one machine was often written for another place.
    pub fn connector(&self, reference: &Ref) -> Option<&Connector> {
        let exact = self.connectors.iter().find(|own| {
            means(
                reference,
                &own.identifier,
                own.org.is_some(),
                own.project.is_some(),
            )
        });
        let named = || {
            self.connectors
                .iter()
                .find(|own| own.identifier.as_str() == reference.id)
        };
        exact.or_else(named)
    }

    /// The secret that a reference means.
    pub fn secret(&self, reference: &Ref) -> Option<&Secret> {
        self.secrets.iter().find(|own| {
            means(
                reference,
                &own.identifier,
                own.org.is_some(),
                own.project.is_some(),
            )
        })
    }

    /// Takes in those of other documents.
    pub fn extend(&mut self, others: Self) {
        self.connectors.extend(others.connectors);
        self.secrets.extend(others.secrets);
        self.templates.extend(others.templates);
        self.others.extend(others.others);
    }
}

/// Whether a reference means an entity. One that names neither organization nor project is meant in any scope: beside
/// a pipeline, most files name none.
fn means(reference: &Ref, identifier: &Identifier, org: bool, project: bool) -> bool {
    let scope = match (org, project) {
        (_, true) => Some(Scope::Project),
        (true, false) => Some(Scope::Org),
        (false, false) => None,
    };
    identifier.as_str() == reference.id && scope.is_none_or(|scope| scope == reference.scope)
}

/// What is wrong with entities together: none twice.
pub(super) fn check(entities: &Entities, cx: &mut Cx) {
    let connectors = entities
        .connectors
        .iter()
        .map(|own| ("connector", &own.identifier, &own.org, &own.project));
    let secrets = entities
        .secrets
        .iter()
        .map(|own| ("secret", &own.identifier, &own.org, &own.project));
    let mut seen = HashMap::new();
    for (what, identifier, org, project) in connectors.chain(secrets) {
        if identifier.as_str().is_empty() {
            continue;
        }
        let (org, project) = (
            org.as_ref().map(|org| &org.value),
            project.as_ref().map(|project| &project.value),
        );
        if let Some(first) =
            seen.insert((what, identifier.as_str(), org, project), identifier.span())
        {
            cx.push(
                Diagnostic::error(
                    code::DUPLICATE_ENTITY,
                    format!("the {what} `{identifier}` is there twice"),
                )
                .at(identifier.span(), "again here")
                .at(first, "first here")
                .help("rename or remove one of them"),
            );
        }
    }
}
