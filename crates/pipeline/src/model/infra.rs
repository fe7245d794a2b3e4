//! `stepGroupInfra`: where the steps of a group run.

mod security;
mod toleration;
mod volume;

pub use security::{Capabilities, ContainerSecurityContext};
pub use toleration::{Effect, Operator, Toleration};
pub use volume::{
    ConfigMap, EmptyDir, HostPath, HostPathType, Medium, PersistentVolumeClaim, SecretVolume,
    Volume, VolumeSource,
};

use indexmap::IndexMap;
use syntax::yaml::{Kind, Node};
use syntax::{Diagnostic, Span, Spanned, code};

use super::form::{self, Choice, Form, Forms};
use super::group::Os;
use super::lower::{Cx, Fields, Lower, Slot};
use super::macros::{model, words};
use super::name::Ref;
use super::param::Param;
use super::resources::Resources;
use super::units::{Duration, User};

/// `stepGroupInfra:`.
#[derive(Debug, Clone, PartialEq)]
pub enum StepGroupInfra {
    /// A pod.
    KubernetesDirect(Box<KubernetesDirect>),
    /// A machine of a pool.
    Vm(Box<Vm>),
    /// A task of Amazon ECS.
    EcsDirect(Box<EcsDirect>),
    /// The delegate: not containerized.
    Delegate(Span),
    /// Nothing: not containerized.
    Noop(Span),
}

words! {
    /// `type` of `stepGroupInfra`.
    InfraType {
        /// A pod.
        KubernetesDirect = "KubernetesDirect",
        /// A machine of a pool.
        Vm = "VM",
        /// A task of Amazon ECS.
        EcsDirect = "ECSDirect",
        /// The delegate.
        Delegate = "Delegate",
        /// Nothing.
        Noop = "Noop",
    }
}

words! {
    /// `imagePullPolicy`, as Kubernetes means it.
    PullPolicy {
        /// Ask the registry at every start.
        Always = "Always",
        /// Only what is here.
        Never = "Never",
        /// Pull what is not here.
        IfNotPresent = "IfNotPresent",
    }
}

/// A map of texts that may also be an expression.
pub type TextMap = Option<Param<IndexMap<String, Param<String>>>>;

model! {
    /// `spec` of `KubernetesDirect`.
    KubernetesDirect {
        /// The cluster.
        connector_ref: Option<Param<Ref>> = "connectorRef";
        /// The namespace; white space in it is dropped before use.
        namespace: Option<Param<String>> = "namespace";
        /// Besides the shared paths; each is mounted in every container.
        volumes: Option<Param<Vec<Volume>>> = "volumes";
        /// The pod's service account.
        service_account_name: Option<Param<String>> = "serviceAccountName";
        /// Whether its token is mounted.
        automount_service_account_token: Option<Param<bool>> = "automountServiceAccountToken";
        /// Over our own.
        labels: TextMap = "labels";
        /// Over our own.
        annotations: TextMap = "annotations";
        /// Of every container.
        security: Option<Param<ContainerSecurityContext>> = "containerSecurityContext";
        /// The pod's priority.
        priority_class_name: Option<Param<String>> = "priorityClassName";
        /// The pod's user.
        run_as_user: Option<Param<User>> = "runAsUser";
        /// The nodes that may hold it.
        node_selector: TextMap = "nodeSelector";
        /// The taints that it tolerates.
        tolerations: Option<Param<Vec<Toleration>>> = "tolerations";
        /// Names for 127.0.0.1 inside.
        host_names: Option<Param<Vec<Param<String>>>> = "hostNames";
        /// How long all containers may take to start; 8 minutes where nothing is said.
        init_timeout: Option<Param<Duration>> = "initTimeout";
        /// Linux where nothing is said.
        os: Option<Param<Os>> = "os";
        /// The registry for what is ours.
        harness_image_connector_ref: Option<Param<Ref>> = "harnessImageConnectorRef";
        /// Of what is ours.
        image_pull_policy: Option<Param<PullPolicy>> = "imagePullPolicy";
        /// Only the `Container` step has them.
        resources: Option<Resources> = "resources";
        /// A strategic merge over the pod's spec: YAML text.
        pod_spec_overlay: Option<Param<String>> = "podSpecOverlay";
        /// The earlier step group whose workspace it begins with, `group` or `stage.group`: an extension.
        workspace_from: Option<Spanned<String>> = "workspaceFrom";
    }
}

model! {
    /// `spec` of `VM`.
    Vm {
        /// `Pool`.
        kind: Option<Spanned<String>> = "type" required;
        /// The pool.
        pool: Option<Pool> = "spec" required;
    }
}

model! {
    /// `spec` of a pool.
    Pool {
        /// Its name.
        pool_name: Option<Param<String>> = "poolName";
        /// The older key for it.
        identifier: Option<Param<String>> = "identifier";
        /// Its operating system.
        os: Option<Param<Os>> = "os";
        /// The registry for what is ours.
        harness_image_connector_ref: Option<Param<Ref>> = "harnessImageConnectorRef";
        /// How long it may take to start.
        init_timeout: Option<Param<Duration>> = "initTimeout";
    }
}

model! {
    /// `spec` of `ECSDirect`.
    EcsDirect {
        /// The AWS account.
        connector_ref: Option<Param<Ref>> = "connectorRef" required;
        /// The cluster.
        cluster: Option<Param<String>> = "cluster";
        /// Its region.
        region: Option<Param<String>> = "region";
        /// The networks of the task.
        subnets: Option<Param<Vec<Param<String>>>> = "subnets";
        /// Its firewall.
        security_groups: Option<Param<Vec<Param<String>>>> = "securityGroups";
        /// What its containers may do.
        task_role_arn: Option<Param<String>> = "taskRoleArn";
        /// What ECS may do for it.
        execution_role_arn: Option<Param<String>> = "executionRoleArn";
        /// How long it may take to start.
        init_timeout: Option<Param<Duration>> = "initTimeout";
        /// A shell may be opened in it.
        enable_execute_command: Option<Param<bool>> = "enableExecuteCommand";
        /// Where it logs.
        log_group_name: Option<Param<String>> = "logGroupName";
        /// Its volumes.
        volumes: Option<Param<Vec<Volume>>> = "volumes";
        /// Of every container.
        security: Option<Param<ContainerSecurityContext>> = "containerSecurityContext";
        /// The registry for what is ours.
        harness_image_connector_ref: Option<Param<Ref>> = "harnessImageConnectorRef";
    }
}

impl StepGroupInfra {
    /// Whether steps run in containers of their own.
    pub const fn is_containerized(&self) -> bool {
        !matches!(self, Self::Delegate(_) | Self::Noop(_))
    }

    /// Its type.
    pub const fn infra_type(&self) -> InfraType {
        match self {
            Self::KubernetesDirect(_) => InfraType::KubernetesDirect,
            Self::Vm(_) => InfraType::Vm,
            Self::EcsDirect(_) => InfraType::EcsDirect,
            Self::Delegate(_) => InfraType::Delegate,
            Self::Noop(_) => InfraType::Noop,
        }
    }
}

impl Lower for StepGroupInfra {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let mut fields = Fields::of(node, name, cx)?;
        fields.required("type", cx);
        let kind: Option<InfraType> = Slot::take(&mut fields, "type", cx);
        let span = fields.span;
        if matches!(
            kind,
            Some(InfraType::KubernetesDirect | InfraType::Vm | InfraType::EcsDirect)
        ) {
            fields.required("spec", cx);
        } else {
            fields.ignore(&["spec"]);
        }
        let infra = match kind {
            Some(InfraType::KubernetesDirect) => {
                let spec = fields.node("spec");
                spec.and_then(|node| kubernetes(node, cx))
                    .map(|spec| Self::KubernetesDirect(Box::new(spec)))
            }
            Some(InfraType::Vm) => fields.value_as("spec", "spec of VM", cx).map(Self::Vm),
            Some(InfraType::EcsDirect) => fields
                .value_as("spec", "spec of ECSDirect", cx)
                .map(Self::EcsDirect),
            Some(InfraType::Delegate) => Some(Self::Delegate(span)),
            Some(InfraType::Noop) => Some(Self::Noop(span)),
            None => None,
        };
        fields.finish(cx);
        infra
    }

    fn form(forms: &mut Forms) -> Form {
        forms.object(
            "StepGroupInfra",
            "Where the steps of a group run.",
            |forms, own| {
                own.keys = vec![
                    form::required("type", "What it is.", InfraType::form(forms)),
                    form::key("spec", "Its settings.", Form::Any),
                ];
                own.choice = Some(Choice {
                    by: "type",
                    below: "spec",
                    forms: vec![
                        ("KubernetesDirect", KubernetesDirect::form(forms)),
                        ("VM", Vm::form(forms)),
                        ("ECSDirect", EcsDirect::form(forms)),
                    ],
                });
            },
        )
    }
}

/// The pod's settings. A name under `automountServiceAccountToken`, a mistake of many, gets its own message.
fn kubernetes(node: &Node, cx: &mut Cx) -> Option<KubernetesDirect> {
    const AUTOMOUNT: &str = "automountServiceAccountToken";
    let before = cx.diagnostics.len();
    let lowered = KubernetesDirect::lower(node, "spec of KubernetesDirect", cx)?;
    let value = node
        .as_mapping()
        .and_then(|mapping| mapping.entry(AUTOMOUNT));
    if let Some(entry) = value
        && lowered.automount_service_account_token.is_none()
        && let Some(scalar) = entry.value.as_scalar()
        && scalar.kind == Kind::String
        && !scalar.text.trim().is_empty()
    {
        let at = entry.value.span;
        let generic = |diagnostic: &Diagnostic| {
            diagnostic.code == code::WRONG_TYPE && diagnostic.span() == Some(at)
        };
        if let Some(index) = cx.diagnostics[before..].iter().position(generic) {
            cx.diagnostics.remove(before + index);
        }
        cx.push(
            Diagnostic::error(
                code::SERVICE_ACCOUNT_MEANT,
                format!(
                    "`{AUTOMOUNT}` is true or false, `{}` is a name",
                    scalar.text
                ),
            )
            .at(at, "")
            .help(format!(
                "name the service account with `serviceAccountName: {}`",
                scalar.text
            ))
            .fix(entry.key.span, "serviceAccountName"),
        );
    }
    Some(lowered)
}
