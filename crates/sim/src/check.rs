//! What happened, held against the promise.

use std::collections::{BTreeMap, BTreeSet};

use addon::frame::{Attempt, Exit, StopReason};
use engine::POD_ATTEMPTS;
use engine::event::{ErrorKind, Event, Handling, Status};
use pipeline::plan::{Kind, NodeId, Runs, Wait};

use crate::disk::Stored;
use crate::world::{Ended, Fate};

/// Every promise that was broken, in words.
pub fn check(ended: &Ended) -> Vec<String> {
    let mut broken = ended.broken.clone();
    starts(ended, &mut broken);
    records(ended, &mut broken);
    logs(ended, &mut broken);
    replaced(ended, &mut broken);
    workspaces(ended, &mut broken);
    if ended.status.is_some() {
        for (name, fate) in &ended.pods {
            if fate.there {
                broken.push(format!("the pod {name} is left over"));
            }
        }
    }
    broken
}

fn key(step: &NodeId, number: u32) -> Attempt {
    Attempt {
        run: "run".to_owned(),
        step: step.0.clone(),
        number,
    }
}

fn starts(ended: &Ended, broken: &mut Vec<String>) {
    let mut announced = BTreeSet::new();
    for stamped in &ended.disk.journal {
        if let Event::AttemptStarting { step, attempt } = &stamped.event {
            announced.insert(key(step, *attempt));
        }
    }
    let mut starts: BTreeMap<&Attempt, u32> = BTreeMap::new();
    for fate in ended.pods.values() {
        for (attempt, times) in &fate.pod.starts {
            *starts.entry(attempt).or_default() += times;
        }
    }
    for (attempt, times) in starts {
        if times > 1 {
            broken.push(format!("{} started {times} times", attempt.step));
        }
        if !announced.contains(attempt) {
            broken.push(format!(
                "{} attempt {} started without the journal saying so",
                attempt.step, attempt.number
            ));
        }
    }
}

fn records(ended: &Ended, broken: &mut Vec<String>) {
    let mut applied: BTreeMap<Attempt, (Exit, Option<StopReason>)> = BTreeMap::new();
    let mut lost = BTreeSet::new();
    let mut steps = BTreeSet::new();
    let mut waits = BTreeMap::new();
    // Successes that somebody decided on, and the journal says so.
    let mut marked = BTreeSet::new();
    for stamped in &ended.disk.journal {
        match &stamped.event {
            Event::Expanded { children, .. } => {
                let some = children
                    .iter()
                    .filter(|c| matches!(&c.kind, Kind::Step(s) if s.runs() != Runs::Nowhere));
                steps.extend(some.map(|c| c.id.clone()));
            }
            Event::FailureHandled {
                node,
                handling: Handling::MarkAsSuccess,
                ..
            } => {
                marked.insert(node.clone());
            }
            Event::AttemptFinished { record, .. } => {
                let what = (record.exit.clone(), record.stopped);
                if applied.insert(record.attempt.clone(), what).is_some() {
                    broken.push(format!("{} was applied twice", record.attempt.step));
                }
            }
            Event::AttemptLost { step, attempt, .. } => {
                lost.insert(key(step, *attempt));
            }
            Event::PodLost { group, reason } => {
                // A container that is killed before any step has run takes its pod with it.
                let taken = |fate: &Fate| fate.lost || !fate.pod.dead.is_empty();
                let taken = ended.pods.values().any(taken);
                if !taken && reason != "something did not answer" {
                    broken.push(format!("{group} lost a pod that nobody took: {reason}"));
                }
            }
            Event::Waiting {
                node,
                wait: Wait::Time { .. },
                until_ms: Some(until),
            } => {
                waits.insert(node.clone(), *until);
            }
            Event::NodeFinished {
                node,
                status: Status::Success,
                ..
            } if waits.get(node).is_some_and(|until| stamped.at_ms < *until)
                && !marked.contains(node) =>
            {
                broken.push(format!("{node} did not wait as long as it should"));
            }
            Event::NodeFinished {
                node,
                status: Status::Success,
                ..
            } if steps.contains(node) && !marked.contains(node) => {
                let green = applied.iter().any(|(attempt, (exit, stopped))| {
                    attempt.step == node.0
                        && (*exit == Exit::Code(0) || *stopped == Some(StopReason::GroupEnd))
                });
                if !green {
                    broken.push(format!("{node} is green without its record"));
                }
            }
            _ => {}
        }
    }
    for fate in ended.pods.values() {
        for (attempt, exit) in &fate.pod.ended {
            match applied.get(attempt) {
                Some((recorded, _)) if recorded != exit => broken.push(format!(
                    "{} ended with {exit:?}, recorded is {recorded:?}",
                    attempt.step
                )),
                None if lost.contains(attempt)
                    && !fate.lost
                    && !fate.pod.lost.contains(attempt) =>
                {
                    broken.push(format!(
                        "{} ended while its pod lived, and its record was lost",
                        attempt.step
                    ));
                }
                _ => {}
            }
        }
    }
}

/// What is lost before the first instruction of any step of its pod is had again: no step fails for it, unless too many pods were lost.
fn replaced(ended: &Ended, broken: &mut Vec<String>) {
    // By group: pods that were made since it began, and whether something may have begun in the last one.
    let mut pods: BTreeMap<&NodeId, (u32, bool)> = BTreeMap::new();
    let inside = |group: &NodeId, node: &NodeId| node.0.starts_with(&format!("{group}."));
    for stamped in &ended.disk.journal {
        match &stamped.event {
            Event::PodRequested { group, .. } => {
                let (made, used) = pods.entry(group).or_default();
                (*made, *used) = (*made + 1, false);
            }
            // Nothing may be made beside what could not be removed.
            Event::PodLeft { group, .. } => pods.entry(group).or_default().1 = true,
            Event::GroupRetried { group } => {
                pods.remove(group);
            }
            Event::RetryBegun { node } => {
                pods.retain(|group, _| node.0 != format!("{group}.Initialize"));
            }
            Event::AttemptStarting { step, .. } => {
                for (_, (_, used)) in pods.iter_mut().filter(|(group, _)| inside(group, step)) {
                    *used = true;
                }
            }
            Event::Failed { node, failure }
                if failure.error == ErrorKind::InfrastructureFailure =>
            {
                let spared = |(group, (made, used)): (&&NodeId, &(u32, bool))| {
                    inside(group, node) && !*used && (1..POD_ATTEMPTS).contains(made)
                };
                if pods.iter().any(spared) {
                    broken.push(format!(
                        "{node} failed for a pod in which nothing had begun: {}",
                        failure.message
                    ));
                }
            }
            _ => {}
        }
    }
}

/// Who takes a workspace over begins with all of it, and not at all without it.
fn workspaces(ended: &Ended, broken: &mut Vec<String>) {
    let mut takes: BTreeMap<&NodeId, &NodeId> = BTreeMap::new();
    let mut pods: BTreeMap<&NodeId, &String> = BTreeMap::new();
    let mut kept: BTreeMap<&NodeId, &Vec<u8>> = BTreeMap::new();
    let mut given: BTreeSet<&String> = BTreeSet::new();
    let mut skipped: BTreeSet<&NodeId> = BTreeSet::new();
    let pod_of =
        |pods: &BTreeMap<&NodeId, &String>, group: &NodeId| ended.pods.get(*pods.get(group)?);
    for stamped in &ended.disk.journal {
        match &stamped.event {
            Event::Expanded { children, .. } => {
                let all = children.iter();
                takes.extend(all.filter_map(|own| Some((&own.id, own.takes_over.as_ref()?))));
            }
            Event::PodRequested { group, pod, .. } => {
                pods.insert(group, pod);
            }
            Event::WorkspaceKept { group, bytes } => match pod_of(&pods, group) {
                Some(fate) if fate.pod.workspace.len() as u64 == *bytes => {
                    kept.insert(group, &fate.pod.workspace);
                }
                _ => broken.push(format!("{bytes} bytes of {group} were kept, not all")),
            },
            Event::WorkspaceGiven { group, .. } => {
                let all = takes.get(group).and_then(|of| kept.get(of)).copied();
                let unpacked = pod_of(&pods, group).and_then(|fate| fate.pod.unpacked.as_ref());
                if all.is_none() || all != unpacked {
                    broken.push(format!("{group} did not get the workspace that was kept"));
                }
                given.extend(pods.get(group));
            }
            Event::NodeFinished {
                node,
                status: Status::Skipped,
                ..
            } => {
                skipped.insert(node);
            }
            Event::AttemptStarting { step, .. } => {
                for (group, of) in &takes {
                    let inside = step.0.starts_with(&format!("{group}."));
                    let has = pods.get(group).is_some_and(|pod| given.contains(pod));
                    let passed_over = skipped
                        .iter()
                        .any(|own| own == of || of.0.starts_with(&format!("{own}.")));
                    if inside && !has && !passed_over {
                        broken.push(format!("{step} began without the workspace of {of}"));
                    }
                }
            }
            _ => {}
        }
    }
}

fn logs(ended: &Ended, broken: &mut Vec<String>) {
    let mut complete = BTreeSet::new();
    for stamped in &ended.disk.journal {
        if let Event::AttemptFinished { record, .. } = &stamped.event {
            complete.insert(record.attempt.clone());
        }
    }
    for fate in ended.pods.values() {
        for (attempt, written) in &fate.pod.written {
            let place = (NodeId(attempt.step.clone()), attempt.number);
            let mut at = 0;
            if let Some(log) = ended.disk.logs.get(&place) {
                for piece in &log.pieces {
                    let (offset, length) = match piece {
                        Stored::Bytes(offset, bytes) => {
                            let from = *offset as usize;
                            if written.get(from..from + bytes.len()) != Some(bytes.as_slice()) {
                                broken.push(format!(
                                    "{}: what is stored at {offset} is not what was written",
                                    attempt.step
                                ));
                            }
                            (*offset, bytes.len() as u64)
                        }
                        Stored::Gap(offset, length) => {
                            if !fate.lost && !fate.pod.lost.contains(attempt) {
                                broken.push(format!(
                                    "{}: {length} bytes are missing although its pod lived",
                                    attempt.step
                                ));
                            }
                            (*offset, *length)
                        }
                    };
                    if offset != at {
                        broken.push(format!(
                            "{}: stored up to {at}, then at {offset}",
                            attempt.step
                        ));
                    }
                    at = offset + length;
                }
            }
            if complete.contains(attempt) && at != written.len() as u64 {
                broken.push(format!(
                    "{}: {at} of {} bytes are stored or marked",
                    attempt.step,
                    written.len()
                ));
            }
        }
    }
}
