//! `Action`: a GitHub action in a container.

use indexmap::IndexMap;

use super::super::macros::model;
use super::super::param::Param;
use super::super::resources::Resources;
use super::super::units::User;

model! {
    /// `spec` of an Action step.
    ActionSpec {
        /// `owner/repo@ref`.
        uses: Option<Param<String>> = "uses" required;
        /// Its inputs.
        with: IndexMap<String, Param<String>> = "with";
        /// Its environment.
        env: IndexMap<String, Param<String>> = "env";
        /// Limits and requests.
        resources: Option<Resources> = "resources";
        /// Its user.
        run_as_user: Option<Param<User>> = "runAsUser";
        /// All capabilities and devices.
        privileged: Option<Param<bool>> = "privileged";
    }
}
