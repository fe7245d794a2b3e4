//! What may be written where the cursor is.

use pipeline::model::{Form, Forms, Loaded, Object};
use pipeline::resolve::members;
use serde_json::{Value, json};

use super::place::{Level, On, Place, place};
use super::state::State;
use super::{asked, judge};

/// Kinds of the protocol.
const PROPERTY: u8 = 10;
const VALUE: u8 = 12;
const VARIABLE: u8 = 6;
const REFERENCE: u8 = 18;

/// The answer to `textDocument/completion`.
pub(super) fn complete(state: &State, params: &Value) -> Value {
    let items = asked(state, params).map_or_else(Vec::new, |(uri, text, line, column)| {
        let place = place(text, line, column);
        match &place.on {
            On::Key(_) => keys(&state.forms, &place),
            On::Value(key, _) => values(state, uri, &place, key),
            On::Expression(path, _) => paths(state, uri, &place, path),
            On::Text => Vec::new(),
        }
    });
    json!({"isIncomplete": false, "items": items})
}

/// The object that a place is in.
pub(super) fn object<'f>(forms: &'f Forms, levels: &[Level]) -> Option<(&'f str, &'f Object)> {
    let mut form = &Form::Object("Document");
    for level in levels {
        form = match inner(form) {
            Form::Object(name) => {
                let choice = forms.objects.get(name)?.choice.as_ref();
                let word = choice
                    .and_then(|choice| level.beside.iter().find(|(key, _)| key == choice.by))
                    .map(|(_, value)| value.as_str());
                forms.below(name, &level.key, word)?
            }
            Form::Map(of) => of,
            _ => return None,
        };
    }
    match inner(form) {
        Form::Object(name) => forms.objects.get(name).map(|own| (*name, own)),
        _ => None,
    }
}

/// What a list holds, and what an expression may stand for.
fn inner(form: &Form) -> &Form {
    match form {
        Form::List(of) | Form::Param(of) => inner(of),
        other => other,
    }
}

fn keys(forms: &Forms, place: &Place) -> Vec<Value> {
    let Some((_, object)) = object(forms, &place.levels) else {
        return Vec::new();
    };
    object
        .keys
        .iter()
        .filter(|key| !place.beside.iter().any(|(own, _)| own == key.name))
        .map(|key| {
            let nested = matches!(inner(&key.form), Form::Object(_) | Form::Map(_))
                || matches!(key.form, Form::List(_));
            json!({
                "label": key.name,
                "kind": PROPERTY,
                "detail": if key.required { "required" } else { "" },
                "documentation": key.doc,
                "insertText": if nested { format!("{}:", key.name) } else { format!("{}: ", key.name) },
                // What must be there comes first.
                "sortText": format!("{}{}", u8::from(!key.required), key.name),
            })
        })
        .collect()
}

fn values(state: &State, uri: &str, place: &Place, key: &str) -> Vec<Value> {
    let item = |label: &str, kind: u8| json!({"label": label, "kind": kind});
    if let Some(names) = references(state, uri, key, place) {
        return names.iter().map(|own| item(own, REFERENCE)).collect();
    }
    let Some((_, object)) = object(&state.forms, &place.levels) else {
        return Vec::new();
    };
    let form = object.keys.iter().find(|own| own.name == key);
    match form.map(|own| inner(&own.form)) {
        Some(Form::Words(words) | Form::Often(words)) => {
            words.iter().map(|own| item(own, VALUE)).collect()
        }
        Some(Form::Bool) => vec![item("true", VALUE), item("false", VALUE)],
        _ => Vec::new(),
    }
}

/// The identifiers that a key may name.
fn references(state: &State, uri: &str, key: &str, place: &Place) -> Option<Vec<String>> {
    let known = |of: fn(&Loaded) -> Vec<String>| {
        let mut names = judge::model(state, uri).map_or_else(Vec::new, |own| of(&own));
        names.sort();
        names.dedup();
        names
    };
    Some(match key {
        "connectorRef" => {
            known(|own| names(&own.entities.connectors, |own| own.identifier.as_str()))
        }
        "serviceRef" => {
            known(|own| names(&own.entities.services, |own| own.own.identifier.as_str()))
        }
        "environmentRef" => known(|own| {
            names(&own.entities.environments, |own| {
                own.own.identifier.as_str()
            })
        }),
        "templateRef" => known(|own| names(&own.entities.templates, |own| own.identifier.as_str())),
        "versionLabel" => {
            let wanted = place.beside.iter().find(|(key, _)| key == "templateRef");
            let wanted = wanted.map(|(_, own)| own.rsplit('.').next().unwrap_or(own).to_owned());
            let model = judge::model(state, uri)?;
            model
                .entities
                .templates
                .iter()
                .filter(|own| {
                    wanted
                        .as_deref()
                        .is_none_or(|name| own.identifier.as_str() == name)
                })
                .filter_map(|own| Some(own.version_label.as_ref()?.value.clone()))
                .collect()
        }
        "barrierRef" => known(|own| {
            let flow = own
                .pipeline
                .as_ref()
                .and_then(|own| own.flow_control.as_ref());
            flow.map_or_else(Vec::new, |own| {
                names(&own.barriers, |own| own.identifier.as_str())
            })
        }),
        _ => return None,
    })
}

fn names<T>(all: &[T], name: impl Fn(&T) -> &str) -> Vec<String> {
    all.iter().map(|own| name(own).to_owned()).collect()
}

fn paths(state: &State, uri: &str, place: &Place, path: &[String]) -> Vec<Value> {
    let Some(model) = judge::model(state, uri) else {
        return Vec::new();
    };
    let Some(pipeline) = &model.pipeline else {
        return Vec::new();
    };
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    members(pipeline, &model.entities, &place.identifiers(), &path)
        .iter()
        .map(|own| json!({"label": own, "kind": VARIABLE}))
        .collect()
}
