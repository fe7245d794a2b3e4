//! What the folded state still wants done: a function of the state and of nothing else.

use addon::frame::StopReason;
use pipeline::plan::{Kind, NodeId};

use crate::event::{Failure, Interrupt};
use crate::phase::Phase;
use crate::state::{Place, PodPhase, State, initialize};
use crate::waits::{self, Waiting};
use crate::{classify, decide, delegate};

/// Between SIGTERM and SIGKILL for a step that is stopped: time to write a last line and to stop a database.
pub const GRACE_MS: u64 = 10_000;

/// How long past its grace a stopped step may stay without its record before its pod is given up.
pub const STOP_SLACK_MS: u64 = 30_000;

/// Pods that a group may have in all when the infrastructure loses them before the first instruction.
pub const POD_ATTEMPTS: u32 = 3;

/// One thing that is to be done. Doing it twice is harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask what this node becomes: [`crate::Input::Expanded`].
    Expand {
        /// The node.
        node: NodeId,
    },
    /// Choose the name of the group's next pod: [`crate::Input::PodNamed`].
    NamePod {
        /// The group.
        group: NodeId,
        /// 0 for the first.
        attempt: u32,
    },
    /// Make the pod, or find it: [`crate::Input::PodReady`], [`crate::Input::PodFailed`].
    MakePod {
        /// The group.
        group: NodeId,
        /// Its name.
        pod: String,
    },
    /// Stay connected to the pod, and say when it is gone.
    KeepPod {
        /// The group.
        group: NodeId,
        /// Its name.
        pod: String,
    },
    /// Remove the pod: [`crate::Input::PodDeleted`], [`crate::Input::PodLeft`].
    DeletePod {
        /// The group.
        group: NodeId,
        /// Its name.
        pod: String,
    },
    /// Get ready to start: [`crate::Input::Starting`] once the addon is idle, [`crate::Input::StartFailed`].
    Prepare {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
    },
    /// Send the start until the addon says that it runs or ran.
    Start {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
    },
    /// Follow it to its record.
    Follow {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
    },
    /// Tell it to end.
    Stop {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// Why.
        reason: StopReason,
        /// Between SIGTERM and SIGKILL.
        grace_ms: u64,
    },
    /// Ask what this step waits for: [`crate::Input::Waits`].
    AskWait {
        /// The step.
        node: NodeId,
    },
    /// Have, and keep, a place in a queue of this machine's runs: [`crate::Input::Admitted`] when its turn has come. A place that is
    /// not wanted any more is given back.
    Queue {
        /// The step.
        node: NodeId,
        /// The queue's key.
        key: String,
    },
    /// Its pod is no more: answer with the record if it is there after all, else with [`crate::Input::AttemptLost`].
    Lose {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// Why.
        reason: Failure,
    },
    /// Say [`crate::Input::Now`] at this time.
    Wake {
        /// Milliseconds since the Unix epoch.
        at_ms: u64,
    },
}

/// An order to a running step to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The first reason.
    pub reason: StopReason,
    /// When that was.
    pub since_ms: u64,
    /// The shortest grace of all that was asked.
    pub grace_ms: u64,
    /// When the pod is given up if there is no record.
    pub deadline_ms: u64,
}

/// What is to be done now, in the order of the nodes' names.
pub fn wanted(state: &State) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut wake: Option<u64> = None;
    let mut at = |ms: u64| wake = Some(wake.map_or(ms, |wake| wake.min(ms)));
    for id in &state.active {
        let Some(place) = state.nodes.get(id) else {
            continue;
        };
        if let Some(deadline) = deadline(place) {
            at(deadline);
        }
        match &place.node.kind {
            Kind::Initialize => effects.extend(name_pod(state, place)),
            Kind::Step(_) if waits::waits(place) => match &place.waiting {
                None if decide::halted(state, id).is_none() => {
                    effects.push(Effect::AskWait { node: id.clone() });
                }
                Some(Waiting {
                    until_ms: Some(until),
                    ..
                }) => at(*until),
                _ => {}
            },
            Kind::Step(_) => {
                if delegate::awaits_pod(place) {
                    effects.extend(name_pod(state, place));
                }
                if let Some(stop) = stop(state, id) {
                    at(stop.deadline_ms);
                }
                step(state, id, place, &mut effects);
            }
            _ if place.children.is_none() && decide::halted(state, id).is_none() => {
                effects.push(Effect::Expand { node: id.clone() });
            }
            _ => {}
        }
    }
    for (group, pod) in &state.pods {
        let (group, pod_name) = (group.clone(), pod.name.clone());
        let own = state
            .nodes
            .get(&group)
            .filter(|place| delegate::is_own(&place.node));
        let (initializing, over) = if let Some(step) = own {
            (delegate::awaits_pod(step), !step.phase.is_active())
        } else {
            let initializing = initialize(state, &group)
                .and_then(|id| state.nodes.get(&id))
                .is_some_and(|place| place.phase.is_active());
            (
                initializing,
                !initializing && decide::inside(state, &group).next().is_none(),
            )
        };
        match pod.phase {
            PodPhase::Requested if initializing => effects.push(Effect::MakePod {
                group,
                pod: pod_name,
            }),
            PodPhase::Ready if !over => effects.push(Effect::KeepPod {
                group,
                pod: pod_name,
            }),
            PodPhase::Requested | PodPhase::Ready | PodPhase::Lost => {
                effects.push(Effect::DeletePod {
                    group,
                    pod: pod_name,
                });
            }
            PodPhase::Deleted | PodPhase::Left => {}
        }
    }
    for (node, queued) in &state.queues {
        effects.push(Effect::Queue {
            node: node.clone(),
            key: queued.key.clone(),
        });
    }
    if let Some(at_ms) = wake {
        effects.push(Effect::Wake { at_ms });
    }
    effects
}

fn name_pod(state: &State, place: &Place) -> Option<Effect> {
    let group = place.group.clone()?;
    if place.phase != Phase::Entered || decide::halted(state, &place.node.id).is_some() {
        return None;
    }
    let attempt = match state.pods.get(&group) {
        None => 0,
        Some(pod) if pod.phase == PodPhase::Deleted && pod.attempt + 1 < delegate::most(place) => {
            pod.attempt + 1
        }
        Some(_) => return None,
    };
    Some(Effect::NamePod { group, attempt })
}

fn step(state: &State, id: &NodeId, place: &Place, effects: &mut Vec<Effect>) {
    let pod = place.group.as_ref().and_then(|group| state.pods.get(group));
    let ready = pod.is_some_and(|pod| pod.phase == PodPhase::Ready);
    let (step, attempt) = (id.clone(), place.attempt());
    if place.phase.may_run() && !ready {
        let why = pod.and_then(|pod| pod.reason.as_deref());
        let reason = classify::infrastructure(why.unwrap_or("its pod is gone"));
        effects.push(Effect::Lose {
            step,
            attempt,
            reason,
        });
        return;
    }
    match place.phase {
        Phase::Entered if ready => effects.push(Effect::Prepare {
            step: id.clone(),
            attempt: place.attempts,
        }),
        Phase::Starting => effects.push(Effect::Start {
            step: id.clone(),
            attempt,
        }),
        Phase::Running | Phase::Ready => effects.push(Effect::Follow {
            step: id.clone(),
            attempt,
        }),
        _ => {}
    }
    if let Some(stop) = stop(state, id) {
        effects.push(Effect::Stop {
            step,
            attempt,
            reason: stop.reason,
            grace_ms: stop.grace_ms,
        });
    }
}

/// The order to end that holds for a step whose process may run.
pub fn stop(state: &State, id: &NodeId) -> Option<Stop> {
    let place = state.nodes.get(id).filter(|place| place.phase.may_run())?;
    let mut orders = Vec::new();
    if let Some((interrupt, since)) = &state.interrupt {
        let grace = match interrupt {
            Interrupt::Abort => GRACE_MS,
            Interrupt::Kill => 0,
        };
        orders.push((*since, StopReason::Abort, grace));
    }
    if let Some(since) = state.timed_out(id) {
        orders.push((since, StopReason::Timeout, GRACE_MS));
    }
    let ending = place
        .group
        .as_ref()
        .and_then(|group| state.nodes.get(group))
        .and_then(|group| group.ending);
    if let Some(since) = ending.filter(|_| place.is_background()) {
        orders.push((since, StopReason::GroupEnd, GRACE_MS));
    }
    let (since_ms, reason, _) = *orders.iter().min_by_key(|(since, ..)| *since)?;
    // While no driver was there nobody could say it: a new owner has all of the time again.
    let told = |since: &u64| (*since).max(state.adopted_ms);
    let deadline = orders
        .iter()
        .map(|(since, _, grace)| told(since) + grace)
        .min()?;
    Some(Stop {
        reason,
        since_ms,
        grace_ms: orders.iter().map(|(.., grace)| *grace).min()?,
        deadline_ms: deadline + STOP_SLACK_MS,
    })
}

/// When a node's time is up. A Background step has no time of its own: it ends with its group.
pub(crate) fn deadline(place: &Place) -> Option<u64> {
    if place.timed_out.is_some() || place.is_background() {
        return None;
    }
    place.node.timeout_ms.map(|ms| place.entered_ms + ms)
}
