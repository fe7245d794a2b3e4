//! Files out of the pod.

use super::super::macros::model;
use super::super::name::Ref;
use super::super::param::Param;
use super::super::resources::Resources;
use super::super::units::User;

model! {
    /// `spec` of `S3Upload`.
    S3Upload {
        /// The AWS account.
        connector_ref: Option<Param<Ref>> = "connectorRef" required;
        /// The bucket's region.
        region: Option<Param<String>> = "region" required;
        /// The bucket.
        bucket: Option<Param<String>> = "bucket" required;
        /// What is uploaded.
        source_path: Option<Param<String>> = "sourcePath" required;
        /// Another service with the same API.
        endpoint: Option<Param<String>> = "endpoint";
        /// Its place in the bucket.
        target: Option<Param<String>> = "target";
        /// What is cut off its path.
        strip_prefix: Option<Param<String>> = "stripPrefix";
        /// Registries for the image.
        base_image_connectors: Option<Param<Vec<Param<Ref>>>> = "baseImageConnectorRefs";
        /// Limits and requests.
        resources: Option<Resources> = "resources";
        /// Its user.
        run_as_user: Option<Param<User>> = "runAsUser";
    }
}
