//! The settings that stages, groups and steps share: `when`, `strategy`, `failureStrategies`.

use syntax::{Diagnostic, code};

use super::super::condition::{PIPELINE_STATUS, STAGE_STATUS, When};
use super::super::execution::Element;
use super::super::failure::FailureStrategy;
use super::super::lower::Cx;
use super::super::param::Param;
use super::super::stage::Stage;
use super::super::strategy::Strategy;
use super::loops;
use super::strategies::{self, Around};

/// The three settings of one of them.
struct Wholes<'m> {
    status: &'static str,
    when: Option<&'m Param<When>>,
    strategy: Option<&'m Param<Strategy>>,
    failures: Option<&'m Param<Vec<FailureStrategy>>>,
    around: Around,
}

/// A stage and all in it.
pub(super) fn stage(stage: &Stage, cx: &mut Cx) {
    let common = &stage.common;
    let own = Wholes {
        status: PIPELINE_STATUS,
        when: common.when.as_ref(),
        strategy: common.strategy.as_ref(),
        failures: common.failure_strategies.as_ref(),
        // They are for the steps in its groups too.
        around: Around {
            group: true,
            rollback: false,
        },
    };
    own.check(cx);
    if let Some(execution) = stage.execution() {
        walk(&execution.steps, Around::default(), cx);
        walk(&execution.rollback_steps, Around::ROLLBACK, cx);
    }
}

fn walk(list: &[Element], around: Around, cx: &mut Cx) {
    for element in list {
        let own = match element {
            Element::Step(step) => Some((&step.when, &step.strategy, &step.failure_strategies)),
            Element::Group(group) => {
                Some((&group.when, &group.strategy, &group.failure_strategies))
            }
            Element::Parallel(own) if own.elements.is_empty() => {
                cx.push(
                    Diagnostic::warning(code::EMPTY_LIST, "`parallel` holds nothing: nothing runs")
                        .at(own.span.head(1), "")
                        .help("put steps below it, or remove it"),
                );
                None
            }
            Element::Parallel(_) | Element::Insert(_) => None,
        };
        let within = Around {
            group: around.group || matches!(element, Element::Group(_)),
            ..around
        };
        if let Some((when, strategy, failures)) = own {
            let (when, strategy, failures) = (when.as_ref(), strategy.as_ref(), failures.as_ref());
            Wholes {
                status: STAGE_STATUS,
                when,
                strategy,
                failures,
                around: within,
            }
            .check(cx);
        }
        walk(element.children(), within, cx);
        if let Element::Group(group) = element {
            walk(&group.rollback_steps, Around::ROLLBACK, cx);
        }
    }
}

impl Wholes<'_> {
    fn check(&self, cx: &mut Cx) {
        bare(self.when, "when", "a mapping", cx);
        bare(self.strategy, "strategy", "a mapping", cx);
        bare(self.failures, "failureStrategies", "a list", cx);
        if let Some(list) = self.failures.and_then(Param::literal) {
            strategies::never_used(list, cx);
            strategies::contradictions(list, self.around, cx);
        }
        if let Some(strategy) = self.strategy.and_then(Param::literal) {
            loops::idle(strategy, cx);
        }
        let Some(Param::Literal(when)) = self.when else {
            return;
        };
        match when.value.key {
            Some(key) if key.value == self.status => {}
            Some(key) => cx.push(
                Diagnostic::error(
                    code::MISSING_FIELD,
                    format!("`when` has `{}` here, not `{}`", self.status, key.value),
                )
                .at(key.span, "")
                .help(format!("write `{}`", self.status))
                .fix(key.span, self.status),
            ),
            None => cx.push(
                Diagnostic::error(
                    code::MISSING_FIELD,
                    format!("`when` lacks `{}`", self.status),
                )
                .at(when.value.span.head(1), "")
                .help(format!("add `{}: Success`", self.status)),
            ),
        }
    }
}

/// These are written out, or asked for as a whole.
fn bare<T>(setting: Option<&Param<T>>, key: &str, wanted: &str, cx: &mut Cx) {
    let diagnostic = match setting {
        Some(Param::Input(input)) if input.value.text != "<+input>" => Diagnostic::warning(
            code::BAD_INPUT,
            format!("`{key}` is asked for by a bare `<+input>`"),
        )
        .at(input.span, "")
        .help("write `<+input>` alone"),
        Some(Param::Expr(text)) => Diagnostic::error(
            code::WRONG_TYPE,
            format!("`{key}` must be {wanted} or `<+input>`, this is an expression"),
        )
        .at(text.span, "")
        .help("write it out; its parts may be expressions"),
        _ => return,
    };
    cx.push(diagnostic);
}
