//! What a user may write: the format's documents, lowered from YAML with every diagnostic collected.
//!
//! ```text
//! yaml::Node ─► lower (types, words, units) ─► Pipeline, Entities ─► check (what hangs together) ─► diagnostics
//! ```
//!
//! Start at [`load`]. [`Pipeline`], [`Stage`], [`Execution`], [`Element`], [`StepGroup`] and [`Step`] are the way down;
//! a step type has its spec in a file of its own under `step`. Scalars that may be unknown until a run are
//! [`Param`]s: a literal, a runtime input, or text with expressions. Everything keeps its place in the text.
//!
//! A `None` in the model is either not written or already reported as an error, so whoever goes on with a model that
//! has no errors may take it for "not written". Nothing here fills in defaults: that is `plan`'s and `pod`'s matter.

mod check;
mod condition;
mod deployment;
mod entity;
mod execution;
mod expand;
mod failure;
mod form;
mod group;
mod infra;
mod load;
pub(crate) mod lower;
mod macros;
mod name;
mod param;
mod pipeline;
mod resources;
mod stage;
mod step;
mod strategy;
mod template;
pub mod tree;
mod units;
mod variable;

pub use condition::{Status, When};
pub use deployment::{
    Deployment, DeploymentType, EnvironmentLink, EnvironmentLinks, GroupLink, InfrastructureLink,
    LinkMetadata, ServiceLink, ServiceLinks, UseFromStage,
};
pub(crate) use entity::same;
pub use entity::{
    ArtifactSource, Artifacts, ConfigFile, ConfigFileEntry, ConnectionType, Connector,
    ConnectorCommon, ConnectorSpec, DockerAuth, DockerRegistry, Entities, Entity, Environment,
    EnvironmentGroup, EnvironmentKind, GitAuth, GitConnector, GitKind, GlobalValue, GlobalVariable,
    Infrastructure, Kubernetes, Manifest, ManifestEntry, OtherEntity, Overridden, OverrideKind,
    Overrides, Primary, ProviderType, Secret, SecretCommon, SecretKind, SecretValue, Service,
    ServiceDefinition, ServiceOverrides, ServiceSpec, SidecarEntry, Transport, UserName, ValueType,
};
pub use execution::{Element, Elements, Execution, Insert, Parallel};
pub use expand::expand;
pub use failure::{
    Action, ActionKind, ActionType, ErrorKind, FailureStrategy, Manual, Next, Retry,
};
pub use form::{Choice, Form, Forms, Key, Object};
pub use group::{Arch, Os, Platform, StepGroup};
pub use infra::{
    Capabilities, ConfigMap, ContainerSecurityContext, EcsDirect, Effect, EmptyDir, HostPath,
    HostPathType, InfraType, KubernetesDirect, Medium, Operator, PersistentVolumeClaim, Pool,
    PullPolicy, SecretVolume, StepGroupInfra, TextMap, Toleration, Vm, Volume, VolumeSource,
};
pub use load::{Loaded, Options, is_root, load, read};
pub use name::{Identifier, Name, Ref, Scope, is_identifier, is_name, is_variable};
pub use param::{Input, Malformed, Param};
pub use pipeline::{Barrier, FlowControl, InsertStages, ParallelStages, Pipeline, StageEntry};
pub use resources::{
    AliasScope, Amounts, OutputAlias, OutputType, OutputVariable, ReportPaths, ReportType, Reports,
    Resources,
};
pub use stage::{
    Custom, OtherStage, RunMode, RunModeType, STAGE_TYPES, Stage, StageCommon, StageSpec,
};
pub use step::*;
pub use strategy::{Combination, Looping, Matrix, OnFailure, Repeat, Strategy, Unit};
pub use template::{AllowedOverride, Template, TemplateKind, TemplateLink};
pub use units::{Cpu, Duration, Memory, User};
pub use variable::{Variable, VariableType, Variables};
