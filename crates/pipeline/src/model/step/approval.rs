//! `HarnessApproval`: a person is asked. It needs no container.

use syntax::Spanned;
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
        inputs: Option<Param<Vec<ApproverInput>>> = "approverInputs";
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

model! {
    /// One of `approverInputs`.
    ApproverInput {
        /// Its name.
        name: Option<Spanned<String>> = "name" required;
        /// What it is where nothing is entered.
        default: Option<Param<String>> = "defaultValue";
        /// It must be entered.
        required: Option<Param<bool>> = "required";
        /// For people.
        description: Option<Param<String>> = "description";
        /// What may be entered.
        allowed: Option<Param<Vec<Param<String>>>> = "allowedValues";
        /// What may be entered, in newer texts.
        select_one: Option<Param<Vec<Param<String>>>> = "selectOneFrom";
        /// What it must match.
        regex: Option<Param<String>> = "regex";
    }
}
