//! How many state changes a second the engine decides and folds on one core.
//!
//! `cargo bench -p engine --bench changes` prints a line for each run: one step after the other, a loop of 10,000 that takes turns in
//! 50 containers, 1,000 steps at once. Counted are events; each is decided, folded and followed to what follows from it.

#![expect(clippy::disallowed_methods, reason = "it measures")]

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use addon::frame::{Attempt, Exit, Record};
use engine::event::{Event, Stamped};
use engine::{Input, State, advance, wanted};
use pipeline::plan::{Iteration, Kind, Node, NodeId, Step};

/// What stands in the one group of the one stage.
struct Shape {
    name: &'static str,
    steps: u32,
    /// Side by side: so many at once.
    limit: Option<u32>,
    looping: bool,
}

const SHAPES: [Shape; 3] = [
    Shape {
        name: "10,000 steps, one after the other",
        steps: 10_000,
        limit: Some(1),
        looping: false,
    },
    Shape {
        name: "a loop of 10,000, 50 at once",
        steps: 10_000,
        limit: Some(50),
        looping: true,
    },
    Shape {
        name: "1,000 steps at once",
        steps: 1_000,
        limit: None,
        looping: true,
    },
];

const STAGE: &str = "stages.build";
const GROUP: &str = "stages.build.steps.pod";

fn step(id: String) -> Node {
    let kind = Kind::Step(Step {
        r#type: "Run".to_owned(),
        background: false,
        container: Some("step-run".to_owned()),
    });
    Node {
        timeout_ms: Some(600_000),
        ..Node::new(NodeId(id), kind, "run", "Run")
    }
}

impl Shape {
    /// The children of a node.
    fn children(&self, node: &NodeId) -> Vec<Node> {
        let id = node.0.as_str();
        match id {
            "pipeline" => vec![Node::new(
                STAGE.into(),
                Kind::Stage("Custom".to_owned()),
                "build",
                "build",
            )],
            STAGE => vec![Node::new(
                GROUP.into(),
                Kind::StepGroup { pod: true },
                "pod",
                "pod",
            )],
            GROUP => {
                let ready = NodeId(format!("{GROUP}.Initialize"));
                let mut all = vec![Node::new(ready, Kind::Initialize, "", "Initialize")];
                if self.looping {
                    all.push(Node {
                        limit: self.limit,
                        slots: self.limit,
                        ..Node::new(
                            NodeId(format!("{GROUP}.steps.run")),
                            Kind::Loop,
                            "run",
                            "Run",
                        )
                    });
                } else {
                    all.extend((0..self.steps).map(|at| step(format!("{GROUP}.steps.run{at}"))));
                }
                all
            }
            _ => (0..self.steps)
                .map(|at| Node {
                    iteration: Some(Box::new(Iteration {
                        index: at,
                        total: self.steps,
                        suffix: format!("_{at}"),
                        ..Iteration::default()
                    })),
                    ..step(format!("{id}.run_{at}"))
                })
                .collect(),
        }
    }

    /// Runs it, every answer at once; gives the number of events.
    fn run(&self, ask_wanted: bool) -> usize {
        let mut state = State::default();
        let mut inputs = VecDeque::from([Input::Create {
            run: "bench".to_owned(),
            root: Box::new(Node::new("pipeline".into(), Kind::Pipeline, "p", "p")),
            awake: None,
            wishes: engine::Wishes::default(),
        }]);
        let (mut count, mut now) = (0, 1_000_000);
        loop {
            let left = || Input::PodDeleted {
                group: GROUP.into(),
                pod: "pod".to_owned(),
            };
            // Where nothing more is answered only the pod is left.
            let input = match inputs.pop_front() {
                None if state.finished.is_some() => return count,
                other => other.unwrap_or_else(left),
            };
            now += 1;
            let events = advance(&mut state, input, now).expect("legal");
            count += events.len();
            for Stamped { event, .. } in events {
                inputs.extend(self.answer(&state, event));
            }
            if ask_wanted {
                std::hint::black_box(wanted(&state));
            }
        }
    }

    /// What the world says to an event.
    fn answer(&self, state: &State, event: Event) -> Option<Input> {
        Some(match event {
            Event::NodeStarted { node } => match state.nodes[&node].node.kind {
                Kind::Step(_) => Input::Starting {
                    step: node,
                    attempt: 0,
                },
                Kind::Initialize => Input::PodNamed {
                    group: GROUP.into(),
                    pod: Ok("pod".to_owned()),
                },
                _ => Input::Expanded {
                    children: Ok(self.children(&node)),
                    node,
                },
            },
            Event::PodRequested { group, pod, .. } => Input::PodReady { group, pod },
            Event::AttemptStarting { step, attempt } => Input::Started {
                step,
                attempt,
                started_ms: 1,
            },
            Event::AttemptStarted { step, attempt, .. } => Input::Finished {
                record: Box::new(Record {
                    attempt: Attempt {
                        run: "bench".to_owned(),
                        step: step.0.clone(),
                        number: attempt,
                    },
                    exit: Exit::Code(0),
                    stopped: None,
                    oom: false,
                    started_ms: 1,
                    ended_ms: 2,
                    elapsed_ms: 1,
                    cpu_ms: 0,
                    peak_memory: 0,
                    output_bytes: 0,
                    outputs: Vec::new(),
                    warnings: Vec::new(),
                }),
                step,
            },
            _ => return None,
        })
    }
}

/// How long this thread has had a processor: what else runs on the machine does not count. Where the system does not say, the time.
fn on_a_core() -> Duration {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat");
    let spent = told.ok().and_then(|text| {
        let nanos = text.split(' ').next()?.parse().ok()?;
        Some(Duration::from_nanos(nanos))
    });
    spent.unwrap_or_else(|| BEGAN.get_or_init(Instant::now).elapsed())
}

fn main() {
    for shape in SHAPES {
        for (ask_wanted, with) in [(false, ""), (true, ", and what is wanted asked after each")] {
            let start = on_a_core();
            let count = shape.run(ask_wanted);
            let took = on_a_core().saturating_sub(start).as_secs_f64();
            println!(
                "{:9.0} changes a second  {}{with} ({count} in {:.0} ms)",
                count as f64 / took,
                shape.name,
                took * 1e3
            );
        }
    }
}
