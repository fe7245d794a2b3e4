//! AWS CDK.

use indexmap::IndexMap;

use super::super::macros::{model, words};
use super::super::name::Ref;
use super::super::param::Param;
use super::common::PluginCommon;

words! {
    /// What a step of AWS CDK does.
    AwsCdkAction {
        /// Prepares the account.
        Bootstrap = "AwsCdkBootstrap",
        /// Makes the templates.
        Synth = "AwsCdkSynth",
        /// Compares.
        Diff = "AwsCdkDiff",
        /// Deploys.
        Deploy = "AwsCdkDeploy",
        /// Removes.
        Destroy = "AwsCdkDestroy",
        /// Deploys what was there before.
        Rollback = "AwsCdkRollback",
    }
}

model! {
    /// `spec` of the six CDK steps; which keys are needed depends on the step.
    AwsCdk {
        flat common: PluginCommon;
        /// The app, from the workspace.
        app_path: Option<Param<String>> = "appPath";
        /// The AWS account.
        aws_connector_ref: Option<Param<Ref>> = "awsConnectorRef";
        /// Its region.
        region: Option<Param<String>> = "region";
        /// A role to assume.
        role_arn: Option<Param<String>> = "roleArn";
        /// Options of the command.
        options: Option<Param<Vec<Param<String>>>> = "commandOptions";
        /// The stacks.
        stack_names: Option<Param<Vec<Param<String>>>> = "stackNames";
        /// The templates become an output.
        export_template: Option<Param<bool>> = "exportTemplate";
        /// What rollback finds it by.
        provisioner_identifier: Option<Param<String>> = "provisionerIdentifier";
        /// The stacks' parameters.
        parameters: IndexMap<String, Param<String>> = "parameters";
    }
}
