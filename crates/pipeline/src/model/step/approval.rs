//! `HarnessApproval`: a person is asked. It needs no container.

use syntax::yaml::Node;

use super::super::macros::model;
use super::super::param::Param;

model! {
    /// `spec` of `HarnessApproval`.
    HarnessApproval {
        /// What the person reads.
        message: Option<Param<String>> = "approvalMessage";
        /// What ran so far is shown.
        include_history: Option<Param<bool>> = "includePipelineExecutionHistory";
        /// Who may approve.
        approvers: Option<Param<Approvers>> = "approvers" required;
        /// What they may enter.
        inputs: Option<Node> = "approverInputs";
        /// At a time, by itself.
        auto_approval: Option<Node> = "autoApproval";
        /// For calls from outside.
        callback_id: Option<Param<String>> = "callbackId";
        /// Older runs that wait are refused.
        auto_reject: Option<Param<bool>> = "isAutoRejectEnabled";
    }
}

model! {
    /// `approvers:`.
    Approvers {
        /// Their groups.
        user_groups: Option<Param<Vec<Param<String>>>> = "userGroups";
        /// How many of them.
        minimum_count: Option<Param<u32>> = "minimumCount";
        /// Whoever started it may not.
        disallow_executor: Option<Param<bool>> = "disallowPipelineExecutor";
    }
}
