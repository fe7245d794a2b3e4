//! Starting processes with a signal mask of their own.
//!
//! The addon blocks the signals that it reads from a descriptor, and the standard library hands that mask on: a program that
//! does not clear it would never hear SIGTERM. `posix_spawn` sets it in the child alone, with no moment at which the addon
//! itself could lose a signal.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use rustix::process::Pid;

/// A program that has been found, its words, and its whole environment.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    argv: Vec<OsString>,
    env: Vec<OsString>,
}

/// Standard input, output and error of a process.
#[derive(Debug)]
pub(super) struct Wires {
    actions: PosixSpawnFileActions,
    _null: Option<File>,
}

impl Wires {
    /// These, which are to stay open until it is started; none is `/dev/null`.
    pub(super) fn new(io: [Option<BorrowedFd<'_>>; 3]) -> io::Result<Self> {
        let null = || File::options().read(true).write(true).open("/dev/null");
        let lacks = io.iter().any(Option::is_none);
        let null = lacks.then(null).transpose()?;
        let mut actions = PosixSpawnFileActions::init()?;
        for (number, fd) in (0..).zip(io) {
            if let Some(fd) = fd.or(null.as_ref().map(File::as_fd)) {
                actions.add_dup2(fd.as_raw_fd(), number)?;
            }
        }
        Ok(Self {
            actions,
            _null: null,
        })
    }
}

/// What a process is started with.
#[derive(Debug)]
pub(super) struct Wiring<'a> {
    pub(super) wires: &'a Wires,
    /// Where it begins; none is where the addon is.
    pub(super) workdir: Option<&'a Path>,
    /// Whether it leads a process group of its own.
    pub(super) group: bool,
}

impl Program {
    /// The program at a path; the first of the words is the name that it sees.
    pub(super) fn new(path: PathBuf, argv: &[String], env: &BTreeMap<OsString, OsString>) -> Self {
        let pair = |(name, value): (&OsString, &OsString)| {
            let mut pair = name.clone();
            pair.push("=");
            pair.push(value);
            pair
        };
        Self {
            path,
            argv: argv.iter().map(OsString::from).collect(),
            env: env.iter().map(pair).collect(),
        }
    }

    /// The same, started by this program itself in the role of a helper.
    pub(super) fn through(mut self, helper: &str) -> Self {
        let own = PathBuf::from("/proc/self/exe");
        if let Some(first) = self.argv.first_mut() {
            *first = self.path.into_os_string();
        }
        self.argv
            .splice(0..0, [own.clone().into_os_string(), OsString::from(helper)]);
        self.path = own;
        self
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it. No signal is blocked for it, and a broken pipe ends it, as everywhere.
    pub(super) fn spawn(&self, wiring: &Wiring<'_>) -> io::Result<Pid> {
        let path = c_string(self.path.as_os_str())?;
        let argv = c_strings(&self.argv)?;
        let env = c_strings(&self.env)?;
        let mut attr = PosixSpawnAttr::init()?;
        let mut flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK;
        flags |= PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF;
        attr.set_sigmask(&SigSet::empty())?;
        attr.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?;
        if wiring.group {
            flags |= PosixSpawnFlags::POSIX_SPAWN_SETPGROUP;
            attr.set_pgroup(nix::unistd::Pid::from_raw(0))?;
        }
        attr.set_flags(flags)?;
        let inside = wiring.workdir.map(Inside::enter).transpose()?;
        let pid = posix_spawn(path.as_c_str(), &wiring.wires.actions, &attr, &argv, &env);
        drop(inside);
        Pid::from_raw(pid?.as_raw())
            .ok_or_else(|| io::Error::other("the kernel gave no process id"))
    }
}

/// The addon itself in another directory, for as long as this lives: it has one thread, and its children begin where it is.
struct Inside {
    back: Option<std::os::fd::OwnedFd>,
}

impl Inside {
    fn enter(dir: &Path) -> io::Result<Self> {
        use rustix::fs::{Mode, OFlags};
        // A directory that is gone, or that this user may not search, cannot be gone back to.
        let back = rustix::fs::open(
            ".",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .ok();
        rustix::process::chdir(dir).map_err(|error| {
            io::Error::other(format!(
                "failed to enter the working directory {}: {error}",
                dir.display()
            ))
        })?;
        Ok(Self { back })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let left = self.back.as_ref().map(rustix::process::fchdir);
        if !matches!(left, Some(Ok(()))) {
            // No directory of a step's is kept in use.
            let _ = rustix::process::chdir("/");
        }
    }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "a word of the command holds a NUL byte",
        )
    })
}

fn c_strings(texts: &[OsString]) -> io::Result<Vec<CString>> {
    texts.iter().map(|text| c_string(text)).collect()
}
