//! The nodes of a pipeline as it is written: their ids, and the way from an id back to what is written there.

use pipeline::model::{Element, Pipeline, Stage, StageEntry, Step, StepGroup, StepSpec};
use pipeline::plan::{self, Kind, Node, NodeId, Order};

/// What stands at a node.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Thing<'p> {
    /// The root.
    Pipeline(&'p Pipeline),
    /// `parallel` among stages.
    Stages(&'p [StageEntry]),
    /// A stage.
    Stage(&'p Stage),
    /// A step group.
    Group(&'p StepGroup),
    /// `parallel` among steps.
    Elements(&'p [Element]),
    /// The pod of a step group is made.
    Initialize,
    /// A step.
    Step(&'p Step),
}

/// A place in the tree.
#[derive(Debug, Clone)]
pub(crate) struct Place<'p> {
    /// Its id.
    pub(crate) id: NodeId,
    /// What stands there.
    pub(crate) thing: Thing<'p>,
    /// The stage that it is in, or is.
    pub(crate) stage: Option<(&'p Stage, NodeId)>,
    /// The innermost step group that it is in, or is.
    pub(crate) group: Option<(&'p StepGroup, NodeId)>,
}

/// The root's id.
pub(crate) const ROOT: &str = "pipeline";

impl<'p> Place<'p> {
    /// The root.
    pub(crate) fn root(pipeline: &'p Pipeline) -> Self {
        Self {
            id: ROOT.into(),
            thing: Thing::Pipeline(pipeline),
            stage: None,
            group: None,
        }
    }

    /// The place of an id.
    pub(crate) fn find(pipeline: &'p Pipeline, id: &NodeId) -> Option<Self> {
        let mut at = Self::root(pipeline);
        while at.id != *id {
            at = at.children().into_iter().find(|child| {
                let head = id.0.strip_prefix(&child.id.0);
                head.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })?;
        }
        Some(at)
    }

    /// A step below this place.
    pub(crate) fn step(&self, id: &NodeId) -> Option<(Self, &'p Step)> {
        let mut open = self.children();
        while let Some(place) = open.pop() {
            if place.id == *id
                && let Thing::Step(step) = place.thing
            {
                return Some((place, step));
            }
            open.extend(place.children());
        }
        None
    }

    /// All places, depth first, the root first.
    pub(crate) fn all(pipeline: &'p Pipeline) -> Vec<Self> {
        let mut found = Vec::new();
        let mut open = vec![Self::root(pipeline)];
        while let Some(place) = open.pop() {
            open.extend(place.children().into_iter().rev());
            found.push(place);
        }
        found
    }

    /// What it becomes when it is entered.
    pub(crate) fn children(&self) -> Vec<Self> {
        match self.thing {
            Thing::Pipeline(pipeline) => Self::stages("stages", &pipeline.stages),
            Thing::Stages(stages) => Self::stages(&self.id.0, stages),
            Thing::Stage(stage) => {
                let steps = stage
                    .execution()
                    .map_or(&[][..], |execution| &execution.steps);
                self.elements(&format!("{}.steps", self.id), steps)
            }
            Thing::Group(group) => {
                let head = format!("{}.steps", self.id);
                let mut children = Vec::new();
                if group.is_containerized() {
                    let id = NodeId(format!("{head}.Initialize"));
                    children.push(Place {
                        id,
                        thing: Thing::Initialize,
                        ..self.clone()
                    });
                }
                children.extend(self.elements(&head, &group.steps));
                children
            }
            Thing::Elements(elements) => self.elements(&self.id.0, elements),
            Thing::Initialize | Thing::Step(_) => Vec::new(),
        }
    }

    fn stages(head: &str, entries: &'p [StageEntry]) -> Vec<Self> {
        let place = |(at, entry): (usize, &'p StageEntry)| match entry {
            StageEntry::Stage(stage) => {
                let id = NodeId(format!("{head}.{}", stage.identifier()));
                Some(Place {
                    thing: Thing::Stage(stage),
                    stage: Some((stage, id.clone())),
                    group: None,
                    id,
                })
            }
            StageEntry::Parallel(block) => {
                let id = NodeId(format!("{head}.parallel{}", at + 1));
                Some(Place {
                    id,
                    thing: Thing::Stages(&block.stages),
                    stage: None,
                    group: None,
                })
            }
            StageEntry::Insert(_) => None,
        };
        entries.iter().enumerate().filter_map(place).collect()
    }

    fn elements(&self, head: &str, elements: &'p [Element]) -> Vec<Self> {
        let mut places = Vec::new();
        for (at, element) in elements.iter().enumerate() {
            let inner = Place {
                id: NodeId(String::new()),
                ..self.clone()
            };
            match element {
                Element::Step(step) => {
                    let id = NodeId(format!("{head}.{}", step.identifier));
                    places.push(Place {
                        id,
                        thing: Thing::Step(step),
                        ..inner
                    });
                }
                Element::Group(group) => {
                    let id = NodeId(format!("{head}.{}", group.identifier));
                    places.push(Place {
                        group: Some((group, id.clone())),
                        thing: Thing::Group(group),
                        id,
                        ..inner
                    });
                }
                Element::Parallel(block) => {
                    let id = NodeId(format!("{head}.parallel{}", at + 1));
                    places.push(Place {
                        id,
                        thing: Thing::Elements(&block.elements),
                        ..inner
                    });
                }
                Element::Insert(_) => places.extend(self.elements(head, element.children())),
            }
        }
        places
    }

    /// Its children run side by side.
    pub(crate) fn is_parallel(&self) -> bool {
        matches!(self.thing, Thing::Stages(_) | Thing::Elements(_))
    }

    /// Where it is, in identifiers: `build/compile_group/compile`.
    pub(crate) fn path(&self, pipeline: &'p Pipeline) -> String {
        let mut parts = Vec::new();
        let mut at = Self::root(pipeline);
        while at.id != self.id {
            let leads = |child: &Self| {
                self.id
                    .0
                    .strip_prefix(&child.id.0)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            match at.children().into_iter().find(leads) {
                Some(child) => at = child,
                None => break,
            }
            if !at.is_parallel() {
                parts.push(at.identifier());
            }
        }
        parts.join("/")
    }

    /// Its identifier as written; of the synthetic ones, none.
    pub(crate) fn identifier(&self) -> &'p str {
        match self.thing {
            Thing::Pipeline(pipeline) => pipeline.identifier.as_str(),
            Thing::Stage(stage) => stage.identifier().as_str(),
            Thing::Group(group) => group.identifier.as_str(),
            Thing::Step(step) => step.identifier.as_str(),
            Thing::Initialize => "Initialize",
            Thing::Stages(_) | Thing::Elements(_) => "",
        }
    }

    /// Its name for people.
    pub(crate) fn title(&self) -> &'p str {
        match self.thing {
            Thing::Pipeline(pipeline) => pipeline.title(),
            Thing::Stage(stage) => stage.title(),
            Thing::Group(group) => group.title(),
            Thing::Step(step) => step.title(),
            Thing::Initialize => "Initialize",
            Thing::Stages(_) | Thing::Elements(_) => "",
        }
    }

    /// As a node of the run. `container` is where a step runs.
    pub(crate) fn node(&self, container: Option<String>, timeout_ms: Option<u64>) -> Node {
        let parallel = matches!(self.thing, Thing::Stages(_) | Thing::Elements(_));
        Node {
            id: self.id.clone(),
            kind: match self.thing {
                Thing::Pipeline(_) => Kind::Pipeline,
                Thing::Stage(stage) => Kind::Stage(stage.stage_type().to_owned()),
                Thing::Group(group) => Kind::StepGroup {
                    pod: group.is_containerized(),
                },
                Thing::Stages(_) | Thing::Elements(_) => Kind::Parallel,
                Thing::Initialize => Kind::Initialize,
                Thing::Step(step) => Kind::Step(plan::Step {
                    r#type: step.step_type().to_owned(),
                    background: matches!(step.spec, StepSpec::Background(_)),
                    container,
                }),
            },
            identifier: self.identifier().to_owned(),
            name: self.title().to_owned(),
            order: if parallel {
                Order::Parallel
            } else {
                Order::Sequence
            },
            timeout_ms,
            skip: None,
        }
    }
}
