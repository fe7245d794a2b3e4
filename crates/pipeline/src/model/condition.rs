//! `when`: whether a stage, a group or a step runs.

use syntax::yaml::Node;
use syntax::{Span, Spanned};

use super::form::{self, Form, Forms};
use super::lower::{Cx, Fields, Lower};
use super::macros::words;
use super::param::Param;

words! {
    /// Of what came before.
    Status {
        /// Nothing failed.
        Success = "Success",
        /// Something failed.
        Failure = "Failure",
        /// Either way.
        All = "All",
    }
}

/// `when:`.
#[derive(Debug, Clone, PartialEq)]
pub struct When {
    /// Where it is written.
    pub span: Span,
    /// `stageStatus` in a step or group, `pipelineStatus` in a stage: the same thing, one level apart.
    pub status: Option<Spanned<Status>>,
    /// The key of the status, as written.
    pub key: Option<Spanned<&'static str>>,
    /// An expression that must also hold: JEXL, with or without `<+…>` around its parts; so a text without `<+`,
    /// a literal here, is an expression too.
    pub condition: Option<Param<String>>,
}

impl Lower for When {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let mut fields = Fields::of(node, name, cx)?;
        let keys = [STAGE_STATUS, PIPELINE_STATUS];
        let key = keys
            .into_iter()
            .find_map(|key| Some(Spanned::new(key, fields.entry(key)?.key.span)));
        let status = key.and_then(|key| fields.value(key.value, cx));
        let condition = fields.value("condition", cx);
        let span = fields.span;
        fields.finish(cx);
        Some(Self {
            span,
            status,
            key,
            condition,
        })
    }

    fn form(forms: &mut Forms) -> Form {
        forms.object("When", "Whether it runs.", |forms, own| {
            own.keys = vec![
                form::key(
                    STAGE_STATUS,
                    "Of the steps before it, in a step or a group.",
                    Status::form(forms),
                ),
                form::key(
                    PIPELINE_STATUS,
                    "Of the stages before it, in a stage.",
                    Status::form(forms),
                ),
                form::key(
                    "condition",
                    "An expression that must also hold.",
                    Form::Text,
                ),
            ];
        })
    }
}

/// The status that a step or a group asks for.
pub(super) const STAGE_STATUS: &str = "stageStatus";
/// The status that a stage asks for.
pub(super) const PIPELINE_STATUS: &str = "pipelineStatus";
