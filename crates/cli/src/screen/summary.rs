//! The end of a run: its tree with outcomes and times, why it failed, and what could be mended.

use std::collections::BTreeMap;

use engine::event::Status;
use pipeline::plan::NodeId;
use pipeline::pod::Amounts;

use super::ansi;
use super::line::{Line, Tone};
use super::tree;
use super::view::{Item, View};
use super::waterfall::{self, CREATE, PULL, QUEUED, RUN};
use super::words;
use crate::steps;

/// Wider than this, names and figures are too far apart.
const WIDEST: usize = 120;
/// Narrower than this, there are no bars.
const BARS: usize = 72;
/// Narrower than this, there are only names and times.
const FIGURES: usize = 60;
/// A limit is worth a hint when less than this part of it was used …
const FAR_BELOW: u64 = 4;
/// … and this much could be given back.
const WORTH: u64 = 128 << 20;
/// Hints of one sort: the rest is like them.
const MOST_HINTS: usize = 5;

/// What a summary says beyond the events.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// The limits of each step, as written.
    pub(crate) limits: BTreeMap<NodeId, Amounts>,
    /// Where the files that steps reported are kept; the tests are summed from there at the end.
    pub(crate) reports: Option<std::path::PathBuf>,
    /// The tests that steps reported.
    pub(crate) tests: BTreeMap<NodeId, Tests>,
}

/// The sum of a step's JUnit reports.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tests {
    /// All of them.
    pub(crate) total: u64,
    /// Failed, errors among them.
    pub(crate) failed: u64,
    /// Skipped.
    pub(crate) skipped: u64,
    /// Milliseconds they took.
    pub(crate) took_ms: u64,
    /// Names of failed cases and their messages.
    pub(crate) failures: Vec<(String, String)>,
    /// The slowest cases and their milliseconds.
    pub(crate) slowest: Vec<(String, u64)>,
    /// Files that could not be read, or not to their end, and why.
    pub(crate) unread: Vec<String>,
}

/// The whole summary.
pub(crate) fn lines(view: &View, extras: &Extras, columns: usize) -> Vec<Line> {
    let mut out = Vec::new();
    let columns = columns.min(WIDEST);
    table(view, columns, &mut out);
    tests(view, extras, columns, MOST_HINTS, &mut out);
    failures(view, columns, &mut out);
    hints(view, extras, columns, &mut out);
    out.push(Line::new());
    out.push(verdict(view));
    out
}

/// The last line: what became of it, and how it is called.
fn verdict(view: &View) -> Line {
    let name = view
        .root
        .as_ref()
        .and_then(|id| view.items.get(id))
        .map_or("the run", |item| item.label());
    let name = ansi::clean(name.as_bytes(), false);
    let Some((status, at)) = view.end else {
        return Line::of(Tone::Busy, "●")
            .with(Tone::Strong, format!(" {name}"))
            .with(
                Tone::Plain,
                if view.paused {
                    " is paused"
                } else {
                    " is not over"
                },
            )
            .with(Tone::Dim, format!("  run {}", view.run));
    };
    let (glyph, tone) = match status {
        Status::Success => ("✓", Tone::Good),
        Status::IgnoreFailed => ("!", Tone::Warn),
        Status::Skipped => ("↷", Tone::Dim),
        Status::Aborted => ("■", Tone::Bad),
        Status::Failed | Status::Expired => ("✗", Tone::Bad),
    };
    let word = match status {
        Status::IgnoreFailed => "succeeded, with failures that were ignored,",
        other => tree::status_word(other),
    };
    Line::of(tone, glyph)
        .with(Tone::Strong, format!(" {name}"))
        .with(tone, format!(" {word}"))
        .with(
            Tone::Plain,
            format!(" in {}", words::took(at.saturating_sub(view.began_ms))),
        )
        .with(Tone::Dim, format!("  run {}", view.run))
}

struct Widths {
    name: usize,
    figures: bool,
    bar: usize,
}

/// Columns of `queued`, `pull`, `create`, `run`, `memory`, `cpu` with the space before each.
const CELLS: [usize; 6] = [8, 7, 8, 7, 10, 7];

fn widths(view: &View, columns: usize) -> Widths {
    let mut longest = 0;
    if let Some(root) = &view.root {
        for (id, depth) in walk(view, root) {
            let label = view
                .items
                .get(&id)
                .map_or(0, |i| ansi::width(i.label()) + ansi::width(&note(i)));
            longest = longest.max(2 * depth + 3 + label);
        }
    }
    if columns < FIGURES {
        return Widths {
            name: columns.saturating_sub(8),
            figures: false,
            bar: 0,
        };
    }
    let figures: usize = CELLS.iter().sum();
    let bar_at_least = if columns < BARS { 0 } else { 10 };
    let room = columns
        - figures
        - if bar_at_least == 0 {
            0
        } else {
            bar_at_least + 2
        };
    let name = longest.clamp(12.min(room), room);
    let bar = if bar_at_least == 0 {
        0
    } else {
        (columns - figures - name - 2).min(40)
    };
    Widths {
        name,
        figures: true,
        bar,
    }
}

/// The nodes in the order of the table, with their depth.
fn walk(view: &View, root: &NodeId) -> Vec<(NodeId, usize)> {
    let mut found = Vec::new();
    let mut open: Vec<_> = view
        .children(root)
        .iter()
        .rev()
        .map(|id| (id.clone(), 0))
        .collect();
    while let Some((id, depth)) = open.pop() {
        open.extend(
            view.children(&id)
                .iter()
                .rev()
                .map(|c| (c.clone(), depth + 1)),
        );
        found.push((id, depth));
    }
    found
}

/// The note of the tree, where it is not said by the failure below the table.
fn note(item: &Item) -> String {
    let note = tree::note(item);
    if note.is_empty() {
        note
    } else {
        format!("  {note}")
    }
}

fn table(view: &View, columns: usize, out: &mut Vec<Line>) {
    let Some(root) = &view.root else { return };
    let widths = widths(view, columns);
    if widths.figures {
        let mut head = Line::of(Tone::Plain, " ".repeat(widths.name));
        let names = [
            format!("{QUEUED}queued"),
            format!("{PULL}pull"),
            format!("{CREATE}create"),
            format!("{RUN}run"),
            "memory".to_owned(),
            "cpu".to_owned(),
        ];
        for (name, width) in names.iter().zip(CELLS) {
            head.push(Tone::Dim, format!("{name:>width$}"));
        }
        out.push(head);
    }
    let whole = (view.began_ms, view.end.map_or(view.now_ms, |(_, at)| at));
    for (id, depth) in walk(view, root) {
        let Some(item) = view.items.get(&id) else {
            continue;
        };
        let (glyph, tone) = tree::glyph(item);
        let name_tone = match item.status {
            Some(Status::Skipped) | None => Tone::Dim,
            Some(status) if !status.is_positive() => Tone::Bad,
            _ => Tone::Plain,
        };
        let mut row = Line::of(Tone::Plain, "  ".repeat(depth))
            .with(tone, glyph)
            .with(
                name_tone,
                format!(" {}", ansi::clean(item.label().as_bytes(), false)),
            );
        // Half a note is noise: its glyph says as much.
        let note = note(item);
        if row.width() + ansi::width(&note) < widths.name {
            row.push(Tone::Dim, note);
        }
        out.push(figures(view, item, row.fill(widths.name), &widths, whole).trim_end());
    }
}

fn figures(view: &View, item: &Item, mut row: Line, widths: &Widths, whole: (u64, u64)) -> Line {
    let skipped = item.status == Some(Status::Skipped);
    let elapsed = item.elapsed(view.now_ms).filter(|_| !skipped);
    if !widths.figures {
        if let Some(ms) = elapsed {
            row.push(Tone::Dim, format!("{:>8}", words::took(ms)));
        }
        return row;
    }
    let cell = |ms: Option<u64>| ms.map_or_else(String::new, words::took);
    let mut cells: [String; 6] = Default::default();
    if item.is_leaf() && !skipped {
        let phases = waterfall::phases(item, view.now_ms);
        cells[0] = cell(phases.queued);
        cells[1] = cell(phases.pull);
        cells[2] = cell(phases.create);
        cells[3] = cell(phases.run);
        if item.record().is_some() {
            let records = item.attempts.iter().filter_map(|a| a.record.as_deref());
            let memory = records.clone().map(|r| r.peak_memory).max().unwrap_or(0);
            cells[4] = words::bytes(memory);
            cells[5] = words::took(records.map(|r| r.cpu_ms).sum());
        }
    } else {
        cells[3] = cell(elapsed);
    }
    for (text, width) in cells.iter().zip(CELLS) {
        let tone = if item.is_leaf() {
            Tone::Plain
        } else {
            Tone::Dim
        };
        row.push(tone, format!("{text:>width$}"));
    }
    if widths.bar > 0 && item.is_leaf() && !skipped {
        row.push(Tone::Plain, "  ");
        for (tone, text) in waterfall::bar(item, whole, widths.bar).iter() {
            row.push(*tone, text.clone());
        }
    }
    row
}

/// The sums of the tests, with every case that failed.
pub(crate) fn all_tests(view: &View, extras: &Extras, columns: usize) -> Vec<Line> {
    let mut out = Vec::new();
    tests(view, extras, columns, usize::MAX - 1, &mut out);
    out
}

/// The sums of the tests, with so many cases and files of each at most.
fn tests(view: &View, extras: &Extras, columns: usize, most: usize, out: &mut Vec<Line>) {
    for (id, sum) in &extras.tests {
        out.push(Line::new());
        let passed = sum.total.saturating_sub(sum.failed + sum.skipped);
        let mut head = Line::of(Tone::Strong, view.path(id))
            .with(
                Tone::Plain,
                format!(": {}", words::count(sum.total, "test")),
            )
            .with(Tone::Good, format!(", {} passed", words::grouped(passed)));
        if sum.failed > 0 {
            head.push(
                Tone::Bad,
                format!(", {} failed", words::grouped(sum.failed)),
            );
        }
        if sum.skipped > 0 {
            head.push(
                Tone::Dim,
                format!(", {} skipped", words::grouped(sum.skipped)),
            );
        }
        head.push(Tone::Dim, format!(", {}", words::took(sum.took_ms)));
        out.push(head);
        for what in sum.unread.iter().take(most) {
            let line = Line::of(Tone::Warn, "  warning: ")
                .with(Tone::Plain, ansi::clean(what.as_bytes(), false));
            out.push(line.cut(columns));
        }
        if let Some(more) = sum.unread.len().checked_sub(most + 1) {
            let files = words::count(more as u64 + 1, "file");
            out.push(Line::of(Tone::Dim, format!("  … {files} more")));
        }
        for (name, message) in sum.failures.iter().take(most) {
            let message = message.lines().next().unwrap_or("");
            let line = Line::of(Tone::Bad, "  ✗ ")
                .with(Tone::Plain, ansi::clean(name.as_bytes(), false))
                .with(
                    Tone::Dim,
                    format!("  {}", ansi::clean(message.as_bytes(), false)),
                );
            out.push(line.cut(columns));
        }
        if sum.failures.len() > most {
            let more = sum.failures.len() - most;
            let text = format!("  … {more} more: stepyard inspect {} --reports", view.run);
            out.push(Line::of(Tone::Dim, text));
        }
        // One slow case is worth a look only where it stands out.
        for (name, ms) in sum.slowest.iter().filter(|(_, ms)| *ms >= 1000).take(3) {
            let text = format!(
                "  {:>7}  {}",
                words::took(*ms),
                ansi::clean(name.as_bytes(), false)
            );
            out.push(Line::of(Tone::Dim, text).cut(columns));
        }
    }
}

/// `text` after `head`, broken between words; further lines begin after `indent` columns.
fn wrapped(head: Line, indent: usize, tone: Tone, text: &str, columns: usize, out: &mut Vec<Line>) {
    let mut line = head;
    let mut fresh = true;
    for (i, part) in text.lines().enumerate() {
        if i > 0 {
            out.push(std::mem::replace(
                &mut line,
                Line::of(Tone::Plain, " ".repeat(indent)),
            ));
            fresh = true;
        }
        for word in ansi::clean(part.as_bytes(), false).split(' ') {
            if !fresh && line.width() + 1 + ansi::width(word) > columns {
                out.push(std::mem::replace(
                    &mut line,
                    Line::of(Tone::Plain, " ".repeat(indent)),
                ));
                fresh = true;
            }
            line.push(
                tone,
                if fresh {
                    word.to_owned()
                } else {
                    format!(" {word}")
                },
            );
            fresh = false;
        }
    }
    out.push(line);
}

fn failures(view: &View, columns: usize, out: &mut Vec<Line>) {
    let Some(root) = &view.root else { return };
    let nodes = std::iter::once(root.clone()).chain(walk(view, root).into_iter().map(|(id, _)| id));
    for id in nodes {
        let Some(item) = view.items.get(&id) else {
            continue;
        };
        let Some(failure) = &item.failure else {
            continue;
        };
        // What was not entered because something else failed says nothing new.
        if item.status == Some(Status::Skipped) {
            continue;
        }
        // A parent that failed because a child did repeats what the child says.
        let said_below = view
            .below(&id)
            .iter()
            .find_map(|c| view.items.get(c)?.failure.as_ref())
            .is_some();
        if said_below {
            continue;
        }
        let ignored = item.status.is_some_and(Status::is_positive);
        out.push(Line::new());
        let path = if item.parent.is_none() {
            item.label().to_owned()
        } else {
            view.path(&id)
        };
        let (glyph, tone) = tree::glyph(item);
        let ignored = if ignored { " (ignored)" } else { "" };
        let head = Line::of(tone, glyph).with(
            Tone::Strong,
            format!(" {}: ", ansi::clean(path.as_bytes(), false)),
        );
        wrapped(
            head,
            2,
            Tone::Plain,
            &format!("{}{ignored}", failure.message),
            columns,
            out,
        );
        if let Some(help) = &failure.help {
            wrapped(
                Line::of(Tone::Busy, "  help: "),
                8,
                Tone::Plain,
                help,
                columns,
                out,
            );
        }
        let written = item.tail.total() > 0 || item.record().is_some_and(|r| r.output_bytes > 0);
        if item.step().is_some() && written {
            let step = steps::called(view, item);
            let text = format!("  log:  stepyard logs {} {step}", view.run);
            out.push(Line::of(Tone::Dim, text));
        }
    }
}

fn hints(view: &View, extras: &Extras, columns: usize, out: &mut Vec<Line>) {
    let mut killed = Vec::new();
    let mut below = Vec::new();
    for (id, item) in &view.items {
        let records: Vec<_> = item
            .attempts
            .iter()
            .filter_map(|a| a.record.as_deref())
            .collect();
        let limit = extras.limits.get(id).and_then(|a| a.memory_bytes);
        if records.is_empty() {
            continue;
        }
        let path = view.path(id);
        if records.iter().any(|r| r.oom) {
            let who = if item.status.is_some_and(Status::is_positive) {
                format!("a process of {path}")
            } else {
                path
            };
            killed.push(match limit {
                Some(limit) => format!(
                    "{who} was killed for memory: its limit is {}; raise resources.limits.memory",
                    words::bytes(limit)
                ),
                None => format!("{who} was killed for memory, and has no limit of its own: the machine ran out of it"),
            });
            continue;
        }
        let peak = records.iter().map(|r| r.peak_memory).max().unwrap_or(0);
        if let Some(limit) = limit
            && peak > 0
            && peak.saturating_mul(FAR_BELOW) < limit
            && limit - peak >= WORTH
        {
            let enough = peak.saturating_mul(2).next_power_of_two().max(32 << 20);
            below.push(format!(
                "{path} used {} of its {} of memory: a limit of {} would do",
                words::bytes(peak),
                words::bytes(limit),
                words::bytes(enough)
            ));
        }
    }
    let mut begun = false;
    for (tone, texts) in [(Tone::Warn, killed), (Tone::Dim, below)] {
        for text in texts.iter().take(MOST_HINTS) {
            if !std::mem::replace(&mut begun, true) {
                out.push(Line::new());
            }
            wrapped(Line::of(Tone::Busy, "hint: "), 6, tone, text, columns, out);
        }
    }
}
