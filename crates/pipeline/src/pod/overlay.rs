//! `podSpecOverlay`: a strategic merge over the pod's spec, as the API server merges a patch.
//!
//! Lists of things with names are merged by them, other lists are replaced, null removes. The directives `$patch` (`delete`,
//! `replace`) and `$retainKeys` are those of Kubernetes.

use serde_json::{Map, Value};
use syntax::Sources;
use syntax::yaml::{self, Kind, Node};

/// The lists of a pod's spec that are merged, and by which key.
const MERGED: [(&str, &str); 13] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("volumes", "name"),
    ("imagePullSecrets", "name"),
    ("schedulingGates", "name"),
    ("resourceClaims", "name"),
    ("env", "name"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("ports", "containerPort"),
];
/// The keys of a whole pod: then the overlay is what stands under `spec`.
const WHOLE: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];

/// The overlay of a text. It is a pod's spec, or a pod of which only the spec is meant.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut sources = Sources::new();
    let id = sources.add("podSpecOverlay", text);
    let parsed = yaml::parse(&sources, id);
    if let Some(first) = parsed.diagnostics.iter().find(|own| own.is_error()) {
        let line = first.labels.first().map_or(1, |label| {
            let position = sources.start(label.span);
            position.line
        });
        return Err(format!("line {line} of it: {}", first.message));
    }
    let mut documents = parsed.documents.iter();
    let Some(Value::Object(mut map)) = documents.next().map(json) else {
        return Err("it is no mapping of a pod's settings".to_owned());
    };
    if documents.next().is_some() {
        return Err("it has more than one document".to_owned());
    }
    if map.contains_key("spec") && map.keys().all(|key| WHOLE.contains(&key.as_str())) {
        return match map.remove("spec") {
            Some(Value::Object(spec)) => Ok(spec.into()),
            _ => Err("its `spec` is no mapping".to_owned()),
        };
    }
    Ok(map.into())
}

fn json(node: &Node) -> Value {
    match &node.value {
        yaml::Value::Scalar(scalar) => match scalar.kind {
            Kind::Null => Value::Null,
            Kind::Bool(own) => own.into(),
            Kind::Int(own) => own.into(),
            Kind::Float(own) => own.into(),
            Kind::String => Value::from(&*scalar.text),
        },
        yaml::Value::Sequence(items) => items.iter().map(json).collect(),
        yaml::Value::Mapping(mapping) => mapping
            .entries
            .iter()
            .map(|entry| (entry.key.text.to_string(), json(&entry.value)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

/// Merges `patch` into `base`.
pub(super) fn merge(base: &mut Value, patch: &Value) {
    let (Value::Object(into), Value::Object(from)) = (&mut *base, patch) else {
        *base = patch.clone();
        return;
    };
    if from.get("$patch").is_some_and(|own| own == "replace") {
        into.clear();
    }
    if let Some(Value::Array(kept)) = from.get("$retainKeys") {
        into.retain(|key, _| kept.iter().any(|own| own == key));
    }
    for (key, value) in from {
        if key.starts_with('$') {
            continue;
        }
        let by = MERGED.iter().find(|(list, _)| list == key);
        match (value, by) {
            (Value::Null, _) => {
                into.remove(key);
            }
            (Value::Array(items), Some((_, by))) => {
                let list = into.entry(key).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    merge_list(list, items, by);
                }
            }
            (Value::Object(_), _) => {
                let own = into.entry(key).or_insert_with(|| Map::new().into());
                merge(own, value);
            }
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

fn merge_list(list: &mut Vec<Value>, items: &[Value], by: &str) {
    if items
        .iter()
        .any(|item| item.get("$patch").is_some_and(|own| own == "replace"))
    {
        list.clear();
    }
    for item in items {
        let name = item.get(by);
        let known = list.iter().position(|own| own.get(by) == name);
        let directive = item.get("$patch").and_then(Value::as_str);
        match (directive, known, name) {
            (Some("delete"), Some(at), _) => {
                list.remove(at);
            }
            (Some("delete"), None, _) | (Some("replace"), _, None) => {}
            (_, Some(at), Some(_)) => merge(&mut list[at], item),
            _ => {
                let mut fresh = Value::Object(Map::new());
                merge(&mut fresh, item);
                list.push(fresh);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_of_named_things_are_merged_and_others_replaced() {
        let mut spec = json!({
            "containers": [{"name": "a", "image": "x"}, {"name": "b", "resources": {"requests": {"cpu": "10m"}}}],
            "tolerations": [{"key": "old"}],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "hostAliases": [{"ip": "127.0.0.1", "hostnames": ["db"]}],
            "priorityClassName": "low",
        });
        let text = "
containers:
  - name: b
    resources: {requests: {ephemeral-storage: 1Gi}}
  - {name: a, $patch: delete}
  - {name: sidecar, image: y}
tolerations: [{key: new}]
volumes:
  - {name: v, $retainKeys: [name, hostPath], hostPath: {path: /x}}
priorityClassName: null
runtimeClassName: gvisor
";
        merge(&mut spec, &parse(text).expect("an overlay"));
        assert_eq!(
            spec,
            json!({
                "containers": [
                    {"name": "b", "resources": {"requests": {"cpu": "10m", "ephemeral-storage": "1Gi"}}},
                    {"name": "sidecar", "image": "y"},
                ],
                "tolerations": [{"key": "new"}],
                "volumes": [{"name": "v", "hostPath": {"path": "/x"}}],
                "hostAliases": [{"ip": "127.0.0.1", "hostnames": ["db"]}],
                "runtimeClassName": "gvisor",
            })
        );
    }

    #[test]
    fn a_whole_pod_means_its_spec() {
        assert_eq!(
            parse("spec:\n  dnsPolicy: Default\n"),
            Ok(json!({"dnsPolicy": "Default"}))
        );
        for (text, wanted) in [
            ("- a\n", "it is no mapping of a pod's settings"),
            ("spec: 1\n", "its `spec` is no mapping"),
            ("a: 1\n---\nb: 2\n", "it has more than one document"),
        ] {
            assert_eq!(parse(text), Err(wanted.to_owned()), "{text}");
        }
        assert!(parse("a: [\n").is_err());
    }
}
