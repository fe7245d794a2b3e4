//! Serverless Framework.

use super::super::macros::model;
use super::super::param::Param;
use super::common::PluginCommon;

model! {
    /// `spec` of the four Serverless steps.
    Serverless {
        flat common: PluginCommon;
        /// Chooses the image.
        version: Option<Param<String>> = "serverlessVersion";
        /// Options of `serverless package`.
        package_options: Option<Param<Vec<Param<String>>>> = "packageCommandOptions";
        /// Options of `serverless deploy`.
        deploy_options: Option<Param<Vec<Param<String>>>> = "deployCommandOptions";
    }
}
