//! `tolerations`.

use syntax::{Diagnostic, code};

use super::super::lower::Cx;
use super::super::macros::{model, words};
use super::super::param::Param;

words! {
    /// What a taint does.
    Effect {
        /// Keeps new pods away.
        NoSchedule = "NoSchedule",
        /// Keeps them away where possible.
        PreferNoSchedule = "PreferNoSchedule",
        /// Also ends those that are there.
        NoExecute = "NoExecute",
    }
}

words! {
    /// How a toleration is compared with a taint.
    Operator {
        /// Key and value are the same.
        Equal = "Equal",
        /// The key is there.
        Exists = "Exists",
    }
}

model! {
    /// One of `tolerations`.
    Toleration {
        /// The taint's effect; none: all.
        effect: Option<Param<Effect>> = "effect";
        /// The taint's key.
        key: Option<Param<String>> = "key";
        /// How it is compared; `Equal` where nothing is said.
        operator: Option<Param<Operator>> = "operator";
        /// The taint's value.
        value: Option<Param<String>> = "value";
        /// For `NoExecute`: how long the pod may stay.
        seconds: Option<Param<i64>> = "tolerationSeconds";
    }
    after Toleration::check;
}

impl Toleration {
    fn check(&self, cx: &mut Cx) {
        let operator = self
            .operator
            .as_ref()
            .and_then(Param::literal)
            .copied()
            .unwrap_or(Operator::Equal);
        match (operator, &self.key, &self.value) {
            (Operator::Exists, _, Some(value)) if !value.text().is_empty() => cx.push(
                Diagnostic::error(
                    code::BAD_TOLERATION,
                    "a toleration with `operator: Exists` has no value",
                )
                .at(value.span(), "")
                .help("remove `value`, or write `operator: Equal`"),
            ),
            (Operator::Equal, None, _) => cx.push(
                Diagnostic::error(
                    code::BAD_TOLERATION,
                    "a toleration without `key` needs `operator: Exists`",
                )
                .at(self.span.head(1), "")
                .help("add `key`, or `operator: Exists` to tolerate every taint"),
            ),
            _ => {}
        }
    }
}
