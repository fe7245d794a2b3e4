//! `strategy`: one stage, group or step several times.

use indexmap::IndexMap;
use syntax::yaml::Node;
use syntax::{Diagnostic, Span, code};

use super::form::{self, Form, Forms};
use super::lower::{Cx, Fields, Lower, Slot};
use super::macros::{model, words};
use super::param::Param;

words! {
    /// What becomes of the iterations that wait when one fails.
    OnFailure {
        /// They run.
        RunAll = "RunAll",
        /// They are skipped.
        SkipQueued = "SkipQueued",
    }
}

words! {
    /// What `partitionSize` counts.
    Unit {
        /// Hundredths of the items.
        Percentage = "Percentage",
        /// Items.
        Count = "Count",
    }
}

/// `strategy:`.
#[derive(Debug, Clone, PartialEq)]
pub struct Strategy {
    /// Where it is written.
    pub span: Span,
    /// How it is repeated.
    pub looping: Looping,
    /// An expression: which of the iterations run. It may read what the iteration loops over.
    pub when: Option<Param<String>>,
    /// What becomes of the iterations that wait when one fails.
    pub on_failure: Option<Param<OnFailure>>,
    /// How many run at once, of `parallelism`; the other two have their own.
    pub max_concurrency: Option<Param<u32>>,
}

/// How it is repeated.
#[derive(Debug, Clone, PartialEq)]
pub enum Looping {
    /// Once for each combination of its axes.
    Matrix(Box<Param<Matrix>>),
    /// So many times at once.
    Parallelism(Param<u32>),
    /// So many times, or for each item.
    Repeat(Box<Param<Repeat>>),
}

/// One combination, or a part of some: an axis with its value.
pub type Combination = IndexMap<String, Param<String>>;

/// `matrix:`.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Where it is written.
    pub span: Span,
    /// The axes in the order of the text; a value may be text or a mapping.
    pub axes: IndexMap<String, Param<Vec<Node>>>,
    /// Combinations left out; a partial one leaves out all that contain it.
    pub exclude: Option<Param<Vec<Combination>>>,
    /// How many run at once.
    pub max_concurrency: Option<Param<u32>>,
    /// What replaces the suffix of each iteration.
    pub node_name: Option<Param<String>>,
}

model! {
    /// `repeat:`.
    Repeat {
        /// How many times.
        times: Option<Param<u32>> = "times";
        /// For each of them; an expression may give a list, or text with commas.
        items: Option<Param<Vec<Param<String>>>> = "items";
        /// The first item, from 0.
        start: Option<Param<u32>> = "start";
        /// One beyond the last.
        end: Option<Param<u32>> = "end";
        /// So many items an iteration.
        partition_size: Option<Param<u32>> = "partitionSize";
        /// What the size counts.
        unit: Option<Param<Unit>> = "unit";
        /// How many run at once.
        max_concurrency: Option<Param<u32>> = "maxConcurrency";
        /// What replaces the suffix of each iteration.
        node_name: Option<Param<String>> = "nodeName";
    }
}

impl Strategy {
    /// How many run at once, as far as it is written out.
    pub fn limit(&self) -> Option<u32> {
        let own = match &self.looping {
            Looping::Matrix(own) => own.literal()?.max_concurrency.as_ref(),
            Looping::Repeat(own) => own.literal()?.max_concurrency.as_ref(),
            Looping::Parallelism(_) => None,
        };
        let limit = own.or(self.max_concurrency.as_ref())?.literal().copied();
        limit.filter(|limit| *limit > 0)
    }
}

/// The three ways to repeat.
const WAYS: [&str; 3] = ["matrix", "parallelism", "repeat"];

impl Lower for Strategy {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let mut fields = Fields::of(node, name, cx)?;
        let matrix: Option<Box<Param<Matrix>>> = Slot::take(&mut fields, "matrix", cx);
        let parallelism: Option<Param<u32>> = Slot::take(&mut fields, "parallelism", cx);
        let repeat: Option<Box<Param<Repeat>>> = Slot::take(&mut fields, "repeat", cx);
        let written: Vec<_> = WAYS
            .into_iter()
            .filter(|way| fields.node(way).is_some())
            .collect();
        if written.len() != 1 {
            let second = written
                .get(1)
                .and_then(|key| fields.key_span(key))
                .unwrap_or_else(|| fields.place());
            cx.push(
                Diagnostic::error(
                    code::ONE_OF,
                    "a strategy has exactly one of `matrix`, `parallelism` and `repeat`",
                )
                .at(
                    second,
                    if written.is_empty() {
                        "none is here"
                    } else {
                        "a second one"
                    },
                )
                .help("keep one of them"),
            );
        }
        let when = Slot::take(&mut fields, "when", cx);
        let on_failure = Slot::take(&mut fields, "onFailure", cx);
        let max_concurrency = Slot::take(&mut fields, "maxConcurrency", cx);
        let span = fields.span;
        fields.finish(cx);
        if let Some(Param::Literal(repeat)) = repeat.as_deref() {
            repeat.check(cx);
        }
        let looping = matrix
            .map(Looping::Matrix)
            .or_else(|| parallelism.map(Looping::Parallelism))
            .or_else(|| repeat.map(Looping::Repeat))?;
        Some(Self {
            span,
            looping,
            when,
            on_failure,
            max_concurrency,
        })
    }

    fn form(forms: &mut Forms) -> Form {
        forms.object("Strategy", "It several times.", |forms, own| {
            let whole = || Form::Param(Box::new(Form::Whole));
            own.keys = vec![
                form::key(
                    "matrix",
                    "Once for each combination of its axes.",
                    Form::Param(Box::new(Matrix::form(forms))),
                ),
                form::key("parallelism", "So many times at once.", whole()),
                form::key(
                    "repeat",
                    "So many times, or for each item.",
                    Form::Param(Box::new(Repeat::form(forms))),
                ),
                form::key(
                    "maxConcurrency",
                    "How many run at once, of `parallelism`.",
                    whole(),
                ),
                form::key(
                    "when",
                    "An expression: whether it is repeated at all.",
                    Form::Text,
                ),
                form::key(
                    "onFailure",
                    "What becomes of the iterations that wait when one fails.",
                    OnFailure::form(forms),
                ),
            ];
        })
    }
}

impl Lower for Matrix {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let mut fields = Fields::of(node, name, cx)?;
        let exclude = Slot::take(&mut fields, "exclude", cx);
        let max_concurrency = Slot::take(&mut fields, "maxConcurrency", cx);
        let node_name = Slot::take(&mut fields, "nodeName", cx);
        let mut axes = IndexMap::new();
        for entry in fields.entries() {
            let axis = &*entry.key.text;
            if matches!(axis, "exclude" | "maxConcurrency" | "nodeName") {
                continue;
            }
            if let Some(values) = Param::<Vec<Node>>::lower(&entry.value, axis, cx) {
                axes.insert(axis.to_owned(), values);
            }
        }
        if axes.is_empty() {
            cx.push(
                Diagnostic::error(code::MISSING_FIELD, "the matrix has no axis")
                    .at(fields.place(), "")
                    .help("add a name with a list of values: `os: [linux, windows]`"),
            );
        }
        Some(Self {
            span: fields.span,
            axes,
            exclude,
            max_concurrency,
            node_name,
        })
    }

    fn form(forms: &mut Forms) -> Form {
        forms.object("Matrix", "The axes, each with its values.", |_, own| {
            own.keys = vec![
                form::key("exclude", "Combinations that are left out.", Form::Any),
                form::key(
                    "maxConcurrency",
                    "How many run at once.",
                    Form::Param(Box::new(Form::Whole)),
                ),
                form::key(
                    "nodeName",
                    "What replaces the suffix of each iteration.",
                    Form::Text,
                ),
            ];
            own.others = Some(Form::Param(Box::new(Form::List(Box::new(Form::Any)))));
        })
    }
}

impl Repeat {
    fn check(&self, cx: &mut Cx) {
        if self.times.is_some() == self.items.is_some() {
            cx.push(
                Diagnostic::error(
                    code::ONE_OF,
                    "`repeat` has exactly one of `times` and `items`",
                )
                .at(
                    self.times
                        .as_ref()
                        .map_or_else(|| self.span.head(1), Param::span),
                    "",
                )
                .help("keep one of them"),
            );
        }
    }
}
