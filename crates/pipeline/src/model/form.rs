//! The form of what may be written, as data: made by the very macros and implementations that lower it, so that the JSON
//! Schema and the editor cannot drift from what is read.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::lower::Lower;

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// Anything.
    Any,
    /// Text; numbers and booleans count as it.
    Text,
    /// Text that reads as something: a duration, an amount.
    Like(&'static str),
    /// True or false.
    Bool,
    /// A whole number.
    Whole,
    /// One of these.
    Words(Vec<&'static str>),
    /// Text, mostly one of these.
    Often(Vec<&'static str>),
    /// A list of such.
    List(Box<Self>),
    /// Any keys, values of such.
    Map(Box<Self>),
    /// An object of [`Forms`].
    Object(&'static str),
    /// It, a runtime input, or an expression.
    Param(Box<Self>),
}

/// A mapping with known keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object {
    /// What it is, in a sentence.
    pub doc: String,
    /// Its keys.
    pub keys: Vec<Key>,
    /// It has exactly one of its keys.
    pub one: bool,
    /// Other keys are values of this form.
    pub others: Option<Form>,
    /// What stands below one key is chosen by the word below another.
    pub choice: Option<Choice>,
}

/// A key.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub doc: String,
    /// It must be there.
    pub required: bool,
    /// Its value.
    pub form: Form,
}

/// What stands below `below` by the word below `by`.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The key whose word decides.
    pub by: &'static str,
    /// The key that is decided.
    pub below: &'static str,
    /// Word by word.
    pub forms: Vec<(&'static str, Form)>,
}

/// Every object that can be reached.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Forms {
    /// By name.
    pub objects: IndexMap<&'static str, Object>,
}

impl Forms {
    /// Those of every document; the root's name is `Document`.
    pub fn new() -> Self {
        let mut forms = Self::default();
        forms.object(
            "Document",
            "A document has one of these roots.",
            |forms, own| {
                use super::{
                    Connector, Environment, EnvironmentGroup, GlobalVariable, Infrastructure,
                    Overrides, Pipeline, Secret, Service, ServiceOverrides, Template,
                };
                fn root<T: Lower>(forms: &mut Forms) -> Form {
                    T::form(forms)
                }
                own.one = true;
                own.keys = vec![
                    key("pipeline", "What runs.", root::<Pipeline>(forms)),
                    key(
                        "template",
                        "What is put in place of its links.",
                        root::<Template>(forms),
                    ),
                    key(
                        "connector",
                        "How something outside is reached.",
                        root::<Connector>(forms),
                    ),
                    key("secret", "A value that nobody sees.", root::<Secret>(forms)),
                    key("service", "What is deployed.", root::<Service>(forms)),
                    key(
                        "environment",
                        "Where it is deployed.",
                        root::<Environment>(forms),
                    ),
                    key(
                        "environmentGroup",
                        "Several environments.",
                        root::<EnvironmentGroup>(forms),
                    ),
                    key(
                        "infrastructureDefinition",
                        "A place in an environment.",
                        root::<Infrastructure>(forms),
                    ),
                    key(
                        "overrides",
                        "What is otherwise in an environment.",
                        root::<Overrides>(forms),
                    ),
                    key(
                        "serviceOverrides",
                        "What is otherwise in an environment, in the form before.",
                        root::<ServiceOverrides>(forms),
                    ),
                    key(
                        "variable",
                        "A variable of all pipelines.",
                        root::<GlobalVariable>(forms),
                    ),
                    key(
                        "inputSet",
                        "Values for what a pipeline asks for.",
                        Form::Any,
                    ),
                    key("overlayInputSet", "Several input sets in a row.", Form::Any),
                    key("trigger", "What begins a pipeline.", Form::Any),
                    key("configFile", "A file of a service.", Form::Any),
                ];
            },
        );
        forms
    }

    /// Adds an object unless it is there, and refers to it.
    pub(crate) fn object(
        &mut self,
        name: &'static str,
        doc: &str,
        fill: impl FnOnce(&mut Self, &mut Object),
    ) -> Form {
        if !self.objects.contains_key(name) {
            // It may come to itself again while it is filled.
            self.objects.insert(name, Object::default());
            let mut own = Object {
                doc: sentence(doc),
                ..Object::default()
            };
            fill(self, &mut own);
            self.objects.insert(name, own);
        }
        Form::Object(name)
    }

    /// What a key of an object holds, as the word of its choice says.
    pub fn below(&self, object: &str, key: &str, word: Option<&str>) -> Option<&Form> {
        let own = self.objects.get(object)?;
        if let Some(choice) = own.choice.as_ref().filter(|choice| choice.below == key) {
            let word = word?;
            let found = choice.forms.iter().find(|(own, _)| *own == word);
            return found.map(|(_, form)| form);
        }
        own.keys
            .iter()
            .find(|own| own.name == key)
            .map(|own| &own.form)
            .or(own.others.as_ref())
    }

    /// As a JSON Schema of draft 2020-12.
    pub fn schema(&self) -> Value {
        let mut definitions = Map::new();
        definitions.insert(
            "Expression".to_owned(),
            json!({"type": "string", "pattern": "<\\+", "description": "A runtime input or an expression."}),
        );
        definitions.insert("Blank".to_owned(), json!({"enum": [null, ""]}));
        for (name, object) in &self.objects {
            definitions.insert((*name).to_owned(), Self::object_schema(object));
        }
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "stepyard",
            "description": "Harness pipelines (v0) and their entities, as stepyard reads them.",
            "$ref": "#/$defs/Document",
            "$defs": definitions,
        })
    }

    fn object_schema(own: &Object) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for key in &own.keys {
            let mut value = form_schema(&key.form);
            if !key.required && !own.one {
                // A key without a value is as if it were not written.
                value = json!({"anyOf": [value, {"$ref": "#/$defs/Blank"}]});
            }
            if let Some(object) = value.as_object_mut() {
                object.insert("description".to_owned(), key.doc.clone().into());
            }
            if key.required {
                required.push(key.name);
            }
            properties.insert(key.name.to_owned(), value);
        }
        let mut schema = json!({
            "type": "object",
            "description": own.doc,
            "properties": properties,
        });
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        if own.one {
            let ways: Vec<Value> = own
                .keys
                .iter()
                .map(|key| json!({"required": [key.name]}))
                .collect();
            schema["oneOf"] = ways.into();
        }
        if let Some(others) = &own.others {
            schema["additionalProperties"] = form_schema(others);
        }
        if let Some(choice) = &own.choice {
            let cases: Vec<Value> = choice
                .forms
                .iter()
                .map(|(word, form)| {
                    json!({
                        "if": {"properties": {(choice.by): {"const": word}}, "required": [choice.by]},
                        "then": {"properties": {(choice.below): form_schema(form)}},
                    })
                })
                .collect();
            schema["allOf"] = cases.into();
        }
        schema
    }
}

fn form_schema(form: &Form) -> Value {
    let expression = || json!({"$ref": "#/$defs/Expression"});
    match form {
        Form::Any => json!({}),
        Form::Text => json!({"type": ["string", "number", "boolean"]}),
        Form::Like(pattern) => json!({"type": ["string", "number"], "pattern": pattern}),
        Form::Bool => {
            json!({"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": "^(?:[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$"}]})
        }
        Form::Whole => {
            json!({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^\\s*-?[0-9]+\\s*$"}]})
        }
        Form::Words(words) => json!({"enum": words}),
        // An editor offers them; a family gains members faster than any list.
        Form::Often(words) => json!({"anyOf": [{"enum": words}, {"type": "string"}]}),
        Form::List(of) => json!({"type": "array", "items": form_schema(of)}),
        Form::Map(of) => json!({"type": "object", "additionalProperties": form_schema(of)}),
        Form::Object(name) => json!({"$ref": format!("#/$defs/{name}")}),
        Form::Param(of) => match &**of {
            Form::Any | Form::Text => form_schema(of),
            _ => json!({"anyOf": [form_schema(of), expression()]}),
        },
    }
}

/// A key of an object that no macro makes.
pub(crate) fn key(name: &'static str, doc: &str, form: Form) -> Key {
    Key {
        name,
        doc: sentence(doc),
        required: false,
        form,
    }
}

/// The same, which must be there.
pub(crate) fn required(name: &'static str, doc: &str, form: Form) -> Key {
    Key {
        required: true,
        ..key(name, doc, form)
    }
}

/// A comment of the code as a sentence for people: without links to other code.
pub(crate) fn sentence(doc: &str) -> String {
    doc.trim().replace("[`", "`").replace("`]", "`")
}
