//! `stepyard explain`: the page of a diagnostic code.

use std::fmt::Write as _;
use syntax::code;

use crate::args::{Explain, Output};
use crate::out;
use crate::problem::{Exit, Problem};

/// Prints the page, or the list of all codes.
pub(crate) fn run(args: &Explain, output: Output) -> Result<Exit, Problem> {
    let title = |page: &'static str| {
        let first = page.lines().next().unwrap_or("");
        first.split_once(": ").map_or(first, |(_, title)| title)
    };
    let Some(text) = &args.code else {
        if output == Output::Json {
            let all: Vec<_> = code::ALL
                .iter()
                .map(|e| serde_json::json!({"code": e.code.as_str(), "title": title(e.page)}))
                .collect();
            return out::json(&all);
        }
        let mut list = String::new();
        for entry in code::ALL {
            let _ = writeln!(list, "{}  {}", entry.code, title(entry.page));
        }
        return out::text(&list);
    };
    let entry = code::find(text).ok_or_else(|| {
        Problem::invalid(format!("there is no diagnostic `{text}`"))
            .help("`stepyard explain` lists all of them")
    })?;
    if output == Output::Json {
        let page = serde_json::json!({"code": entry.code.as_str(), "title": title(entry.page), "page": entry.page});
        return out::json(&page);
    }
    out::text(entry.page)
}
