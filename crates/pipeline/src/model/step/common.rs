//! What the steps that run in a container have in common.

use indexmap::IndexMap;

use super::super::infra::PullPolicy;
use super::super::macros::model;
use super::super::name::Ref;
use super::super::param::Param;
use super::super::resources::Resources;
use super::super::units::User;

model! {
    /// A step's container.
    Container {
        /// The registry of its image.
        connector_ref: Option<Param<Ref>> = "connectorRef";
        /// The artifact registry in its place.
        registry_ref: Option<Param<String>> = "registryRef";
        /// Its image.
        image: Option<Param<String>> = "image";
        /// When the registry is asked.
        image_pull_policy: Option<Param<PullPolicy>> = "imagePullPolicy";
        /// All capabilities and devices; goes before the group's.
        privileged: Option<Param<bool>> = "privileged";
        /// Its user; goes before the group's.
        run_as_user: Option<Param<User>> = "runAsUser";
        /// Limits and requests.
        resources: Option<Resources> = "resources";
        /// Its environment.
        env: IndexMap<String, Param<String>> = "envVariables";
    }
}

model! {
    /// What the steps of cloud plugins have besides.
    PluginCommon {
        flat container: Container;
        /// A script before the plugin.
        pre_execution: Option<Param<String>> = "preExecution";
        /// The delegates that may drive it.
        delegate_selectors: Option<Param<Vec<Param<String>>>> = "delegateSelectors";
    }
}
