//! What the folded state still wants done: a function of the state and of nothing else.

use addon::frame::StopReason;
use pipeline::plan::{Kind, NodeId};

use crate::event::{Failure, Handling, Interrupt};
use crate::phase::Phase;
use crate::state::{Place, PodPhase, State, Undo};
use crate::waits;
use crate::{classify, decide, delegate, gate, replaced, workspace};

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
    /// Evaluate a condition: [`crate::Input::Judged`].
    Judge {
        /// Of this node.
        node: NodeId,
        /// The expression.
        condition: String,
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
    /// Keep the pod's workspace for another group: [`crate::Input::WorkspaceKept`].
    KeepWorkspace {
        /// The group.
        group: NodeId,
        /// Its pod's name.
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
    /// Its pod is no more: answer with the record if it is there after all, else with [`crate::Input::AttemptLost`].
    Lose {
        /// The step.
        step: NodeId,
        /// Which attempt.
        attempt: u32,
        /// Why.
        reason: Failure,
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
        if let Some(ms) = wakes(state, id, place) {
            at(ms);
        }
        let shut = place.phase == Phase::Entered && gate::is_closed(place);
        if shut || matches!(place.phase, Phase::Pausing | Phase::Asking | Phase::Handled) {
            continue;
        }
        if let Some(condition) = decide::asks(state, id, place) {
            effects.push(Effect::Judge {
                node: id.clone(),
                condition: condition.to_owned(),
            });
        }
        match &place.node.kind {
            Kind::Initialize => effects.extend(name_pod(state, place)),
            Kind::Step(_) if waits::waits(place) => {
                if place.waiting.is_none()
                    && place.phase == Phase::Entered
                    && decide::halted(state, id).is_none()
                {
                    effects.push(Effect::AskWait { node: id.clone() });
                }
            }
            Kind::Step(_) => {
                if delegate::awaits_pod(place) {
                    effects.extend(name_pod(state, place));
                }
                step(state, id, place, &mut effects);
            }
            _ if place.children.is_none() => {
                if place.phase == Phase::Entered && decide::halted(state, id).is_none() {
                    effects.push(Effect::Expand { node: id.clone() });
                }
            }
            _ => {
                if let Some((child, condition)) = decide::judges(state, place) {
                    effects.push(Effect::Judge {
                        node: child.node.id.clone(),
                        condition: condition.to_owned(),
                    });
                }
            }
        }
    }
    for (group, pod) in &state.pods {
        let (group, pod_name) = (group.clone(), pod.name.clone());
        let initializing = decide::initializing(state, &group).is_some();
        let over = !decide::needs_pod(state, &group);
        match pod.phase {
            PodPhase::Requested if initializing => effects.push(Effect::MakePod {
                group,
                pod: pod_name,
            }),
            PodPhase::Ready if !over => effects.push(Effect::KeepPod {
                group,
                pod: pod_name,
            }),
            PodPhase::Ready if workspace::keeps(state, &group) => {
                effects.push(Effect::KeepPod {
                    group: group.clone(),
                    pod: pod_name.clone(),
                });
                effects.push(Effect::KeepWorkspace {
                    group,
                    pod: pod_name,
                });
            }
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

/// When something is to be decided for a node, whatever happens until then.
pub(crate) fn wakes(state: &State, id: &NodeId, place: &Place) -> Option<u64> {
    let own = match (place.phase, &place.node.kind) {
        (Phase::Pausing | Phase::Asking, _) => waits_until(state, place),
        (Phase::Handled, _) | (_, Kind::Initialize) => None,
        (_, Kind::Step(_)) if waits::waits(place) => {
            place.waiting.as_ref().and_then(|waiting| waiting.until_ms)
        }
        (_, Kind::Step(_)) => stop(state, id).map(|stop| stop.deadline_ms),
        _ => {
            let free = place.busy == 0
                && place.children.is_some()
                && state.paused.is_none()
                && !pod_exists(state, Some(id));
            place.again.filter(|_| free).map(|(_, ms)| ms)
        }
    };
    let times = own.into_iter().chain(gate::until(place));
    times.chain(deadline(state, place)).min()
}

fn name_pod(state: &State, place: &Place) -> Option<Effect> {
    let group = place.group.clone()?;
    if place.phase != Phase::Entered || decide::halted(state, &place.node.id).is_some() {
        return None;
    }
    let until = if delegate::is_own(&place.node) {
        delegate::most(place)
    } else {
        state.nodes.get(&group)?.pods_until
    };
    let attempt = match state.pods.get(&group) {
        None => 0,
        Some(pod) if pod.phase == PodPhase::Deleted && pod.attempt + 1 < until => pod.attempt + 1,
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
    if !state.stirred {
        debug_assert!(ordered(state, id).is_none(), "nothing stirred");
        return None;
    }
    ordered(state, id)
}

fn ordered(state: &State, id: &NodeId) -> Option<Stop> {
    let place = state.nodes.get(id).filter(|place| place.phase.may_run())?;
    let mut orders = Vec::new();
    if let Some((interrupt, since)) = &state.interrupt {
        let grace = match interrupt {
            Interrupt::Kill => 0,
            _ => GRACE_MS,
        };
        orders.push((*since, StopReason::Abort, grace));
    }
    for (_, place, undone) in state.around(id) {
        if let Some((_, since)) = place.order {
            orders.push((since, StopReason::Abort, GRACE_MS));
        }
        if let Some((since, _)) = place.again.filter(|_| !undone) {
            orders.push((since, StopReason::Abort, GRACE_MS));
        }
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

/// Until when a failed node waits: for its next retry, or for a person. None while it is something else that is waited for.
fn waits_until(state: &State, place: &Place) -> Option<u64> {
    match &place.handled.as_ref()?.handling {
        Handling::Retry { at_ms, .. } => {
            let pod =
                place.node.kind == Kind::Initialize && pod_exists(state, place.group.as_ref());
            (!pod && state.paused.is_none()).then_some(*at_ms)
        }
        Handling::Ask { until_ms, .. } => Some(*until_ms),
        _ => None,
    }
}

/// Something of a group's pod may be there.
fn pod_exists(state: &State, group: Option<&NodeId>) -> bool {
    group
        .and_then(|group| state.pods.get(group))
        .is_some_and(|pod| pod.phase.may_exist())
}

/// When a node's time is up. A Background step has no time of its own: it ends with its group. The time of a step is that
/// of an attempt; what is rolled back takes as long as that takes.
pub(crate) fn deadline(state: &State, place: &Place) -> Option<u64> {
    let waits = matches!(
        place.phase,
        Phase::Pausing | Phase::Asking | Phase::Handled | Phase::Recorded | Phase::Lost
    );
    let undone = place.undo == Undo::Begun && place.node.kind != Kind::Pipeline;
    let gated = place.phase == Phase::Entered && gate::is_closed(place);
    if place.timed_out.is_some()
        || place.is_background()
        || waits
        || undone
        || gated
        || replaced::awaits(state, place)
    {
        return None;
    }
    place.node.timeout_ms.map(|ms| place.entered_ms + ms)
}
