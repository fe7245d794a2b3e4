//! A part of a pipeline, as `--only STEP` and `--from STEP` say.
//!
//! What is not wanted is skipped, with the reason. Background steps beside a step that runs do run: they are what it needs.

use addon::frame::Start;
use driver::backend::ImageFacts;
use driver::planner::Planner;
use engine::event::Failure;
use engine::facts::Facts;
use pipeline::model::Pipeline;
use pipeline::plan::{self, Node, NodeId, Place, Wait, What, Written as AsWritten};
use pipeline::pod;
use pipeline::resolve::World;
use syntax::Diagnostic;

use super::{Delegate, Part, Written, configuration};
use crate::documents::Documents;
use crate::local::{self, Local};
use crate::problem::Problem;
use crate::screen::words;
use crate::texts;

/// Iterations that a message names.
const MOST_NAMED: usize = 20;

impl Part {
    /// What is written and not acted on is told before anything runs, also what a run would not get to, and a deadline that is over
    /// at `now_ms`; errors end the command.
    pub(crate) fn check(
        &self,
        pipeline: &Pipeline,
        documents: &Documents,
        locals: &[Local],
        delegate: Delegate,
        now_ms: u64,
    ) -> Result<(), Problem> {
        let sources = &documents.sources;
        let mut found = self.unsupported(pipeline);
        let wanted = Place::all(pipeline)
            .into_iter()
            .filter(|place| !self.leaves_out_written(pipeline, place));
        let mut over = Vec::new();
        for place in wanted {
            found.extend(delegate.refuses(&place));
            over.extend(plan::over(&place, now_ms));
            over.extend(local::unknown_connector(
                &place,
                &documents.entities,
                locals,
            ));
        }
        if !over.is_empty() {
            let count = words::count(over.len() as u64, "error");
            texts::tell(&over, sources);
            return Err(Problem::invalid(format!("{count}; nothing was run"))
                .help("`stepyard explain CODE` tells more of each"));
        }
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
            .filter(|place| !self.leaves_out_written(pipeline, place))
            .flat_map(plan::unsupported_at)
            .collect();
        syntax::diagnostic::sort(&mut found);
        found
    }

    /// A place of the text is not run.
    fn leaves_out_written(&self, pipeline: &Pipeline, place: &Place<'_>) -> bool {
        if self.target().is_none() {
            return false;
        }
        let way = Place::way(pipeline, &place.id).unwrap_or_default();
        let way: Vec<_> = way.into_iter().map(as_written).collect();
        self.leaves_out(&way, |at| at.children(at.place.children()), false)
    }

    /// A step of a run is not run.
    fn leaves_out_in(&self, world: &World<'_>, step: &NodeId, names: bool) -> bool {
        let way = AsWritten::way(world, step).unwrap_or_default();
        self.leaves_out(
            &way,
            |at| at.children(at.place.children_in(world).unwrap_or_default()),
            names,
        )
    }
}

/// A place of the text, where nothing is iterated.
fn as_written(place: Place<'_>) -> AsWritten<'_> {
    AsWritten {
        id: place.id.clone(),
        place,
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

    /// What a person should know of the part before it runs. An iteration that is named and will not be there is a problem now
    /// where that can be known.
    pub(crate) fn note(&self) -> Result<Option<String>, Problem> {
        let Some((target, option)) = self.part.target() else {
            return Ok(None);
        };
        let pipeline = self.inner.pipeline();
        for (body, iteration) in &target.iterations {
            let way = Place::way(pipeline, body).unwrap_or_default();
            let Some(around) = way.iter().rev().nth(1) else {
                continue;
            };
            let children = self.inner.ask(&around.id, &Facts::default(), |world| {
                around.children_in(world).map(|all| ids(&all))
            });
            // What depends on the run is looked for when the loop is entered.
            if let Ok(children) = children
                && !children.contains(iteration)
            {
                let (message, help) = missing(option, iteration, around, &children);
                return Err(Problem::invalid(message).help(help));
            }
        }
        Ok(target.note(pipeline, option))
    }

    /// For each child of a node that is entered, why it is not run.
    fn skips(&self, node: &NodeId, facts: &Facts) -> Result<Vec<Option<String>>, Failure> {
        let Some((target, option)) = self.part.target() else {
            return Ok(Vec::new());
        };
        let (skips, absent) = self.inner.ask(node, facts, |world| {
            let Some(way) = AsWritten::way(world, node) else {
                return Ok((Vec::new(), None));
            };
            let Some(parent) = way.last() else {
                return Ok((Vec::new(), None));
            };
            let children = parent.children(parent.place.children_in(world)?);
            let skips = self.part.skips(parent, &children, true);
            let body = children.first().map(|child| &child.id);
            let named = target.iterations.iter().find(|own| Some(&own.0) == body);
            // In another iteration around it there may be one of that name.
            let absent = named
                .filter(|_| parent.place.iterations.is_empty() && skips.iter().all(Option::is_some))
                .map(|(_, iteration)| {
                    let places: Vec<_> = children.iter().map(|own| own.place.clone()).collect();
                    missing(option, iteration, &parent.place, &ids(&places))
                });
            Ok((skips, absent))
        })?;
        match absent {
            Some((message, help)) => Err(configuration(message, Some(help))),
            None => Ok(skips),
        }
    }
}

fn ids(places: &[Place<'_>]) -> Vec<String> {
    let last = |own: &Place<'_>| own.id.0.rsplit('.').next().unwrap_or_default().to_owned();
    places.iter().map(last).collect()
}

/// An iteration that is named is none of its loop: what is wrong, and what there is.
fn missing(option: &str, name: &str, around: &Place<'_>, all: &[String]) -> (String, String) {
    let message = format!(
        "{option}: the loop of `{}` has no iteration `{name}`",
        around.identifier()
    );
    let more = match all.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let some: Vec<_> = all.iter().take(MOST_NAMED).map(String::as_str).collect();
    (message, format!("it has {}{more}", some.join(", ")))
}

impl Planner for Select {
    fn root(&self) -> Node {
        self.inner.root()
    }

    fn expand(&self, node: &NodeId, facts: &Facts) -> Result<Vec<Node>, Failure> {
        let mut nodes = self.inner.expand(node, facts)?;
        let skips = self.skips(node, facts)?;
        for (node, skip) in nodes.iter_mut().zip(skips) {
            node.skip = skip.or_else(|| node.skip.take());
        }
        Ok(nodes)
    }

    fn judge(&self, node: &NodeId, condition: &str, facts: &Facts) -> Result<bool, Failure> {
        self.inner.judge(node, condition, facts)
    }

    fn pod(&self, group: &NodeId, facts: &Facts, suffix: &str) -> Result<pod::Spec, Failure> {
        let mut spec = self.inner.pod(group, facts, suffix)?;
        if matches!(self.part, Part::All) {
            return Ok(spec);
        }
        // A container that no step will ever run in is not made, and its image not pulled.
        self.inner.ask(group, facts, |world| {
            let place = Place::of(world, group).filter(|own| matches!(own.what, What::Group(_)));
            let turns = match &place {
                Some(place) => pod::layout(world, place)?.takes_turns(),
                None => false,
            };
            let unused = |step: &String| {
                self.part
                    .leaves_out_in(world, &step.as_str().into(), !turns)
            };
            spec.containers.retain(|own| !own.steps.iter().all(unused));
            Ok(())
        })?;
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

    fn start_ahead(&self, step: &NodeId, facts: &Facts, image: &ImageFacts) -> Option<Start> {
        self.inner.start_ahead(step, facts, image)
    }

    fn wait(&self, step: &NodeId, facts: &Facts) -> Result<Wait, Failure> {
        self.inner.wait(step, facts)
    }

    fn reports(&self, step: &NodeId, facts: &Facts) -> Vec<String> {
        self.inner.reports(step, facts)
    }
}
