//! `stepyard runs`: the history of this machine.

use serde::Serialize;

use crate::args::{Output, Runs};
use crate::home::Home;
use crate::meta::Meta;
use crate::out;
use crate::past;
use crate::problem::{Exit, Problem};
use crate::screen::show::{Terminal, now_ms};
use crate::screen::view::View;
use crate::screen::{ansi, words};

#[derive(Serialize)]
struct Row {
    id: String,
    state: &'static str,
    created_ms: u64,
    took_ms: Option<u64>,
    name: String,
    pipeline: String,
    retry_of: Option<String>,
}

/// Lists the latest runs.
pub(crate) fn run(args: &Runs, output: Output) -> Result<Exit, Problem> {
    let home = Home::find()?;
    let mut rows = Vec::new();
    for dir in home.list()? {
        // A directory without its meta is of a command that ended before it began anything.
        let Ok(meta) = Meta::read(&dir) else { continue };
        rows.push((meta, dir));
    }
    rows.sort_by_key(|(meta, _)| std::cmp::Reverse(meta.created_ms));
    rows.truncate(args.limit);
    let mut list = Vec::new();
    for (meta, dir) in rows {
        // One that cannot be read hides none of the others.
        let (view, state) = match past::view(&dir) {
            Ok(view) => {
                let state = past::state(&dir, &view).word(&view);
                (view, state)
            }
            Err(problem) => {
                out::tell(format_args!("warning: {problem}"));
                (View::default(), "damaged")
            }
        };
        list.push(Row {
            state,
            created_ms: meta.created_ms,
            took_ms: view.end.map(|(_, at)| at.saturating_sub(view.began_ms)),
            name: meta.name,
            pipeline: meta.pipeline.display().to_string(),
            retry_of: view.carried.map(|carry| carry.run),
            id: dir.id,
        });
    }
    if output == Output::Json {
        return out::json(&list);
    }
    if list.is_empty() {
        out::tell("there is no run yet; `stepyard run PIPELINE` makes one");
        return Ok(Exit::Success);
    }
    let now = now_ms();
    let columns = if Terminal::stdout().live {
        Terminal::size().0.max(40)
    } else {
        200
    };
    let states = list.iter().map(|r| r.state.len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in list {
        let took = row.took_ms.map_or_else(String::new, words::took);
        let ago = match now.saturating_sub(row.created_ms) / 1000 {
            0 => "just now".to_owned(),
            s => format!("{} ago", words::running(s * 1000)),
        };
        let of = row
            .retry_of
            .map_or_else(String::new, |run| format!("  a retry of {run}"));
        let line = format!(
            "{}  {:states$}  {took:>7}  {ago:>11}  {}{of}",
            row.id,
            row.state,
            ansi::clean(row.name.as_bytes(), false)
        );
        text.push_str(ansi::cut(&line, columns).trim_end());
        text.push('\n');
    }
    out::text(&text)
}
