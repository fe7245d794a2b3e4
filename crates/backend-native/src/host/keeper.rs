//! The keeper of a process of the delegate: it starts the addon, and ends all of it together.
//!
//! What a step leaves behind (daemons, orphans) comes to the addon, and when that ends to the keeper, which kills it. Should the keeper itself
//! be killed, the addon is told to end, and ends its step.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use agent::poll::{Waits, now};
use agent::socket;
use driver::backend::Failure;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::files::{self, Files};
use super::user::{self, Taken};
use super::{HELPER_FD, Process, left};
use crate::control::{Answer, Call, MAX_LINE};
use crate::keeper::{failed, say};
use crate::sys;

/// What was killed is waited for this long; a process stuck in the kernel is left.
const GONE_MS: u64 = 10_000;
/// Between SIGTERM and SIGKILL where somebody ends the keeper.
const GRACE_MS: u64 = 10_000;
/// How often it is looked whether one without a driver does anything.
const LOOK_MS: u64 = 60_000;

#[derive(Clone, Copy)]
enum Key {
    Signal,
    Listener,
    Connection(usize),
}

/// Whoever is connected: a driver, or one that asks to remove it.
struct Connection {
    stream: UnixStream,
    read: Vec<u8>,
    /// It waits for the end.
    deletes: bool,
}

struct Keeper<'p> {
    process: &'p Process,
    files: Files,
    user: Option<Taken>,
    agent: File,
    env: Vec<CString>,
    addon: Option<Pid>,
    connections: Vec<Connection>,
    /// When what does not end by itself is killed.
    kill_at: Option<u64>,
}

/// Holds a process of the delegate until it is removed, or ends.
pub(crate) fn hold(first: &UnixStream, process: &Process) -> Result<(), Failure> {
    let what = |what: &'static str| move |error: io::Error| failed(what, &error);
    // Held for life, by what is started too: who gets this lock knows that nothing is left.
    let lock = File::create(process.dir.join("lock")).map_err(what("create the lock"))?;
    lock.lock().map_err(what("lock the process"))?;
    nix::fcntl::fcntl(
        &lock,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .map_err(|e| failed("keep the lock", &e))?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| failed("become the parent of orphans", &e))?;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.add(Signal::SIGTERM);
    signals
        .thread_block()
        .map_err(|e| failed("block signals", &e))?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|e| failed("read signals", &e))?;
    let user = user::take(&process.user, &process.name).map_err(what("take a user"))?;
    if let Some(user) = &user
        && process.user == super::ScriptUser::Own
    {
        std::fs::write(process.dir.join(left::UID), user.uid.to_string())
            .map_err(what("write the user's id"))?;
    }
    let made = files::make(process, user.as_ref());
    let made = made.map_err(|e| failed(&format!("make {}", process.files.display()), &e))?;
    helper().map_err(what("keep this program open"))?;
    let dir = socket::directory(&process.dir).map_err(what("open the process's directory"))?;
    let listener = socket::listen(dir.as_fd(), "control", 0o600)
        .map_err(what("listen on the control socket"))?;
    let mut keeper = Keeper {
        env: files::environment(process, &made, user.as_ref()),
        agent: File::open(&process.agent).map_err(what("open the agent"))?,
        files: made,
        user,
        process,
        addon: None,
        connections: Vec::new(),
        kill_at: None,
    };
    let begun = keeper
        .supervisor()
        .and_then(|()| first.try_clone())
        .and_then(|stream| keeper.connected(stream));
    if let Err(error) = begun {
        keeper.end(&signals);
        return Err(failed("start the process's supervisor", &error));
    }
    // Who waits for it may be gone already: others may come.
    let _ = say(
        first,
        &Answer::Ready {
            warnings: Vec::new(),
        },
    );
    let served = keeper.serve(&signals, &listener);
    keeper.end(&signals);
    for connection in keeper.connections.iter().filter(|own| own.deletes) {
        let _ = say(&connection.stream, &Answer::Deleted);
    }
    served.map_err(what("serve the process"))
}

/// Keeps this program open under the number that processes know, also when its file is replaced.
fn helper() -> io::Result<()> {
    let own = File::open("/proc/self/exe")?;
    let got = nix::fcntl::fcntl(&own, nix::fcntl::FcntlArg::F_DUPFD(HELPER_FD))?;
    if got != HELPER_FD {
        return Err(io::Error::other(format!(
            "the file {HELPER_FD} is in use: start stepyard without it"
        )));
    }
    Ok(())
}

impl Keeper<'_> {
    fn serve(&mut self, signals: &SignalFd, listener: &OwnedFd) -> io::Result<()> {
        let begun = now().mono_ms;
        let mut attended = begun;
        loop {
            if self.addon.is_none() {
                return Ok(());
            }
            let at = now().mono_ms;
            if !self.connections.is_empty() || self.works() {
                attended = at;
            }
            if at >= begun + self.process.deadline_ms
                || at >= attended + self.process.unattended_ms
                || self.kill_at.is_some_and(|kill| at >= kill)
            {
                return Ok(());
            }
            let until = [
                Some(begun + self.process.deadline_ms),
                self.connections.is_empty().then_some(at + LOOK_MS),
                self.kill_at,
            ];
            let mut waits = Waits::new();
            waits.add(Key::Signal, signals.as_fd(), true, false);
            waits.add(Key::Listener, listener.as_fd(), true, false);
            for (at, connection) in self.connections.iter().enumerate() {
                waits.add(Key::Connection(at), connection.stream.as_fd(), true, false);
            }
            let ready = waits.wait(until.into_iter().flatten().min())?;
            // From the back: a connection that goes does not move those before it.
            for (key, _) in ready.into_iter().rev() {
                match key {
                    Key::Signal => self.signals(signals),
                    Key::Listener => {
                        if let Some(stream) = socket::accept(listener) {
                            self.connected(UnixStream::from(stream))?;
                        }
                    }
                    Key::Connection(at) => self.read(at),
                }
            }
        }
    }

    fn connected(&mut self, stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        self.connections.push(Connection {
            stream,
            read: Vec::new(),
            deletes: false,
        });
        Ok(())
    }

    fn read(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        let mut buffer = [0; 4096];
        match connection.stream.read(&mut buffer) {
            Ok(count @ 1..) if connection.read.len() < MAX_LINE => {
                connection.read.extend_from_slice(&buffer[..count]);
            }
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                return;
            }
            _ => {
                self.connections.remove(at);
                return;
            }
        }
        while let Some(end) = self.connections[at].read.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.connections[at].read.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(Call::Delete { grace_ms }) => {
                    self.connections[at].deletes = true;
                    self.terminate(grace_ms);
                }
                Ok(Call::Reach { .. } | Call::Ended { .. }) => {
                    let answer = Answer::Ready {
                        warnings: Vec::new(),
                    };
                    let _ = say(&self.connections[at].stream, &answer);
                }
                // There is one container, and it is there.
                Ok(Call::Make(_)) => {
                    let answer = Answer::Made {
                        new: false,
                        warnings: Vec::new(),
                    };
                    let _ = say(&self.connections[at].stream, &answer);
                }
                Err(_) => {
                    self.connections.remove(at);
                    return;
                }
            }
        }
    }

    /// Tells the addon to end its step and itself.
    fn terminate(&mut self, grace_ms: u64) {
        let at = now().mono_ms + grace_ms;
        self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at)));
        if let Some(addon) = self.addon.filter(|_| grace_ms > 0) {
            let _ = nix::sys::signal::kill(addon, Signal::SIGTERM);
        }
    }

    fn signals(&mut self, signals: &SignalFd) {
        while let Ok(Some(signal)) = signals.read_signal() {
            if signal.ssi_signo == Signal::SIGTERM as u32 {
                self.terminate(GRACE_MS);
            }
        }
        self.reap();
    }

    fn reap(&mut self) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                return;
            }
            let pid = status.pid();
            if pid == self.addon {
                self.addon = None;
            }
        }
    }

    /// Whether the addon has a process to supervise.
    fn works(&self) -> bool {
        self.addon.is_some_and(|addon| !children(addon).is_empty())
    }

    /// Kills all that is left, and waits for it.
    fn end(&mut self, signals: &SignalFd) {
        let until = now().mono_ms + GONE_MS;
        let me = nix::unistd::getpid();
        loop {
            self.reap();
            let left = children(me);
            if left.is_empty() || now().mono_ms >= until {
                break;
            }
            for child in left {
                let _ = nix::sys::signal::kill(child, Signal::SIGKILL);
            }
            let mut waits = Waits::new();
            waits.add((), signals.as_fd(), true, false);
            let _ = waits.wait(Some(until));
            while let Ok(Some(_)) = signals.read_signal() {}
        }
        if self.process.user == super::ScriptUser::Own {
            left::kill(&self.process.name, self.user.as_ref().map(|own| own.uid));
        }
    }

    fn supervisor(&mut self) -> io::Result<()> {
        let words = [
            "stepyard-agent".as_ref(),
            "addon".as_ref(),
            "--dir".as_ref(),
            self.files.slice.as_os_str(),
            "--workspace".as_ref(),
            self.files.work.as_os_str(),
            "--run".as_ref(),
            self.process.run.as_ref(),
            "--listening".as_ref(),
        ];
        let socket = crate::addons::listen(&self.process.dir, pipeline::pod::PROCESS)?;
        self.addon = Some(self.spawn(&words, socket.into())?);
        Ok(())
    }

    fn spawn(&self, words: &[&std::ffi::OsStr], socket: OwnedFd) -> io::Result<Pid> {
        let words = words
            .iter()
            .map(|word| CString::new(word.as_bytes()))
            .collect::<Result<Vec<_>, _>>()?;
        let (mut told, tell) = io::pipe()?;
        let Some(pid) = sys::fork_into(0)? else {
            let error = self.become_agent(&words, socket);
            let mut tell = tell;
            let _ = write!(tell, "{error}");
            // No destructor of the keeper's state may run twice.
            std::process::exit(1);
        };
        drop(tell);
        // The other end closes when the program runs.
        let mut said = String::new();
        told.read_to_string(&mut said)?;
        if said.is_empty() {
            return Ok(pid);
        }
        let _ = waitpid(pid, None);
        Err(io::Error::other(said))
    }

    /// The child's side: becomes the agent, or says why not.
    fn become_agent(&self, words: &[CString], socket: OwnedFd) -> String {
        let become_it = || -> Result<(), (&str, io::Error)> {
            let at = |what: &'static str| move |error: nix::Error| (what, io::Error::from(error));
            SigSet::empty()
                .thread_set_mask()
                .map_err(at("let signals in"))?;
            nix::unistd::dup2_stdin(socket).map_err(at("hand the socket over"))?;
            nix::unistd::chdir(&self.files.work).map_err(at("enter its directory"))?;
            if let Some(user) = &self.user {
                nix::unistd::setgroups(&[]).map_err(at("leave its groups"))?;
                nix::unistd::setresgid(user.gid.into(), user.gid.into(), user.gid.into())
                    .map_err(at("change its group"))?;
                nix::unistd::setresuid(user.uid.into(), user.uid.into(), user.uid.into())
                    .map_err(at("change its user"))?;
                nix::sys::prctl::set_no_new_privs().map_err(at("give up what it may gain"))?;
            }
            // A change of ids clears it.
            nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).map_err(at("end with its keeper"))?;
            nix::unistd::fexecve(&self.agent, words, &self.env).map_err(at("execute the agent"))?;
            Ok(())
        };
        match become_it() {
            Ok(()) => String::new(),
            Err((what, error)) => format!("failed to {what}: {error}"),
        }
    }
}

fn children(of: Pid) -> Vec<Pid> {
    let path = format!("/proc/{of}/task/{of}/children");
    std::fs::read_to_string(Path::new(&path))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|word| Some(Pid::from_raw(word.parse().ok()?)))
        .collect()
}
