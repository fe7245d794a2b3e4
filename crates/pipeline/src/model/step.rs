//! Steps: what every step has, and the spec of each type in a file of its own or of its family.

mod action;
mod agent;
mod approval;
mod asked;
mod aws_cdk;
mod aws_sam;
mod azure;
mod background;
mod common;
mod container;
mod custom_approval;
mod download;
mod git_clone;
mod google;
mod http;
mod plugin;
mod run;
mod serverless;
mod shell_script;
mod supply_chain;
mod table;
mod upload;
mod waits;

pub use action::ActionSpec;
pub use agent::{Agent, AiRevision};
pub use approval::{
    ApproverInput, Approvers, AutoApproval, AutoApprovalAction, HarnessApproval, ScheduledDeadline,
};
pub use asked::{AskedLater, can_be_asked_later};
pub use aws_cdk::{AwsCdk, AwsCdkAction};
pub use aws_sam::{AwsSamBuild, AwsSamDeploy};
pub use azure::{AzureContainerApps, AzureFunction};
pub use background::{Background, ExecProbe, HttpProbe, Readiness, TcpProbe, UnixProbe};
pub use common::{Container, PluginCommon};
pub use container::ContainerStep;
pub use custom_approval::{
    Criteria, CriteriaCondition, CriteriaOperator, CriteriaSpec, CriteriaType, CustomApproval,
};
pub use download::{DownloadAwsS3, DownloadGcs, DownloadHarnessStore, DownloadManifests};
pub use git_clone::{Build, BuildKind, GitClone, SubmoduleStrategy};
pub use google::{CloudRun, Mig, RevisionTraffic};
pub use http::{Header, Http};
pub use plugin::Plugin;
pub use run::{Run, Shell};
pub use serverless::Serverless;
pub use shell_script::{ScriptShell, ScriptSource, ScriptText, ShellScript, SourceType};
pub use supply_chain::{DbOps, SlsaVerification, Ssca};
pub use table::{Class, TYPES, class};
pub use upload::S3Upload;
pub use waits::{BarrierStep, Queue, QueueScope, Wait};

use syntax::yaml::Node;
use syntax::{Diagnostic, Spanned, code};

use super::condition::When;
use super::failure::FailureStrategy;
use super::form::{self, Choice, Form, Forms};
use super::lower::{Cx, Fields, Lower, Slot, nearest};
use super::macros::model;
use super::name::{Identifier, Name};
use super::param::Param;
use super::resources::OutputAlias;
use super::strategy::Strategy;
use super::template::TemplateLink;
use super::units::Duration;

model! {
    /// What every step may have.
    StepCommon {
        /// Its identifier.
        identifier: Identifier = "identifier" required;
        /// For people.
        name: Option<Name> = "name";
        /// For people.
        description: Option<Param<String>> = "description";
        /// How long it may take.
        timeout: Option<Param<Duration>> = "timeout";
        /// Whether it runs.
        when: Option<Param<When>> = "when";
        /// What becomes of a failure.
        failure_strategies: Option<Param<Vec<FailureStrategy>>> = "failureStrategies";
        /// It several times.
        strategy: Option<Param<Strategy>> = "strategy";
        /// Policies that are asked.
        enforce: Option<Enforce> = "enforce";
    }
}

model! {
    /// `enforce:`.
    Enforce {
        /// The sets that are asked.
        policy_sets: Option<Param<Vec<Param<String>>>> = "policySets";
    }
}

/// `step:`.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What every step may have.
    pub common: StepCommon,
    /// `type` as written; of a template, where `template` stands.
    pub kind: Spanned<String>,
    /// What it does.
    pub spec: StepSpec,
    /// What is asked for when it is reached.
    pub asked: Vec<AskedLater>,
}

impl std::ops::Deref for Step {
    type Target = StepCommon;

    fn deref(&self) -> &StepCommon {
        &self.common
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum StepSpec {
    /// A script in a container.
    Run(Box<Run>),
    /// A service beside the steps.
    Background(Box<Background>),
    /// An image with settings.
    Plugin(Box<Plugin>),
    /// A clone of a repository.
    GitClone(Box<GitClone>),
    /// A GitHub action.
    Action(Box<ActionSpec>),
    /// The service's manifests.
    DownloadManifests(Box<DownloadManifests>),
    /// Files of a bucket.
    DownloadAwsS3(Box<DownloadAwsS3>),
    /// A file of a bucket.
    DownloadGcs(Box<DownloadGcs>),
    /// Files of the file store.
    DownloadHarnessStore(Box<DownloadHarnessStore>),
    /// Files to a bucket.
    S3Upload(Box<S3Upload>),
    /// `sam build`.
    AwsSamBuild(Box<AwsSamBuild>),
    /// `sam deploy`.
    AwsSamDeploy(Box<AwsSamDeploy>),
    /// Serverless Framework.
    Serverless(Box<Serverless>),
    /// AWS CDK.
    AwsCdk(Box<AwsCdk>),
    /// Google Cloud Run.
    CloudRun(Box<CloudRun>),
    /// Google managed instance groups.
    Mig(Box<Mig>),
    /// Azure functions.
    AzureFunction(Box<AzureFunction>),
    /// Azure container apps.
    AzureContainerApps(Box<AzureContainerApps>),
    /// An agent.
    Agent(Box<Agent>),
    /// A revision of an agent.
    AiRevision(Box<AiRevision>),
    /// Provenance is checked.
    SlsaVerification(Box<SlsaVerification>),
    /// A bill of materials is made or checked.
    Ssca(Box<Ssca>),
    /// A database is changed.
    DbOps(Box<DbOps>),
    /// A person is asked.
    HarnessApproval(Box<HarnessApproval>),
    /// A script is asked.
    CustomApproval(Box<CustomApproval>),
    /// A script as a process of the delegate.
    ShellScript(Box<ShellScript>),
    /// A request.
    Http(Box<Http>),
    /// Time passes.
    Wait(Box<Wait>),
    /// Parallel branches wait for one another.
    Barrier(Box<BarrierStep>),
    /// Runs wait for one another.
    Queue(Box<Queue>),
    /// The old step with a pod of its own.
    Container(Box<ContainerStep>),
    /// A template's.
    Template(Box<TemplateLink>),
    /// Any other type that the format knows, its spec as it is.
    Other(Option<Box<Node>>),
}

impl Step {
    /// `type`; empty for a template.
    pub fn step_type(&self) -> &str {
        match self.spec {
            StepSpec::Template(_) => "",
            _ => &self.kind.value,
        }
    }

    /// Its name, or its identifier where it has none.
    pub fn title(&self) -> &str {
        self.name
            .as_ref()
            .map_or(self.identifier.as_str(), |name| &name.0.value)
    }

    /// `outputAlias`, of the steps that have one.
    pub fn output_alias(&self) -> Option<&OutputAlias> {
        match &self.spec {
            StepSpec::Run(run) => run.output_alias.as_ref(),
            StepSpec::ShellScript(script) => script.output_alias.as_ref(),
            _ => None,
        }
    }

    /// Where it can run; a template's is not known.
    pub fn class(&self) -> Option<Class> {
        class(self.step_type())
    }
}

impl Lower for Step {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let mut fields = Fields::of(node, name, cx)?;
        let common = StepCommon::fields(&mut fields, cx);
        fields.ignore(&["identities"]);
        if let Some(span) = fields.entry("template").map(|entry| entry.key.span) {
            let link: Option<Box<TemplateLink>> = Slot::take(&mut fields, "template", cx);
            fields.ignore(&["type", "spec"]);
            fields.finish(cx);
            return Some(Self {
                common,
                kind: Spanned::new(String::new(), span),
                spec: StepSpec::Template(link?),
                asked: Vec::new(),
            });
        }
        fields.required("type", cx);
        let Some(kind): Option<Spanned<String>> = Slot::take(&mut fields, "type", cx) else {
            fields.ignore(&["spec"]);
            let span = fields.span;
            fields.finish(cx);
            // It is told; the step stays, so that its identifier is checked with the others.
            return Some(Self {
                common,
                kind: Spanned::new(String::new(), span),
                spec: StepSpec::Other(None),
                asked: Vec::new(),
            });
        };
        let spec = spec(&kind, &mut fields, cx);
        let asked = fields.node("spec").map_or_else(Vec::new, asked::of);
        fields.finish(cx);
        Some(Self {
            common,
            kind,
            spec: spec.unwrap_or(StepSpec::Other(None)),
            asked,
        })
    }

    fn form(forms: &mut Forms) -> Form {
        forms.object("Step", "A step.", |forms, own| {
            StepCommon::keys(forms, &mut own.keys);
            own.keys.extend([
                form::key(
                    "type",
                    "What it is.",
                    Form::Often(TYPES.iter().map(|own| own.0).collect()),
                ),
                form::key("spec", "What it does.", Form::Any),
                form::key(
                    "template",
                    "In place of type and spec.",
                    TemplateLink::form(forms),
                ),
            ]);
            own.choice = Some(Choice {
                by: "type",
                below: "spec",
                forms: spec_forms(forms),
            });
        })
    }
}

macro_rules! specs {
    ($($($pattern:literal)|+ => $variant:ident,)*) => {
        /// The types whose spec is read.
        #[cfg(test)]
        const READ: &[&str] = &[$($($pattern),+),*];

        /// The forms of the specs that are read, by type.
        fn spec_forms(forms: &mut Forms) -> Vec<(&'static str, Form)> {
            fn of<T: Lower>(_: fn(Box<T>) -> StepSpec, forms: &mut Forms) -> Form {
                T::form(forms)
            }
            let mut found = Vec::new();
            $(
                let form = of(StepSpec::$variant, forms);
                $( found.push(($pattern, form.clone())); )+
            )*
            found
        }

        /// The spec of a type. A type whose spec is kept as it is may leave it out.
        fn spec(kind: &Spanned<String>, fields: &mut Fields<'_>, cx: &mut Cx) -> Option<StepSpec> {
            match kind.value.as_str() {
                $($($pattern)|+ => {
                    fields.required("spec", cx);
                    fields.value_as("spec", &format!("spec of {}", kind.value), cx).map(StepSpec::$variant)
                })*
                known if class(known).is_some() => Some(StepSpec::Other(Slot::take(fields, "spec", cx))),
                unlisted if table::is_of_a_family(unlisted) => {
                    cx.push(
                        Diagnostic::warning(code::UNKNOWN_STEP_TYPE, format!("step type `{unlisted}` is not in the list"))
                            .at(kind.span, "its family is known")
                            .help("check its name; it is refused when it is run"),
                    );
                    Some(StepSpec::Other(Slot::take(fields, "spec", cx)))
                }
                unknown => {
                    fields.ignore(&["spec"]);
                    unknown_type(unknown, kind, cx);
                    None
                }
            }
        }
    };
}

specs! {
    "Run" => Run,
    "Background" => Background,
    "Plugin" => Plugin,
    "GitClone" => GitClone,
    "Action" => Action,
    "DownloadManifests" => DownloadManifests,
    "DownloadAwsS3" => DownloadAwsS3,
    "DownloadGcs" => DownloadGcs,
    "DownloadHarnessStore" => DownloadHarnessStore,
    "S3Upload" => S3Upload,
    "AwsSamBuild" => AwsSamBuild,
    "AwsSamDeploy" => AwsSamDeploy,
    "ServerlessAwsLambdaPrepareRollbackV2" | "ServerlessAwsLambdaPackageV2" | "ServerlessAwsLambdaDeployV2"
        | "ServerlessAwsLambdaRollbackV2" => Serverless,
    "AwsCdkBootstrap" | "AwsCdkSynth" | "AwsCdkDiff" | "AwsCdkDeploy" | "AwsCdkDestroy" | "AwsCdkRollback" => AwsCdk,
    "GoogleCloudRunPrepareRollbackData" | "GoogleCloudRunDeploy" | "GoogleCloudRunTrafficShift"
        | "GoogleCloudRunRollback" | "GoogleCloudRunJob" => CloudRun,
    "GoogleMigDeploy" | "GoogleMigBlueGreenDeploy" | "GoogleMigBlueGreenRollback" | "GoogleMigTrafficShift"
        | "GoogleMigSteadyState" | "GoogleMigRollback" => Mig,
    "AzureFunctionDeploy" | "AzureFunctionRollback" => AzureFunction,
    "AzureContainerAppsPrepareRollbackData" | "AzureContainerAppsDeploy" | "AzureContainerAppsTrafficShift"
        | "AzureContainerAppsRollback" => AzureContainerApps,
    "Agent" => Agent,
    "DeployAwsAgentCoreRevision" | "ShiftAwsAgentCoreRevision" | "RollbackAwsAgentCoreRevision"
        | "DeployGoogleAgentRuntimeRevision" | "ShiftGoogleAgentRuntimeRevision"
        | "RollbackGoogleAgentRuntimeRevision" => AiRevision,
    "SlsaVerification" => SlsaVerification,
    "SscaOrchestration" | "SscaEnforcement" => Ssca,
    "DBSchemaApply" | "DBSchemaRollback" | "DBSchemaRollbackSQL" | "DBSchemaTestPreview" | "DBLiquibaseCommand"
        | "DBFlywayCommand" => DbOps,
    "HarnessApproval" => HarnessApproval,
    "CustomApproval" => CustomApproval,
    "ShellScript" => ShellScript,
    "Http" => Http,
    "Wait" => Wait,
    "Barrier" => Barrier,
    "Queue" => Queue,
    "Container" => Container,
}

fn unknown_type(unknown: &str, kind: &Spanned<String>, cx: &mut Cx) {
    let diagnostic = Diagnostic::error(
        code::UNKNOWN_STEP_TYPE,
        format!("unknown step type `{unknown}`"),
    )
    .at(kind.span, "");
    cx.push(
        match nearest(unknown, TYPES.iter().map(|(name, _)| *name)) {
            Some(near) => diagnostic
                .help(format!("did you mean `{near}`?"))
                .fix(kind.span, near),
            None => diagnostic
                .help("a script in a container is `Run`, an image with settings is `Plugin`"),
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_is_read_is_listed() {
        for name in READ {
            assert!(class(name).is_some(), "{name} is in no class");
        }
    }
}
