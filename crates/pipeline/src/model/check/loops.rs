//! Loops whose settings do nothing as they are written.

use syntax::yaml::{Node, Value};
use syntax::{Diagnostic, Span, code};

use super::super::lower::{Cx, nearest};
use super::super::param::Param;
use super::super::strategy::{Looping, Matrix, Repeat, Strategy};

/// What does nothing in one `strategy`.
pub(super) fn idle(strategy: &Strategy, cx: &mut Cx) {
    zero(
        strategy.max_concurrency.as_ref(),
        "maxConcurrency",
        "all run at once",
        cx,
    );
    match &strategy.looping {
        Looping::Matrix(own) => {
            if let Some(own) = own.literal() {
                zero(
                    own.max_concurrency.as_ref(),
                    "maxConcurrency",
                    "all run at once",
                    cx,
                );
                exclusions(own, cx);
            }
        }
        Looping::Repeat(own) => {
            if let Some(own) = own.literal() {
                repeat(own, cx);
            }
        }
        Looping::Parallelism(_) => {}
    }
}

fn warn(at: Span, message: String, help: String, cx: &mut Cx) {
    let diagnostic = Diagnostic::warning(code::BAD_LOOP, message);
    cx.push(diagnostic.at(at, "").help(help));
}

fn zero(setting: Option<&Param<u32>>, key: &str, then: &str, cx: &mut Cx) {
    if let Some(Param::Literal(own)) = setting
        && own.value == 0
    {
        warn(
            own.span,
            format!("`{key}: 0` counts as if it were not there: {then}"),
            "write at least 1, or remove it".to_owned(),
            cx,
        );
    }
}

fn repeat(own: &Repeat, cx: &mut Cx) {
    zero(
        own.max_concurrency.as_ref(),
        "maxConcurrency",
        "all run at once",
        cx,
    );
    zero(
        own.partition_size.as_ref(),
        "partitionSize",
        "each part has one item",
        cx,
    );
    let literal = |own: &Option<Param<u32>>| own.as_ref().and_then(Param::literal).copied();
    if let Some(end) = literal(&own.end)
        && let start = literal(&own.start).unwrap_or_default()
        && start >= end
    {
        let at = own
            .end
            .as_ref()
            .map_or_else(|| own.span.head(1), Param::span);
        warn(
            at,
            format!("no item is between `start: {start}` and `end: {end}`: nothing runs"),
            "`start` is the first item, counted from 0, and `end` is one beyond the last"
                .to_owned(),
            cx,
        );
    }
}

/// The text of a value that is written out.
fn plain(node: &Node) -> Option<&str> {
    let text = node.as_text()?;
    (matches!(node.value, Value::Scalar(_)) && !text.contains("<+")).then_some(text)
}

fn exclusions(own: &Matrix, cx: &mut Cx) {
    let listed = own.exclude.as_ref().and_then(Param::literal);
    for (name, written) in listed.into_iter().flatten().flatten() {
        let (Some(wanted), Some(axis)) = (written.literal(), own.axes.get(name)) else {
            continue;
        };
        let Some(values) = axis.literal() else {
            continue;
        };
        // What an expression gives may be the value.
        let Some(known) = values.iter().map(plain).collect::<Option<Vec<_>>>() else {
            continue;
        };
        if known.contains(&wanted.as_str()) || known.is_empty() {
            continue;
        }
        let help = nearest(wanted, known.iter().copied()).map_or_else(
            || format!("the axis has {}", known.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        warn(
            written.span(),
            format!(
                "`exclude` names `{wanted}`, which is no value of the axis `{name}`: it leaves out nothing"
            ),
            help,
            cx,
        );
    }
}
