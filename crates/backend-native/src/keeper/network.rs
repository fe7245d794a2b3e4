//! The way out of a private network namespace: slirp4netns, else a warning.
//!
//! It needs no firewall rules and no privileges beyond `/dev/net/tun`, says when it is ready, and ends with the descriptor that its
//! keeper holds, however the keeper ends. (pasta is faster, but says neither, and outlives a keeper that is killed.)

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{AccessFlags, Pid};

/// The interface to it in the pod's network namespace.
pub(super) const TAP: &str = "tap0";

/// A process that carries packets out of a pod's network; it ends with this value.
pub(super) struct WayOut {
    child: Child,
    _alive: OwnedFd,
}

impl WayOut {
    /// Ends it, without awaiting its end.
    pub(super) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
    }
}

impl Drop for WayOut {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens the way out of the network namespace of `pid`, or says why there is none.
pub(super) fn open(pid: Pid, user: bool, warnings: &mut Vec<String>) -> Option<WayOut> {
    let way = match start(pid, user) {
        // Of two that are started at one time, one ends by itself now and then.
        Err(Refused::Ended(_)) => start(pid, user),
        other => other,
    };
    match way {
        Ok(way) => Some(way),
        Err(Refused::NotThere(why) | Refused::Ended(why)) => {
            warnings.push(format!(
                "the pod has a private network with no way out: {why}; its containers reach each other on localhost only \
                 (`--network host` gives them this machine's network)"
            ));
            None
        }
    }
}

/// Why there is none.
enum Refused {
    /// This machine cannot have one.
    NotThere(String),
    /// It did not come about, or ended before it was ready.
    Ended(String),
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self::Ended(why)
    }
}

fn start(pid: Pid, user: bool) -> Result<WayOut, Refused> {
    let tun = "/dev/net/tun";
    if nix::unistd::access(tun, AccessFlags::R_OK | AccessFlags::W_OK).is_err() {
        return Err(Refused::NotThere(format!(
            "{tun} is not there, or closed to this user (`chmod 666 {tun}` as root opens it)"
        )));
    }
    let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| e.to_string());
    let (ready, tell) = pipe()?;
    let (watched, alive) = pipe()?;
    for fd in [&tell, &watched] {
        // These two are for the child. No other one is started while they are open.
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|e| e.to_string())?;
    }
    // What it says of its end. A pipe that nobody reads would stop it one day.
    let said = memfd_create(c"slirp4netns", MFdFlags::MFD_CLOEXEC).map_err(|e| e.to_string())?;
    let mut said = File::from(said);
    let mut command = Command::new("slirp4netns");
    command.args(["--configure", "--mtu=65520", "--disable-host-loopback"]);
    command.arg(format!("--ready-fd={}", tell.as_raw_fd()));
    command.arg(format!("--exit-fd={}", watched.as_raw_fd()));
    if user {
        command.arg(format!("--userns-path=/proc/{pid}/ns/user"));
    }
    let child = command
        .args([pid.to_string().as_str(), TAP])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.try_clone().map_or_else(|_| Stdio::null(), Into::into))
        .spawn()
        .map_err(|e| match e.kind() {
            ErrorKind::NotFound => Refused::NotThere(
                "slirp4netns is not installed (apt-get install slirp4netns)".to_owned(),
            ),
            _ => Refused::Ended(format!("slirp4netns does not start ({e})")),
        })?;
    drop((tell, watched));
    let way = WayOut {
        child,
        _alive: alive,
    };
    // A byte when it is ready, nothing when it ended. A signal that comes meanwhile is no end.
    File::from(ready)
        .read_exact(&mut [0])
        .map(|()| way)
        .map_err(|_| {
            let mut text = String::new();
            let _ = said.rewind().and_then(|()| said.read_to_string(&mut text));
            // Its last line says only that a child of it failed.
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            Refused::Ended(match lines.join("; ").trim_matches([';', ' ']) {
                "" => "slirp4netns ended without a word".to_owned(),
                all => format!("slirp4netns ended: {all}"),
            })
        })
}
