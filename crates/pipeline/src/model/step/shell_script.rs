//! `ShellScript`: a script as a process of the delegate.

use indexmap::IndexMap;
use syntax::yaml::Node;
use syntax::{Span, Spanned};

use super::super::macros::{model, words};
use super::super::param::Param;
use super::super::resources::{OutputAlias, OutputVariable};
use super::super::variable::Variable;

words! {
    /// What reads the script of a step that runs on a delegate.
    ScriptShell {
        /// `bash`.
        Bash = "Bash",
        /// `sh`.
        Sh = "Sh",
        /// Of Windows.
        PowerShell = "PowerShell",
    }
}

words! {
    /// Where a script is.
    SourceType {
        /// In the pipeline.
        Inline = "Inline",
        /// In the file store.
        Harness = "Harness",
        /// In a template library.
        Template = "Template",
    }
}

model! {
    /// `spec` of a ShellScript step.
    ShellScript {
        /// What reads the script.
        shell: Option<Param<ScriptShell>> = "shell" required;
        /// The delegate is where it runs; else a host.
        on_delegate: Option<Param<bool>> = "onDelegate";
        /// The script.
        source: Option<ScriptSource> = "source" required;
        /// The host, where it is not the delegate.
        execution_target: Option<Node> = "executionTarget";
        /// The script's environment.
        env: Option<Param<Vec<Variable>>> = "environmentVariables";
        /// The variables of the script that later steps may read.
        outputs: Option<Param<Vec<OutputVariable>>> = "outputVariables";
        /// A second name for its outputs.
        output_alias: Option<OutputAlias> = "outputAlias";
        /// The delegates that may run it.
        delegate_selectors: Option<Param<Vec<Param<String>>>> = "delegateSelectors";
        /// The infrastructure's selectors are taken too.
        include_infra_selectors: Option<Param<bool>> = "includeInfraSelectors";
        /// Kept as it is.
        metadata: Option<Node> = "metadata";
    }
}

model! {
    /// `source:` of a script.
    ScriptSource {
        /// Where it is.
        kind: Option<Spanned<SourceType>> = "type" required;
        /// What is there.
        spec: Option<ScriptText> = "spec" required;
    }
}

model! {
    /// `spec` of a script's source.
    ScriptText {
        /// The script itself.
        script: Option<Param<String>> = "script";
        /// Of the file store.
        file: Option<Param<String>> = "file";
        /// Of a library.
        reference: Option<Param<String>> = "templateRef";
        /// Its inputs.
        inputs: IndexMap<String, Node> = "templateInputs";
    }
}

impl ShellScript {
    /// Where it is written that the script runs on another host, if it is; `expressions` may still say so.
    pub fn remote(&self) -> Option<Span> {
        match &self.on_delegate {
            Some(Param::Literal(on_delegate)) => (!on_delegate.value).then_some(on_delegate.span),
            Some(_) => None,
            // Older texts leave it out: the delegate is meant where no host is named.
            None => {
                let host = self.execution_target.as_ref()?.as_mapping()?.get("host")?;
                let named = host.as_text().is_none_or(|text| !text.trim().is_empty());
                named.then_some(host.span)
            }
        }
    }
}

impl ScriptSource {
    /// The script, where it is in the pipeline.
    pub fn inline(&self) -> Option<&Param<String>> {
        self.kind
            .as_ref()
            .filter(|kind| kind.value == SourceType::Inline)?;
        self.spec.as_ref()?.script.as_ref()
    }
}
