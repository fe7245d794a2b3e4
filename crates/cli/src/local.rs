//! `--local REPO=DIR`: a working tree in place of a clone.
//!
//! The files that a commit of the tree could hold (tracked ones as they are now, and new ones that are not ignored) and
//! its `.git` are copied once into the run's directory, by reflink where the file system can; the copy is mounted at the
//! clone's directory. So steps see what the person sees in their editor, and may write as into a clone; the tree itself is
//! never written to.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use pipeline::model::{ConnectorSpec, Entities, GitClone, Param, Pipeline, StepSpec};
use pipeline::plan::{Place, What};
use pipeline::resolve::{clone_names, is_url};
use syntax::{Diagnostic, code};

use crate::cmd::run::steps;
use crate::problem::Problem;

/// A repository and the tree that stands in for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Local {
    /// As the pipeline calls it: `repoName`, the last part of the connector's url, or the step's identifier.
    pub(crate) repo: String,
    /// The tree, absolute.
    pub(crate) dir: PathBuf,
}

impl Local {
    /// From `REPO=DIR`.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let (repo, dir) = text
            .split_once('=')
            .filter(|(repo, dir)| !repo.is_empty() && !dir.is_empty())
            .ok_or_else(|| {
                Problem::invalid(format!("`--local {text}` is not `REPO=DIR`")).help(
                    "give the repository's name in the pipeline and a directory: `--local shop=.`",
                )
            })?;
        let dir = fs::canonicalize(dir).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                Problem::invalid(format!("`--local {text}`: there is no directory {dir}"))
            }
            _ => Problem::system(format_args!("find {dir}"), &e),
        })?;
        if !dir.is_dir() {
            return Err(Problem::invalid(format!(
                "`--local {text}`: {} is not a directory",
                dir.display()
            )));
        }
        Ok(Self {
            repo: repo.to_owned(),
            dir,
        })
    }

    /// Copies the tree to `to`, which is made. Returns how many files it has.
    pub(crate) fn copy(&self, to: &Path) -> Result<u64, Problem> {
        let failed = |e: io::Error| {
            Problem::system(
                format_args!("copy {} to {}", self.dir.display(), to.display()),
                &e,
            )
        };
        let count = copied(&self.dir, to).map_err(failed)?;
        open_up(to).map_err(failed)?;
        Ok(count)
    }

    /// Whether it stands in for something. A name that only the run will know is taken on trust.
    pub(crate) fn fits(&self, pipeline: &Pipeline, entities: &Entities) -> Result<(), Problem> {
        let mut names = Vec::new();
        for step in steps(pipeline) {
            let StepSpec::GitClone(clone) = &step.spec else {
                continue;
            };
            let Some(all) = names_of(clone, step.common.identifier.as_str(), entities) else {
                return Ok(());
            };
            if all.contains(&self.repo.as_str()) {
                return Ok(());
            }
            names.extend(all.first().map(|name| format!("`{name}`")));
        }
        let problem = Problem::invalid(format!(
            "`--local {}=…` stands in for no clone of this pipeline",
            self.repo
        ));
        names.sort();
        names.dedup();
        Err(if names.is_empty() {
            problem.help("leave it out: there is no GitClone step")
        } else {
            problem.help(format!(
                "name a repository that is cloned: {}",
                names.join(", ")
            ))
        })
    }
}

/// What a clone may be called; none where only the run will know it.
fn names_of<'c>(
    clone: &'c GitClone,
    step: &'c str,
    entities: &'c Entities,
) -> Option<Vec<&'c str>> {
    let repo = match &clone.repo_name {
        None => None,
        Some(Param::Literal(name)) => Some(name.value.as_str()),
        Some(_) => return None,
    };
    let reference = match &clone.connector_ref {
        None => None,
        Some(reference) => Some(reference.literal()?),
    };
    let connector = reference.and_then(|reference| entities.connector(reference));
    let url = match connector.map(|own| &own.spec) {
        Some(ConnectorSpec::Git(own)) => own.url.as_ref().map(|url| url.value.as_str()),
        _ => None,
    };
    Some(clone_names(step, repo, url))
}

/// A clone whose connector is not among the entities, and which no working tree stands in for.
pub(crate) fn unknown_connector(
    place: &Place<'_>,
    entities: &Entities,
    locals: &[Local],
) -> Option<Diagnostic> {
    let What::Step(step) = place.what else {
        return None;
    };
    let StepSpec::GitClone(clone) = &step.spec else {
        return None;
    };
    let written = clone.connector_ref.as_ref()?;
    let reference = written.literal()?;
    let repo = clone.repo_name.as_ref().map(Param::text);
    if entities.connector(reference).is_some() || repo.is_some_and(is_url) {
        return None;
    }
    let names = names_of(clone, step.identifier.as_str(), entities)?;
    let stood_in = |local: &Local| names.contains(&local.repo.as_str());
    if locals.iter().any(stood_in) {
        return None;
    }
    Some(
        Diagnostic::error(
            code::UNKNOWN_CONNECTOR,
            format!("the connector `{reference}` is not there"),
        )
        .at(written.span(), "")
        .help(
            "put it beside the pipeline: `--entities DIR`, or a further document `connector:`; or take a working tree: `--local REPO=DIR`",
        ),
    )
}

/// A working tree with the repositories inside it, each as git knows it; what is no tree of git's, as a whole.
fn copied(from: &Path, to: &Path) -> io::Result<u64> {
    fs::create_dir_all(to)?;
    let Some(files) = listed(from) else {
        return tree(from, to);
    };
    let mut count = 0;
    for file in files {
        let (from, into) = (from.join(&file), to.join(&file));
        // What is deleted in the tree is still in git's list.
        let Ok(meta) = fs::symlink_metadata(&from) else {
            continue;
        };
        if let Some(parent) = into.parent() {
            fs::create_dir_all(parent)?;
        }
        count += if !meta.is_dir() {
            one(&from, &into, &meta)?
        } else if from.join(".git").exists() {
            copied(&from, &into)?
        } else {
            tree(&from, &into)?
        };
    }
    history(from, &to.join(".git"))?;
    Ok(count)
}

/// The repository itself, so that git works in the copy. Of a linked worktree and of a submodule it is elsewhere, and their `.git` is a
/// file that says where.
fn history(dir: &Path, to: &Path) -> io::Result<()> {
    let git = dir.join(".git");
    if git.is_dir() {
        tree(&git, to)?;
    } else if git.is_file()
        && let Some(places) = git_says(
            dir,
            &[
                "rev-parse",
                "--path-format=absolute",
                "--git-common-dir",
                "--git-dir",
            ],
        )
    {
        let mut places = places
            .split(|b| *b == b'\n')
            .map(|path| Path::new(OsStr::from_bytes(path)));
        let (Some(common), Some(own)) = (places.next(), places.next()) else {
            return Ok(());
        };
        tree(common, to)?;
        for name in ["HEAD", "index"] {
            let file = own.join(name);
            if file.is_file() {
                fs::copy(file, to.join(name))?;
            }
        }
        // A submodule's says where its tree is; this one is beside its tree, as every clone's.
        let config = to.join("config");
        let config = config.to_string_lossy();
        let _ = git_says(
            dir,
            &["config", "--file", &config, "--unset", "core.worktree"],
        );
    } else {
        return Ok(());
    }
    // Other trees of this repository are not here.
    match fs::remove_dir_all(to.join("worktrees")) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// What git prints about a tree; none where it does not know it, or is not here.
fn git_says(dir: &Path, words: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(words)
        .output()
        .ok()?;
    output.status.success().then_some(output.stdout)
}

/// The files that git would know, relative to the tree; none where this is no git tree or there is no git.
fn listed(dir: &Path) -> Option<Vec<PathBuf>> {
    let out = git_says(
        dir,
        &[
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
    )?;
    let names = out.split(|b| *b == 0).filter(|name| !name.is_empty());
    let mut files: Vec<_> = names
        .map(|name| PathBuf::from(OsStr::from_bytes(name)))
        .collect();
    files.sort();
    // A file with a conflict is listed once for each side.
    files.dedup();
    Some(files)
}

/// A directory with all below it.
fn tree(from: &Path, to: &Path) -> io::Result<u64> {
    fs::create_dir_all(to)?;
    let mut count = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        let into = to.join(entry.file_name());
        count += if meta.is_dir() {
            tree(&entry.path(), &into)?
        } else {
            one(&entry.path(), &into, &meta)?
        };
    }
    Ok(count)
}

/// A file or a link. Sockets and the like are no part of a tree.
fn one(from: &Path, to: &Path, meta: &fs::Metadata) -> io::Result<u64> {
    if meta.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if meta.is_file() {
        // With its permissions; shared blocks where the filesystem has them.
        fs::copy(from, to)?;
    } else {
        return Ok(0);
    }
    Ok(1)
}

/// Steps may run as any user: a clone belongs to whoever runs it, this one to all.
fn open_up(path: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if meta.is_symlink() {
        return Ok(());
    }
    let mode = meta.permissions().mode();
    let more = if meta.is_dir() || mode & 0o111 != 0 {
        0o777
    } else {
        0o666
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o7777 | more))?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            open_up(&entry?.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![dir.to_owned()];
        while let Some(at) = open.pop() {
            for entry in fs::read_dir(at).expect("a directory").flatten() {
                let path = entry.path();
                let name = path.strip_prefix(dir).expect("below").display().to_string();
                if name == ".git" || name.ends_with("/.git") {
                    found.push(name);
                } else if entry.file_type().expect("a kind").is_dir() {
                    open.push(path);
                } else {
                    found.push(name);
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn a_tree_is_copied_as_git_would_know_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let from = dir.path().join("shop");
        fs::create_dir_all(from.join("src")).expect("a directory");
        fs::create_dir_all(from.join("target")).expect("a directory");
        for (name, text) in [
            ("src/a.rs", "a"),
            ("gone.rs", "g"),
            ("target/big", "b"),
            (".gitignore", "target\n"),
            ("run.sh", "r"),
        ] {
            fs::write(from.join(name), text).expect("a file");
        }
        fs::set_permissions(from.join("run.sh"), fs::Permissions::from_mode(0o755))
            .expect("a mode");
        symlink("src/a.rs", from.join("link")).expect("a link");
        let local = Local::parse(&format!("shop={}", from.display())).expect("a tree");

        // Without git's knowledge: everything.
        assert_eq!(local.copy(&dir.path().join("all")).expect("a copy"), 6);

        let git = |args: &[&str]| {
            let done = Command::new("git")
                .arg("-C")
                .arg(&from)
                .args(args)
                .output()
                .expect("git runs");
            assert!(
                done.status.success(),
                "{}",
                String::from_utf8_lossy(&done.stderr)
            );
        };
        git(&["init", "-q"]);
        git(&["add", "src/a.rs", "gone.rs"]);
        fs::remove_file(from.join("gone.rs")).expect("a file");
        fs::write(from.join("src/new.rs"), "n").expect("a file");
        let to = dir.path().join("copy");
        assert_eq!(local.copy(&to).expect("a copy"), 5);
        assert_eq!(
            names(&to),
            [
                ".git",
                ".gitignore",
                "link",
                "run.sh",
                "src/a.rs",
                "src/new.rs"
            ]
        );
        let mode = |name: &str| {
            fs::metadata(to.join(name))
                .expect("a file")
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(
            (mode("run.sh"), mode("src/a.rs"), mode("src")),
            (0o777, 0o666, 0o777)
        );
        fs::write(to.join("src/a.rs"), "changed").expect("a file");
        assert_eq!(
            fs::read_to_string(from.join("src/a.rs")).expect("a file"),
            "a"
        );
    }

    #[test]
    fn repositories_inside_and_linked_trees_are_repositories_in_the_copy() {
        let dir = tempfile::tempdir().expect("a directory");
        let git = |at: &str, args: &[&str]| -> String {
            let done = Command::new("git")
                .args(["-c", "user.name=n", "-c", "user.email=n@example.com"])
                .args(["-c", "protocol.file.allow=always", "-C"])
                .arg(dir.path().join(at))
                .args(args)
                .output()
                .expect("git runs");
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(done.status.success(), "{args:?}: {said}");
            String::from_utf8_lossy(&done.stdout).trim().to_owned()
        };
        let put = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).expect("a file");
        };
        git("", &["init", "-q", "lib"]);
        put("lib/.gitignore", "junk\n");
        put("lib/code", "1");
        git("lib", &["add", "."]);
        git("lib", &["commit", "-qm", "library"]);
        git("", &["init", "-q", "shop"]);
        git("shop", &["submodule", "--quiet", "add", "../lib", "lib"]);
        git("shop", &["commit", "-qm", "shop"]);
        git("shop", &["worktree", "add", "-q", "-b", "side", "../side"]);
        git("side", &["submodule", "--quiet", "update", "--init"]);
        for from in ["shop", "side"] {
            put(&format!("{from}/lib/junk"), "ignored");
            put(&format!("{from}/lib/code"), "2");
            let local = Local::parse(&format!("x={}", dir.path().join(from).display()));
            let (to, at) = (format!("copy-{from}"), dir.path().join("copy"));
            local.expect("a tree").copy(&at).expect("a copy");
            fs::rename(at, dir.path().join(&to)).expect("moved");
            let inside = format!("{to}/lib");
            assert_eq!(
                names(&dir.path().join(&to)),
                [
                    ".git",
                    ".gitmodules",
                    "lib/.git",
                    "lib/.gitignore",
                    "lib/code"
                ]
            );
            for (at, subject, changed) in [(&to, "shop", "m lib"), (&inside, "library", "M code")] {
                assert_eq!(git(at, &["log", "-1", "--format=%s"]), subject, "{at}");
                // Modes are opened up, which is no change of a file here.
                let status = git(at, &["-c", "core.fileMode=false", "status", "--short"]);
                assert_eq!(status.trim_start(), changed, "{at}");
            }
            let branch = if from == "side" {
                "side"
            } else {
                &git("shop", &["branch", "--show-current"])
            };
            assert_eq!(git(&to, &["branch", "--show-current"]), branch);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (given, says) in [
            ("shop", "is not `REPO=DIR`"),
            ("=.", "is not `REPO=DIR`"),
            ("shop=/no/such/dir", "there is no directory /no/such/dir"),
            ("shop=/dev/null", "is not a directory"),
        ] {
            let problem = Local::parse(given).unwrap_err().to_string();
            assert!(problem.contains(says), "{problem}");
        }
    }
}
