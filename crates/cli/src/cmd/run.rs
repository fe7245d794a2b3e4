//! `stepyard run`: a pipeline, here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::Wishes;
use indexmap::IndexMap;
use pipeline::model::{
    Duration, Element, Param, Pipeline, Ref, SecretValue, StageEntry, Step, StepSpec,
};
use pipeline::plan::{Place, What};

use syntax::{Diagnostic, Span, code};

use crate::access;
use crate::args::{NetworkName, Output, Run, SecretArgs};
use crate::clusters;
use crate::documents::Documents;
use crate::drive::{self, Drive};
use crate::file_store;
use crate::home::{Home, RunDir};
use crate::inputs::Given;
use crate::local::Local;
use crate::meta::{self, Meta, Role, Snapshot};
use crate::out;
use crate::planner::{Delegate, Options, Part, Select, Written};
use crate::problem::{Exit, Problem};
use crate::screen::show::now_ms;
use crate::secrets::Secrets;
use crate::target::Target;

/// Runs a pipeline to its end.
pub(crate) fn run(args: &Run, output: Output) -> Result<Exit, Problem> {
    let keep_ms = kept(args.keep_pod_on_failure.as_deref())?;
    let given = Given::read(
        &args.source.set,
        &args.source.inputs,
        &args.source.input_set,
    )?;
    let documents = Documents::read(&args.source.pipeline, &args.source.entities, Some(&given))?;
    let secrets = secrets(&args.secrets, &documents)?;
    let pipeline = documents.pipeline_and(unknown_secrets(&documents, &secrets))?;
    let locals = args
        .local
        .iter()
        .map(|text| Local::parse(text))
        .collect::<Result<Vec<_>, _>>()?;
    for local in &locals {
        local.fits(pipeline, &documents.entities)?;
    }
    let part = Part::of(pipeline, args.only.as_deref(), args.from.as_deref())?;
    part.check(
        pipeline,
        &documents,
        &locals,
        Delegate::of(args.no_delegate_scripts)?,
        now_ms(),
    )?;
    if let Some(note) = note(&part, pipeline, &documents, &given)? {
        out::tell(format_args!("note: {note}"));
    }
    let target = Target::of(args.backend, &args.cluster, args.agent_image.as_deref());
    if let Target::Kube { context: None, .. } = &target {
        for reference in clusters::unknown(pipeline, &documents.entities) {
            let place = backend_kube::current_context();
            let place = place.map_or_else(String::new, |own| format!(", {own}"));
            out::tell(format_args!(
                "note: the cluster connector {reference} is not among the entities: its pods go to the kubeconfig's current context{place}"
            ));
        }
    }
    let clusters = clusters::connectors(pipeline, &documents.entities, &secrets, &target)?;
    let mut references = registries(pipeline);
    references.extend(agent_registries(pipeline, &target));
    let (access, warnings) = access::logins(
        references.iter().map(String::as_str),
        &documents.entities,
        &secrets,
    )?;

    let home = Home::find()?;
    let run = home.create()?;
    let sequence = home.next_number(pipeline)?;
    let meta = keep(args, &documents, &given, pipeline, sequence, &locals, &run)?;
    let options = options(&meta, &documents, &given, &locals, &run)?;
    let planner = Written::new(pipeline.clone(), secrets.clone(), options);
    let planner = Select::new(planner, part);
    let drive = Drive {
        planner: Arc::new(planner),
        access,
        secrets: secrets.values(),
        backend: meta.backend.clone(),
        clusters,
        entities: args.source.entities.first().cloned(),
        resume: false,
        wishes: Wishes {
            carried: None,
            keep_ms,
        },
        warnings,
        run,
    };
    let begun = drive.run.join("journal");
    let place = drive.run.path().to_owned();
    let ended = drive::drive(drive, &home, output, args.timestamps);
    // A cluster that is not there was told: nothing began that somebody could go on with, or sweep.
    if ended.is_err() && !begun.exists() {
        let _ = std::fs::remove_dir_all(place);
    }
    ended
}

/// `--keep-pod-on-failure`, in milliseconds.
pub(crate) fn kept(text: Option<&str>) -> Result<Option<u64>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match Duration::parse(text) {
        Some(duration) if duration.ms > 0 => Ok(Some(duration.ms)),
        _ => Err(
            Problem::invalid(format!("`--keep-pod-on-failure={text}` is no duration"))
                .help("write numbers with `s`, `m`, `h` or `d`: `--keep-pod-on-failure=30m`"),
        ),
    }
}

/// What a person should know of a part of the pipeline; an iteration that will not be there is a problem.
fn note(
    part: &Part,
    pipeline: &Pipeline,
    documents: &Documents,
    given: &Given,
) -> Result<Option<String>, Problem> {
    let options = Options {
        entities: documents.entities.clone(),
        sources: documents.sources.clone(),
        outputs: given.outputs.clone(),
        ..Options::default()
    };
    let planner = Written::new(pipeline.clone(), Secrets::default(), options);
    Select::new(planner, part.clone()).note()
}

/// The secrets of the command line, of the environment, and of the documents.
pub(crate) fn secrets(args: &SecretArgs, documents: &Documents) -> Result<Secrets, Problem> {
    let mut secrets = Secrets::read(args, std::env::vars_os())?;
    documents_secrets(&mut secrets, documents)?;
    Ok(secrets)
}

/// Adds the secrets of documents.
pub(crate) fn documents_secrets(
    secrets: &mut Secrets,
    documents: &Documents,
) -> Result<(), Problem> {
    for secret in &documents.entities.secrets {
        let id = secret.common.identifier.as_str().to_owned();
        let value = match &secret.value {
            SecretValue::Inline(value) => value.value.clone(),
            SecretValue::Path(path) => {
                let beside = Path::new(documents.sources.get(path.span.source).name())
                    .parent()
                    .map(Path::to_owned);
                let file = beside.unwrap_or_default().join(&path.value);
                let text = std::fs::read_to_string(&file).map_err(|e| {
                    Problem::system(
                        format_args!("read {} for the secret `{id}`", file.display()),
                        &e,
                    )
                })?;
                text.strip_suffix('\n').map_or(text.clone(), str::to_owned)
            }
            SecretValue::Env(name) => match std::env::var(&name.value) {
                Ok(value) => value,
                // Another source may have it; who needs it and finds none says so.
                Err(_) => continue,
            },
            SecretValue::Elsewhere(_) => continue,
        };
        secrets.document(id, value);
    }
    Ok(())
}

/// Secrets that a run needs and nobody gave, each told at the first place that needs it, before anything starts.
pub(crate) fn unknown_secrets(documents: &Documents, secrets: &Secrets) -> Vec<Diagnostic> {
    let mut wanted: IndexMap<&str, Span> = documents
        .secrets
        .iter()
        .map(|reference| (&*reference.value, reference.span))
        .collect();
    let pipeline = documents.pipeline.iter();
    for variable in pipeline.flat_map(|own| &own.variables).flat_map(|v| &v.0) {
        let secret = variable
            .kind
            .as_ref()
            .is_some_and(|k| k.value == pipeline::model::VariableType::Secret);
        if secret
            && let Some(Param::Literal(reference)) = &variable.value
            && !reference.value.is_empty()
        {
            wanted.entry(&reference.value).or_insert(reference.span);
        }
    }
    wanted
        .into_iter()
        .filter(|(reference, _)| secrets.get(reference).is_none())
        .map(|(reference, span)| {
            Diagnostic::error(
                code::UNKNOWN_SECRET,
                format!("the secret `{reference}` has no value"),
            )
            .at(span, "")
            .help(Secrets::ways(reference).replace('\n', " "))
        })
        .collect()
}

/// Every step of a pipeline.
pub(crate) fn steps(pipeline: &Pipeline) -> Vec<&Step> {
    fn stages<'p>(entries: &'p [StageEntry], found: &mut Vec<&'p Step>) {
        for entry in entries {
            match entry {
                StageEntry::Stage(stage) => {
                    if let Some(execution) = stage.execution() {
                        elements(&execution.steps, found);
                    }
                }
                StageEntry::Parallel(block) => stages(&block.stages, found),
                StageEntry::Insert(_) => {}
            }
        }
    }
    fn elements<'p>(list: &'p [Element], found: &mut Vec<&'p Step>) {
        for element in list {
            if let Element::Step(step) = element {
                found.push(step);
            }
            elements(element.children(), found);
        }
    }
    let mut found = Vec::new();
    stages(&pipeline.stages, &mut found);
    found
}

/// The references of the connectors that images are pulled through.
pub(crate) fn registries(pipeline: &Pipeline) -> BTreeSet<String> {
    let reference = |p: Option<&Param<Ref>>| p.and_then(Param::literal).map(ToString::to_string);
    let mut found = BTreeSet::new();
    for step in steps(pipeline) {
        let (container, local) = match &step.spec {
            StepSpec::Run(run) => (&run.container, false),
            StepSpec::Plugin(plugin) => (&plugin.container, false),
            StepSpec::Background(background) => (&background.container, false),
            StepSpec::GitClone(clone) => {
                if let Some(Param::Literal(list)) = &clone.base_image_connectors {
                    found.extend(list.value.iter().filter_map(|p| reference(Some(p))));
                }
                continue;
            }
            _ => continue,
        };
        // What is on this machine is not pulled: its connector is not asked for.
        let image = container.image.as_ref().map_or("", |p| p.text());
        let here = local
            || ["host:", "oci:", "oci-archive:", "docker-archive:"]
                .iter()
                .any(|head| image.starts_with(head));
        if !here {
            found.extend(reference(container.connector_ref.as_ref()));
        }
    }
    found
}

/// The references of the connectors that the agent is pulled through, where a cluster makes the pods.
pub(crate) fn agent_registries(pipeline: &Pipeline, backend: &Target) -> BTreeSet<String> {
    if !matches!(backend, Target::Kube { .. }) {
        return BTreeSet::new();
    }
    Place::all(pipeline)
        .into_iter()
        .filter_map(|place| match place.what {
            What::Group(group) => group.kubernetes()?.harness_image_connector_ref.as_ref(),
            _ => None,
        })
        .filter_map(|reference| Some(reference.literal()?.to_string()))
        .collect()
}

/// Keeps what the run was asked for.
fn keep(
    args: &Run,
    documents: &Documents,
    given: &Given,
    pipeline: &Pipeline,
    sequence: u64,
    locals: &[Local],
    run: &RunDir,
) -> Result<Meta, Problem> {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let redact = documents.redact();
    let mut texts = Vec::new();
    for (at, id) in documents.ids.iter().enumerate() {
        let role = if at == 0 {
            Role::Pipeline
        } else if at < documents.ids.len() - given.paths.len() {
            Role::Entities
        } else {
            Role::Inputs
        };
        let file = if at == 0 {
            "pipeline.yaml".to_owned()
        } else {
            format!("text-{at}.yaml")
        };
        meta::snapshot(run, &documents.sources, *id, &file, &redact)?;
        texts.push(Snapshot {
            file,
            name: documents.sources.get(*id).name().to_owned(),
            role,
        });
    }
    let meta = Meta {
        version: meta::VERSION,
        created_ms: now_ms(),
        sequence,
        resumed: None,
        name: pipeline.title().to_owned(),
        pipeline: absolute(&args.source.pipeline),
        entities: args.source.entities.iter().map(absolute).collect(),
        texts,
        set: args.source.set.clone(),
        input_sets: args.source.input_set.clone(),
        file_store: args.source.file_store.as_ref().map(absolute),
        only: args.only.clone(),
        from: args.from.clone(),
        local: locals
            .iter()
            .map(|l| (l.repo.clone(), l.dir.clone()))
            .collect(),
        secrets_file: args.secrets.secrets_file.as_ref().map(absolute),
        backend: Target::of(args.backend, &args.cluster, args.agent_image.as_deref()).pinned(),
        host_network: args.network == NetworkName::Host,
        git_image: Options::git_image(),
    };
    meta.write(run)?;
    Ok(meta)
}

fn options(
    meta: &Meta,
    documents: &Documents,
    given: &Given,
    locals: &[Local],
    run: &RunDir,
) -> Result<Options, Problem> {
    let mut copies = Vec::new();
    for (at, local) in locals.iter().enumerate() {
        let to = run.join(&format!("local/{at}"));
        local.copy(&to)?;
        copies.push((local.repo.clone(), to));
    }
    Ok(Options {
        entities: documents.entities.clone(),
        sources: documents.sources.clone(),
        host_network: meta.host_network,
        native: meta.backend.is_native(),
        local: copies,
        git_image: meta.git_image.clone(),
        agent_image: meta.backend.agent_image(),
        sequence: meta.sequence,
        resumed: None,
        user: file_store::user(),
        files: file_store::read(meta.file_store.as_deref())?,
        event: given.event.clone(),
        outputs: given.outputs.clone(),
    })
}
