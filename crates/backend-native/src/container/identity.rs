//! Who a container runs as: user, groups, capabilities.

use std::fs;

use driver::backend::Failure;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use pipeline::pod::{CAPABILITIES, Security, User};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::{Talk, failed, refused};
use crate::control::Container;
use crate::sys;

/// The capabilities that engines leave to a container.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Who a container runs as.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    /// HOME.
    pub(super) home: String,
    /// What it may use, as bits.
    caps: u64,
}

impl Identity {
    /// Whether it may use this capability.
    pub(super) fn can(&self, name: &str) -> bool {
        number(name).is_some_and(|n| self.caps & (1 << n) != 0)
    }

    /// Becomes this identity, under this filter.
    pub(super) fn assume(
        &self,
        security: &Security,
        filter: &[libc::sock_filter],
    ) -> Result<(), Failure> {
        let held = rustix::thread::capabilities(None)
            .map_err(|e| failed("read capabilities", &e))?
            .permitted
            .bits();
        let caps = self.caps & held;
        for bit in 0..64_u32 {
            let Some(one) = CapabilitySet::from_bits(1 << bit) else {
                continue;
            };
            if caps & (1 << bit) == 0
                && rustix::thread::capability_is_in_bounding_set(one).unwrap_or(false)
            {
                rustix::thread::remove_capability_from_bounding_set(one)
                    .map_err(|e| failed("drop a capability", &e))?;
            }
        }
        if security.allow_privilege_escalation == Some(false) {
            nix::sys::prctl::set_no_new_privs().map_err(|e| failed("set no_new_privs", &e))?;
        }
        // Installing a filter asks for CAP_SYS_ADMIN (or no_new_privs), which the next lines take away.
        if !filter.is_empty() {
            sys::install_filter(filter).map_err(|e| failed("install the seccomp filter", &e))?;
        }
        let groups: Vec<Gid> = self.groups.iter().map(|g| Gid::from_raw(*g)).collect();
        match setgroups(&groups) {
            // A namespace of one id knows no groups.
            Err(nix::errno::Errno::EPERM | nix::errno::Errno::EINVAL)
                if crate::keeper::idmap::one_id() => {}
            done => done.map_err(|e| failed("set the container's groups", &e))?,
        }
        let gid = Gid::from_raw(self.gid);
        setresgid(gid, gid, gid).map_err(|e| failed(&format!("become group {}", self.gid), &e))?;
        let uid = Uid::from_raw(self.uid);
        setresuid(uid, uid, uid).map_err(|e| failed(&format!("become user {}", self.uid), &e))?;
        if self.uid == 0 {
            let caps = CapabilitySet::from_bits_retain(caps);
            rustix::thread::set_capabilities(
                None,
                CapabilitySets {
                    effective: caps,
                    permitted: caps,
                    inheritable: CapabilitySet::empty(),
                },
            )
            .map_err(|e| failed("set capabilities", &e))?;
        }
        Ok(())
    }
}

/// Reads the container's own `/etc/passwd` and `/etc/group`: it runs inside its root filesystem.
pub(super) fn resolve(plan: &Container, talk: &mut Talk) -> Result<Identity, Failure> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let group = fs::read_to_string("/etc/group").unwrap_or_default();
    let mut who = identify(
        &plan.name,
        &plan.security,
        plan.image_user.as_deref(),
        &passwd,
        &group,
    )?;
    if crate::keeper::idmap::one_id() && (who.uid, who.gid) != (0, 0) {
        talk.warn(format!(
            "{} runs as the only user that this pod has instead of {}:{}",
            plan.name, who.uid, who.gid
        ));
        (who.uid, who.gid) = (0, 0);
        who.groups.clear();
    }
    Ok(who)
}

fn identify(
    name: &str,
    security: &Security,
    image_user: Option<&str>,
    passwd: &str,
    group: &str,
) -> Result<Identity, Failure> {
    let asked = match (&security.run_as_user, image_user) {
        (Some(User::Id(id)), _) => id.to_string(),
        (Some(User::Name(name)), _) => name.clone(),
        (None, Some(user)) if !user.is_empty() => user.to_owned(),
        (None, _) => "0".to_owned(),
    };
    let (user, with_group) = match asked.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (asked.as_str(), None),
    };
    let lines = || passwd.lines().map(|l| l.split(':').collect::<Vec<_>>());
    // A name first, as the engines: a user may be called 1000.
    let entry = lines()
        .find(|e| e.len() >= 6 && e[0] == user)
        .or_else(|| lines().find(|e| e.len() >= 6 && e[2] == user));
    let uid: u32 = match &entry {
        Some(entry) => entry[2].parse().ok(),
        None => user.parse().ok(),
    }
    .ok_or_else(|| {
        refused(format!(
            "the container {name} cannot run as `{user}`: its image has no such user"
        ))
    })?;
    let gid = match (security.run_as_group, with_group) {
        (Some(gid), _) => gid,
        (None, Some(wanted)) => group
            .lines()
            .map(|l| l.split(':').collect::<Vec<_>>())
            .find(|g| g.len() >= 3 && g[0] == wanted)
            .and_then(|g| g[2].parse().ok())
            .or_else(|| wanted.parse().ok())
            .ok_or_else(|| {
                refused(format!(
                    "the container {name} cannot run with the group `{wanted}`: its image has no such group"
                ))
            })?,
        (None, None) => entry.as_ref().and_then(|e| e[3].parse().ok()).unwrap_or(0),
    };
    if security.run_as_non_root == Some(true) && uid == 0 {
        return Err(refused(format!(
            "container's runAsUser breaks non-root policy: {name} would run as user 0 (set runAsUser to another one)"
        )));
    }
    let mut groups: Vec<u32> = entry
        .as_ref()
        .map(|entry| {
            group
                .lines()
                .map(|l| l.split(':').collect::<Vec<_>>())
                .filter(|g| g.len() >= 4 && g[3].split(',').any(|m| m == entry[0]))
                .filter_map(|g| g[2].parse().ok())
                .collect()
        })
        .unwrap_or_default();
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    let home = entry.map(|e| e[5].to_owned()).filter(|h| !h.is_empty());
    Ok(Identity {
        uid,
        gid,
        groups,
        home: home.unwrap_or_else(|| "/".to_owned()),
        caps: capabilities(name, security)?,
    })
}

/// The default set with what is added and without what is dropped; everything where privileged.
fn capabilities(name: &str, security: &Security) -> Result<u64, Failure> {
    if security.privileged == Some(true) {
        return Ok(u64::MAX);
    }
    let bits = |names: &[String]| -> Result<u64, Failure> {
        let mut bits = 0;
        for one in names {
            let plain = one.strip_prefix("CAP_").unwrap_or(one);
            bits |= match number(plain) {
                _ if plain == "ALL" => u64::MAX,
                Some(number) => 1 << number,
                None => {
                    return Err(refused(format!(
                        "the container {name} names the capability `{one}`, which Linux does not know"
                    )));
                }
            };
        }
        Ok(bits)
    };
    let default = DEFAULT
        .iter()
        .filter_map(|n| number(n))
        .fold(0, |bits, n| bits | 1 << n);
    let (add, drop) = (bits(&security.add)?, bits(&security.drop)?);
    // `drop: [ALL], add: [X]` leaves X, as the engines have it.
    Ok(if add == u64::MAX {
        !drop
    } else {
        (default & !drop) | add
    })
}

fn number(name: &str) -> Option<usize> {
    CAPABILITIES.iter().position(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0::/root:/bin/sh\nada:x:1000:1001::/home/ada:/bin/sh\n1000:x:7:7::/odd:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nada:x:1001:\ndocker:x:5:eve,ada\nwheel:x:6:eve\n";

    fn who(
        security: &Security,
        image: Option<&str>,
    ) -> Result<(u32, u32, Vec<u32>, String), String> {
        identify("step-a", security, image, PASSWD, GROUP)
            .map(|i| (i.uid, i.gid, i.groups, i.home))
            .map_err(|f| f.message)
    }

    #[test]
    fn users_are_found_in_the_image() {
        let name = |n: &str| Security {
            run_as_user: Some(User::Name(n.to_owned())),
            ..Security::default()
        };
        let id = |n| Security {
            run_as_user: Some(User::Id(n)),
            ..Security::default()
        };
        let ada = Ok((1000, 1001, vec![5, 1001], "/home/ada".to_owned()));
        assert_eq!(who(&name("ada"), None), ada);
        assert_eq!(who(&Security::default(), Some("ada")), ada);
        assert_eq!(
            who(&Security::default(), Some("ada:docker")),
            Ok((1000, 5, vec![5], "/home/ada".to_owned()))
        );
        assert_eq!(
            who(&id(4242), Some("ada")),
            Ok((4242, 0, vec![0], "/".to_owned()))
        );
        assert_eq!(
            who(&Security::default(), None),
            Ok((0, 0, vec![0], "/root".to_owned()))
        );
        assert!(
            who(&name("nobody-here"), None)
                .unwrap_err()
                .contains("`nobody-here`")
        );
        let non_root = Security {
            run_as_non_root: Some(true),
            ..Security::default()
        };
        assert!(
            who(&non_root, None)
                .unwrap_err()
                .contains("non-root policy")
        );
        assert!(who(&non_root, Some("ada")).is_ok());
    }

    #[test]
    fn capabilities_are_added_to_and_dropped_from_the_default() {
        let caps = |add: &[&str], drop: &[&str]| {
            let names = |n: &[&str]| n.iter().map(|s| (*s).to_owned()).collect();
            capabilities(
                "step-a",
                &Security {
                    add: names(add),
                    drop: names(drop),
                    ..Security::default()
                },
            )
        };
        // What `docker run` gives, as its documents print it.
        assert_eq!(caps(&[], &[]), Ok(0xa804_25fb));
        assert_eq!(caps(&["NET_ADMIN"], &["ALL"]), Ok(1 << 12));
        assert_eq!(caps(&["ALL"], &["CHOWN"]), Ok(!1));
        assert_eq!(caps(&["CAP_CHOWN"], &["ALL"]), Ok(1));
        assert!(caps(&["FLY"], &[]).unwrap_err().message.contains("`FLY`"));
    }
}
