//! `when`: whether a stage, a group or a step runs.

use syntax::yaml::Node;
use syntax::{Span, Spanned};

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

/// `when:`. `stageStatus` in a step or group and `pipelineStatus` in a stage mean the same thing, one level apart.
#[derive(Debug, Clone, PartialEq)]
pub struct When {
    /// Where it is written.
    pub span: Span,
    /// `stageStatus` or `pipelineStatus`.
    pub status: Option<Spanned<Status>>,
    /// An expression that must also hold: JEXL, with or without `<+…>` around its parts; so a text without `<+`,
    /// a literal here, is an expression too.
    pub condition: Option<Param<String>>,
}

impl Lower for When {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let mut fields = Fields::of(node, name, cx)?;
        let key = ["stageStatus", "pipelineStatus"]
            .into_iter()
            .find(|key| fields.node(key).is_some());
        if key.is_none() {
            fields.required("stageStatus", cx);
        }
        let status = key.and_then(|key| fields.value(key, cx));
        let condition = fields.value("condition", cx);
        let span = fields.span;
        fields.finish(cx);
        Some(Self {
            span,
            status,
            condition,
        })
    }
}
