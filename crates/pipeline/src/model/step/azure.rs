//! Azure functions and container apps.

use super::super::macros::model;
use super::super::param::Param;
use super::common::PluginCommon;
use super::google::RevisionTraffic;

model! {
    /// `spec` of `AzureFunctionDeploy` and `AzureFunctionRollback`.
    AzureFunction {
        flat common: PluginCommon;
        /// The app.
        function_app: Option<Param<String>> = "functionApp";
        /// Its slot.
        deployment_slot: Option<Param<String>> = "deploymentSlot";
    }
}

model! {
    /// `spec` of the four steps for container apps.
    AzureContainerApps {
        flat common: PluginCommon;
        /// All traffic to the new revision.
        force_traffic_to_latest: Option<Param<bool>> = "forceTrafficToLatest";
        /// How traffic is divided.
        revision_traffic: Option<Param<Vec<RevisionTraffic>>> = "revisionTrafficDetails";
    }
}
