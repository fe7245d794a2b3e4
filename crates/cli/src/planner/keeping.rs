//! Pods are kept with their run as they were described: `inspect` and the summary read the limits from there.

use std::sync::{Arc, Mutex, PoisonError};

use addon::frame::Start;
use driver::backend::ImageFacts;
use driver::planner::Planner;
use engine::event::Failure;
use engine::facts::Facts;
use pipeline::plan::{Node, NodeId, Wait};
use pipeline::pod;

use crate::extras;
use crate::home::RunDir;
use crate::screen::summary::Extras;

/// A planner whose pods are kept.
pub(crate) struct Keeping {
    inner: Arc<dyn Planner>,
    run: RunDir,
    extras: Arc<Mutex<Extras>>,
}

impl Keeping {
    /// Around another planner.
    pub(crate) fn new(inner: Arc<dyn Planner>, run: RunDir, extras: Arc<Mutex<Extras>>) -> Self {
        Self { inner, run, extras }
    }
}

impl Planner for Keeping {
    fn root(&self) -> Node {
        self.inner.root()
    }

    fn expand(&self, node: &NodeId, facts: &Facts) -> Result<Vec<Node>, Failure> {
        self.inner.expand(node, facts)
    }

    fn judge(&self, node: &NodeId, condition: &str, facts: &Facts) -> Result<bool, Failure> {
        self.inner.judge(node, condition, facts)
    }

    fn pod(&self, group: &NodeId, facts: &Facts, suffix: &str) -> Result<pod::Spec, Failure> {
        let spec = self.inner.pod(group, facts, suffix)?;
        extras::limits(
            &spec,
            &mut self
                .extras
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .limits,
        );
        // Only a summary misses it.
        let _ = extras::keep_pod(&self.run, &spec);
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
