//! The root.

use indexmap::IndexMap;
use syntax::yaml::Node;
use syntax::{Diagnostic, Span, Spanned, code};

use super::form::{self, Form, Forms};
use super::lower::{Cx, Fields, Lower};
use super::macros::model;
use super::name::{Identifier, Name};
use super::param::Param;
use super::stage::Stage;
use super::template::TemplateLink;
use super::units::Duration;
use super::variable::Variables;

model! {
    /// `pipeline:`.
    Pipeline {
        /// Its identifier.
        identifier: Identifier = "identifier" required;
        /// For people.
        name: Option<Name> = "name";
        /// The organization it belongs to.
        org: Option<Spanned<String>> = "orgIdentifier";
        /// The project it belongs to.
        project: Option<Spanned<String>> = "projectIdentifier";
        /// For people.
        description: Option<Param<String>> = "description";
        /// For people and filters.
        tags: IndexMap<String, Param<String>> = "tags";
        /// What runs, in this order.
        stages: Vec<StageEntry> = "stages";
        /// `<+pipeline.variables.X>`.
        variables: Option<Variables> = "variables";
        /// The delegates that may run it.
        delegate_selectors: Option<Param<Vec<Param<String>>>> = "delegateSelectors";
        /// How long it may take.
        timeout: Option<Param<Duration>> = "timeout";
        /// Barriers.
        flow_control: Option<FlowControl> = "flowControl";
        /// Kept as they are.
        notification_rules: Option<Node> = "notificationRules";
        /// `properties.ci.codebase`, kept as it is.
        properties: Option<Node> = "properties";
        /// Selected stages may run alone.
        allow_stage_executions: Option<Param<bool>> = "allowStageExecutions";
        /// A rerun takes the inputs of the run.
        fixed_inputs_on_rerun: Option<Param<bool>> = "fixedInputsOnRerun";
        /// In place of stages.
        template: Option<TemplateLink> = "template";
        /// Kept as it is.
        delegate_options: Option<Node> = "options";
    }
    before before;
}

model! {
    /// `flowControl:`.
    FlowControl {
        /// Points at which parallel branches wait for one another.
        barriers: Vec<Barrier> = "barriers";
    }
}

model! {
    /// One of `barriers`.
    Barrier {
        /// Its identifier.
        identifier: Identifier = "identifier" required;
        /// For people.
        name: Option<Name> = "name";
    }
}

/// A pipeline has stages, or stands for a template.
fn before(fields: &mut Fields<'_>, cx: &mut Cx) {
    if fields.node("template").is_none() {
        fields.not_empty(
            "stages",
            "the pipeline has no stages",
            "add `stages:` with a `- stage:`",
            cx,
        );
    }
}

impl Pipeline {
    /// Every stage, in the order of the text.
    pub fn all_stages(&self) -> Vec<&Stage> {
        fn of(entries: &[StageEntry]) -> Vec<&Stage> {
            entries
                .iter()
                .flat_map(|entry| match entry {
                    StageEntry::Stage(stage) => vec![&**stage],
                    StageEntry::Parallel(parallel) => of(&parallel.stages),
                    StageEntry::Insert(insert) => insert
                        .stages
                        .as_ref()
                        .and_then(Param::literal)
                        .map_or_else(Vec::new, |inner| of(inner)),
                })
                .collect()
        }
        of(&self.stages)
    }

    /// Its name, or its identifier where it has none.
    pub fn title(&self) -> &str {
        self.name
            .as_ref()
            .map_or(self.identifier.as_str(), |name| &name.0.value)
    }
}

/// One of `stages`.
#[derive(Debug, Clone, PartialEq)]
pub enum StageEntry {
    /// `stage:`.
    Stage(Box<Stage>),
    /// `parallel:` of stages.
    Parallel(ParallelStages),
    /// `insert:`, a place for stages in a template.
    Insert(InsertStages),
}

/// `parallel:` of stages.
#[derive(Debug, Clone, PartialEq)]
pub struct ParallelStages {
    /// Where it is written.
    pub span: Span,
    /// What runs side by side.
    pub stages: Vec<StageEntry>,
}

model! {
    /// `insert:` among stages.
    InsertStages {
        /// Its identifier.
        identifier: Identifier = "identifier" required;
        /// For people.
        name: Option<Name> = "name" required;
        /// What stands there; an expression or blank until the template is used.
        stages: Option<Param<Vec<StageEntry>>> = "stages";
    }
}

impl Lower for StageEntry {
    fn lower(node: &Node, _: &str, cx: &mut Cx) -> Option<Self> {
        const WAYS: [&str; 3] = ["stage", "parallel", "insert"];
        let (mut fields, key) = one_of(node, "stages", &WAYS, cx)?;
        let value = fields.node(key)?;
        let span = fields.span;
        fields.finish(cx);
        match key {
            "stage" => Lower::lower(value, key, cx).map(Self::Stage),
            "parallel" => Vec::lower(value, key, cx)
                .map(|stages| Self::Parallel(ParallelStages { span, stages })),
            _ => Lower::lower(value, key, cx).map(Self::Insert),
        }
    }

    fn form(forms: &mut Forms) -> Form {
        forms.object("StageEntry", "One of `stages`.", |forms, own| {
            own.one = true;
            own.keys = vec![
                form::key("stage", "A stage.", Stage::form(forms)),
                form::key(
                    "parallel",
                    "Stages side by side.",
                    Form::List(Box::new(Self::form(forms))),
                ),
                form::key(
                    "insert",
                    "A place for stages, in a template.",
                    InsertStages::form(forms),
                ),
            ];
        })
    }
}

/// A wrapper that has exactly one of some keys; which one.
pub(super) fn one_of<'n>(
    node: &'n Node,
    name: &str,
    ways: &[&'static str],
    cx: &mut Cx,
) -> Option<(Fields<'n>, &'static str)> {
    let mut fields = Fields::of(node, name, cx)?;
    let written: Vec<&'static str> = ways
        .iter()
        .copied()
        .filter(|way| fields.node(way).is_some())
        .collect();
    let list = ways
        .iter()
        .map(|way| format!("`{way}`"))
        .collect::<Vec<_>>()
        .join(", ");
    match written.as_slice() {
        [key] => return Some((fields, key)),
        [] => {
            let near = fields.entries().first().and_then(|entry| {
                super::lower::nearest(&entry.key.text, ways.iter().copied())
                    .map(|near| (entry.key.span, near))
            });
            let diagnostic = Diagnostic::error(code::ONE_OF, format!("`{name}` has one of {list}"))
                .at(fields.place(), "none of them is here");
            cx.push(match near {
                Some((span, near)) => diagnostic
                    .help(format!("did you mean `{near}`?"))
                    .fix(span, near),
                None => diagnostic.help(format!(
                    "write `- {}:` and indent what belongs to it below",
                    ways[0]
                )),
            });
        }
        [first, second, ..] => {
            let span = |key: &str| fields.key_span(key).unwrap_or_else(|| fields.place());
            cx.push(
                Diagnostic::error(code::ONE_OF, format!("`{name}` has only one of {list}"))
                    .at(span(second), "a second one")
                    .at(span(first), "the first one")
                    .help("begin a new entry with `- `"),
            );
        }
    }
    None
}
