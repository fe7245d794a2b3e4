//! Every step type that the format knows, and where it can run.

/// Where steps of a type run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// In a container of a containerized step group, and nowhere else.
    Container,
    /// In one, or by itself.
    Either,
    /// Beside it: they run on a delegate. Inside a containerized group they see none of its files.
    Delegate,
    /// Only outside containerized groups: no server runs them inside.
    Outside,
}

/// The class of a type; none for a type that the format does not know.
pub fn class(step_type: &str) -> Option<Class> {
    TYPES
        .iter()
        .find(|(name, _)| *name == step_type)
        .map(|(_, class)| *class)
}

/// Families of types: the format gains members of them faster than any list.
const FAMILIES: [&str; 26] = [
    "Asg",
    "AwsCdk",
    "AwsLambda",
    "AwsSam",
    "AzureContainerApps",
    "AzureFunction",
    "DB",
    "Ecs",
    "Elastigroup",
    "Fme",
    "GitOps",
    "GoogleCloudRun",
    "GoogleMig",
    "Helm",
    "IACM",
    "Jira",
    "K8s",
    "Salesforce",
    "ServerlessAwsLambda",
    "ServiceNow",
    "Ssca",
    "Tas",
    "Terraform",
    "Terragrunt",
    "CloudFunction",
    "Azure",
];

/// Whether a type that is not listed belongs to a family that is, and is no slip of the pen for a listed one.
pub(super) fn is_of_a_family(step_type: &str) -> bool {
    FAMILIES.iter().any(|family| {
        step_type
            .strip_prefix(family)
            .is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_uppercase()))
    }) && step_type.len() <= 64
        && TYPES
            .iter()
            .all(|(name, _)| strsim::levenshtein(name, step_type) > 2)
}

macro_rules! types {
    ($($class:ident: $($name:literal)*;)*) => {
        /// Every type with its class.
        pub const TYPES: &[(&str, Class)] = &[$($(($name, Class::$class),)*)*];
    };
}

types! {
    Container:
        "Run" "Background" "Plugin" "GitClone" "Action"
        "DownloadManifests" "DownloadAwsS3" "DownloadGcs" "DownloadHarnessStore" "S3Upload"
        "AwsSamBuild" "AwsSamDeploy"
        "ServerlessAwsLambdaPrepareRollbackV2" "ServerlessAwsLambdaPackageV2" "ServerlessAwsLambdaDeployV2"
        "ServerlessAwsLambdaRollbackV2"
        "AwsCdkBootstrap" "AwsCdkSynth" "AwsCdkDiff" "AwsCdkDeploy" "AwsCdkDestroy" "AwsCdkRollback"
        "GoogleCloudRunPrepareRollbackData" "GoogleCloudRunDeploy" "GoogleCloudRunTrafficShift" "GoogleCloudRunRollback"
        "GoogleCloudRunJob"
        "GoogleMigDeploy" "GoogleMigRollback" "GoogleMigBlueGreenDeploy" "GoogleMigBlueGreenRollback"
        "GoogleMigTrafficShift" "GoogleMigSteadyState"
        "AzureFunctionDeploy" "AzureFunctionRollback"
        "AzureContainerAppsPrepareRollbackData" "AzureContainerAppsDeploy" "AzureContainerAppsTrafficShift"
        "AzureContainerAppsRollback"
        "SalesforceDeploy" "SalesforceValidate" "SalesforceRollback" "SalesforceQuickDeploy"
        "DeployAwsAgentCoreRevision" "ShiftAwsAgentCoreRevision" "RollbackAwsAgentCoreRevision"
        "DeployGoogleAgentRuntimeRevision" "ShiftGoogleAgentRuntimeRevision" "RollbackGoogleAgentRuntimeRevision"
        "Agent" "SlsaVerification" "ArtifactVerification" "CustomIngest" "Wiz"
        "DBSchemaApply" "DBSchemaRollback" "DBSchemaRollbackSQL" "DBSchemaTestPreview" "DBLiquibaseCommand" "DBFlywayCommand" "IDPAction" "ChaosAction";
    Either:
        "HarnessApproval" "SscaOrchestration" "SscaEnforcement" "Container";
    Delegate:
        "ShellScript" "Command" "Copy" "DownloadArtifact" "Script" "Http" "Email" "Wait" "Barrier" "Queue"
        "ResourceConstraint" "Policy" "Verify" "AnalyzeDeploymentImpact" "ShellScriptProvision" "FlagConfiguration"
        "Chaos" "JenkinsBuild" "BambooBuild" "AzurePipelines" "EventListener" "UpdateGitOpsApp"
        "JiraCreate" "JiraUpdate" "ServiceNowCreate" "ServiceNowUpdate" "ServiceNowImportSet"
        "K8sRollingDeploy" "K8sRollingRollback" "K8sApply" "K8sScale" "K8sDelete" "K8sCanaryDeploy" "K8sCanaryDelete"
        "K8sBlueGreenDeploy" "K8sBGSwapServices" "K8sBlueGreenStageScaleDown" "K8sDryRun" "K8sDiff" "K8sRollout"
        "K8sPatch" "K8sTrafficRouting" "K8sGet" "K8sSteadyStateCheck"
        "HelmDeploy" "HelmRollback" "HelmDelete" "HelmCanaryDeploy" "HelmCanaryDelete" "HelmBGDeploy"
        "HelmBlueGreenDeploy" "HelmBlueGreenSwap" "HelmBlueGreenSwapStep"
        "GitOpsUpdateReleaseRepo" "MergePR" "RevertPR" "GitOpsFetchLinkedApps" "GitOpsSync" "GitOpsGetAppDetails"
        "GitOpsRollback" "GitOpsUpdateApp" "CreatePR"
        "TerraformApply" "TerraformPlan" "TerraformDestroy" "TerraformRollback" "TerraformCloudRun"
        "TerraformCloudRollback" "TerragruntPlan" "TerragruntApply" "TerragruntDestroy" "TerragruntRollback"
        "CreateStack" "DeleteStack" "RollbackStack" "AzureCreateARMResource" "AzureCreateBPResource" "AzureARMRollback"
        "AwsSamRollback" "ServerlessAwsLambdaDeploy" "ServerlessAwsLambdaRollback"
        "AwsLambdaDeploy" "AwsLambdaRollback" "AwsLambdaTrafficShift"
        "EcsRollingDeploy" "EcsRollingRollback" "EcsRunTask" "EcsCanaryDeploy" "EcsCanaryDelete"
        "EcsBlueGreenCreateService" "EcsBlueGreenSwapTargetGroups" "EcsBlueGreenRollback" "EcsBlueGreenTrafficShift"
        "EcsServiceSetup" "EcsUpgradeContainer" "EcsBasicRollback" "EcsScaleCheck"
        "AzureSlotDeployment" "AzureTrafficShift" "AzureSwapSlot" "AzureWebAppRollback"
        "ElastigroupSetup" "ElastigroupDeploy" "ElastigroupRollback" "ElastigroupBGStageSetup" "ElastigroupSwapRoute"
        "ElastigroupBlueGreenTrafficShift" "ElastigroupBGTrafficShift" "StandAloneTrafficShiftRollback"
        "BasicAppSetup" "BGAppSetup" "CanaryAppSetup" "AppResize" "SwapRoutes" "AppRollback" "SwapRollback"
        "TanzuCommand" "TasRollingDeploy" "TasRollingRollback" "RouteMapping"
        "AsgCanaryDeploy" "AsgCanaryDelete" "AsgRollingDeploy" "AsgRollingRollback" "AsgBlueGreenDeploy"
        "AsgBlueGreenSwapService" "AsgBlueGreenRollback" "AsgShiftTraffic" "AsgPhasedDeploy"
        "DeployCloudFunction" "DeployCloudFunctionWithNoTraffic" "CloudFunctionTrafficShift" "CloudFunctionRollback"
        "DeployCloudFunctionGenOne" "RollbackCloudFunctionGenOne"
        "FetchInstanceScript" "IACMTerraformPlugin" "IACMOpenTofuPlugin" "IACMTerragruntPlugin" "IACMAnsiblePlugin"
        "IACMApproval";
    Outside:
        "JiraApproval" "ServiceNowApproval" "CustomApproval"
        "Test" "RunTests" "RunTestsV2" "Bitrise"
        "SaveCacheGCS" "SaveCacheS3" "SaveCacheAzure" "SaveCacheHarness" "RestoreCacheGCS" "RestoreCacheS3"
        "RestoreCacheAzure" "RestoreCacheHarness"
        "BuildAndPushDockerRegistry" "BuildAndPushECR" "BuildAndPushGCR" "BuildAndPushGAR" "BuildAndPushACR"
        "GCSUpload" "ArtifactoryUpload" "HarUpload" "SscaCompliance"
        "CreateRepo" "CookieCutter" "DirectPush" "RegisterCatalog" "CreateCatalog" "SlackNotify" "CreateOrganisation"
        "CreateProject" "CreateResource" "DeleteProject" "DeleteOrganisation" "DeleteResource" "UpdateCatalogProperty"
        "Security" "Anchore" "AquaSecurity" "AquaTrivy" "AWSECR" "AWSSecurityHub" "Bandit" "BlackDuck" "Brakeman" "Burp"
        "Checkmarx" "CheckmarxOne" "Checkov" "CodeQL" "CodeQl" "Coverity" "DataTheorem" "DockerContentTrust" "Endorlabs"
        "FortifyOnDemand" "Fossa" "GithubAdvancedSecurity" "Gitleaks" "Grype" "Mend" "Metasploit" "Modelscan" "Nessus"
        "NexusIQ" "Nikto" "Nmap" "Nowsecure" "Openvas" "OsvScanner" "Osv" "Owasp" "PrismaCloud" "Qualys" "QwietAI"
        "Reapsaw" "Semgrep" "ShiftLeft" "Sniper" "Snyk" "Sonarqube" "Sysdig" "Tenable" "Traceable" "TwistLock" "Veracode"
        "WizCode" "XRay" "Zap";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_one_class() {
        let mut names: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        assert_eq!(class("Run"), Some(Class::Container));
        assert_eq!(class("Bitrise"), Some(Class::Outside));
        assert_eq!(class("Runn"), None);
    }

    #[test]
    fn a_new_member_of_a_family_is_no_slip_of_the_pen() {
        for (name, of_it) in [
            ("FmeFlagKill", true),
            ("K8sHibernate", true),
            ("K8sRolingDeploy", false),
            ("Frob", false),
            ("Tasty", false),
        ] {
            assert_eq!(is_of_a_family(name), of_it, "{name}");
        }
    }
}
