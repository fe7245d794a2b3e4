//! `cargo xtask bench --kube`: what a group costs in a cluster, beside the same work as pods that somebody would write by hand, in one run
//! on one cluster. Times begin with the request that makes the pod, as the API server's audit log has it.

mod audit;
mod bare;
mod beside;
mod figures;
mod ours;
mod turns;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::Row;
use super::measure::{Bench, done};
use crate::cluster::{self, Instance};

/// An image that the test cluster can pull.
const IMAGE: &str = "127.0.0.1:5050/tc/busybox:1";

/// The cluster that is measured.
pub(crate) struct Kube<'a> {
    bench: &'a Bench,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    audit: PathBuf,
    namespace: String,
    /// How often each thing is measured.
    rounds: usize,
}

/// How often by default: a start takes half a second to two.
const ROUNDS: usize = 5;

type Figure = fn(&Kube<'_>) -> Result<Vec<Row>>;

/// Name on the command line, and what measures it.
pub(crate) const FIGURES: &[(&str, Figure)] = &[
    ("start", beside::start),
    ("twenty", beside::twenty),
    ("running", figures::running),
    ("one", figures::one),
    ("line", figures::line),
    ("sleep", figures::sleep),
    ("groups", beside::groups),
    ("image", figures::image),
    ("cancel", figures::cancel),
    ("writes", figures::writes),
    ("hundred", figures::hundred),
];

impl<'a> Kube<'a> {
    /// Brings the test cluster up, with a namespace for this run.
    pub(crate) fn new(bench: &'a Bench, wanted: &Wanted) -> Result<Self> {
        let access = cluster::for_tests(&wanted.instance)?.context("there is no test cluster")?;
        let state = access.state.context(
            "the times are those of the audit log of a cluster of ours: unset KUBECONFIG",
        )?;
        let kube = Self {
            bench,
            kubeconfig: access.kubeconfig,
            kubectl: access.programs.context("it has kubectl")?.join("kubectl"),
            audit: state.join("audit.log"),
            namespace: format!("bench-{}", std::process::id()),
            rounds: wanted.rounds,
        };
        kube.kubectl(&["create", "namespace", &kube.namespace])?;
        kube.kubectl(&[
            "wait",
            "--for=create",
            "serviceaccount/default",
            "--timeout=30s",
        ])?;
        // Neither the agent's object nor the image is made in what is measured.
        ours::run(&kube, "warm", &[("Sh", "true".to_owned())])?;
        Ok(kube)
    }

    /// `kubectl` in the namespace; its output.
    fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut command = self.kubectl_command();
        let (_, out) = done(command.args(args))?;
        Ok(String::from_utf8(out.stdout)?)
    }

    fn kubectl_command(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--namespace", &self.namespace]);
        command
    }

    /// Removes pods at once.
    fn remove(&self, names: &[String]) -> Result<()> {
        let names = names.iter().map(String::as_str);
        let args = [
            "delete",
            "pod",
            "--force",
            "--grace-period=0",
            "--wait=false",
        ];
        self.kubectl(&args.into_iter().chain(names).collect::<Vec<_>>())?;
        Ok(())
    }
}

impl Drop for Kube<'_> {
    fn drop(&mut self) {
        let args = ["delete", "namespace", &self.namespace, "--wait=false"];
        if let Err(error) = self.kubectl(&args) {
            eprintln!("the namespace {} is left: {error:#}", self.namespace);
        }
    }
}

/// What is wanted of a run.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The cluster.
    instance: Instance,
    rounds: usize,
    /// Of figures; none: all.
    pub(crate) names: Vec<String>,
}

/// What the command line says: figures, and where and how often they are measured.
pub(crate) fn wanted(args: &[String]) -> Result<Wanted> {
    let mut wanted = Wanted {
        instance: Instance::newest(),
        rounds: ROUNDS,
        names: Vec::new(),
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--instance" => {
                let text = args.next().context("--instance needs a number")?;
                wanted.instance = wanted.instance.numbered(text)?;
            }
            "--rounds" => {
                let text = args.next().context("--rounds needs a number")?;
                wanted.rounds = text
                    .parse()
                    .ok()
                    .filter(|rounds| *rounds > 0)
                    .with_context(|| format!("`{text}` is no number of rounds"))?;
            }
            name => {
                ensure!(
                    FIGURES.iter().any(|f| f.0 == name),
                    "no such figure of a cluster: `{name}`; there are {}",
                    FIGURES.iter().map(|f| f.0).collect::<Vec<_>>().join(", ")
                );
                wanted.names.push(name.to_owned());
            }
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_options_are_told_apart() -> Result<()> {
        let read = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            wanted(&words)
        };
        let all = read(&[])?;
        assert_eq!((all.rounds, all.names.len()), (ROUNDS, 0));
        let some = read(&["start", "--instance", "3", "--rounds", "2", "line"])?;
        assert_eq!(some.instance, Instance::newest().numbered("3")?);
        assert_eq!(
            (some.rounds, some.names.join(" ")),
            (2, "start line".to_owned())
        );
        for wrong in [
            &["--rounds", "0"][..],
            &["--rounds"],
            &["--instance", "x"],
            &["none"],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        Ok(())
    }
}
