//! A planner that is a script: a tree written down.

use std::collections::BTreeMap;

use addon::frame::{Attempt, Program, Start};
use engine::event::{ErrorKind, Failure};
use engine::facts::{Facts, Value};
use pipeline::plan::{
    Approval, Kind, Node, NodeId, Order, ROLLBACK, Step, Strategy, Wait, When, WhenStatus,
};
use pipeline::pod;

use crate::backend::ImageFacts;
use crate::planner::Planner;

/// A node and what is in it.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// The node; its id is made when the tree is.
    pub node: Node,
    /// In order.
    pub children: Vec<Leaf>,
    /// The acts of a step, as words. `{ID.NAME}` stands for an output of the step with that identifier.
    pub words: Vec<String>,
    /// Globs of its reports.
    pub reports: Vec<String>,
    /// Its rollback steps.
    pub rollback: Vec<Leaf>,
}

/// A node of this kind; [`Script::new`] gives it its place.
pub fn node(name: &str, kind: Kind, order: Order, children: Vec<Leaf>) -> Leaf {
    Leaf {
        node: Node {
            order,
            ..Node::new(NodeId(String::new()), kind, name, name)
        },
        children,
        words: Vec::new(),
        reports: Vec::new(),
        rollback: Vec::new(),
    }
}

/// A step that does `words`, in a container of its own.
pub fn step(name: &str, words: &str) -> Leaf {
    let kind = Kind::Step(Step {
        r#type: "Run".to_owned(),
        background: false,
        container: Some(format!("step-{}", name.to_lowercase())),
    });
    let mut leaf = node(name, kind, Order::Sequence, Vec::new());
    leaf.words = words.split(' ').map(str::to_owned).collect();
    leaf
}

/// A step that does `words` as a process of the delegate.
pub fn process(name: &str, words: &str) -> Leaf {
    let mut leaf = step(name, words);
    leaf.node.kind = Kind::Step(Step {
        r#type: "ShellScript".to_owned(),
        background: false,
        container: Some(pod::PROCESS.to_owned()),
    });
    leaf
}

/// A step that runs nowhere, of a type of the format; its word says what it waits for: milliseconds, a barrier, the key of a queue,
/// or what people are asked.
pub fn waits(name: &str, step_type: &str, word: &str) -> Leaf {
    let mut leaf = step(name, word);
    leaf.node.kind = Kind::Step(Step {
        r#type: step_type.to_owned(),
        background: false,
        container: None,
    });
    leaf
}

/// A containerized group.
pub fn group(name: &str, children: Vec<Leaf>) -> Leaf {
    let mut all = vec![node(
        "Initialize",
        Kind::Initialize,
        Order::Sequence,
        Vec::new(),
    )];
    all.extend(children);
    node(name, Kind::StepGroup { pod: true }, Order::Sequence, all)
}

/// A `parallel` block.
pub fn parallel(name: &str, children: Vec<Leaf>) -> Leaf {
    node(name, Kind::Parallel, Order::Parallel, children)
}

/// A step group without a pod of its own.
pub fn sequence(name: &str, children: Vec<Leaf>) -> Leaf {
    let kind = Kind::StepGroup { pod: false };
    node(name, kind, Order::Sequence, children)
}

impl Leaf {
    /// In a container that it shares with the other steps that name it, which take turns there.
    #[must_use]
    pub fn in_container(mut self, name: &str) -> Self {
        if let Kind::Step(step) = &mut self.node.kind {
            step.container = Some(name.to_owned());
        }
        self
    }

    /// As a Background step.
    #[must_use]
    pub fn background(mut self) -> Self {
        if let Kind::Step(step) = &mut self.node.kind {
            step.background = true;
            "Background".clone_into(&mut step.r#type);
        }
        self
    }

    /// With a time that it may take.
    #[must_use]
    pub fn timeout(mut self, ms: u64) -> Self {
        self.node.timeout_ms = Some(ms);
        self
    }

    /// With failure strategies.
    #[must_use]
    pub fn failing(mut self, strategies: Vec<Strategy>) -> Self {
        self.node.strategies = strategies;
        self
    }

    /// Entered when this was before it, and this holds: `yes`, `no`, or the text of an output as `{ID.NAME}`.
    #[must_use]
    pub fn when(mut self, status: WhenStatus, condition: Option<&str>) -> Self {
        let condition = condition.map(str::to_owned);
        self.node.when = Some(When {
            status: Some(status),
            condition,
        });
        self
    }

    /// With so many of its children at once.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.node.limit = Some(limit);
        self
    }

    /// With what undoes it.
    #[must_use]
    pub fn undone_by(mut self, steps: Vec<Leaf>) -> Self {
        self.node.rollback = true;
        self.rollback = steps;
        self
    }

    /// Its workspace is kept for another group.
    #[must_use]
    pub fn handing_over(mut self) -> Self {
        self.node.hands_over = true;
        self
    }

    /// It begins with the workspace of the group of this id.
    #[must_use]
    pub fn taking_over(mut self, group: &str) -> Self {
        self.node.takes_over = Some(NodeId(group.to_owned()));
        self
    }

    /// With report files.
    #[must_use]
    pub fn reports(mut self, glob: &str) -> Self {
        self.reports.push(glob.to_owned());
        self
    }

    fn place(&mut self, parent: &str) {
        let id = if parent.is_empty() {
            "pipeline".to_owned()
        } else {
            format!("{parent}.{}", self.node.identifier)
        };
        for child in &mut self.children {
            child.place(&id);
        }
        for child in &mut self.rollback {
            child.place(&format!("{id}.{ROLLBACK}"));
        }
        self.node.id = NodeId(id);
    }

    fn flatten(self, into: &mut BTreeMap<NodeId, Leaf>) {
        for child in self.children.iter().chain(&self.rollback) {
            child.clone().flatten(into);
        }
        into.insert(self.node.id.clone(), self);
    }
}

/// A text with its `{ID.NAME}` replaced.
fn fill(text: &str, facts: &Facts) -> Result<String, Failure> {
    let mut text = text.to_owned();
    for (id, fact) in &facts.nodes {
        let identifier = id.0.rsplit('.').next().unwrap_or_default();
        for (name, value) in &fact.outputs {
            let pattern = format!("{{{identifier}.{name}}}");
            text = match value {
                Value::Plain(value) | Value::Secret(value) => text.replace(&pattern, value),
                Value::Forgotten if text.contains(&pattern) => {
                    return Err(Failure {
                        error: ErrorKind::ConfigurationFailure,
                        message: format!("the secret output {name} of {id} is not kept"),
                        help: None,
                    });
                }
                Value::Forgotten => text,
            };
        }
    }
    Ok(text)
}

/// The planner.
pub struct Script {
    root: Node,
    nodes: BTreeMap<NodeId, Leaf>,
}

impl Script {
    /// A pipeline of these stages.
    pub fn new(stages: Vec<Leaf>) -> Self {
        let mut root = node("pipeline", Kind::Pipeline, Order::Sequence, stages);
        root.place("");
        let node = root.node.clone();
        let mut nodes = BTreeMap::new();
        root.flatten(&mut nodes);
        Self { root: node, nodes }
    }

    fn leaf(&self, id: &NodeId) -> Result<&Leaf, Failure> {
        self.nodes.get(id).ok_or_else(|| Failure {
            error: ErrorKind::ConfigurationFailure,
            message: format!("there is no {id}"),
            help: None,
        })
    }

    fn containers(leaf: &Leaf, into: &mut Vec<pod::Container>) {
        if let Kind::Step(step) = &leaf.node.kind
            && let Some(name) = &step.container
        {
            let known = into.iter_mut().find(|own| own.name == *name);
            if let Some(shared) = known {
                shared.steps.push(leaf.node.id.0.clone());
                return;
            }
            into.push(pod::Container {
                name: name.clone(),
                steps: vec![leaf.node.id.0.clone()],
                image: pod::Image {
                    reference: "host:/".to_owned(),
                    connector: None,
                    pull: pod::Pull::IfNotPresent,
                },
                background: step.background,
                security: pod::Security::default(),
                resources: pod::Resources::default(),
                share: pod::Amounts::default(),
            });
        }
        for child in leaf.children.iter().chain(&leaf.rollback) {
            Self::containers(child, into);
        }
    }
}

impl Planner for Script {
    fn root(&self) -> Node {
        self.root.clone()
    }

    fn expand(&self, node: &NodeId, _: &Facts) -> Result<Vec<Node>, Failure> {
        if let Some(of) = node.undone() {
            let leaf = self.leaf(&of)?;
            return Ok(leaf.rollback.iter().map(|c| c.node.clone()).collect());
        }
        let leaf = self.leaf(node)?;
        Ok(leaf.children.iter().map(|c| c.node.clone()).collect())
    }

    fn judge(&self, _: &NodeId, condition: &str, facts: &Facts) -> Result<bool, Failure> {
        let filled = fill(condition, facts)?;
        match filled.as_str() {
            "broken" => Err(Failure {
                error: ErrorKind::ConfigurationFailure,
                message: "the condition cannot be evaluated".to_owned(),
                help: None,
            }),
            text => Ok(!matches!(text, "" | "no")),
        }
    }

    fn pod(&self, group: &NodeId, facts: &Facts, suffix: &str) -> Result<pod::Spec, Failure> {
        let mut containers = Vec::new();
        Self::containers(self.leaf(group)?, &mut containers);
        Ok(pod::Spec {
            name: format!("harnesscd-fake-{suffix}"),
            run: facts.run.clone(),
            group: group.0.clone(),
            connector: None,
            namespace: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            os: "linux".to_owned(),
            arch: None,
            service_account: None,
            automount: None,
            priority_class: None,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            host_names: Vec::new(),
            run_as_user: None,
            security: pod::Security::default(),
            init_timeout_ms: 480_000,
            volumes: Vec::new(),
            containers,
            requests: pod::Amounts::default(),
            agent_image: None,
            overlay: None,
            network: pod::Network::Private,
            notes: Vec::new(),
        })
    }

    fn start_ahead(&self, step: &NodeId, facts: &Facts, image: &ImageFacts) -> Option<Start> {
        // What has a brace may stand for an output of a step.
        let constant = |leaf: &&Leaf| !leaf.words.iter().any(|word| word.contains('{'));
        self.leaf(step).ok().filter(constant)?;
        self.start(step, 0, facts, image).ok()
    }

    fn start(
        &self,
        step: &NodeId,
        attempt: u32,
        facts: &Facts,
        _: &ImageFacts,
    ) -> Result<Start, Failure> {
        let leaf = self.leaf(step)?;
        let mut argv = Vec::new();
        for word in &leaf.words {
            argv.push(fill(word, facts)?);
        }
        Ok(Start {
            attempt: Attempt {
                run: facts.run.clone(),
                step: step.0.clone(),
                number: attempt,
            },
            program: Program::Exec { argv, before: None },
            env: Vec::new(),
            workdir: pod::WORKSPACE.to_owned(),
            secrets: Vec::new(),
            outputs: Vec::new(),
            background: matches!(&leaf.node.kind, Kind::Step(step) if step.background),
            readiness: None,
            timeout_ms: 0,
        })
    }

    fn wait(&self, step: &NodeId, _: &Facts) -> Result<Wait, Failure> {
        let leaf = self.leaf(step)?;
        let word = leaf.words.join(" ");
        let kind = |leaf: &Leaf| match &leaf.node.kind {
            Kind::Step(step) => step.r#type.clone(),
            _ => String::new(),
        };
        Ok(match &*kind(leaf) {
            "Barrier" => {
                let others = self.nodes.iter().filter(|(id, other)| {
                    *id != step && kind(other) == "Barrier" && other.words == leaf.words
                });
                Wait::Barrier {
                    with: others.map(|(id, _)| id.clone()).collect(),
                    barrier: word,
                }
            }
            "Queue" => Wait::Queue {
                key: word,
                until: self.root.id.clone(),
            },
            "HarnessApproval" => Wait::Approval(Box::new(Approval {
                message: word,
                history: false,
                groups: Vec::new(),
                minimum: 1,
                not_executor: false,
                inputs: Vec::new(),
                auto: None,
            })),
            _ => Wait::Time {
                ms: word.parse().unwrap_or(0),
            },
        })
    }

    fn reports(&self, step: &NodeId, _facts: &Facts) -> Vec<String> {
        self.nodes
            .get(step)
            .map_or_else(Vec::new, |leaf| leaf.reports.clone())
    }
}
