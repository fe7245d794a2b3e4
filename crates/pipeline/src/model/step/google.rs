//! Google Cloud Run and managed instance groups.

use syntax::yaml::Node;

use super::super::macros::model;
use super::super::param::Param;
use super::super::units::Duration;
use super::common::PluginCommon;

model! {
    /// `spec` of the five Cloud Run steps; which keys are needed depends on the step.
    CloudRun {
        flat common: PluginCommon;
        /// Options of the deployment.
        options: Option<Param<Vec<Param<String>>>> = "commandOptions";
        /// The new revision gets no traffic.
        skip_traffic_shift: Option<Param<bool>> = "skipTrafficShift";
        /// The job.
        job_name: Option<Param<String>> = "jobName";
        /// Its manifest.
        job_manifest: Option<Param<String>> = "jobManifest";
        /// Options of its making.
        replace_options: Option<Param<Vec<Param<String>>>> = "replaceCommandOptions";
        /// Options of its run.
        execute_options: Option<Param<Vec<Param<String>>>> = "executeCommandOptions";
        /// How traffic is divided.
        revision_traffic: Option<Param<Vec<RevisionTraffic>>> = "revisionTrafficDetails";
    }
}

model! {
    /// The traffic of one revision.
    RevisionTraffic {
        /// The revision.
        revision_name: Option<Param<String>> = "revisionName";
        /// Hundredths of it.
        traffic_value: Option<Param<u32>> = "trafficValue";
    }
}

model! {
    /// `spec` of the steps for managed instance groups; which keys are needed depends on the step.
    Mig {
        flat common: PluginCommon;
        /// The group.
        mig: Option<Param<String>> = "mig";
        /// How many instances.
        target_size: Option<Param<u32>> = "targetSize";
        /// `{backendService, mig}`.
        blue_environment: Option<Node> = "blueEnvironment";
        /// `{backendService, mig}`.
        green_environment: Option<Node> = "greenEnvironment";
        /// How traffic moves.
        traffic_config: Option<Node> = "trafficConfig";
        /// What instances are made from.
        instance_template: Option<Param<String>> = "instanceTemplate";
        /// How often it is asked.
        polling_interval: Option<Param<Duration>> = "pollingInterval";
        /// The old group shrinks.
        downsize_old_mig: Option<Param<bool>> = "downsizeOldMig";
    }
}
