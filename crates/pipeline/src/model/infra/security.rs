//! `containerSecurityContext`.

use super::super::macros::model;
use super::super::param::Param;
use super::super::units::User;

model! {
    /// What applies to every container of the group. A step's own `privileged` and `runAsUser` go before it.
    ContainerSecurityContext {
        /// Whether a process may gain more rights than its parent.
        allow_privilege_escalation: Option<Param<bool>> = "allowPrivilegeEscalation";
        /// All capabilities and devices, no filters.
        privileged: Option<Param<bool>> = "privileged";
        /// `Default` or `Unmasked`.
        proc_mount: Option<Param<String>> = "procMount";
        /// The image's filesystem cannot be written.
        read_only_root_filesystem: Option<Param<bool>> = "readOnlyRootFilesystem";
        /// User 0 is refused.
        run_as_non_root: Option<Param<bool>> = "runAsNonRoot";
        /// The group.
        run_as_group: Option<Param<u32>> = "runAsGroup";
        /// The user.
        run_as_user: Option<Param<User>> = "runAsUser";
        /// Over the default set.
        capabilities: Option<Param<Capabilities>> = "capabilities";
    }
}

model! {
    /// `capabilities:`, names without `CAP_`; `ALL` is known.
    Capabilities {
        /// Added to the default set.
        add: Option<Param<Vec<Param<String>>>> = "add";
        /// Dropped from it.
        drop: Option<Param<Vec<Param<String>>>> = "drop";
    }
}
