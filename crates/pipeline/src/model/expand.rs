//! Templates are put in place of their links, in the tree, before it is lowered: every diagnostic and whatever comes later
//! works as if they were written out. What came from a template keeps its place in the template's text.

use syntax::yaml::{Entry, Mapping, Node, Value};
use syntax::{Diagnostic, Span, code};

use super::lower::{Cx, Lower, nearest};
use super::name::{Ref, Scope};
use super::param::Param;
use super::template::{AllowedOverride, TemplateKind, TemplateLink};
use super::tree::{self, Fill, get, get_mut};

/// Nodes that the templates of one pipeline may bring: twenty times the longest pipelines. Templates that use others twice
/// each grow beyond any bound.
const MOST_NODES: usize = 500_000;
/// Templates inside of templates.
const DEEPEST: usize = 30;

/// A template's document.
#[derive(Debug, Clone, Copy)]
struct Template<'d> {
    id: &'d str,
    at: Span,
    version: Option<&'d str>,
    stable: bool,
    kind: Option<TemplateKind>,
    scope: Option<Scope>,
    spec: Option<&'d Node>,
    overrides: Option<&'d Node>,
}

/// Documents in which every template stands in place of its links, and what is wrong with the links.
pub fn expand(documents: Vec<Node>) -> (Vec<Node>, Vec<Diagnostic>) {
    let library: Vec<Template<'_>> = documents.iter().filter_map(template).collect();
    let mut expansion = Expansion {
        library: &library,
        open: Vec::new(),
        nodes: 0,
        spent: false,
        diagnostics: Vec::new(),
    };
    let expanded: Vec<Option<Node>> = documents
        .iter()
        .map(|document| {
            let pipeline = get(document, "pipeline")?;
            let mut made = document.clone();
            if let Some(target) = get_mut(&mut made, "pipeline") {
                *target = expansion.owner(pipeline.clone(), TemplateKind::Pipeline);
            }
            Some(made)
        })
        .collect();
    let diagnostics = expansion.diagnostics;
    drop(library);
    let documents = documents
        .into_iter()
        .zip(expanded)
        .map(|(document, expanded)| expanded.unwrap_or(document))
        .collect();
    (documents, diagnostics)
}

fn template(document: &Node) -> Option<Template<'_>> {
    let own = get(document, "template")?;
    let text = |key| get(own, key).and_then(Node::as_text);
    let identifier = get(own, "identifier")?;
    let scope = match (text("orgIdentifier"), text("projectIdentifier")) {
        (_, Some(_)) => Some(Scope::Project),
        (Some(_), None) => Some(Scope::Org),
        (None, None) => None,
    };
    Some(Template {
        id: identifier.as_text()?,
        at: identifier.span,
        version: text("versionLabel"),
        stable: text("stableTemplate") == Some("true"),
        kind: text("type").and_then(TemplateKind::from_word),
        scope,
        spec: get(own, "spec"),
        overrides: get(own, "allowedOverrides"),
    })
}

struct Expansion<'d> {
    library: &'d [Template<'d>],
    /// Those that are being put in place, outermost first.
    open: Vec<(&'d str, Option<&'d str>)>,
    nodes: usize,
    /// They brought more than they may, which is told.
    spent: bool,
    diagnostics: Vec<Diagnostic>,
}

impl<'d> Expansion<'d> {
    /// A pipeline, stage, group or step, which may be a link.
    fn owner(&mut self, node: Node, kind: TemplateKind) -> Node {
        let Some(link) = get(&node, "template").filter(|link| link.as_mapping().is_some()) else {
            return self.inside(node);
        };
        let mut cx = Cx::default();
        let lowered = TemplateLink::lower(link, "template", &mut cx);
        let depth = self.open.len();
        let made = lowered.and_then(|link| self.place(&node, &link, kind));
        let made = match made {
            // It may be a link in its turn.
            Some(made) => {
                self.diagnostics.extend(cx.diagnostics);
                self.owner(made, kind)
            }
            // The link stays, and is lowered with the rest.
            None => node,
        };
        self.open.truncate(depth);
        made
    }

    /// What is below.
    fn inside(&mut self, mut node: Node) -> Node {
        match &mut node.value {
            Value::Mapping(mapping) => {
                for entry in &mut mapping.entries {
                    let own = Node {
                        span: entry.value.span,
                        value: std::mem::replace(
                            &mut entry.value.value,
                            Value::Sequence(Vec::new()),
                        ),
                    };
                    entry.value = match &*entry.key.text {
                        "stage" => self.owner(own, TemplateKind::Stage),
                        "stepGroup" => self.owner(own, TemplateKind::StepGroup),
                        "step" => self.owner(own, TemplateKind::Step),
                        _ => self.inside(own),
                    };
                }
            }
            Value::Sequence(items) => {
                for item in items.iter_mut() {
                    let own = Node {
                        span: item.span,
                        value: std::mem::replace(&mut item.value, Value::Sequence(Vec::new())),
                    };
                    *item = self.inside(own);
                }
            }
            Value::Scalar(_) => {}
        }
        node
    }

    fn place(&mut self, owner: &Node, link: &TemplateLink, kind: TemplateKind) -> Option<Node> {
        let reference = self.literal(link.template_ref.as_ref(), "templateRef")?;
        let version = match &link.version_label {
            Some(written) => Some(self.literal(Some(written), "versionLabel")?),
            None => None,
        };
        let at = link
            .template_ref
            .as_ref()
            .map_or_else(|| link.span.head(1), Param::span);
        let version_at = link.version_label.as_ref().map_or(at, Param::span);
        let found = self.find(&reference, version.as_deref(), at, version_at)?;
        if found.kind.is_some_and(|own| own != kind) {
            let own = found.kind.map_or("", TemplateKind::as_str);
            self.diagnostics.push(
                Diagnostic::error(
                    code::WRONG_TEMPLATE,
                    format!("the template `{reference}` is of type {own}, not {kind}"),
                )
                .at(at, "")
                .at(found.at, "this one")
                .help(format!("name a template of type {kind}")),
            );
            return None;
        }
        let key = (found.id, found.version);
        if self.open.contains(&key) {
            let way: Vec<String> = self
                .open
                .iter()
                .map(|(id, _)| format!("`{id}`"))
                .chain([format!("`{}`", found.id)])
                .collect();
            self.diagnostics.push(
                Diagnostic::error(
                    code::TEMPLATE_CYCLE,
                    format!("the template includes itself: {}", way.join(" → ")),
                )
                .at(at, "here it comes to itself again")
                .at(found.at, "this template")
                .help("remove this link, or name another template"),
            );
            return None;
        }
        let spec = found.spec?;
        self.nodes = self.nodes.saturating_add(tree::size(spec));
        if self.nodes > MOST_NODES || self.open.len() >= DEEPEST {
            // Told once: whatever follows is as much too much.
            if !std::mem::replace(&mut self.spent, true) {
                self.diagnostics.push(
                    Diagnostic::error(
                        code::TEMPLATE_CYCLE,
                        format!(
                            "the templates of this pipeline bring more than {MOST_NODES} values, or are nested deeper than {DEEPEST}"
                        ),
                    )
                    .at(at, "beyond the bound here")
                    .help("use fewer templates inside of templates"),
                );
            }
            self.nodes = usize::MAX;
            return None;
        }
        let what = format!("template `{reference}`");
        let mut spec = spec.clone();
        let within = spec.span;
        if let Some(inputs) = &link.inputs {
            let mut fill = Fill::strict(&what, code::TEMPLATE_INPUT);
            fill.put(&mut spec, inputs);
            self.diagnostics.append(&mut fill.diagnostics);
        }
        let place = link.inputs.as_ref().map_or(at, |own| own.span.head(1));
        let mut answered = spec.clone();
        tree::put_defaults(&mut answered);
        for (path, asked) in tree::missing(&answered, within) {
            let help = format!("add `{path}` below `templateInputs`, with a value or `<+input>`");
            let missing = tree::not_given(&what, (&path, asked), place, help);
            self.diagnostics.push(missing);
        }
        if let Some(overrides) = &link.overrides {
            self.overrides(&mut spec, overrides, found, &what);
        }
        self.open.push(key);
        Some(combined(owner, spec, kind))
    }

    fn literal(&mut self, written: Option<&Param<String>>, key: &str) -> Option<String> {
        match written? {
            Param::Literal(text) => Some(text.value.trim().to_owned()),
            other => {
                self.diagnostics.push(
                    Diagnostic::error(
                        code::WRONG_TEMPLATE,
                        format!("`{key}` is written out: what it stands for is read before anything runs"),
                    )
                    .at(other.span(), "")
                    .help("write the template's identifier and version"),
                );
                None
            }
        }
    }

    fn find(
        &mut self,
        written: &str,
        version: Option<&str>,
        at: Span,
        version_at: Span,
    ) -> Option<Template<'d>> {
        let Some(reference) = Ref::parse(written) else {
            self.diagnostics.push(
                Diagnostic::error(
                    code::BAD_REFERENCE,
                    format!("`{written}` is not a reference to a template"),
                )
                .at(at, "")
                .help("write `id`, `org.id` or `account.id`"),
            );
            return None;
        };
        let named: Vec<&Template<'d>> = self
            .library
            .iter()
            .filter(|own| own.id == reference.id)
            .collect();
        // Those of its scope, else any: what lies beside a pipeline was often written for another place.
        let scoped: Vec<&Template<'d>> = named
            .iter()
            .copied()
            .filter(|own| own.scope.is_none_or(|scope| scope == reference.scope))
            .collect();
        let these = if scoped.is_empty() { named } else { scoped };
        let found = match version {
            Some(version) => these.iter().find(|own| own.version == Some(version)),
            None => match these.as_slice() {
                [one] => Some(one),
                several => several.iter().find(|own| own.stable),
            },
        };
        if let Some(found) = found {
            return Some(**found);
        }
        let versions: Vec<String> = these
            .iter()
            .filter_map(|own| Some(format!("`{}`", own.version?)))
            .collect();
        let diagnostic = match (these.is_empty(), version) {
            (true, _) => {
                let near = nearest(&reference.id, self.library.iter().map(|own| own.id));
                Diagnostic::error(
                    code::UNKNOWN_TEMPLATE,
                    format!("there is no template `{written}`"),
                )
                .at(at, "")
                .help(near.map_or_else(
                    || {
                        "put its document beside the pipeline, or into a directory of `--entities`"
                            .to_owned()
                    },
                    |near| format!("did you mean `{near}`?"),
                ))
            }
            (false, Some(version)) => Diagnostic::error(
                code::UNKNOWN_TEMPLATE,
                format!("the template `{written}` has no version `{version}`"),
            )
            .at(version_at, "")
            .help(format!("it has {}", versions.join(", "))),
            (false, None) => Diagnostic::error(
                code::UNKNOWN_TEMPLATE,
                format!("the template `{written}` has several versions, none of them stable"),
            )
            .at(at, "")
            .help(format!(
                "add `versionLabel`, one of {}; or write `stableTemplate: true` into one of them",
                versions.join(", ")
            )),
        };
        self.diagnostics.push(diagnostic);
        None
    }

    fn overrides(&mut self, spec: &mut Node, overrides: &Node, template: Template<'_>, what: &str) {
        let Some(mapping) = overrides.as_mapping() else {
            return;
        };
        let allowed: Vec<&str> = template
            .overrides
            .and_then(Node::as_sequence)
            .unwrap_or_default()
            .iter()
            .filter_map(|own| AllowedOverride::from_word(own.as_text()?))
            .map(AllowedOverride::key)
            .collect();
        for entry in &mapping.entries {
            let key = &*entry.key.text;
            if allowed.contains(&key) {
                set(spec, entry.clone());
            } else {
                self.diagnostics.push(
                    Diagnostic::error(
                        code::TEMPLATE_INPUT,
                        format!("{what} does not allow that `{key}` is overridden"),
                    )
                    .at(entry.key.span, "")
                    .at(template.at, "this template")
                    .help("remove it, or add what it is to the template's `allowedOverrides`"),
                );
            }
        }
    }
}

/// Replaces a key or adds it.
fn set(node: &mut Node, entry: Entry) {
    if let Value::Mapping(Mapping { entries }) = &mut node.value {
        match entries
            .iter_mut()
            .find(|own| own.key.text == entry.key.text)
        {
            Some(own) => *own = entry,
            None => entries.push(entry),
        }
    }
}

/// What the owner says of itself, then what the template holds.
fn combined(owner: &Node, spec: Node, kind: TemplateKind) -> Node {
    let own = owner.as_mapping().map_or(&[][..], |own| &own.entries);
    let mut entries: Vec<Entry> = own
        .iter()
        .filter(|entry| {
            let key = &*entry.key.text;
            key != "template" && !entry.value.is_null() && !matches!(key, "type" | "spec")
        })
        .cloned()
        .collect();
    if let Value::Mapping(mapping) = spec.value {
        for entry in mapping.entries {
            let key = &*entry.key.text;
            let left_out = kind == TemplateKind::StepGroup && key == "stageType";
            if !left_out && !entries.iter().any(|own| *own.key.text == *key) {
                entries.push(entry);
            }
        }
    }
    Node {
        span: owner.span,
        value: Value::Mapping(Mapping { entries }),
    }
}
