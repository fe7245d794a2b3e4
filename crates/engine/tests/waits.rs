//! Tables of what steps that run nowhere wait for.

use std::collections::BTreeMap;

use engine::event::{Answer, Event, Failure, Interrupt, Intervention, Stamped, Status};
use engine::{Effect, Input, State, Wishes, advance, wanted};
use pipeline::plan::{Approval, Auto, Entry, Kind, Node, NodeId, Order, Step, Wait};

fn leaf(id: &str, kind: Kind, order: Order) -> Node {
    Node {
        order,
        ..Node::new(NodeId::from(id), kind, id, id)
    }
}

fn waits(id: &str, step_type: &str) -> Node {
    let step = Step {
        r#type: step_type.to_owned(),
        background: false,
        container: None,
    };
    leaf(id, Kind::Step(step), Order::Sequence)
}

/// A run of these steps side by side, all entered, each with what it waits for.
fn run(steps: &[(&str, &str, Wait)]) -> State {
    let mut state = State::default();
    let root = leaf("pipeline", Kind::Pipeline, Order::Parallel);
    let children = steps.iter().map(|(id, kind, _)| waits(id, kind)).collect();
    let mut put = |input| {
        advance(&mut state, input, 1_000).unwrap();
    };
    put(Input::Create {
        run: "r".to_owned(),
        root: Box::new(root),
        awake: None,
        wishes: Wishes::default(),
    });
    put(Input::Expanded {
        node: NodeId::from("pipeline"),
        children: Ok(children),
    });
    for (id, _, wait) in steps {
        put(Input::Waits {
            node: NodeId::from(*id),
            wait: Ok(wait.clone()),
        });
    }
    state
}

fn approval(minimum: u32, not_executor: bool) -> Approval {
    Approval {
        message: "go?".to_owned(),
        history: false,
        groups: Vec::new(),
        minimum,
        not_executor,
        inputs: vec![
            Entry {
                name: "where".to_owned(),
                default: "east".to_owned(),
                required: false,
                allowed: vec!["east".to_owned(), "west".to_owned()],
                many: false,
                regex: None,
            },
            Entry {
                name: "ticket".to_owned(),
                default: String::new(),
                required: true,
                allowed: Vec::new(),
                many: false,
                regex: Some("T[0-9]+".to_owned()),
            },
        ],
        auto: None,
    }
}

fn says(by: &str, executor: bool, approve: bool, inputs: &[(&str, &str)]) -> Answer {
    Answer {
        by: by.to_owned(),
        executor,
        approve,
        automatic: false,
        comment: String::new(),
        inputs: inputs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
    }
}

#[test]
fn answers_that_count_and_answers_that_do_not() {
    let ticket = [("ticket", "T1")];
    for (minimum, not_executor, answer, refused) in [
        (1, false, says("ann", true, true, &ticket), None),
        (1, true, says("ann", false, true, &ticket), None),
        (
            1,
            true,
            says("ann", true, true, &ticket),
            Some("whoever started the run"),
        ),
        // Whoever may not say yes may still say no.
        (1, true, says("ann", true, false, &[]), None),
        (
            1,
            false,
            says("ann", true, true, &[]),
            Some("`ticket` must be given"),
        ),
        (
            1,
            false,
            says("ann", true, true, &[("ticket", "T1"), ("where", "north")]),
            Some("not allowed for the input `where`: give one of east, west"),
        ),
        (
            1,
            false,
            says("ann", true, true, &[("ticket", "X1")]),
            Some("not allowed for the input `ticket`: it must match T[0-9]+"),
        ),
        (
            1,
            false,
            says("ann", true, true, &[("tikcet", "T1")]),
            Some("no input `tikcet`; it has where, ticket"),
        ),
    ] {
        let wait = Wait::Approval(Box::new(approval(minimum, not_executor)));
        let state = run(&[("ask", "HarnessApproval", wait)]);
        let found = engine::answer(&state, &NodeId::from("ask"), &answer);
        match (refused, found) {
            (None, Ok(())) => {}
            (Some(text), Err(why)) if why.contains(text) => {}
            (expected, found) => panic!("{answer:?}: {found:?}, not {expected:?}"),
        }
    }
}

#[test]
fn as_many_different_people_as_it_says() {
    let wait = Wait::Approval(Box::new(approval(2, false)));
    let mut state = run(&[("ask", "HarnessApproval", wait)]);
    let node = NodeId::from("ask");
    let mut say = |by: &str| {
        let answer = says(by, false, true, &[("ticket", "T1")]);
        let node = node.clone();
        advance(&mut state, Input::Answer { node, answer }, 2_000)
            .unwrap()
            .len()
    };
    assert_eq!(say("ann"), 1);
    // Again, it is no second person.
    assert_eq!(say("ann"), 0);
    assert!(say("bob") > 1);
    assert_eq!(state.finished, Some(Status::Success));
}

#[test]
fn time_is_what_the_journal_says_however_often_it_is_asked() {
    let mut state = run(&[("w", "Wait", Wait::Time { ms: 500 })]);
    assert!(wanted(&state).contains(&Effect::Wake { at_ms: 1_500 }));
    // Another owner, later: it waits for the rest.
    advance(&mut state, Input::Adopt { awake: None }, 1_400).unwrap();
    assert!(wanted(&state).contains(&Effect::Wake { at_ms: 1_500 }));
    assert!(advance(&mut state, Input::Now, 1_499).unwrap().is_empty());
    advance(&mut state, Input::Now, 1_500).unwrap();
    assert_eq!(state.finished, Some(Status::Success));
}

/// A person has seen what is waited for. An approval is not given in this way.
#[test]
fn time_that_passes_may_be_marked_as_success() {
    for (kind, wait, status) in [
        ("Wait", Wait::Time { ms: 500 }, Some(Status::Success)),
        (
            "HarnessApproval",
            Wait::Approval(Box::new(approval(1, false))),
            None,
        ),
    ] {
        let mut state = run(&[("w", kind, wait)]);
        let interrupt = Interrupt::Node {
            node: NodeId::from("w"),
            action: Intervention::MarkAsSuccess,
        };
        let refused = engine::refusal(&state, &interrupt);
        assert_eq!(refused.is_some(), status.is_none(), "{kind}: {refused:?}");
        advance(&mut state, Input::Interrupt(interrupt), 1_100).unwrap();
        assert_eq!(state.finished, status, "{kind}");
    }
}

/// Whose time was up is said where something in it is ended for that.
#[test]
fn a_time_that_is_up_around_is_told_by_its_name() {
    let mut state = State::default();
    let mut root = leaf("pipeline", Kind::Pipeline, Order::Sequence);
    root.timeout_ms = Some(300);
    advance(
        &mut state,
        Input::Create {
            run: "r".to_owned(),
            root: Box::new(root),
            awake: None,
            wishes: Wishes::default(),
        },
        1_000,
    )
    .unwrap();
    let child = waits("w", "Wait");
    for input in [
        Input::Expanded {
            node: NodeId::from("pipeline"),
            children: Ok(vec![child]),
        },
        Input::Waits {
            node: NodeId::from("w"),
            wait: Ok(Wait::Time { ms: 500 }),
        },
    ] {
        advance(&mut state, input, 1_000).unwrap();
    }
    let events = advance(&mut state, Input::Now, 1_300).unwrap();
    let told = events.iter().find_map(|own| match &own.event {
        Event::NodeFinished { node, failure, .. } if node.0 == "w" => failure.clone(),
        _ => None,
    });
    let told = told.expect("it ends");
    assert_eq!(told.message, "the time of the pipeline was up");
    assert_eq!(
        told.help.as_deref(),
        Some("raise the timeout of the pipeline")
    );
}

/// An approval of two people that is given by itself at this time.
fn at(at_ms: u64) -> Wait {
    Wait::Approval(Box::new(Approval {
        auto: Some(Auto {
            at_ms,
            when: "1970-01-01 12:00 AM UTC".to_owned(),
            comment: "nobody objected".to_owned(),
        }),
        ..approval(2, true)
    }))
}

#[test]
fn what_becomes_of_an_approval_with_a_deadline() {
    let ticket = [("ticket", "T1")];
    let yes = |by: &str| says(by, false, true, &ticket);
    let no = says("ann", true, false, &[]);
    for (name, answers, end_ms, status) in [
        ("nobody", vec![], 1_500, Status::Success),
        ("too few", vec![yes("ann")], 1_500, Status::Success),
        (
            "enough",
            vec![yes("ann"), yes("bob")],
            1_400,
            Status::Success,
        ),
        ("a no", vec![no.clone()], 1_400, Status::Failed),
        (
            "a yes and a no",
            vec![yes("bob"), no],
            1_400,
            Status::Failed,
        ),
    ] {
        let mut state = run(&[("ask", "HarnessApproval", at(1_500))]);
        assert!(wanted(&state).contains(&Effect::Wake { at_ms: 1_500 }));
        // Another owner, later: it waits for the rest.
        advance(&mut state, Input::Adopt { awake: None }, 1_300).unwrap();
        let node = NodeId::from("ask");
        for answer in answers {
            let node = node.clone();
            advance(&mut state, Input::Answer { node, answer }, 1_400).unwrap();
        }
        let automatic = |events: &[Stamped]| {
            events.iter().any(|own| {
                matches!(&own.event, Event::Answered { answer, .. } if answer.automatic && answer.comment == "nobody objected")
            })
        };
        assert_eq!(state.finished.is_some(), end_ms == 1_400, "{name}");
        advance(&mut state, Input::Now, 1_499).unwrap();
        assert_eq!(state.finished.is_some(), end_ms == 1_400, "{name}");
        let events = advance(&mut state, Input::Now, 1_500).unwrap();
        assert_eq!(automatic(&events), end_ms == 1_500, "{name}: {events:?}");
        assert_eq!(state.finished, Some(status), "{name}");
    }
}

#[test]
fn a_deadline_that_passed_while_nobody_drove_the_run_holds() {
    let mut state = run(&[("ask", "HarnessApproval", at(1_500))]);
    advance(&mut state, Input::Adopt { awake: None }, 9_000).unwrap();
    advance(&mut state, Input::Now, 9_000).unwrap();
    assert_eq!(state.finished, Some(Status::Success));
}

#[test]
fn a_deadline_that_is_over_when_it_asks_approves_nothing() {
    for (at_ms, finished) in [
        (999, Some(Status::Failed)),
        (1_000, Some(Status::Failed)),
        (1_001, None),
    ] {
        let state = run(&[("ask", "HarnessApproval", at(at_ms))]);
        assert_eq!(state.finished, finished, "{at_ms}");
    }
}

#[test]
fn what_becomes_of_those_who_meet() {
    let barrier = |with: &[&str]| Wait::Barrier {
        barrier: "meet".to_owned(),
        with: with.iter().map(|id| NodeId::from(*id)).collect(),
    };
    // Both there.
    let state = run(&[
        ("a", "Barrier", barrier(&["b"])),
        ("b", "Barrier", barrier(&["a"])),
    ]);
    assert_eq!(state.finished, Some(Status::Success));
    // One is not known yet: it may still come.
    let mut state = run(&[("a", "Barrier", barrier(&["pipeline.later"]))]);
    assert_eq!(state.finished, None);
    advance(&mut state, Input::Interrupt(Interrupt::Abort), 1_100).unwrap();
    assert_eq!(state.finished, Some(Status::Aborted));
}

#[test]
fn a_queue_is_wanted_until_its_scope_is_over() {
    let node = NodeId::from("q");
    let queue = Wait::Queue {
        key: "k".to_owned(),
        until: NodeId::from("pipeline"),
    };
    let mut state = run(&[("q", "Queue", queue), ("w", "Wait", Wait::Time { ms: 50 })]);
    let effect = Effect::Queue {
        node: node.clone(),
        key: "k".to_owned(),
    };
    assert!(wanted(&state).contains(&effect));
    let result = Ok(());
    let input = Input::Admitted {
        node: node.clone(),
        result: result.clone(),
    };
    advance(&mut state, input.clone(), 1_010).unwrap();
    assert!(state.nodes[&node].status().is_some());
    assert!(
        wanted(&state).contains(&effect),
        "held while the pipeline runs"
    );
    assert!(
        advance(&mut state, input, 1_020).unwrap().is_empty(),
        "again it means nothing"
    );
    advance(&mut state, Input::Now, 1_050).unwrap();
    assert_eq!(state.finished, Some(Status::Success));
    assert!(state.queues.is_empty());
}

#[test]
fn a_queue_that_cannot_be_had_fails_its_step() {
    let queue = Wait::Queue {
        key: "k".to_owned(),
        until: NodeId::from("pipeline"),
    };
    let mut state = run(&[("q", "Queue", queue)]);
    let failure = Failure {
        error: engine::event::ErrorKind::InfrastructureFailure,
        message: "held by a lost run".to_owned(),
        help: None,
    };
    let input = Input::Admitted {
        node: NodeId::from("q"),
        result: Err(failure),
    };
    let events: Vec<Stamped> = advance(&mut state, input, 1_010).unwrap();
    assert!(matches!(
        events.last().map(|own| &own.event),
        Some(Event::RunFinished {
            status: Status::Failed
        })
    ));
    assert!(state.queues.is_empty());
}
