//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Run the containerized step groups of Harness pipelines, on this machine.
#[derive(Debug, Parser)]
#[command(
    name = "stepyard",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// How to write: for people, as plain lines, or as JSON.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORM",
        env = "STEPYARD_OUTPUT"
    )]
    pub(crate) output: Output,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The form of what is written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// A live tree on a terminal, else plain lines.
    #[default]
    Auto,
    /// Lines, also on a terminal.
    Plain,
    /// JSON: one document, or one object a line where there is a stream.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline here.
    Run(Box<Run>),
    /// Show every error of pipelines and entities, with line and column.
    Validate(Validate),
    /// Show what would run.
    Plan(Plan),
    /// Show the pods that would be made.
    Pod(Pod),
    /// List the runs of this machine.
    Runs(Runs),
    /// Show the output of a run's steps.
    Logs(Logs),
    /// Show what became of a run.
    Inspect(Inspect),
    /// Answer an approval that a run asks for.
    Approve(Approve),
    /// Give what a step asks for when it is reached, or start a stage that waits for it.
    Answer(Answer),
    /// Decide about a step, or abort, pause or resume a run that another command drives.
    Intervene(Intervene),
    /// Go on with a run whose command was lost.
    Resume(Resume),
    /// Run again what failed in a run that is over; what succeeded is carried.
    Retry(Retry),
    /// Remove what lost commands left: pods, directories, control groups.
    Sweep(Sweep),
    /// Open a shell, or run a command, in the container of a step.
    Exec(Exec),
    /// Explain a diagnostic code.
    Explain(Explain),
    /// Print the JSON Schema of everything that a pipeline's files may hold.
    Schema,
    /// Serve an editor by the language server protocol, over standard input and output.
    Lsp,
    /// Print the completions of a shell.
    Completions(Completions),
}

/// A pipeline and what it needs from outside.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// The pipeline's file; `-` is standard input. Further documents of it may be connectors and secrets.
    #[arg(value_name = "PIPELINE")]
    pub(crate) pipeline: PathBuf,
    /// A directory of YAML files with connectors, secrets, templates. May be given again.
    #[arg(long, value_name = "DIR")]
    pub(crate) entities: Vec<PathBuf>,
    /// The value of a variable or a runtime input: `version=1.2`, `stages.build.variables.target=x86`.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// A YAML file of variables and runtime inputs, or an input set. May be given again; the later wins.
    #[arg(long, value_name = "FILE")]
    pub(crate) inputs: Vec<PathBuf>,
    /// An input set, or an overlay of several, among the documents. May be given again; the later wins.
    #[arg(long, value_name = "NAME")]
    pub(crate) input_set: Vec<String>,
    /// A directory that is the file store: `fileStore.getAsString("/a.txt")` reads `DIR/a.txt`.
    #[arg(long, value_name = "DIR")]
    pub(crate) file_store: Option<PathBuf>,
}

/// Where secrets come from. The environment gives them too: `STEPYARD_SECRET_<ID>`.
#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    /// The value of a secret: `NAME=VALUE`; `NAME=@FILE` reads it; `NAME` alone takes the variable of that name.
    #[arg(long = "secret", value_name = "NAME=VALUE")]
    pub(crate) secrets: Vec<String>,
    /// A file of secrets: `NAME=VALUE` lines, or a YAML mapping.
    #[arg(
        long,
        value_name = "FILE",
        env = "STEPYARD_SECRETS_FILE",
        hide_env_values = true
    )]
    pub(crate) secrets_file: Option<PathBuf>,
}

/// What makes the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BackendName {
    /// Namespaces and overlays of this machine; no daemon.
    Native,
    /// A Docker or Podman socket.
    Docker,
}

/// A cluster in place of this machine.
#[derive(Debug, Args)]
pub(crate) struct Cluster {
    /// The pods are in a cluster: of the kubeconfig's current context, or of this one.
    #[arg(long, value_name = "CONTEXT", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) kube: Option<String>,
    /// The namespace of the pods, in place of the pipeline's.
    #[arg(long, value_name = "NAMESPACE", requires = "kube", value_parser = namespace)]
    pub(crate) namespace: Option<String>,
}

fn namespace(text: &str) -> Result<String, String> {
    if pipeline::pod::is_namespace(text) {
        return Ok(text.to_owned());
    }
    Err(pipeline::pod::NAMESPACES.to_owned())
}

impl BackendName {
    /// The backend of this system where none is named.
    pub(crate) const HERE: Self = if cfg!(target_os = "linux") {
        Self::Native
    } else {
        Self::Docker
    };
}

/// The network of the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkName {
    /// Its own, with a way out where this machine can give one.
    Private,
    /// The one of this machine.
    Host,
}

/// `stepyard run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) secrets: SecretArgs,
    /// Run only this step; the others are skipped.
    #[arg(long, value_name = "STEP", conflicts_with = "from")]
    pub(crate) only: Option<String>,
    /// Run from this step on; what is before it is skipped.
    #[arg(long, value_name = "STEP")]
    pub(crate) from: Option<String>,
    /// Take a working tree of this machine in place of the GitClone of a repository.
    #[arg(long, value_name = "REPO=DIR")]
    pub(crate) local: Vec<String>,
    /// What makes the pods: `native` (namespaces of this machine, no daemon) or `docker` (a Docker or Podman socket).
    #[arg(long, value_enum, default_value_t = BackendName::HERE, env = "STEPYARD_BACKEND", conflicts_with = "kube")]
    #[arg(hide_possible_values = true, hide_env_values = true)]
    pub(crate) backend: BackendName,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// An image that brings the agent into a cluster's pods, in place of a ConfigMap.
    #[arg(long, value_name = "IMAGE", requires = "kube")]
    pub(crate) agent_image: Option<String>,
    /// The network of the pods: `private` (with a way out where this machine can give one) or `host`.
    #[arg(long, value_enum, default_value = "private")]
    #[arg(hide_possible_values = true)]
    pub(crate) network: NetworkName,
    /// A step that fails in a pod does not end it: for this time (1h if none is said) its failure is a question, and the pod
    /// stays as it is.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "1h")]
    pub(crate) keep_pod_on_failure: Option<String>,
    /// Refuse scripts that run on this machine itself, outside of containers: ShellScript and CustomApproval steps.
    #[arg(long)]
    pub(crate) no_delegate_scripts: bool,
    /// Begin each plain line with the time of day.
    #[arg(long)]
    pub(crate) timestamps: bool,
}

/// `stepyard validate`.
#[derive(Debug, Args)]
pub(crate) struct Validate {
    /// Files, or directories whose `*.yaml` and `*.yml` are meant; `-` is standard input.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// A directory of further templates and entities, which are not validated themselves. May be given again.
    #[arg(long, value_name = "DIR")]
    pub(crate) entities: Vec<PathBuf>,
    /// Refuse what runs only here, not in the oldest Harness.
    #[arg(long)]
    pub(crate) portable: bool,
}

/// `stepyard plan`.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) source: Source,
}

/// `stepyard pod`.
#[derive(Debug, Args)]
pub(crate) struct Pod {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Only the pod of this step group.
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// An image that brings the agent into a cluster's pods, in place of a ConfigMap.
    #[arg(long, value_name = "IMAGE", requires = "kube")]
    pub(crate) agent_image: Option<String>,
}

/// `stepyard runs`.
#[derive(Debug, Args)]
pub(crate) struct Runs {
    /// At most so many, the latest first.
    #[arg(long, short = 'n', default_value_t = 20)]
    pub(crate) limit: usize,
}

/// `stepyard logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The run, or the step of the last run.
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// The step; without it, all of them one after the other.
    #[arg(value_name = "STEP")]
    pub(crate) step: Option<String>,
    /// Go on until the run is over.
    #[arg(long, short)]
    pub(crate) follow: bool,
}

/// `stepyard inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The run; without it, the last one.
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// List the files that steps reported.
    #[arg(long)]
    pub(crate) reports: bool,
    /// Print every event of the journal.
    #[arg(long, conflicts_with = "reports")]
    pub(crate) events: bool,
}

/// `stepyard approve`.
#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// The run, or the step of the last run; without it, the last one.
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// The step that asks; without it, the only one.
    #[arg(value_name = "STEP")]
    pub(crate) step: Option<String>,
    /// Say no: the step fails with ApprovalRejection.
    #[arg(long)]
    pub(crate) reject: bool,
    /// Why, for others to read.
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// The value of an input of the approval. May be given again.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
}

/// `stepyard answer`.
#[derive(Debug, Args)]
pub(crate) struct Answer {
    /// The run and the step or stage, then what is given: `NAME=VALUE`. Without the first the last run and the only one that asks.
    #[arg(value_name = "RUN STEP NAME=VALUE")]
    pub(crate) words: Vec<String>,
}

/// `stepyard resume`.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// The run; without it, the last one.
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
    #[command(flatten)]
    pub(crate) secrets: SecretArgs,
    /// Begin each plain line with the time of day.
    #[arg(long)]
    pub(crate) timestamps: bool,
}

/// `stepyard retry`.
#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// The run; without it, the last one.
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Begin with this stage, group or step; without it, with the stage that failed.
    #[arg(long, value_name = "NODE")]
    pub(crate) from: Option<String>,
    /// A step that fails in a pod does not end it: for this time (1h if none is said) its failure is a question, and the pod
    /// stays as it is.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "1h")]
    pub(crate) keep_pod_on_failure: Option<String>,
    #[command(flatten)]
    pub(crate) secrets: SecretArgs,
    /// Begin each plain line with the time of day.
    #[arg(long)]
    pub(crate) timestamps: bool,
}

/// `stepyard sweep`.
#[derive(Debug, Args)]
pub(crate) struct Sweep {
    /// Only this run.
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// In a cluster: also remove the pods of runs that are not known here, where they are older than this (`1d`, `12h`).
    #[arg(long, value_name = "AGE")]
    pub(crate) older_than: Option<String>,
    /// In a cluster: also remove the agent's ConfigMaps that no pod uses; with `--older-than`, those unused for that long.
    #[arg(long)]
    pub(crate) agents: bool,
    /// Also remove the history of runs that are over.
    #[arg(long)]
    pub(crate) history: bool,
    /// Also remove images that no pod uses: all of them, or those unused for longer than this (`7d`, `12h`).
    #[arg(long, value_name = "AGE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) images: Option<String>,
    #[command(flatten)]
    pub(crate) secrets: SecretArgs,
}

/// `stepyard exec`.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// The run, or the step of the last run.
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// The step.
    #[arg(value_name = "STEP")]
    pub(crate) step: Option<String>,
    /// The command; without it, the container's shell.
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
    #[command(flatten)]
    pub(crate) secrets: SecretArgs,
}

/// `stepyard explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// `SY0102`, or `102`; without it, the list of all.
    #[arg(value_name = "CODE")]
    pub(crate) code: Option<String>,
}

/// `stepyard completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Of which shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// What a run, or a node of it, may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Act {
    /// Try a step again that waits for a decision.
    Retry,
    /// Begin its step group again.
    RetryStepGroup,
    /// Go on as if its failure did not matter.
    Ignore,
    /// Count it as a success.
    MarkAsSuccess,
    /// Count it as a failure; also a step that runs.
    MarkAsFailure,
    /// Roll its stage back.
    StageRollback,
    /// Roll its step group back.
    StepGroupRollback,
    /// Roll all stages back.
    PipelineRollback,
    /// End it: a step, a group, a stage, or the whole run.
    Abort,
    /// Begin nothing more.
    Pause,
    /// Go on after a pause.
    Resume,
}

/// `stepyard intervene`.
#[derive(Debug, Args)]
pub(crate) struct Intervene {
    /// The run; left out, the last one.
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// The step, group or stage; without it, the action is for the whole run.
    #[arg(value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// What is asked.
    #[arg(value_name = "ACTION", value_enum)]
    pub(crate) action: Option<Act>,
}
