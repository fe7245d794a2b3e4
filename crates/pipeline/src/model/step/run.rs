//! `Run`: a script in a container.

use syntax::Spanned;

use super::super::macros::{model, words};
use super::super::param::Param;
use super::super::resources::{OutputAlias, OutputVariable, Reports};
use super::common::Container;

words! {
    /// What reads a script. Which program that is, and what is put before the script, is `plan`'s matter.
    Shell {
        /// `sh`, the default.
        Sh = "Sh",
        /// `bash`.
        Bash = "Bash",
        /// Windows PowerShell.
        Powershell = "Powershell",
        /// PowerShell 7.
        Pwsh = "Pwsh",
        /// `python3`.
        Python = "Python",
    }
}

model! {
    /// `spec` of a Run step.
    Run {
        flat container: Container;
        /// The script.
        command: Option<Param<String>> = "command" required;
        /// What reads it; `Sh` where nothing is said.
        shell: Option<Param<Shell>> = "shell";
        /// The variables of the script that later steps may read.
        outputs: Option<Param<Vec<OutputVariable>>> = "outputVariables";
        /// Test reports.
        reports: Option<Param<Reports>> = "reports";
        /// A second name for its outputs.
        output_alias: Option<OutputAlias> = "outputAlias";
        /// For people.
        description: Option<Spanned<String>> = "description";
    }
}
