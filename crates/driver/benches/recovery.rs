//! How long a driver takes to take a long run over: its journal is read, each record is checked and folded.
//!
//! `cargo bench -p driver --bench recovery` prints the median and the worst of some rounds over 100,000 records.

use std::sync::Arc;
use std::time::{Duration, Instant};

use addon::frame::{Attempt, Exit, Record, Start};
use driver::backend::ImageFacts;
use driver::clock::Begun;
use driver::core::Core;
use driver::journal::{self, Journal};
use driver::planner::Planner;
use engine::event::{Event, Failure, Stamped, Status, VERSION};
use engine::facts::Facts;
use pipeline::plan::{Kind, Node, NodeId, Step, Wait};
use pipeline::pod;

const RECORDS: usize = 100_000;
const ROUNDS: usize = 15;
/// Steps of one loop.
const STEPS: u32 = 1_000;

/// Nobody asks it anything until the run is taken over.
struct Silent;

impl Planner for Silent {
    fn root(&self) -> Node {
        unreachable!("the run is there")
    }
    fn expand(&self, _: &NodeId, _: &Facts) -> Result<Vec<Node>, Failure> {
        unreachable!("nothing is done")
    }
    fn judge(&self, _: &NodeId, _: &str, _: &Facts) -> Result<bool, Failure> {
        unreachable!("nothing is done")
    }
    fn pod(&self, _: &NodeId, _: &Facts, _: &str) -> Result<pod::Spec, Failure> {
        unreachable!("nothing is done")
    }
    fn start(&self, _: &NodeId, _: u32, _: &Facts, _: &ImageFacts) -> Result<Start, Failure> {
        unreachable!("nothing is done")
    }
    fn wait(&self, _: &NodeId, _: &Facts) -> Result<Wait, Failure> {
        unreachable!("nothing is done")
    }
    fn reports(&self, _: &NodeId, _: &Facts) -> Vec<String> {
        unreachable!("nothing is done")
    }
}

/// A run of loops, one after the other, each with a thousand steps that succeed, in the middle of which its driver ends.
fn events() -> Vec<Stamped> {
    let (stage, group) = (NodeId("stages.s".to_owned()), "stages.s.steps.g");
    let started = |node: &NodeId| Event::NodeStarted { node: node.clone() };
    let finished = |node: NodeId| Event::NodeFinished {
        node,
        status: Status::Success,
        failure: None,
        why: None,
    };
    let root = Node::new("pipeline".into(), Kind::Pipeline, "p", "p");
    let pod = NodeId(group.to_owned());
    let initialize = NodeId(format!("{group}.Initialize"));
    let loops = RECORDS / (STEPS as usize * 5) + 1;
    let mut children = vec![Node::new(
        initialize.clone(),
        Kind::Initialize,
        "",
        "Initialize",
    )];
    let id = |at: usize| NodeId(format!("{group}.steps.run{at}"));
    children.extend((0..loops).map(|at| Node::new(id(at), Kind::Loop, "run", "Run")));
    let mut all = vec![
        Event::RunCreated {
            version: VERSION,
            run: "bench".to_owned(),
            root: root.clone(),
            carried: None,
            keep_ms: None,
        },
        Event::Adopted {
            epoch: 1,
            awake: None,
        },
        started(&root.id),
        Event::Expanded {
            node: root.id,
            children: vec![Node::new(
                stage.clone(),
                Kind::Stage("Custom".to_owned()),
                "s",
                "s",
            )],
        },
        started(&stage),
        Event::Expanded {
            node: stage,
            children: vec![Node::new(
                pod.clone(),
                Kind::StepGroup { pod: true },
                "g",
                "g",
            )],
        },
        started(&pod),
        Event::Expanded {
            node: pod.clone(),
            children,
        },
        started(&initialize),
        Event::PodRequested {
            group: pod.clone(),
            pod: "pod".to_owned(),
            attempt: 0,
        },
        Event::PodReady { group: pod },
        finished(initialize),
    ];
    for at in 0..loops {
        let around = id(at);
        let own = |number: u32| NodeId(format!("{around}.run_{number}"));
        all.push(started(&around));
        let step = |number| {
            let kind = Kind::Step(Step {
                r#type: "Run".to_owned(),
                background: false,
                container: Some("step-run".to_owned()),
            });
            Node::new(own(number), kind, "run", "Run")
        };
        all.push(Event::Expanded {
            node: around.clone(),
            children: (0..STEPS).map(step).collect(),
        });
        for number in 0..STEPS {
            let (step, attempt) = (own(number), 0);
            all.push(started(&step));
            all.push(Event::AttemptStarting {
                step: step.clone(),
                attempt,
            });
            all.push(Event::AttemptStarted {
                step: step.clone(),
                attempt,
                started_ms: 1,
            });
            all.push(Event::AttemptFinished {
                step: step.clone(),
                record: record(&step),
            });
            all.push(finished(step));
        }
        all.push(finished(around));
    }
    all.truncate(RECORDS);
    let stamp = |(at, event)| Stamped {
        at_ms: at as u64,
        event,
    };
    all.into_iter().enumerate().map(stamp).collect()
}

fn record(step: &NodeId) -> Box<Record> {
    Box::new(Record {
        attempt: Attempt {
            run: "bench".to_owned(),
            step: step.0.clone(),
            number: 0,
        },
        exit: Exit::Code(0),
        stopped: None,
        oom: false,
        started_ms: 1,
        ended_ms: 2,
        elapsed_ms: 1,
        cpu_ms: 1,
        peak_memory: 1 << 20,
        output_bytes: 100,
        outputs: Vec::new(),
        warnings: Vec::new(),
    })
}

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("journal");
    let events = events();
    assert_eq!(events.len(), RECORDS);
    let mut journal = Journal::create(&path).expect("a journal");
    for batch in events.chunks(8) {
        journal.append(batch).expect("written");
    }
    drop(journal);
    let bytes = std::fs::metadata(&path).expect("it is there").len();
    let planner: Arc<dyn Planner> = Arc::new(Silent);
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Begun {
                run_ms: 1_000_000,
                awake: None,
            };
            let start = Instant::now();
            let events = journal::read(&path).expect("it can be read");
            let core = Core::resume(&events, planner.clone(), 1, &begun, |_, _| 0).expect("legal");
            let took = start.elapsed();
            assert_eq!(core.state().epoch, 2);
            took
        })
        .collect();
    times.sort();
    println!(
        "recovery of {RECORDS} records ({} kB): median {:.1} ms, worst {:.1} ms of {ROUNDS}",
        bytes / 1000,
        times[ROUNDS / 2].as_secs_f64() * 1e3,
        times[ROUNDS - 1].as_secs_f64() * 1e3,
    );
}
