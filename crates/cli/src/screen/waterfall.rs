//! Where the time of a run went, step by step.

use super::line::{Line, Tone};
use super::view::Item;

/// How long a leaf was in each phase, milliseconds; none where the phase was not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Phases {
    /// Entered and waiting for something that is none of the others: a free container, the pod, a retry's pause.
    pub(crate) queued: Option<u64>,
    /// Its image was fetched. That may have been before it was entered.
    pub(crate) pull: Option<u64>,
    /// Its container was made and started.
    pub(crate) create: Option<u64>,
    /// Its process ran, all attempts together.
    pub(crate) run: Option<u64>,
}

/// The phases of a leaf.
pub(crate) fn phases(item: &Item, now_ms: u64) -> Phases {
    let span = |(from, to): (u64, u64)| to.saturating_sub(from);
    // An image that was here took no time to pull.
    let pulled = item.container.pull.filter(|(from, to)| to > from);
    let runs = runs(item, now_ms);
    let run = (!runs.is_empty()).then(|| runs.iter().copied().map(span).sum());
    let (Some(began), Some(first)) = (item.began_ms, runs.first()) else {
        return Phases {
            run: item.step().map_or(item.elapsed(now_ms), |_| run),
            pull: pulled.map(span),
            create: item.container.create.map(span),
            queued: None,
        };
    };
    // Of the waiting, what was spent on the image and on the container is told there.
    let waited = (began, first.0);
    let overlap = |other: Option<(u64, u64)>| {
        other.map_or(0, |(from, to)| {
            to.min(waited.1).saturating_sub(from.max(waited.0))
        })
    };
    let busy = overlap(item.container.pull) + overlap(item.container.create);
    Phases {
        queued: Some(span(waited).saturating_sub(busy)),
        pull: pulled.map(span),
        create: item.container.create.map(span),
        run,
    }
}

/// From and to of each attempt's process.
fn runs(item: &Item, now_ms: u64) -> Vec<(u64, u64)> {
    item.attempts
        .iter()
        .filter_map(|a| Some((a.started_ms?, a.ended_ms.unwrap_or(now_ms))))
        .collect()
}

/// A phase's cell in the bar.
pub(crate) const QUEUED: char = '·';
/// See [`QUEUED`].
pub(crate) const PULL: char = '░';
/// See [`QUEUED`].
pub(crate) const CREATE: char = '▒';
/// See [`QUEUED`].
pub(crate) const RUN: char = '█';

/// A leaf's phases over the whole run, `cells` wide. What took any time at all has a cell.
pub(crate) fn bar(item: &Item, (from, to): (u64, u64), cells: usize) -> Line {
    let mut row = vec![' '; cells];
    let whole = to.saturating_sub(from).max(1);
    let mut paint = |span: Option<(u64, u64)>, with: char| {
        let Some((a, b)) = span else { return };
        let cell =
            |t: u64| (t.saturating_sub(from) as usize).saturating_mul(cells) / whole as usize;
        let first = cell(a).min(cells.saturating_sub(1));
        let last = cell(b).clamp(first + 1, cells.max(first + 1));
        for c in row.iter_mut().take(last).skip(first) {
            *c = with;
        }
    };
    let runs = runs(item, to);
    if let Some(began) = item.began_ms {
        let end = item.ended_ms.unwrap_or(to);
        if item.step().is_none() {
            paint(Some((began, end)), CREATE);
        } else if !runs.is_empty() {
            paint(Some((began, end)), QUEUED);
        }
    }
    let span = |s: Option<(u64, u64)>| s.filter(|(a, b)| b > a);
    paint(span(item.container.pull), PULL);
    paint(span(item.container.create), CREATE);
    for run in &runs {
        paint(Some(*run), RUN);
    }
    let tone = |c: char| match c {
        RUN => Tone::Good,
        PULL | CREATE => Tone::Busy,
        _ => Tone::Dim,
    };
    let mut line = Line::new();
    for group in row.chunk_by(|a, b| a == b) {
        line.push(tone(group[0]), group.iter().collect::<String>());
    }
    line
}
