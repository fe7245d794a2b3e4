//! A run of two steps that is brought to a moment and held there until the test says a word.
//!
//! Nothing here is timed: a step goes on when a file is there, and a moment is reached when what makes it one was seen. Between
//! two steps and at the end that is the step's record in its slice, and a driver that is stopped before the step may end.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::proxy::Proxy;
use crate::support::{Clock, Group, Seen, quoted};
use crate::world::{Cluster, Running};

/// The port of the open registry.
const REGISTRY: u16 = 5050;

/// When something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Every container stands; the first step has not begun, since its image is still asked for.
    Before,
    /// The pod is ready, and no step of it has begun: one of the delegate goes before them.
    Ready,
    /// The first step runs.
    During,
    /// The first step has ended, the second has not begun: the driver is stopped meanwhile.
    Between,
    /// The last step has ended: the driver is stopped before it knows.
    End,
}

pub(crate) const MOMENTS: [Moment; 5] = [
    Moment::Before,
    Moment::Ready,
    Moment::During,
    Moment::Between,
    Moment::End,
];

impl Moment {
    /// No step of the pod has begun: another pod may do their work.
    pub(crate) fn is_early(self) -> bool {
        matches!(self, Self::Before | Self::Ready)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::Ready => "ready",
            Self::During => "during",
            Self::Between => "between",
            Self::End => "end",
        })
    }
}

/// What a step may have.
const MEMORY: &str = "48Mi";
/// A process of busybox that asks for more and more memory: one line without an end.
pub(crate) const HOG: &str = "tail /dev/zero";

/// What a step waits for before it says that it is done, and before it ends after that.
const WORDS: [&str; 5] = ["zero", "one-done", "one-end", "two-done", "two-end"];

/// Words that are said so far, as files of a directory of this machine that every pod of the run sees.
pub(crate) struct Words(tempfile::TempDir);

impl Words {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        // A step of the delegate looks into it as a user of its own.
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), mode).expect("a mode");
        Self(dir)
    }

    pub(crate) fn say(&self, word: &str) {
        std::fs::write(self.0.path().join(word), "").expect("a file");
    }

    /// Lets every step go on to its end.
    pub(crate) fn say_all(&self) {
        for word in WORDS {
            self.say(word);
        }
    }
}

/// A step of the delegate that waits for its word.
fn zero(words: &str) -> String {
    let text = format!("echo zero up; until [ -e {words}/zero ]; do sleep 0.1; done");
    format!(
        "step: {{identifier: zero, name: zero, type: ShellScript, spec: {{shell: Bash, onDelegate: true, source: {{type: Inline, spec: {{script: {}}}}}}}}}",
        quoted(&text)
    )
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
    pub(crate) gate: Proxy,
    pub(crate) words: Words,
    /// The command's own.
    pub(crate) clock: Clock,
    stopped: bool,
}

impl<'a> Stage<'a> {
    /// Starts a run and brings it there. Its pod ends by itself when no driver was there for `abandoned`; `more` is added to its
    /// infrastructure.
    pub(crate) fn reach(
        cluster: &'a Cluster,
        moment: Moment,
        abandoned: Option<&str>,
        more: &str,
    ) -> Self {
        let gate = Proxy::to(REGISTRY);
        let image = format!("127.0.0.1:{}/tc/busybox:1", gate.port);
        // The node has the image, so that only the command's own question waits at the gate.
        cluster.pull(&image);
        let words = Words::new();
        let step = |group: Group, id: &str| {
            let wait = |word: &str| format!("until [ -e /words/{id}-{word} ]; do sleep 0.1; done");
            let (done, end) = (wait("done"), wait("end"));
            // A word makes it ask for more memory than it may have.
            let hog = format!("[ ! -e /words/{id}-hog ] || exec {HOG}");
            let text = format!("echo {id} up; {done}; {hog}; echo {id} done; {end}");
            let limits = format!("shell: Sh, resources: {{limits: {{memory: {MEMORY}}}}}");
            group.step(id, &image, &limits, &text)
        };
        let dir = words.0.path().display();
        let group = Group::new()
            .infra(&format!(
                "volumes: [{{type: HostPath, mountPath: /words, spec: {{path: {dir}}}}}, {{type: EmptyDir, mountPath: /small, spec: {{size: 1Mi}}}}]"
            ))
            .infra(more);
        let group = match moment {
            Moment::Ready => group.raw(&zero(&dir.to_string())),
            _ => group,
        };
        let group = step(step(group, "one"), "two");
        if moment == Moment::Before {
            gate.drip();
        }
        let (way, kubeconfig) = cluster.by_proxy();
        let mut command = cluster.running_command(&group, &[]);
        command.env("KUBECONFIG", &kubeconfig);
        let clock = Clock::new(&cluster.home);
        clock.set(&mut command);
        if let Some(abandoned) = abandoned {
            command.env("STEPYARD_ABANDONED_AFTER", abandoned);
        }
        let run = Running::of(command);
        let (pod, uid) = cluster.until("a pod whose containers stand", || {
            let pod = cluster.pods().into_iter().next()?;
            let states = pod["status"]["containerStatuses"].as_array()?;
            let up = states.iter().all(|s| s["state"]["running"].is_object());
            let text = |name: &str| pod["metadata"][name].as_str().map(str::to_owned);
            (up && states.len() == 3).then(|| Some((text("name")?, text("uid")?)))?
        });
        let mut stage = Self {
            cluster,
            moment,
            run,
            pod,
            way,
            gate,
            words,
            clock,
            stopped: false,
        };
        match moment {
            Moment::Before => {}
            Moment::Ready => stage.run.until("[s/g/zero] zero up"),
            Moment::During => stage.run.until("[s/g/one] one up"),
            Moment::Between => {
                stage.words.say("one-done");
                stage.run.until("[s/g/one] one done");
                stage.stop();
                stage.words.say("one-end");
                stage.recorded(&uid, "step-one");
            }
            Moment::End => {
                for word in ["one-done", "one-end", "two-done"] {
                    stage.words.say(word);
                }
                stage.run.until("[s/g/two] two done");
                stage.stop();
                stage.words.say("two-end");
                stage.recorded(&uid, "step-two");
            }
        }
        stage
    }

    /// The container that it is about: of the step that runs, else of the next one, else of the last one.
    pub(crate) fn container(&self) -> &'static str {
        match self.moment {
            Moment::Before | Moment::Ready | Moment::During => "step-one",
            Moment::Between | Moment::End => "step-two",
        }
    }

    /// Stops the driver; it does nothing more when this returns.
    fn stop(&mut self) {
        self.run.signal(Signal::STOP);
        self.stopped = true;
        let stat = format!("/proc/{}/stat", self.run.child.id());
        self.cluster.until("the driver's stop", || {
            let stat = std::fs::read_to_string(&stat).ok()?;
            // The state follows the name, which stands in brackets.
            stat.rsplit_once(") ")?.1.starts_with('T').then_some(())
        });
    }

    /// Waits until the addon has written the record of a container's step.
    fn recorded(&self, uid: &str, container: &str) {
        let state = super::acts::state();
        let kubelet = std::fs::read_to_string(state.join("pid/kubelet")).expect("it was started");
        // As the kubelet sees it: a volume in memory is mounted for it alone.
        let seen = PathBuf::from(format!("/proc/{}/root{}", kubelet.trim(), state.display()));
        let volumes = seen.join(format!(
            "kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir"
        ));
        let record: PathBuf = volumes.join(format!("addon/{container}/record"));
        self.cluster.until("the step's record", || {
            let mut first = [0];
            let mut file = std::fs::File::open(&record).ok()?;
            file.read_exact(&mut first).ok()?;
            (first == *b"{").then_some(())
        });
    }

    /// The driver goes on, whatever its steps wait for.
    pub(crate) fn wake(&mut self) {
        if std::mem::take(&mut self.stopped) {
            self.run.signal(Signal::CONT);
        }
    }

    /// Everything goes on.
    pub(crate) fn go_on(&mut self) {
        self.words.say_all();
        self.gate.open();
        self.wake();
    }

    /// The end of a run that goes on as if nothing had been.
    pub(crate) fn survives(mut self) -> Seen {
        self.go_on();
        self.run.end()
    }

    /// The end of a run whose pod, or a container of it, is lost. Its steps are held: what is lost does not win a race against
    /// its loss. Before the first step another pod is to do the work.
    pub(crate) fn loses(mut self) -> Seen {
        self.notices();
        self.wake();
        self.run.end()
    }

    /// Before the first step the driver is held until it has noticed the loss: no start of the lost pod is under way then.
    pub(crate) fn notices(&mut self) {
        if self.moment.is_early() {
            self.run.until("the pod was lost");
            self.go_on();
        }
    }
}
