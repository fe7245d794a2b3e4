//! Which ids a user namespace of an ordinary user holds.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use driver::backend::{Failure, FailureKind};
use nix::unistd::{Pid, User, getegid, geteuid};

use super::failed;

/// What is said once a pod where only one id is mapped. Containers find it in the process's map.
const ONE_ID: &str = "this user has no subordinate ids: every file and process of the pod belongs to one user, a change of owner is \
     ignored, and a container that asks for another user runs as that one (install uidmap and add a line to /etc/subuid and \
     /etc/subgid: `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`)";

/// Maps root of `pid`'s user namespace to this user and the ids from 1 on to its subordinate ids, where it has some.
pub(super) fn write(pid: Pid, warnings: &mut Vec<String>) -> Result<(), Failure> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let name = User::from_uid(geteuid())
        .ok()
        .flatten()
        .map_or_else(|| uid.to_string(), |u| u.name);
    let uids = subordinate("/etc/subuid", &name, uid);
    let gids = subordinate("/etc/subgid", &name, uid);
    if let (Some(uids), Some(gids)) = (uids, gids)
        && tool("newuidmap", pid, uid, uids).is_ok()
        && tool("newgidmap", pid, gid, gids).is_ok()
    {
        return Ok(());
    }
    let map = |file: &str, text: &str| {
        fs::write(format!("/proc/{pid}/{file}"), text).map_err(|e| {
            let mut failure = failed("map this user into the pod's user namespace", &e);
            failure.kind = FailureKind::Authorization;
            failure.help = Some(
                "this machine restricts user namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run as root"
                    .to_owned(),
            );
            failure
        })
    };
    map("uid_map", &format!("0 {uid} 1\n"))?;
    map("setgroups", "deny")?;
    map("gid_map", &format!("0 {gid} 1\n"))?;
    warnings.push(ONE_ID.to_owned());
    Ok(())
}

/// The first range of at least 65,535 ids, so that `nobody` exists inside; else the largest.
fn subordinate(file: &str, name: &str, id: u32) -> Option<(u32, u32)> {
    range(&fs::read_to_string(file).ok()?, name, id)
}

fn range(text: &str, name: &str, id: u32) -> Option<(u32, u32)> {
    let id = id.to_string();
    let ranges = text.lines().filter_map(|line| {
        let mut parts = line.trim().split(':');
        let who = parts.next()?;
        let start = parts.next()?.parse().ok()?;
        let count: u32 = parts.next()?.parse().ok()?;
        (who == name || who == id).then_some((start, count))
    });
    ranges.max_by_key(|(_, count)| (*count).min(65_535))
}

fn tool(tool: &str, pid: Pid, own: u32, (start, count): (u32, u32)) -> io::Result<()> {
    let numbers = [0, own, 1, 1, start, count].map(|n| n.to_string());
    let status = Command::new(tool)
        .arg(pid.to_string())
        .args(numbers)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{tool} ended with {status}")))
    }
}

/// What the map of this process's user namespace says, read once: it is written before the first process of a pod goes on.
struct Map {
    one: bool,
    initial: bool,
}

fn map() -> &'static Map {
    static MAP: OnceLock<Map> = OnceLock::new();
    MAP.get_or_init(|| {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let numbers: Vec<&str> = map.split_whitespace().collect();
        Map {
            one: numbers.len() == 3 && numbers[2] == "1",
            initial: numbers == ["0", "0", "4294967295"],
        }
    })
}

/// Whether this process's user namespace knows one user only. To be asked in a pod only.
pub(crate) fn one_id() -> bool {
    map().one
}

/// Whether this process is in the machine's first user namespace. To be asked in a pod only.
pub(crate) fn initial() -> bool {
    map().initial
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn the_range_of_this_user_is_found_by_name_or_number() {
        let text =
            "eve:100000:65536\nbob:1:10\nbob:231072:65536\n1002:300000:70000\n# x\nbad:line\n";
        assert_eq!(range(text, "bob", 1001), Some((231_072, 65_536)));
        assert_eq!(range(text, "zoe", 1002), Some((300_000, 70_000)));
        assert_eq!(range(text, "nobody", 7), None);
    }
}
