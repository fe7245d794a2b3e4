//! The functions that the world answers: `configFile`, `fileStore`, `exportedVariables`.

use base64::Engine as _;
use syntax::expr::Value;
use syntax::yaml::Node;

use crate::model::{AliasScope, Param};
use crate::plan::{Place, What};

use super::scope::At;
use super::target::Target;

/// A function with its arguments; none: there is no such function.
pub(super) fn call(
    at: &At<'_, '_>,
    functor: &str,
    method: &str,
    arguments: &[Value],
) -> Option<Result<Value, String>> {
    let [Value::Text(argument)] = arguments else {
        return None;
    };
    let base64 = method == "getAsBase64";
    match functor {
        "fileStore" => Some(file(at, argument).map(|bytes| content(bytes, base64))),
        "configFile" => Some(
            config_file(at, argument)
                .and_then(|path| file(at, &path).map(|bytes| content(bytes, base64))),
        ),
        "exportedVariables" => Some(exported(at, argument)),
        _ => None,
    }
}

fn content(bytes: &[u8], base64: bool) -> Value {
    if base64 {
        Value::from(base64::engine::general_purpose::STANDARD.encode(bytes))
    } else {
        Value::from(&*String::from_utf8_lossy(bytes))
    }
}

/// A file of the store: `/p`, `org:/p`, `account:/p`.
fn file<'a>(at: &'a At<'_, '_>, path: &str) -> Result<&'a [u8], String> {
    let files = &at.world.known.files;
    files.get(path.trim()).map(|bytes| &**bytes).ok_or_else(|| {
        if files.is_empty() {
            format!("the file store is not here, so there is no `{path}`: give its directory by `--file-store`")
        } else {
            format!("the file store has no `{path}`")
        }
    })
}

/// The path of a file of the service.
fn config_file(at: &At<'_, '_>, identifier: &str) -> Result<String, String> {
    let target = Target::of(at).unwrap_or_default();
    let file = target
        .config_file(identifier)
        .ok_or_else(|| format!("the service has no config file `{identifier}`"))?;
    let get =
        |node: Option<&Node>, key: &str| -> Option<Node> { node?.as_mapping()?.get(key).cloned() };
    let store = get(file.spec.as_ref(), "store");
    let spec = get(store.as_ref(), "spec");
    let files = get(spec.as_ref(), "files").or_else(|| get(spec.as_ref(), "paths"));
    let first = files
        .as_ref()
        .and_then(Node::as_sequence)
        .and_then(<[Node]>::first)
        .and_then(Node::as_text);
    first.map(str::to_owned).ok_or_else(|| {
        format!("the config file `{identifier}` is in no file store that can be read here")
    })
}

/// What an export names: its scope, its key, its variable.
fn alias(argument: &str) -> Result<(AliasScope, &str, &str), String> {
    let wrong = || {
        format!(
            "`{argument}` is not `scope.key.variable`, with a scope of `pipeline`, `stage` or `stepGroup`"
        )
    };
    let (scope, rest) = argument.split_once('.').ok_or_else(wrong)?;
    let (key, name) = rest.split_once('.').ok_or_else(wrong)?;
    let scope = match scope {
        "pipeline" => AliasScope::Pipeline,
        "stage" => AliasScope::Stage,
        "stepGroup" => AliasScope::StepGroup,
        _ => return Err(wrong()),
    };
    Ok((scope, key, name))
}

/// Whether anything that is seen from here exports it, whatever will run.
pub(super) fn is_exported(at: &At<'_, '_>, argument: &str) -> Result<(), String> {
    let (scope, key, _) = alias(argument)?;
    let all = Place::all(at.world.pipeline);
    let mut here = all
        .iter()
        .filter(|place| exports(place, scope, key) && reaches(place, at.place, scope));
    here.next().map(|_| ()).ok_or_else(|| no_export(scope, key))
}

fn no_export(scope: AliasScope, key: &str) -> String {
    format!(
        "no step here exports under the alias `{key}` in the scope `{}`",
        scope.as_str()
    )
}

/// `scope.key.variable`: an output variable of the step that exports it under an alias.
fn exported(at: &At<'_, '_>, argument: &str) -> Result<Value, String> {
    let (scope, key, name) = alias(argument)?;
    let world = at.world;
    let mut exporters = Vec::new();
    for place in Place::all(world.pipeline) {
        if exports(&place, scope, key) && reaches(&place, at.place, scope) {
            exporters.extend(place.runs_seen_from(world, at.place));
        }
    }
    if exporters.is_empty() {
        return Err(no_export(scope, key));
    }
    let mut values = exporters.iter().filter_map(|id| {
        let fact = world.nodes.fact(id)?;
        fact.outputs.get(name).cloned()
    });
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        // Which of them is meant nobody can say: an alias is written once.
        (Some(_), Some(_)) => Err(format!(
            "several iterations export `{name}` as `{key}`: read it in their loop, or by the path of one of them"
        )),
        (None, _) => Err(format!(
            "the step that exports `{key}` gave no `{name}`, or did not run yet"
        )),
    }
}

fn exports(place: &Place<'_>, scope: AliasScope, key: &str) -> bool {
    let What::Step(step) = place.what else {
        return false;
    };
    step.output_alias().is_some_and(|alias| {
        let own = alias.key.as_ref().and_then(Param::literal);
        let in_scope = alias.scope.as_ref().and_then(Param::literal) == Some(&scope);
        in_scope && own.is_some_and(|own| own == key)
    })
}

/// Whether what one place exports is seen from another.
fn reaches(from: &Place<'_>, to: &Place<'_>, scope: AliasScope) -> bool {
    let stage = |place: &Place<'_>| {
        place
            .stage
            .as_ref()
            .map(|(own, _)| own.identifier().to_string())
    };
    match scope {
        AliasScope::Pipeline => true,
        AliasScope::Stage => stage(from) == stage(to),
        AliasScope::StepGroup => {
            stage(from) == stage(to)
                && from.groups.last().is_some_and(|(own, _)| {
                    to.groups
                        .iter()
                        .any(|(other, _)| other.identifier == own.identifier)
                })
        }
    }
}
