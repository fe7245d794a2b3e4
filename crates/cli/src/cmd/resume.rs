//! `stepyard resume`: a run whose command was lost is taken over.

use std::path::Path;
use std::sync::Arc;

use driver::backend::Access;
use driver::planner::Planner;
use engine::Wishes;

use crate::access;
use crate::args::{Output, Resume, SecretArgs};
use crate::clusters::{self, Connectors};
use crate::cmd::run as begin;
use crate::documents::Documents;
use crate::drive::{self, Drive};
use crate::file_store;
use crate::home::{Home, RunDir};
use crate::inputs::Given;
use crate::meta::{Meta, Role};
use crate::past::{self, State};
use crate::planner::{Options, Part, Select, Written};
use crate::problem::{Exit, Problem};
use crate::secrets::Secrets;

/// Goes on with a run to its end.
pub(crate) fn run(args: &Resume, output: Output) -> Result<Exit, Problem> {
    let home = Home::find()?;
    let run = home.run(args.run.as_deref())?;
    let view = past::view(&run)?;
    match past::state(&run, &view) {
        State::Over(_) => {
            return Err(
                Problem::invalid(format!("run {} is over", run.id)).help(format!(
                    "`stepyard inspect {}` shows what became of it",
                    run.id
                )),
            );
        }
        State::Running => {
            return Err(
                Problem::invalid(format!("run {} is driven by another command", run.id)).help(
                    format!("`stepyard logs {} --follow` shows what it does", run.id),
                ),
            );
        }
        State::Lost if view.root.is_none() => {
            return Err(Problem::invalid(format!(
                "run {} had not begun when its command was lost",
                run.id
            ))
            .help("run the pipeline again"));
        }
        State::Lost => {}
    }
    let meta = Meta::read(&run)?;
    let again = again(&meta, &run, &run, &args.secrets, None)?;
    let drive = Drive {
        planner: again.planner,
        access: again.access,
        secrets: again.secrets,
        backend: meta.backend.clone(),
        clusters: again.clusters,
        entities: meta.entities.first().cloned(),
        resume: true,
        // They are in its journal.
        wishes: Wishes::default(),
        warnings: again.warnings,
        run,
    };
    drive::drive(drive, &home, output, args.timestamps)
}

/// What is made again of a run's texts, and of secrets that no file of it holds.
pub(crate) struct Again {
    /// What its nodes become.
    pub(crate) planner: Arc<dyn Planner>,
    /// Logins of registries.
    pub(crate) access: Access,
    /// Values that nothing may show.
    pub(crate) secrets: Vec<String>,
    /// The clusters of connectors.
    pub(crate) clusters: Connectors,
    /// What is to be said first.
    pub(crate) warnings: Vec<String>,
    /// Its number among the runs of its pipeline.
    pub(crate) sequence: u64,
}

/// Makes it: the texts are those of `run`, the copies of working trees those of `trees`. One that is a
/// run of its own gets its number from `home`.
pub(crate) fn again(
    meta: &Meta,
    run: &RunDir,
    trees: &RunDir,
    args: &SecretArgs,
    home: Option<&Home>,
) -> Result<Again, Problem> {
    let given = Given::read(&meta.set, &[], &meta.input_sets)?;
    let documents = documents(meta, run, &given)?;
    let file = args.secrets_file.as_deref();
    let secrets = secrets(meta, &documents, &args.secrets, file)?;
    let pipeline = documents.pipeline_and(begin::unknown_secrets(&documents, &secrets))?;
    let clusters = clusters::connectors(pipeline, &documents.entities, &secrets, &meta.backend)?;
    let mut references = begin::registries(pipeline);
    references.extend(begin::agent_registries(pipeline, &meta.backend));
    let (access, warnings) = access::logins(
        references.iter().map(String::as_str),
        &documents.entities,
        &secrets,
    )?;
    let sequence = match home {
        Some(home) => home.next_number(pipeline)?,
        None => meta.sequence,
    };
    let options = Options {
        entities: documents.entities.clone(),
        sources: documents.sources.clone(),
        host_network: meta.host_network,
        native: meta.backend.is_native(),
        local: meta
            .local
            .iter()
            .enumerate()
            .map(|(at, (repo, _))| (repo.clone(), trees.join(&format!("local/{at}"))))
            .collect(),
        git_image: meta.git_image.clone(),
        agent_image: meta.backend.agent_image(),
        sequence,
        resumed: home.map_or_else(|| meta.resumed.clone(), |_| Some(run.id.clone())),
        user: file_store::user(),
        files: file_store::read(meta.file_store.as_deref())?,
        event: given.event,
        outputs: given.outputs,
    };
    let planner = Written::new(pipeline.clone(), secrets.clone(), options);
    let part = Part::of(pipeline, meta.only.as_deref(), meta.from.as_deref())?;
    Ok(Again {
        planner: Arc::new(Select::new(planner, part)),
        access,
        secrets: secrets.values(),
        clusters,
        warnings,
        sequence,
    })
}

/// The texts of a run, and its secrets, those among them that are given again.
pub(crate) fn given(
    meta: &Meta,
    run: &RunDir,
    again: &SecretArgs,
) -> Result<(Documents, Secrets), Problem> {
    let documents = texts(meta, run)?;
    let file = again.secrets_file.as_deref();
    let secrets = secrets(meta, &documents, &again.secrets, file)?;
    Ok((documents, secrets))
}

/// The texts of a run, with the inputs that it was given.
pub(crate) fn texts(meta: &Meta, run: &RunDir) -> Result<Documents, Problem> {
    documents(meta, run, &Given::read(&meta.set, &[], &meta.input_sets)?)
}

/// Secrets are in no file of the run: they are given again, or read from where they were.
fn secrets(
    meta: &Meta,
    documents: &Documents,
    named: &[String],
    file: Option<&Path>,
) -> Result<Secrets, Problem> {
    let file = file.or(meta.secrets_file.as_deref());
    let wanted = SecretArgs {
        secrets: named.to_vec(),
        secrets_file: file.map(Path::to_owned),
    };
    let mut secrets = begin::secrets(&wanted, documents)?;
    if let Ok(fresh) = Documents::read(&meta.pipeline, &meta.entities, None) {
        begin::documents_secrets(&mut secrets, &fresh)?;
    }
    Ok(secrets)
}

/// The texts that the run was planned from.
pub(crate) fn documents(meta: &Meta, run: &RunDir, given: &Given) -> Result<Documents, Problem> {
    let (mut texts, mut inputs) = (Vec::new(), Vec::new());
    for snapshot in &meta.texts {
        let path = run.join(&snapshot.file);
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Problem::system(format_args!("read {}", path.display()), &e))?;
        let kept = (snapshot.name.clone(), text);
        if snapshot.role == Role::Inputs {
            inputs.push(kept);
        } else {
            texts.push(kept);
        }
    }
    Documents::of(texts, inputs, given)
}
