//! The clone script of `images/git` against a real repository, with this machine's git.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::{root, which};

/// A repository with a branch, a tag, a pull request's ref and two commits.
struct World {
    dir: tempfile::TempDir,
}

/// What the script printed, and whether it succeeded.
struct Said {
    good: bool,
    text: String,
}

impl World {
    fn new() -> Result<Self> {
        let world = Self {
            dir: tempfile::tempdir()?,
        };
        world.git(&["init", "-q", "-b", "main", "origin"])?;
        for (file, text) in [("a.txt", "one\n"), ("sub/b.txt", "two\nlines\n")] {
            let path = world.origin().join(file);
            std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            std::fs::write(&path, text)?;
            world.git(&["-C", "origin", "add", "."])?;
            world.git(&["-C", "origin", "commit", "-q", "-m", file])?;
        }
        world.git(&["-C", "origin", "tag", "v1", "HEAD~1"])?;
        world.git(&["-C", "origin", "update-ref", "refs/pull/7/head", "HEAD~1"])?;
        world.git(&["-C", "origin", "checkout", "-q", "-b", "feature", "HEAD~1"])?;
        Ok(world)
    }

    fn origin(&self) -> PathBuf {
        self.dir.path().join("origin")
    }

    fn work(&self) -> PathBuf {
        self.dir.path().join("work/repo")
    }

    fn git(&self, args: &[&str]) -> Result<String> {
        let out = Command::new("git")
            .args([
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@b",
                "-c",
                "safe.directory=*",
            ])
            .args(args)
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .output()?;
        ensure!(
            out.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        Ok(String::from_utf8(out.stdout)?.trim().to_owned())
    }

    /// Runs the script with nothing in its environment but this.
    fn clone(&self, env: &[(&str, &str)]) -> Result<Said> {
        let out = Command::new("sh")
            .arg(root().join("images/git/clone"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env(
                "DRONE_REMOTE_URL",
                format!("file://{}", self.origin().display()),
            )
            .env("DRONE_WORKSPACE", self.work())
            .envs(env.iter().copied())
            .output()?;
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        Ok(Said {
            good: out.status.success(),
            text,
        })
    }

    fn commits(&self) -> Result<String> {
        let work = self.work();
        self.git(&["-C", &work.to_string_lossy(), "rev-list", "--count", "HEAD"])
    }

    fn has(&self, file: &str) -> bool {
        self.work().join(file).is_file()
    }
}

/// Name, environment, commits, whether the second commit's file is there.
type Case = (
    &'static str,
    Vec<(&'static str, &'static str)>,
    &'static str,
    bool,
);

#[test]
fn what_the_environment_names_is_checked_out() -> Result<()> {
    ensure!(
        which("git").is_some(),
        "git is missing: apt-get install git"
    );
    let cases: [Case; 6] = [
        ("branch", vec![("DRONE_COMMIT_BRANCH", "main")], "2", true),
        (
            "depth",
            vec![("DRONE_COMMIT_BRANCH", "main"), ("PLUGIN_DEPTH", "1")],
            "1",
            true,
        ),
        (
            "tag",
            vec![("DRONE_TAG", "v1"), ("DRONE_BUILD_EVENT", "tag")],
            "1",
            false,
        ),
        (
            "ref",
            vec![("DRONE_COMMIT_REF", "refs/pull/7/head")],
            "1",
            false,
        ),
        ("sha", vec![("DRONE_COMMIT_SHA", "main")], "2", true),
        ("default", vec![], "1", false),
    ];
    for (name, env, commits, second) in cases {
        let world = World::new()?;
        let sha = world.git(&["-C", "origin", "rev-parse", "main"])?;
        let env: Vec<(&str, &str)> = env
            .into_iter()
            .map(|(k, v)| {
                (
                    k,
                    if k == "DRONE_COMMIT_SHA" {
                        sha.as_str()
                    } else {
                        v
                    },
                )
            })
            .collect();
        let said = world.clone(&env)?;
        ensure!(said.good, "{name}: {}", said.text);
        ensure!(
            world.commits()? == commits,
            "{name}: {} commits\n{}",
            world.commits()?,
            said.text
        );
        ensure!(
            world.has("sub/b.txt") == second,
            "{name}: the files are others\n{}",
            said.text
        );
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_told_by_name() -> Result<()> {
    let cases: [(&[(&str, &str)], &str); 5] = [
        (
            &[("DRONE_WORKSPACE", "/harness")],
            "cannot be cloned into /harness itself",
        ),
        (&[("DRONE_WORKSPACE", "repo")], "not absolute: repo"),
        (
            &[("DRONE_COMMIT_BRANCH", "nowhere")],
            "could not fetch branch nowhere from file://",
        ),
        (
            &[("PLUGIN_DEPTH", "few")],
            "PLUGIN_DEPTH is not a number: few",
        ),
        (
            &[
                ("DRONE_COMMIT_BRANCH", "main"),
                ("DRONE_OUTPUT", "/dev/null"),
                ("PLUGIN_OUTPUT_FILE_PATHS_CONTENT", "no.txt"),
            ],
            "the repository has no file no.txt",
        ),
    ];
    let world = World::new()?;
    for (env, words) in cases {
        let said = world.clone(env)?;
        ensure!(
            !said.good && said.text.contains(words),
            "{env:?}: {}",
            said.text
        );
    }
    Ok(())
}

#[test]
fn contents_of_files_become_outputs_and_a_sparse_checkout_holds_only_its_paths() -> Result<()> {
    let world = World::new()?;
    let out = world.dir.path().join("out");
    let out_path: &Path = &out;
    let said = world.clone(&[
        ("DRONE_COMMIT_BRANCH", "main"),
        ("PLUGIN_SPARSE_CHECKOUT", "sub/"),
        ("DRONE_OUTPUT", &out_path.to_string_lossy()),
        ("PLUGIN_OUTPUT_FILE_PATHS_CONTENT", "sub/b.txt"),
    ])?;
    ensure!(said.good, "{}", said.text);
    ensure!(
        world.has("sub/b.txt") && !world.has("a.txt"),
        "{}",
        said.text
    );
    ensure!(std::fs::read_to_string(&out)? == "sub/b.txt=__B64__dHdvCmxpbmVzCg==\n");
    Ok(())
}

#[test]
fn a_second_clone_into_the_same_place_takes_the_new_commit() -> Result<()> {
    let world = World::new()?;
    ensure!(world.clone(&[("DRONE_TAG", "v1")])?.good);
    let said = world.clone(&[("DRONE_COMMIT_BRANCH", "main")])?;
    ensure!(said.good && world.has("sub/b.txt"), "{}", said.text);
    Ok(())
}
