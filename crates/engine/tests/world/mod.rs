//! Trees to run, and a world that answers.

use addon::frame::{Attempt, Exit, Record, StopReason};
use engine::event::{ErrorKind, Failure};
use engine::{Effect, Input, State};
use pipeline::plan::{
    Action, Errors, Iteration, Kind, Node, NodeId, ROLLBACK, Retry, Step, Strategy as Entry, Wait,
    When, WhenStatus,
};
use proptest::prelude::*;

/// A tree to run.
#[derive(Debug, Clone)]
pub(crate) enum Tree {
    Step {
        background: bool,
        timeout: bool,
        exit: i32,
    },
    /// A process of the delegate, or one that waits.
    Own {
        kind: &'static str,
        timeout: bool,
    },
    Sequence(Vec<Leaf>),
    Parallel(Vec<Leaf>),
    /// So many of the step, so many at once, perhaps taking turns in containers.
    Loop(Box<Leaf>, u32, Option<u32>, bool),
}

/// Types of steps that are in no container.
const KINDS: [&str; 3] = ["ShellScript", "Wait", "Queue"];

/// A tree and what the format says of it.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    tree: Tree,
    when: Option<When>,
    strategies: Vec<Entry>,
}

/// A pipeline of stages, each of one group and perhaps rollback steps.
#[derive(Debug, Clone)]
pub(crate) struct Trees(Vec<Stage>);

#[derive(Debug, Clone)]
struct Stage {
    group: Leaf,
    trees: Vec<Leaf>,
    rollback: Option<Vec<Leaf>>,
    group_rollback: Option<Vec<Leaf>>,
    when: Option<When>,
    strategies: Vec<Entry>,
    timeout: bool,
}

fn actions() -> impl Strategy<Value = Action> {
    let plain = prop_oneof![
        Just(Action::Ignore),
        Just(Action::MarkAsSuccess),
        Just(Action::MarkAsFailure),
        Just(Action::StageRollback),
        Just(Action::StepGroupRollback),
        Just(Action::PipelineRollback),
        Just(Action::ProceedWithDefaultValues),
        Just(Action::Abort),
    ];
    plain.prop_recursive(2, 4, 1, |inner| {
        let retry = (0..3_u32, prop::option::of("[yn]"), prop::option::of(inner.clone()));
        let retry = retry.prop_map(|(count, condition, then)| Retry {
            count,
            intervals_ms: vec![0, 20],
            condition,
            then: then.map(Box::new),
        });
        prop_oneof![
            2 => retry.clone().prop_map(Action::Retry),
            1 => retry.prop_map(Action::RetryStepGroup),
            1 => inner.prop_map(|then| Action::ManualIntervention { timeout_ms: 500, then: Box::new(then) }),
        ]
    })
}

fn strategies() -> impl Strategy<Value = Vec<Entry>> {
    let errors = prop_oneof![
        2 => Just(Errors::All),
        1 => prop::sample::subsequence(ErrorKind::ALL.to_vec(), 1..4).prop_map(Errors::These),
    ];
    let entry = (errors, actions()).prop_map(|(errors, action)| Entry { errors, action });
    prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec(entry, 1..3),
    ]
}

fn whens() -> impl Strategy<Value = Option<When>> {
    let status = prop_oneof![
        Just(None),
        Just(Some(WhenStatus::Success)),
        Just(Some(WhenStatus::Failure)),
        Just(Some(WhenStatus::All)),
    ];
    prop::option::weighted(
        0.3,
        (status, prop::option::of("[ynb]"))
            .prop_map(|(status, condition)| When { status, condition }),
    )
}

fn leaf(tree: impl Strategy<Value = Tree> + 'static) -> impl Strategy<Value = Leaf> {
    (tree, whens(), strategies()).prop_map(|(tree, when, strategies)| Leaf {
        tree,
        when,
        strategies,
    })
}

fn leaves() -> impl Strategy<Value = Leaf> {
    let step = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.3)).prop_map(
        |(background, timeout, fails)| Tree::Step {
            background: background && timeout,
            timeout,
            exit: i32::from(fails),
        },
    );
    let own = (prop::sample::select(&KINDS[..]), any::<bool>())
        .prop_map(|(kind, timeout)| Tree::Own { kind, timeout });
    leaf(prop_oneof![4 => step, 1 => own]).prop_recursive(2, 10, 3, |inner| {
        let own = (
            inner.clone(),
            0..5_u32,
            prop::option::of(1..3_u32),
            any::<bool>(),
        );
        leaf(prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Tree::Sequence),
            prop::collection::vec(inner, 0..3).prop_map(Tree::Parallel),
            own.prop_map(|(body, times, limit, turns)| Tree::Loop(
                Box::new(body),
                times,
                limit,
                turns
            )),
        ])
        .boxed()
    })
}

pub(crate) fn trees() -> impl Strategy<Value = Trees> {
    let trees = || prop::collection::vec(leaves(), 0..4);
    let stage = (
        leaf(Just(Tree::Sequence(Vec::new()))),
        trees(),
        prop::option::of(trees()),
        prop::option::of(trees()),
        whens(),
        strategies(),
        prop::bool::weighted(0.2),
    );
    let stage = stage.prop_map(
        |(group, trees, rollback, group_rollback, when, strategies, timeout)| Stage {
            group,
            trees,
            rollback,
            group_rollback,
            when,
            strategies,
            timeout,
        },
    );
    prop::collection::vec(stage, 1..3).prop_map(Trees)
}

pub(crate) fn root() -> Node {
    Node::new("p".into(), Kind::Pipeline, "p", "p")
}

fn node(id: &str, kind: Kind) -> Node {
    Node::new(id.into(), kind, id, id)
}

/// The engine makes the id of what undoes a node with a dot.
fn path(id: &NodeId) -> String {
    id.0.replace(&format!(".{ROLLBACK}"), &format!("/{ROLLBACK}"))
}

impl Leaf {
    fn node(&self, id: &str) -> Node {
        let kind = match &self.tree {
            Tree::Step { background, .. } => Kind::Step(Step {
                r#type: "Run".to_owned(),
                background: *background,
                container: Some(id.to_owned()),
            }),
            Tree::Own { kind, .. } => Kind::Step(Step {
                r#type: (*kind).to_owned(),
                background: false,
                container: (*kind == "ShellScript").then(|| id.to_owned()),
            }),
            Tree::Sequence(_) => Kind::StepGroup { pod: false },
            Tree::Parallel(_) => Kind::Parallel,
            Tree::Loop(..) => Kind::Loop,
        };
        let mut node = node(id, kind);
        match &self.tree {
            Tree::Step { timeout, .. } | Tree::Own { timeout, .. } => {
                node.timeout_ms = timeout.then_some(50);
            }
            Tree::Loop(body, times, limit, turns) => {
                node.limit = *limit;
                // A Background step keeps its container to the end: nobody can take its turn there.
                let served = body.any(&Leaf::is_background);
                node.slots = limit
                    .filter(|_| *turns)
                    .map(|limit| if served { *times } else { limit });
                node.skip_queued = *turns;
                return node;
            }
            Tree::Parallel(_) => return node,
            Tree::Sequence(_) => {}
        }
        node.when.clone_from(&self.when);
        node.strategies.clone_from(&self.strategies);
        node
    }

    fn is_background(&self) -> bool {
        matches!(
            self.tree,
            Tree::Step {
                background: true,
                ..
            }
        )
    }

    fn below(&self, part: &str) -> &Leaf {
        match &self.tree {
            Tree::Sequence(inner) | Tree::Parallel(inner) => &inner[part.parse::<usize>().unwrap()],
            Tree::Loop(body, ..) => body,
            Tree::Step { .. } | Tree::Own { .. } => panic!("a step has nothing in it"),
        }
    }

    fn any(&self, what: &dyn Fn(&Leaf) -> bool) -> bool {
        what(self)
            || match &self.tree {
                Tree::Sequence(inner) | Tree::Parallel(inner) => {
                    inner.iter().any(|own| own.any(what))
                }
                Tree::Loop(body, ..) => body.any(what),
                Tree::Step { .. } | Tree::Own { .. } => false,
            }
    }
}

impl Trees {
    /// The tree at an id: `p/STAGE/g/…` of a group, `p/STAGE/rollbackSteps/…`.
    fn at(&self, id: &NodeId) -> Option<&Leaf> {
        let path = path(id);
        let mut parts = path.split('/').skip(1);
        let stage = &self.0[parts.next()?.parse::<usize>().ok()?];
        let mut trees = match parts.next()? {
            "g" => &stage.trees,
            _ => stage.rollback.as_ref()?,
        };
        let mut part = parts.next()?;
        if part == ROLLBACK {
            trees = stage.group_rollback.as_ref()?;
            part = parts.next()?;
        }
        let mut leaf = &trees[part.parse::<usize>().ok()?];
        for part in parts {
            leaf = leaf.below(part);
        }
        Some(leaf)
    }

    fn all(&self) -> impl Iterator<Item = &Leaf> {
        self.0.iter().flat_map(|stage| {
            let more = stage.rollback.iter().chain(&stage.group_rollback).flatten();
            stage.trees.iter().chain(more).chain([&stage.group])
        })
    }

    /// A Background step is in it: when it ends does depend on who is faster.
    pub(crate) fn has_background(&self) -> bool {
        self.all().any(|leaf| leaf.any(&Leaf::is_background))
    }

    /// What is beside a failure sees whether its surroundings are ending already.
    pub(crate) fn has_waiting(&self) -> bool {
        let waits = |entries: &[Entry]| entries.iter().any(|own| waits(&own.action));
        self.all()
            .any(|leaf| leaf.any(&|own| waits(&own.strategies)))
            || self
                .0
                .iter()
                .any(|stage| waits(&stage.strategies) || stage.timeout)
    }

    fn children(&self, id: &NodeId) -> Vec<Node> {
        let listed = |head: &str, trees: &[Leaf]| -> Vec<Node> {
            let all = trees.iter().enumerate();
            all.map(|(at, leaf)| leaf.node(&format!("{head}/{at}")))
                .collect()
        };
        let path = path(id);
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match parts.as_slice() {
            [] => (0..self.0.len())
                .map(|at| {
                    let own = &self.0[at];
                    Node {
                        when: own.when.clone(),
                        strategies: own.strategies.clone(),
                        rollback: own.rollback.is_some(),
                        timeout_ms: own.timeout.then_some(90),
                        ..node(&format!("p/{at}"), Kind::Stage("Custom".to_owned()))
                    }
                })
                .collect(),
            [stage] => {
                let own = &self.0[stage.parse::<usize>().unwrap()];
                vec![Node {
                    when: own.group.when.clone(),
                    strategies: own.group.strategies.clone(),
                    rollback: own.group_rollback.is_some(),
                    ..node(&format!("{id}/g"), Kind::StepGroup { pod: true })
                }]
            }
            [stage, "g"] => {
                let own = &self.0[stage.parse::<usize>().unwrap()];
                let mut all = vec![node(&format!("{id}/init"), Kind::Initialize)];
                all.extend(listed(&id.0, &own.trees));
                all
            }
            [stage, ROLLBACK] => {
                let own = &self.0[stage.parse::<usize>().unwrap()];
                listed(&id.0, own.rollback.as_deref().unwrap_or_default())
            }
            [stage, "g", ROLLBACK] => {
                let own = &self.0[stage.parse::<usize>().unwrap()];
                listed(&id.0, own.group_rollback.as_deref().unwrap_or_default())
            }
            _ => match &self.at(id).expect("it is there").tree {
                Tree::Sequence(inner) | Tree::Parallel(inner) => listed(&id.0, inner),
                Tree::Loop(body, times, ..) => (0..*times)
                    .map(|at| Node {
                        iteration: Some(Box::new(Iteration {
                            index: at,
                            total: *times,
                            suffix: format!("_{at}"),
                            ..Iteration::default()
                        })),
                        ..body.node(&format!("{id}/{at}"))
                    })
                    .collect(),
                Tree::Step { .. } | Tree::Own { .. } => panic!("a step expands"),
            },
        }
    }

    /// The one answer to an effect that depends on what it is about alone.
    pub(crate) fn faithful(&self, state: &State, effect: &Effect) -> Option<Input> {
        match effect {
            Effect::Follow { step, attempt } => {
                let place = &state.nodes[step];
                let exit = match self.at(step).map(|leaf| &leaf.tree) {
                    Some(Tree::Step { exit, .. }) => *exit,
                    _ => 0,
                };
                if place.is_background() {
                    return answer(self, effect, 126);
                }
                Some(Input::Finished {
                    record: record(step, *attempt, Exit::Code(exit), None),
                    step: step.clone(),
                })
            }
            _ => answer(self, effect, 127),
        }
    }
}

fn waits(action: &Action) -> bool {
    !matches!(
        action,
        Action::Ignore
            | Action::MarkAsSuccess
            | Action::MarkAsFailure
            | Action::ProceedWithDefaultValues
    )
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
pub(crate) fn answer(trees: &Trees, effect: &Effect, choice: u8) -> Option<Input> {
    let bad = choice < 12;
    Some(match effect.clone() {
        Effect::Expand { node } => Input::Expanded {
            children: if bad {
                Err(failure())
            } else {
                Ok(trees.children(&node))
            },
            node,
        },
        Effect::Judge { node, condition } => Input::Judged {
            node,
            answer: match condition.as_str() {
                "y" => Ok(true),
                "n" => Ok(false),
                _ => Err(failure()),
            },
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
        Effect::KeepWorkspace { group, pod } => Input::WorkspaceKept {
            group,
            pod,
            result: if bad { Err("full".to_owned()) } else { Ok(1) },
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
            record: record(&step, attempt, Exit::Code(i32::from(choice == 61)), None),
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
