//! Who a step is and what it may do: users, groups, capabilities, privileges, the root filesystem, limits.

use std::path::Path;

use crate::support::{Group, Home, busybox, root};

/// What engines leave to a container, as the kernel shows it.
const DEFAULT: &str = "CapEff:\t00000000a80425fb";
const STATUS: &str = "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status";

/// An image of busybox whose user is `ann`, 1000.
pub(crate) fn ann(dir: &Path) -> String {
    let archive = dir.join("ann.tar");
    busybox(dir, |b| b.facts().user = Some("ann".into()))
        .archive(&archive)
        .expect("an archive");
    format!("oci-archive:{}", archive.display())
}

fn context(inside: &str) -> Group {
    Group::new().infra(&format!("containerSecurityContext: {{{inside}}}"))
}

#[test]
fn capabilities_and_privileges() {
    if !root() {
        eprintln!(
            "capabilities_and_privileges: NOT RUN: an ordinary user's containers have their own table"
        );
        return;
    }
    let home = Home::new();
    let all = std::fs::read_to_string("/proc/self/status").expect("status");
    let all = all
        .lines()
        .find(|l| l.starts_with("CapBnd:"))
        .expect("a line")
        .replace("CapBnd", "CapEff");
    let plain = Group::new().run("plain", STATUS).step(
        "strong",
        "host:/",
        "shell: Sh, privileged: true",
        STATUS,
    );
    let seen = home.run(&plain.text());
    seen.says(
        "nothing said",
        0,
        &[
            &format!("[s/g/plain] {DEFAULT}"),
            "[s/g/plain] NoNewPrivs:\t0",
            "[s/g/plain] Seccomp:\t2",
            &format!("[s/g/strong] {all}"),
            "[s/g/strong] Seccomp:\t0",
        ],
    );
    let group = context("privileged: true").run("heir", STATUS).step(
        "weak",
        "host:/",
        "shell: Sh, privileged: false",
        STATUS,
    );
    home.run(&group.text()).says(
        "a privileged group",
        0,
        &[
            &format!("[s/g/heir] {all}"),
            "[s/g/heir] Seccomp:\t0",
            &format!("[s/g/weak] {DEFAULT}"),
        ],
    );
    let group = context("allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {add: [NET_ADMIN], drop: [CHOWN]}")
        .key("sharedPaths: [/shared]")
        .run("a", STATUS)
        .run(
            "b",
            "touch /etc/x || echo closed; touch /harness/x /shared/x && echo open; chown 5 /harness/x || echo no owner",
        );
    home.run(&group.text()).says(
        "capabilities",
        0,
        &[
            "CapEff:\t00000000a80435fa",
            "CapBnd:\t00000000a80435fa",
            "NoNewPrivs:\t1",
            "Read-only file system",
            "closed",
            "] open",
            "no owner",
        ],
    );
    let group = context("capabilities: {drop: [ALL], add: [CAP_KILL]}").run("a", STATUS);
    home.run(&group.text())
        .says("drop all, add one", 0, &["CapEff:\t0000000000000020"]);
    let group = context("capabilities: {add: [NET_ADMINN]}").run("a", STATUS);
    home.run(&group.text()).says(
        "no such capability",
        2,
        &[
            "Linux knows no capability `NET_ADMINN`",
            "did you mean `NET_ADMIN`?",
        ],
    );
}

#[test]
fn a_privileged_step_may_do_what_a_machine_may() {
    if !root() {
        eprintln!("a_privileged_step_may_do_what_a_machine_may: NOT RUN: see user.rs");
        return;
    }
    let home = Home::new();
    let text = Group::new()
        .step(
            "strong",
            "host:/",
            "shell: Sh, privileged: true",
            "mount -t tmpfs none /mnt && touch /mnt/x && umount /mnt && echo mounts; unshare -mpf true && echo unshares; test -e /dev/kmsg && echo devices; test -d /sys/fs/cgroup/unified -o -e /sys/fs/cgroup/cgroup.controllers && echo groups; echo changed > /proc/sys/kernel/hostname && hostname",
        )
        .run(
            "weak",
            "hostname; mount -t tmpfs none /mnt 2>/dev/null || echo no mount; unshare -m true 2>/dev/null || echo no namespace; test -e /dev/kmsg || echo no devices; echo x 2>/dev/null > /proc/sys/kernel/hostname || echo no sysctl",
        )
        .text();
    home.run(&text).says(
        "privileged",
        0,
        &[
            "[s/g/strong] mounts\n",
            "[s/g/strong] unshares\n",
            "[s/g/strong] devices\n",
            "[s/g/strong] groups\n",
            // The pod's own name: containers of a pod share it.
            "[s/g/strong] changed\n",
            "[s/g/weak] changed\n",
            "[s/g/weak] no mount\n",
            "[s/g/weak] no namespace\n",
            "[s/g/weak] no devices\n",
            "[s/g/weak] no sysctl\n",
        ],
    );
}

/// Whatever the command's own files are, those of containers are for their users.
#[test]
fn the_umask_of_the_command_is_its_own() {
    if !root() {
        eprintln!("the_umask_of_the_command_is_its_own: NOT RUN: containers have one user here");
        return;
    }
    let home = Home::new();
    let text = context("runAsUser: 1234").run("a", "umask; id -u; ls / > /dev/null && echo seen");
    home.write("p.yaml", text.text());
    let binary = env!("CARGO_BIN_EXE_stepyard");
    let mut command = home.command(&[]);
    let shell = std::mem::replace(&mut command, std::process::Command::new("sh"));
    for (name, value) in shell.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let script = format!("umask 077; exec {binary} run p.yaml");
    let out = command
        .args(["-c", &script])
        .current_dir(home.path())
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&out.stdout);
    for line in ["[s/g/a] 0022", "[s/g/a] 1234", "[s/g/a] seen"] {
        assert!(said.contains(line), "{line} is not in {said}");
    }
}

#[test]
fn users_and_groups() {
    if !root() {
        eprintln!(
            "users_and_groups: NOT RUN: an ordinary user has one id in its containers; see user.rs"
        );
        return;
    }
    let home = Home::new();
    let dir = tempfile::tempdir().expect("a directory");
    let image = ann(dir.path());
    let who = "echo is $(id -u):$(id -g)";
    // Group, then what a step that says nothing is, and one that says 42.
    for (group, unset) in [
        ("", "1000:1000"),
        ("runAsUser: 100", "100:0"),
        ("runAsUser: '100'", "100:0"),
        ("runAsUser: 0", "0:0"),
        ("runAsUser: 100, runAsGroup: 200", "100:200"),
        ("runAsGroup: 200", "1000:200"),
    ] {
        let both = |g: Group| {
            g.step("unset", &image, "", who)
                .step("own", &image, "runAsUser: 42", who)
                .step("named", &image, "runAsUser: root", who)
                .text()
        };
        let gid = group.split("runAsGroup: ").nth(1).unwrap_or("0");
        home.run(&both(context(group))).says(
            group,
            0,
            &[
                &format!("[s/g/unset] is {unset}"),
                &format!("[s/g/own] is 42:{gid}"),
                &format!("[s/g/named] is 0:{gid}"),
            ],
        );
        // The pod's user holds for the same steps.
        if let Some(user) = group
            .strip_prefix("runAsUser: ")
            .filter(|u| !u.contains(','))
        {
            home.run(&both(Group::new().infra(&format!("runAsUser: {user}"))))
                .says(group, 0, &[&format!("[s/g/unset] is {unset}")]);
        }
    }
    // The container's own wins over the pod's.
    let text = context("runAsUser: 7")
        .infra("runAsUser: 8")
        .step("a", &image, "", who);
    home.run(&text.text()).says("both", 0, &["is 7:"]);

    let fine = context("runAsNonRoot: true")
        .step("a", &image, "", who)
        .step("b", "host:/", "runAsUser: 5", who);
    home.run(&fine.text())
        .says("not root", 0, &["is 1000:1000", "is 5:"]);
    let bad = context("runAsNonRoot: true").step("a", "host:/", "", who);
    home.run(&bad.text()).says(
        "root refused",
        1,
        &["breaks non-root policy", "set runAsUser to another one"],
    );
    let bad = Group::new().step("a", &image, "runAsUser: nobodythere", who);
    home.run(&bad.text())
        .says("no such user", 1, &["nobodythere"]);
}

#[test]
fn limits() {
    if !root() {
        eprintln!("limits: NOT RUN: control groups are writable for root only here");
        return;
    }
    let home = Home::new();
    let hungry = "head -c 300000000 /dev/zero | tail -c 250000000 | wc -c";
    let text = Group::new()
        .step(
            "modest",
            "host:/",
            "shell: Sh, resources: {limits: {memory: 600Mi, cpu: 500m}, requests: {cpu: 10m}}",
            &format!("{hungry}; cd /sys/fs/cgroup; echo quota $(cat cpu/cpu.cfs_quota_us cpu.max 2>/dev/null); echo limit $(cat memory/memory.limit_in_bytes memory.max 2>/dev/null)"),
        )
        .step(
            "small",
            "host:/",
            "shell: Python, resources: {limits: {memory: 64Mi}}",
            "x = b'x' * 300000000",
        )
        .text();
    home.run(&text).says(
        "memory",
        1,
        &[
            "[s/g/modest] 250000000",
            "[s/g/modest] quota 50000",
            "[s/g/modest] limit 629145600",
            "[s/g/small] failed",
            "killed for memory",
            "its limit is 64.0 MiB; raise",
        ],
    );
    // A child is killed and its parent ends with another code: still for memory, unless the parent succeeds.
    let child = |end: &str| {
        Group::new()
            .step(
                "a",
                "host:/",
                "shell: Sh, resources: {limits: {memory: 64Mi}}",
                &format!("python3 -c \"x = b'x' * 300000000\" || {end}"),
            )
            .text()
    };
    home.write("p.yaml", child("exit 3"));
    home.call(&["run", "p.yaml", "--output", "json"]).says(
        "a child",
        1,
        &[
            "\"ResourceLimitsFailure\"",
            "killed for memory",
            "\"oom\":true",
        ],
    );
    home.run(&child("echo tried")).says(
        "a child that is not missed",
        0,
        &[
            "[s/g/a] tried",
            "hint: a process of s/g/a was killed for memory",
        ],
    );
    let text = Group::new().step("a", "host:/", "resources: {limits: {memory: lots}}", "true");
    home.run(&text.text())
        .says("no amount", 2, &["lots", "memory"]);
}
