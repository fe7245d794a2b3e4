//! What is asked before a node begins: the inputs of a step that are given when it is reached, the start of a stage by a person.
//!
//! A closed gate holds back all that the node would do. It is journaled when the node is entered ([`Event::Waiting`]), and so is
//! what opens it ([`Event::Answered`]): a driver that takes over asks the same until the same time.

use std::collections::BTreeMap;

use pipeline::plan::{Action, Gate, NodeId, Wait};

use crate::decide::strategy_for;
use crate::event::{Answer, ErrorKind, Event, Failure};
use crate::phase::Phase;
use crate::state::{Illegal, Place, State};
use crate::waits::Waiting;

/// A node that was entered waits for a person before it begins.
pub(crate) fn is_closed(place: &Place) -> bool {
    let open = place
        .gate
        .as_ref()
        .is_some_and(|own| !own.answers.is_empty());
    place.node.gate.is_some() && !open
}

/// It may be answered now.
pub(crate) fn is_asked(place: &Place) -> bool {
    place.phase == Phase::Entered && place.gate.is_some() && is_closed(place)
}

/// Until when it is asked.
pub(crate) fn until(place: &Place) -> Option<u64> {
    place.gate.as_ref().filter(|_| is_asked(place))?.until_ms
}

/// What follows for a node whose gate is closed; none where it is open.
pub(crate) fn follows(state: &State, id: &NodeId, place: &Place, now: u64) -> Option<Vec<Event>> {
    let gate = place.node.gate.as_ref().filter(|_| is_closed(place))?;
    let Some(asked) = &place.gate else {
        return Some(vec![Event::Waiting {
            node: id.clone(),
            wait: Wait::Start(gate.clone()),
            until_ms: Some(now.saturating_add(gate.timeout_ms)),
        }]);
    };
    if asked.until_ms.is_none_or(|until| now < until) {
        return Some(Vec::new());
    }
    let failure = expired(gate);
    let by_defaults = matches!(
        strategy_for(state, id, &failure),
        Some(Action::ProceedWithDefaultValues)
    );
    Some(vec![
        if by_defaults && gate.values(&BTreeMap::new()).is_ok() {
            Event::Answered {
                node: id.clone(),
                answer: Answer {
                    by: "nobody".to_owned(),
                    executor: false,
                    approve: true,
                    automatic: true,
                    comment: "its time was up, and `ProceedWithDefaultValues` says so".to_owned(),
                    inputs: BTreeMap::new(),
                },
            }
        } else {
            Event::Failed {
                node: id.clone(),
                failure,
            }
        },
    ])
}

fn expired(gate: &Gate) -> Failure {
    Failure {
        error: ErrorKind::InputTimeoutError,
        message: if gate.inputs.is_empty() {
            "nobody started it in time".to_owned()
        } else {
            "nobody gave its inputs in time".to_owned()
        },
        help: None,
    }
}

/// Why an answer means nothing to a node that asks; none: it is taken.
pub(crate) fn refusal(node: &NodeId, gate: &Gate, answer: &Answer) -> Option<String> {
    if !answer.approve {
        return Some(format!(
            "{node} waits for inputs, not for an approval; `stepyard intervene` ends it"
        ));
    }
    let names = || {
        let all: Vec<_> = gate.inputs.iter().map(|own| own.name.as_str()).collect();
        all.join(", ")
    };
    for (name, value) in &answer.inputs {
        let Some(own) = gate.inputs.iter().find(|own| own.name == *name) else {
            return Some(if gate.inputs.is_empty() {
                format!("{node} asks for no inputs")
            } else {
                format!("{node} asks for no input `{name}`; it asks for {}", names())
            });
        };
        if let Some(help) = own.input().refuses(value) {
            return Some(format!("`{value}` is not allowed for `{name}`: {help}"));
        }
    }
    let missing = gate.values(&answer.inputs).err()?;
    Some(format!("the input `{missing}` must be given"))
}

/// Folds the question in.
pub(crate) fn asked(
    state: &mut State,
    node: &NodeId,
    wait: &Wait,
    until_ms: Option<u64>,
) -> Result<(), Illegal> {
    let place = state.nodes.get_mut(node);
    let place = place.filter(|own| own.phase == Phase::Entered && is_closed(own));
    let Some(place) = place.filter(|own| own.gate.is_none()) else {
        return Err(crate::state::illegal(
            node,
            "its inputs are asked for, but not to be",
        ));
    };
    place.gate = Some(Waiting {
        wait: wait.clone(),
        until_ms,
        admitted: false,
        answers: Vec::new(),
    });
    Ok(())
}

/// Folds an answer in: the node's time begins now. False where it is no answer to a gate.
pub(crate) fn answered(state: &mut State, node: &NodeId, answer: &Answer, at: u64) -> bool {
    let place = state.nodes.get_mut(node).filter(|own| is_asked(own));
    let Some(place) = place else { return false };
    if let Some(gate) = &mut place.gate {
        gate.answers.push(answer.clone());
    }
    place.entered_ms = at;
    true
}
