//! The published JSON Schema is the one that the model makes.

use pipeline::model::Forms;

#[test]
fn the_published_schema_is_that_of_the_model() {
    let made = serde_json::to_string_pretty(&Forms::new().schema()).expect("it is JSON") + "\n";
    assert!(
        made == include_str!("../../../docs/schema.json"),
        "run `stepyard schema > docs/schema.json`: the model has changed"
    );
}

#[test]
fn every_object_that_is_named_is_there_and_every_key_is_explained() {
    let forms = Forms::new();
    let text = forms.schema().to_string();
    for name in text.split("\"#/$defs/").skip(1) {
        let name = name.split('"').next().expect("it ends");
        let known = forms.objects.contains_key(name) || ["Expression", "Blank"].contains(&name);
        assert!(known, "{name}");
    }
    for (name, object) in &forms.objects {
        assert!(!object.doc.is_empty(), "{name}");
        for key in &object.keys {
            assert!(
                key.doc.ends_with(['.', '…']),
                "{name}.{}: {}",
                key.name,
                key.doc
            );
        }
    }
}
