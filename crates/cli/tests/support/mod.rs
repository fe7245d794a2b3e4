//! The real binary with a home of its own, which leaves nothing behind; pipelines of one group; small images and a registry.
#![allow(dead_code, reason = "each test program uses its part")]

mod clock;
mod images;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

#[allow(unused_imports, reason = "each test program uses its part")]
pub(crate) use clock::Clock;
#[allow(unused_imports, reason = "each test program uses its part")]
pub(crate) use images::{Gate, Registry, busybox, free_port, layout, silent, slow_registry};

/// A directory with the state of its runs, empty at the end.
pub(crate) struct Home {
    dir: tempfile::TempDir,
    /// The user who runs here, where it is not this process's.
    pub(crate) user: Option<u32>,
}

/// What a run showed.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a directory"),
            user: None,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    }

    /// The command, with nothing of this process's environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let program = self.user.map_or_else(
            || PathBuf::from(env!("CARGO_BIN_EXE_stepyard")),
            |_| self.path().join("stepyard"),
        );
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("STEPYARD_HOME", self.path().join("state"))
            .env("STEPYARD_IMAGES", self.path().join("images"))
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        if let Some(user) = self.user {
            use std::os::unix::process::CommandExt as _;
            command.uid(user).gid(user);
        }
        command
    }

    pub(crate) fn call(&self, args: &[&str]) -> Seen {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(args).output().expect("the binary is built");
        Seen {
            code: status.code(),
            out: String::from_utf8_lossy(&stdout).into_owned(),
            err: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Runs a pipeline.
    pub(crate) fn run(&self, pipeline: &str) -> Seen {
        self.write("p.yaml", pipeline);
        self.call(&["run", "p.yaml"])
    }

    /// What runs left: pods, control groups, and processes that still see a mount of this home.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = names(&self.path().join("state/native/pods"))
            .into_iter()
            .map(|name| format!("pod {name}"))
            .collect();
        let home = self.path().to_string_lossy().into_owned();
        for pid in names(Path::new("/proc")) {
            let Ok(number) = pid.parse::<u32>() else {
                continue;
            };
            let proc = Path::new("/proc").join(&pid);
            // A process that ends while it is looked at is not left.
            let mounts = fs::read_to_string(proc.join("mountinfo")).unwrap_or_default();
            let command = fs::read(proc.join("cmdline")).unwrap_or_default();
            let mine = mounts.lines().filter(|line| line.contains(&home));
            // What is mounted over the state by a test itself is not a run's.
            let mine = mine.filter(|line| !line.contains(&format!("{home}/state ")));
            let named = String::from_utf8_lossy(&command).contains(&home);
            if number != std::process::id() && (named || mine.count() > 0) {
                left.push(format!(
                    "process {pid}: {}",
                    String::from_utf8_lossy(&command).replace('\0', " ")
                ));
            }
        }
        left
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.left(), Vec::<String>::new(), "something is left");
        }
    }
}

impl Seen {
    /// Ended with this code and said all of these, on either stream.
    #[track_caller]
    pub(crate) fn says(&self, name: &str, code: i32, parts: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{name}:\n{}{}", self.out, self.err);
        for part in parts {
            assert!(
                self.out.contains(part) || self.err.contains(part),
                "{name}: `{part}` is not in:\n{}{}",
                self.out,
                self.err
            );
        }
        self
    }

    /// How often it said this.
    pub(crate) fn times(&self, part: &str) -> usize {
        self.out.matches(part).count() + self.err.matches(part).count()
    }
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).map_or_else(
        |_| Vec::new(),
        |entries| {
            entries
                .flatten()
                .map(|e| e.file_name().to_string_lossy().into_owned())
                .collect()
        },
    )
}

/// A pipeline of one containerized group.
#[derive(Debug, Default, Clone)]
pub(crate) struct Group {
    /// Further keys of the group, as lines `key: value`.
    keys: Vec<String>,
    /// Further keys of its infrastructure.
    infra: Vec<String>,
    /// Its steps, each one line.
    steps: Vec<String>,
    /// Elements of the stage before it, each one line.
    earlier: Vec<String>,
    /// Further documents.
    rest: String,
}

impl Group {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn key(mut self, line: &str) -> Self {
        self.keys.push(line.to_owned());
        self
    }

    pub(crate) fn infra(mut self, line: &str) -> Self {
        self.infra.push(line.to_owned());
        self
    }

    /// An element of the stage before the group, in one line.
    pub(crate) fn after(mut self, line: &str) -> Self {
        self.earlier.push(line.to_owned());
        self
    }

    pub(crate) fn document(mut self, text: &str) -> Self {
        self.rest.push_str("---\n");
        self.rest.push_str(text);
        self
    }

    /// A step of `host:/` and `Sh`.
    pub(crate) fn run(self, id: &str, command: &str) -> Self {
        self.step(id, "host:/", "shell: Sh", command)
    }

    /// A Run step: its image, further keys of its spec in one line, its command.
    pub(crate) fn step(self, id: &str, image: &str, more: &str, command: &str) -> Self {
        let command = quoted(command);
        let more = if more.is_empty() {
            String::new()
        } else {
            format!(", {more}")
        };
        self.raw(&format!(
            "step: {{identifier: {id}, name: {id}, type: Run, spec: {{image: {}, command: {command}{more}}}}}",
            quoted(image)
        ))
    }

    /// An element of `steps` as it is written, in one line.
    pub(crate) fn raw(mut self, line: &str) -> Self {
        self.steps.push(line.to_owned());
        self
    }

    pub(crate) fn text(&self) -> String {
        let mut text = "pipeline:
  identifier: p
  name: p
  stages:
    - stage:
        identifier: s
        name: s
        type: Custom
        spec:
          execution:
            steps:
"
        .to_owned();
        for line in &self.earlier {
            text.extend(["              - ", line, "\n"]);
        }
        text.push_str(
            "              - stepGroup:\n                  identifier: g\n                  name: g\n",
        );
        for line in &self.keys {
            text.extend(["                  ", line, "\n"]);
        }
        text.push_str("                  stepGroupInfra:\n                    type: KubernetesDirect\n                    spec:\n");
        text.push_str(
            "                      connectorRef: c\n                      namespace: n\n",
        );
        for line in &self.infra {
            text.extend(["                      ", line, "\n"]);
        }
        text.push_str("                  steps:\n");
        for line in &self.steps {
            text.extend(["                    - ", line, "\n"]);
        }
        text + &self.rest
    }
}

/// As a double-quoted scalar of YAML, which JSON's strings are.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether this process may do what only root may.
pub(crate) fn root() -> bool {
    rustix::process::geteuid().is_root()
}
