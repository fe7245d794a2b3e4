//! `cargo xtask cluster`: a real one-node Kubernetes on this machine, from Debian's packages and Go modules alone.
//!
//! The scripts of `testcluster/` build and start it; this is where a person, the tests and CI meet them. Two servers are
//! tested: the newest in full, the oldest supported with a smoke suite. Each has an instance of its own, so that both may be up.

mod go;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{Cmd, root};
use crate::{machine, suite};

/// The server that is tested in full.
const NEWEST: &str = "1.37.2";
/// The oldest server that is supported.
const OLDEST: &str = "1.33.13";
/// The parts of a cluster by the names of their process id files.
const PARTS: [&str; 6] = ["etcd", "apiserver", "kcm", "sched", "containerd", "kubelet"];

const USAGE: &str =
    "cargo xtask cluster build|up|down|status|kubeconfig|smoke [--oldest] [--instance N] [--wipe]";

/// A cluster of this machine: its state, ports and bridge follow from its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    number: u8,
    version: String,
}

/// What tests are told of the cluster that they may use.
#[derive(Debug)]
pub(crate) struct Access {
    /// The kubeconfig.
    pub(crate) kubeconfig: PathBuf,
    /// The state of a cluster of ours, whose parts tests may stop and start; none where it is the user's own.
    pub(crate) state: Option<PathBuf>,
    /// Where its `kubectl` is; none: in `PATH`.
    pub(crate) programs: Option<PathBuf>,
}

impl Instance {
    /// The one of the tests.
    pub(crate) fn newest() -> Self {
        Self {
            number: 0,
            version: NEWEST.to_owned(),
        }
    }

    /// The one of the smoke suite.
    pub(crate) fn oldest() -> Self {
        Self {
            number: 1,
            version: OLDEST.to_owned(),
        }
    }

    /// The same server as another instance.
    pub(crate) fn numbered(&self, text: &str) -> Result<Self> {
        let number: u8 = text
            .parse()
            .with_context(|| format!("`{text}` is not a number from 0 to 9"))?;
        ensure!(number < 10, "instances are numbered from 0 to 9");
        Ok(Self {
            number,
            version: self.version.clone(),
        })
    }

    fn state(&self) -> PathBuf {
        cache().join(format!("run-{}", self.number))
    }

    /// Where its one binary is, by the names of Kubernetes' programs.
    fn programs(&self) -> PathBuf {
        cache().join(format!("kube-{}", self.version))
    }

    /// Where its kubeconfig is, once it is up.
    fn kubeconfig(&self) -> PathBuf {
        self.state().join("admin.kubeconfig")
    }

    fn script(&self, name: &str) -> Cmd {
        Cmd::new(scripts().join(name))
            .env("TESTCLUSTER", cache())
            .env("KUBE_VERSION", &self.version)
            .env("INSTANCE", self.number.to_string())
    }

    /// Builds what is not built.
    fn build(&self) -> Result<()> {
        ensure!(
            machine::root_on_debian(),
            "a test cluster needs root on Debian; set KUBECONFIG to use another cluster"
        );
        let go = go::find(&scripts())?;
        self.script("build.sh").env("PATH", go::path(&go)?).run()
    }

    /// Builds what is not built, and starts what does not run.
    pub(crate) fn up(&self) -> Result<Access> {
        self.build()?;
        self.script("up.sh").run()?;
        Ok(Access {
            kubeconfig: self.kubeconfig(),
            state: Some(self.state()),
            programs: Some(self.programs()),
        })
    }

    fn down(&self, wipe: bool) -> Result<()> {
        self.script("down.sh")
            .env("WIPE", if wipe { "1" } else { "" })
            .run()
    }

    /// What runs of it, in a line.
    fn status(&self) -> String {
        let running: Vec<&str> = PARTS
            .into_iter()
            .filter(|part| lives(&self.state().join("pid").join(part)))
            .collect();
        let what = if running.is_empty() {
            "down".to_owned()
        } else if running.len() == PARTS.len() {
            let ready = Cmd::new(self.programs().join("kubectl"))
                .arg("--kubeconfig")
                .arg(self.kubeconfig())
                .args(["--request-timeout=3s", "get", "--raw", "/readyz"])
                .succeeds();
            format!(
                "up{}, KUBECONFIG={}",
                if ready { "" } else { " but not ready" },
                self.kubeconfig().display()
            )
        } else {
            format!("in part: {}", running.join(", "))
        };
        format!(
            "instance {}: Kubernetes {}, {what}",
            self.number, self.version
        )
    }
}

/// `cargo xtask cluster`.
pub(crate) fn command(args: &[String]) -> Result<()> {
    let Some((verb, rest)) = args.split_first() else {
        bail!("{USAGE}");
    };
    let (instance, wipe) = options(rest)?;
    let theirs = std::env::var_os("KUBECONFIG").map(PathBuf::from);
    match verb.as_str() {
        "up" => {
            if let Some(theirs) = theirs {
                println!(
                    "KUBECONFIG is set: {} is the cluster of the tests, none is brought up",
                    theirs.display()
                );
                return Ok(());
            }
            let access = instance.up()?;
            println!("{}", instance.status());
            println!("export KUBECONFIG={}", access.kubeconfig.display());
            Ok(())
        }
        "build" if theirs.is_some() => Ok(()),
        "build" => instance.build(),
        "down" => instance.down(wipe),
        "status" => {
            if let Some(theirs) = theirs {
                println!("KUBECONFIG is set: {}", theirs.display());
            }
            for instance in known()? {
                println!("{}", instance.status());
            }
            Ok(())
        }
        "kubeconfig" => {
            println!(
                "{}",
                theirs.unwrap_or_else(|| instance.kubeconfig()).display()
            );
            Ok(())
        }
        "smoke" => suite::smoke(),
        _ => bail!("{USAGE}"),
    }
}

/// The cluster of the tests: the one that the user's `KUBECONFIG` names, else `instance`, brought up. Where it cannot come up: in
/// CI an error, else loud words and none, and tests that need one are counted as skipped.
pub(crate) fn for_tests(instance: &Instance) -> Result<Option<Access>> {
    if let Some(kubeconfig) = std::env::var_os("KUBECONFIG").map(PathBuf::from) {
        return Ok(Some(Access {
            kubeconfig,
            state: None,
            programs: None,
        }));
    }
    match instance.up() {
        Ok(access) => Ok(Some(access)),
        Err(error) => {
            machine::lacking(&format!(
                "NO TEST CLUSTER, its tests are skipped: {error:#}"
            ))?;
            Ok(None)
        }
    }
}

fn options(args: &[String]) -> Result<(Instance, bool)> {
    let mut instance = Instance::newest();
    let mut number = None;
    let mut wipe = false;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--oldest" => instance = Instance::oldest(),
            "--wipe" => wipe = true,
            "--instance" => {
                number = Some(args.next().context("--instance needs a number")?);
            }
            other => bail!("`{other}` is not an option; {USAGE}"),
        }
    }
    if let Some(text) = number {
        instance = instance.numbered(text)?;
    }
    Ok((instance, wipe))
}

/// Every instance with state on this machine.
fn known() -> Result<Vec<Instance>> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(cache()) else {
        return Ok(found);
    };
    for entry in entries {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|n| n.to_str()?.strip_prefix("run-")?.parse().ok());
        let version = std::fs::read_to_string(path.join("version"));
        if let (Some(number), Ok(version)) = (number, version) {
            found.push(Instance {
                number,
                version: version.trim().to_owned(),
            });
        }
    }
    found.sort_by_key(|instance| instance.number);
    Ok(found)
}

fn scripts() -> PathBuf {
    root().join("testcluster")
}

/// What is built and what runs, in a place that outlives checkouts.
fn cache() -> PathBuf {
    std::env::var_os("TESTCLUSTER").map_or_else(
        || {
            let home = std::env::var_os("HOME").unwrap_or_else(|| "/root".into());
            PathBuf::from(home).join(".cache/stepyard/testcluster")
        },
        PathBuf::from,
    )
}

/// Whether the process of a file still is one of ours: numbers are given again.
fn lives(pid: &Path) -> bool {
    let state = pid.parent().and_then(Path::parent);
    let (Some(state), Ok(number)) = (state, std::fs::read_to_string(pid)) else {
        return false;
    };
    std::fs::read(format!("/proc/{}/cmdline", number.trim()))
        .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*state.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_chosen_by_words() -> Result<()> {
        let read = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            options(&words)
        };
        assert_eq!(read(&[])?, (Instance::newest(), false));
        assert_eq!(read(&["--oldest"])?, (Instance::oldest(), false));
        let (instance, wipe) = read(&["--instance", "3", "--oldest", "--wipe"])?;
        assert_eq!(
            (instance.number, instance.version.as_str(), wipe),
            (3, OLDEST, true)
        );
        for wrong in [
            &["--instance"][..],
            &["--instance", "10"],
            &["--instance", "x"],
            &["up"],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        Ok(())
    }

    /// What is pinned is what is run.
    #[test]
    fn both_versions_are_pinned() -> Result<()> {
        for version in [NEWEST, OLDEST] {
            let minor = version.rsplit_once('.').context("a version")?.0;
            let pinned = scripts().join("kube").join(minor).join("go.mod");
            let text =
                std::fs::read_to_string(&pinned).with_context(|| pinned.display().to_string())?;
            let line = format!("k8s.io/kubernetes v{version}");
            assert!(
                text.lines().any(|l| l.trim().ends_with(&line)),
                "{} does not require {line}",
                pinned.display()
            );
        }
        Ok(())
    }
}
