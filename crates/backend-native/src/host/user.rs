//! Who a process of the delegate runs as.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

/// User ids that no list of users has: those that systemd, too, gives to services for as long as they run.
const OURS: std::ops::RangeInclusive<u32> = 61_184..=65_519;

/// Who a process of the delegate runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScriptUser {
    /// Whoever runs the driver.
    Same,
    /// A user of its own for each process, that nobody else has. Only root can give that.
    Own,
    /// This user. Only root can give that.
    Id {
        /// The user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

impl ScriptUser {
    /// What holds where nothing is said.
    pub fn usual() -> Self {
        if rustix::process::geteuid().is_root() {
            Self::Own
        } else {
            Self::Same
        }
    }

    /// By name or number, as root says it.
    ///
    /// # Errors
    ///
    /// A sentence, where there is no such user, or where this user may not become another.
    pub fn named(name: &str) -> Result<Self, String> {
        let own = rustix::process::geteuid();
        let found = match name.parse::<u32>() {
            Ok(uid) => nix::unistd::User::from_uid(uid.into()),
            Err(_) => nix::unistd::User::from_name(name),
        };
        let found = found.map_err(|e| format!("the user {name} cannot be looked up: {e}"))?;
        let user = found.ok_or_else(|| format!("this machine has no user {name}"))?;
        if user.uid.as_raw() == own.as_raw() {
            return Ok(Self::Same);
        }
        if !own.is_root() {
            return Err(format!(
                "scripts run as {name} only where root runs stepyard"
            ));
        }
        Ok(Self::Id {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        })
    }
}

/// A user that is taken for as long as this lives.
pub(super) struct Taken {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// A name that only one process of this machine can hold.
    _held: Option<OwnedFd>,
}

/// Takes the user of a process; none: it stays whoever it is.
pub(super) fn take(user: &ScriptUser, name: &str) -> io::Result<Option<Taken>> {
    match user {
        ScriptUser::Same => Ok(None),
        ScriptUser::Id { uid, gid } => Ok(Some(Taken {
            uid: *uid,
            gid: *gid,
            _held: None,
        })),
        ScriptUser::Own => {
            let listed = fs::read_to_string("/etc/passwd").unwrap_or_default();
            let busy = running();
            let count = OURS.end() - OURS.start() + 1;
            let from = name.bytes().fold(7_u32, |hash, byte| {
                hash.wrapping_mul(31).wrapping_add(u32::from(byte))
            });
            (0..count)
                .map(|n| OURS.start() + from.wrapping_add(n) % count)
                .filter(|uid| !busy.contains(uid) && !lists(&listed, *uid))
                .find_map(|uid| {
                    let held = hold(uid).ok()?;
                    Some(Taken {
                        uid,
                        gid: uid,
                        _held: Some(held),
                    })
                })
                .map(Some)
                .ok_or_else(|| io::Error::other("every user id that could be taken is in use"))
        }
    }
}

fn lists(passwd: &str, uid: u32) -> bool {
    let uid = uid.to_string();
    passwd
        .lines()
        .any(|line| line.split(':').nth(2) == Some(&*uid))
}

/// The users of all processes.
fn running() -> Vec<u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit())
        .filter_map(|entry| Some(entry.metadata().ok()?.uid()))
        .collect()
}

fn hold(uid: u32) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let name = format!("stepyard-uid-{uid}");
    rustix::net::bind(
        &socket,
        &SocketAddrUnix::new_abstract_name(name.as_bytes())?,
    )?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_taken_once() {
        let one = take(&ScriptUser::Own, "delegate-a").unwrap().unwrap();
        let two = take(&ScriptUser::Own, "delegate-a").unwrap().unwrap();
        assert_ne!(one.uid, two.uid);
        assert!(OURS.contains(&one.uid) && OURS.contains(&two.uid));
        let free = one.uid;
        drop(one);
        assert_eq!(
            take(&ScriptUser::Own, "delegate-a").unwrap().unwrap().uid,
            free
        );
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        let me = rustix::process::geteuid().as_raw();
        assert_eq!(ScriptUser::named(&me.to_string()), Ok(ScriptUser::Same));
        let none = ScriptUser::named("no-such-user-here").unwrap_err();
        assert_eq!(none, "this machine has no user no-such-user-here");
        if me == 0 {
            let other = ScriptUser::named("nobody").unwrap();
            assert!(matches!(other, ScriptUser::Id { .. }), "{other:?}");
        }
    }
}
