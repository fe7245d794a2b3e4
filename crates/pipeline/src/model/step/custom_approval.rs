//! `CustomApproval`: a script is asked again and again until it says yes or no.

use syntax::yaml::Node;
use syntax::{Diagnostic, Spanned, code};

use super::super::lower::Cx;
use super::super::macros::{model, words};
use super::super::param::Param;
use super::super::resources::OutputVariable;
use super::super::units::Duration;
use super::super::variable::Variable;
use super::shell_script::{ScriptShell, ScriptSource};

model! {
    /// `spec` of a CustomApproval step.
    CustomApproval {
        /// What reads the script.
        shell: Option<Param<ScriptShell>> = "shell" required;
        /// The script.
        source: Option<ScriptSource> = "source" required;
        /// Between two askings.
        retry_interval: Option<Param<Duration>> = "retryInterval" required;
        /// How long one asking may take.
        script_timeout: Option<Param<Duration>> = "scriptTimeout" required;
        /// When it is a yes.
        approval: Option<Criteria> = "approvalCriteria" required;
        /// When it is a no.
        rejection: Option<Criteria> = "rejectionCriteria";
        /// The script's environment.
        env: Option<Param<Vec<Variable>>> = "environmentVariables";
        /// The variables of the script that criteria and later steps read.
        outputs: Option<Param<Vec<OutputVariable>>> = "outputVariables";
        /// The delegates that may run it.
        delegate_selectors: Option<Param<Vec<Param<String>>>> = "delegateSelectors";
        /// Kept as it is.
        metadata: Option<Node> = "metadata";
    }
}

words! {
    /// `type` of criteria.
    CriteriaType {
        /// An expression.
        Jexl = "Jexl",
        /// Values of outputs.
        KeyValues = "KeyValues",
    }
}

words! {
    /// How a value is compared.
    CriteriaOperator {
        /// The same.
        Equals = "equals",
        /// Another.
        NotEquals = "not equals",
        /// One of a list with commas.
        In = "in",
        /// None of a list with commas.
        NotIn = "not in",
    }
}

model! {
    /// `approvalCriteria:` and `rejectionCriteria:`.
    Criteria {
        /// What they are.
        kind: Option<Spanned<CriteriaType>> = "type" required;
        /// Them.
        spec: Option<CriteriaSpec> = "spec" required;
    }
    after whole;
}

model! {
    /// `spec` of criteria.
    CriteriaSpec {
        /// Of Jexl.
        expression: Option<Param<String>> = "expression";
        /// Of KeyValues: one that holds is enough.
        any: Option<Param<bool>> = "matchAnyCondition";
        /// Of KeyValues.
        conditions: Vec<CriteriaCondition> = "conditions";
    }
}

model! {
    /// One of `conditions`.
    CriteriaCondition {
        /// The name of an output.
        key: Option<Spanned<String>> = "key" required;
        /// How it is compared.
        operator: Option<Spanned<CriteriaOperator>> = "operator" required;
        /// With what.
        value: Option<Param<String>> = "value" required;
    }
}

/// What their type needs is there.
fn whole(criteria: &Criteria, cx: &mut Cx) {
    let (Some(kind), Some(spec)) = (&criteria.kind, &criteria.spec) else {
        return;
    };
    let missing = match kind.value {
        CriteriaType::Jexl => spec.expression.is_none().then_some("expression"),
        CriteriaType::KeyValues => spec.conditions.is_empty().then_some("conditions"),
    };
    if let Some(key) = missing {
        cx.push(
            Diagnostic::error(
                code::MISSING_FIELD,
                format!("criteria of type {} need `{key}`", kind.value),
            )
            .at(spec.span, "")
            .help(format!("add `{key}:`")),
        );
    }
}
