//! Steps that are a process of the delegate: each has a pod of its own.

use engine::event::Event;
use engine::{Effect, Input, PodPhase, State, Wishes, advance, wanted};
use pipeline::plan::{Action, Errors, Kind, Node, NodeId, Order, Retry, Step, Strategy};

fn put(state: &mut State, input: Input, now_ms: u64) -> Vec<Event> {
    let events = advance(state, input, now_ms).unwrap();
    events.into_iter().map(|stamped| stamped.event).collect()
}

/// A driver may die between telling its backend to remove the pod and hearing of it: whoever takes over must not wait for that pod.
#[test]
fn a_pod_that_is_still_made_when_its_step_gives_up_is_not_the_next_trys() {
    let (root, step) = (NodeId::from("pipeline"), NodeId::from("pipeline.a"));
    let process = Step {
        r#type: "ShellScript".to_owned(),
        background: false,
        container: Some("process".to_owned()),
    };
    let mut node = Node::new(step.clone(), Kind::Step(process), "a", "a");
    node.timeout_ms = Some(100);
    node.strategies = vec![Strategy {
        errors: Errors::All,
        action: Action::Retry(Retry {
            count: 1,
            intervals_ms: vec![10],
            condition: None,
            then: None,
        }),
    }];
    let mut pipeline = Node::new(root.clone(), Kind::Pipeline, "pipeline", "pipeline");
    pipeline.order = Order::Sequence;
    let mut state = State::default();
    let create = Input::Create {
        run: "r".to_owned(),
        root: Box::new(pipeline),
        awake: None,
        wishes: Wishes::default(),
    };
    put(&mut state, create, 1_000);
    let expanded = Input::Expanded {
        node: root,
        children: Ok(vec![node]),
    };
    put(&mut state, expanded, 1_000);
    let named = |name: &str| Input::PodNamed {
        group: step.clone(),
        pod: Ok(name.to_owned()),
    };
    put(&mut state, named("first"), 1_000);
    let make = |pod: &str| Effect::MakePod {
        group: step.clone(),
        pod: pod.to_owned(),
    };
    assert!(wanted(&state).contains(&make("first")));

    put(&mut state, Input::Now, 1_100);
    assert_eq!(state.pods[&step].phase, PodPhase::Lost);
    let again = put(&mut state, Input::Now, 1_110);
    assert!(
        matches!(&again[..], [Event::RetryBegun { .. }]),
        "{again:?}"
    );
    let delete = Effect::DeletePod {
        group: step.clone(),
        pod: "first".to_owned(),
    };
    let effects = wanted(&state);
    assert!(effects.contains(&delete), "{effects:?}");
    assert!(!effects.contains(&make("first")), "{effects:?}");
    // What is heard of it late means nothing.
    let ready = Input::PodReady {
        group: step.clone(),
        pod: "first".to_owned(),
    };
    assert_eq!(put(&mut state, ready, 1_111), []);

    let deleted = Input::PodDeleted {
        group: step.clone(),
        pod: "first".to_owned(),
    };
    put(&mut state, deleted, 1_112);
    put(&mut state, named("second"), 1_112);
    assert!(wanted(&state).contains(&make("second")));
}
