//! What a run's nodes become: an adapter of [`pipeline::plan`], [`pipeline::pod`] and [`pipeline::resolve`].
//!
//! [`facts`] shows them the facts of the run, [`start`] puts the values of secrets in at the last moment, [`select`] leaves
//! out what is no [`part`] that the command line wants, [`keeping`] keeps what was made. Everything is a function of the texts and of
//! the facts, so a driver that takes a run over gets the same answers.

mod delegate;
mod facts;
mod keeping;
mod part;
mod select;
mod start;
mod task;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use addon::frame::Start;
use driver::backend::ImageFacts;
use driver::planner::Planner;
use engine::event::{ErrorKind, Failure};
use engine::facts::Facts;
use pipeline::model::{Entities, Pipeline};
use pipeline::plan::{self, Kind, Node, NodeId, Wait};
use pipeline::pod::{self, Network, Spec};
use pipeline::resolve::{self, Known, Tree, World};
use syntax::{Diagnostic, Sources};

use crate::secrets::Secrets;

pub(crate) use delegate::Delegate;
pub(crate) use keeping::Keeping;
pub(crate) use part::Part;
pub(crate) use select::Select;

/// The image of GitClone steps where `STEPYARD_GIT_IMAGE` names none: this machine's own root filesystem, whose git it is.
const GIT_IMAGE: &str = "host:/";
/// The image of a GitClone step that a working tree stands in for, natively: nothing has to be pulled for it.
const TREE_IMAGE: &str = "host:/";
/// The name of the image that brings the agent, in the registry of `harnessImageConnectorRef`.
const AGENT_IMAGE: &str = "stepyard/agent";
/// The account, and what stands for organization and project where a pipeline names none: one machine has one of each.
const ACCOUNT: &str = "local";

/// What the command line says about a run.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Connectors and the like.
    pub(crate) entities: Entities,
    /// The texts, for the places of problems.
    pub(crate) sources: Sources,
    /// Pods have this machine's network.
    pub(crate) host_network: bool,
    /// Pods are made by this machine itself.
    pub(crate) native: bool,
    /// `--local`: names and the copies of the trees.
    pub(crate) local: Vec<(String, PathBuf)>,
    /// The image of GitClone steps.
    pub(crate) git_image: String,
    /// The image that brings the agent into a cluster, whatever the pipeline says.
    pub(crate) agent_image: Option<String>,
    /// Its number among the runs of its pipeline.
    pub(crate) sequence: u64,
    /// The run that it is a retry of.
    pub(crate) resumed: Option<String>,
    /// Who runs it.
    pub(crate) user: Option<String>,
    /// The files of `--file-store`, by their paths in the store.
    pub(crate) files: Arc<BTreeMap<String, Arc<[u8]>>>,
    /// `--set` of what would have begun the run, by path.
    pub(crate) event: BTreeMap<String, String>,
    /// `--set` of outputs of steps that do not run, by step and name.
    pub(crate) outputs: BTreeMap<(String, String), String>,
}

impl Options {
    /// The image of GitClone steps by the environment.
    pub(crate) fn git_image() -> String {
        std::env::var("STEPYARD_GIT_IMAGE")
            .ok()
            .filter(|i| !i.is_empty())
            .unwrap_or_else(|| GIT_IMAGE.to_owned())
    }

    fn pod(&self) -> pod::Options {
        pod::Options {
            git_image: self.git_image.clone(),
            git_connector: None,
            tree_image: self.native.then(|| TREE_IMAGE.to_owned()),
            // Another agent is another image, so that driver and agent are of one release.
            agent_image: format!("{AGENT_IMAGE}:{}", &agent_embed::digest()[..12]),
            agent_wanted: self.agent_image.clone(),
            network: if self.host_network {
                Network::Host
            } else {
                Network::Private
            },
        }
    }
}

/// The planner of a run from texts.
pub(crate) struct Written {
    pipeline: Pipeline,
    secrets: Secrets,
    trees: Vec<Tree>,
    options: Options,
}

impl Written {
    /// Of a pipeline without errors.
    pub(crate) fn new(pipeline: Pipeline, secrets: Secrets, options: Options) -> Self {
        let tree = |(repo, dir): &(String, PathBuf)| Tree {
            repo: repo.clone(),
            path: dir.display().to_string(),
        };
        Self {
            pipeline,
            secrets,
            trees: options.local.iter().map(tree).collect(),
            options,
        }
    }

    fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Asks something of the world as it is by now; what cannot be answered about `node` is its failure.
    fn ask<T>(
        &self,
        node: &NodeId,
        facts: &Facts,
        question: impl FnOnce(&World<'_>) -> Result<T, Vec<Diagnostic>>,
    ) -> Result<T, Failure> {
        let nodes = facts::Seen::new(facts, &self.options.outputs);
        self.ask_of(&nodes, node, facts, question)
    }

    /// Asks something of the world with these nodes.
    fn ask_of<T>(
        &self,
        nodes: &facts::Seen<'_>,
        node: &NodeId,
        facts: &Facts,
        question: impl FnOnce(&World<'_>) -> Result<T, Vec<Diagnostic>>,
    ) -> Result<T, Failure> {
        let known = Known {
            run: facts.run.clone(),
            sequence: Some(self.options.sequence),
            resumed: self.options.resumed.clone(),
            created_ms: Some(facts.created_ms).filter(|ms| *ms > 0),
            account: Some(ACCOUNT.to_owned()),
            user: self.options.user.clone(),
            event: self.options.event.clone(),
            trees: self.trees.clone(),
            files: self.options.files.clone(),
        };
        let world = World {
            pipeline: &self.pipeline,
            entities: &self.options.entities,
            known: &known,
            nodes,
        };
        question(&world).map_err(|diagnostics| self.failure(node, &diagnostics))
    }

    /// Why a node is known not to run before anything has run; none: it may. Of loops on the way to it the facts hold the iterations:
    /// else all of them are found again for each.
    pub(crate) fn known_skip(&self, node: &NodeId, known: &Facts) -> Option<String> {
        let found = self.ask(node, known, |world| Ok(plan::known_skip(world, node)));
        found.ok().flatten()
    }

    fn start_of(
        &self,
        nodes: &facts::Seen<'_>,
        step: &NodeId,
        attempt: u32,
        facts: &Facts,
        image: &ImageFacts,
    ) -> Result<Start, Failure> {
        let prepared = self.ask_of(nodes, step, facts, |world| resolve::prepare(world, step))?;
        let attempt = addon::frame::Attempt {
            run: facts.run.clone(),
            step: step.0.clone(),
            number: attempt,
        };
        start::start(prepared, attempt, facts, &self.secrets, image)
    }

    /// What was written and cannot be run, with its place.
    fn failure(&self, node: &NodeId, diagnostics: &[Diagnostic]) -> Failure {
        let mut messages = Vec::new();
        for diagnostic in diagnostics.iter().filter(|own| own.is_error()) {
            let place = diagnostic.labels.first().map_or(String::new(), |label| {
                let source = self.options.sources.get(label.span.source);
                let position = self.options.sources.start(label.span);
                format!("{}:{}: ", source.name(), position.line)
            });
            messages.push(format!("{place}{}", diagnostic.message));
        }
        match diagnostics.iter().find(|own| own.is_error()) {
            Some(first) => configuration(messages.join("; "), first.help.clone()),
            None => configuration(
                format!("the pipeline has no {node}"),
                Some("was its text changed since the run began?".to_owned()),
            ),
        }
    }
}

/// What is written cannot be run.
fn configuration(message: impl Into<String>, help: Option<String>) -> Failure {
    Failure {
        error: ErrorKind::ConfigurationFailure,
        message: message.into(),
        help,
    }
}

impl Planner for Written {
    fn root(&self) -> Node {
        let id = NodeId::from(plan::ROOT);
        // A root that cannot be resolved fails as soon as it is entered.
        self.ask(&id, &Facts::default(), plan::root)
            .unwrap_or_else(|_| {
                let identifier = self.pipeline.identifier.as_str();
                Node::new(id, Kind::Pipeline, identifier, self.pipeline.title())
            })
    }

    fn expand(&self, node: &NodeId, facts: &Facts) -> Result<Vec<Node>, Failure> {
        self.ask(node, facts, |world| {
            if node.0 == plan::ROOT {
                plan::root(world)?;
            }
            plan::expand(world, node)
        })
    }

    fn judge(&self, node: &NodeId, condition: &str, facts: &Facts) -> Result<bool, Failure> {
        self.ask(node, facts, |world| plan::judge(world, node, condition))
    }

    fn pod(&self, group: &NodeId, facts: &Facts, suffix: &str) -> Result<Spec, Failure> {
        if let Some(process) =
            self.ask(group, facts, |world| pod::delegate(world, group, suffix))?
        {
            return Ok(process);
        }
        self.ask(group, facts, |world| {
            pod::describe(world, group, suffix, &self.options.pod())
        })
    }

    fn start(
        &self,
        step: &NodeId,
        attempt: u32,
        facts: &Facts,
        image: &ImageFacts,
    ) -> Result<Start, Failure> {
        let nodes = facts::Seen::new(facts, &self.options.outputs);
        self.start_of(&nodes, step, attempt, facts, image)
    }

    fn start_ahead(&self, step: &NodeId, facts: &Facts, image: &ImageFacts) -> Option<Start> {
        let nodes = facts::Seen::new(facts, &self.options.outputs);
        let start = self.start_of(&nodes, step, 0, facts, image);
        start.ok().filter(|_| !nodes.were_asked())
    }

    fn wait(&self, step: &NodeId, facts: &Facts) -> Result<Wait, Failure> {
        self.ask(step, facts, |world| resolve::wait(world, step))?
            .ok_or_else(|| configuration(format!("{step} waits for nothing"), None))
    }

    fn reports(&self, step: &NodeId, facts: &Facts) -> Vec<String> {
        // A step that could be started can be resolved again.
        self.ask(step, facts, |world| resolve::reports_of(world, step))
            .unwrap_or_default()
    }
}
