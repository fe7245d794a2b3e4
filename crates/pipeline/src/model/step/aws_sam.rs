//! AWS SAM.

use super::super::macros::model;
use super::super::name::Ref;
use super::super::param::Param;
use super::common::PluginCommon;

model! {
    /// `spec` of `AwsSamBuild`.
    AwsSamBuild {
        flat common: PluginCommon;
        /// Options of `sam build`.
        options: Option<Param<Vec<Param<String>>>> = "buildCommandOptions";
        /// The registry that the build pulls from.
        registry: Option<Param<Ref>> = "samBuildDockerRegistryConnectorRef";
        /// Chooses the image.
        version: Option<Param<String>> = "samVersion";
    }
}

model! {
    /// `spec` of `AwsSamDeploy`.
    AwsSamDeploy {
        flat common: PluginCommon;
        /// The stack.
        stack_name: Option<Param<String>> = "stackName" required;
        /// Options of `sam deploy`.
        options: Option<Param<Vec<Param<String>>>> = "deployCommandOptions";
        /// Chooses the image.
        version: Option<Param<String>> = "samVersion";
    }
}
