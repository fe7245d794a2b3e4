//! `--only STEP` and `--from STEP`: a part of a pipeline.
//!
//! What is not wanted is skipped, with the reason. Background steps beside a step that runs do run: they are what it needs.

use addon::frame::Start;
use driver::backend::ImageFacts;
use driver::planner::Planner;
use engine::event::Failure;
use engine::facts::Facts;
use pipeline::model::{Pipeline, StepSpec};
use pipeline::plan::{self, Node, NodeId, Place, Wait, What};
use pipeline::pod;
use syntax::{Diagnostic, Sources};

use super::{Delegate, Written};
use crate::problem::Problem;
use crate::screen::words;
use crate::texts;

/// What is wanted of a pipeline.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// All of it.
    All,
    /// One step, group or stage.
    Only(NodeId),
    /// What is from it on.
    From(NodeId),
}

impl Part {
    /// By the words of the command line. A step that is not there is the caller's problem.
    pub(crate) fn of(
        pipeline: &Pipeline,
        only: Option<&str>,
        from: Option<&str>,
    ) -> Result<Self, Problem> {
        Ok(match (only, from) {
            (Some(word), _) => Self::Only(find(pipeline, word, "--only")?),
            (_, Some(word)) => Self::From(find(pipeline, word, "--from")?),
            _ => Self::All,
        })
    }

    /// Why a child of `parent` is not run; none: it is.
    fn skips(
        &self,
        parent: &Place<'_>,
        children: &[Place<'_>],
        child: &Place<'_>,
    ) -> Option<String> {
        let (target, only) = match self {
            Self::All => return None,
            Self::Only(target) => (target, true),
            Self::From(target) => (target, false),
        };
        // What is inside the target, or after it, is whole.
        if parent.id == *target || !parent.leads_to(target) || child.leads_to(target) {
            return None;
        }
        let needed = match child.what {
            What::Initialize(_) => true,
            What::Step(step) => matches!(step.spec, StepSpec::Background(_)),
            _ => false,
        };
        let index = |id: &NodeId| children.iter().position(|c| c.id == *id);
        let on_way = children
            .iter()
            .find(|c| c.leads_to(target))
            .and_then(|c| index(&c.id));
        let skipped = only || (index(&child.id) < on_way && !parent.is_parallel());
        let option = if only { "--only" } else { "--from" };
        let name = target.0.rsplit('.').next().unwrap_or(&target.0);
        (skipped && !needed).then(|| format!("not run: {option} {name}"))
    }

    /// A step is not run because it, or something that it is in, is skipped.
    fn leaves_out(&self, pipeline: &Pipeline, step: &NodeId) -> bool {
        if matches!(self, Self::All) {
            return false;
        }
        let way = Place::way(pipeline, step).unwrap_or_default();
        way.windows(2).any(|pair| {
            let [parent, child] = pair else { return false };
            self.skips(parent, &parent.children(), child).is_some()
        })
    }

    /// What is written and not acted on is told before anything runs, also what a run would not get to; errors end the
    /// command.
    pub(crate) fn check(
        &self,
        pipeline: &Pipeline,
        sources: &Sources,
        delegate: Delegate,
    ) -> Result<(), Problem> {
        let mut found = self.unsupported(pipeline);
        let wanted = Place::all(pipeline)
            .into_iter()
            .filter(|place| !self.leaves_out(pipeline, &place.id));
        found.extend(wanted.filter_map(|place| delegate.refuses(&place)));
        syntax::diagnostic::sort(&mut found);
        texts::tell(&found, sources);
        match found.iter().filter(|d| d.is_error()).count() {
            0 => Ok(()),
            errors => Err(Problem::invalid(format!(
                "{} not run yet; nothing was run",
                match errors {
                    1 => "1 thing is".to_owned(),
                    many => format!("{} are", words::count(many as u64, "thing")),
                }
            ))
            .help("`stepyard explain CODE` tells more of each")),
        }
    }

    /// What stands in this part and is not acted on, in the order of the text.
    pub(crate) fn unsupported(&self, pipeline: &Pipeline) -> Vec<Diagnostic> {
        let mut found: Vec<_> = Place::all(pipeline)
            .iter()
            .filter(|place| !self.leaves_out(pipeline, &place.id))
            .flat_map(plan::unsupported_at)
            .collect();
        syntax::diagnostic::sort(&mut found);
        found
    }
}

/// A planner of a part.
pub(crate) struct Select {
    inner: Written,
    part: Part,
}

impl Select {
    /// Around another planner.
    pub(crate) fn new(inner: Written, part: Part) -> Self {
        Self { inner, part }
    }
}

/// The step, group or stage that a word means.
fn find(pipeline: &Pipeline, word: &str, option: &str) -> Result<NodeId, Problem> {
    let places: Vec<_> = Place::all(pipeline)
        .into_iter()
        .filter(|p| matches!(p.what, What::Step(_) | What::Group(_) | What::Stage(_)))
        .map(|p| (p.path(pipeline), p))
        .collect();
    let exact = |(path, p): &&(String, Place<'_>)| p.id.0 == word || path == word;
    let end = |(path, _): &&(String, Place<'_>)| {
        path.strip_suffix(word)
            .is_some_and(|head| head.is_empty() || head.ends_with('/'))
    };
    let mut found: Vec<_> = places.iter().filter(exact).collect();
    if found.is_empty() {
        found = places.iter().filter(end).collect();
    }
    // A step goes before the group or stage of the same name.
    let steps: Vec<_> = found
        .iter()
        .filter(|(_, p)| matches!(p.what, What::Step(_)))
        .copied()
        .collect();
    let found = if steps.is_empty() { found } else { steps };
    match found.as_slice() {
        [(_, place)] => Ok(place.id.clone()),
        [] => {
            let near = places
                .iter()
                .map(|(path, p)| (strsim::damerau_levenshtein(p.identifier(), word), path))
                .min()
                .filter(|(distance, _)| *distance <= 1 + word.len() / 4 && *distance < word.len());
            let problem =
                Problem::invalid(format!("{option} {word}: the pipeline has no such step"));
            Err(if let Some((_, path)) = near {
                problem.help(format!("did you mean `{path}`?"))
            } else {
                let steps = places
                    .iter()
                    .filter(|(_, p)| matches!(p.what, What::Step(_)))
                    .map(|(path, _)| path.as_str());
                problem.help(format!(
                    "it has {}",
                    steps.take(20).collect::<Vec<_>>().join(", ")
                ))
            })
        }
        many => {
            let paths: Vec<_> = many.iter().map(|(path, _)| path.as_str()).collect();
            Err(Problem::invalid(format!(
                "{option} {word} is the name of {} steps",
                many.len()
            ))
            .help(format!("say which: {}", paths.join(", "))))
        }
    }
}

impl Planner for Select {
    fn root(&self) -> Node {
        self.inner.root()
    }

    fn expand(&self, node: &NodeId, facts: &Facts) -> Result<Vec<Node>, Failure> {
        let mut nodes = self.inner.expand(node, facts)?;
        let Some(place) = Place::find(self.inner.pipeline(), node) else {
            return Ok(nodes);
        };
        let children = place.children();
        for (node, child) in nodes.iter_mut().zip(&children) {
            node.skip = self.part.skips(&place, &children, child);
        }
        Ok(nodes)
    }

    fn judge(&self, node: &NodeId, condition: &str, facts: &Facts) -> Result<bool, Failure> {
        self.inner.judge(node, condition, facts)
    }

    fn pod(&self, group: &NodeId, facts: &Facts, suffix: &str) -> Result<pod::Spec, Failure> {
        let mut spec = self.inner.pod(group, facts, suffix)?;
        let pipeline = self.inner.pipeline();
        // A container that no step will ever run in is not made, and its image not pulled.
        spec.containers.retain(|container| {
            !container
                .steps
                .iter()
                .all(|step| self.part.leaves_out(pipeline, &step.as_str().into()))
        });
        Ok(spec)
    }

    fn start(
        &self,
        step: &NodeId,
        attempt: u32,
        facts: &Facts,
        image: &ImageFacts,
    ) -> Result<Start, Failure> {
        self.inner.start(step, attempt, facts, image)
    }

    fn wait(&self, step: &NodeId, facts: &Facts) -> Result<Wait, Failure> {
        self.inner.wait(step, facts)
    }

    fn reports(&self, step: &NodeId, facts: &Facts) -> Vec<String> {
        self.inner.reports(step, facts)
    }
}
