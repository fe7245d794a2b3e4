//! Where the driver asks what a node becomes. The pipeline crate stands behind it; a script does in tests.

use engine::event::Failure;
use engine::facts::Facts;
use pipeline::plan::{Node, NodeId, Wait};
use pipeline::pod;

use crate::backend::ImageFacts;

/// Turns what is written into what is run. Every answer is a function of its arguments and of the text that the planner
/// was made from: a driver that takes a run over asks again and gets the same.
///
/// Failures are the user's: they say what cannot be resolved, and where.
pub trait Planner: Send + Sync {
    /// The root of the run's tree.
    fn root(&self) -> Node;

    /// The children of a node that is entered now, in order. A containerized step group's first child is its
    /// [`pipeline::plan::Kind::Initialize`].
    fn expand(&self, node: &NodeId, facts: &Facts) -> Result<Vec<Node>, Failure>;

    /// Whether an expression holds at a node: its `when`'s condition before it is entered, or that of a retry.
    fn judge(&self, node: &NodeId, condition: &str, facts: &Facts) -> Result<bool, Failure>;

    /// The pod of a containerized step group, or of a step that is a process of the delegate. `suffix` are eight characters
    /// that make its name unique: the name ends with them.
    fn pod(&self, group: &NodeId, facts: &Facts, suffix: &str) -> Result<pod::Spec, Failure>;

    /// What an attempt of a step executes, with every expression resolved, in a container of this image.
    fn start(
        &self,
        step: &NodeId,
        attempt: u32,
        facts: &Facts,
        image: &ImageFacts,
    ) -> Result<addon::frame::Start, Failure>;

    /// What the first attempt of a step will execute, where nothing that may still change is part of it: asked while the step before
    /// it runs, so that it is known when that ends. None: it is asked when its turn has come.
    fn start_ahead(
        &self,
        step: &NodeId,
        facts: &Facts,
        image: &ImageFacts,
    ) -> Option<addon::frame::Start> {
        let _ = (step, facts, image);
        None
    }

    /// What a step that runs nowhere waits for.
    fn wait(&self, step: &NodeId, facts: &Facts) -> Result<Wait, Failure>;

    /// The globs of the files to collect when an attempt of this step is over; empty: none.
    fn reports(&self, step: &NodeId, facts: &Facts) -> Vec<String>;
}
