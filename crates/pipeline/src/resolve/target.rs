//! What a stage deploys and where: its service, environment and infrastructure out of the entities, with what the stage gives
//! for their inputs and with what is overridden there.
//!
//! Layers of variables and manifests, the later wins (`reference/entities.md` §7): the service, then the overrides of every
//! service in the environment, of this one in it, of every one on the infrastructure, of this one on it; inside of each
//! account, organization, project. Where there is any `overrides:` entity, the older form (`environment.variables`,
//! `serviceOverrides:`) does not count, as with the setting of that name elsewhere.

use syntax::Diagnostic;
use syntax::expr::{Lookup, Scope, SecretRef, Template, Value};

use crate::model::{
    ConfigFileEntry, Deployment, Entity, Environment, EnvironmentLink, Infrastructure,
    InfrastructureLink, ManifestEntry, Overridden, OverrideKind, Overrides, Param, Service,
    ServiceLink, Stage, StageSpec, Variable, Variables, same,
};

use super::known::World;
use super::scope::At;

/// How often a stage may take its service or environment from another one.
const MOST_STAGES: usize = 50;

/// What a stage deploys, and where.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Target {
    /// As the stage names the service.
    pub service_ref: Option<String>,
    /// The service, where it is among the entities.
    pub service: Option<Service>,
    /// As the stage names the environment.
    pub environment_ref: Option<String>,
    /// The environment, where it is among the entities.
    pub environment: Option<Environment>,
    /// As the stage names the group that the environment is of.
    pub group_ref: Option<String>,
    /// As the stage names the infrastructure.
    pub infrastructure_ref: Option<String>,
    /// The infrastructure, where it is among the entities.
    pub infrastructure: Option<Infrastructure>,
    /// The stage names a service, be it by an input that nothing has answered.
    pub names_service: bool,
    /// The same of an environment.
    pub names_environment: bool,
    /// What is overridden, the lowest first.
    pub layers: Vec<Layer>,
    /// What does not fit.
    pub diagnostics: Vec<Diagnostic>,
}

/// One override.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layer {
    /// Variables over those of the service.
    pub variables: Option<Variables>,
    /// Manifests after those of the service.
    pub manifests: Vec<ManifestEntry>,
    /// Files in place of those of the service.
    pub config_files: Vec<ConfigFileEntry>,
}

impl Target {
    /// Of the stage at a place; none where it is in no stage.
    pub fn of(at: &At<'_, '_>) -> Option<Self> {
        let (stage, _) = at.place.stage.as_ref()?;
        Some(Self::of_stage(at, stage))
    }

    fn of_stage(at: &At<'_, '_>, stage: &Stage) -> Self {
        let mut target = Self::default();
        let entities = at.world.entities;
        if let Some(link) = service_link(at, stage) {
            target.service_ref = link.service_ref.as_ref().and_then(|own| literal(at, own));
            let found = target
                .service_ref
                .as_deref()
                .and_then(|own| entities.service(own));
            if let Some(found) = found {
                let what = format!("service `{}`", found.identifier);
                let given = link.inputs.as_ref();
                target.service = found.filled(given, &what, &mut target.diagnostics);
            }
        }
        let (link, group) = environment_link(at, stage);
        target.group_ref = group;
        target.names_service = has_service(at, stage);
        target.names_environment = has_environment(at, stage);
        // One that a group or a filter takes is named by the iteration alone.
        let reference = match &link {
            Some(link) => link
                .environment_ref
                .as_ref()
                .and_then(|own| literal(at, own)),
            None if several(stage) => axis(at, "environmentRef"),
            None => None,
        };
        if let Some(reference) = reference {
            target.environment(at, &reference, link);
        }
        target
    }

    fn environment(&mut self, at: &At<'_, '_>, reference: &str, link: Option<&EnvironmentLink>) {
        let entities = at.world.entities;
        self.environment_ref = Some(reference.to_owned());
        let inputs = link.and_then(|own| own.inputs.as_ref());
        if let Some(found) = entities.environment(reference) {
            let what = format!("environment `{}`", found.identifier);
            self.environment = found.filled(inputs, &what, &mut self.diagnostics);
        }
        let wanted = axis(at, "identifier").or_else(|| {
            let link = link?;
            let many = link.infrastructures.as_ref().and_then(Param::literal);
            let one = match many.map(Vec::as_slice) {
                Some([one]) => Some(one),
                Some(_) => None,
                None => link.infrastructure.as_ref(),
            };
            literal(at, one?.identifier.as_ref()?)
        });
        if let Some(wanted) = wanted {
            if let Some(found) = entities.infrastructure(reference, &wanted) {
                let what = format!("infrastructure `{wanted}`");
                let given = link.and_then(|own| infrastructure_link(own, &wanted)?.inputs.as_ref());
                self.infrastructure = found.filled(given, &what, &mut self.diagnostics);
            }
            self.infrastructure_ref = Some(wanted);
        } else if link.and_then(|own| own.deploy_to_all.as_ref()?.literal()) == Some(&true) {
            let mut all = entities.infrastructures.iter().filter(|own| {
                own.environment_ref
                    .as_ref()
                    .is_some_and(|own| same(&own.value, reference))
            });
            if let (Some(one), None) = (all.next(), all.next()) {
                self.infrastructure_ref = Some(one.identifier.to_string());
                self.infrastructure = Some(one.own.clone());
            }
        }
        self.layers(at.world, reference, link);
    }

    fn layers(&mut self, world: &World<'_>, environment: &str, link: Option<&EnvironmentLink>) {
        let entities = world.entities;
        let service = self.service_ref.clone().unwrap_or_default();
        if entities.overrides.is_empty() {
            if let Some(own) = &self.environment {
                let mut layer = own.overrides.as_ref().map(layer).unwrap_or_default();
                layer.variables = own.variables.clone().or(layer.variables);
                self.layers.push(layer);
            }
            for own in &entities.service_overrides {
                let fits = own
                    .environment_ref
                    .as_ref()
                    .is_some_and(|own| same(&own.value, environment))
                    && own
                        .service_ref
                        .as_ref()
                        .is_some_and(|own| same(&own.value, &service));
                if !fits {
                    continue;
                }
                let what = format!("the overrides of service `{service}`");
                let given = link.and_then(|own| own.override_inputs.as_ref());
                let filled = own.filled(given, &what, &mut self.diagnostics);
                self.layers.extend(filled.map(|own| layer(&own.own)));
            }
            return;
        }
        let mut these: Vec<(OverrideKind, u8, &Entity<Overrides>)> = entities
            .overrides
            .iter()
            .filter_map(|own| {
                let kind = kind(own)?;
                let is = |written: &Option<syntax::Spanned<String>>, wanted: &str| {
                    written.as_ref().is_some_and(|own| same(&own.value, wanted))
                };
                let of_service =
                    matches!(kind, OverrideKind::EnvService | OverrideKind::InfraService);
                let of_infra =
                    matches!(kind, OverrideKind::InfraGlobal | OverrideKind::InfraService);
                let infra = self.infrastructure_ref.as_deref().unwrap_or_default();
                let fits = is(&own.environment_ref, environment)
                    && (!of_service || is(&own.service_ref, &service))
                    && (!of_infra || is(&own.infrastructure, infra));
                let scope = match (&own.org, &own.project) {
                    (_, Some(_)) => 2,
                    (Some(_), None) => 1,
                    (None, None) => 0,
                };
                fits.then_some((kind, scope, own))
            })
            .collect();
        these.sort_by_key(|(kind, scope, _)| (*kind as u8, *scope));
        for (kind, _, own) in these {
            let given = match kind {
                OverrideKind::EnvGlobal => {
                    link.and_then(|own| own.inputs.as_ref()).and_then(|own| {
                        let inner = own.as_mapping()?.get("overrides");
                        inner.filter(|own| own.as_mapping().is_some())
                    })
                }
                OverrideKind::EnvService => link.and_then(|own| own.override_inputs.as_ref()),
                _ => None,
            };
            let filled = own.filled(given, "the overrides", &mut self.diagnostics);
            if let Some(own) = filled {
                let mut made = layer(&own.own);
                if let Some(spec) = &own.spec {
                    made = layer(spec);
                }
                self.layers.push(made);
            }
        }
    }

    /// What is overridden is not known: the environment is not here, or which service it is has not been answered.
    pub fn has_open_layers(&self) -> bool {
        (self.names_environment && self.environment.is_none())
            || (self.names_service && self.service_ref.is_none())
    }

    /// A variable of the service by its name, as it is after every override.
    pub fn variable(&self, name: &str) -> Option<&Variable> {
        self.overridden(name)
            .or_else(|| self.service.as_ref()?.spec()?.variables.as_ref()?.get(name))
    }

    /// The highest override of a variable.
    pub fn overridden(&self, name: &str) -> Option<&Variable> {
        self.layers
            .iter()
            .rev()
            .find_map(|layer| layer.variables.as_ref()?.get(name))
    }

    /// Names of the variables that are overridden; with `all`, those of the service too.
    pub fn names(&self, all: bool) -> Vec<&str> {
        let service = self
            .service
            .as_ref()
            .filter(|_| all)
            .and_then(|own| own.spec()?.variables.as_ref());
        let layers = self.layers.iter().filter_map(|own| own.variables.as_ref());
        let mut names: Vec<&str> = service
            .into_iter()
            .chain(layers)
            .flat_map(|own| &own.0)
            .filter_map(|own| Some(own.name.as_ref()?.value.as_str()))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The manifests of the service, then those of the overrides, in order.
    pub fn manifests(&self) -> impl Iterator<Item = &crate::model::Manifest> {
        let own = self
            .service
            .as_ref()
            .and_then(|own| own.spec()?.manifests.as_ref()?.literal());
        own.into_iter()
            .flatten()
            .chain(self.layers.iter().flat_map(|layer| &layer.manifests))
            .filter_map(|entry| entry.manifest.as_ref())
    }

    /// A file of the service, or what replaces it.
    pub fn config_file(&self, identifier: &str) -> Option<&crate::model::ConfigFile> {
        let own = self
            .service
            .as_ref()
            .and_then(|own| own.spec()?.config_files.as_ref()?.literal());
        let layers = self.layers.iter().rev().flat_map(|own| &own.config_files);
        layers
            .chain(own.into_iter().flatten())
            .filter_map(|entry| entry.file.as_ref())
            .find(|file| file.identifier.as_str() == identifier)
    }
}

fn layer(own: &Overridden) -> Layer {
    let list = own.manifests.as_ref().and_then(Param::literal);
    let files = own.config_files.as_ref().and_then(Param::literal);
    Layer {
        variables: own.variables.clone(),
        manifests: list.cloned().unwrap_or_default(),
        config_files: files.cloned().unwrap_or_default(),
    }
}

/// What an override is of, as it says or as its references tell.
fn kind(own: &Overrides) -> Option<OverrideKind> {
    if let Some(kind) = &own.kind {
        let cluster = matches!(
            kind.value,
            OverrideKind::ClusterGlobal | OverrideKind::ClusterService
        );
        // Clusters are a matter of GitOps.
        return (!cluster).then_some(kind.value);
    }
    Some(
        match (own.service_ref.is_some(), own.infrastructure.is_some()) {
            (false, false) => OverrideKind::EnvGlobal,
            (true, false) => OverrideKind::EnvService,
            (false, true) => OverrideKind::InfraGlobal,
            (true, true) => OverrideKind::InfraService,
        },
    )
}

/// It names several environments.
fn several(stage: &Stage) -> bool {
    deployment(stage)
        .is_some_and(|own| own.environments.is_some() || own.environment_group.is_some())
}

fn deployment(stage: &Stage) -> Option<&Deployment> {
    match &stage.spec {
        StageSpec::Deployment(own) => Some(own),
        _ => None,
    }
}

/// The stage of an identifier.
fn stage_of<'m>(world: &World<'m>, identifier: &str) -> Option<&'m Stage> {
    world
        .pipeline
        .all_stages()
        .into_iter()
        .find(|stage| stage.identifier().as_str() == identifier)
}

/// The link to the service: its own, that of a list which the iteration chooses, or that of an earlier stage.
pub(super) fn service_link<'m>(at: &At<'_, 'm>, stage: &'m Stage) -> Option<&'m ServiceLink> {
    let mut stage = stage;
    for _ in 0..MOST_STAGES {
        let own = deployment(stage)?;
        if let Some(link) = &own.service {
            let Some(from) = link
                .use_from_stage
                .as_ref()
                .and_then(|own| own.stage.as_ref())
            else {
                return Some(link);
            };
            stage = stage_of(at.world, &from.value)?;
            continue;
        }
        let links = own.services.as_ref()?.values.as_ref()?.literal()?;
        return chosen(at, links, "serviceRef", |own| own.service_ref.as_ref());
    }
    None
}

/// How an environment's link names one of its infrastructures.
pub(super) fn infrastructure_link<'m>(
    link: &'m EnvironmentLink,
    identifier: &str,
) -> Option<&'m InfrastructureLink> {
    let many = link.infrastructures.as_ref().and_then(Param::literal);
    many.into_iter()
        .flatten()
        .chain(&link.infrastructure)
        .find(|own| {
            own.identifier
                .as_ref()
                .is_some_and(|own| own.text() == identifier)
        })
}

/// Whether a stage names a service, itself or by another stage, or several.
pub(super) fn has_service(at: &At<'_, '_>, stage: &Stage) -> bool {
    let several = deployment(stage).is_some_and(|own| own.services.is_some());
    several || service_link(at, stage).is_some()
}

/// Whether a stage names an environment, itself or by another stage, or several, or a group of them.
pub(super) fn has_environment(at: &At<'_, '_>, stage: &Stage) -> bool {
    let several = deployment(stage)
        .is_some_and(|own| own.environments.is_some() || own.environment_group.is_some());
    several || environment_link(at, stage).0.is_some()
}

/// The link to the environment, and the group it is of.
pub(super) fn environment_link<'m>(
    at: &At<'_, 'm>,
    stage: &'m Stage,
) -> (Option<&'m EnvironmentLink>, Option<String>) {
    let mut stage = stage;
    for _ in 0..MOST_STAGES {
        let own = match &stage.spec {
            StageSpec::Deployment(own) => own,
            StageSpec::Custom(own) => return (own.environment.as_ref(), None),
            _ => return (None, None),
        };
        if let Some(link) = &own.environment {
            let from = link.use_from_stage.as_ref();
            let Some(from) = from.and_then(|own| own.stage.as_ref()) else {
                return (Some(link), None);
            };
            match stage_of(at.world, &from.value) {
                Some(other) => stage = other,
                None => return (None, None),
            }
            continue;
        }
        let name = |own: &'m EnvironmentLink| own.environment_ref.as_ref();
        if let Some(links) = &own.environments {
            let values = links.values.as_ref().and_then(Param::literal);
            let link = values.and_then(|own| chosen(at, own, "environmentRef", name));
            return (link, None);
        }
        let Some(group) = &own.environment_group else {
            return (None, None);
        };
        let reference = group.group_ref.as_ref().and_then(|own| literal(at, own));
        let values = group.environments.as_ref().and_then(Param::literal);
        let link = values.and_then(|own| chosen(at, own, "environmentRef", name));
        return (link, reference);
    }
    (None, None)
}

/// The one of several that the iteration around chooses, or the only one.
fn chosen<'m, T>(
    at: &At<'_, '_>,
    links: &'m [T],
    key: &str,
    reference: impl Fn(&'m T) -> Option<&'m Param<String>>,
) -> Option<&'m T> {
    if let [one] = links {
        return Some(one);
    }
    let wanted = axis(at, key)?;
    links
        .iter()
        .find(|link| reference(link).and_then(|own| literal(at, own)) == Some(wanted.clone()))
}

/// The value of an axis of the loop around, as text.
fn axis(at: &At<'_, '_>, key: &str) -> Option<String> {
    match at.lookup(&["matrix", key]) {
        Lookup::Found { value, used: 2 } => value.to_text().map(|text| text.to_string()),
        _ => None,
    }
}

/// A reference that may hold expressions. It cannot read the entities: they are found by it.
pub(super) fn literal(at: &At<'_, '_>, written: &Param<String>) -> Option<String> {
    let text = match written {
        Param::Literal(text) => return Some(text.value.trim().to_owned()),
        Param::Input(input) => input.value.default.clone()?,
        Param::Expr(text) => text.value.clone(),
    };
    let value = Template::parse(&text).ok()?.value(&Without(at)).ok()?;
    value.to_text().map(|text| text.trim().to_owned())
}

/// The world without what is deployed.
struct Without<'a, 'w, 'm>(&'a At<'w, 'm>);

impl Scope for Without<'_, '_, '_> {
    fn lookup(&self, path: &[&str]) -> Lookup {
        if super::deployed::ROOTS.contains(&path[0]) {
            return Lookup::Unknown {
                part: 0,
                known: Vec::new(),
            };
        }
        self.0.lookup(path)
    }

    fn secret(&self, _: &str) -> Result<SecretRef, String> {
        Err("a reference is no secret".to_owned())
    }

    fn call(&self, _: &str, _: &str, _: &[Value]) -> Option<Result<Value, String>> {
        None
    }
}
