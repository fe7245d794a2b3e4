//! `HarnessApproval`: a person is asked. It needs no container.

use syntax::Spanned;

use super::super::macros::{model, words};
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
        auto_approval: Option<AutoApproval> = "autoApproval";
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
        /// Accounts of programs that may.
        service_accounts: Option<Param<Vec<Param<String>>>> = "serviceAccounts";
        /// People who may not.
        disallowed_emails: Option<Param<Vec<Param<String>>>> = "disallowedUserEmails";
    }
}

words! {
    /// What is done at the time of `autoApproval`.
    AutoApprovalAction {
        /// It is approved.
        Approve = "APPROVE",
    }
}

model! {
    /// `autoApproval:`.
    AutoApproval {
        /// What is done.
        action: Option<Spanned<AutoApprovalAction>> = "action" required;
        /// When.
        deadline: Option<ScheduledDeadline> = "scheduledDeadline" required;
        /// For others to read.
        comments: Option<Param<String>> = "comments";
    }
}

model! {
    /// `scheduledDeadline:`.
    ScheduledDeadline {
        /// `2026-11-28 06:30 PM`.
        time: Option<Param<String>> = "time" required;
        /// Its zone, `Europe/Berlin`.
        zone: Option<Param<String>> = "timeZone" required;
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
        /// Several of these may be entered.
        select_many: Option<Param<Vec<Param<String>>>> = "selectManyFrom";
        /// What it must match.
        regex: Option<Param<String>> = "regex";
    }
}
