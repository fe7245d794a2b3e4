//! `spec` of a Deployment stage: what is deployed where, and how.

use syntax::yaml::Node;
use syntax::{Diagnostic, Spanned, code};

use super::execution::Execution;
use super::lower::{Cx, Fields};
use super::macros::{model, words};
use super::param::Param;

words! {
    /// `deploymentType`.
    DeploymentType {
        /// Manifests to a cluster.
        Kubernetes = "Kubernetes",
        /// Helm's own install.
        NativeHelm = "NativeHelm",
        /// Hosts over SSH.
        Ssh = "Ssh",
        /// Hosts over `WinRM`.
        WinRm = "WinRm",
        /// Serverless Framework to AWS Lambda.
        ServerlessAwsLambda = "ServerlessAwsLambda",
        /// Azure web apps.
        AzureWebApp = "AzureWebApp",
        /// Azure functions.
        AzureFunction = "AzureFunction",
        /// A deployment template.
        CustomDeployment = "CustomDeployment",
        /// Amazon ECS.
        Ecs = "ECS",
        /// Spot Elastigroup.
        Elastigroup = "Elastigroup",
        /// Tanzu application service.
        Tas = "TAS",
        /// AWS auto scaling groups.
        Asg = "Asg",
        /// Google cloud functions.
        GoogleCloudFunctions = "GoogleCloudFunctions",
        /// AWS Lambda.
        AwsLambda = "AwsLambda",
        /// AWS SAM.
        AwsSam = "AWS_SAM",
        /// Google Cloud Run.
        GoogleCloudRun = "GoogleCloudRun",
        /// Azure container apps.
        AzureContainerApps = "AzureContainerApps",
        /// Salesforce.
        Salesforce = "Salesforce",
        /// Google managed instance groups.
        GoogleManagedInstanceGroup = "GoogleManagedInstanceGroup",
        /// Agents.
        AiAgent = "AiAgent",
    }
}

model! {
    /// `spec` of a Deployment stage. The entities are kept as they are: what acts on them reads them.
    Deployment {
        /// What kind of thing is deployed.
        deployment_type: Option<Spanned<DeploymentType>> = "deploymentType";
        /// The service.
        service: Option<ServiceLink> = "service";
        /// Several.
        services: Option<ServiceLinks> = "services";
        /// The first version of the format.
        service_config: Option<Node> = "serviceConfig";
        /// The environment.
        environment: Option<EnvironmentLink> = "environment";
        /// Several.
        environments: Option<EnvironmentLinks> = "environments";
        /// A group of them.
        environment_group: Option<GroupLink> = "environmentGroup";
        /// The first version of the format.
        infrastructure: Option<Node> = "infrastructure";
        /// What runs.
        execution: Option<Execution> = "execution";
        /// Through Argo.
        gitops: Option<Param<bool>> = "gitOpsEnabled";
        /// The template of a `CustomDeployment`.
        custom_deployment: Option<Node> = "customDeploymentRef";
        /// Kept as it is.
        multi_deployment: Option<Node> = "multiDeploymentConfig";
        /// Kept as it is.
        metadata: Option<Node> = "deploymentMetadata";
        /// Written by old editors.
        service_dependencies: Option<Node> = "serviceDependencies";
    }
    before before;
}

model! {
    /// `service:`.
    ServiceLink {
        /// Its reference.
        service_ref: Option<Param<String>> = "serviceRef";
        /// Values for its inputs.
        inputs: Option<Node> = "serviceInputs";
        /// The one of an earlier stage.
        use_from_stage: Option<UseFromStage> = "useFromStage";
        /// The branch its file is read from.
        git_branch: Option<Param<String>> = "gitBranch";
        /// Kept as it is.
        metadata: Option<Node> = "metadata";
        /// The registry is not asked whether the artifact is there.
        disable_artifact_validation: Option<Param<bool>> = "disableArtifactValidation";
    }
}

model! {
    /// `services:`.
    ServiceLinks {
        /// They.
        values: Option<Param<Vec<ServiceLink>>> = "values" required;
        /// Whether they go on at once.
        metadata: Option<LinkMetadata> = "metadata";
    }
}

model! {
    /// `environments:`.
    EnvironmentLinks {
        /// They.
        values: Option<Param<Vec<EnvironmentLink>>> = "values";
        /// Kept as they are.
        filters: Option<Node> = "filters";
        /// Whether they go on at once.
        metadata: Option<LinkMetadata> = "metadata";
    }
}

model! {
    /// `environmentGroup:`.
    GroupLink {
        /// Its reference.
        group_ref: Option<Param<String>> = "envGroupRef" required;
        /// Those of its environments that are meant.
        environments: Option<Param<Vec<EnvironmentLink>>> = "environments";
        /// All of them.
        deploy_to_all: Option<Param<bool>> = "deployToAll";
        /// Kept as they are.
        filters: Option<Node> = "filters";
        /// Whether they go on at once.
        metadata: Option<LinkMetadata> = "metadata";
        /// The branch its file is read from.
        git_branch: Option<Param<String>> = "gitBranch";
    }
}

model! {
    /// `metadata:` of several.
    LinkMetadata {
        /// They go on at once.
        parallel: Option<Param<bool>> = "parallel";
    }
}

model! {
    /// `useFromStage:`.
    UseFromStage {
        /// The stage's identifier.
        stage: Option<Spanned<String>> = "stage" required;
    }
}

model! {
    /// `environment:`.
    EnvironmentLink {
        /// Its reference.
        environment_ref: Option<Param<String>> = "environmentRef";
        /// To all of its infrastructures.
        deploy_to_all: Option<Param<bool>> = "deployToAll";
        /// To these of its infrastructures.
        infrastructures: Option<Param<Vec<InfrastructureLink>>> = "infrastructureDefinitions";
        /// To this one, in a Custom stage.
        infrastructure: Option<InfrastructureLink> = "infrastructureDefinition";
        /// Values for its inputs.
        inputs: Option<Node> = "environmentInputs";
        /// Values for the override's inputs.
        override_inputs: Option<Node> = "serviceOverrideInputs";
        /// Kept as it is.
        service_overrides: Option<Node> = "servicesOverrides";
        /// Kept as it is.
        infra_inputs: Option<Node> = "infraInputs";
        /// What makes the infrastructure before the steps.
        provisioner: Option<Node> = "provisioner";
        /// Kept as they are.
        filters: Option<Node> = "filters";
        /// The one of an earlier stage.
        use_from_stage: Option<UseFromStage> = "useFromStage";
        /// The branch its file is read from.
        git_branch: Option<Param<String>> = "gitBranch";
        /// Clusters of GitOps.
        gitops_clusters: Option<Node> = "gitOpsClusters";
        /// Kept as it is.
        metadata: Option<Node> = "metadata";
    }
}

model! {
    /// One of `infrastructureDefinitions`.
    InfrastructureLink {
        /// Its identifier.
        identifier: Option<Param<String>> = "identifier" required;
        /// Values for its inputs.
        inputs: Option<Node> = "inputs";
        /// Kept as it is.
        metadata: Option<Node> = "metadata";
        /// Kept as it is.
        git_branch: Option<Node> = "gitBranch";
    }
}

/// What its keys must be together.
fn before(fields: &mut Fields<'_>, cx: &mut Cx) {
    const SERVICE: [&str; 3] = ["service", "services", "serviceConfig"];
    const ENVIRONMENT: [&str; 4] = [
        "environment",
        "environments",
        "environmentGroup",
        "infrastructure",
    ];
    fields.required("execution", cx);
    for ways in [&SERVICE[..], &ENVIRONMENT[..]] {
        let written: Vec<_> = ways
            .iter()
            .copied()
            .filter(|way| fields.node(way).is_some())
            .collect();
        if let [first, second, ..] = written[..] {
            let span = |key: &str| fields.key_span(key).unwrap_or_else(|| fields.place());
            cx.push(
                Diagnostic::error(
                    code::ONE_OF,
                    format!("`{first}` and `{second}` exclude each other"),
                )
                .at(span(second), "")
                .at(span(first), "")
                .help("keep one of them"),
            );
        }
    }
}
