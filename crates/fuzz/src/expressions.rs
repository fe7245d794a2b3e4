//! A text with expressions, over a small world: what can be parsed ends with a value or an error that has its place, within its budget.

use std::sync::LazyLock;

use syntax::expr::{Error, SecretRef, Template, Tree, Value, parse_condition};

/// Something of every kind under short names, which a mutation finds.
static WORLD: LazyLock<Tree> = LazyLock::new(|| {
    let list: Vec<Value> = ["x", "y", "10"].map(Value::from).into();
    Tree::from([
        ("a", Value::from("v1.2.3")),
        ("n", Value::from(7)),
        ("l", Value::List(list.into())),
        ("j", Value::from(r#"{"a":[{"b":1}],"n":null}"#)),
        ("x", Value::from("<r><i k='1'>t</i></r>")),
        ("s", Value::Secret(SecretRef("token".into()))),
        ("z", Value::Null),
        (
            "pipeline",
            Value::from([("name", Value::from("demo")), ("count", Value::from(3))]),
        ),
    ])
});

pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Template::parse(text) {
        Ok(template) => {
            let _ = template.paths();
            let value = template.value(&*WORLD);
            let again = template.value(&*WORLD);
            // As it is written out: a number that is none is not equal to itself.
            assert_eq!(
                format!("{value:?}"),
                format!("{again:?}"),
                "the same text has the same value"
            );
            if let Err(error) = &value {
                place(text, error);
            }
            if let Err(error) = template.pieces(&*WORLD) {
                place(text, &error);
            }
            // A secret is never part of a text.
            if let (Ok(value), Ok(_)) = (&value, template.text(&*WORLD)) {
                assert!(!value.has_secret());
            }
        }
        Err(error) => place(text, &error),
    }
    match parse_condition(text) {
        Ok(condition) => {
            let _ = condition.paths();
            if let Err(error) = condition.holds(&*WORLD) {
                place(text, &error);
            }
        }
        Err(error) => place(text, &error),
    }
}

fn place(text: &str, error: &Error) {
    assert!(!error.to_string().is_empty());
    assert!(
        text.get(error.span.clone()).is_some(),
        "{error:?} is not in the text"
    );
}
