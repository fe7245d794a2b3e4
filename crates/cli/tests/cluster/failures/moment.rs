//! A run of two steps that is brought to a moment and held there.

use std::fmt;
use std::time::Duration;

use rustix::process::Signal;

use crate::proxy::Proxy;
use crate::support::Group;
use crate::world::{Cluster, Running};

/// The port of the open registry.
const REGISTRY: u16 = 5050;

/// Seconds between a step's last line and its end: time to stop the driver in between, also on a busy machine.
const TAIL: u64 = 3;

/// When something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Every container stands; the first step has not begun, since its image is still asked for.
    Before,
    /// The first step runs.
    During,
    /// The first step has ended, the second has not begun: the driver is stopped meanwhile.
    Between,
    /// The last step has ended: the driver is stopped before it knows.
    End,
}

pub(crate) const MOMENTS: [Moment; 4] =
    [Moment::Before, Moment::During, Moment::Between, Moment::End];

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::During => "during",
            Self::Between => "between",
            Self::End => "end",
        })
    }
}

/// A run at its moment.
pub(crate) struct Stage<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) moment: Moment,
    pub(crate) run: Running,
    /// Its pod.
    pub(crate) pod: String,
    /// On the command's way to the API server.
    pub(crate) way: Proxy,
    /// On its way to the registry.
    gate: Proxy,
    stopped: bool,
}

impl<'a> Stage<'a> {
    /// Starts a run and brings it there. Its pod ends by itself when no driver was there for `abandoned`.
    pub(crate) fn reach(cluster: &'a Cluster, moment: Moment, abandoned: &str) -> Self {
        let gate = Proxy::to(REGISTRY);
        let image = format!("127.0.0.1:{}/tc/busybox:1", gate.port);
        // The node has the image, so that only the command's own question waits at the gate.
        cluster.pull(&image);
        let with = |group: Group, id: &str, text: &str| group.step(id, &image, "shell: Sh", text);
        // What happens during a step happens well before its end, also on a busy machine.
        let long = if moment == Moment::During { 10 } else { 2 };
        let group = with(
            Group::new(),
            "one",
            &format!("echo one up; sleep {long}; echo one done; sleep {TAIL}"),
        );
        let group = with(
            group,
            "two",
            &format!("echo two up; sleep 0.5; echo two done; sleep {TAIL}"),
        );
        if moment == Moment::Before {
            gate.hold();
        }
        let (way, kubeconfig) = cluster.by_proxy();
        let mut command = cluster.running_command(&group, &[]);
        command
            .env("KUBECONFIG", &kubeconfig)
            .env("STEPYARD_ABANDONED_AFTER", abandoned);
        let mut run = Running::of(command);
        let pod = cluster.until("a pod whose containers stand", || {
            let pod = cluster.pods().into_iter().next()?;
            let states = pod["status"]["containerStatuses"].as_array()?;
            let up = states.iter().all(|s| s["state"]["running"].is_object());
            (up && states.len() == 3)
                .then(|| pod["metadata"]["name"].as_str().map(str::to_owned))?
        });
        let mut stopped = true;
        match moment {
            Moment::Before => stopped = false,
            Moment::During => {
                run.until("[s/g/one] one up");
                stopped = false;
            }
            Moment::Between => run.until("[s/g/one] one done"),
            Moment::End => run.until("[s/g/two] two done"),
        }
        if stopped {
            run.signal(Signal::STOP);
            // The step ends meanwhile.
            std::thread::sleep(Duration::from_secs(TAIL + 2));
        }
        Self {
            cluster,
            moment,
            run,
            pod,
            way,
            gate,
            stopped,
        }
    }

    /// The container that it is about: of the step that runs, else of the next one, else of the last one.
    pub(crate) fn container(&self) -> &'static str {
        match self.moment {
            Moment::Before | Moment::During => "step-one",
            Moment::Between | Moment::End => "step-two",
        }
    }

    /// Lets the run go on.
    pub(crate) fn go_on(&mut self) {
        self.gate.open();
        if std::mem::take(&mut self.stopped) {
            self.run.signal(Signal::CONT);
        }
    }

    /// Lets it go on to its end.
    pub(crate) fn end(mut self) -> crate::support::Seen {
        self.go_on();
        self.run.end()
    }
}
