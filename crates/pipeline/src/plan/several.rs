//! A stage that deploys several services, or to several places: a loop in itself, without a `strategy`.
//!
//! Every service goes to every place, each as an iteration with its own rollback (`reference/entities.md` §6). Expressions see which
//! one it is as `<+matrix.serviceRef>`, `<+matrix.environmentRef>` and `<+matrix.identifier>`, its infrastructure. Suffixes are
//! those of a matrix, the service's index before the place's; where only one of them is several, of that alone.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value as Json;
use syntax::yaml::Node;
use syntax::{Diagnostic, Span, code};

use crate::model::{
    Deployment, Entity, EnvironmentLink, Infrastructure, LinkMetadata, Param, Stage, StageSpec,
    same,
};
use crate::resolve::Values;

/// What is deployed where, in the order in which it begins, and how much of it at once.
#[derive(Debug, Default)]
pub(super) struct Several {
    pub(super) iterations: Vec<One>,
    /// None: all of them.
    pub(super) limit: Option<u32>,
}

/// One service at one place.
#[derive(Debug, Clone)]
pub(super) struct One {
    pub(super) suffix: String,
    /// By the name of the axis.
    pub(super) values: Vec<(&'static str, String)>,
}

/// A place that is deployed to.
#[derive(Debug, Clone)]
struct Target {
    environment: String,
    infrastructure: Option<String>,
}

/// The stage's deployment, where it is several by its text.
pub(super) fn of(stage: &Stage) -> Option<&Deployment> {
    let StageSpec::Deployment(own) = &stage.spec else {
        return None;
    };
    let places = own.environments.is_some()
        || own.environment_group.is_some()
        || own.environment.as_ref().is_some_and(many_infrastructures);
    (own.services.is_some() || places).then_some(own)
}

/// A stage is several by its text.
pub(crate) fn is_several(stage: &Stage) -> bool {
    of(stage).is_some()
}

fn many_infrastructures(link: &EnvironmentLink) -> bool {
    let list = link.infrastructures.as_ref().and_then(Param::literal);
    list.is_some_and(|list| list.len() > 1)
        || link.filters.is_some()
        || link.deploy_to_all.as_ref().and_then(Param::literal) == Some(&true)
}

/// What is deployed where; problems go to `values`.
pub(super) fn several(own: &Deployment, values: &Values<'_, '_>) -> Several {
    let services = own.services.as_ref().map(|links| {
        let list = values
            .get(links.values.as_ref(), "values")
            .unwrap_or_default();
        let references = list
            .iter()
            .filter_map(|link| reference(link.service_ref.as_ref(), values));
        (
            references.collect::<Vec<_>>(),
            parallel(links.metadata.as_ref(), values),
        )
    });
    let crossed = services.is_some();
    let places = places(own, crossed, values);
    let many = |parallel: bool, count: usize| if parallel { None } else { Some(count as u32) };
    let (limit, by_place) = match (&services, &places) {
        // All services place by place, or all places service by service.
        (Some((all, true)), Some((_, false))) => (Some(all.len() as u32), true),
        (Some((_, false)), Some((all, true))) => (Some(all.len() as u32), false),
        // One side alone, or both alike.
        (Some((_, side)), _) | (None, Some((_, side))) => (many(*side, 1), true),
        (None, None) => (None, true),
    };
    let services = services.map(|(all, _)| all);
    let places = places.map(|(all, _)| all);
    let count = |of: Option<usize>| of.unwrap_or(1);
    let rows = count(services.as_ref().map(Vec::len));
    let columns = count(places.as_ref().map(Vec::len));
    let mut iterations = Vec::new();
    let one = |row: usize, column: usize| {
        let mut suffix = String::new();
        let mut axes = Vec::new();
        if let Some(service) = services.as_ref().map(|all| &all[row]) {
            let _ = write!(suffix, "_{row}");
            axes.push(("serviceRef", service.clone()));
        }
        if let Some(place) = places.as_ref().map(|all| &all[column]) {
            let _ = write!(suffix, "_{column}");
            axes.push(("environmentRef", place.environment.clone()));
            axes.extend(place.infrastructure.clone().map(|own| ("identifier", own)));
        }
        One {
            suffix,
            values: axes,
        }
    };
    if by_place {
        iterations.extend((0..columns).flat_map(|column| (0..rows).map(move |row| (row, column))));
    } else {
        iterations.extend((0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))));
    }
    Several {
        iterations: iterations
            .into_iter()
            .map(|(row, column)| one(row, column))
            .collect(),
        limit: limit.map(|limit| limit.max(1)),
    }
}

fn reference(written: Option<&Param<String>>, values: &Values<'_, '_>) -> Option<String> {
    values.reference(written?)
}

/// They go on at once, unless it is said that they do not.
fn parallel(metadata: Option<&LinkMetadata>, values: &Values<'_, '_>) -> bool {
    let own = metadata.and_then(|own| own.parallel.as_ref());
    values.get(own, "parallel").unwrap_or(true)
}

/// The places of a stage and whether they go on at once; none where it has one.
fn places(own: &Deployment, crossed: bool, values: &Values<'_, '_>) -> Option<(Vec<Target>, bool)> {
    let mut found = Vec::new();
    if let Some(link) = own
        .environment
        .as_ref()
        .filter(|link| many_infrastructures(link))
    {
        of_link(link, link.filters.as_ref(), values, &mut found);
        none_left(&found, link.span, "the environment", values);
        let metadata = link.metadata.as_ref().and_then(Node::as_mapping);
        let serial = metadata.and_then(|own| own.get("parallel")?.as_text()) == Some("false");
        return Some((found, !serial));
    }
    if let Some(links) = &own.environments {
        let list = values
            .get(links.values.as_ref(), "values")
            .unwrap_or_default();
        for link in &list {
            of_link(
                link,
                link.filters.as_ref().or(links.filters.as_ref()),
                values,
                &mut found,
            );
        }
        if links.values.is_none() {
            let all = &values.world().entities.environments;
            let names = all.iter().map(|own| own.identifier.to_string());
            filtered(names, links.filters.as_ref(), values, &mut found);
        }
        none_left(&found, links.span, "`environments`", values);
        // Without a word they go on at once; crossed with services and with `metadata` that says nothing of it, one by one.
        let side = match &links.metadata {
            Some(own) if own.parallel.is_none() && crossed => false,
            own => parallel(own.as_ref(), values),
        };
        return Some((found, side));
    }
    let group = own.environment_group.as_ref()?;
    let list = values
        .get(group.environments.as_ref(), "environments")
        .unwrap_or_default();
    for link in &list {
        of_link(
            link,
            link.filters.as_ref().or(group.filters.as_ref()),
            values,
            &mut found,
        );
    }
    if list.is_empty() {
        let name = reference(group.group_ref.as_ref(), values);
        let entity = name
            .as_deref()
            .and_then(|own| values.world().entities.group(own));
        if let (None, Some(name)) = (entity, &name) {
            let all = values.world().entities;
            // Whoever gave no environments at all deploys to what is not known here, as with one environment.
            if all.environments.is_empty() && all.groups.is_empty() {
                return None;
            }
            values.push(
                Diagnostic::error(
                    code::WRONG_ENTITY,
                    format!("the environment group `{name}` is not among the documents, so its environments are not known"),
                )
                .at(group.span.head(1), "")
                .help("give its document by `--entities`, or name its environments under `environments`"),
            );
            return Some((found, true));
        }
        let names = entity
            .into_iter()
            .flat_map(|own| own.environments.iter().flatten());
        filtered(
            names.map(|own| own.value.clone()),
            group.filters.as_ref(),
            values,
            &mut found,
        );
    }
    none_left(&found, group.span, "the environment group", values);
    Some((found, crossed || parallel(group.metadata.as_ref(), values)))
}

fn none_left(found: &[Target], at: Span, what: &str, values: &Values<'_, '_>) {
    if found.is_empty() && !values.failed_already() {
        values.push(
            Diagnostic::error(
                code::WRONG_ENTITY,
                format!("{what} names no infrastructure to deploy to"),
            )
            .at(at.head(1), "")
            .help("name one, or let its filters take one"),
        );
    }
}

/// The infrastructures that a link to one environment means.
fn of_link(
    link: &EnvironmentLink,
    filters: Option<&Node>,
    values: &Values<'_, '_>,
    found: &mut Vec<Target>,
) {
    let Some(environment) = reference(link.environment_ref.as_ref(), values) else {
        return;
    };
    let named = values
        .get(link.infrastructures.as_ref(), "infrastructureDefinitions")
        .unwrap_or_default();
    if !named.is_empty() {
        let names = named
            .iter()
            .filter_map(|own| reference(own.identifier.as_ref(), values));
        found.extend(names.map(|name| Target {
            environment: environment.clone(),
            infrastructure: Some(name),
        }));
        return;
    }
    if let Some(filters) = filters {
        filtered(std::iter::once(environment), Some(filters), values, found);
        return;
    }
    let to_all = values.get(link.deploy_to_all.as_ref(), "deployToAll") == Some(true);
    let before = found.len();
    if to_all {
        found.extend(all_of(&environment, values).map(|own| Target {
            environment: environment.clone(),
            infrastructure: Some(own.identifier.to_string()),
        }));
    }
    // Where none is named, or none is among the documents, the environment itself is the place.
    if found.len() == before {
        found.push(Target {
            environment,
            infrastructure: None,
        });
    }
}

fn all_of<'v>(
    environment: &'v str,
    values: &'v Values<'_, '_>,
) -> impl Iterator<Item = &'v Entity<Infrastructure>> {
    let all = values.world().entities.infrastructures.iter();
    all.filter(move |own| {
        let of = own.environment_ref.as_ref();
        of.is_some_and(|own| same(&own.value, environment))
    })
}

/// What the filters take of these environments; without filters all of them.
fn filtered(
    environments: impl Iterator<Item = String>,
    filters: Option<&Node>,
    values: &Values<'_, '_>,
    found: &mut Vec<Target>,
) {
    let filters: Vec<Filter<'_>> = filters
        .and_then(Node::as_sequence)
        .into_iter()
        .flatten()
        .filter_map(Filter::of)
        .collect();
    let takes = |of: &str, tags: &indexmap::IndexMap<String, Param<String>>| {
        let mut about = filters
            .iter()
            .filter(|own| own.entities.contains(&of))
            .peekable();
        about.peek().is_none() || about.any(|own| own.takes(tags))
    };
    for environment in environments {
        let none = indexmap::IndexMap::new();
        let entity = values.world().entities.environment(&environment);
        if !takes("environments", entity.map_or(&none, |own| &own.tags)) {
            continue;
        }
        let mut any = false;
        for own in all_of(&environment, values) {
            any = true;
            if takes("infrastructures", &own.tags) {
                found.push(Target {
                    environment: environment.clone(),
                    infrastructure: Some(own.identifier.to_string()),
                });
            }
        }
        if !any {
            found.push(Target {
                environment,
                infrastructure: None,
            });
        }
    }
}

/// One of `filters`.
struct Filter<'n> {
    entities: Vec<&'n str>,
    /// None: `type: all`.
    tags: Option<Vec<(&'n str, &'n str)>>,
    any: bool,
}

impl<'n> Filter<'n> {
    fn of(node: &'n Node) -> Option<Self> {
        let own = node.as_mapping()?;
        let entities = own
            .get("entities")
            .and_then(Node::as_sequence)
            .unwrap_or_default();
        let spec = own.get("spec").and_then(Node::as_mapping);
        let tags = spec.and_then(|own| own.get("tags")?.as_mapping());
        let by_tags = own.get("type").and_then(Node::as_text) == Some("tags");
        let matching = spec.and_then(|own| own.get("matchType")?.as_text());
        Some(Self {
            entities: entities.iter().filter_map(Node::as_text).collect(),
            tags: by_tags.then(|| {
                let entries = tags.into_iter().flat_map(|own| &own.entries);
                entries
                    .map(|own| (&*own.key.text, own.value.as_text().unwrap_or_default()))
                    .collect()
            }),
            any: matching != Some("all"),
        })
    }

    fn takes(&self, tags: &indexmap::IndexMap<String, Param<String>>) -> bool {
        let Some(wanted) = &self.tags else {
            return true;
        };
        let mut has = wanted.iter().map(|(key, value)| {
            let own = tags.get(*key);
            own.is_some_and(|own| value.is_empty() || own.text() == *value)
        });
        if self.any {
            has.any(|own| own)
        } else {
            has.all(|own| own)
        }
    }
}

impl One {
    /// The axes as those of a matrix.
    pub(super) fn matrix(&self) -> impl Iterator<Item = (Arc<str>, Json)> + '_ {
        let axes = self.values.iter();
        axes.map(|(name, value)| (Arc::from(*name), Json::String(value.clone())))
    }
}
