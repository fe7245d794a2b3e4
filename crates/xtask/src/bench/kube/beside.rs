//! The figures that are ratios to pods written by hand. Both are made in turns, so that what else the machine does meets them alike;
//! a ratio is the median over the turns.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::bare::{self, Kind};
use super::figures::noops;
use super::turns::{Turns, ratio};
use super::{Kube, ours};
use crate::bench::Row;
use crate::bench::measure::{median, ms};

/// Which instruction of a pod counts.
#[derive(Debug, Clone, Copy)]
enum Step {
    First,
    Last,
}

impl Step {
    fn of<T: Copy>(self, (first, last): (T, T)) -> T {
        match self {
            Step::First => first,
            Step::Last => last,
        }
    }
}

/// The start of a group of ours.
fn group(kube: &Kube<'_>, name: &str, steps: usize, which: Step, i: usize) -> Result<Duration> {
    let run = ours::run(kube, &format!("{name}-{steps}-{i}"), &noops(steps))?;
    Ok(which.of(run.starts()))
}

/// The start of a pod by hand.
fn pod(kube: &Kube<'_>, kind: Kind, steps: usize, which: Step, i: usize) -> Result<Duration> {
    let name = format!("{kind:?}-{which:?}-{steps}-{i}").to_lowercase();
    let starts = bare::starts(kube, &name, steps, kind)?;
    let (first, last) = (starts.first(), starts.last());
    Ok(which.of(first.copied().zip(last.copied()).context("it has steps")?))
}

/// The first instruction of the first step, for groups of several sizes.
pub(super) fn start(kube: &Kube<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (steps, what, agent, floor) in [
        (
            1,
            "first instruction, group of 1, against a bare pod of 1",
            "the same, against a pod of 1 whose agent comes by init container",
            "the kubelet's part: the pod of such a group run by hand, against the bare pod",
        ),
        (
            6,
            "first instruction, group of 6, against a bare pod of 1",
            "the same, against a pod of 6 whose agent comes by init container",
            "the kubelet's part: the pod of such a group run by hand, against the bare pod",
        ),
        (
            20,
            "first instruction, group of 20, against a bare pod of 1",
            "the same, against a pod of 20 whose agent comes by init container",
            "the kubelet's part: the pod of such a group run by hand, against the bare pod",
        ),
    ] {
        let by_hand = |kind, steps| move |i| pod(kube, kind, steps, Step::First, i);
        let mut turns = Turns::new(kube.rounds);
        turns.add(|i| group(kube, "start", steps, Step::First, i));
        turns.add(by_hand(Kind::Containers, 1));
        turns.add(by_hand(Kind::WithAgent, steps));
        turns.add(by_hand(Kind::Ours, steps));
        let took = turns.measure()?;
        let [ours, bare, peer, own] = [&took[0], &took[1], &took[2], &took[3]];
        rows.push(at_most(what, 1.3, "≤ 1.3 times", ours, bare));
        let times = ratio(peer, ours);
        rows.push(Row {
            what: agent,
            reach: "≥ 1.6 times faster",
            here: format!("{times:.2} times faster (it takes {})", ms(median(peer))),
            good: Some(times >= 1.6),
        });
        rows.push(told(floor, own, bare));
    }
    Ok(rows)
}

/// The first instruction of the last of twenty steps that do nothing.
pub(super) fn twenty(kube: &Kube<'_>) -> Result<Vec<Row>> {
    let mut turns = Turns::new(kube.rounds);
    let by_hand = |kind| move |i| pod(kube, kind, 20, Step::Last, i);
    turns.add(|i| group(kube, "twenty", 20, Step::Last, i));
    turns.add(by_hand(Kind::Containers));
    turns.add(by_hand(Kind::Inits));
    turns.add(by_hand(Kind::Ours));
    let took = turns.measure()?;
    let [ours, bare, inits, own] = [&took[0], &took[1], &took[2], &took[3]];
    Ok(vec![
        at_most(
            "first instruction of the last of 20 no-op steps, against a bare pod of 20 containers",
            1.2,
            "≤ 1.2 times",
            ours,
            bare,
        ),
        told(
            "the kubelet's part: the pod of such a group run by hand, against the bare pod",
            own,
            bare,
        ),
        told(
            "the same steps, against a bare pod of 20 init containers",
            ours,
            inits,
        ),
    ])
}

/// Twenty groups at once, beside twenty bare pods.
pub(super) fn groups(kube: &Kube<'_>) -> Result<Vec<Row>> {
    let mut turns = Turns::new(kube.rounds);
    turns.add(|i| {
        let run = ours::run_text(kube, &format!("groups-{i}"), &ours::groups(20, "true"))?;
        Ok(run.ended.saturating_sub(run.began))
    });
    turns.add(|i| bare::many(kube, &format!("one-{i}"), 20, Kind::Containers));
    turns.add(|i| bare::many(kube, &format!("own-{i}"), 20, Kind::Ours));
    let took = turns.measure()?;
    let [ours, bare, own] = [&took[0], &took[1], &took[2]];
    Ok(vec![
        at_most(
            "20 groups of one step at once, the whole command, against 20 bare pods",
            1.2,
            "≤ 1.2 times",
            ours,
            bare,
        ),
        told(
            "the kubelet's part: the pods of such groups run by hand, against the bare pods",
            own,
            bare,
        ),
    ])
}

fn at_most(
    what: &'static str,
    most: f64,
    reach: &'static str,
    ours: &[Duration],
    theirs: &[Duration],
) -> Row {
    Row {
        reach,
        good: Some(ratio(ours, theirs) <= most),
        ..told(what, ours, theirs)
    }
}

/// A ratio that there is nothing to reach for.
fn told(what: &'static str, ours: &[Duration], theirs: &[Duration]) -> Row {
    Row {
        what,
        reach: "",
        here: format!(
            "{:.2} times ({} against {})",
            ratio(ours, theirs),
            ms(median(ours)),
            ms(median(theirs))
        ),
        good: None,
    }
}
