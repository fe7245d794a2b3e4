//! `DownloadManifests` (`reference/steps.md` §4.1): every manifest of the service becomes a directory of the workspace that is called
//! like it. Those of git are clones, those of the file store are written out.
//!
//! One container fetches them all, side by side; the step fails where any of them does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use syntax::yaml::{Entry, Key, Kind, Mapping, Node, Scalar, Style, Value};
use syntax::{Diagnostic, Span, code};

use crate::model::{GitClone, Manifest, Step, StepSpec};
use crate::plan::{Place, What};
use crate::pod::WORKSPACE;

use super::git;
use super::target::Target;
use super::values::{Values, plain};
use super::{Text, World};

/// The stores that are git repositories; their connectors say the rest.
const GIT: [&str; 6] = [
    "Git",
    "Github",
    "GitLab",
    "Gitlab",
    "Bitbucket",
    "AzureRepo",
];
/// Bytes of a file of the file store: it travels in a variable of an environment.
const LARGEST: usize = 90_000;

/// What the helper of the step reads: `MANIFESTS`, and for each of them, from 1, `M1_NAME` and the variables of a clone as
/// `M1_DRONE_REMOTE_URL`; or `M1_FILES`, and `M1_1_PATH` with `M1_1_CONTENT` in base64.
pub(super) fn environment(step: &Step, values: &Values<'_, '_>, env: &mut Vec<(String, Text)>) {
    let target = Target::of(values.at()).unwrap_or_default();
    let manifests: Vec<&Manifest> = target.manifests().collect();
    if manifests.is_empty() {
        let (message, help) = match (&target.service, &target.service_ref) {
            (Some(own), _) => (
                format!(
                    "the service `{}` has no manifests to download",
                    own.identifier
                ),
                "add them to its `serviceDefinition.spec.manifests`, or remove the step",
            ),
            (None, Some(name)) => (
                format!("the service `{name}`, whose manifests are to be downloaded, is not there"),
                "give its document by `--entities`",
            ),
            (None, None) => (
                "there are no manifests to download: the stage deploys no service".to_owned(),
                "put the step into a Deployment stage, with a `service`",
            ),
        };
        let problem = Diagnostic::error(code::MISSING_FIELD, message);
        values.push(problem.at(step.kind.span, "").help(help));
        return;
    }
    let mut set = |name: String, text: Text| env.push((name, text));
    set("MANIFESTS".to_owned(), plain(&manifests.len().to_string()));
    for (at, manifest) in manifests.iter().enumerate() {
        let head = format!("M{}_", at + 1);
        set(format!("{head}NAME"), plain(manifest.identifier.as_str()));
        let mut own = Vec::new();
        one(manifest, step, values, &mut own);
        for (name, text) in own {
            set(format!("{head}{name}"), text);
        }
    }
}

/// Manifests that are known to be where nothing downloads them from.
pub(super) fn refused(world: &World<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for place in Place::all(world.pipeline) {
        let What::Step(step) = place.what else {
            continue;
        };
        if matches!(step.spec, StepSpec::DownloadManifests(_)) {
            let values = Values::new(world, &place);
            environment(step, &values, &mut Vec::new());
            // What is not known yet is told when the step is reached.
            let problems = values.finish(()).err().unwrap_or_default();
            found.extend(
                problems
                    .into_iter()
                    .filter(|own| own.code == code::SETTING_NOT_RUN),
            );
        }
    }
    found
}

fn one(manifest: &Manifest, step: &Step, values: &Values<'_, '_>, env: &mut Vec<(String, Text)>) {
    let store = manifest.spec.as_ref().and_then(|own| get(own, "store"));
    let kind = store
        .and_then(|own| get(own, "type"))
        .and_then(Node::as_text);
    let spec = store.and_then(|own| get(own, "spec"));
    match (kind, spec) {
        (Some(kind), Some(spec)) if GIT.contains(&kind) => clone(manifest, spec, values, env),
        (Some("Harness"), Some(spec)) => files(manifest, spec, values, env),
        (kind, _) => values.push(
            Diagnostic::error(
                code::SETTING_NOT_RUN,
                format!(
                    "the manifest `{}` cannot be downloaded: its store is {}",
                    manifest.identifier,
                    kind.map_or_else(|| "not said".to_owned(), |kind| format!("of type {kind}"))
                ),
            )
            .at(manifest.span, "")
            .at(step.kind.span, "downloaded here")
            .help("stores of git and of the file store (`Harness`) are downloaded; fetch others in a Run or Plugin step"),
        ),
    }
}

/// The clone that fetches it, as if it had been written as a GitClone step.
fn clone(manifest: &Manifest, spec: &Node, values: &Values<'_, '_>, env: &mut Vec<(String, Text)>) {
    let mut mapping = Mapping {
        entries: Vec::new(),
    };
    let span = manifest.span;
    let directory = text(manifest.identifier.as_str(), span);
    put(&mut mapping, "cloneDirectory", directory);
    for key in ["connectorRef", "repoName"] {
        if let Some(own) = get(spec, key) {
            put(&mut mapping, key, own.clone());
        }
    }
    let build = [("branch", "branch"), ("commitId", "commitSha")];
    let build = build.into_iter().find_map(|(key, kind)| {
        let own = get(spec, key)?;
        let under = if kind == "branch" {
            "branch"
        } else {
            "commitSha"
        };
        let mut inner = Mapping {
            entries: Vec::new(),
        };
        put(&mut inner, under, own.clone());
        let mut outer = Mapping {
            entries: Vec::new(),
        };
        put(&mut outer, "type", text(kind, span));
        put(&mut outer, "spec", node(Value::Mapping(inner), span));
        Some(node(Value::Mapping(outer), span))
    });
    if let Some(build) = build {
        put(&mut mapping, "build", build);
    }
    let written = node(Value::Mapping(mapping), span);
    if let Some(clone) = values.lower::<GitClone>(&written, "store") {
        git::environment(&clone, values, env);
    }
}

/// The files of the file store, a folder with all that is in it.
fn files(manifest: &Manifest, spec: &Node, values: &Values<'_, '_>, env: &mut Vec<(String, Text)>) {
    let known = &values.world().known.files;
    let listed = ["files", "file", "paths"]
        .iter()
        .find_map(|key| get(spec, key));
    let listed = listed.and_then(Node::as_sequence).unwrap_or_default();
    let refuse = |at: Span, message: String, help: &str| {
        values.push(
            Diagnostic::error(code::MISSING_FIELD, message)
                .at(at, "")
                .help(help),
        );
    };
    if listed.is_empty() {
        refuse(
            manifest.span,
            format!("the manifest `{}` names no files", manifest.identifier),
            "list them under `store.spec.files`",
        );
    }
    let mut count = 0;
    for item in listed {
        let Some(path) = item.as_text() else { continue };
        let folder = format!("{}/", path.trim_end_matches('/'));
        let found: Vec<_> = known
            .iter()
            .filter(|(name, _)| **name == path || name.starts_with(&folder))
            .collect();
        if found.is_empty() {
            refuse(
                item.span,
                format!("the file store has no `{path}`"),
                "give its directory by `--file-store DIR`",
            );
        }
        for (name, bytes) in found {
            if bytes.len() > LARGEST {
                refuse(
                    item.span,
                    format!(
                        "`{name}` of the file store has {} bytes; a manifest has at most {LARGEST}",
                        bytes.len()
                    ),
                    "keep it in a repository",
                );
                continue;
            }
            count += 1;
            // As it is called in the store, without its scope.
            let own = name.split_once(":/").map_or(&**name, |(_, own)| own);
            let to = format!(
                "{WORKSPACE}/{}/{}",
                manifest.identifier,
                own.trim_start_matches('/')
            );
            env.push((format!("{count}_PATH"), plain(&to)));
            env.push((format!("{count}_CONTENT"), plain(&STANDARD.encode(bytes))));
        }
    }
    env.push(("FILES".to_owned(), plain(&count.to_string())));
}

fn get<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    node.as_mapping()?.get(key).filter(|own| !own.is_null())
}

fn put(mapping: &mut Mapping, key: &str, value: Node) {
    let key = Key {
        text: key.into(),
        span: value.span,
    };
    mapping.entries.push(Entry { key, value });
}

fn node(value: Value, span: Span) -> Node {
    Node { span, value }
}

fn text(text: &str, span: Span) -> Node {
    let scalar = Scalar {
        text: text.into(),
        style: Style::Double,
        kind: Kind::String,
    };
    node(Value::Scalar(scalar), span)
}
