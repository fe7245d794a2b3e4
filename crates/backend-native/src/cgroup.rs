//! Limits and counts: cgroups, version 1 and 2, where this process may write them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pipeline::pod::Resources;

/// The cgroups of one pod. Empty where none can be made.
pub(crate) struct Cgroups {
    /// One for each controller of version 1, or the one of version 2.
    groups: Vec<Group>,
}

struct Group {
    /// `memory`, `cpu`, `pids`; `unified` in version 2.
    controller: &'static str,
    /// The pod's directory.
    dir: PathBuf,
}

/// The name of the one group of version 2 among controllers.
const UNIFIED: &str = "unified";

/// A cgroup of one container.
pub(crate) struct Own {
    controller: &'static str,
    dir: PathBuf,
}

impl Own {
    /// Where a container finds it, as engines have it.
    pub(crate) fn place(&self) -> PathBuf {
        let root = Path::new("/sys/fs/cgroup");
        if self.controller == UNIFIED {
            root.to_owned()
        } else {
            root.join(self.controller)
        }
    }

    /// Its directory on the machine.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts this process into it.
    pub(crate) fn enter(&self) -> io::Result<()> {
        fs::write(self.dir.join("cgroup.procs"), "0")
    }
}

/// Processes a pod may have: a fork bomb of a step does not take the machine down.
const MAX_PIDS: &str = "16384";

impl Cgroups {
    /// Makes the pod's cgroups below this process's own, where a container of it needs any: to enter one takes 10 ms.
    pub(crate) fn for_pod(pod: &str, limited: bool, warnings: &mut Vec<String>) -> Self {
        if !limited {
            return Self { groups: Vec::new() };
        }
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut groups = Vec::new();
        let mut reason = None;
        if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            let path = own
                .lines()
                .find_map(|l| l.strip_prefix("0::"))
                .unwrap_or("/");
            match version2(path, pod) {
                Ok(dir) => groups.push(Group {
                    controller: UNIFIED,
                    dir,
                }),
                Err(e) => reason = Some(e),
            }
        } else {
            for controller in ["memory", "cpu", "pids"] {
                let path = own.lines().find_map(|line| {
                    let mut parts = line.splitn(3, ':').skip(1);
                    let names = parts.next()?;
                    let path = parts.next()?;
                    names.split(',').any(|n| n == controller).then_some(path)
                });
                let Some(path) = path else { continue };
                let dir = Path::new("/sys/fs/cgroup")
                    .join(controller)
                    .join(path.trim_start_matches('/'))
                    .join(format!("stepyard-{pod}"));
                match fs::create_dir(&dir) {
                    Ok(()) => groups.push(Group { controller, dir }),
                    // An unswept pod of the same name, which is no more.
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                        groups.push(Group { controller, dir });
                    }
                    Err(e) => reason = Some(format!("{}: {e}", dir.display())),
                }
            }
        }
        if let Some(reason) = reason {
            warnings.push(format!(
                "resources are not limited here: no control group can be made ({reason}); run as root, or under \
                 `systemd-run --user --scope -p Delegate=yes`"
            ));
        }
        let this = Self { groups };
        this.set_all("pids", "pids.max", MAX_PIDS);
        this
    }

    /// A container's own cgroups, made with its limits; none where it has no limits or requests.
    pub(crate) fn own(
        &self,
        container: &str,
        resources: &Resources,
        warnings: &mut Vec<String>,
    ) -> Vec<Own> {
        let mut own = Vec::new();
        if *resources == Resources::default() {
            return own;
        }
        for group in &self.groups {
            let dir = group.dir.join(container);
            if let Err(e) = fs::create_dir(&dir)
                && e.kind() != io::ErrorKind::AlreadyExists
            {
                warnings.push(format!(
                    "{container} is not limited: {}: {e}",
                    dir.display()
                ));
                continue;
            }
            for (file, value) in limits(group.controller, resources) {
                if let Err(e) = fs::write(dir.join(file), &value) {
                    warnings.push(format!(
                        "{container} is not limited: {}/{file} = {value}: {e}",
                        dir.display()
                    ));
                }
            }
            own.push(Own {
                controller: group.controller,
                dir,
            });
        }
        own
    }

    /// Whether the kernel has killed a process of this container because of its memory limit. Asked before [`Self::leave`].
    pub(crate) fn killed_for_memory(&self, container: &str) -> bool {
        self.groups.iter().any(|group| {
            ["memory.events", "memory.oom_control"].iter().any(|file| {
                let text = fs::read_to_string(group.dir.join(container).join(file));
                text.is_ok_and(|text| {
                    text.lines()
                        .filter_map(|line| line.strip_prefix("oom_kill "))
                        .any(|count| count.trim() != "0")
                })
            })
        })
    }

    fn set_all(&self, controller: &str, file: &str, value: &str) {
        for group in &self.groups {
            if group.controller == controller || group.controller == UNIFIED {
                // A controller that is not delegated has no such file.
                let _ = fs::write(group.dir.join(file), value);
            }
        }
    }

    /// Removes one container's cgroups, once its processes are gone.
    pub(crate) fn leave(&self, container: &str) {
        for group in &self.groups {
            remove(&group.dir.join(container));
        }
    }

    /// Removes all of the pod's.
    pub(crate) fn remove(&self) {
        for group in &self.groups {
            remove(&group.dir);
        }
    }
}

/// What is written where.
fn limits(controller: &str, resources: &Resources) -> Vec<(&'static str, String)> {
    let mut limits = Vec::new();
    let memory = resources.limits.memory_bytes;
    let cpu = resources.limits.cpu_millis;
    let wanted = resources.requests.cpu_millis;
    match controller {
        "memory" => limits.extend(memory.map(|m| ("memory.limit_in_bytes", m.to_string()))),
        "cpu" => {
            limits.extend(cpu.map(|c| ("cpu.cfs_quota_us", (c * 100).max(1000).to_string())));
            limits.extend(wanted.map(|c| {
                (
                    "cpu.shares",
                    (c * 1024 / 1000).clamp(2, 262_144).to_string(),
                )
            }));
        }
        UNIFIED => {
            if let Some(memory) = memory {
                limits.push(("memory.max", memory.to_string()));
            }
            limits.extend(cpu.map(|c| ("cpu.max", format!("{} 100000", (c * 100).max(1000)))));
            limits.extend(wanted.map(|c| ("cpu.weight", (c / 10).clamp(1, 10_000).to_string())));
        }
        _ => {}
    }
    limits
}

/// A writable cgroup of version 2 for the pod, with its controllers passed on.
fn version2(own: &str, pod: &str) -> Result<PathBuf, String> {
    let root = Path::new("/sys/fs/cgroup");
    let mut last = String::new();
    // A cgroup that holds processes cannot pass controllers on, so the pod goes beside this process: below the nearest
    // ancestor that does.
    for above in Path::new(own.trim_start_matches('/')).ancestors() {
        let parent = root.join(above);
        let passed = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
        if !passed.split_whitespace().any(|c| c == "memory") {
            continue;
        }
        let dir = parent.join(format!("stepyard-{pod}"));
        match fs::create_dir(&dir) {
            Ok(()) => {
                let pass: Vec<String> = passed
                    .split_whitespace()
                    .filter(|c| ["memory", "cpu", "pids"].contains(c))
                    .map(|c| format!("+{c}"))
                    .collect();
                fs::write(dir.join("cgroup.subtree_control"), pass.join(" "))
                    .map_err(|e| format!("{}: {e}", dir.display()))?;
                return Ok(dir);
            }
            Err(e) => last = format!("{}: {e}", dir.display()),
        }
    }
    if last.is_empty() {
        "no control group above this process passes the memory controller on".clone_into(&mut last);
    }
    Err(last)
}

/// Removes a cgroup and those below it; they hold no process any more.
pub(crate) fn remove(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove(&entry.path());
        }
    }
    // What is not there any more is as good as removed.
    let _ = fs::remove_dir(dir);
}

/// The cgroup directories that a pod of this name may have left.
pub(crate) fn sweep(pod: &str) {
    Cgroups::existing(pod).remove();
}

impl Cgroups {
    fn existing(pod: &str) -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let name = format!("stepyard-{pod}");
        let mut groups = Vec::new();
        for line in own.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(names), Some(path)) = (parts.next(), parts.next()) else {
                continue;
            };
            let base = Path::new("/sys/fs/cgroup").join(names);
            for above in Path::new(path.trim_start_matches('/')).ancestors() {
                let dir = base.join(above).join(&name);
                if dir.exists() {
                    groups.push(Group {
                        controller: UNIFIED,
                        dir,
                    });
                }
            }
        }
        Self { groups }
    }
}
