//! Whether the entities that stages name fit: told before anything runs, as far as they are here.

use std::collections::BTreeMap;

use syntax::{Diagnostic, Spanned, code};

use crate::model::lower::nearest;
use crate::model::{Entities, Param, Pipeline, Stage, StageSpec, same};
use crate::plan::{Body, NodeId, Place, What, several};

use super::known::{Known, World};
use super::scope::At;
use super::target::{Target, environment_link, infrastructure_link, service_link};

/// What does not fit of what the stages of a pipeline name.
pub(crate) fn fits(pipeline: &Pipeline, entities: &Entities) -> Vec<Diagnostic> {
    let known = Known::default();
    let nodes: BTreeMap<NodeId, super::Fact> = BTreeMap::new();
    let world = World {
        pipeline,
        entities,
        known: &known,
        nodes: &nodes,
    };
    let mut found = Vec::new();
    for place in Place::all(pipeline) {
        match place.what {
            // Each of several is judged by itself; what is repeated by its text alone is judged once.
            What::Loop(Body::Stage(stage)) if several(stage) => {
                match place.children_in(&world) {
                    Ok(all) => all
                        .iter()
                        .for_each(|own| judge(&world, stage, own, &mut found)),
                    // What only the run knows is told when it is known.
                    Err(errors) => found.extend(
                        errors
                            .into_iter()
                            .filter(|own| own.code == code::WRONG_ENTITY),
                    ),
                }
            }
            What::Stage(stage) if !several(stage) => judge(&world, stage, &place, &mut found),
            _ => {}
        }
    }
    let mut told = Vec::new();
    for own in found {
        if !told.contains(&own) {
            told.push(own);
        }
    }
    told
}

fn judge(world: &World<'_>, stage: &Stage, place: &Place<'_>, found: &mut Vec<Diagnostic>) {
    let at = At { world, place };
    let mut target = Target::of(&at).unwrap_or_default();
    found.append(&mut target.diagnostics);
    found.extend(lacks(&at, stage, &target));
    self::stage(stage, &target, world.entities, found);
}

/// What the entities of a stage ask for and it does not give. One that no link names can be given nothing.
fn lacks(at: &At<'_, '_>, stage: &Stage, target: &Target) -> Vec<Diagnostic> {
    let entities = at.world.entities;
    let mut all = Vec::new();
    if let Some(link) = service_link(at, stage)
        && let (Some(own), Some(named)) = (&target.service_ref, &link.service_ref)
        && let Some(own) = entities.service(own)
    {
        let what = format!("service `{}`", own.identifier);
        all.extend(own.lacks(link.inputs.as_ref(), named.span(), "serviceInputs", &what));
    }
    let Some(link) = environment_link(at, stage).0 else {
        return all;
    };
    let Some(reference) = &target.environment_ref else {
        return all;
    };
    if let (Some(named), Some(own)) = (&link.environment_ref, entities.environment(reference)) {
        let what = format!("environment `{}`", own.identifier);
        let given = link.inputs.as_ref();
        all.extend(own.lacks(given, named.span(), "environmentInputs", &what));
    }
    if let Some(wanted) = &target.infrastructure_ref
        && let Some(link) = infrastructure_link(link, wanted)
        && let Some(named) = &link.identifier
        && let Some(own) = entities.infrastructure(reference, wanted)
    {
        let what = format!("infrastructure `{wanted}`");
        let below = "infrastructureDefinitions.inputs";
        all.extend(own.lacks(link.inputs.as_ref(), named.span(), below, &what));
    }
    all
}

fn wrong(says: String, at: syntax::Span, help: String) -> Diagnostic {
    Diagnostic::error(code::WRONG_ENTITY, says)
        .at(at, "")
        .help(help)
}

fn stage(stage: &Stage, target: &Target, entities: &Entities, found: &mut Vec<Diagnostic>) {
    let StageSpec::Deployment(own) = &stage.spec else {
        return;
    };
    let wanted = own.deployment_type.as_ref();
    let named = own
        .service
        .as_ref()
        .and_then(|own| own.service_ref.as_ref());
    let listed = own
        .services
        .as_ref()
        .and_then(|own| own.values.as_ref()?.literal());
    let listed = listed
        .into_iter()
        .flatten()
        .filter_map(|own| own.service_ref.as_ref());
    let of_target = |own: &&Param<String>| Some(own.text()) == target.service_ref.as_deref();
    if let (Some(link), None, Some(reference)) = (
        named.or_else(|| listed.into_iter().find(of_target)),
        &target.service,
        &target.service_ref,
    ) && !entities.services.is_empty()
    {
        let names = entities
            .services
            .iter()
            .map(|own| own.own.identifier.as_str());
        let help = nearest(reference, names).map_or_else(
            || "put its document beside the others".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        found.push(
            Diagnostic::warning(
                code::WRONG_ENTITY,
                format!("there is no service `{reference}` among the documents"),
            )
            .at(link.span(), "")
            .help(help),
        );
    }
    if let (Some(wanted), Some(service)) = (wanted, &target.service)
        && let Some(kind) = service
            .definition
            .as_ref()
            .and_then(|own| own.kind.as_ref())
        && kind.value != wanted.value
    {
        found.push(
            wrong(
                format!(
                    "the stage deploys {}, the service `{}` is of {}",
                    wanted.value, service.identifier, kind.value
                ),
                wanted.span,
                "name a service of this deployment type".to_owned(),
            )
            .at(kind.span, "the service's own"),
        );
    }
    infrastructure(stage, wanted, target, entities, found);
    twice(target, found);
    if let Some(from) = own
        .service
        .as_ref()
        .and_then(|own| own.use_from_stage.as_ref())
        .and_then(|own| own.stage.as_ref())
        && target.service_ref.is_none()
    {
        found.push(wrong(
            format!("no stage `{}` names a service of its own", from.value),
            from.span,
            "name an earlier stage with a plain `service`".to_owned(),
        ));
    }
}

fn infrastructure(
    stage: &Stage,
    wanted: Option<&Spanned<crate::model::DeploymentType>>,
    target: &Target,
    entities: &Entities,
    found: &mut Vec<Diagnostic>,
) {
    let Some(reference) = &target.infrastructure_ref else {
        return;
    };
    let at = match &stage.spec {
        StageSpec::Deployment(own) => own.environment.as_ref().and_then(|own| {
            own.infrastructures
                .as_ref()?
                .literal()?
                .first()?
                .identifier
                .as_ref()
                .map(Param::span)
        }),
        _ => None,
    };
    let at = at.unwrap_or_else(|| stage.identifier().span());
    let Some(own) = &target.infrastructure else {
        let elsewhere = entities
            .infrastructures
            .iter()
            .find(|own| own.identifier.as_str() == reference);
        if let Some(other) = elsewhere {
            let environment = other.environment_ref.as_ref();
            let diagnostic = wrong(
                format!(
                    "the infrastructure `{reference}` is in the environment `{}`, not in `{}`",
                    environment.map_or("", |own| own.value.as_str()),
                    target.environment_ref.as_deref().unwrap_or_default()
                ),
                at,
                "name an infrastructure of the stage's environment".to_owned(),
            );
            found.push(match environment {
                Some(own) => diagnostic.at(own.span, "its environment"),
                None => diagnostic,
            });
        }
        return;
    };
    if let (Some(wanted), Some(kind)) = (wanted, &own.deployment_type)
        && kind.value != wanted.value
    {
        found.push(
            wrong(
                format!(
                    "the stage deploys {}, the infrastructure `{reference}` is for {}",
                    wanted.value, kind.value
                ),
                at,
                "name an infrastructure of this deployment type".to_owned(),
            )
            .at(kind.span, "the infrastructure's own"),
        );
    }
    let scoped = own
        .scoped_services
        .as_ref()
        .and_then(|own| own.as_sequence());
    if let (Some(scoped), Some(service)) =
        (scoped.filter(|own| !own.is_empty()), &target.service_ref)
        && !scoped
            .iter()
            .filter_map(|own| own.as_text())
            .any(|own| same(own, service))
    {
        found.push(wrong(
            format!("the infrastructure `{reference}` does not take the service `{service}`"),
            at,
            "add it to the infrastructure's `scopedServices`, or name another one".to_owned(),
        ));
    }
}

/// Manifests are appended, never replaced: one identifier is there once.
fn twice(target: &Target, found: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<&str, syntax::Span> = BTreeMap::new();
    for manifest in target.manifests() {
        let identifier = &manifest.identifier;
        if let Some(first) = seen.insert(identifier.as_str(), identifier.span()) {
            found.push(
                wrong(
                    format!("the manifest `{identifier}` is there twice"),
                    identifier.span(),
                    "overrides add manifests and replace none: give it another identifier"
                        .to_owned(),
                )
                .at(first, "first here"),
            );
        }
    }
}
