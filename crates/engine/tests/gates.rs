//! Tables of what is asked before a node begins.

use std::collections::BTreeMap;

use engine::event::{Answer, ErrorKind, Event, Failure, Stamped, Status};
use engine::facts::Facts;
use engine::{Effect, Input, State, advance, wanted};
use pipeline::plan::{
    Action, Errors, Gate, Kind, Node, NodeId, Order, Question, Step, Strategy, Wait,
};

const DAY: u64 = 86_400_000;

fn id() -> NodeId {
    NodeId::from("w")
}

/// A Wait step that asks for these inputs, in a run that has entered it.
fn run(inputs: &[(&str, &str)], strategies: Vec<Strategy>, facts: &mut Facts) -> State {
    let mut state = State::default();
    let mut root = Node::new(NodeId::from("pipeline"), Kind::Pipeline, "p", "p");
    root.order = Order::Sequence;
    let step = Step {
        r#type: "Wait".to_owned(),
        background: false,
        container: None,
    };
    let question = |(name, input): &(&str, &str)| Question {
        name: (*name).to_owned(),
        input: (*input).to_owned(),
    };
    let child = Node {
        gate: Some(Box::new(Gate {
            inputs: inputs.iter().map(question).collect(),
            timeout_ms: DAY,
        })),
        strategies,
        timeout_ms: Some(5_000),
        ..Node::new(id(), Kind::Step(step), "w", "w")
    };
    put(
        &mut state,
        facts,
        Input::Create {
            run: "r".to_owned(),
            root: Box::new(root),
            awake: None,
            wishes: engine::Wishes::default(),
        },
        1_000,
    );
    put(
        &mut state,
        facts,
        Input::Expanded {
            node: NodeId::from("pipeline"),
            children: Ok(vec![child]),
        },
        1_000,
    );
    state
}

fn put(state: &mut State, facts: &mut Facts, input: Input, now: u64) -> Vec<Stamped> {
    let events = advance(state, input, now).unwrap();
    for event in &events {
        facts.apply(event);
    }
    events
}

fn says(approve: bool, inputs: &[(&str, &str)]) -> Answer {
    Answer {
        by: "ann".to_owned(),
        executor: true,
        approve,
        automatic: false,
        comment: String::new(),
        inputs: inputs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
    }
}

const ASKED: &[(&str, &str)] = &[
    ("to", "<+input>.allowedValues(east,west).executionInput()"),
    ("how", "<+input>.default(fast).executionInput()"),
];

#[test]
fn answers_that_open_a_gate_and_answers_that_do_not() {
    for (answer, refused) in [
        (says(true, &[("to", "east")]), None),
        (says(true, &[("to", "west"), ("how", "slow")]), None),
        (says(true, &[]), Some("the input `to` must be given")),
        (
            says(true, &[("to", "north")]),
            Some("give one of east, west"),
        ),
        (
            says(true, &[("to", "east"), ("hwo", "slow")]),
            Some("asks for no input `hwo`; it asks for to, how"),
        ),
        (says(false, &[]), Some("not for an approval")),
    ] {
        let state = run(ASKED, Vec::new(), &mut Facts::default());
        match (refused, engine::answer(&state, &id(), &answer)) {
            (None, Ok(())) => {}
            (Some(text), Err(why)) if why.contains(text) => {}
            (expected, found) => panic!("{answer:?}: {found:?}, not {expected:?}"),
        }
    }
}

#[test]
fn nothing_of_a_node_is_done_before_its_gate_is_open_and_its_time_begins_then() {
    let mut facts = Facts::default();
    let mut state = run(ASKED, Vec::new(), &mut facts);
    assert_eq!(wanted(&state), [Effect::Wake { at_ms: 1_000 + DAY }]);
    // Far beyond the step's own time; another owner asks the same until the same time.
    put(&mut state, &mut facts, Input::Adopt { awake: None }, 60_000);
    assert_eq!(wanted(&state), [Effect::Wake { at_ms: 1_000 + DAY }]);
    let answer = says(true, &[("to", "west")]);
    let node = id();
    put(
        &mut state,
        &mut facts,
        Input::Answer { node, answer },
        70_000,
    );
    assert!(wanted(&state).contains(&Effect::AskWait { node: id() }));
    assert!(wanted(&state).contains(&Effect::Wake { at_ms: 75_000 }));
    let given = &facts.inputs[&id()];
    assert_eq!((&*given["to"], &*given["how"]), ("west", "fast"));
    // Once.
    let again = engine::answer(&state, &id(), &says(true, &[("to", "east")]));
    assert!(again.is_err(), "{again:?}");
}

#[test]
fn what_becomes_of_a_gate_that_nobody_opens() {
    let strategy = |action| {
        vec![Strategy {
            errors: Errors::These(vec![ErrorKind::InputTimeoutError]),
            action,
        }]
    };
    let defaults: &[(&str, &str)] = &[("how", "<+input>.default(fast).executionInput()")];
    for (inputs, strategies, failed) in [
        (defaults, Vec::new(), true),
        (defaults, strategy(Action::ProceedWithDefaultValues), false),
        // There is none for `to`.
        (ASKED, strategy(Action::ProceedWithDefaultValues), true),
    ] {
        let mut facts = Facts::default();
        let mut state = run(inputs, strategies, &mut facts);
        assert!(put(&mut state, &mut facts, Input::Now, 999 + DAY).is_empty());
        let events = put(&mut state, &mut facts, Input::Now, 1_000 + DAY);
        let error = events.iter().find_map(|own| match &own.event {
            Event::Failed {
                failure: Failure { error, .. },
                ..
            } => Some(*error),
            _ => None,
        });
        assert_eq!(error, failed.then_some(ErrorKind::InputTimeoutError));
        assert_eq!(state.finished, failed.then_some(Status::Failed));
        assert_eq!(facts.inputs.contains_key(&id()), !failed);
    }
}

#[test]
fn an_abort_ends_what_asks() {
    let mut facts = Facts::default();
    let mut state = run(ASKED, Vec::new(), &mut facts);
    let abort = Input::Interrupt(engine::event::Interrupt::Abort);
    put(&mut state, &mut facts, abort, 2_000);
    assert_eq!(state.finished, Some(Status::Aborted));
}

#[test]
fn a_gate_is_not_asked_for_in_a_node_that_has_none() {
    let mut state = run(ASKED, Vec::new(), &mut Facts::default());
    let event = Event::Waiting {
        node: NodeId::from("pipeline"),
        wait: Wait::Start(Box::new(Gate {
            inputs: Vec::new(),
            timeout_ms: 1,
        })),
        until_ms: None,
    };
    assert!(
        engine::evolve(
            &mut state,
            &Stamped {
                at_ms: 5_000,
                event
            }
        )
        .is_err()
    );
}
