//! The entities that a local run takes from YAML.

mod connector;
mod environment;
mod secret;
mod service;

pub use connector::{
    ConnectionType, Connector, ConnectorCommon, ConnectorSpec, DockerAuth, DockerRegistry, GitAuth,
    GitConnector, GitKind, Kubernetes, ProviderType, Transport, UserName,
};
pub use environment::{
    Environment, EnvironmentGroup, EnvironmentKind, GlobalValue, GlobalVariable, Infrastructure,
    Overridden, OverrideKind, Overrides, ServiceOverrides, ValueType,
};
pub use secret::{Secret, SecretCommon, SecretKind, SecretValue};
pub use service::{
    ArtifactSource, Artifacts, ConfigFile, ConfigFileEntry, Manifest, ManifestEntry, Primary,
    Service, ServiceDefinition, ServiceSpec, SidecarEntry,
};

use std::collections::HashMap;

use syntax::yaml::Node;
use syntax::{Diagnostic, Span, Spanned, code};

use super::lower::{Cx, Lower};
use super::name::{Identifier, Ref, Scope};
use super::template::Template;
use super::tree::{self, Fill};

/// Every entity of the documents.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entities {
    /// `connector:`.
    pub connectors: Vec<Connector>,
    /// `secret:`.
    pub secrets: Vec<Secret>,
    /// `template:`.
    pub templates: Vec<Template>,
    /// `service:`.
    pub services: Vec<Entity<Service>>,
    /// `environment:`.
    pub environments: Vec<Entity<Environment>>,
    /// `environmentGroup:`.
    pub groups: Vec<EnvironmentGroup>,
    /// `infrastructureDefinition:`.
    pub infrastructures: Vec<Entity<Infrastructure>>,
    /// `overrides:`.
    pub overrides: Vec<Entity<Overrides>>,
    /// `serviceOverrides:`.
    pub service_overrides: Vec<Entity<ServiceOverrides>>,
    /// `variable:`.
    pub variables: Vec<GlobalVariable>,
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

/// Which of the sources of an artifact is meant.
const CHOSEN: &str = ".primaryArtifactRef";

/// An entity that a stage may fill the inputs of, with the text of it to be filled.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity<T> {
    /// As it is written, its inputs open but for those with a default.
    pub own: T,
    /// The tree that it was read from.
    pub node: Node,
}

impl<T> std::ops::Deref for Entity<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.own
    }
}

impl<T> Entity<T> {
    /// Reads one.
    pub(super) fn read(node: &Node, name: &str, cx: &mut Cx) -> Option<Self>
    where
        T: Lower,
    {
        let mut own = T::lower(node, name, cx)?;
        let mut answered = node.clone();
        if tree::put_defaults(&mut answered) {
            // What is wrong in it was told above.
            own = T::lower(&answered, name, &mut Cx::default()).unwrap_or(own);
        }
        Some(Self {
            own,
            node: node.clone(),
        })
    }

    /// It with what is given for its inputs; none are given: itself. What does not fit is told.
    pub(crate) fn filled(
        &self,
        given: Option<&Node>,
        what: &str,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<T>
    where
        T: Lower + Clone,
    {
        let Some(given) = given else {
            return Some(self.own.clone());
        };
        let mut node = self.node.clone();
        let mut fill = Fill::strict(what, code::TEMPLATE_INPUT);
        fill.put(&mut node, given);
        diagnostics.append(&mut fill.diagnostics);
        tree::put_defaults(&mut node);
        T::lower(&node, what, &mut Cx::default())
    }

    /// What it asks for, has no default for and is not given, told at the `place` that names it: it can be given below the key
    /// `below`. Nothing, where all of it is asked of whoever starts the run.
    pub(crate) fn lacks(
        &self,
        given: Option<&Node>,
        place: Span,
        below: &str,
        what: &str,
    ) -> Vec<Diagnostic> {
        // The only artifact needs no choice.
        let is_free = |path: &str, node: &Node| {
            path.strip_suffix(CHOSEN).is_some_and(|head| {
                let sources = head.split('.').chain(["sources"]).try_fold(node, tree::get);
                sources.is_some_and(|own| own.as_sequence().is_some_and(|own| own.len() == 1))
            })
        };
        if given.is_some_and(tree::asks) {
            return Vec::new();
        }
        let mut node = self.node.clone();
        if let Some(given) = given {
            Fill::strict(what, code::TEMPLATE_INPUT).put(&mut node, given);
        }
        tree::put_defaults(&mut node);
        tree::missing(&node, self.node.span)
            .into_iter()
            .filter(|(path, _)| !is_free(path, &node))
            .map(|(path, asked)| {
                let help =
                    format!("add it below `{below}` of the stage, with a value or `<+input>`");
                tree::not_given(what, (&path, asked), place, help)
            })
            .collect()
    }
}

impl Entities {
    /// The service that a reference means.
    pub fn service(&self, reference: &str) -> Option<&Entity<Service>> {
        let reference = Ref::parse(reference)?;
        nearest_scope(&self.services, &reference, |own| {
            (&own.identifier, own.org.is_some(), own.project.is_some())
        })
    }

    /// The environment that a reference means.
    pub fn environment(&self, reference: &str) -> Option<&Entity<Environment>> {
        let reference = Ref::parse(reference)?;
        nearest_scope(&self.environments, &reference, |own| {
            (&own.identifier, own.org.is_some(), own.project.is_some())
        })
    }

    /// The group of environments that a reference means.
    pub fn group(&self, reference: &str) -> Option<&EnvironmentGroup> {
        let reference = Ref::parse(reference)?;
        nearest_scope(&self.groups, &reference, |own| {
            (&own.identifier, own.org.is_some(), own.project.is_some())
        })
    }

    /// An infrastructure of an environment.
    pub fn infrastructure(
        &self,
        environment: &str,
        identifier: &str,
    ) -> Option<&Entity<Infrastructure>> {
        self.infrastructures.iter().find(|own| {
            own.identifier.as_str() == identifier
                && own
                    .environment_ref
                    .as_ref()
                    .is_some_and(|other| same(&other.value, environment))
        })
    }

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
        self.services.extend(others.services);
        self.environments.extend(others.environments);
        self.groups.extend(others.groups);
        self.infrastructures.extend(others.infrastructures);
        self.overrides.extend(others.overrides);
        self.service_overrides.extend(others.service_overrides);
        self.variables.extend(others.variables);
        self.others.extend(others.others);
    }
}

/// Whether two references mean one entity; on one machine a scope is often left out.
pub(crate) fn same(one: &str, other: &str) -> bool {
    let bare = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
    one == other || bare(one) == bare(other)
}

/// The entity of a reference's scope, else any of that identifier.
fn nearest_scope<'e, T>(
    all: &'e [T],
    reference: &Ref,
    facts: impl Fn(&T) -> (&Identifier, bool, bool),
) -> Option<&'e T> {
    let exact = all.iter().find(|own| {
        let (identifier, org, project) = facts(own);
        means(reference, identifier, org, project)
    });
    exact.or_else(|| all.iter().find(|own| facts(own).0.as_str() == reference.id))
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
    let services = entities.services.iter().map(|own| {
        (
            "service",
            &own.own.identifier,
            &own.own.org,
            &own.own.project,
        )
    });
    let environments = entities.environments.iter().map(|own| {
        let own = &own.own;
        ("environment", &own.identifier, &own.org, &own.project)
    });
    templates(&entities.templates, cx);
    let mut seen = HashMap::new();
    for (what, identifier, org, project) in connectors
        .chain(secrets)
        .chain(services)
        .chain(environments)
    {
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

/// Of one identifier each version of a template is there once.
fn templates(templates: &[Template], cx: &mut Cx) {
    let text = |own: &Option<Spanned<String>>| own.as_ref().map(|own| own.value.clone());
    let mut seen = HashMap::new();
    for own in templates {
        let (org, project) = (text(&own.org), text(&own.project));
        let key = (
            own.identifier.as_str(),
            text(&own.version_label),
            org,
            project,
        );
        let (identifier, at) = (&own.identifier, own.identifier.span());
        let version = own.version_label.as_ref().map_or("", |own| &own.value);
        if let Some(first) = seen.insert(key, at) {
            cx.push(
                Diagnostic::error(
                    code::DUPLICATE_ENTITY,
                    format!(
                        "the template `{identifier}` is there twice in the version `{version}`"
                    ),
                )
                .at(at, "again here")
                .at(first, "first here")
                .help("give one of them another `versionLabel`, or remove it"),
            );
        }
    }
}
