//! A calm world: every pod comes up, and each attempt of a step ends as it is written.
#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;

use addon::frame::{Attempt, Exit, Record};
use engine::carry::{self, Carry};
use engine::event::{ErrorKind, Event, Failure, Interrupt, Intervention, Stamped, Status};
use engine::facts::Facts;
use engine::phase::Phase;
use engine::workspace::to_give;
use engine::{Effect, Input, State, Wishes, advance, wanted};
use pipeline::plan::{
    Action, Errors, Kind, Node, NodeId, ROLLBACK, Retry, Step, Strategy, When, WhenStatus,
};

/// How an attempt ends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    Code(i32),
    /// Killed for memory.
    Memory,
    /// Cannot be started, because of this.
    Cannot(ErrorKind),
    /// Runs until it is told to end.
    Runs,
    /// Of a pod: it is lost as soon as it is ready.
    Lost,
}

/// A node and what is in it.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    node: Node,
    children: Vec<Tree>,
    rollback: Vec<Tree>,
    ends: Vec<End>,
}

fn tree(name: &str, kind: Kind, children: Vec<Tree>) -> Tree {
    Tree {
        node: Node::new(NodeId(String::new()), kind, name, name),
        children,
        rollback: Vec::new(),
        ends: Vec::new(),
    }
}

/// A step whose attempts end so; the last one is for all that follow.
pub(crate) fn step(name: &str, ends: &[End]) -> Tree {
    let kind = Kind::Step(Step {
        r#type: "Run".to_owned(),
        background: false,
        container: Some(name.to_owned()),
    });
    Tree {
        ends: ends.to_vec(),
        ..tree(name, kind, Vec::new())
    }
}

pub(crate) fn good(name: &str) -> Tree {
    step(name, &[End::Code(0)])
}

pub(crate) fn bad(name: &str) -> Tree {
    step(name, &[End::Code(1)])
}

/// A containerized group.
pub(crate) fn group(name: &str, children: Vec<Tree>) -> Tree {
    let mut all = vec![tree("Initialize", Kind::Initialize, Vec::new())];
    all.extend(children);
    tree(name, Kind::StepGroup { pod: true }, all)
}

pub(crate) fn stage(name: &str, children: Vec<Tree>) -> Tree {
    tree(name, Kind::Stage("Custom".to_owned()), children)
}

pub(crate) fn parallel(name: &str, children: Vec<Tree>) -> Tree {
    tree(name, Kind::Parallel, children)
}

pub(crate) fn looped(name: &str, children: Vec<Tree>) -> Tree {
    tree(name, Kind::Loop, children)
}

impl Tree {
    pub(crate) fn when(mut self, status: WhenStatus, condition: Option<&str>) -> Self {
        let condition = condition.map(str::to_owned);
        self.node.when = Some(When {
            status: Some(status),
            condition,
        });
        self
    }

    /// One more strategy.
    pub(crate) fn on(mut self, errors: Errors, action: Action) -> Self {
        self.node.strategies.push(Strategy { errors, action });
        self
    }

    pub(crate) fn undone_by(mut self, rollback: Vec<Tree>) -> Self {
        self.node.rollback = true;
        self.rollback = rollback;
        self
    }

    /// A step group in another's pod.
    pub(crate) fn is_group(&mut self) {
        self.node.kind = Kind::StepGroup { pod: false };
    }

    /// A step of another type.
    pub(crate) fn of_type(mut self, r#type: &str) -> Self {
        if let Kind::Step(step) = &mut self.node.kind {
            r#type.clone_into(&mut step.r#type);
            step.background = r#type == "Background";
        }
        self
    }

    pub(crate) fn timeout(mut self, ms: u64) -> Self {
        self.node.timeout_ms = Some(ms);
        self
    }

    /// How its pods end, one after the other.
    pub(crate) fn initialize(&mut self, ends: &[End]) {
        if let Some(own) = self.children.first_mut() {
            own.ends = ends.to_vec();
        }
    }

    /// Its workspace is kept for another group; with an end that is not 0 that fails.
    pub(crate) fn handing_over(mut self, end: End) -> Self {
        self.node.hands_over = true;
        self.ends = vec![end];
        self
    }

    /// It begins with the workspace of the group of this id; with an end that is not 0 that fails.
    pub(crate) fn taking_over(mut self, group: &str, end: End) -> Self {
        self.node.takes_over = Some(NodeId::from(group));
        self.ends = vec![end];
        self
    }

    pub(crate) fn limit(mut self, limit: u32) -> Self {
        self.node.limit = Some(limit);
        self
    }

    pub(crate) fn skip_queued(mut self) -> Self {
        self.node.skip_queued = true;
        self
    }

    fn place(mut self, id: &str, into: &mut BTreeMap<NodeId, Self>) -> Self {
        let id = if id.is_empty() {
            self.node.identifier.clone()
        } else {
            format!("{id}.{}", self.node.identifier)
        };
        self.node.id = NodeId(id.clone());
        let below = |all: Vec<Self>, head: &str, into: &mut BTreeMap<NodeId, Self>| -> Vec<Self> {
            all.into_iter()
                .map(|child| child.place(head, into))
                .collect()
        };
        self.children = below(std::mem::take(&mut self.children), &id, into);
        let head = format!("{id}.{ROLLBACK}");
        self.rollback = below(std::mem::take(&mut self.rollback), &head, into);
        into.insert(self.node.id.clone(), self.clone());
        self
    }
}

pub(crate) fn retry(count: u32, intervals_ms: &[u64]) -> Retry {
    Retry {
        count,
        intervals_ms: intervals_ms.to_vec(),
        condition: None,
        then: None,
    }
}

/// What happened.
pub(crate) struct Ran {
    pub(crate) journal: Vec<Stamped>,
    pub(crate) state: State,
}

/// What a person asks, once a node is in this state: `Asking`, `Running`.
pub(crate) type Ask = (&'static str, &'static str, Intervention);

/// Runs stages to their end.
pub(crate) fn run(stages: Vec<Tree>) -> Ran {
    run_asking(stages, &[])
}

pub(crate) fn run_asking(stages: Vec<Tree>, asks: &[Ask]) -> Ran {
    run_wishing(stages, asks, Wishes::default())
}

/// With more than what is written.
pub(crate) fn run_wishing(stages: Vec<Tree>, asks: &[Ask], wishes: Wishes) -> Ran {
    let mut nodes = BTreeMap::new();
    let root = tree("p", Kind::Pipeline, stages).place("", &mut nodes);
    let mut ran = Ran {
        journal: Vec::new(),
        state: State::default(),
    };
    ran.tell(Input::Create {
        run: "r".to_owned(),
        root: Box::new(root.node.clone()),
        awake: None,
        wishes,
    });
    let mut asked = vec![false; asks.len()];
    for _ in 0..10_000 {
        if ran.state.finished.is_some() {
            return ran;
        }
        for ((node, phase, action), asked) in asks.iter().zip(&mut asked) {
            let id = id_of(&ran.state, node);
            let there = id
                .as_ref()
                .map(|id| format!("{:?}", ran.state.nodes[id].phase));
            if !*asked && there.as_deref() == Some(phase) {
                *asked = true;
                ran.tell(Input::Interrupt(Interrupt::Node {
                    node: id.expect("it is there"),
                    action: *action,
                }));
            }
        }
        if ran.state.finished.is_some() {
            return ran;
        }
        let effects = wanted(&ran.state);
        let input = effects
            .iter()
            .find_map(|effect| answer(&nodes, &ran.state, effect));
        let wake = effects.iter().find_map(|effect| match effect {
            Effect::Wake { at_ms } => Some(*at_ms),
            _ => None,
        });
        match (input, wake) {
            (Some(input), _) => ran.tell(input),
            (None, Some(at_ms)) => ran.tell_at(Input::Now, at_ms),
            (None, None) => panic!("nothing is to be done: {:#?}", ran.journal),
        }
    }
    panic!("it does not end");
}

fn id_of(state: &State, name: &str) -> Option<NodeId> {
    let mut all = state.nodes.keys();
    all.find(|id| id.0 == name || id.0.ends_with(&format!(".{name}")))
        .cloned()
}

impl Ran {
    fn tell(&mut self, input: Input) {
        let now = self.state.at_ms;
        self.tell_at(input, now);
    }

    fn tell_at(&mut self, input: Input, now: u64) {
        self.journal
            .extend(advance(&mut self.state, input, now).expect("a legal event"));
    }

    /// How a node ended.
    pub(crate) fn status(&self, name: &str) -> Status {
        let id = id_of(&self.state, name).unwrap_or_else(|| panic!("no {name}"));
        self.state.nodes[&id].status().expect("it is over")
    }

    /// Which attempts began, in order: `step` of the first, `step#1` of the second.
    pub(crate) fn began(&self) -> Vec<String> {
        let all = self
            .journal
            .iter()
            .filter_map(|stamped| match &stamped.event {
                Event::AttemptStarting { step, attempt } => {
                    let name = step.0.rsplit('.').next().unwrap_or_default();
                    Some(match attempt {
                        0 => name.to_owned(),
                        n => format!("{name}#{n}"),
                    })
                }
                _ => None,
            });
        all.collect()
    }

    /// When attempts of a step began, after the one before, milliseconds.
    pub(crate) fn waits(&self, name: &str) -> Vec<u64> {
        let times: Vec<u64> = self
            .journal
            .iter()
            .filter(|stamped| {
                matches!(&stamped.event, Event::AttemptStarting { step, .. } if step.0.ends_with(name))
            })
            .map(|stamped| stamped.at_ms)
            .collect();
        times.windows(2).map(|two| two[1] - two[0]).collect()
    }

    /// What a retry from this node takes over.
    pub(crate) fn carry(&self, from: &str) -> Result<Carry, carry::Refusal> {
        let mut facts = Facts::default();
        for stamped in &self.journal {
            facts.apply(stamped);
        }
        let from = id_of(&self.state, from).unwrap_or_else(|| NodeId::from(from));
        carry::plan(&self.state, &facts, &from)
    }

    /// The nodes that were carried, in order.
    pub(crate) fn carried(&self) -> Vec<String> {
        let all = self.journal.iter().filter_map(|own| match &own.event {
            Event::NodeCarried { node, .. } => node.0.strip_prefix("p.").map(str::to_owned),
            _ => None,
        });
        all.collect()
    }

    /// Pods that were made.
    pub(crate) fn pods(&self) -> usize {
        let made = |stamped: &&Stamped| matches!(stamped.event, Event::PodRequested { .. });
        self.journal.iter().filter(made).count()
    }

    /// How often an Initialize began again for another pod.
    pub(crate) fn again(&self) -> usize {
        let again = |stamped: &&Stamped| matches!(stamped.event, Event::InitializeAgain { .. });
        self.journal.iter().filter(again).count()
    }

    /// Why a node was skipped, or why it failed.
    pub(crate) fn why(&self, name: &str) -> String {
        let mut all = self.journal.iter().rev();
        let found = all.find_map(|stamped| match &stamped.event {
            Event::NodeFinished {
                node, failure, why, ..
            } if node.0.ends_with(&format!(".{name}")) => Some(
                why.clone()
                    .or_else(|| failure.as_ref().map(|own| own.message.clone()))
                    .unwrap_or_default(),
            ),
            _ => None,
        });
        found.unwrap_or_default()
    }
}

/// Whether the group's pod is one that is lost.
fn lost(nodes: &BTreeMap<NodeId, Tree>, state: &State, group: &NodeId) -> bool {
    let init = nodes.get(&NodeId(format!("{group}.Initialize")));
    let attempt = state.pods[group].attempt as usize;
    init.is_some_and(|init| init.ends.get(attempt) == Some(&End::Lost))
}

/// What becomes of a workspace on its way.
fn moved(end: &End) -> Result<u64, String> {
    match end {
        End::Code(0) => Ok(10_240),
        _ => Err("there is no room".to_owned()),
    }
}

fn answer(nodes: &BTreeMap<NodeId, Tree>, state: &State, effect: &Effect) -> Option<Input> {
    let record = |step: &NodeId, attempt: u32, exit, stopped, oom| Input::Finished {
        step: step.clone(),
        record: Box::new(Record {
            attempt: Attempt {
                run: "r".to_owned(),
                step: step.0.clone(),
                number: attempt,
            },
            exit,
            stopped,
            oom,
            started_ms: 1,
            ended_ms: 2,
            elapsed_ms: 1,
            cpu_ms: 0,
            peak_memory: 0,
            output_bytes: 0,
            outputs: Vec::new(),
            warnings: Vec::new(),
        }),
    };
    let end = |step: &NodeId, attempt: u32| {
        let ends = &nodes[step].ends;
        ends.get(attempt as usize)
            .or(ends.last())
            .cloned()
            .unwrap_or(End::Code(0))
    };
    Some(match effect.clone() {
        Effect::Expand { node } => {
            let undone = node.0.strip_suffix(&format!(".{ROLLBACK}"));
            let children = match undone {
                Some(of) => &nodes[&NodeId::from(of)].rollback,
                None => &nodes[&node].children,
            };
            Input::Expanded {
                children: Ok(children.iter().map(|child| child.node.clone()).collect()),
                node,
            }
        }
        Effect::Judge { node, condition } => Input::Judged {
            node,
            answer: match condition.as_str() {
                "yes" => Ok(true),
                "no" => Ok(false),
                _ => Err(failure(ErrorKind::ConfigurationFailure)),
            },
        },
        Effect::NamePod { group, attempt } => Input::PodNamed {
            pod: Ok(format!("{group}-{attempt}")),
            group,
        },
        Effect::MakePod { group, pod } => {
            let init = nodes[&NodeId(format!("{group}.Initialize"))].ends.clone();
            let attempt = state.pods[&group].attempt as usize;
            match init.get(attempt) {
                Some(End::Cannot(error)) => Input::PodFailed {
                    group,
                    pod,
                    failure: failure(*error),
                },
                _ if to_give(state, &group).is_some() => Input::WorkspaceGiven {
                    result: moved(&end(&group, 0)),
                    group,
                    pod,
                },
                _ => Input::PodReady { group, pod },
            }
        }
        Effect::KeepWorkspace { group, pod } => Input::WorkspaceKept {
            result: moved(&end(&group, 0)),
            group,
            pod,
        },
        Effect::KeepPod { group, pod } if lost(nodes, state, &group) => Input::PodLost {
            group,
            pod,
            reason: "taken".to_owned(),
        },
        Effect::Prepare { step, .. }
            if state.nodes[&step]
                .group
                .as_ref()
                .is_some_and(|group| lost(nodes, state, group)) =>
        {
            return None;
        }
        Effect::DeletePod { group, pod } => Input::PodDeleted { group, pod },
        Effect::Prepare { step, attempt } => match end(&step, attempt) {
            End::Cannot(error) => Input::StartFailed {
                failure: failure(error),
                step,
                attempt,
            },
            _ => Input::Starting { step, attempt },
        },
        Effect::Start { step, attempt } => Input::Started {
            step,
            attempt,
            started_ms: 1,
        },
        Effect::Stop {
            step,
            attempt,
            reason,
            ..
        } if matches!(state.nodes[&step].phase, Phase::Running | Phase::Ready) => {
            record(&step, attempt, Exit::Signal(15), Some(reason), false)
        }
        Effect::Follow { step, attempt } => match end(&step, attempt) {
            End::Code(code) => record(&step, attempt, Exit::Code(code), None, false),
            End::Memory => record(&step, attempt, Exit::Signal(9), None, true),
            // A Background step is ready at once.
            End::Runs
                if state.nodes[&step].is_background()
                    && state.nodes[&step].phase == Phase::Running =>
            {
                Input::Ready {
                    step,
                    attempt,
                    warning: None,
                }
            }
            End::Cannot(_) | End::Runs | End::Lost => return None,
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
        Effect::KeepPod { .. }
        | Effect::Stop { .. }
        | Effect::AskWait { .. }
        | Effect::Queue { .. }
        | Effect::Wake { .. } => return None,
    })
}

pub(crate) fn failure(error: ErrorKind) -> Failure {
    Failure {
        error,
        message: format!("{error:?}"),
        help: None,
    }
}

/// A group whose Initialize ends so, pod by pod.
pub(crate) fn initialized(mut group: Tree, ends: &[End]) -> Tree {
    group.children[0].ends = ends.to_vec();
    group
}
