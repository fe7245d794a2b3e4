//! What a run's nodes become: what is written, resolved, and what the command line changes about it.
//!
//! [`tree`] gives the nodes their ids, [`pod`] makes a group's pod, [`start`] an attempt of a step; [`values`] is the world
//! that expressions see. Everything is a function of the texts and of the facts of the run, so a driver that takes a
//! run over gets the same answers.

mod git;
mod keeping;
mod pod;
mod select;
mod start;
mod tree;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;

use addon::frame::Start;
use driver::backend::ImageFacts;
use driver::planner::Planner;
use engine::event::Failure;
use engine::facts::Facts;
use pipeline::model::{self, ConnectorSpec, Entities, Param, Pipeline, Ref, StepSpec};
use pipeline::plan::{Node, NodeId};
use pipeline::pod::{Image, Spec};

use crate::access;
use crate::secrets::Secrets;

pub(crate) use keeping::Keeping;
pub(crate) use select::{Part, Select};
use tree::{Place, Thing};
use values::{Values, configuration};

/// The image of GitClone steps where `STEPYARD_GIT_IMAGE` names none: this machine's own root filesystem, whose git it is.
const GIT_IMAGE: &str = "host:/";

/// What the command line says about a run.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Connectors and the like.
    pub(crate) entities: Entities,
    /// Pods have this machine's network.
    pub(crate) host_network: bool,
    /// Pods are made by this machine itself.
    pub(crate) native: bool,
    /// `--local`: names and the copies of the trees.
    pub(crate) local: Vec<(String, PathBuf)>,
    /// The image of GitClone steps.
    pub(crate) git_image: String,
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

    /// The whole reference of an image: its connector's registry goes before it, unless the image names it already.
    fn image(
        &self,
        written: &str,
        connector: Option<String>,
        pull: Option<model::PullPolicy>,
    ) -> Image {
        let written = written.trim();
        let local = ["host:", "oci:", "oci-archive:", "docker-archive:"]
            .iter()
            .any(|head| written.starts_with(head));
        let registry = connector
            .as_deref()
            .filter(|_| !local)
            .and_then(Ref::parse)
            .and_then(|r| {
                self.entities
                    .connector(&r)
                    .or_else(|| access::any_scope(&self.entities, &r))
            })
            .and_then(|c| match &c.spec {
                ConnectorSpec::DockerRegistry(registry) => registry.url.as_ref(),
                _ => None,
            });
        let reference = match registry {
            Some(url) => {
                let rest = url
                    .value
                    .split_once("://")
                    .map_or(url.value.as_str(), |(_, rest)| rest);
                let host = access::host(&url.value);
                let hub = ["index.docker.io", "registry.hub.docker.com"].contains(&host.as_str());
                if hub || written.starts_with(&format!("{host}/")) {
                    written.to_owned()
                } else {
                    let path = rest
                        .trim_end_matches('/')
                        .trim_end_matches("/v2")
                        .trim_end_matches("/v1");
                    format!("{path}/{written}")
                }
            }
            None => written.to_owned(),
        };
        let pull = if local {
            pull.map_or(pipeline::pod::Pull::IfNotPresent, |p| {
                pod::pull_of(&reference, Some(p))
            })
        } else {
            pod::pull_of(&reference, pull)
        };
        Image {
            reference,
            connector,
            pull,
        }
    }
}

/// The planner of a run from texts.
pub(crate) struct Written {
    pipeline: Pipeline,
    secrets: Secrets,
    options: Options,
}

impl Written {
    /// Of a pipeline without errors.
    pub(crate) fn new(pipeline: Pipeline, secrets: Secrets, options: Options) -> Self {
        Self {
            pipeline,
            secrets,
            options,
        }
    }

    fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    fn values<'a>(&'a self, place: Place<'a>, facts: &'a Facts) -> Values<'a> {
        Values::new(
            &self.pipeline,
            facts,
            &self.secrets,
            &self.options.outputs,
            place,
        )
    }

    fn place(&self, id: &NodeId) -> Result<Place<'_>, Failure> {
        Place::find(&self.pipeline, id).ok_or_else(|| {
            configuration(
                format!("the pipeline has no {id}"),
                "was its text changed since the run began?",
            )
        })
    }

    fn node(&self, place: &Place<'_>, facts: &Facts) -> Result<Node, Failure> {
        let container = match (&place.group, place.thing) {
            (Some((group, id)), Thing::Step(step)) if group.is_containerized() => {
                if !pod::in_container(step) {
                    return Err(pod::refused(step));
                }
                let group = self.place(id)?;
                pod::containers(&group)
                    .into_iter()
                    .find(|(step, _)| *step == place.id)
                    .map(|(_, name)| name)
            }
            (_, Thing::Step(step)) => {
                return Err(configuration(
                    format!(
                        "step `{}` of type {} is in no containerized step group",
                        step.identifier,
                        step.step_type()
                    ),
                    "only steps of groups with `stepGroupInfra` are run here",
                ));
            }
            _ => None,
        };
        unsupported(place)?;
        let values = self.values(place.clone(), facts);
        let timeout = match place.thing {
            Thing::Pipeline(pipeline) => pipeline.timeout.as_ref(),
            Thing::Stage(stage) => stage.common.timeout.as_ref(),
            Thing::Step(step) => step.timeout.as_ref(),
            _ => None,
        };
        let timeout = timeout
            .map(|p| values.duration(p))
            .transpose()?
            .filter(|ms| *ms > 0);
        Ok(place.node(container, timeout))
    }
}

/// What is written and would be passed over in silence.
fn unsupported(place: &Place<'_>) -> Result<(), Failure> {
    let (strategy, when) = match place.thing {
        Thing::Stage(stage) => (stage.common.strategy.is_some(), stage.common.when.as_ref()),
        Thing::Group(group) => (group.strategy.is_some(), group.when.as_ref()),
        Thing::Step(step) => (step.strategy.is_some(), step.when.as_ref()),
        _ => (false, None),
    };
    let refuse = |what: &str| {
        Err(configuration(
            format!("`{what}` of {} is not acted on yet", place.identifier()),
            format!("remove `{what}` for a run on this machine"),
        ))
    };
    if strategy {
        return refuse("strategy");
    }
    // `Success` without a condition is what happens anyway.
    let plain = |when: &model::When| {
        when.condition.is_none()
            && when
                .status
                .as_ref()
                .is_none_or(|s| s.value == model::Status::Success)
    };
    match when {
        None => Ok(()),
        Some(Param::Literal(when)) if plain(&when.value) => Ok(()),
        Some(_) => refuse("when"),
    }
}

impl Planner for Written {
    fn root(&self) -> Node {
        Place::root(&self.pipeline).node(None, None)
    }

    fn expand(&self, node: &NodeId, facts: &Facts) -> Result<Vec<Node>, Failure> {
        self.place(node)?
            .children()
            .iter()
            .map(|child| self.node(child, facts))
            .collect()
    }

    fn pod(&self, group: &NodeId, facts: &Facts, suffix: &str) -> Result<Spec, Failure> {
        let place = self.place(group)?;
        let Thing::Group(written) = place.thing else {
            return Err(configuration(
                format!("{group} is no step group"),
                "this is a bug in stepyard",
            ));
        };
        pod::spec(
            &place,
            written,
            &self.values(place.clone(), facts),
            &self.options,
            suffix,
        )
    }

    fn start(
        &self,
        step: &NodeId,
        attempt: u32,
        facts: &Facts,
        image: &ImageFacts,
    ) -> Result<Start, Failure> {
        let place = self.place(step)?;
        let Thing::Step(written) = place.thing else {
            return Err(configuration(
                format!("{step} is no step"),
                "this is a bug in stepyard",
            ));
        };
        start::start(
            &place,
            written,
            attempt,
            &self.values(place.clone(), facts),
            image,
            &self.options,
        )
    }

    fn reports(&self, step: &NodeId) -> Vec<String> {
        let Ok(Place {
            thing: Thing::Step(written),
            ..
        }) = self.place(step)
        else {
            return Vec::new();
        };
        let reports = match &written.spec {
            StepSpec::Run(run) => run.reports.as_ref(),
            StepSpec::Plugin(plugin) => plugin.reports.as_ref(),
            _ => None,
        };
        let paths = reports
            .and_then(Param::literal)
            .and_then(|r| r.spec.as_ref()?.paths.as_ref());
        let Some(Param::Literal(paths)) = paths else {
            return Vec::new();
        };
        paths.value.iter().map(|p| p.text().to_owned()).collect()
    }
}
