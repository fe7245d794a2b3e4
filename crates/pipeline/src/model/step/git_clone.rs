//! `GitClone`: a repository into the workspace.

use syntax::yaml::Node;
use syntax::{Diagnostic, Span, code};

use super::super::form::{self, Form, Forms};
use super::super::lower::{Cx, Fields, Lower, Slot};
use super::super::macros::{model, words};
use super::super::name::Ref;
use super::super::param::Param;
use super::super::resources::Resources;
use super::super::units::User;

model! {
    /// `spec` of a GitClone step.
    GitClone {
        /// The repository's connector.
        connector_ref: Option<Param<Ref>> = "connectorRef";
        /// The repository, where the connector is for an account.
        repo_name: Option<Param<String>> = "repoName";
        /// The project of it, where the host has some.
        project_name: Option<Param<String>> = "projectName";
        /// What is checked out.
        build: Option<Param<Build>> = "build" required;
        /// From the workspace; its repository's name where nothing is said.
        clone_directory: Option<Param<String>> = "cloneDirectory";
        /// How many commits; all where nothing is said.
        depth: Option<Param<u32>> = "depth";
        /// Whether the server's certificate is checked; it is where nothing is said.
        ssl_verify: Option<Param<bool>> = "sslVerify";
        /// Large files.
        lfs: Option<Param<bool>> = "lfs";
        /// More is logged.
        debug: Option<Param<bool>> = "debug";
        /// Tags too.
        fetch_tags: Option<Param<bool>> = "fetchTags";
        /// Only these paths.
        sparse_checkout: Option<Param<Vec<Param<String>>>> = "sparseCheckout";
        /// Repositories inside.
        submodules: Option<Param<SubmoduleStrategy>> = "submoduleStrategy";
        /// A command before the fetch.
        pre_fetch_command: Option<Param<String>> = "preFetchCommand";
        /// Files whose contents become outputs.
        output_files: Option<Param<Vec<Param<String>>>> = "outputFilePathsContent";
        /// Registries for the image.
        base_image_connectors: Option<Param<Vec<Param<Ref>>>> = "baseImageConnectorRefs";
        /// Limits and requests.
        resources: Option<Resources> = "resources";
        /// Its user.
        run_as_user: Option<Param<User>> = "runAsUser";
        /// All capabilities and devices.
        privileged: Option<Param<bool>> = "privileged";
    }
}

words! {
    /// Repositories inside a repository.
    SubmoduleStrategy {
        /// They are fetched.
        Yes = "true",
        /// They are not.
        No = "false",
        /// So are those inside them.
        Recursive = "recursive",
    }
}

/// `build:`: what is checked out.
#[derive(Debug, Clone, PartialEq)]
pub struct Build {
    /// Where it is written.
    pub span: Span,
    /// Which kind of thing.
    pub kind: BuildKind,
    /// Its name or number.
    pub value: Option<Param<String>>,
}

words! {
    /// `type` of `build`.
    BuildKind {
        /// A branch.
        Branch = "branch",
        /// A tag.
        Tag = "tag",
        /// A pull request by number.
        Pr = "PR",
        /// A commit.
        Commit = "commitSha",
    }
}

impl BuildKind {
    /// The key of its spec.
    const fn key(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
            Self::Pr => "number",
            Self::Commit => "commitSha",
        }
    }
}

impl Lower for Build {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let mut fields = Fields::of(node, name, cx)?;
        fields.required("type", cx);
        fields.required("spec", cx);
        let kind: Option<BuildKind> = Slot::take(&mut fields, "type", cx);
        let span = fields.span;
        let spec = fields.node("spec");
        fields.finish(cx);
        let (kind, mut spec) = (kind?, Fields::of(spec?, "spec", cx)?);
        spec.required(kind.key(), cx);
        let value: Option<Param<String>> = Slot::take(&mut spec, kind.key(), cx);
        spec.finish(cx);
        if kind == BuildKind::Commit
            && let Some(Param::Literal(sha)) = &value
            && !(sha.value.bytes().all(|byte| byte.is_ascii_hexdigit())
                && (4..=64).contains(&sha.value.len()))
        {
            cx.push(
                Diagnostic::error(code::WRONG_TYPE, format!("`{}` is not a commit", sha.value))
                    .at(sha.span, "")
                    .help("write its hash; a branch is `type: branch`"),
            );
        }
        Some(Self { span, kind, value })
    }

    fn form(forms: &mut Forms) -> Form {
        forms.object("Build", "What is checked out.", |forms, own| {
            own.keys = vec![
                form::required("type", "Which kind of thing.", BuildKind::form(forms)),
                form::required(
                    "spec",
                    "Its name or number, below `branch`, `tag`, `number` or `commitSha`.",
                    Form::Any,
                ),
            ];
        })
    }
}
