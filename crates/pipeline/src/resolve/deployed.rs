//! The roots of what a stage deploys: `service`, `serviceVariables`, `env`, `infra`, `artifacts`, `manifests`.

use syntax::expr::{Lookup, Map, Value};
use syntax::yaml::{self, Kind, Node};

use crate::model::{ArtifactSource, Artifacts, EnvironmentKind, Manifest, Param, Ref, Service};

use super::image::reference;
use super::scope::{At, found, further, optional, tags, text, unknown, value};
use super::target::Target;

/// What is answered here.
pub(super) const ROOTS: [&str; 12] = [
    "service",
    "serviceVariables",
    "serviceVariableOverrides",
    "env",
    "infra",
    "artifacts",
    "artifact",
    "manifests",
    "manifest",
    "rollbackArtifact",
    "INFRA_KEY",
    "INFRA_KEY_SHORT_ID",
];

/// What a path with one of these roots names at a place.
pub(super) fn lookup(at: &At<'_, '_>, path: &[&str]) -> Lookup {
    if path[0] == "rollbackArtifact" {
        // Nothing was deployed before, as far as this machine knows.
        return found(Value::Null, path.len());
    }
    let Some(target) = Target::of(at) else {
        return unknown(0, []);
    };
    match path[0] {
        "service" => service(&target, path),
        "serviceVariables" => variable(&target, path, true),
        "serviceVariableOverrides" => {
            // A variable of a group around wins where it has a value.
            for (group, _) in at.place.groups.iter().rev() {
                let own = group.variables.as_ref();
                if let Some(own) = own.and_then(|own| own.get(path.get(1)?)) {
                    let empty = own.value.as_ref().is_none_or(|own| own.text().is_empty());
                    if !empty {
                        return value(own, 2);
                    }
                }
            }
            variable(&target, path, true)
        }
        "env" => environment(&target, path),
        "infra" => infrastructure(&target, path),
        "artifact" => artifact(at, &target, None, path, 1),
        "artifacts" => match (path.get(1), path.get(2)) {
            (Some(&"primary"), _) => artifact(at, &target, None, path, 2),
            (Some(&"sidecars"), Some(id)) => artifact(at, &target, Some(id), path, 3),
            _ => unknown(1.min(path.len() - 1), ["primary", "sidecars"]),
        },
        "manifests" | "manifest" => manifest(&target, path),
        "INFRA_KEY" => optional(infrastructure_key(&target), 1),
        _ => optional(
            infrastructure_key(&target)
                .filter(|_| is_kubernetes(&target))
                .map(|key| key[..6].to_owned()),
            1,
        ),
    }
}

fn service(target: &Target, path: &[&str]) -> Lookup {
    const MEMBERS: [&str; 8] = [
        "name",
        "identifier",
        "description",
        "type",
        "tags",
        "gitOpsEnabled",
        "serviceDefinitionType",
        "serviceRef",
    ];
    let member = path.get(1).copied().unwrap_or_default();
    // What the stage itself says is known without the entity.
    if let ("identifier" | "serviceRef", Some(own)) = (member, &target.service_ref) {
        return found(own.as_str(), 2);
    }
    let Some(own) = &target.service else {
        return unknown(0, []);
    };
    match member {
        "name" => found(own.title(), 2),
        "description" => written(own.description.as_ref(), 2),
        "type" | "serviceDefinitionType" => {
            let kind = own.definition.as_ref().and_then(|own| own.kind.as_ref());
            optional(kind.map(|kind| kind.as_str()), 2)
        }
        "tags" => tags(&own.tags, path, 2),
        "gitOpsEnabled" => found(
            own.gitops.as_ref().and_then(Param::literal) == Some(&true),
            2,
        ),
        _ => unknown(1.min(path.len() - 1), MEMBERS),
    }
}

/// A variable; its name may hold dots.
fn variable(target: &Target, path: &[&str], all: bool) -> Lookup {
    let at = if all { 1 } else { 2 };
    for end in (at + 1..=path.len()).rev() {
        let name = path[at..end].join(".");
        let own = if all {
            target.variable(&name)
        } else {
            target.overridden(&name)
        };
        if let Some(own) = own {
            return value(own, end);
        }
    }
    if (all && target.service.is_none()) || target.has_open_layers() {
        return unknown(0, []);
    }
    unknown(at.min(path.len() - 1), target.names(all))
}

fn environment(target: &Target, path: &[&str]) -> Lookup {
    const MEMBERS: [&str; 11] = [
        "name",
        "identifier",
        "description",
        "type",
        "tags",
        "group",
        "variables",
        "environmentRef",
        "envGroupRef",
        "envGroupName",
        "v1Type",
    ];
    let member = path.get(1).copied().unwrap_or_default();
    match (member, &target.environment_ref) {
        ("identifier" | "environmentRef", Some(own)) => return found(own.as_str(), 2),
        ("envGroupRef" | "envGroupName" | "group", _) => {
            return optional(target.group_ref.as_deref(), 2);
        }
        _ => {}
    }
    let Some(own) = &target.environment else {
        return unknown(0, []);
    };
    let kind = own.kind.as_ref().map(|kind| kind.value);
    match member {
        "name" => found(own.title(), 2),
        "description" => written(own.description.as_ref(), 2),
        "type" => optional(kind.map(EnvironmentKind::as_str), 2),
        "v1Type" => optional(
            kind.map(|kind| match kind {
                EnvironmentKind::Production => "PROD",
                EnvironmentKind::PreProduction => "NON_PROD",
            }),
            2,
        ),
        "tags" => tags(&own.tags, path, 2),
        "variables" => variable(target, path, false),
        _ => unknown(1.min(path.len() - 1), MEMBERS),
    }
}

fn infrastructure(target: &Target, path: &[&str]) -> Lookup {
    const MEMBERS: [&str; 8] = [
        "name",
        "infraIdentifier",
        "description",
        "tags",
        "infrastructureKey",
        "environment",
        "connector",
        "connectorRef",
    ];
    let member = path.get(1).copied().unwrap_or_default();
    if let ("infraIdentifier", Some(own)) = (member, &target.infrastructure_ref) {
        return found(own.as_str(), 2);
    }
    let Some(own) = &target.infrastructure else {
        return unknown(0, []);
    };
    match member {
        "name" => found(own.title(), 2),
        // Null by its own name: elsewhere too it is `infraIdentifier` that has it.
        "identifier" => found(Value::Null, 2),
        "description" => written(own.description.as_ref(), 2),
        "tags" => tags(&own.tags, path, 2),
        "infrastructureKey" => optional(infrastructure_key(target), 2),
        "environment" => {
            let inner: Vec<&str> = std::iter::once("env")
                .chain(path.iter().skip(2).copied())
                .collect();
            further(environment(target, &inner), 1, path.len())
        }
        "connector" if path.get(2) == Some(&"name") => optional(
            own.spec
                .as_ref()
                .and_then(|own| scalar(own, "connectorRef")),
            3,
        ),
        "variables" => {
            let list = own
                .spec
                .as_ref()
                .and_then(|own| own.as_mapping()?.get("variables"));
            let found_in = list
                .and_then(|own| crate::model::tree::element(own, path.get(2)?))
                .and_then(|own| own.as_mapping()?.get("value"));
            match found_in {
                Some(node) => in_node(node, path, 3),
                None => unknown(2.min(path.len() - 1), []),
            }
        }
        _ => {
            let spec = own.spec.as_ref().and_then(Node::as_mapping);
            if let Some(node) = spec.and_then(|own| own.get(member)) {
                return in_node(node, path, 2);
            }
            let keys = spec
                .into_iter()
                .flat_map(|own| &own.entries)
                .map(|own| &*own.key.text);
            unknown(1.min(path.len() - 1), MEMBERS.into_iter().chain(keys))
        }
    }
}

/// sha1 over what tells two infrastructures apart (`reference/entities.md` §10).
fn infrastructure_key(target: &Target) -> Option<String> {
    let own = target.infrastructure.as_ref()?;
    let spec = own.spec.as_ref()?;
    let kind = own.kind.as_ref()?.value.as_str();
    let keys: &[&str] = match kind {
        "AWS_SAM" | "AwsLambda" => &["connectorRef", "region"],
        "ServerlessAwsLambda" => &["connectorRef", "region", "stage"],
        "GoogleCloudRun" => &["connectorRef", "project", "region"],
        _ => &["connectorRef", "namespace"],
    };
    let mut parts = vec![
        target.service_ref.clone().unwrap_or_default(),
        target.environment_ref.clone().unwrap_or_default(),
    ];
    parts.extend(keys.iter().filter_map(|key| scalar(spec, key)));
    Some(sha1_smol::Sha1::from(parts.join("-")).digest().to_string())
}

fn is_kubernetes(target: &Target) -> bool {
    let kind = target
        .infrastructure
        .as_ref()
        .and_then(|own| own.kind.as_ref());
    kind.is_some_and(|kind| kind.value.starts_with("Kubernetes"))
}

fn written(param: Option<&Param<String>>, used: usize) -> Lookup {
    match param {
        Some(param) => text(param, used),
        None => found(Value::Null, used),
    }
}

/// The artifacts of the service.
fn artifacts(service: &Service) -> Option<&Artifacts> {
    service.spec()?.artifacts.as_ref()?.literal()
}

/// The source of the primary artifact: the only one whatever is chosen, else the one that is.
fn primary(service: &Service) -> Option<&ArtifactSource> {
    let own = artifacts(service)?.primary.as_ref()?.literal()?;
    let Some(sources) = own.sources.as_ref().and_then(Param::literal) else {
        return own.own.as_ref();
    };
    if let [one] = sources.as_slice() {
        return Some(one);
    }
    let chosen = own.chosen.as_ref()?.literal()?;
    sources.iter().find(|own| {
        own.identifier
            .as_ref()
            .is_some_and(|own| own.value == *chosen)
    })
}

/// Its primary artifact is chosen by an input.
fn is_asked_for(service: &Service) -> bool {
    artifacts(service)
        .and_then(|own| own.primary.as_ref()?.literal()?.chosen.as_ref())
        .is_some_and(|own| own.literal().is_none())
}

fn artifact(
    at: &At<'_, '_>,
    target: &Target,
    sidecar: Option<&str>,
    path: &[&str],
    from: usize,
) -> Lookup {
    const MEMBERS: [&str; 8] = [
        "image",
        "imagePath",
        "tag",
        "type",
        "connectorRef",
        "identifier",
        "metadata",
        "path",
    ];
    let Some(service) = &target.service else {
        return unknown(0, []);
    };
    let source = match sidecar {
        None => primary(service),
        Some(wanted) => artifacts(service)
            .and_then(|own| own.sidecars.as_ref()?.literal())
            .into_iter()
            .flatten()
            .filter_map(|own| own.sidecar.as_ref())
            .find(|own| {
                own.identifier
                    .as_ref()
                    .is_some_and(|own| own.value == wanted)
            }),
    };
    let Some(source) = source else {
        // Which of several it is may be an input that nothing has answered.
        let part = if sidecar.is_none() && is_asked_for(service) {
            0
        } else {
            from - 1
        };
        return unknown(part, []);
    };
    let spec = source.spec.as_ref();
    let member = path.get(from).copied().unwrap_or_default();
    let image = || spec.and_then(|spec| image(at, source, spec));
    match member {
        "identifier" => optional(
            source.identifier.as_ref().map(|own| own.value.as_str()),
            from + 1,
        ),
        "type" => optional(source.kind.as_ref().map(|own| own.value.as_str()), from + 1),
        "image" => match image() {
            Some(image) => text(&image, from + 1),
            None => unknown(from, MEMBERS),
        },
        "tag" => {
            let node = spec.and_then(Node::as_mapping).and_then(|own| {
                ["tag", "version", "filePath"]
                    .iter()
                    .find_map(|key| own.get(key))
            });
            match node {
                Some(node) => in_node(node, path, from + 1),
                None => unknown(from, MEMBERS),
            }
        }
        "metadata" if path.get(from + 1) == Some(&"image") => match image() {
            Some(image) => text(&image, from + 2),
            None => unknown(from + 1, ["image", "tag"]),
        },
        "metadata" if path.get(from + 1) == Some(&"tag") => {
            match spec.and_then(|own| own.as_mapping()?.get("tag")) {
                Some(node) => in_node(node, path, from + 2),
                None => unknown(from + 1, ["image", "tag"]),
            }
        }
        _ => match spec.and_then(|own| own.as_mapping()?.get(member)) {
            Some(node) => in_node(node, path, from + 1),
            None => unknown(from.min(path.len() - 1), MEMBERS),
        },
    }
}

/// The image of an artifact of a registry, with its tag.
fn image(at: &At<'_, '_>, source: &ArtifactSource, spec: &Node) -> Option<Param<String>> {
    let get = |key| scalar(spec, key).filter(|own| !own.is_empty());
    let path = || get("imagePath");
    let name = match source.kind.as_ref()?.value.as_str() {
        "DockerRegistry" => {
            let connector = get("connectorRef").and_then(|own| Ref::parse(&own));
            reference(&path()?, connector.as_ref(), at.world.entities)
        }
        "Gcr" => format!("{}/{}", get("registryHostname")?, path()?),
        "Ecr" => match get("registryId") {
            Some(id) => format!("{id}.dkr.ecr.{}.amazonaws.com/{}", get("region")?, path()?),
            None => path()?,
        },
        "Acr" => format!("{}.azurecr.io/{}", get("registry")?, get("repository")?),
        "GoogleArtifactRegistry" => format!(
            "{}-docker.pkg.dev/{}/{}/{}",
            get("region")?,
            get("project")?,
            get("repositoryName")?,
            get("package")?
        ),
        "GithubPackageRegistry" => format!(
            "ghcr.io/{}/{}",
            get("org").or(get("user"))?,
            get("packageName")?
        ),
        "Nexus3Registry" | "ArtifactoryRegistry" => get("artifactPath")?,
        _ => return None,
    };
    let name = match (get("digest"), get("tag").or_else(|| get("version"))) {
        (Some(digest), _) => format!("{name}@{digest}"),
        (None, Some(tag)) => format!("{name}:{tag}"),
        (None, None) => return None,
    };
    let spanned = syntax::Spanned::new(name, spec.span);
    Some(if spanned.value.contains("<+") {
        Param::Expr(spanned)
    } else {
        Param::Literal(spanned)
    })
}

fn manifest(target: &Target, path: &[&str]) -> Lookup {
    let id = path.get(1).copied().unwrap_or_default();
    let known = || target.manifests().map(|own| own.identifier.as_str());
    let place = target
        .manifests()
        .enumerate()
        .find(|(_, own)| own.identifier.as_str() == id);
    let Some((order, own)) = place else {
        if target.service.is_none() || target.has_open_layers() {
            return unknown(0, []);
        }
        return unknown(1.min(path.len() - 1), known());
    };
    let own: &Manifest = own;
    let spec = own.spec.as_ref().and_then(Node::as_mapping);
    match path.get(2).copied().unwrap_or_default() {
        "identifier" => found(own.identifier.as_str(), 3),
        "type" => optional(own.kind.as_ref().map(|own| own.value.as_str()), 3),
        "order" => found(order as i64, 3),
        // What is of the store's spec is the store's.
        "store" => {
            let store = spec
                .and_then(|own| own.get("store"))
                .and_then(Node::as_mapping);
            let inner = store.and_then(|own| own.get("spec"));
            let key = path.get(3).copied().unwrap_or_default();
            match inner
                .and_then(|own| own.as_mapping()?.get(key))
                .or_else(|| store.and_then(|own| own.get(key)))
            {
                Some(node) => in_node(node, path, 4),
                None => unknown(3.min(path.len() - 1), []),
            }
        }
        member => match spec.and_then(|own| own.get(member)) {
            Some(node) => in_node(node, path, 3),
            None => unknown(
                2.min(path.len() - 1),
                ["identifier", "type", "order", "store"],
            ),
        },
    }
}

fn scalar(node: &Node, key: &str) -> Option<String> {
    Some(node.as_mapping()?.get(key)?.as_text()?.to_owned())
}

/// What is below a node that is kept as it is, as far as the path goes on.
fn in_node(node: &Node, path: &[&str], used: usize) -> Lookup {
    let mut node = node;
    let mut used = used;
    while let (Some(key), Some(mapping)) = (path.get(used), node.as_mapping()) {
        match mapping.get(key) {
            Some(inner) => {
                node = inner;
                used += 1;
            }
            None => {
                return unknown(used, mapping.entries.iter().map(|own| &*own.key.text));
            }
        }
    }
    match node.as_text() {
        Some(written) if written.contains("<+") => text(
            &Param::Expr(syntax::Spanned::new(written.to_owned(), node.span)),
            used,
        ),
        _ => found(from_node(node), used),
    }
}

/// A node as a value. Expressions in lists and mappings stay as they are written.
pub(super) fn from_node(node: &Node) -> Value {
    match &node.value {
        yaml::Value::Scalar(scalar) => match scalar.kind {
            Kind::Null => Value::Null,
            Kind::Bool(own) => Value::Bool(own),
            Kind::Int(own) => Value::Int(own),
            Kind::Float(own) => Value::Float(own),
            Kind::String => Value::from(&*scalar.text),
        },
        yaml::Value::Sequence(items) => {
            Value::from(items.iter().map(from_node).collect::<Vec<_>>())
        }
        yaml::Value::Mapping(mapping) => {
            let map: Map = mapping
                .entries
                .iter()
                .map(|own| (own.key.text.as_ref().into(), from_node(&own.value)))
                .collect();
            map.into()
        }
    }
}
