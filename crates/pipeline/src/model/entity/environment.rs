//! `environment:`, groups of them, infrastructures in them, and what is overridden there.

use indexmap::IndexMap;
use syntax::Spanned;
use syntax::yaml::Node;

use super::super::deployment::DeploymentType;
use super::super::macros::{model, words};
use super::super::name::{Identifier, Name};
use super::super::param::Param;
use super::super::variable::Variables;
use super::service::{ConfigFileEntry, ManifestEntry};

words! {
    /// `type` of an environment.
    EnvironmentKind {
        /// Tried out.
        PreProduction = "PreProduction",
        /// Used.
        Production = "Production",
    }
}

model! {
    /// `environment:`.
    Environment {
        /// Its identifier.
        identifier: Identifier = "identifier" required;
        /// For people.
        name: Option<Name> = "name";
        /// For people.
        description: Option<Param<String>> = "description";
        /// For people and filters.
        tags: IndexMap<String, Param<String>> = "tags";
        /// Its organization.
        org: Option<Spanned<String>> = "orgIdentifier";
        /// Its project.
        project: Option<Spanned<String>> = "projectIdentifier";
        /// What it is for.
        kind: Option<Spanned<EnvironmentKind>> = "type" required;
        /// Variables over those of every service.
        variables: Option<Variables> = "variables";
        /// What else is overridden of every service.
        overrides: Option<Overridden> = "overrides";
    }
}

model! {
    /// What an override holds.
    Overridden {
        /// Variables over those of the service.
        variables: Option<Variables> = "variables";
        /// Manifests after those of the service.
        manifests: Option<Param<Vec<ManifestEntry>>> = "manifests";
        /// Files in place of those of the service.
        config_files: Option<Param<Vec<ConfigFileEntry>>> = "configFiles";
        /// Kept as they are.
        application_settings: Option<Node> = "applicationSettings";
        /// Kept as they are.
        connection_strings: Option<Node> = "connectionStrings";
    }
}

model! {
    /// `environmentGroup:`.
    EnvironmentGroup {
        /// Its identifier.
        identifier: Identifier = "identifier" required;
        /// For people.
        name: Option<Name> = "name";
        /// For people.
        description: Option<Spanned<String>> = "description";
        /// For people and filters.
        tags: IndexMap<String, Spanned<String>> = "tags";
        /// Its organization.
        org: Option<Spanned<String>> = "orgIdentifier";
        /// Its project.
        project: Option<Spanned<String>> = "projectIdentifier";
        /// For people.
        color: Option<Node> = "color";
        /// The environments of it.
        environments: Option<Vec<Spanned<String>>> = "envIdentifiers" required;
    }
}

model! {
    /// `infrastructureDefinition:`.
    Infrastructure {
        /// Its identifier.
        identifier: Identifier = "identifier" required;
        /// For people.
        name: Option<Name> = "name";
        /// For people.
        description: Option<Param<String>> = "description";
        /// For people and filters.
        tags: IndexMap<String, Param<String>> = "tags";
        /// Its organization.
        org: Option<Spanned<String>> = "orgIdentifier";
        /// Its project.
        project: Option<Spanned<String>> = "projectIdentifier";
        /// The environment that it is in.
        environment_ref: Option<Spanned<String>> = "environmentRef" required;
        /// The deployments that it is for.
        deployment_type: Option<Spanned<DeploymentType>> = "deploymentType" required;
        /// `KubernetesDirect`, `AWS_SAM`, …
        kind: Option<Spanned<String>> = "type" required;
        /// Its spec as it is.
        spec: Option<Node> = "spec" required;
        /// The services that may be deployed there.
        scoped_services: Option<Node> = "scopedServices";
        /// Several deployments of one service may go on at once.
        simultaneous: Option<Param<bool>> = "allowSimultaneousDeployments";
    }
}

words! {
    /// What an override is of.
    OverrideKind {
        /// Every service in an environment.
        EnvGlobal = "ENV_GLOBAL_OVERRIDE",
        /// One service in an environment.
        EnvService = "ENV_SERVICE_OVERRIDE",
        /// Every service on an infrastructure.
        InfraGlobal = "INFRA_GLOBAL_OVERRIDE",
        /// One service on an infrastructure.
        InfraService = "INFRA_SERVICE_OVERRIDE",
        /// Every service on a cluster of GitOps.
        ClusterGlobal = "CLUSTER_GLOBAL_OVERRIDE",
        /// One service on a cluster of GitOps.
        ClusterService = "CLUSTER_SERVICE_OVERRIDE",
    }
}

model! {
    /// `overrides:`, an entity of its own. In its file on a server only its content stands, and what it is of is in the
    /// file's name; here it is written beside the content.
    Overrides {
        flat own: Overridden;
        /// Its identifier.
        identifier: Option<Spanned<String>> = "identifier";
        /// What it is of; else what its references say.
        kind: Option<Spanned<OverrideKind>> = "type";
        /// The environment.
        environment_ref: Option<Spanned<String>> = "environmentRef" required;
        /// The service, where it is of one.
        service_ref: Option<Spanned<String>> = "serviceRef";
        /// The infrastructure, where it is of one.
        infrastructure: Option<Spanned<String>> = "infraIdentifier";
        /// The cluster, where it is of one.
        cluster: Option<Spanned<String>> = "clusterIdentifier";
        /// Its organization.
        org: Option<Spanned<String>> = "orgIdentifier";
        /// Its project.
        project: Option<Spanned<String>> = "projectIdentifier";
        /// The content, in the API's form.
        spec: Option<Overridden> = "spec";
    }
}

model! {
    /// `serviceOverrides:`, the form before `overrides`.
    ServiceOverrides {
        flat own: Overridden;
        /// The environment.
        environment_ref: Option<Spanned<String>> = "environmentRef" required;
        /// The service.
        service_ref: Option<Spanned<String>> = "serviceRef" required;
        /// Its organization.
        org: Option<Spanned<String>> = "orgIdentifier";
        /// Its project.
        project: Option<Spanned<String>> = "projectIdentifier";
    }
}

words! {
    /// `valueType` of a variable of an account, an organization or a project.
    ValueType {
        /// Written out.
        Fixed = "FIXED",
        /// One of several.
        FixedSet = "FIXED_SET",
        /// Anything that matches.
        Regex = "REGEX",
    }
}

model! {
    /// `variable:`, one of an account, an organization or a project.
    GlobalVariable {
        /// Its identifier.
        identifier: Identifier = "identifier" required;
        /// For people.
        name: Option<Spanned<String>> = "name";
        /// For people.
        description: Option<Spanned<String>> = "description";
        /// For people and filters.
        tags: IndexMap<String, Spanned<String>> = "tags";
        /// Its organization.
        org: Option<Spanned<String>> = "orgIdentifier";
        /// Its project.
        project: Option<Spanned<String>> = "projectIdentifier";
        /// `String`.
        kind: Option<Spanned<String>> = "type";
        /// Its value.
        spec: Option<GlobalValue> = "spec" required;
    }
}

model! {
    /// `spec` of such a variable.
    GlobalValue {
        /// How its value is given.
        kind: Option<Spanned<ValueType>> = "valueType";
        /// The value.
        fixed: Option<Spanned<String>> = "fixedValue";
        /// What it may be.
        allowed: Option<Node> = "allowedValues";
        /// What it is where nothing else is given.
        default: Option<Spanned<String>> = "defaultValue";
    }
}

impl Environment {
    /// Its name, or its identifier where it has none.
    pub fn title(&self) -> &str {
        self.name
            .as_ref()
            .map_or(self.identifier.as_str(), |name| &name.0.value)
    }
}

impl Infrastructure {
    /// Its name, or its identifier where it has none.
    pub fn title(&self) -> &str {
        self.name
            .as_ref()
            .map_or(self.identifier.as_str(), |name| &name.0.value)
    }
}
