//! From a pipeline as it is written to the ids of its nodes, and back.

use crate::model::{Element, Pipeline, Stage, StageEntry, Step, StepGroup};

use super::NodeId;

/// The id of the root.
pub const ROOT: &str = "pipeline";

/// What stands at a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What<'m> {
    /// The root.
    Pipeline(&'m Pipeline),
    /// A `parallel` block of stages.
    Stages(&'m [StageEntry]),
    /// A stage.
    Stage(&'m Stage),
    /// A step group.
    Group(&'m StepGroup),
    /// A `parallel` block of steps.
    Elements(&'m [Element]),
    /// The pod of a containerized group is made.
    Initialize(&'m StepGroup),
    /// A step.
    Step(&'m Step),
}

/// A node's id, what stands there, and what is around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Place<'m> {
    /// The id.
    pub id: NodeId,
    /// What stands there.
    pub what: What<'m>,
    /// The stage that it is in, or is, with its id.
    pub stage: Option<(&'m Stage, NodeId)>,
    /// The step groups that it is in, or is, outermost first, with their ids.
    pub groups: Vec<(&'m StepGroup, NodeId)>,
}

impl<'m> Place<'m> {
    /// The root.
    pub fn root(pipeline: &'m Pipeline) -> Self {
        Self {
            id: ROOT.into(),
            what: What::Pipeline(pipeline),
            stage: None,
            groups: Vec::new(),
        }
    }

    /// The place of an id; none for an id that the pipeline does not have.
    pub fn find(pipeline: &'m Pipeline, id: &NodeId) -> Option<Self> {
        Self::way(pipeline, id)?.pop()
    }

    /// The places from the root to an id, both included; none for an id that the pipeline does not have.
    pub fn way(pipeline: &'m Pipeline, id: &NodeId) -> Option<Vec<Self>> {
        let mut at = Self::root(pipeline);
        let mut way = Vec::new();
        while at.id != *id {
            let next = at.children().into_iter().find(|child| child.leads_to(id))?;
            way.push(std::mem::replace(&mut at, next));
        }
        way.push(at);
        Some(way)
    }

    /// Whether it is the place of `id`, or holds it.
    pub fn leads_to(&self, id: &NodeId) -> bool {
        matches!(self.what, What::Pipeline(_))
            || id
                .0
                .strip_prefix(&self.id.0)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// Its children run side by side.
    pub fn is_parallel(&self) -> bool {
        matches!(self.what, What::Stages(_) | What::Elements(_))
    }

    /// Where it is, in identifiers: `build/compile_group/compile`. Of the root it is empty.
    pub fn path(&self, pipeline: &'m Pipeline) -> String {
        let way = Self::way(pipeline, &self.id).unwrap_or_default();
        way.iter()
            .skip(1)
            .map(Self::identifier)
            .filter(|identifier| !identifier.is_empty())
            .collect::<Vec<_>>()
            .join("/")
    }

    /// Every place of a pipeline, parents first, in the order of the text.
    pub fn all(pipeline: &'m Pipeline) -> Vec<Self> {
        Self::root(pipeline).below()
    }

    /// This place and every one below it, parents first, in the order of the text.
    pub fn below(self) -> Vec<Self> {
        let mut found = Vec::new();
        let mut open = vec![self];
        while let Some(place) = open.pop() {
            open.extend(place.children().into_iter().rev());
            found.push(place);
        }
        found
    }

    /// What it becomes when it is entered. Rollback steps are no part of a forward run.
    pub fn children(&self) -> Vec<Self> {
        match self.what {
            What::Pipeline(pipeline) => Self::stages("stages", &pipeline.stages),
            What::Stages(entries) => Self::stages(&self.id.0, entries),
            What::Stage(stage) => stage.execution().map_or_else(Vec::new, |execution| {
                self.elements(&format!("{}.steps", self.id), &execution.steps)
            }),
            What::Group(group) => {
                let mut children = Vec::new();
                if self.makes_pod() {
                    children.push(Self {
                        id: NodeId(format!("{}.Initialize", self.id)),
                        what: What::Initialize(group),
                        stage: self.stage.clone(),
                        groups: self.groups.clone(),
                    });
                }
                children.extend(self.elements(&format!("{}.steps", self.id), &group.steps));
                children
            }
            What::Elements(elements) => self.elements(&self.id.0, elements),
            What::Initialize(_) | What::Step(_) => Vec::new(),
        }
    }

    fn stages(head: &str, entries: &'m [StageEntry]) -> Vec<Self> {
        let mut places = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            match entry {
                StageEntry::Stage(stage) => {
                    let id = NodeId(format!("{head}.{}", stage.identifier()));
                    places.push(Self {
                        stage: Some((stage, id.clone())),
                        id,
                        what: What::Stage(stage),
                        groups: Vec::new(),
                    });
                }
                StageEntry::Parallel(block) => places.push(Self {
                    id: NodeId(format!("{head}.parallel{}", at + 1)),
                    what: What::Stages(&block.stages),
                    stage: None,
                    groups: Vec::new(),
                }),
                StageEntry::Insert(insert) => {
                    let inner = insert
                        .stages
                        .as_ref()
                        .and_then(crate::model::Param::literal);
                    let head = format!("{head}.{}", insert.identifier);
                    places.extend(inner.map_or_else(Vec::new, |inner| Self::stages(&head, inner)));
                }
            }
        }
        places
    }

    fn elements(&self, head: &str, elements: &'m [Element]) -> Vec<Self> {
        let mut places = Vec::new();
        for (at, element) in elements.iter().enumerate() {
            let place = |id: NodeId, what: What<'m>| Self {
                id,
                what,
                stage: self.stage.clone(),
                groups: self.groups.clone(),
            };
            match element {
                Element::Step(step) => places.push(place(
                    NodeId(format!("{head}.{}", step.identifier)),
                    What::Step(step),
                )),
                Element::Group(group) => {
                    let id = NodeId(format!("{head}.{}", group.identifier));
                    let mut inner = place(id.clone(), What::Group(group));
                    inner.groups.push((group, id));
                    places.push(inner);
                }
                Element::Parallel(block) => places.push(place(
                    NodeId(format!("{head}.parallel{}", at + 1)),
                    What::Elements(&block.elements),
                )),
                Element::Insert(insert) => {
                    let head = format!("{head}.{}", insert.identifier);
                    places.extend(self.elements(&head, element.children()));
                }
            }
        }
        places
    }

    /// Whether it is a group whose pod is made when it is entered: one in a pod already runs there, whatever its own
    /// infrastructure says.
    pub fn makes_pod(&self) -> bool {
        let pods = self.groups.iter().filter(|(own, _)| own.is_containerized());
        matches!(self.what, What::Group(own) if own.is_containerized()) && pods.count() == 1
    }

    /// The group whose pod it is in: the outermost that is containerized.
    pub fn pod(&self) -> Option<&(&'m StepGroup, NodeId)> {
        self.groups
            .iter()
            .find(|(group, _)| group.is_containerized())
    }

    /// The nearest place below with this identifier; parallel blocks have none and are looked through.
    pub fn child(&self, identifier: &str) -> Option<Self> {
        self.children()
            .into_iter()
            .find_map(|child| match child.what {
                What::Stages(_) | What::Elements(_) => child.child(identifier),
                What::Initialize(_) => None,
                _ => (child.identifier() == identifier).then_some(child),
            })
    }

    /// `identifier` as written; empty for a `parallel` block.
    pub fn identifier(&self) -> &'m str {
        match self.what {
            What::Pipeline(pipeline) => pipeline.identifier.as_str(),
            What::Stage(stage) => stage.identifier().as_str(),
            What::Group(group) => group.identifier.as_str(),
            What::Step(step) => step.identifier.as_str(),
            What::Initialize(_) => "Initialize",
            What::Stages(_) | What::Elements(_) => "",
        }
    }

    /// Its name for people.
    pub fn title(&self) -> &'m str {
        match self.what {
            What::Pipeline(pipeline) => pipeline.title(),
            What::Stage(stage) => stage.title(),
            What::Group(group) => group.title(),
            What::Step(step) => step.title(),
            What::Initialize(_) => "Initialize",
            What::Stages(_) | What::Elements(_) => "",
        }
    }
}
