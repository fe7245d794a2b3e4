//! The first process of the pod: its containers, its end.
//!
//! One thread, one `poll`: signals, connections of drivers, containers being built. It sees the
//! host's files (in a mount namespace of its own), so that it can mount for the containers; nothing of a step runs in its view.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use driver::backend::{Failure, FailureKind};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::mounts::{disk, memory, tmpfs};
use super::{Link, failed, say};
use crate::cgroup::Cgroups;
use crate::container;
use crate::control::{Answer, Call, Container, MAX_LINE, Pod};
use crate::sys;

/// Holds the pod until it is deleted or its time is over. The result is the exit code.
pub(super) fn run(
    connection: &UnixStream,
    pod: &Pod,
    cgroups: &Cgroups,
    warnings: &mut Vec<String>,
    link: Link,
) -> i32 {
    match First::new(connection, pod, cgroups, warnings, link) {
        Ok(mut first) => match first.serve() {
            Ok(()) => 0,
            Err(failure) => {
                first.tell_all(&Answer::Failed(failure));
                1
            }
        },
        Err(failure) => {
            let _ = say(connection, &Answer::Failed(failure));
            1
        }
    }
}

struct First<'a> {
    pod: &'a Pod,
    cgroups: &'a Cgroups,
    listener: UnixListener,
    signals: SignalFd,
    drivers: Vec<Driver>,
    containers: BTreeMap<String, State>,
    /// To be made, the lowest order first.
    pending: Vec<Container>,
    /// How many containers are built at once.
    builders: usize,
    /// The keeper's line about the way out of the network, until it came. No step may run before.
    network: Option<fs::File>,
    /// Closed when the pod begins to end.
    lives: Option<OwnedFd>,
    /// Told with the next readiness.
    warnings: Vec<String>,
    /// Set by a deletion: when the rest is killed.
    ending: Option<Instant>,
    started: Instant,
    /// Since when no driver is connected.
    alone: Option<Instant>,
}

/// A connection.
struct Driver {
    stream: UnixStream,
    buffer: Vec<u8>,
    /// It waits for this container.
    waits: Option<(String, bool)>,
    /// It waits for the socket of this container's addon.
    reaches: Option<String>,
    /// It waits for the end.
    deletes: bool,
}

/// A container.
struct State {
    pid: Option<Pid>,
    /// What its building could not do comes through here; its end without a word is the exec of the addon.
    build: Option<fs::File>,
    said: Vec<u8>,
    warnings: Vec<String>,
    failure: Option<Failure>,
}

impl State {
    fn ready(&self) -> bool {
        self.build.is_none() && self.failure.is_none()
    }
}

impl<'a> First<'a> {
    fn new(
        connection: &UnixStream,
        pod: &'a Pod,
        cgroups: &'a Cgroups,
        warnings: &mut Vec<String>,
        link: Link,
    ) -> Result<Self, Failure> {
        if pod.network == pipeline::pod::Network::Private {
            // Where it cannot be made, who carries the packets makes it.
            let _ = sys::lasting_tap(super::network::TAP);
        }
        // Before anything can end: a signal that is blocked is kept for the descriptor.
        let mut set = SigSet::empty();
        set.add(Signal::SIGCHLD);
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
        set.add(Signal::SIGHUP);
        set.thread_block()
            .map_err(|e| failed("block signals", &e))?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(|e| failed("watch for signals", &e))?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .map_err(|e| failed("make the pod's mounts private", &e))?;
        nix::unistd::sethostname(&pod.name).map_err(|e| failed("set the pod's host name", &e))?;
        if pod.network == pipeline::pod::Network::Private {
            sys::loopback_up().map_err(|e| failed("bring the pod's loopback up", &e))?;
        }
        memory(pod).map_err(|e| failed("mount the pod's own filesystem", &e))?;
        for volume in &pod.volumes {
            if let Some(size) = volume.memory {
                tmpfs(&volume.source, size)
                    .map_err(|e| failed(&format!("mount the volume {}", volume.target), &e))?;
            }
            if let Some(image) = &volume.image
                && let Err(why) = disk(image, &volume.source)
            {
                warnings.push(crate::volumes::unlimited(&volume.target, &why));
            }
        }
        let listener = crate::store::near(&pod.dir, "control")
            .and_then(|(_dir, path)| UnixListener::bind(path))
            .map_err(|e| failed("listen for drivers", &e))?;
        let stream = connection
            .try_clone()
            .and_then(|stream| stream.set_nonblocking(true).map(|()| stream))
            .map_err(|e| failed("keep the driver's connection", &e))?;
        let warnings = std::mem::take(warnings);
        // Who starts a pod waits for this first of all.
        let _ = say(connection, &Answer::Ready { warnings });
        container::learn();
        Ok(Self {
            pod,
            cgroups,
            listener,
            signals,
            drivers: vec![Driver::new(stream)],
            containers: BTreeMap::new(),
            pending: Vec::new(),
            // The other half of the machine is for the steps that run already.
            builders: std::thread::available_parallelism().map_or(1, |n| (n.get() / 2).max(1)),
            network: Some(link.network),
            lives: Some(link.lives),
            warnings: Vec::new(),
            ending: None,
            started: Instant::now(),
            alone: None,
        })
    }

    fn serve(&mut self) -> Result<(), Failure> {
        loop {
            if let Some(at) = self.ending {
                if self.containers.values().all(|c| c.pid.is_none()) {
                    return self.end();
                }
                if at <= Instant::now() {
                    self.signal_all(Signal::SIGKILL);
                }
            }
            let timeout = self.timeout();
            let ready = self.wait(timeout)?;
            // Before a driver asks how a container ended.
            if ready.signals || !ready.drivers.is_empty() {
                self.on_signals()?;
            }
            for name in ready.builds {
                self.on_build(&name);
            }
            for index in ready.drivers.into_iter().rev() {
                self.on_driver(index);
            }
            self.build();
            if ready.listener
                && let Ok((stream, _)) = self.listener.accept()
                && stream.set_nonblocking(true).is_ok()
            {
                self.drivers.push(Driver::new(stream));
            }
            if ready.network
                && let Some(network) = self.network.take()
            {
                let mut text = String::new();
                // A keeper that is gone takes this process with it.
                let _ = io::BufReader::new(network).read_line(&mut text);
                let more: Vec<String> = serde_json::from_str(&text).unwrap_or_default();
                self.warnings.extend(more);
            }
            self.answer();
            self.mind_time();
        }
    }

    /// Until what happens next by itself.
    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        let deadline = self.started + Duration::from_millis(self.pod.deadline_ms);
        let mut next = deadline;
        if let Some(alone) = self.alone {
            next = next.min(alone + Duration::from_millis(self.pod.unattended_ms));
        }
        if let Some(ending) = self.ending {
            // After the kill only the children's ends are left to wait for.
            if ending <= now {
                return None;
            }
            next = ending;
        }
        Some(next.saturating_duration_since(now))
    }

    fn wait(&self, timeout: Option<Duration>) -> Result<Ready, Failure> {
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
        ];
        let builds: Vec<(&String, &fs::File)> = self
            .containers
            .iter()
            .filter_map(|(name, c)| Some((name, c.build.as_ref()?)))
            .collect();
        for (_, file) in &builds {
            fds.push(PollFd::new(file.as_fd(), PollFlags::POLLIN));
        }
        for driver in &self.drivers {
            fds.push(PollFd::new(driver.stream.as_fd(), PollFlags::POLLIN));
        }
        if let Some(network) = &self.network {
            fds.push(PollFd::new(network.as_fd(), PollFlags::POLLIN));
        }
        let timeout = timeout.map_or(PollTimeout::NONE, |t| {
            // Rounded up, else the last millisecond would spin.
            PollTimeout::try_from(t + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(failed("wait for events", &e)),
        }
        let is = |i: usize| fds[i].any().unwrap_or(false);
        Ok(Ready {
            signals: is(0),
            listener: is(1),
            builds: (0..builds.len())
                .filter(|i| is(2 + i))
                .map(|i| builds[i].0.clone())
                .collect(),
            drivers: (0..self.drivers.len())
                .filter(|i| is(2 + builds.len() + i))
                .collect(),
            network: self.network.is_some() && is(2 + builds.len() + self.drivers.len()),
        })
    }

    fn on_signals(&mut self) -> Result<(), Failure> {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if signal.ssi_signo != Signal::SIGCHLD as u32 {
                self.delete(Duration::from_secs(10));
            }
        }
        loop {
            let (pid, words) = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, format!("exited with code {code}")),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid, format!("was killed by {signal}"))
                }
                _ => return Ok(()),
            };
            if let Some((name, state)) =
                self.containers.iter_mut().find(|(_, c)| c.pid == Some(pid))
            {
                // What its building has said says more than this.
                if let Some(build) = &mut state.build {
                    let _ = build.read_to_end(&mut state.said);
                }
                let failure = said(&state.said)
                    .unwrap_or_else(|| ended(name, &words, self.cgroups.killed_for_memory(name)));
                state.pid = None;
                state.build = None;
                state.failure = Some(failure);
                self.cgroups.leave(name);
            }
        }
    }

    fn on_build(&mut self, name: &str) {
        let Some(state) = self.containers.get_mut(name) else {
            return;
        };
        let Some(build) = &mut state.build else {
            return;
        };
        let mut chunk = [0; 4096];
        match build.read(&mut chunk) {
            Ok(0) => {
                state.build = None;
                let mut rest = Vec::new();
                for line in state.said.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                    match serde_json::from_slice(line) {
                        Ok(container::Word::Warning(text)) => state.warnings.push(text),
                        Ok(container::Word::Failed(failure)) => state.failure = Some(failure),
                        Err(_) => rest.extend_from_slice(line),
                    }
                }
                state.said = rest;
            }
            Ok(n) => state.said.extend_from_slice(&chunk[..n]),
            Err(_) => {}
        }
    }

    fn on_driver(&mut self, index: usize) {
        let driver = &mut self.drivers[index];
        let mut chunk = [0; 16 * 1024];
        loop {
            match driver.stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) if driver.buffer.len() + n <= MAX_LINE => {
                    driver.buffer.extend_from_slice(&chunk[..n]);
                    while let Some(end) =
                        self.drivers[index].buffer.iter().position(|b| *b == b'\n')
                    {
                        let line: Vec<u8> = self.drivers[index].buffer.drain(..=end).collect();
                        self.on_call(index, &line);
                    }
                    return;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        self.drivers.remove(index);
    }

    fn on_call(&mut self, index: usize, line: &[u8]) {
        match serde_json::from_slice(line) {
            Ok(Call::Make(plan)) => {
                let name = plan.name.clone();
                let new = !self.containers.contains_key(&name)
                    && !self.pending.iter().any(|p| p.name == name);
                if new && self.ending.is_none() {
                    self.pending.push(*plan);
                }
                self.drivers[index].waits = Some((name, new));
            }
            Ok(Call::Reach { container }) => self.drivers[index].reaches = Some(container),
            Ok(Call::Ended { container }) => {
                let state = self.containers.get(&container);
                let answer = match state.and_then(|state| state.failure.clone()) {
                    Some(failure) => Answer::Failed(failure),
                    None => Answer::Ready {
                        warnings: Vec::new(),
                    },
                };
                let _ = say(&self.drivers[index].stream, &answer);
            }
            Ok(Call::Delete { grace_ms }) => {
                self.drivers[index].deletes = true;
                self.delete(Duration::from_millis(grace_ms));
            }
            Err(e) => {
                let answer = Answer::Failed(failed("read a driver's call", &e));
                let _ = say(&self.drivers[index].stream, &answer);
            }
        }
    }

    /// Makes what waits, in the order of the plan: the first step's container is not delayed by those that are needed later.
    fn build(&mut self) {
        loop {
            let building = self.containers.values().filter(|c| c.build.is_some());
            if building.count() >= self.builders {
                return;
            }
            let next = (0..self.pending.len()).min_by_key(|at| self.pending[*at].order);
            let Some(next) = next else { return };
            let plan = self.pending.remove(next);
            self.make(plan);
        }
    }

    fn make(&mut self, plan: Container) {
        let mut state = State {
            pid: None,
            build: None,
            said: Vec::new(),
            warnings: Vec::new(),
            failure: None,
        };
        if let Err(mut failure) = self.try_make(&plan, &mut state) {
            failure.container = Some(plan.name.clone());
            state.failure = Some(failure);
        }
        self.containers.insert(plan.name, state);
    }

    fn try_make(&mut self, plan: &Container, state: &mut State) -> Result<(), Failure> {
        let own = self
            .cgroups
            .own(&plan.name, &plan.resources, &mut state.warnings);
        let listener = container::prepare(self.pod, &plan.name)?;
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)
            .map_err(|e| failed("create a pipe", &e))?;
        let flags = libc::CLONE_NEWNS | libc::CLONE_NEWPID;
        match sys::fork_into(flags) {
            Ok(Some(pid)) => {
                state.pid = Some(pid);
                state.build = Some(read.into());
                Ok(())
            }
            Ok(None) => {
                drop(read);
                container::become_container(self.pod, plan, &own, &listener, &write)
            }
            Err(e) => Err(failed("create the container's namespaces", &e)),
        }
    }

    /// Answers the drivers who wait for what has come about.
    fn answer(&mut self) {
        for driver in &mut self.drivers {
            if let Some(state) = driver
                .reaches
                .as_ref()
                .and_then(|own| self.containers.get(own))
            {
                driver.reaches = None;
                let answer = match &state.failure {
                    Some(failure) => Answer::Failed(failure.clone()),
                    None => Answer::Ready {
                        warnings: Vec::new(),
                    },
                };
                let _ = say(&driver.stream, &answer);
            }
            let Some((name, new)) = &driver.waits else {
                continue;
            };
            let Some(state) = self.containers.get_mut(name) else {
                continue;
            };
            let answer = if let Some(failure) = &state.failure {
                Answer::Failed(failure.clone())
            } else if state.ready() && self.network.is_none() {
                self.warnings.append(&mut state.warnings);
                Answer::Made {
                    new: *new,
                    warnings: std::mem::take(&mut self.warnings),
                }
            } else {
                continue;
            };
            driver.waits = None;
            let _ = say(&driver.stream, &answer);
        }
    }

    fn delete(&mut self, grace: Duration) {
        let at = Instant::now() + grace;
        match self.ending {
            // A second deletion may only hurry.
            Some(before) if before <= at => return,
            _ => self.ending = Some(at),
        }
        self.lives = None;
        self.pending.clear();
        self.signal_all(if grace.is_zero() {
            Signal::SIGKILL
        } else {
            Signal::SIGTERM
        });
    }

    fn signal_all(&self, signal: Signal) {
        for pid in self.containers.values().filter_map(|c| c.pid) {
            // One that has just ended is what is wanted.
            let _ = kill(pid, signal);
        }
    }

    /// Tells who asked, and ends: the kernel takes the mounts and namespaces, the driver the files. Without one all but the lock
    /// and the control socket is removed here.
    fn end(&mut self) -> Result<(), Failure> {
        let mut told = false;
        for driver in self.drivers.iter().filter(|d| d.deletes) {
            told |= say(&driver.stream, &Answer::Deleted).is_ok();
        }
        if told {
            return Ok(());
        }
        for volume in &self.pod.volumes {
            if volume.memory.is_none() && volume.image.is_none() {
                continue;
            }
            let _ = umount2(&volume.source, MntFlags::MNT_DETACH);
        }
        let _ = umount2(&self.pod.run(), MntFlags::MNT_DETACH);
        crate::store::clear(&self.pod.dir, &crate::store::LAST)
            .map_err(|e| failed(&format!("remove {}", self.pod.dir.display()), &e))
    }

    /// Ends the pod when its time is over, or when nobody is there and nothing runs.
    fn mind_time(&mut self) {
        let now = Instant::now();
        if self.drivers.is_empty() {
            self.alone.get_or_insert(now);
        } else {
            self.alone = None;
        }
        if self.ending.is_some() {
            return;
        }
        let deadline = self.started + Duration::from_millis(self.pod.deadline_ms);
        if deadline <= now {
            self.delete(Duration::from_secs(10));
        } else if let Some(alone) = self.alone
            && alone + Duration::from_millis(self.pod.unattended_ms) <= now
        {
            if self.busy() {
                self.alone = Some(now);
            } else {
                self.delete(Duration::from_secs(10));
            }
        }
    }

    /// Whether a container has any process beside its addon.
    fn busy(&self) -> bool {
        self.containers.values().filter_map(|c| c.pid).any(|pid| {
            // `/proc` here is the host's: it knows this process's children by their ids there, so the list is taken from its own
            // children and theirs.
            has_children(pid)
        })
    }

    fn tell_all(&self, answer: &Answer) {
        for driver in &self.drivers {
            let _ = say(&driver.stream, answer);
        }
    }
}

impl Driver {
    fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            waits: None,
            reaches: None,
            deletes: false,
        }
    }
}

struct Ready {
    signals: bool,
    listener: bool,
    builds: Vec<String>,
    drivers: Vec<usize>,
    network: bool,
}

/// A container that is no more.
fn ended(name: &str, words: &str, for_memory: bool) -> Failure {
    let (kind, why, help) = if for_memory {
        let help = "raise spec.resources.limits.memory of the step".to_owned();
        (FailureKind::Resources, " for memory", Some(help))
    } else {
        (FailureKind::Gone, "", None)
    };
    Failure {
        kind,
        container: Some(name.to_owned()),
        message: format!("the container {name} ended: its first process {words}{why}"),
        help,
    }
}

/// The failure among what a container's building has said.
fn said(bytes: &[u8]) -> Option<Failure> {
    bytes
        .split(|b| *b == b'\n')
        .find_map(|line| match serde_json::from_slice(line) {
            Ok(container::Word::Failed(failure)) => Some(failure),
            _ => None,
        })
}

/// Whether a child of this process, known by its id in this PID namespace, has children.
fn has_children(pid: Pid) -> bool {
    let Ok(children) = fs::read_to_string("/proc/thread-self/children") else {
        // A kernel that does not say: better to stay than to end a step.
        return true;
    };
    children.split_whitespace().any(|host| {
        let status = fs::read_to_string(format!("/proc/{host}/status")).unwrap_or_default();
        let ours = status
            .lines()
            .find_map(|l| l.strip_prefix("NSpid:"))
            .is_some_and(|ids| ids.split_whitespace().any(|id| id == pid.to_string()));
        ours && fs::read_to_string(format!("/proc/{host}/task/{host}/children"))
            .is_ok_and(|c| !c.trim().is_empty())
    })
}
