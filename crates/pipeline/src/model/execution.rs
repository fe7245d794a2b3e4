//! What a stage or a group runs: wrappers around steps, groups and parallel blocks.

use syntax::yaml::Node;
use syntax::{Span, Spanned};

use super::form::{self, Form, Forms};
use super::group::StepGroup;
use super::lower::{Cx, Fields, Lower};
use super::macros::model;
use super::name::{Identifier, Name};
use super::param::Param;
use super::pipeline::one_of;
use super::step::Step;

model! {
    /// `execution:`.
    Execution {
        /// What runs, in this order.
        steps: Elements = "steps";
        /// What runs when the stage is rolled back.
        rollback_steps: Elements = "rollbackSteps";
    }
    before before;
}

fn before(fields: &mut Fields<'_>, cx: &mut Cx) {
    fields.not_empty(
        "steps",
        "the execution has no steps",
        "add a `- step:` below `steps:`",
        cx,
    );
}

/// Wrappers in the order of the text.
pub type Elements = Vec<Element>;

/// Each entry of `steps`, `rollbackSteps` or `parallel` is exactly one of these.
#[derive(Debug, Clone, PartialEq)]
pub enum Element {
    /// `step:`.
    Step(Box<Step>),
    /// `stepGroup:`.
    Group(Box<StepGroup>),
    /// `parallel:`.
    Parallel(Parallel),
    /// `insert:`.
    Insert(Box<Insert>),
}

/// `parallel:`: its entries run side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Parallel {
    /// Where it is written.
    pub span: Span,
    /// Its entries.
    pub elements: Elements,
}

model! {
    /// `insert:`, a place for steps in a template.
    Insert {
        /// Its identifier.
        identifier: Identifier = "identifier" required;
        /// For people.
        name: Option<Name> = "name" required;
        /// What stands there; an expression or blank until the template is used.
        steps: Option<Param<Elements>> = "steps";
    }
}

impl Element {
    /// Where it is written.
    pub fn span(&self) -> Span {
        match self {
            Self::Step(step) => step.span,
            Self::Group(group) => group.span,
            Self::Parallel(parallel) => parallel.span,
            Self::Insert(insert) => insert.span,
        }
    }

    /// Its identifier; a parallel block has none.
    pub fn identifier(&self) -> Option<&Identifier> {
        match self {
            Self::Step(step) => Some(&step.identifier),
            Self::Group(group) => Some(&group.identifier),
            Self::Insert(insert) => Some(&insert.identifier),
            Self::Parallel(_) => None,
        }
    }

    /// The elements directly inside it, written out.
    pub fn children(&self) -> &[Self] {
        match self {
            Self::Step(_) => &[],
            Self::Group(group) => &group.steps,
            Self::Parallel(parallel) => &parallel.elements,
            Self::Insert(insert) => match &insert.steps {
                Some(Param::Literal(Spanned { value, .. })) => value,
                _ => &[],
            },
        }
    }
}

impl Lower for Element {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        const WAYS: [&str; 4] = ["step", "stepGroup", "parallel", "insert"];
        let (mut fields, key) = one_of(node, name, &WAYS, cx)?;
        let value = fields.node(key)?;
        let span = fields.span;
        fields.finish(cx);
        match key {
            "step" => Lower::lower(value, key, cx).map(Self::Step),
            "stepGroup" => Lower::lower(value, key, cx).map(Self::Group),
            "parallel" => Vec::lower(value, key, cx)
                .map(|elements| Self::Parallel(Parallel { span, elements })),
            _ => Lower::lower(value, key, cx).map(Self::Insert),
        }
    }

    fn form(forms: &mut Forms) -> Form {
        forms.object("Element", "One of `steps`.", |forms, own| {
            own.one = true;
            own.keys = vec![
                form::key("step", "A step.", Step::form(forms)),
                form::key(
                    "stepGroup",
                    "A group of steps; with `stepGroupInfra` it has a pod of its own.",
                    StepGroup::form(forms),
                ),
                form::key(
                    "parallel",
                    "What runs side by side.",
                    Form::List(Box::new(Self::form(forms))),
                ),
                form::key(
                    "insert",
                    "A place for steps, in a template.",
                    Insert::form(forms),
                ),
            ];
        })
    }
}
