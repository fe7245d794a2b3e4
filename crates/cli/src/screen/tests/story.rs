//! Recorded runs, told as stories.

use addon::frame::{Attempt, Exit, Record};
use driver::backend::{EventKind, PodEvent};
use engine::event::{ErrorKind, Event, Failure, Interrupt, Stamped, Status};
use pipeline::plan::{Kind, Node, NodeId, Order, Step};

use super::super::view::{Seen, View};

/// Milliseconds since the Unix epoch at which the stories begin: 10:00:00 UTC of some day.
const DAWN: u64 = 1_763_978_400_000;

/// What is seen of a run, in order.
#[derive(Default)]
pub(super) struct Story {
    now: u64,
    pub(super) seen: Vec<Seen>,
}

fn node(id: &str, kind: Kind, name: &str, order: Order) -> Node {
    let identifier = id.rsplit('.').next().unwrap_or(id);
    let identifier = if kind == Kind::Parallel {
        ""
    } else {
        identifier
    };
    Node {
        order,
        ..Node::new(id.into(), kind, identifier, name)
    }
}

pub(super) fn stage(id: &str, name: &str) -> Node {
    node(id, Kind::Stage("Custom".to_owned()), name, Order::Sequence)
}

pub(super) fn group(id: &str, name: &str) -> Node {
    node(id, Kind::StepGroup { pod: true }, name, Order::Sequence)
}

pub(super) fn parallel(id: &str) -> Node {
    node(id, Kind::Parallel, "", Order::Parallel)
}

pub(super) fn init(id: &str) -> Node {
    node(id, Kind::Initialize, "Initialize", Order::Sequence)
}

pub(super) fn step(id: &str, name: &str) -> Node {
    let last = id.rsplit('.').next().unwrap_or(id);
    let step = Step {
        r#type: "Run".to_owned(),
        background: false,
        container: Some(format!("step-{last}")),
    };
    node(id, Kind::Step(step), name, Order::Sequence)
}

pub(super) fn background(id: &str, name: &str) -> Node {
    let mut node = step(id, name);
    if let Kind::Step(step) = &mut node.kind {
        step.background = true;
    }
    node
}

pub(super) fn story(name: &str) -> Story {
    let mut story = Story {
        now: DAWN,
        seen: Vec::new(),
    };
    let mut root = node("pipeline", Kind::Pipeline, name, Order::Sequence);
    root.identifier = name.to_lowercase().replace(' ', "_");
    story.event(Event::RunCreated {
        version: 1,
        run: "7bk3fm2xqz".to_owned(),
        root,
        carried: None,
        keep_ms: None,
    });
    story.event(Event::Adopted {
        epoch: 1,
        awake: None,
    });
    story.start("pipeline");
    story
}

impl Story {
    pub(super) fn event(&mut self, event: Event) -> &mut Self {
        let stamped = Stamped {
            at_ms: self.now,
            event,
        };
        self.seen.push(Seen::Event(Box::new(stamped)));
        self
    }

    pub(super) fn wait(&mut self, ms: u64) -> &mut Self {
        self.now += ms;
        self
    }

    pub(super) fn start(&mut self, id: &str) -> &mut Self {
        self.event(Event::NodeStarted { node: id.into() })
    }

    pub(super) fn expand(&mut self, id: &str, children: Vec<Node>) -> &mut Self {
        self.event(Event::Expanded {
            node: id.into(),
            children,
        })
    }

    pub(super) fn enter(&mut self, id: &str, children: Vec<Node>) -> &mut Self {
        self.start(id).expand(id, children)
    }

    pub(super) fn end(&mut self, id: &str, status: Status) -> &mut Self {
        self.event(Event::NodeFinished {
            node: id.into(),
            status,
            failure: None,
            why: None,
        })
    }

    pub(super) fn fail(&mut self, id: &str, message: &str, help: Option<&str>) -> &mut Self {
        let failure = Some(Failure {
            error: ErrorKind::Unknown,
            message: message.to_owned(),
            help: help.map(str::to_owned),
        });
        self.event(Event::NodeFinished {
            node: id.into(),
            status: Status::Failed,
            failure,
            why: None,
        })
    }

    pub(super) fn pod(
        &mut self,
        group: &str,
        container: &str,
        reason: &str,
        message: &str,
    ) -> &mut Self {
        let kind = if reason == "Warning" {
            EventKind::Warning
        } else {
            EventKind::Normal
        };
        let container = (!container.is_empty()).then(|| container.to_owned());
        let event = PodEvent {
            at_ms: self.now,
            container,
            kind,
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        self.seen.push(Seen::Pod {
            group: group.into(),
            event,
        });
        self
    }

    pub(super) fn run(&mut self, id: &str) -> &mut Self {
        self.start(id);
        let at = self.now;
        self.event(Event::AttemptStarting {
            step: id.into(),
            attempt: 0,
        });
        self.wait(2).event(Event::AttemptStarted {
            step: id.into(),
            attempt: 0,
            started_ms: at,
        })
    }

    pub(super) fn says(&mut self, id: &str, text: &str) -> &mut Self {
        let bytes = text.as_bytes().to_vec();
        self.seen.push(Seen::Output {
            step: id.into(),
            at_ms: self.now,
            bytes,
        });
        self
    }

    pub(super) fn record(&mut self, id: &str, change: impl FnOnce(&mut Record)) -> &mut Self {
        let mut record = Record {
            attempt: Attempt {
                run: "7bk3fm2xqz".to_owned(),
                step: id.to_owned(),
                number: 0,
            },
            exit: Exit::Code(0),
            stopped: None,
            oom: false,
            started_ms: self.now,
            ended_ms: self.now,
            elapsed_ms: 0,
            cpu_ms: 840,
            peak_memory: 12_897_485,
            output_bytes: 0,
            outputs: Vec::new(),
            warnings: Vec::new(),
        };
        change(&mut record);
        self.event(Event::AttemptFinished {
            step: id.into(),
            record: Box::new(record),
        })
    }

    pub(super) fn interrupt(&mut self) -> &mut Self {
        self.event(Event::Interrupted {
            interrupt: Interrupt::Abort,
        })
    }

    pub(super) fn over(&mut self, status: Status) -> &mut Self {
        self.event(Event::RunFinished { status })
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    pub(super) fn view(&self) -> View {
        let mut view = View::default();
        for seen in &self.seen {
            view.see(seen);
        }
        view.now_ms = view.now_ms.max(self.now);
        view
    }
}

pub(super) const BUILD: &str = "stages.build";
pub(super) const GROUP: &str = "stages.build.steps.compile_group";

pub(super) fn at(step: &str) -> String {
    format!("{GROUP}.steps.{step}")
}

/// A build with a database beside it, up to its tests being under way.
pub(super) fn building() -> Story {
    let mut s = story("Shop");
    let (db, compile, tests) = (at("db"), at("compile"), at("parallel2"));
    s.expand(
        "pipeline",
        vec![stage(BUILD, "Build"), stage("stages.ship", "Ship it")],
    );
    s.enter(BUILD, vec![group(GROUP, "Compile and test")]);
    s.enter(
        GROUP,
        vec![
            init(&at("initialize")),
            background(&db, "Database"),
            step(&compile, "Compile"),
            parallel(&tests),
            step(&at("pack"), "Pack"),
        ],
    );
    s.start(&at("initialize"));
    s.pod(
        GROUP,
        "step-compile",
        "Pulling",
        "Pulling image \"debian:12\"",
    );
    s.pod(
        GROUP,
        "step-db",
        "Pulled",
        "Container image \"postgres:15\" already present on machine",
    );
    s.pod(
        GROUP,
        "",
        "Warning",
        "memory limits are not enforced: no cgroup is writable here",
    );
    s.wait(437).pod(
        GROUP,
        "step-compile",
        "Pulled",
        "Successfully pulled image \"debian:12\" in 437ms",
    );
    s.wait(3).pod(
        GROUP,
        "step-compile",
        "Created",
        "Created container step-compile",
    );
    s.wait(2).pod(
        GROUP,
        "step-compile",
        "Started",
        "Started container step-compile",
    );
    s.event(Event::PodReady {
        group: GROUP.into(),
    });
    s.end(&at("initialize"), Status::Success);
    s.run(&db)
        .says(&db, "database system is ready to accept connections\n");
    s.wait(300).event(Event::AttemptReady {
        step: db.as_str().into(),
        attempt: 0,
        warning: None,
    });
    s.run(&compile);
    for i in 1..=70 {
        s.wait(30)
            .says(&compile, &format!("   Compiling crate_{i} v0.1.{i}\n"));
    }
    s.record(&compile, |r| {
        r.peak_memory = 640 << 20;
        r.cpu_ms = 4_100;
    });
    s.end(&compile, Status::Success);
    let sides: Vec<_> = ["unit", "browser"]
        .iter()
        .map(|t| step(&format!("{tests}.{t}"), t))
        .collect();
    s.enter(&tests, sides);
    s.run(&format!("{tests}.unit"))
        .run(&format!("{tests}.browser"));
    s.wait(1200).says(
        &format!("{tests}.unit"),
        "\u{1b}[32mok\u{1b}[0m cart::adds\nok cart::removes\n",
    );
    s.says(&format!("{tests}.browser"), "  0%\r 50%\rloading a page with a rather long address https://shop.example.com/cart?item=4711\n");
    s
}

/// The same, to an end with a failure.
pub(super) fn built() -> Story {
    let mut s = building();
    let unit = format!("{}.unit", at("parallel2"));
    let browser = format!("{}.browser", at("parallel2"));
    s.wait(800).says(&unit, "FAILED cart::empties\n");
    s.record(&unit, |r| r.exit = Exit::Code(101));
    s.fail(
        &unit,
        "exit code 101",
        Some("run it alone with `stepyard run shop.yaml --only unit`"),
    );
    s.wait(9_000).record(&browser, |r| {
        r.exit = Exit::Signal(9);
        r.oom = true;
        r.peak_memory = 512 << 20;
    });
    s.fail(
        &browser,
        "killed for memory (SIGKILL)",
        Some("raise resources.limits.memory of this step"),
    );
    s.fail(&at("parallel2"), "2 of 2 branches failed", None);
    s.end(&at("pack"), Status::Skipped);
    s.record(&at("db"), |r| r.peak_memory = 48 << 20);
    s.end(&at("db"), Status::Success);
    s.event(Event::PodDeleted {
        group: GROUP.into(),
    });
    s.fail(GROUP, "a step failed", None);
    s.fail(BUILD, "a step group failed", None);
    s.end("stages.ship", Status::Skipped);
    s.fail("pipeline", "a stage failed", None);
    s.over(Status::Failed);
    s
}

pub(super) fn id(text: &str) -> NodeId {
    text.into()
}
