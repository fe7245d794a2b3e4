//! Files into the pod: of the service's manifests, of buckets, of the file store.

use super::super::macros::model;
use super::super::param::Param;
use super::common::PluginCommon;

model! {
    /// `spec` of `DownloadManifests`: nothing but delegates.
    DownloadManifests {
        /// The delegates that may drive it.
        delegate_selectors: Option<Param<Vec<Param<String>>>> = "delegateSelectors";
    }
}

model! {
    /// `spec` of `DownloadAwsS3`.
    DownloadAwsS3 {
        flat common: PluginCommon;
        /// The bucket.
        bucket_name: Option<Param<String>> = "bucketName";
        /// Its region.
        region: Option<Param<String>> = "region";
        /// What is fetched; only one is allowed.
        paths: Option<Param<Vec<Param<String>>>> = "paths";
        /// Into the workspace.
        download_path: Option<Param<String>> = "downloadPath";
        /// Files whose contents become outputs.
        output_files: Option<Param<Vec<Param<String>>>> = "outputFilePathsContent";
    }
}

model! {
    /// `spec` of `DownloadGcs`.
    DownloadGcs {
        flat common: PluginCommon;
        /// The bucket.
        bucket_name: Option<Param<String>> = "bucketName";
        /// What is fetched.
        file_path: Option<Param<String>> = "filePath";
        /// Into the workspace.
        download_path: Option<Param<String>> = "downloadPath";
        /// Files whose contents become outputs.
        output_files: Option<Param<Vec<Param<String>>>> = "outputFilePathsContent";
    }
}

model! {
    /// `spec` of `DownloadHarnessStore`.
    DownloadHarnessStore {
        flat common: PluginCommon;
        /// Of the file store.
        files: Option<Param<Vec<Param<String>>>> = "files";
        /// Into the workspace.
        download_path: Option<Param<String>> = "downloadPath";
        /// Files whose contents become outputs.
        output_files: Option<Param<Vec<Param<String>>>> = "outputFilePathsContent";
    }
}
