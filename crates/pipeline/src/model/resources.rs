//! `resources`, and where reports and outputs of a step go.

use syntax::{Diagnostic, Spanned, code};

use super::lower::Cx;
use super::macros::{model, words};
use super::param::Param;
use super::units::{Cpu, Memory};

model! {
    /// `resources:`: at least one of the two.
    Resources {
        /// What it may use at most.
        limits: Option<Param<Amounts>> = "limits";
        /// What is set aside for it.
        requests: Option<Param<Amounts>> = "requests";
    }
    after Resources::check;
}

model! {
    /// Amounts of the two resources.
    Amounts {
        /// Cores.
        cpu: Option<Param<Cpu>> = "cpu";
        /// Memory.
        memory: Option<Param<Memory>> = "memory";
    }
}

impl Resources {
    fn check(&self, cx: &mut Cx) {
        let limits = self.limits.as_ref().and_then(Param::literal);
        let requests = self.requests.as_ref().and_then(Param::literal);
        if let (Some(limits), Some(requests)) = (limits, requests) {
            over(cx, "cpu", requests.cpu.as_ref(), limits.cpu.as_ref());
            over(
                cx,
                "memory",
                requests.memory.as_ref(),
                limits.memory.as_ref(),
            );
        }
    }
}

/// A request above its limit is refused by every cluster.
fn over<T: PartialOrd>(
    cx: &mut Cx,
    what: &str,
    request: Option<&Param<T>>,
    limit: Option<&Param<T>>,
) {
    if let (Some(Param::Literal(request)), Some(Param::Literal(limit))) = (request, limit)
        && request.value > limit.value
    {
        cx.push(
            Diagnostic::error(
                code::REQUEST_OVER_LIMIT,
                format!("more {what} is requested than the limit allows"),
            )
            .at(request.span, "requested")
            .at(limit.span, "the limit")
            .help("raise the limit or lower the request"),
        );
    }
}

words! {
    /// `type` of `reports`.
    ReportType {
        /// `JUnit` XML.
        JUnit = "JUnit",
    }
}

model! {
    /// `reports:`.
    Reports {
        /// Their format.
        kind: Option<Spanned<ReportType>> = "type" required;
        /// Where they are.
        spec: Option<ReportPaths> = "spec" required;
    }
}

model! {
    /// `spec` of `reports`.
    ReportPaths {
        /// Globs or directories, from the workspace.
        paths: Option<Param<Vec<Param<String>>>> = "paths" required;
    }
}

words! {
    /// `type` of an output variable.
    OutputType {
        /// Text.
        String = "String",
        /// Text that is a number.
        Number = "Number",
        /// Masked in logs.
        Secret = "Secret",
    }
}

model! {
    /// One of `outputVariables`.
    OutputVariable {
        /// Its name outside.
        name: Option<Spanned<String>> = "name" required;
        /// Text where nothing is said.
        kind: Option<Spanned<OutputType>> = "type";
        /// The environment variable in the script; its name where nothing is said.
        value: Option<Param<String>> = "value";
    }
}

words! {
    /// How far an alias reaches.
    AliasScope {
        /// The pipeline.
        Pipeline = "Pipeline",
        /// The stage.
        Stage = "Stage",
        /// The step group.
        StepGroup = "StepGroup",
    }
}

model! {
    /// `outputAlias:`: the outputs are also `<+exportedVariables.getValue("scope.key.name")>`.
    OutputAlias {
        /// Its key.
        key: Option<Param<String>> = "key" required;
        /// How far it reaches.
        scope: Option<Param<AliasScope>> = "scope" required;
    }
}
