//! GitClone: through the git of an image, or a working tree of this machine in its place.

use std::path::PathBuf;

use addon::frame::{Program, Shell};
use engine::event::Failure;
use pipeline::model::{
    self, BuildKind, ConnectorSpec, GitAuth, GitClone, GitConnector, Param, Ref, StepSpec, UserName,
};
use pipeline::pod::{Image, Pull, WORKSPACE};

use super::Options;
use super::tree::{Place, Thing};
use super::values::{Values, configuration};
use crate::access;

/// A tree that stands in for a clone.
pub(super) struct Mount {
    /// Where the clone would be.
    pub(super) path: String,
    /// The copy of the tree on this machine.
    pub(super) dir: String,
}

/// The script of a clone, that of our own image, so that any image with git will do. Everything it needs is in its
/// environment, so that nothing has to be quoted.
const SCRIPT: &str = include_str!("../../../../images/git/clone");

/// The mounts of a group: one for each clone that a `--local` stands in for.
pub(super) fn mounts(
    group: &Place<'_>,
    values: &Values<'_>,
    options: &Options,
) -> Result<Vec<Mount>, Failure> {
    let mut found: Vec<Mount> = Vec::new();
    let mut open = group.children();
    while let Some(place) = open.pop() {
        open.extend(place.children());
        let Thing::Step(step) = place.thing else {
            continue;
        };
        let StepSpec::GitClone(clone) = &step.spec else {
            continue;
        };
        if let Some((_, dir)) = local(&place, clone, values, options)? {
            let path = directory(&place, clone, values, options)?;
            if found.iter().all(|m| m.path != path) {
                found.push(Mount {
                    path,
                    dir: dir.display().to_string(),
                });
            }
        }
    }
    Ok(found)
}

/// The tree that stands in for a clone, with the name it was given under.
fn local<'o>(
    place: &Place<'_>,
    clone: &GitClone,
    values: &Values<'_>,
    options: &'o Options,
) -> Result<Option<(&'o str, &'o PathBuf)>, Failure> {
    if options.local.is_empty() {
        return Ok(None);
    }
    let repo = clone
        .repo_name
        .as_ref()
        .map(|p| values.text(p))
        .transpose()?;
    let url =
        connector(clone, values, options)?.and_then(|c| c.url.as_ref().map(|u| u.value.clone()));
    let last = |text: &str| {
        text.trim_end_matches('/')
            .trim_end_matches(".git")
            .rsplit(['/', ':'])
            .next()
            .map(str::to_owned)
    };
    let names: Vec<String> = [
        Some(place.identifier().to_owned()),
        repo.clone(),
        repo.as_deref().and_then(last),
        url.clone(),
        url.as_deref().and_then(last),
    ]
    .into_iter()
    .flatten()
    .collect();
    Ok(options
        .local
        .iter()
        .find(|(name, _)| names.contains(name))
        .map(|(name, dir)| (name.as_str(), dir)))
}

fn connector<'o>(
    clone: &GitClone,
    values: &Values<'_>,
    options: &'o Options,
) -> Result<Option<&'o GitConnector>, Failure> {
    let Some(written) = &clone.connector_ref else {
        return Ok(None);
    };
    let name = values.reference(written)?;
    let Some(reference) = Ref::parse(&name) else {
        return Ok(None);
    };
    let entities = &options.entities;
    let found = entities
        .connector(&reference)
        .or_else(|| access::any_scope(entities, &reference));
    Ok(found.and_then(|c| match &c.spec {
        ConnectorSpec::Git(git) => Some(&**git),
        _ => None,
    }))
}

/// The url of a clone's repository.
fn url(
    place: &Place<'_>,
    clone: &GitClone,
    values: &Values<'_>,
    options: &Options,
) -> Result<String, Failure> {
    let repo = clone
        .repo_name
        .as_ref()
        .map(|p| values.text(p))
        .transpose()?
        .filter(|r| !r.is_empty());
    let Some(connector) = connector(clone, values, options)? else {
        // Without a connector the repository's name is its url.
        return match repo {
            Some(url) if url.contains("://") || url.starts_with("git@") || url.starts_with('/') => {
                Ok(url)
            }
            _ => {
                let name = clone.connector_ref.as_ref().map_or(String::new(), |r| {
                    r.unresolved().map_or_else(
                        || r.literal().map_or(String::new(), ToString::to_string),
                        str::to_owned,
                    )
                });
                Err(configuration(
                    format!(
                        "the connector `{name}` of the GitClone step `{}` is not known here",
                        place.identifier()
                    ),
                    "give a git connector in a further document of the pipeline's file or in `--entities DIR`; or take a \
                     working tree: `--local REPO=DIR`",
                ))
            }
        };
    };
    let base = connector.url.as_ref().map_or("", |u| u.value.as_str());
    match repo {
        Some(repo) if connector.account => Ok(format!("{}/{repo}", base.trim_end_matches('/'))),
        None if connector.account => Err(configuration(
            format!(
                "the connector of the GitClone step `{}` is of an account, and no `repoName` is given",
                place.identifier()
            ),
            "add `repoName`",
        )),
        _ => Ok(base.to_owned()),
    }
}

/// The directory of a clone, absolute.
fn directory(
    place: &Place<'_>,
    clone: &GitClone,
    values: &Values<'_>,
    options: &Options,
) -> Result<String, Failure> {
    let written = clone
        .clone_directory
        .as_ref()
        .map(|p| values.text(p))
        .transpose()?
        .filter(|d| !d.is_empty());
    let dir = match written {
        Some(dir) => dir,
        None => {
            if let Some(repo) = clone
                .repo_name
                .as_ref()
                .map(|p| values.text(p))
                .transpose()?
                .filter(|r| !r.is_empty())
            {
                repo.trim_end_matches('/')
                    .trim_end_matches(".git")
                    .rsplit('/')
                    .next()
                    .unwrap_or(&repo)
                    .to_owned()
            } else {
                let url = url(place, clone, values, options)?;
                url.trim_end_matches('/')
                    .trim_end_matches(".git")
                    .rsplit(['/', ':'])
                    .next()
                    .unwrap_or("repo")
                    .to_owned()
            }
        }
    };
    let path = if dir.starts_with('/') {
        dir
    } else {
        format!("{WORKSPACE}/{dir}")
    };
    let path = path.trim_end_matches('/').to_owned();
    if path == WORKSPACE {
        return Err(configuration(
            format!(
                "`cloneDirectory` of step `{}` is the workspace itself",
                place.identifier()
            ),
            "name a directory below it",
        ));
    }
    Ok(path)
}

/// The image of a clone.
pub(super) fn image(
    place: &Place<'_>,
    clone: &GitClone,
    values: &Values<'_>,
    options: &Options,
) -> Result<Image, Failure> {
    if local(place, clone, values, options)?.is_some() && options.native {
        // Nothing is cloned: nothing has to be pulled for it.
        return Ok(Image {
            reference: "host:/".to_owned(),
            connector: None,
            pull: Pull::IfNotPresent,
        });
    }
    let connector = match &clone.base_image_connectors {
        Some(Param::Literal(list)) => list
            .value
            .first()
            .map(|p| values.reference(p))
            .transpose()?,
        _ => None,
    };
    Ok(options.image(&options.git_image, connector, None))
}

/// What a clone executes.
pub(super) fn program(
    place: &Place<'_>,
    clone: &GitClone,
    values: &Values<'_>,
    options: &Options,
    env: &mut Vec<(String, String)>,
) -> Result<Program, Failure> {
    let script = |text: String| {
        Ok(Program::Script {
            shell: Shell::Sh,
            text,
        })
    };
    let dir = directory(place, clone, values, options)?;
    if let Some((name, _)) = local(place, clone, values, options)? {
        return script(format!(
            "echo 'the working tree of {} is in {}'",
            name.replace('\'', ""),
            dir.replace('\'', "")
        ));
    }
    let mut set = |name: &str, value: String| env.push((name.to_owned(), value));
    set("DRONE_REMOTE_URL", url(place, clone, values, options)?);
    set("DRONE_WORKSPACE", dir);
    if let Some(Param::Literal(build)) = &clone.build {
        let build = &build.value;
        let value = build
            .value
            .as_ref()
            .map(|p| values.text(p))
            .transpose()?
            .unwrap_or_default();
        match build.kind {
            BuildKind::Branch => set("DRONE_COMMIT_BRANCH", value),
            BuildKind::Tag => {
                set("DRONE_TAG", value);
                set("DRONE_BUILD_EVENT", "tag".to_owned());
            }
            BuildKind::Pr => set("DRONE_COMMIT_REF", format!("refs/pull/{value}/head")),
            BuildKind::Commit => set("DRONE_COMMIT_SHA", value),
        }
    }
    if let Some(depth) = &clone.depth {
        let depth = values.parsed(depth, |t| t.trim().parse::<u32>().ok(), |n| *n)?;
        if depth > 0 {
            set("PLUGIN_DEPTH", depth.to_string());
        }
    }
    let yes = |p: &Option<Param<bool>>| p.as_ref().map(|p| values.boolean(p)).transpose();
    if yes(&clone.ssl_verify)? == Some(false) {
        set("GIT_SSL_NO_VERIFY", "true".to_owned());
    }
    for (flag, name) in [
        (&clone.lfs, "PLUGIN_LFS"),
        (&clone.fetch_tags, "PLUGIN_FETCH_TAGS"),
        (&clone.debug, "PLUGIN_DEBUG"),
    ] {
        if yes(flag)? == Some(true) {
            set(name, "true".to_owned());
        }
    }
    if let Some(submodules) = &clone.submodules {
        set(
            "PLUGIN_SUBMODULES",
            values
                .word(submodules, model::SubmoduleStrategy::from_word)?
                .as_str()
                .to_owned(),
        );
    }
    let sparse = values.list(clone.sparse_checkout.as_ref())?;
    if !sparse.is_empty() {
        set("PLUGIN_SPARSE_CHECKOUT", sparse.join("\n"));
    }
    let outputs = values.list(clone.output_files.as_ref())?;
    if !outputs.is_empty() {
        set("PLUGIN_OUTPUT_FILE_PATHS_CONTENT", outputs.join(","));
    }
    if let Some(command) = &clone.pre_fetch_command {
        set("PLUGIN_PRE_FETCH", values.rich(command)?);
    }
    login(clone, values, options, env)?;
    script(SCRIPT.to_owned())
}

fn login(
    clone: &GitClone,
    values: &Values<'_>,
    options: &Options,
    env: &mut Vec<(String, String)>,
) -> Result<(), Failure> {
    let Some(connector) = connector(clone, values, options)? else {
        return Ok(());
    };
    // A reference is resolved as an expression of it would be, and masked like one.
    let secret = |r: &Ref| values.secret_text(&format!("<+secrets.getValue(\"{r}\")>"));
    match &connector.auth {
        None | Some(GitAuth::Anonymous) => {}
        Some(GitAuth::Http {
            user,
            secret: password,
        }) => {
            let user = match user {
                Some(UserName::Literal(name)) => name.value.clone(),
                Some(UserName::Secret(r)) => secret(&r.value)?,
                None => "git".to_owned(),
            };
            env.push(("DRONE_NETRC_USERNAME".to_owned(), user));
            if let Some(password) = password {
                env.push(("DRONE_NETRC_PASSWORD".to_owned(), secret(&password.value)?));
            }
        }
        Some(GitAuth::Ssh { key }) => {
            if let Some(key) = key {
                env.push(("DRONE_SSH_KEY".to_owned(), secret(&key.value)?));
            }
        }
        Some(GitAuth::Other { kind, .. }) => {
            return Err(configuration(
                format!("a git connector with `{}` is not used here", kind.value),
                "use UsernameToken, UsernamePassword or Ssh; or take a working tree: `--local REPO=DIR`",
            ));
        }
    }
    Ok(())
}
