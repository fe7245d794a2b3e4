//! Properties of any run: every interleaving ends, a fold of the events is the state, and nothing is illegal.

use addon::frame::{Attempt, Exit, Record, StopReason};
use engine::event::{ErrorKind, Event, Failure, Interrupt, Stamped, Status};
use engine::{Effect, Input, State, advance, decide, evolve, wanted};
use pipeline::plan::{Kind, Node, NodeId, Order, Runs, Step, Wait};
use proptest::prelude::*;

/// A tree to run.
#[derive(Debug, Clone)]
enum Tree {
    Step {
        background: bool,
        timeout: bool,
    },
    /// A process of the delegate, or one that waits.
    Own {
        kind: &'static str,
        timeout: bool,
    },
    Sequence(Vec<Tree>),
    Parallel(Vec<Tree>),
}

/// Types of steps that are in no container.
const KINDS: [&str; 3] = ["ShellScript", "Wait", "Queue"];

fn trees() -> impl Strategy<Value = Vec<Vec<Tree>>> {
    let leaf = (any::<bool>(), any::<bool>()).prop_map(|(background, timeout)| Tree::Step {
        background,
        timeout,
    });
    let own = (prop::sample::select(&KINDS[..]), any::<bool>())
        .prop_map(|(kind, timeout)| Tree::Own { kind, timeout });
    let leaf = prop_oneof![3 => leaf, 1 => own];
    let tree = leaf.prop_recursive(2, 10, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Tree::Sequence),
            prop::collection::vec(inner, 0..3).prop_map(Tree::Parallel),
        ]
    });
    prop::collection::vec(prop::collection::vec(tree, 0..4), 1..3)
}

fn node(id: String, kind: Kind, order: Order, timeout_ms: Option<u64>) -> Node {
    Node {
        identifier: id.clone(),
        name: id.clone(),
        id: NodeId(id),
        kind,
        order,
        timeout_ms,
        skip: None,
    }
}

fn root() -> Node {
    node("p".to_owned(), Kind::Pipeline, Order::Sequence, None)
}

/// The children of a node: `p` has groups `p/0`, `p/1`; a group its Initialize and its trees.
fn expand(groups: &[Vec<Tree>], id: &NodeId) -> Vec<Node> {
    let path: Vec<&str> = id.0.split('/').skip(1).collect();
    let Some((group, rest)) = path.split_first() else {
        return (0..groups.len())
            .map(|g| {
                let kind = Kind::StepGroup { pod: true };
                node(format!("p/{g}"), kind, Order::Sequence, None)
            })
            .collect();
    };
    let mut trees = &groups[group.parse::<usize>().unwrap()];
    for place in rest {
        match &trees[place.parse::<usize>().unwrap()] {
            Tree::Sequence(inner) | Tree::Parallel(inner) => trees = inner,
            Tree::Step { .. } | Tree::Own { .. } => panic!("a step expands"),
        }
    }
    let mut children = Vec::new();
    if rest.is_empty() {
        children.push(node(
            format!("{}/init", id.0),
            Kind::Initialize,
            Order::Sequence,
            None,
        ));
    }
    children.extend(trees.iter().enumerate().map(|(place, tree)| {
        let id = format!("{}/{place}", id.0);
        match tree {
            Tree::Step {
                background,
                timeout,
            } => {
                let step = Step {
                    r#type: "Run".to_owned(),
                    background: *background,
                    container: Some(id.clone()),
                };
                let timeout = timeout.then_some(50);
                node(id, Kind::Step(step), Order::Sequence, timeout)
            }
            Tree::Own { kind, timeout } => {
                let step = Step {
                    r#type: (*kind).to_owned(),
                    background: false,
                    container: (*kind == "ShellScript").then(|| id.clone()),
                };
                let timeout = timeout.then_some(50);
                node(id, Kind::Step(step), Order::Sequence, timeout)
            }
            Tree::Sequence(_) => {
                let kind = Kind::StepGroup { pod: false };
                node(id, kind, Order::Sequence, None)
            }
            Tree::Parallel(_) => node(id, Kind::Parallel, Order::Parallel, None),
        }
    }));
    children
}

fn record(step: &NodeId, number: u32, exit: Exit, stopped: Option<StopReason>) -> Box<Record> {
    Box::new(Record {
        attempt: Attempt {
            run: "r".to_owned(),
            step: step.0.clone(),
            number,
        },
        exit,
        stopped,
        oom: false,
        started_ms: 1,
        ended_ms: 2,
        elapsed_ms: 1,
        cpu_ms: 0,
        peak_memory: 0,
        output_bytes: 0,
        outputs: Vec::new(),
        warnings: Vec::new(),
    })
}

fn failure() -> Failure {
    Failure {
        error: ErrorKind::InfrastructureFailure,
        message: "lost".to_owned(),
        help: None,
    }
}

/// One of the answers that the world may give to an effect.
fn answer(groups: &[Vec<Tree>], effect: &Effect, choice: u8) -> Option<Input> {
    let bad = choice < 12;
    Some(match effect.clone() {
        Effect::Expand { node } => Input::Expanded {
            children: if bad {
                Err(failure())
            } else {
                Ok(expand(groups, &node))
            },
            node,
        },
        Effect::NamePod { group, attempt } => Input::PodNamed {
            pod: Ok(format!("{}-{attempt}", group.0)),
            group,
        },
        Effect::MakePod { group, pod } if bad => Input::PodFailed {
            group,
            pod,
            failure: failure(),
        },
        Effect::MakePod { group, pod } => Input::PodReady { group, pod },
        Effect::KeepPod { group, pod } if bad => Input::PodLost {
            group,
            pod,
            reason: "taken".to_owned(),
        },
        Effect::DeletePod { group, pod } if bad => Input::PodLeft {
            group,
            pod,
            reason: "stays".to_owned(),
        },
        Effect::DeletePod { group, pod } => Input::PodDeleted { group, pod },
        Effect::Prepare { step, attempt } if bad => Input::StartFailed {
            step,
            attempt,
            failure: failure(),
        },
        Effect::Prepare { step, attempt } => Input::Starting { step, attempt },
        Effect::Start { step, attempt } if choice.is_multiple_of(3) => Input::Finished {
            record: record(&step, attempt, Exit::NotStarted("no".to_owned()), None),
            step,
        },
        Effect::Start { step, attempt } => Input::Started {
            step,
            attempt,
            started_ms: 1,
        },
        Effect::Follow { step, attempt } if choice.is_multiple_of(2) => Input::Ready {
            step,
            attempt,
            warning: None,
        },
        Effect::Follow { step, attempt } if choice > 60 => Input::Finished {
            record: record(&step, attempt, Exit::Code(i32::from(bad)), None),
            step,
        },
        Effect::KeepPod { .. } | Effect::Follow { .. } => return None,
        Effect::Stop {
            step,
            attempt,
            reason,
            ..
        } => Input::Finished {
            record: record(&step, attempt, Exit::Signal(15), Some(reason)),
            step,
        },
        Effect::Lose {
            step,
            attempt,
            reason,
        } => Input::AttemptLost {
            step,
            attempt,
            reason,
            stored: 0,
        },
        Effect::AskWait { node } => Input::Waits {
            wait: Ok(if choice.is_multiple_of(2) {
                Wait::Time { ms: 20 }
            } else {
                Wait::Queue {
                    key: "k".to_owned(),
                    until: NodeId::from("p"),
                }
            }),
            node,
        },
        Effect::Queue { node, .. } => Input::Admitted {
            node,
            result: if bad { Err(failure()) } else { Ok(()) },
        },
        Effect::Wake { .. } => Input::Now,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_interleaving_ends_legally_and_is_its_own_fold(
        groups in trees(),
        choices in prop::collection::vec((any::<u8>(), any::<u8>()), 0..400),
        interrupt in prop::option::of((0..200usize, any::<bool>())),
    ) {
        let mut state = State::default();
        let mut journal: Vec<Stamped> = Vec::new();
        let mut now = 1_000;
        let create = Input::Create { run: "r".to_owned(), root: Box::new(root()) };
        journal.extend(advance(&mut state, create, now).unwrap());
        // After the choices the world is fair: it answers everything in turn, and well.
        let fair = (0..20_000usize).map(|n| (n as u8, 63 | 64));
        for (turn, (which, choice)) in choices.into_iter().chain(fair).enumerate() {
            if state.finished.is_some() {
                break;
            }
            now += u64::from(choice % 7);
            if let Some((at, kill)) = interrupt && turn == at {
                let interrupt = if kill { Interrupt::Kill } else { Interrupt::Abort };
                journal.extend(advance(&mut state, Input::Interrupt(interrupt), now).unwrap());
            }
            let effects = wanted(&state);
            prop_assert_eq!(&effects, &wanted(&state));
            prop_assert!(!effects.is_empty() || state.finished.is_some(), "nothing is wanted, and it is not over");
            let Some(effect) = effects.get(usize::from(which) % effects.len().max(1)) else {
                continue;
            };
            if let Effect::Wake { at_ms } = effect && effects.len() == 1 {
                now = now.max(*at_ms);
            }
            if let Some(input) = answer(&groups, effect, choice) {
                let events = advance(&mut state, input.clone(), now).unwrap();
                // Said again it means nothing new.
                prop_assert_eq!(decide(&state, Input::Now, now), vec![]);
                journal.extend(events);
                let again = advance(&mut state, input, now).unwrap();
                journal.extend(again);
            }
        }
        prop_assert!(state.finished.is_some(), "it did not end: {:#?}", wanted(&state));
        let mut folded = State::default();
        for stamped in &journal {
            evolve(&mut folded, stamped).unwrap();
        }
        prop_assert_eq!(&folded, &state);
        for stamped in &journal {
            let text = serde_json::to_string(stamped).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Stamped>(&text).unwrap(), stamped);
        }
        // No step is green without its record; every pod is removed or named as left.
        for (id, place) in &state.nodes {
            if place.status() == Some(Status::Success) && let Kind::Step(step) = &place.node.kind {
                let waits = step.runs() == Runs::Nowhere && place.waiting.is_some();
                prop_assert!(waits || matches!(place.end, Some(Ok(_))), "{id} is green without a record");
            }
        }
        prop_assert!(state.pods.values().all(|pod| !pod.phase.may_exist()));
        let starts = journal.iter().filter_map(|s| match &s.event {
            Event::AttemptStarting { step, attempt } => Some((step, attempt)),
            _ => None,
        });
        let mut starts: Vec<_> = starts.collect();
        let all = starts.len();
        starts.sort();
        starts.dedup();
        prop_assert_eq!(starts.len(), all);
    }

    #[test]
    fn a_batch_torn_anywhere_is_completed_with_the_same_words(
        groups in trees(),
        turns in 1..60usize,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut state = State::default();
        let create = Input::Create { run: "r".to_owned(), root: Box::new(root()) };
        advance(&mut state, create, 0).unwrap();
        for turn in 0..turns {
            let effects = wanted(&state);
            let Some(effect) = effects.get(turn % effects.len().max(1)) else {
                break;
            };
            let Some(input) = answer(&groups, effect, 127) else {
                continue;
            };
            let direct = decide(&state, input.clone(), 1).len();
            let mut torn = state.clone();
            let batch = advance(&mut state, input, 1).unwrap();
            if batch.len() > direct {
                let kept = direct + cut.index(batch.len() - direct);
                for stamped in &batch[..kept] {
                    evolve(&mut torn, stamped).unwrap();
                }
                let rest = advance(&mut torn, Input::Now, 1).unwrap();
                prop_assert_eq!(&rest, &batch[kept..]);
                prop_assert_eq!(&torn, &state);
            }
        }
    }
}
