//! The environment of a clone (`reference/steps.md` §3.5).

use syntax::{Diagnostic, code};

use crate::model::{BuildKind, ConnectorSpec, GitAuth, GitClone, GitConnector, Param, UserName};
use crate::plan::Place;
use crate::pod::WORKSPACE;

use super::Text;
use super::known::Tree;
use super::step::secret;
use super::values::{Values, plain};

/// Adds what the clone of a step reads. Without a connector, `repoName` is the whole URL.
pub(super) fn environment(
    clone: &GitClone,
    values: &Values<'_, '_>,
    env: &mut Vec<(String, Text)>,
) {
    let mut set = |name: &str, text: &str| env.push((name.to_owned(), plain(text)));
    let repo = repository(clone, values);
    let connector = connector(clone, repo.as_deref(), values);
    let Some(url) = url(clone, connector, repo.as_deref(), values) else {
        return;
    };
    set("DRONE_REMOTE_URL", &url);
    if let Some(directory) = directory(clone, repo.as_deref().unwrap_or(&url), values) {
        set("DRONE_WORKSPACE", &directory);
    }
    if let Some(build) = values.get(clone.build.as_ref(), "build") {
        let value: String = values
            .get(build.value.as_ref(), "build")
            .unwrap_or_default();
        match build.kind {
            BuildKind::Branch => set("DRONE_COMMIT_BRANCH", &value),
            BuildKind::Tag => {
                set("DRONE_TAG", &value);
                set("DRONE_BUILD_EVENT", "tag");
            }
            BuildKind::Pr => {
                set("DRONE_BUILD_EVENT", "pull_request");
                set("DRONE_COMMIT_REF", &format!("refs/pull/{value}/head"));
            }
            BuildKind::Commit => set("DRONE_COMMIT_SHA", &value),
        }
    }
    if let Some(depth) = values
        .get(clone.depth.as_ref(), "depth")
        .filter(|depth| *depth > 0)
    {
        set("PLUGIN_DEPTH", &depth.to_string());
    }
    if values.get(clone.ssl_verify.as_ref(), "sslVerify") == Some(false) {
        set("GIT_SSL_NO_VERIFY", "true");
    }
    for (name, flag) in [
        ("PLUGIN_LFS", &clone.lfs),
        ("PLUGIN_DEBUG", &clone.debug),
        ("PLUGIN_FETCH_TAGS", &clone.fetch_tags),
    ] {
        if let Some(flag) = values.get(flag.as_ref(), name) {
            set(name, if flag { "true" } else { "false" });
        }
    }
    if let Some(submodules) = values.get(clone.submodules.as_ref(), "submoduleStrategy") {
        set("PLUGIN_SUBMODULES", submodules.as_str());
    }
    // One a line: a path may hold a comma.
    let sparse = values.list(clone.sparse_checkout.as_ref(), "sparseCheckout");
    if !sparse.is_empty() {
        set("PLUGIN_SPARSE_CHECKOUT", &sparse.join("\n"));
    }
    let files = values.list(clone.output_files.as_ref(), "outputFilePathsContent");
    if !files.is_empty() {
        set("PLUGIN_OUTPUT_FILE_PATHS_CONTENT", &files.join(","));
    }
    if let Some(command) = &clone.pre_fetch_command
        && let Some(text) = values.text(command, "preFetchCommand")
    {
        env.push(("PLUGIN_PRE_FETCH".to_owned(), text));
    }
    if let Some(auth) = connector.and_then(|own| own.auth.as_ref()) {
        login(auth, &url, values, clone, env);
    }
}

/// The working tree that stands in for a clone, and where it is seen in the container. An unknown connector is no problem
/// here: nothing is asked of it.
pub(crate) fn stand_in<'w>(
    clone: &GitClone,
    place: &Place<'_>,
    values: &Values<'w, '_>,
) -> Option<(&'w Tree, String)> {
    let trees = &values.world().known.trees;
    if trees.is_empty() {
        return None;
    }
    let repo = repository(clone, values);
    let reference = values.get(clone.connector_ref.as_ref(), "connectorRef");
    let url = reference
        .and_then(|reference| {
            match values
                .world()
                .entities
                .connector(&reference)
                .map(|own| &own.spec)
            {
                Some(ConnectorSpec::Git(own)) => own.url.as_ref(),
                _ => None,
            }
        })
        .map(|url| url.value.clone());
    let names = clone_names(place.identifier(), repo.as_deref(), url.as_deref());
    let tree = trees
        .iter()
        .find(|tree| names.contains(&tree.repo.as_str()))?;
    let source = repo.as_deref().or(url.as_deref()).unwrap_or(&tree.repo);
    Some((tree, directory(clone, source, values)?))
}

/// What the repository of a clone may be called where a working tree stands in for it: the step's identifier, its `repoName`, its
/// connector's URL, or the last part of these two.
pub fn clone_names<'n>(step: &'n str, repo: Option<&'n str>, url: Option<&'n str>) -> Vec<&'n str> {
    let written = [repo, url].into_iter().flatten();
    written
        .flat_map(|name| [last(name), name])
        .chain([step])
        .collect()
}

fn repository(clone: &GitClone, values: &Values<'_, '_>) -> Option<String> {
    values
        .get(clone.repo_name.as_ref(), "repoName")
        .filter(|own: &String| !own.is_empty())
}

/// The last part of a repository's name or URL, without `.git`.
fn last(source: &str) -> &str {
    let last = source
        .trim_end_matches('/')
        .rsplit(['/', ':'])
        .next()
        .unwrap_or_default();
    last.strip_suffix(".git").unwrap_or(last)
}

/// Whether a repository is written as a whole: a URL, an address of SSH, a path.
pub fn is_url(repo: &str) -> bool {
    repo.contains("://") || repo.starts_with("git@") || repo.starts_with('/')
}

fn connector<'m>(
    clone: &GitClone,
    repo: Option<&str>,
    values: &Values<'_, 'm>,
) -> Option<&'m GitConnector> {
    let reference = values.get(clone.connector_ref.as_ref(), "connectorRef")?;
    let at = clone.connector_ref.as_ref().map_or(clone.span, Param::span);
    match values
        .world()
        .entities
        .connector(&reference)
        .map(|own| &own.spec)
    {
        Some(ConnectorSpec::Git(own)) => Some(own),
        Some(_) => {
            values.push(
                Diagnostic::error(
                    code::UNKNOWN_CONNECTOR,
                    format!("the connector `{reference}` is not one of git"),
                )
                .at(at, "")
                .help("name a connector of type Git, Github, Gitlab or Bitbucket"),
            );
            None
        }
        // A whole URL needs no connector.
        None if repo.is_some_and(is_url) => None,
        None => {
            values.push(
                Diagnostic::error(code::UNKNOWN_CONNECTOR, format!("the connector `{reference}` is not there"))
                    .at(at, "")
                    .help("put it beside the pipeline: `--entities DIR`, or a further document `connector:`; or take a working tree: `--local REPO=DIR`"),
            );
            None
        }
    }
}

fn url(
    clone: &GitClone,
    connector: Option<&GitConnector>,
    repo: Option<&str>,
    values: &Values<'_, '_>,
) -> Option<String> {
    let missing = |message: &str, help: &str| {
        let at = clone.connector_ref.as_ref().map_or(clone.span, Param::span);
        values.push(
            Diagnostic::error(code::MISSING_FIELD, message)
                .at(at.head(1), "")
                .help(help),
        );
    };
    let Some(connector) = connector else {
        let repo = repo.filter(|repo| is_url(repo));
        // An unknown connector was told.
        if repo.is_none() && clone.connector_ref.is_none() {
            missing(
                "a GitClone step without `connectorRef` needs a URL as `repoName`",
                "add `connectorRef`",
            );
        }
        return repo.map(str::to_owned);
    };
    let base = connector
        .url
        .as_ref()?
        .value
        .trim()
        .trim_end_matches('/')
        .to_owned();
    if !connector.account {
        return Some(base);
    }
    let Some(repo) = repo else {
        missing(
            "the connector is for an account, so the step names the repository",
            "add `repoName`",
        );
        return None;
    };
    let project: Option<String> = values
        .get(clone.project_name.as_ref(), "projectName")
        .filter(|own: &String| !own.is_empty());
    let repo = repo.trim_matches('/');
    Some(match project {
        Some(project) => format!("{base}/{project}/{repo}"),
        None => format!("{base}/{repo}"),
    })
}

/// Where the clone is put: never the workspace itself.
fn directory(clone: &GitClone, source: &str, values: &Values<'_, '_>) -> Option<String> {
    let written: Option<String> = values
        .get(clone.clone_directory.as_ref(), "cloneDirectory")
        .filter(|own: &String| !own.is_empty());
    let path = match written {
        Some(path) if path.starts_with('/') => path,
        Some(path) => format!("{WORKSPACE}/{path}"),
        None => format!("{WORKSPACE}/{}", last(source)),
    };
    let path = path.trim_end_matches(['/', '.']).to_owned();
    if path == WORKSPACE || path.is_empty() {
        let at = clone
            .clone_directory
            .as_ref()
            .map_or(clone.span, Param::span);
        values.push(
            Diagnostic::error(
                code::RESERVED_PATH,
                format!("a repository is not cloned into `{WORKSPACE}` itself"),
            )
            .at(at.head(1), "")
            .help("name a directory in it: `cloneDirectory: app`"),
        );
        return None;
    }
    Some(path)
}

fn login(
    auth: &GitAuth,
    url: &str,
    values: &Values<'_, '_>,
    clone: &GitClone,
    env: &mut Vec<(String, Text)>,
) {
    match auth {
        GitAuth::Anonymous => {}
        GitAuth::Http {
            user,
            secret: password,
        } => {
            let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
            let machine = rest.split('/').next().unwrap_or(rest);
            let machine = machine.rsplit('@').next().unwrap_or(machine);
            env.push(("DRONE_NETRC_MACHINE".to_owned(), plain(machine)));
            match user {
                Some(UserName::Literal(name)) => {
                    env.push(("DRONE_NETRC_USERNAME".to_owned(), plain(&name.value)));
                }
                Some(UserName::Secret(own)) => {
                    env.push(("DRONE_NETRC_USERNAME".to_owned(), secret(&own.value)));
                }
                None => env.push(("DRONE_NETRC_USERNAME".to_owned(), plain("git"))),
            }
            if let Some(own) = password {
                env.push(("DRONE_NETRC_PASSWORD".to_owned(), secret(&own.value)));
            }
        }
        GitAuth::Ssh { key } => {
            if let Some(own) = key {
                env.push(("DRONE_SSH_KEY".to_owned(), secret(&own.value)));
            }
        }
        GitAuth::Other { kind, .. } => values.push(
            Diagnostic::error(
                code::SETTING_NOT_RUN,
                format!(
                    "the login `{}` of the connector is not acted on yet",
                    kind.value
                ),
            )
            .at(
                clone.connector_ref.as_ref().map_or(clone.span, Param::span),
                "the connector",
            )
            .at(kind.span, "its login")
            .help("use UsernameToken, UsernamePassword, Ssh or Anonymous"),
        ),
    }
}
