//! Steps that run nowhere: they wait for time, for other steps, for other runs, or for a person.
//!
//! What such a step waits for is resolved when it is entered, and journaled. From there on all is a function of the state and
//! the time; what comes from outside (a turn in a queue, an answer) is an event of its own.

use std::collections::BTreeMap;

use pipeline::plan::{Approval, Kind, NodeId, Runs, Wait};

use crate::decide::finished;
use crate::event::{Answer, ErrorKind, Event, Failure, Status};
use crate::gate;
use crate::phase::Phase;
use crate::state::{Illegal, Place, State};

/// What a step waits for, and what came of it so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What it waits for.
    pub wait: Wait,
    /// When its time is there.
    pub until_ms: Option<u64>,
    /// Its turn has come.
    pub admitted: bool,
    /// What people said, in order.
    pub answers: Vec<Answer>,
}

/// A place in a queue that is waited for or held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// The queue's key.
    pub key: String,
    /// It is given back when this node is over.
    pub until: NodeId,
    /// Its turn has come.
    pub admitted: bool,
}

/// A step that runs nowhere.
pub(crate) fn waits(place: &Place) -> bool {
    matches!(&place.node.kind, Kind::Step(step) if step.runs() == Runs::Nowhere)
}

/// The answer to what a step waits for.
pub(crate) fn resolved(
    state: &State,
    node: &NodeId,
    wait: Result<Wait, Failure>,
    now: u64,
) -> Vec<Event> {
    let asked = state
        .nodes
        .get(node)
        .filter(|place| waits(place) && place.phase == Phase::Entered && place.waiting.is_none());
    match (asked, wait) {
        (None, _) => Vec::new(),
        (Some(_), Ok(wait)) => {
            let until_ms = match wait {
                Wait::Time { ms } => Some(now.saturating_add(ms)),
                Wait::Approval(ref approval) => approval.auto.as_ref().map(|auto| auto.at_ms),
                _ => None,
            };
            // An approval that nobody could have refused is none.
            if matches!(wait, Wait::Approval(_)) && until_ms.is_some_and(|at| at <= now) {
                return vec![Event::Failed {
                    node: node.clone(),
                    failure: Failure {
                        error: ErrorKind::ConfigurationFailure,
                        message: "the deadline of its `autoApproval` was over before it asked"
                            .to_owned(),
                        help: Some(
                            "write a `scheduledDeadline` that leaves people time to answer"
                                .to_owned(),
                        ),
                    },
                }];
            }
            vec![Event::Waiting {
                node: node.clone(),
                wait,
                until_ms,
            }]
        }
        (Some(_), Err(failure)) => vec![Event::Failed {
            node: node.clone(),
            failure,
        }],
    }
}

/// What follows for a step that waits.
pub(crate) fn follows(state: &State, id: &NodeId, place: &Place, now: u64) -> Vec<Event> {
    let Some(waiting) = &place.waiting else {
        return Vec::new();
    };
    let end = match &waiting.wait {
        Wait::Time { .. } => waiting.until_ms.filter(|at| now >= *at).map(|_| Ok(())),
        Wait::Barrier { barrier, with } => met(state, barrier, with),
        Wait::Queue { key, .. } => {
            if held(state, id, key) && !waiting.admitted {
                return vec![Event::Admitted { node: id.clone() }];
            }
            waiting.admitted.then_some(Ok(()))
        }
        Wait::Approval(approval) => match verdict(approval, &waiting.answers) {
            None if waiting.until_ms.is_some_and(|at| now >= at) => {
                return vec![Event::Answered {
                    node: id.clone(),
                    answer: by_itself(approval),
                }];
            }
            verdict => verdict,
        },
        // A gate is open by now.
        Wait::Start(_) => None,
    };
    match end {
        None => Vec::new(),
        Some(Ok(())) => vec![finished(id, Status::Success, None)],
        Some(Err(failure)) => vec![Event::Failed {
            node: id.clone(),
            failure,
        }],
    }
}

/// Whether a step around which a place in this queue is held already need not wait for another.
fn held(state: &State, id: &NodeId, key: &str) -> bool {
    state.queues.iter().any(|(step, queued)| {
        step != id
            && queued.key == key
            && queued.admitted
            && state.upwards(id).any(|(around, _)| *around == queued.until)
    })
}

/// Where another step of a barrier stands.
enum Standing {
    /// There, or past it.
    Here,
    /// It may still come.
    Coming,
    /// It will never come, and nobody is to wait for it: it is not to run.
    Left,
    /// It will never come, for this ended before.
    Lost(NodeId),
}

/// Whether all who meet at a barrier are there; why it will never be.
fn met(state: &State, barrier: &str, with: &[NodeId]) -> Option<Result<(), Failure>> {
    let mut all = true;
    for other in with {
        match standing(state, other) {
            Standing::Here | Standing::Left => {}
            Standing::Coming => all = false,
            Standing::Lost(who) => {
                return Some(Err(Failure {
                    error: ErrorKind::Unknown,
                    message: format!("{who} ended before it reached the barrier `{barrier}`"),
                    help: None,
                }));
            }
        }
    }
    all.then_some(Ok(()))
}

fn standing(state: &State, party: &NodeId) -> Standing {
    // The step itself, or the innermost of its surroundings that is known by now.
    let mut id = &*party.0;
    let (known, place) = loop {
        let node = NodeId(id.to_owned());
        if let Some(place) = state.nodes.get(&node) {
            break (node, place);
        }
        match id.rsplit_once('.') {
            Some((outer, _)) => id = outer,
            None => return Standing::Coming,
        }
    };
    let itself = known == *party;
    let is_over = matches!(place.phase, Phase::Finished(_));
    if is_over && state.upwards(&known).any(|(_, own)| own.again.is_some()) {
        // The step group that it is in begins again, and it with it.
        return Standing::Coming;
    }
    match place.phase {
        Phase::Finished(Status::Skipped) if place.failure.is_none() => Standing::Left,
        Phase::Finished(status) if status.is_positive() && status != Status::Skipped => {
            if itself {
                Standing::Here
            } else {
                Standing::Left
            }
        }
        Phase::Finished(_) => Standing::Lost(blamed(state, &known)),
        _ if itself && place.waiting.is_some() => Standing::Here,
        _ => Standing::Coming,
    }
}

/// The stage, or the outermost of what failed, that a person looks for.
fn blamed(state: &State, id: &NodeId) -> NodeId {
    state
        .upwards(id)
        .find(|(_, place)| matches!(place.node.kind, Kind::Stage(_) | Kind::StepGroup { .. }))
        .map_or_else(|| id.clone(), |(id, _)| id.clone())
}

/// What people decided, once they have.
fn verdict(approval: &Approval, answers: &[Answer]) -> Option<Result<(), Failure>> {
    if let Some(no) = answers.iter().find(|answer| !answer.approve) {
        let comment = if no.comment.is_empty() {
            String::new()
        } else {
            format!(": {}", no.comment)
        };
        return Some(Err(Failure {
            error: ErrorKind::ApprovalRejection,
            message: format!("rejected by {}{comment}", no.by),
            help: None,
        }));
    }
    let enough = answers.len() as u64 >= u64::from(approval.minimum);
    (enough || answers.iter().any(|answer| answer.automatic)).then_some(Ok(()))
}

/// The answer that nobody gave in time.
fn by_itself(approval: &Approval) -> Answer {
    Answer {
        by: "autoApproval".to_owned(),
        executor: false,
        approve: true,
        automatic: true,
        comment: approval
            .auto
            .as_ref()
            .map_or_else(String::new, |auto| auto.comment.clone()),
        inputs: BTreeMap::new(),
    }
}

/// What an answer to an approval means; an error says why it means nothing.
pub fn answer(state: &State, node: &NodeId, answer: &Answer) -> Result<(), String> {
    let place = state.nodes.get(node);
    if let Some(place) = place.filter(|place| gate::is_asked(place))
        && let Some(gate) = &place.node.gate
    {
        return gate::refusal(node, gate, answer).map_or(Ok(()), Err);
    }
    let waiting = place
        .filter(|place| place.phase == Phase::Entered)
        .and_then(|place| place.waiting.as_ref());
    let Some((Wait::Approval(approval), waiting)) = waiting.map(|own| (&own.wait, own)) else {
        return Err(format!("{node} asks for no approval now"));
    };
    if approval.not_executor && answer.executor && answer.approve {
        return Err("whoever started the run may not approve it".to_owned());
    }
    if waiting.answers.iter().any(|own| own.by == answer.by) {
        return Err(format!("{} has approved it already", answer.by));
    }
    for name in answer.inputs.keys() {
        if !approval.inputs.iter().any(|own| own.name == *name) {
            let names: Vec<_> = approval
                .inputs
                .iter()
                .map(|own| own.name.as_str())
                .collect();
            return Err(format!(
                "the approval has no input `{name}`{}",
                if names.is_empty() {
                    String::new()
                } else {
                    format!("; it has {}", names.join(", "))
                }
            ));
        }
    }
    for own in approval.inputs.iter().filter(|_| answer.approve) {
        let value = answer.inputs.get(&own.name).unwrap_or(&own.default);
        if own.required && value.is_empty() {
            return Err(format!("the input `{}` must be given", own.name));
        }
        let refused = own.refuses(value).filter(|_| !value.is_empty());
        if let Some(help) = refused {
            return Err(format!(
                "`{value}` is not allowed for the input `{}`: {help}",
                own.name
            ));
        }
    }
    Ok(())
}

/// What an approval gives out: its inputs, as entered last, else by their defaults.
pub(crate) fn entered(approval: &Approval, answer: &Answer) -> Vec<(String, String)> {
    approval
        .inputs
        .iter()
        .map(|own| {
            let value = answer.inputs.get(&own.name).unwrap_or(&own.default);
            (own.name.clone(), value.clone())
        })
        .collect()
}

/// Folds [`Event::Waiting`], [`Event::Admitted`] and [`Event::Answered`] in.
pub(crate) fn evolve(state: &mut State, event: &Event) -> Result<(), Illegal> {
    let illegal = |node: &NodeId, what: &str| Illegal {
        node: node.0.clone(),
        what: what.to_owned(),
    };
    match event {
        Event::Waiting {
            node,
            wait,
            until_ms,
        } => {
            let place = state
                .nodes
                .get_mut(node)
                .filter(|place| waits(place) && place.phase == Phase::Entered);
            let Some(place) = place.filter(|place| place.waiting.is_none()) else {
                return Err(illegal(node, "it waits, but is not to"));
            };
            place.waiting = Some(Waiting {
                wait: wait.clone(),
                until_ms: *until_ms,
                admitted: false,
                answers: Vec::new(),
            });
            if let Wait::Queue { key, until } = wait {
                let before = state.queues.get(node);
                let queued = Queued {
                    key: key.clone(),
                    until: until.clone(),
                    // Its step group begins again, and it holds the place that it had.
                    admitted: before.is_some_and(|own| own.admitted && own.key == *key),
                };
                if let Some(waiting) = &mut place.waiting {
                    waiting.admitted = queued.admitted;
                }
                state.queues.insert(node.clone(), queued);
            }
            Ok(())
        }
        Event::Admitted { node } => {
            let Some(queued) = state.queues.get_mut(node) else {
                return Err(illegal(node, "its turn came, but it is in no queue"));
            };
            queued.admitted = true;
            if let Some(waiting) = state.nodes.get_mut(node).and_then(|p| p.waiting.as_mut()) {
                waiting.admitted = true;
            }
            Ok(())
        }
        Event::Answered { node, answer } => {
            let place = state.nodes.get_mut(node);
            let waiting = place
                .filter(|place| place.phase == Phase::Entered)
                .and_then(|place| place.waiting.as_mut())
                .filter(|waiting| matches!(waiting.wait, Wait::Approval(_)));
            let Some(waiting) = waiting else {
                return Err(illegal(node, "it was answered, but asks nothing"));
            };
            waiting.answers.push(answer.clone());
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A node is over: places in queues that were held for it are given back.
pub(crate) fn over(state: &mut State, node: &NodeId, status: Status) {
    state.queues.retain(|step, queued| {
        queued.until != *node && !(step == node && status != Status::Success)
    });
}
