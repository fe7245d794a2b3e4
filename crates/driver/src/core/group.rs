//! A group's pod: made, connected to, watched and removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::Input;
use engine::State;
use engine::event::{Failure, Interrupt};
use pipeline::plan::{Kind, NodeId, Order};
use pipeline::pod;

use crate::backend::{self, Created, Deleted, FailureKind, ImageFacts, PodRef};

use super::channels::Container;
use super::link::{Link, NEVER_MS, Pulse, backoff};
use super::{Action, Core, classify};

/// A removal that failed this often is left to `sweep`.
const DELETE_TRIES: u32 = 6;
/// For so long the removal is tried where nobody answers: an API server that starts again takes a minute. Who does not want to wait
/// interrupts the run once more.
const DELETE_LONGEST_MS: u64 = 180_000;

/// A question to the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    No,
    Asked,
    Done,
}

/// What is under way for one pod.
pub(super) struct Group {
    pub(super) spec: Arc<pod::Spec>,
    pub(super) pod: PodRef,
    pub(super) preflight: Ask,
    pub(super) images: BTreeMap<String, Result<ImageFacts, Failure>>,
    pub(super) create: Ask,
    /// Whoever makes it knows that nobody waits for it.
    pub(super) given_up: bool,
    pub(super) watching: bool,
    pub(super) link: Link,
    pub(super) link_tries: u32,
    pub(super) pulse: Pulse,
    pub(super) channels: u32,
    /// Whose channel it is, of those that are open or being opened.
    pub(super) by_channel: BTreeMap<u32, String>,
    pub(super) containers: BTreeMap<String, Container>,
    /// Those of which something may be due: a group of a thousand steps has few of them at any time.
    pub(super) attended: BTreeSet<String>,
    pub(super) delete: Ask,
    pub(super) delete_tries: u32,
    pub(super) delete_again_ms: u64,
    /// When it was first tried.
    pub(super) delete_since_ms: u64,
}

impl Group {
    fn new(group: &NodeId, spec: pod::Spec) -> Self {
        let pod = PodRef {
            name: spec.name.clone(),
            namespace: spec.namespace.clone(),
            run: spec.run.clone(),
            group: group.0.clone(),
            connector: spec.connector.clone(),
        };
        let container = |(at, c): (usize, &pod::Container)| (c.name.clone(), Container::new(at));
        Self {
            containers: spec.containers.iter().enumerate().map(container).collect(),
            spec: Arc::new(spec),
            pod,
            preflight: Ask::No,
            images: BTreeMap::new(),
            create: Ask::No,
            given_up: false,
            watching: false,
            link: Link::Down { again_ms: 0 },
            link_tries: 0,
            pulse: Pulse::new(0),
            channels: 0,
            by_channel: BTreeMap::new(),
            attended: BTreeSet::new(),
            delete: Ask::No,
            delete_tries: 0,
            delete_again_ms: 0,
            delete_since_ms: 0,
        }
    }
}

/// What is wrong with a pod's images, each reason told once with the containers it holds for.
fn bad_images(images: &BTreeMap<String, Result<ImageFacts, Failure>>) -> Option<Failure> {
    let mut reasons: Vec<(&Failure, Vec<&str>)> = Vec::new();
    for (container, answer) in images {
        let Err(failure) = answer else { continue };
        match reasons.iter_mut().find(|(known, _)| *known == failure) {
            Some((_, containers)) => containers.push(container),
            None => reasons.push((failure, vec![container])),
        }
    }
    let first = reasons.first()?.0;
    if let [(failure, containers)] = &reasons[..] {
        let mut failure = (*failure).clone();
        if containers.len() > 1 {
            failure.message = format!("{}: {}", containers.join(", "), failure.message);
        }
        return Some(failure);
    }
    let all: Vec<_> = reasons
        .iter()
        .map(|(failure, containers)| format!("{}: {}", containers.join(", "), failure.message))
        .collect();
    let mut helps: Vec<&str> = Vec::new();
    for help in reasons.iter().filter_map(|(f, _)| f.help.as_deref()) {
        if !helps.contains(&help) {
            helps.push(help);
        }
    }
    Some(Failure {
        error: first.error,
        message: format!(
            "{} images cannot be used:\n{}",
            reasons.len(),
            all.join("\n")
        ),
        help: (!helps.is_empty()).then(|| helps.join("\n")),
    })
}

/// The containers of the steps that a node begins with, as far as it is expanded.
fn first_containers(state: &State, id: &NodeId, into: &mut Vec<String>) {
    let Some(place) = state.nodes.get(id) else {
        return;
    };
    into.extend(state.container(id));
    let begins = place.children.iter().flatten().filter(|child| {
        let child = state.nodes.get(child);
        child.is_some_and(|c| c.node.kind != Kind::Initialize && c.node.skip.is_none())
    });
    let count = match place.node.order {
        Order::Sequence => 1,
        Order::Parallel => place.node.limit.map_or(usize::MAX, |limit| limit as usize),
    };
    for child in begins.take(count) {
        first_containers(state, child, into);
    }
}

impl Core {
    pub(super) fn name_pod(&mut self, group: NodeId, now_ms: u64) {
        let suffix = self.suffix();
        let pod = match self.planner.pod(&group, &self.facts, &suffix) {
            Ok(spec) => {
                let name = spec.name.clone();
                self.groups.insert(group.clone(), Group::new(&group, spec));
                Ok(name)
            }
            Err(failure) => Err(failure),
        };
        self.decide(Input::PodNamed { group, pod }, now_ms);
    }

    /// The group's entry for this pod; made again from its name where this driver took the run over.
    fn known(&mut self, group: &NodeId, pod: &str, now_ms: u64) -> bool {
        if self
            .groups
            .get(group)
            .is_some_and(|known| known.pod.name == pod)
        {
            return true;
        }
        let suffix = &pod[pod.len().saturating_sub(8)..];
        match self.planner.pod(group, &self.facts, suffix) {
            Ok(spec) if spec.name == pod => {
                self.groups.insert(group.clone(), Group::new(group, spec));
                true
            }
            other => {
                let reason = match other {
                    Ok(spec) => format!("the pipeline now describes another pod, {}", spec.name),
                    Err(failure) => failure.message,
                };
                self.decide(
                    Input::PodLost {
                        group: group.clone(),
                        pod: pod.to_owned(),
                        reason,
                    },
                    now_ms,
                );
                false
            }
        }
    }

    pub(super) fn make_pod(&mut self, group: &NodeId, pod: &str, now_ms: u64) {
        if !self.known(group, pod, now_ms) {
            return;
        }
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        if entry.preflight == Ask::No {
            entry.preflight = Ask::Asked;
            self.out.push_back(Action::Preflight {
                group: group.clone(),
                spec: entry.spec.clone(),
            });
        }
        if entry.create == Ask::No {
            entry.create = Ask::Asked;
            self.out.push_back(Action::Create {
                group: group.clone(),
                spec: entry.spec.clone(),
            });
        }
        if entry.create == Ask::Done {
            self.attend(group, now_ms);
            if engine::workspace::to_give(&self.state, group).is_some() {
                // It may wait for nothing but this.
                self.maybe_ready(group, pod, now_ms);
            }
        }
    }

    pub(super) fn keep_pod(&mut self, group: &NodeId, pod: &str, now_ms: u64) {
        if !self.known(group, pod, now_ms) {
            return;
        }
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        // Taken over: steps that have not begun still need to know their images.
        if entry.preflight == Ask::No {
            entry.preflight = Ask::Asked;
            self.out.push_back(Action::Preflight {
                group: group.clone(),
                spec: entry.spec.clone(),
            });
        }
        self.attend(group, now_ms);
    }

    /// A pod that is there is watched, connected to, and its containers are asked for.
    fn attend(&mut self, group: &NodeId, now_ms: u64) {
        let connection = self.connections + 1;
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        if !entry.watching {
            entry.watching = true;
            let pod = entry.pod.clone();
            self.out.push_back(Action::Watch { pod });
        }
        if let Link::Down { again_ms } = entry.link
            && now_ms >= again_ms
        {
            entry.link = Link::Connecting(connection);
            let pod = entry.pod.clone();
            self.next_connection();
            self.out.push_back(Action::Connect { pod, connection });
        }
        let mut first = Vec::new();
        first_containers(&self.state, group, &mut first);
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        if first.is_empty() || self.limits.ahead == usize::MAX {
            first.extend(entry.spec.containers.first().map(|c| c.name.clone()));
        }
        first.retain(|name| entry.containers.get(name).is_some_and(|c| !c.asked));
        for container in first {
            self.need(group, &container);
            self.need_behind(group, &container);
        }
    }

    pub(super) fn delete_pod(&mut self, group: &NodeId, pod: &str, now_ms: u64) {
        let known = self
            .groups
            .get(group)
            .is_some_and(|known| known.pod.name == pod);
        if !known {
            // Only its name is needed, and where it is; a spec that cannot be made any more must not keep the pod.
            let suffix = &pod[pod.len().saturating_sub(8)..];
            let mut spec = match self.planner.pod(group, &self.facts, suffix) {
                Ok(spec) => spec,
                Err(failure) => {
                    self.decide(
                        Input::PodLeft {
                            group: group.clone(),
                            pod: pod.to_owned(),
                            reason: failure.message,
                        },
                        now_ms,
                    );
                    return;
                }
            };
            pod.clone_into(&mut spec.name);
            self.groups.insert(group.clone(), Group::new(group, spec));
        }
        let Some(entry) = self.groups.get_mut(group) else {
            return;
        };
        if let Link::Connecting(connection) | Link::Up(connection) = entry.link {
            self.out.push_back(Action::Hangup(connection));
        }
        entry.down(NEVER_MS);
        if entry.create == Ask::Asked && !std::mem::replace(&mut entry.given_up, true) {
            let pod = entry.pod.clone();
            self.out.push_back(Action::GiveUp { pod });
        }
        // A pod that is still being made could come up behind its removal: that begins when the making has its answer.
        if entry.delete == Ask::No && entry.create != Ask::Asked && now_ms >= entry.delete_again_ms
        {
            entry.delete = Ask::Asked;
            if entry.delete_tries == 0 {
                entry.delete_since_ms = now_ms;
            }
            let pod = entry.pod.clone();
            self.out.push_back(Action::Delete { pod });
        }
    }

    pub(super) fn entry(&mut self, group: &NodeId, pod: &str) -> Option<&mut Group> {
        self.groups
            .get_mut(group)
            .filter(|entry| entry.pod.name == pod)
    }

    pub(super) fn preflighted(
        &mut self,
        group: &NodeId,
        pod: &str,
        answers: BTreeMap<String, Result<ImageFacts, backend::Failure>>,
        now_ms: u64,
    ) {
        let Some(entry) = self.entry(group, pod) else {
            return;
        };
        entry.preflight = Ask::Done;
        entry.images = answers
            .into_iter()
            .map(|(name, answer)| (name, answer.map_err(|failure| classify(&failure))))
            .collect();
        if let Some(failure) = bad_images(&entry.images) {
            // Of a pod that is up already it means only that those steps cannot start (see `prepare`).
            self.pod_failed(group, pod, failure, now_ms);
        } else {
            self.maybe_ready(group, pod, now_ms);
        }
    }

    pub(super) fn pod_failed(&mut self, group: &NodeId, pod: &str, failure: Failure, now_ms: u64) {
        self.decide(
            Input::PodFailed {
                group: group.clone(),
                pod: pod.to_owned(),
                failure,
            },
            now_ms,
        );
    }

    pub(super) fn created(
        &mut self,
        group: &NodeId,
        pod: &str,
        result: Result<Created, backend::Failure>,
        now_ms: u64,
    ) {
        let Some(entry) = self.entry(group, pod) else {
            return;
        };
        entry.create = Ask::Done;
        match result {
            Ok(_) => self.maybe_ready(group, pod, now_ms),
            Err(failure) => self.pod_failed(group, pod, classify(&failure), now_ms),
        }
    }

    /// The pod is ready once the addons of the first steps answer too, or cannot be: that is then their steps' failure.
    pub(super) fn maybe_ready(&mut self, group: &NodeId, pod: &str, now_ms: u64) {
        let mut first = Vec::new();
        first_containers(&self.state, group, &mut first);
        if self.entry(group, pod).is_some_and(|entry| {
            if first.is_empty() {
                // In a group that is not expanded yet.
                first.extend(entry.spec.containers.first().map(|c| c.name.clone()));
            }
            let mut first = first.iter().filter_map(|name| entry.containers.get(name));
            entry.create == Ask::Done
                && entry.preflight == Ask::Done
                && first.all(|container| match &container.up {
                    Some(Ok(())) => container.session.welcomed && container.told,
                    Some(Err(_)) => true,
                    None => false,
                })
        }) && self.has_workspace(group, pod, now_ms)
        {
            self.tell_empty(group);
            self.decide(
                Input::PodReady {
                    group: group.clone(),
                    pod: pod.to_owned(),
                },
                now_ms,
            );
        }
    }

    /// The pod is no more; news only where this driver is not removing it.
    pub(super) fn gone(
        &mut self,
        group: NodeId,
        pod: String,
        failure: backend::Failure,
        now_ms: u64,
    ) {
        if self
            .entry(&group, &pod)
            .is_some_and(|entry| entry.delete == Ask::No && entry.delete_tries == 0)
        {
            let reason = failure.message;
            self.decide(Input::PodLost { group, pod, reason }, now_ms);
        }
    }

    pub(super) fn deleted(
        &mut self,
        group: NodeId,
        pod: String,
        result: Result<Deleted, backend::Failure>,
        now_ms: u64,
    ) {
        let hurried = matches!(self.state.interrupt, Some((Interrupt::Kill, _)));
        let Some(entry) = self.entry(&group, &pod) else {
            return;
        };
        match result {
            Ok(_) => {
                self.groups.remove(&group);
                self.decide(Input::PodDeleted { group, pod }, now_ms);
            }
            Err(failure) => {
                entry.delete = Ask::No;
                entry.delete_tries += 1;
                entry.delete_again_ms = now_ms + backoff(entry.delete_tries);
                let patient = failure.kind == FailureKind::Connectivity
                    && !hurried
                    && now_ms < entry.delete_since_ms + DELETE_LONGEST_MS;
                if entry.delete_tries >= DELETE_TRIES && !patient {
                    let reason = failure.message;
                    self.out.push_back(Action::Warn(format!(
                        "pod {pod} could not be removed: {reason}; `stepyard sweep` does it"
                    )));
                    self.decide(Input::PodLeft { group, pod, reason }, now_ms);
                }
            }
        }
    }

    /// What waits for nothing but time, and what reports of steps are due.
    pub(super) fn tend(&mut self, now_ms: u64) {
        self.mind_links(now_ms);
        let groups: Vec<NodeId> = self.groups.keys().cloned().collect();
        for group in groups {
            self.open_channels(&group, now_ms);
            self.tend_records(&group, now_ms);
            if let Some(entry) = self.groups.get_mut(&group) {
                entry.leave_alone();
            }
        }
    }

    /// When something is to be tried again.
    pub(super) fn retries(&self) -> impl Iterator<Item = u64> {
        let mut times = Vec::new();
        for entry in self.groups.values() {
            if let Link::Down { again_ms } = entry.link
                && entry.create != Ask::Asked
                && entry.watching
                && entry.delete == Ask::No
                && again_ms < NEVER_MS
            {
                times.push(again_ms);
            }
            if entry.connection().is_some() {
                times.push(entry.pulse.ping_ms);
                times.extend(entry.pulse.until_ms);
            }
            if entry.delete == Ask::No && entry.delete_tries > 0 {
                times.push(entry.delete_again_ms);
            }
            for (_, container) in entry.attended() {
                if entry.connection().is_some() && entry.opens(container, self.limits) {
                    times.push(container.again_ms);
                }
                times.extend(container.session.deadline());
            }
        }
        times.into_iter()
    }
}
