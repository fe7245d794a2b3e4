//! From documents to the model.

use syntax::yaml::{self, Node};
use syntax::{Diagnostic, SourceId, Sources, Spanned, code, diagnostic};

use super::check;
use super::entity::{self, Entities, Entity};
use super::expand::expand;
use super::lower::{Cx, Lower, nearest};
use super::pipeline::Pipeline;

/// How strict a reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// What other servers would refuse is an error, not a warning.
    pub portable: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Loaded {
    /// The pipeline, where a document is one.
    pub pipeline: Option<Pipeline>,
    /// Everything else.
    pub entities: Entities,
    /// References of secrets in the pipeline's expressions (`<+secrets.getValue("…")>`), each at its first place. One that is put
    /// together while the pipeline runs is not among them.
    pub secrets: Vec<Spanned<String>>,
    /// What is wrong, in the order of the texts.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether anything is an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Reads texts as YAML and lowers all their documents together.
pub fn read(
    sources: &Sources,
    ids: impl IntoIterator<Item = SourceId>,
    options: Options,
) -> Loaded {
    let mut documents = Vec::new();
    let mut diagnostics = Vec::new();
    for id in ids {
        let parsed = yaml::parse(sources, id);
        documents.extend(parsed.documents);
        diagnostics.extend(parsed.diagnostics);
    }
    let (documents, more) = expand(documents);
    diagnostics.extend(more);
    let mut loaded = load(&documents, options);
    loaded.diagnostics.extend(diagnostics);
    diagnostic::sort(&mut loaded.diagnostics);
    loaded
}

/// Roots that are known, and read by what acts on them.
const OPAQUE: [&str; 4] = ["inputSet", "overlayInputSet", "trigger", "configFile"];

/// Roots that are read.
const READ: [&str; 11] = [
    "pipeline",
    "connector",
    "secret",
    "template",
    "service",
    "environment",
    "environmentGroup",
    "infrastructureDefinition",
    "overrides",
    "serviceOverrides",
    "variable",
];

/// Lowers documents in which every template stands in place already ([`expand`]). Their diagnostics are in the order of
/// the texts, each once: a template may be used many times.
pub fn load(documents: &[Node], options: Options) -> Loaded {
    let mut cx = Cx::default();
    let mut loaded = Loaded::default();
    for document in documents {
        root(document, &mut loaded, &mut cx);
    }
    if let Some(pipeline) = &loaded.pipeline {
        check::pipeline(pipeline, options, &mut cx);
    }
    entity::check(&loaded.entities, &mut cx);
    // What is not understood would only be told again by what reads it: then only expressions that are wrong by themselves are told.
    let broken = cx.diagnostics.iter().any(Diagnostic::is_error);
    let document = documents
        .iter()
        .find_map(|document| document.as_mapping()?.get("pipeline"));
    if let (Some(pipeline), Some(document)) = (&loaded.pipeline, document) {
        let early = crate::resolve::early(pipeline, &loaded.entities, document, broken);
        cx.diagnostics.extend(early);
        if !broken {
            cx.diagnostics
                .extend(crate::resolve::fits(pipeline, &loaded.entities));
        }
    }
    loaded.diagnostics = cx.diagnostics;
    loaded.secrets = cx.secrets;
    diagnostic::sort(&mut loaded.diagnostics);
    loaded.diagnostics.dedup();
    loaded
}

/// Whether a document may have this root.
pub fn is_root(name: &str) -> bool {
    READ.contains(&name) || OPAQUE.contains(&name)
}

fn root(document: &Node, loaded: &mut Loaded, cx: &mut Cx) {
    let Some(mapping) = document.as_mapping() else {
        let message = format!(
            "a document is a mapping with one root such as `pipeline`, this is {}",
            document.what()
        );
        cx.push(
            Diagnostic::error(code::UNKNOWN_ROOT, message)
                .at(document.span.head(1), "")
                .help("begin with `pipeline:` and indent what belongs to it"),
        );
        return;
    };
    for entry in &mapping.entries {
        let value = &entry.value;
        match &*entry.key.text {
            "pipeline" => {
                let pipeline = Pipeline::lower(value, "pipeline", cx);
                if let (Some(first), Some(_)) = (&loaded.pipeline, &pipeline) {
                    cx.push(
                        Diagnostic::error(code::SECOND_PIPELINE, "a second pipeline")
                            .at(entry.key.span, "this one")
                            .at(first.identifier.span(), "the first one")
                            .help("give one pipeline at a time"),
                    );
                } else {
                    check::references::pipeline(value, cx);
                    loaded.pipeline = loaded.pipeline.take().or(pipeline);
                }
            }
            "connector" => loaded
                .entities
                .connectors
                .extend(Lower::lower(value, "connector", cx)),
            "template" => loaded
                .entities
                .templates
                .extend(Lower::lower(value, "template", cx)),
            "service" => loaded
                .entities
                .services
                .extend(Entity::read(value, "service", cx)),
            "environment" => {
                loaded
                    .entities
                    .environments
                    .extend(Entity::read(value, "environment", cx));
            }
            "environmentGroup" => {
                loaded
                    .entities
                    .groups
                    .extend(Lower::lower(value, "environmentGroup", cx));
            }
            "infrastructureDefinition" => loaded.entities.infrastructures.extend(Entity::read(
                value,
                "infrastructureDefinition",
                cx,
            )),
            "overrides" => loaded
                .entities
                .overrides
                .extend(Entity::read(value, "overrides", cx)),
            "serviceOverrides" => loaded.entities.service_overrides.extend(Entity::read(
                value,
                "serviceOverrides",
                cx,
            )),
            "variable" => loaded
                .entities
                .variables
                .extend(Lower::lower(value, "variable", cx)),
            "secret" => loaded
                .entities
                .secrets
                .extend(Lower::lower(value, "secret", cx)),
            known if OPAQUE.contains(&known) => loaded.entities.others.push(entity::OtherEntity {
                root: known.to_owned(),
                span: entry.key.span,
                value: value.clone(),
            }),
            unknown => {
                let roots = READ.into_iter().chain(OPAQUE);
                let known = nearest(unknown, roots);
                let diagnostic = Diagnostic::error(
                    code::UNKNOWN_ROOT,
                    format!("`{unknown}` is not a root of a document"),
                )
                .at(entry.key.span, "");
                let step_like =
                    ["stages", "stage", "steps", "step", "identifier", "name"].contains(&unknown);
                cx.push(match known {
                    Some(near) => diagnostic
                        .help(format!("did you mean `{near}`?"))
                        .fix(entry.key.span, near),
                    None if step_like => diagnostic.help("put it below `pipeline:` and indent it"),
                    None => diagnostic.help(format!(
                        "a document's root is one of {}",
                        READ.map(|root| format!("`{root}`")).join(", ")
                    )),
                });
                if step_like {
                    return;
                }
            }
        }
    }
}
