//! `service:`: what is deployed.

use indexmap::IndexMap;
use syntax::Spanned;
use syntax::yaml::Node;

use super::super::deployment::DeploymentType;
use super::super::form::{self, Form, Forms};
use super::super::lower::{Cx, Fields, Lower};
use super::super::macros::model;
use super::super::name::{Identifier, Name};
use super::super::param::Param;
use super::super::variable::Variables;

model! {
    /// `service:`.
    Service {
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
        /// Through Argo.
        gitops: Option<Param<bool>> = "gitOpsEnabled";
        /// What it is made of.
        definition: Option<ServiceDefinition> = "serviceDefinition";
    }
}

model! {
    /// `serviceDefinition:`.
    ServiceDefinition {
        /// The deployments that it is for.
        kind: Option<Spanned<DeploymentType>> = "type" required;
        /// Its parts.
        spec: Option<ServiceSpec> = "spec" required;
    }
}

model! {
    /// `spec` of a service: what every deployment type has; the rest is kept as it is.
    ServiceSpec {
        /// `<+serviceVariables.X>`.
        variables: Option<Variables> = "variables";
        /// Its manifests.
        manifests: Option<Param<Vec<ManifestEntry>>> = "manifests";
        /// Which of several Helm charts is the main one.
        manifest_configurations: Option<Node> = "manifestConfigurations";
        /// Its artifacts.
        artifacts: Option<Param<Artifacts>> = "artifacts";
        /// Its files.
        config_files: Option<Param<Vec<ConfigFileEntry>>> = "configFiles";
        /// Kept as they are.
        hooks: Option<Node> = "hooks";
        /// Kept as it is.
        release: Option<Node> = "release";
        /// Kept as it is.
        plugin_info: Option<Node> = "pluginInfo";
        /// The template of a `CustomDeployment`.
        custom_deployment: Option<Node> = "customDeploymentRef";
        /// Kept as they are.
        application_settings: Option<Node> = "applicationSettings";
        /// Kept as they are.
        connection_strings: Option<Node> = "connectionStrings";
        /// Kept as it is.
        startup_command: Option<Node> = "startupCommand";
        /// Kept as it is.
        environment_type: Option<Node> = "environmentType";
        /// Kept as they are.
        startup_scripts: Option<Node> = "startupScript";
    }
}

model! {
    /// One of `manifests`.
    ManifestEntry {
        /// It.
        manifest: Option<Manifest> = "manifest" required;
    }
}

model! {
    /// `manifest:`.
    Manifest {
        /// Its identifier.
        identifier: Identifier = "identifier" required;
        /// `K8sManifest`, `AwsSamDirectory`, `Values`, …
        kind: Option<Spanned<String>> = "type" required;
        /// Its spec, with the store that it is in.
        spec: Option<Node> = "spec" required;
    }
}

model! {
    /// One of `configFiles`.
    ConfigFileEntry {
        /// It.
        file: Option<ConfigFile> = "configFile" required;
    }
}

model! {
    /// `configFile:`.
    ConfigFile {
        /// Its identifier.
        identifier: Identifier = "identifier" required;
        /// Its spec, with the store that it is in.
        spec: Option<Node> = "spec" required;
    }
}

model! {
    /// `artifacts:`.
    Artifacts {
        /// What is deployed.
        primary: Option<Param<Primary>> = "primary";
        /// What is beside it.
        sidecars: Option<Param<Vec<SidecarEntry>>> = "sidecars";
    }
}

/// `primary:`: one of several sources, or, as it was written before there were sources, the source itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Primary {
    /// Which of the sources.
    pub chosen: Option<Param<String>>,
    /// The sources.
    pub sources: Option<Param<Vec<ArtifactSource>>>,
    /// The source itself, in the old form.
    pub own: Option<ArtifactSource>,
}

model! {
    /// One of `sources`.
    ArtifactSource {
        /// Its identifier.
        identifier: Option<Spanned<String>> = "identifier";
        /// For people.
        name: Option<Spanned<String>> = "name";
        /// `DockerRegistry`, `Ecr`, …
        kind: Option<Spanned<String>> = "type";
        /// Its spec.
        spec: Option<Node> = "spec";
        /// In place of type and spec.
        template: Option<Node> = "template";
    }
}

model! {
    /// One of `sidecars`.
    SidecarEntry {
        /// It.
        sidecar: Option<ArtifactSource> = "sidecar" required;
    }
}

impl Lower for Primary {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let mut fields = Fields::of(node, name, cx)?;
        let chosen = fields.value("primaryArtifactRef", cx);
        let sources: Option<Param<Vec<ArtifactSource>>> = fields.value("sources", cx);
        let old = sources.is_none() && fields.node("type").is_some();
        let own = if old {
            fields.ignore(&["spec", "identifier", "name"]);
            fields.finish(cx);
            ArtifactSource::lower(node, name, cx)
        } else {
            fields.finish(cx);
            None
        };
        Some(Self {
            chosen,
            sources,
            own,
        })
    }

    fn form(forms: &mut Forms) -> Form {
        forms.object(
            "Primary",
            "What is deployed: one of several sources.",
            |forms, own| {
                let source = ArtifactSource::form(forms);
                own.keys = vec![
                    form::key("primaryArtifactRef", "Which of the sources.", Form::Text),
                    form::key(
                        "sources",
                        "The sources.",
                        Form::Param(Box::new(Form::List(Box::new(source)))),
                    ),
                    form::key("type", "The source itself, in the old form.", Form::Text),
                    form::key("spec", "Of the source itself, in the old form.", Form::Any),
                ];
            },
        )
    }
}

impl Service {
    /// Its name, or its identifier where it has none.
    pub fn title(&self) -> &str {
        self.name
            .as_ref()
            .map_or(self.identifier.as_str(), |name| &name.0.value)
    }

    /// Its parts.
    pub fn spec(&self) -> Option<&ServiceSpec> {
        self.definition.as_ref()?.spec.as_ref()
    }
}
