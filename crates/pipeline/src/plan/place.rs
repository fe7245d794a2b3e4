//! From a pipeline as it is written to the ids of its nodes, and back.

use std::borrow::Cow;
use std::sync::Arc;

use syntax::{Diagnostic, Span};

use crate::model::{
    Deployment, Element, FailureStrategy, Param, Pipeline, Stage, StageEntry, Step, StepGroup,
    Strategy, When,
};
use crate::resolve::World;

use super::looping::{self, Iteration};
use super::seats::{self, Seat, Seated};
use super::several;
use super::{Level, NodeId};

/// The id of the root.
pub const ROOT: &str = "pipeline";
/// The last part of the id of what undoes a stage or a group.
pub const ROLLBACK: &str = "rollbackSteps";

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
    /// What has a `strategy`: its children are the iterations.
    Loop(Body<'m>),
    /// The `rollbackSteps` of a stage or a group.
    Rollback(Body<'m>),
}

/// What is repeated, or undone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Body<'m> {
    /// A stage.
    Stage(&'m Stage),
    /// A step group.
    Group(&'m StepGroup),
    /// A step.
    Step(&'m Step),
}

impl<'m> Body<'m> {
    fn what(self) -> What<'m> {
        match self {
            Self::Stage(stage) => What::Stage(stage),
            Self::Group(group) => What::Group(group),
            Self::Step(step) => What::Step(step),
        }
    }

    pub(crate) const fn level(self) -> Level {
        match self {
            Self::Stage(_) => Level::Stage,
            Self::Group(_) => Level::Group,
            Self::Step(_) => Level::Step,
        }
    }

    pub(crate) fn strategy(self) -> Option<&'m Param<Strategy>> {
        match self {
            Self::Stage(stage) => stage.common.strategy.as_ref(),
            Self::Group(group) => group.strategy.as_ref(),
            Self::Step(step) => step.strategy.as_ref(),
        }
    }

    /// What it deploys, where that is several services or places.
    pub(crate) fn several(self) -> Option<&'m Deployment> {
        match self {
            Self::Stage(stage) => several::of(stage),
            _ => None,
        }
    }

    /// It becomes iterations: by its `strategy`, or as a stage that deploys several services or to several places.
    pub(crate) fn is_repeated(self) -> bool {
        self.strategy().is_some() || self.several().is_some()
    }

    pub(crate) fn identifier(self) -> &'m str {
        match self {
            Self::Stage(stage) => stage.identifier().as_str(),
            Self::Group(group) => group.identifier.as_str(),
            Self::Step(step) => step.identifier.as_str(),
        }
    }

    pub(crate) fn title(self) -> &'m str {
        match self {
            Self::Stage(stage) => stage.title(),
            Self::Group(group) => group.title(),
            Self::Step(step) => step.title(),
        }
    }
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
    /// The iterations that it is in, or is, outermost first. Where a pipeline is looked at as it is written there are none,
    /// and what is repeated is there once.
    pub iterations: Vec<(Level, Arc<Iteration>)>,
}

impl<'m> Place<'m> {
    /// The root.
    pub fn root(pipeline: &'m Pipeline) -> Self {
        Self {
            id: ROOT.into(),
            what: What::Pipeline(pipeline),
            stage: None,
            groups: Vec::new(),
            iterations: Vec::new(),
        }
    }

    /// The place of an id as it is written; none for an id that the pipeline does not have.
    pub fn find(pipeline: &'m Pipeline, id: &NodeId) -> Option<Self> {
        Self::way(pipeline, id)?.pop()
    }

    /// The place of a node of a run: in loops, with the iterations that it is in.
    pub fn of(world: &World<'m>, id: &NodeId) -> Option<Self> {
        Self::way_in(world, id)?.pop()
    }

    /// The places from the root to a node of a run, both included: in loops, with the iterations that it is in.
    pub(super) fn way_in(world: &World<'m>, id: &NodeId) -> Option<Vec<Self>> {
        Self::towards(world.pipeline, id, |at| at.iteration_towards(world, id))
    }

    /// The places from the root to an id, both included; none for an id that the pipeline does not have.
    pub fn way(pipeline: &'m Pipeline, id: &NodeId) -> Option<Vec<Self>> {
        Self::towards(pipeline, id, |_| None)
    }

    fn towards(
        pipeline: &'m Pipeline,
        id: &NodeId,
        iteration: impl Fn(&Self) -> Option<Self>,
    ) -> Option<Vec<Self>> {
        let mut at = Self::root(pipeline);
        let mut way = Vec::new();
        while at.id != *id {
            let next = iteration(&at).or_else(|| at.next_towards(id))?;
            way.push(std::mem::replace(&mut at, next));
        }
        way.push(at);
        Some(way)
    }

    /// The iteration of this loop on the way to an id.
    fn iteration_towards(&self, world: &World<'m>, id: &NodeId) -> Option<Self> {
        let What::Loop(body) = self.what else {
            return None;
        };
        let rest = id.0.strip_prefix(&self.id.0)?.strip_prefix('.')?;
        let part = rest.split('.').next()?;
        self.iteration(world, body, part)
    }

    /// The iteration of this loop whose identifier is this.
    fn iteration(&self, world: &World<'m>, body: Body<'m>, identifier: &str) -> Option<Self> {
        let known = NodeId(format!("{}.{identifier}", self.id));
        let iteration = world.nodes.iteration(&known).or_else(|| {
            let suffix = identifier.strip_prefix(body.identifier())?;
            let all = looping::iterations(world, self).ok()?;
            all.into_iter()
                .find(|own| own.suffix == suffix)
                .map(Arc::new)
        })?;
        Some(self.iterated(body, iteration))
    }

    /// What this loop's body is in one iteration.
    pub(crate) fn iterated(&self, body: Body<'m>, iteration: Arc<Iteration>) -> Self {
        let id = NodeId(format!(
            "{}.{}{}",
            self.id,
            body.identifier(),
            iteration.suffix
        ));
        let mut place = self.body(body, id);
        place.iterations.push((body.level(), iteration));
        place
    }

    /// What this loop's body is at an id.
    pub(crate) fn body(&self, body: Body<'m>, id: NodeId) -> Self {
        let mut place = Self {
            id,
            what: body.what(),
            stage: self.stage.clone(),
            groups: self.groups.clone(),
            iterations: self.iterations.clone(),
        };
        match body {
            Body::Stage(stage) => place.stage = Some((stage, place.id.clone())),
            Body::Group(group) => place.groups.push((group, place.id.clone())),
            Body::Step(_) => {}
        }
        place
    }

    /// What undoes it: a stage's, or a group's, `rollbackSteps`.
    pub fn rollback(&self) -> Option<Self> {
        let (body, empty) = match self.what {
            What::Stage(stage) => (
                Body::Stage(stage),
                stage
                    .execution()
                    .is_none_or(|own| own.rollback_steps.is_empty()),
            ),
            What::Group(group) => (Body::Group(group), group.rollback_steps.is_empty()),
            _ => return None,
        };
        (!empty).then(|| Self {
            id: NodeId(format!("{}.{ROLLBACK}", self.id)),
            what: What::Rollback(body),
            stage: self.stage.clone(),
            groups: self.groups.clone(),
            iterations: self.iterations.clone(),
        })
    }

    /// The nodes of a run that this place, as it is written, is: in a loop that `other` is in too the one in the same
    /// iteration, in any other loop one for each iteration.
    pub(crate) fn runs_seen_from(&self, world: &World<'m>, other: &Self) -> Vec<NodeId> {
        let way = Self::way(world.pipeline, &self.id).unwrap_or_default();
        let mut found = vec![Self::root(world.pipeline)];
        for pair in way.windows(2) {
            let [above, next] = pair else { continue };
            let mut below = Vec::new();
            for place in found {
                if matches!(place.what, What::Loop(_)) {
                    let all = place.children_in(world).unwrap_or_default();
                    let ours = all.iter().position(|own| own.leads_to(&other.id));
                    match ours {
                        Some(at) => below.extend(all.into_iter().nth(at)),
                        None => below.extend(all),
                    }
                    continue;
                }
                let part =
                    |own: &Self, of: &Self| own.id.0.strip_prefix(&of.id.0).map(str::to_owned);
                let wanted = part(next, above);
                let children = place.children().into_iter().chain(place.rollback());
                below.extend(children.into_iter().find(|own| match &wanted {
                    Some(_) => part(own, &place) == wanted,
                    None => own.id == next.id,
                }));
            }
            found = below;
        }
        found.into_iter().map(|place| place.id).collect()
    }

    /// Whether it is the place of `id`, or holds it.
    pub fn leads_to(&self, id: &NodeId) -> bool {
        matches!(self.what, What::Pipeline(_))
            || id
                .0
                .strip_prefix(&self.id.0)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// The loop that this iteration is of.
    pub(crate) fn loop_place(&self, pipeline: &'m Pipeline) -> Option<Self> {
        let (id, _) = self.id.0.rsplit_once('.')?;
        if !self.is_iteration() {
            return None;
        }
        let body = match self.what {
            What::Stage(stage) => Body::Stage(stage),
            What::Group(group) => Body::Group(group),
            What::Step(step) => Body::Step(step),
            _ => return None,
        };
        let mut place = Self::root(pipeline);
        place.id = NodeId(id.to_owned());
        place.what = What::Loop(body);
        place.stage.clone_from(&self.stage);
        place.groups.clone_from(&self.groups);
        place.iterations.clone_from(&self.iterations);
        place.iterations.pop();
        match body {
            Body::Stage(_) => place.stage = None,
            Body::Group(_) => {
                place.groups.pop();
            }
            Body::Step(_) => {}
        }
        Some(place)
    }

    /// It is an iteration of a loop, not only in one.
    pub fn is_iteration(&self) -> bool {
        self.iterations.last().is_some_and(|(level, iteration)| {
            let suffix = iteration.suffix.as_str();
            match (level, self.what) {
                (Level::Stage, What::Stage(_))
                | (Level::Group, What::Group(_))
                | (Level::Step, What::Step(_)) => {
                    let last = self.id.0.rsplit('.').next();
                    last.and_then(|last| last.strip_prefix(self.identifier())) == Some(suffix)
                }
                _ => false,
            }
        })
    }

    /// Its children run side by side.
    pub fn is_parallel(&self) -> bool {
        matches!(
            self.what,
            What::Stages(_) | What::Elements(_) | What::Loop(_)
        )
    }

    /// Where it is, in identifiers: `build/compile_group/compile`. Of the root it is empty.
    pub fn path(&self, pipeline: &'m Pipeline) -> String {
        let way = Self::way(pipeline, &self.id).unwrap_or_default();
        way.iter()
            .skip(1)
            .filter(|place| !matches!(place.what, What::Loop(_)))
            .map(Self::identifier)
            .filter(|identifier| !identifier.is_empty())
            .collect::<Vec<_>>()
            .join("/")
    }

    /// Every place of a pipeline as it is written, rollback steps included, parents first, in the order of the text.
    pub fn all(pipeline: &'m Pipeline) -> Vec<Self> {
        Self::root(pipeline).below()
    }

    /// This place and every one below it, parents first, in the order of the text.
    pub fn below(self) -> Vec<Self> {
        let mut found = Vec::new();
        let mut open = vec![self];
        while let Some(place) = open.pop() {
            open.extend(place.rollback());
            open.extend(place.children().into_iter().rev());
            found.push(place);
        }
        found
    }

    /// What it becomes when it is entered in a run: of a loop, its iterations.
    pub fn children_in(&self, world: &World<'m>) -> Result<Vec<Self>, Vec<Diagnostic>> {
        let What::Loop(body) = self.what else {
            return Ok(self.children());
        };
        let iterations = self.iterations_in(world)?;
        Ok(iterations
            .into_iter()
            .map(|iteration| self.iterated(body, iteration))
            .collect())
    }

    /// The iterations of this loop: as they are in the run, else by what is known now.
    pub(crate) fn iterations_in(
        &self,
        world: &World<'m>,
    ) -> Result<Vec<Arc<Iteration>>, Vec<Diagnostic>> {
        if let Some(known) = world.nodes.iterations(&self.id) {
            return Ok(known);
        }
        let made = looping::iterations(world, self)?;
        Ok(made.into_iter().map(Arc::new).collect())
    }

    /// What it becomes when it is entered, as it is written. Rollback steps are no part of a forward run; of a loop it is
    /// what is repeated, once.
    pub fn children(&self) -> Vec<Self> {
        if let What::Loop(body) = self.what {
            let id = NodeId(format!("{}.{}", self.id, body.identifier()));
            return vec![self.body(body, id)];
        }
        let head = self.head();
        let seats = seats::below(self.what);
        let mut children = Vec::with_capacity(seats.len() + 1);
        children.extend(self.initialize());
        children.extend(seats.iter().map(|seat| self.seated(&head, seat)));
        children
    }

    /// The child, or what undoes it, on the way to an id.
    fn next_towards(&self, id: &NodeId) -> Option<Self> {
        if matches!(self.what, What::Loop(_)) {
            return self.children().into_iter().find(|own| own.leads_to(id));
        }
        let head = self.head();
        let rest = id.0.strip_prefix(&*head).and_then(|r| r.strip_prefix('.'));
        let seat = rest.and_then(|rest| seats::find(self.what, rest));
        match seat {
            Some(seat) => Some(self.seated(&head, &seat)),
            None => self
                .initialize()
                .into_iter()
                .chain(self.rollback())
                .find(|own| own.leads_to(id)),
        }
    }

    /// What the ids of its children begin with.
    fn head(&self) -> Cow<'_, str> {
        match self.what {
            What::Pipeline(_) => Cow::Borrowed("stages"),
            What::Stage(_) | What::Group(_) => Cow::Owned(format!("{}.steps", self.id)),
            _ => Cow::Borrowed(&self.id.0),
        }
    }

    /// Where the pod of this group is made, if it makes one.
    fn initialize(&self) -> Option<Self> {
        let What::Group(group) = self.what else {
            return None;
        };
        self.makes_pod().then(|| Self {
            id: NodeId(format!("{}.Initialize", self.id)),
            what: What::Initialize(group),
            stage: self.stage.clone(),
            groups: self.groups.clone(),
            iterations: self.iterations.clone(),
        })
    }

    /// A child: an element of the text, the loop around one, or a `parallel` block.
    fn seated(&self, head: &str, seat: &Seat<'m>) -> Self {
        let id = NodeId(seat.id(head));
        let what = match seat.what {
            Seated::Body(body) if !body.is_repeated() => return self.body(body, id),
            Seated::Body(body) => What::Loop(body),
            Seated::Stages(_, entries) => {
                return Self {
                    id,
                    what: What::Stages(entries),
                    stage: None,
                    groups: Vec::new(),
                    iterations: Vec::new(),
                };
            }
            Seated::Elements(_, elements) => What::Elements(elements),
        };
        Self {
            id,
            what,
            stage: self.stage.clone(),
            groups: self.groups.clone(),
            iterations: self.iterations.clone(),
        }
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

    /// The nearest place below with this identifier, or the iteration of that name; parallel blocks have none and are
    /// looked through. Of a loop whose own identifier it is, it is the loop.
    pub fn child(&self, world: &World<'m>, identifier: &str) -> Option<Self> {
        if matches!(self.what, What::Loop(_)) {
            let mut children = self.children().into_iter();
            return children.find(|child| child.identifier() == identifier);
        }
        let head = self.head();
        seats::below(self.what)
            .iter()
            .find_map(|seat| match seat.what {
                Seated::Stages(..) | Seated::Elements(..) => {
                    self.seated(&head, seat).child(world, identifier)
                }
                Seated::Body(body) if body.identifier() == identifier => {
                    Some(self.seated(&head, seat))
                }
                Seated::Body(body)
                    if body.is_repeated() && identifier.starts_with(body.identifier()) =>
                {
                    self.seated(&head, seat).iteration(world, body, identifier)
                }
                Seated::Body(_) => None,
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
            What::Loop(body) => body.identifier(),
            What::Rollback(_) => ROLLBACK,
            What::Stages(_) | What::Elements(_) => "",
        }
    }

    /// `when` as written; a loop leaves it to its iterations.
    pub(crate) fn when(&self) -> Option<&'m Param<When>> {
        match self.what {
            What::Stage(stage) => stage.common.when.as_ref(),
            What::Group(group) => group.when.as_ref(),
            What::Step(step) => step.when.as_ref(),
            _ => None,
        }
    }

    /// `strategy` as written.
    pub(crate) fn strategy(&self) -> Option<&'m Param<Strategy>> {
        match self.what {
            What::Stage(stage) => Body::Stage(stage).strategy(),
            What::Group(group) => Body::Group(group).strategy(),
            What::Step(step) => Body::Step(step).strategy(),
            What::Loop(body) => body.strategy(),
            _ => None,
        }
    }

    /// `failureStrategies` as written; a loop leaves them to its iterations.
    pub(crate) fn failures(&self) -> Option<&'m Param<Vec<FailureStrategy>>> {
        match self.what {
            What::Stage(stage) => stage.common.failure_strategies.as_ref(),
            What::Group(group) => group.failure_strategies.as_ref(),
            What::Step(step) => step.failure_strategies.as_ref(),
            _ => None,
        }
    }

    /// Where it is written; a `parallel` block has no place of its own.
    pub(crate) fn span(&self) -> Option<Span> {
        Some(match self.what {
            What::Pipeline(pipeline) => pipeline.span,
            What::Stage(stage)
            | What::Loop(Body::Stage(stage))
            | What::Rollback(Body::Stage(stage)) => stage.span(),
            What::Group(group)
            | What::Initialize(group)
            | What::Loop(Body::Group(group))
            | What::Rollback(Body::Group(group)) => group.span,
            What::Step(step) | What::Loop(Body::Step(step)) | What::Rollback(Body::Step(step)) => {
                step.span
            }
            What::Stages(_) | What::Elements(_) => return None,
        })
    }

    /// Its name for people.
    pub fn title(&self) -> &'m str {
        match self.what {
            What::Pipeline(pipeline) => pipeline.title(),
            What::Stage(stage) => stage.title(),
            What::Group(group) => group.title(),
            What::Step(step) => step.title(),
            What::Initialize(_) => "Initialize",
            What::Loop(body) => body.title(),
            What::Rollback(_) => "Rollback",
            What::Stages(_) | What::Elements(_) => "",
        }
    }
}
