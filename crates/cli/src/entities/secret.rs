//! Secret documents.

use syntax::Span;
use syntax::yaml::Node;

use super::{field, text};

/// The value that a `secret:` document holds, and where it stands. A secret that only names a place in some secret manager
/// has none here.
pub(super) fn value(node: &Node) -> Option<(String, Span)> {
    let spec = field(node, "spec")?;
    if text(spec, &["valueType"]).is_some_and(|t| t != "Inline") {
        return None;
    }
    let value = field(spec, "value")?;
    let text = value.as_text()?;
    (!value.is_null()).then(|| (text.to_owned(), value.span))
}
