//! The tree of a run as it stands, in as many rows as there are.

use engine::event::{Handling, Status};
use pipeline::plan::{Kind, NodeId};

use super::ansi;
use super::handling;
use super::line::{Line, Tone};
use super::view::{Item, View};
use super::words;

/// Last lines shown under a running step, where there is room.
const TAIL: usize = 6;
/// The same for a Background step that is ready: it is not what a person waits for.
const BACKGROUND_TAIL: usize = 2;
/// Wider than this, the times at the right are too far from the names.
pub(crate) const WIDEST: usize = 100;

/// How much is left out to make the tree fit, one more with each try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Squeeze {
    /// Nothing.
    None,
    /// The children of what ended well.
    Finished,
    /// Also the rows of finished and of waiting siblings: one row tells how many.
    Siblings,
}

/// The tree in at most `rows` rows of `columns` columns.
pub(crate) fn rows(view: &View, columns: usize, rows: usize) -> Vec<Line> {
    let Some(root) = &view.root else {
        return Vec::new();
    };
    let columns = columns.min(WIDEST);
    let mut squeeze = Squeeze::None;
    loop {
        let running = view
            .items
            .values()
            .filter(|i| i.is_leaf() && i.is_running())
            .count();
        let mut bare = Vec::new();
        Painter {
            view,
            columns,
            squeeze,
            tail: 0,
        }
        .node(root, 0, &mut bare);
        if bare.len() + running.min(rows / 3) > rows {
            squeeze = match squeeze {
                Squeeze::None => Squeeze::Finished,
                Squeeze::Finished => Squeeze::Siblings,
                Squeeze::Siblings => return leaves(view, columns, rows),
            };
            continue;
        }
        let tail = ((rows - bare.len()) / running.max(1)).min(TAIL);
        let mut full = Vec::new();
        Painter {
            view,
            columns,
            squeeze,
            tail,
        }
        .node(root, 0, &mut full);
        return full;
    }
}

/// Where no tree fits: what runs, by its path, and how much more there is.
fn leaves(view: &View, columns: usize, rows: usize) -> Vec<Line> {
    let Some(root) = &view.root else {
        return Vec::new();
    };
    let painter = Painter {
        view,
        columns,
        squeeze: Squeeze::Siblings,
        tail: 0,
    };
    let mut lines = Vec::new();
    if let Some(item) = view.items.get(root) {
        lines.push(painter.row(item, 0, item.label()));
    }
    let running = view.below(root).into_iter().filter_map(|id| {
        let item = view.items.get(&id)?;
        (item.is_leaf() && item.is_running()).then_some((id, item))
    });
    lines.extend(running.map(|(id, item)| painter.row(item, 1, &view.path(&id))));
    if lines.len() > rows {
        let missing = lines.len() - rows.saturating_sub(1);
        lines.truncate(rows.saturating_sub(1));
        lines.push(Line::of(
            Tone::Dim,
            format!("  … {} more", words::grouped(missing as u64)),
        ));
    }
    lines
}

struct Painter<'v> {
    view: &'v View,
    columns: usize,
    squeeze: Squeeze,
    tail: usize,
}

impl Painter<'_> {
    fn node(&self, id: &NodeId, depth: usize, out: &mut Vec<Line>) {
        let Some(item) = self.view.items.get(id) else {
            return;
        };
        out.push(self.row(item, depth, item.label()));
        if item.is_leaf() && item.is_running() {
            self.tail(item, depth, out);
        }
        let over = item.status.is_some_and(Status::is_positive);
        if over && depth > 0 && self.squeeze >= Squeeze::Finished {
            return;
        }
        if self.squeeze < Squeeze::Siblings {
            for child in &item.children {
                self.node(child, depth + 1, out);
            }
            return;
        }
        let state = |id: &NodeId| {
            self.view
                .items
                .get(id)
                .map_or(Fold::Shown, |item| match item.status {
                    Some(status) if status.is_positive() => Fold::Done,
                    None if item.began_ms.is_none() => Fold::Waiting,
                    _ => Fold::Shown,
                })
        };
        for group in item.children.chunk_by(|a, b| state(a) == state(b)) {
            let fold = state(&group[0]);
            if fold == Fold::Shown || group.len() == 1 {
                for child in group {
                    self.node(child, depth + 1, out);
                }
                continue;
            }
            let pad = "  ".repeat(depth + 1);
            let n = words::grouped(group.len() as u64);
            out.push(match fold {
                Fold::Done => {
                    Line::of(Tone::Good, format!("{pad}✓")).with(Tone::Dim, format!(" {n} done"))
                }
                _ => Line::of(Tone::Dim, format!("{pad}· {n} to come")),
            });
        }
    }

    fn row(&self, item: &Item, depth: usize, label: &str) -> Line {
        let mut left = Line::of(Tone::Plain, "  ".repeat(depth));
        let (glyph, tone) = glyph(item);
        left.push(tone, glyph);
        let name = match (item.status, item.began_ms) {
            (None, None) | (Some(Status::Skipped), _) => Tone::Dim,
            _ if depth == 0 => Tone::Strong,
            (Some(status), _) if !status.is_positive() => Tone::Bad,
            _ => Tone::Plain,
        };
        left.push(name, format!(" {}", ansi::clean(label.as_bytes(), false)));
        let note = note(item);
        if !note.is_empty() {
            left.push(Tone::Dim, format!("  {note}"));
        }
        if depth == 0 && !self.view.run.is_empty() {
            left.push(Tone::Dim, format!("  run {}", self.view.run));
            if let Some(carry) = &self.view.carried {
                left.push(Tone::Dim, format!(", a retry of {}", carry.run));
            }
        }
        let time = match item.elapsed(self.view.now_ms) {
            Some(ms) if item.status.is_some() => words::took(ms),
            Some(ms) => words::running(ms),
            None => String::new(),
        };
        if time.is_empty() || item.status == Some(Status::Skipped) {
            return left.cut(self.columns);
        }
        let room = self.columns.saturating_sub(ansi::width(&time) + 2);
        left.fill(room)
            .with(Tone::Plain, "  ")
            .with(Tone::Dim, time)
    }

    fn tail(&self, item: &Item, depth: usize, out: &mut Vec<Line>) {
        let most = if item.step().is_some_and(|s| s.background) && item.ready {
            self.tail.min(BACKGROUND_TAIL)
        } else {
            self.tail
        };
        let pad = "  ".repeat(depth + 1);
        for line in item.tail.last(most) {
            let text = ansi::clean(line, false);
            let line = Line::of(Tone::Dim, format!("{pad}│ ")).with(Tone::Plain, text);
            out.push(line.cut(self.columns));
        }
    }
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Fold {
    Shown,
    Done,
    Waiting,
}

/// The mark of a node's state.
pub(crate) fn glyph(item: &Item) -> (&'static str, Tone) {
    match item.status {
        Some(Status::Success) if item.why.is_some() => ("!", Tone::Warn),
        Some(Status::Success) => ("✓", Tone::Good),
        Some(Status::Failed | Status::Expired) => ("✗", Tone::Bad),
        Some(Status::IgnoreFailed) => ("!", Tone::Warn),
        Some(Status::Aborted) => ("■", Tone::Bad),
        Some(Status::Skipped) => ("↷", Tone::Dim),
        None if matches!(item.handling, Some(Handling::Ask { .. })) => ("?", Tone::Warn),
        None if item.began_ms.is_some() => ("●", Tone::Busy),
        None => ("·", Tone::Dim),
    }
}

/// What the mark does not say: no meaning is in a colour or a glyph alone.
pub(crate) fn note(item: &Item) -> String {
    let mut notes = Vec::new();
    let background = item.step().is_some_and(|s| s.background);
    if background {
        notes.push("background".to_owned());
    }
    if item.attempts.len() > 1 {
        notes.push(format!("try {}", item.attempts.len()));
    } else if item.retries > 0 {
        notes.push(format!("try {}", item.retries + 1));
    }
    if let (None, Some(pending)) = (
        item.status,
        item.handling.as_ref().and_then(handling::pending),
    ) {
        notes.push(pending);
        return notes.join(", ");
    }
    match item.status {
        Some(Status::Success) if item.why.is_some() => notes.push("marked as success".to_owned()),
        Some(Status::Success) => {}
        Some(Status::Skipped) => notes.push(
            item.why
                .as_ref()
                .or(item.node.skip.as_ref())
                .cloned()
                .unwrap_or_else(|| "skipped".to_owned()),
        ),
        Some(status) => notes.push(status_word(status).to_owned()),
        None if item.waits.is_some() => notes.extend(item.waits.clone()),
        None if background && item.ready => notes.push("ready".to_owned()),
        None if item.is_running() && matches!(item.node.kind, Kind::Step(_)) => {
            let started = item.attempts.last().is_some_and(|a| a.started_ms.is_some());
            let between = item.attempts.last().is_some_and(|a| a.ended_ms.is_some());
            if !started && !between {
                notes.push(
                    if item.container.pulling {
                        "pulling its image"
                    } else {
                        "starting"
                    }
                    .to_owned(),
                );
            } else if background {
                notes.push("not ready yet".to_owned());
            }
        }
        None => {}
    }
    if let Some(run) = &item.carried {
        notes.push(format!("from run {run}"));
    }
    notes.join(", ")
}

/// A node's end in a word.
pub(crate) fn status_word(status: Status) -> &'static str {
    match status {
        Status::Success => "succeeded",
        Status::Failed => "failed",
        Status::IgnoreFailed => "failed, ignored",
        Status::Aborted => "aborted",
        Status::Expired => "timed out",
        Status::Skipped => "skipped",
    }
}
