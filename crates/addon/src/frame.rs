//! What a driver and an addon say to each other.
//!
//! The conversation is about *attempts*. An addon is idle, runs one attempt, or keeps the record of
//! the last one until the driver says that its journal has it. Every message may be lost together
//! with its connection and said again on the next one; none may be applied twice:
//!
//! * On every connect the driver sends [`Request::Hello`] and the addon answers [`Report::Welcome`]
//!   with what it is doing; output then streams from the offset that the driver named.
//! * [`Request::Start`] and [`Request::Stop`] are idempotent by [`Attempt`].
//! * An addon obeys the highest epoch it has seen and refuses older ones.

use serde::{Deserialize, Serialize};

/// The version of these messages. An addon and a driver one release apart still talk: unknown JSON
/// fields are ignored and new ones have defaults.
pub const VERSION: u16 = 1;

/// One try of one step in one run. Its three parts together are the idempotency key of a start.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt {
    /// The run's id.
    pub run: String,
    /// The step's node id in the plan (`stages.deploy.steps.sg.steps.build`).
    pub step: String,
    /// 0 for the first try, one more for each retry.
    pub number: u32,
}

/// From the driver to an addon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// The first message of every connection.
    Hello(Hello),
    /// Run this attempt, unless it is already running or done.
    Start(Box<Start>),
    /// End this attempt: SIGTERM to its process group, after `grace_ms` SIGKILL to all of the container's processes.
    /// Saying it again with a shorter grace hurries.
    Stop {
        /// Which attempt. Another one than the current is ignored.
        attempt: Attempt,
        /// Milliseconds between SIGTERM and SIGKILL; 0 kills at once.
        grace_ms: u64,
        /// Why; it comes back in the record.
        reason: StopReason,
    },
    /// The driver has stored the attempt's output below `offset`; the addon may drop it.
    Acked {
        /// Which attempt.
        attempt: Attempt,
        /// Bytes of masked output since the attempt's start.
        offset: u64,
    },
    /// The attempt's record is committed in the driver's journal; the addon may forget it.
    Settled {
        /// Which attempt.
        attempt: Attempt,
    },
    /// Send the files that these globs match (relative to the workspace unless absolute).
    Collect {
        /// Chosen by the driver; comes back with each file.
        id: u32,
        /// `*`, `?`, `**`, `[…]`; a directory means all `*.xml` below it.
        globs: Vec<String>,
        /// At most this many bytes in all; what is beyond is named and left.
        max_bytes: u64,
    },
    /// Start an interactive process beside the step, for `stepyard exec`.
    Attach {
        /// Chosen by the driver; comes back with the process's output.
        id: u32,
        /// Program and arguments; empty means the container's shell.
        argv: Vec<String>,
        /// With a terminal of this size (columns, rows), or with plain pipes.
        tty: Option<(u16, u16)>,
        /// Run it with the environment of the attempt that runs now, or of the last one (without its secrets).
        env: Vec<(String, String)>,
    },
    /// Bytes typed into an attached process; empty closes its input.
    Input {
        /// Of the attached process.
        id: u32,
        /// What was typed, base64 in JSON.
        #[serde(with = "crate::link::b64")]
        bytes: Vec<u8>,
    },
    /// The terminal's new size.
    Resize {
        /// Of the attached process.
        id: u32,
        /// Columns and rows.
        size: (u16, u16),
    },
}

/// Who calls, and what of the current attempt's output it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the driver.
    pub version: u16,
    /// The run this container belongs to; another one is refused.
    pub run: String,
    /// Grows with every driver that takes the run over. An older one than the highest seen is refused.
    pub epoch: u64,
    /// The attempt that the driver believes in, if any.
    pub attempt: Option<Attempt>,
    /// Output of that attempt that the driver has stored; streaming goes on from here.
    pub acked: u64,
}

/// All that is needed to run one attempt. It holds secrets: it is never written to a file.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The attempt's key.
    pub attempt: Attempt,
    /// What to execute.
    pub program: Program,
    /// Set over the container's own environment, later entries win.
    pub env: Vec<(String, String)>,
    /// Working directory; created if it is not there.
    pub workdir: String,
    /// Values to mask in the output, in all their forms. Not part of `env`: those are found by name.
    pub secrets: Vec<String>,
    /// Output variables to read from the script's shell when it ends.
    pub outputs: Vec<OutputVar>,
    /// A Background step: it is expected to run until it is stopped.
    pub background: bool,
    /// When a Background step counts as ready; none: at once.
    pub readiness: Option<Readiness>,
    /// Milliseconds after which the addon stops the attempt by itself with [`StopReason::Timeout`]; 0: never.
    /// The driver's own timer is the one that decides; this one holds when no driver is there.
    pub timeout_ms: u64,
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Scripts, environments and secrets do not belong into logs.
        f.debug_struct("Start")
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// What an attempt executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// A script in a shell of the image.
    Script {
        /// Which shell.
        shell: Shell,
        /// The user's text; the addon adds what reads the output variables.
        text: String,
    },
    /// A program and its arguments, without a shell.
    Exec {
        /// `argv[0]` is looked up in the PATH of the environment.
        argv: Vec<String>,
        /// A script to run first, in `sh`, in the same environment (`preExecution`); none: no shell is needed.
        before: Option<String>,
    },
}

/// The shells of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shell {
    /// `sh -c`, with `set -e`.
    Sh,
    /// `bash -c`, with `set -e`.
    Bash,
    /// `pwsh -Command`, with `$ErrorActionPreference = 'Stop'`.
    Pwsh,
    /// `python3 -c`.
    Python,
}

/// An output variable that a step declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputVar {
    /// The name it is exported under.
    pub name: String,
    /// The script's variable that holds it.
    pub source: String,
    /// Its value is a secret: masked from then on, never shown.
    pub secret: bool,
}

/// When a Background step is ready: the first success of its probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// What is asked.
    pub probe: Probe,
    /// Milliseconds between two askings.
    pub period_ms: u64,
    /// Milliseconds for one answer.
    pub answer_ms: u64,
    /// Milliseconds after which the wait ends.
    pub deadline_ms: u64,
    /// At the deadline: `true` fails the step, `false` warns and goes on.
    pub required: bool,
}

/// How readiness is asked, from inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// Exit code 0 of a command.
    Exec(Vec<String>),
    /// A TCP connection to this port of localhost.
    Tcp(u16),
    /// A status below 400 of `GET http://localhost:<port><path>`.
    Http {
        /// The port.
        port: u16,
        /// The path, with its leading slash.
        path: String,
    },
    /// A Unix socket that accepts.
    Unix(String),
}

/// Why an attempt was stopped from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// A user's abort or Ctrl-C.
    Abort,
    /// Its time was up.
    Timeout,
    /// A Background step at the end of its group.
    GroupEnd,
    /// The container itself was told to end (an eviction, a deletion).
    Terminated,
    /// A Background step whose readiness is required was not ready in time; the record's last warning says more.
    NotReady,
}

/// From an addon to the driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// The answer to a hello that was accepted.
    Welcome {
        /// [`VERSION`] of the addon.
        version: u16,
        /// What it is doing.
        state: State,
    },
    /// The answer to anything that was not accepted.
    Refused(Refusal),
    /// The attempt's process runs.
    Started {
        /// Which attempt.
        attempt: Attempt,
        /// Milliseconds since the Unix epoch, by the container's clock.
        at_ms: u64,
    },
    /// A Background step's probe succeeded, or its deadline passed with a warning.
    Ready {
        /// Which attempt.
        attempt: Attempt,
        /// Milliseconds since its start.
        after_ms: u64,
        /// The text of the warning, where the deadline passed.
        warning: Option<String>,
    },
    /// Masked output. Travels in binary (see [`crate::link`]), not in JSON.
    #[serde(skip)]
    Output {
        /// Offset of the first byte in the attempt's masked output.
        offset: u64,
        /// When it was read, milliseconds since the Unix epoch.
        at_ms: u64,
        /// The bytes; a line may be split over several.
        bytes: Vec<u8>,
    },
    /// Output that the spool could not hold while no driver took it: `bytes` from `offset` on are gone.
    Gap {
        /// Offset of the first byte that is missing.
        offset: u64,
        /// How many are missing.
        bytes: u64,
    },
    /// The attempt is over. Sent after all its output, kept until [`Request::Settled`].
    Finished(Box<Record>),
    /// A part of a collected file. Travels in binary.
    #[serde(skip)]
    File {
        /// Of the collection.
        id: u32,
        /// Path as matched.
        path: String,
        /// Offset in the file.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A collection is complete.
    Collected {
        /// Of the collection.
        id: u32,
        /// Files that were sent.
        files: u32,
        /// Paths that matched but were not sent, with the reason.
        left: Vec<(String, String)>,
    },
    /// Output of an attached process. Travels in binary.
    #[serde(skip)]
    Attached {
        /// Of the attached process.
        id: u32,
        /// The bytes (stdout and stderr merged).
        bytes: Vec<u8>,
    },
    /// An attached process ended, or could not start.
    Detached {
        /// Of the attached process.
        id: u32,
        /// Its end.
        exit: Exit,
    },
}

/// What an addon is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// No attempt, or the last one is settled.
    Idle,
    /// An attempt runs.
    Running {
        /// Which attempt.
        attempt: Attempt,
        /// When it started, milliseconds since the Unix epoch.
        at_ms: u64,
        /// Masked output so far, bytes.
        offset: u64,
        /// A Background step that is ready.
        ready: bool,
    },
    /// An attempt is over and its record not yet settled.
    Done(Box<Record>),
}

/// Why an addon did not do as it was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The caller's epoch is older than one already seen.
    OldEpoch {
        /// The highest seen.
        seen: u64,
    },
    /// The container belongs to another run.
    OtherRun,
    /// Another attempt runs, or its record is not settled.
    Busy(Attempt),
    /// A message before the hello, or one that cannot be read.
    Protocol(String),
}

/// The end of an attempt: without it no step is green.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Which attempt.
    pub attempt: Attempt,
    /// How the process ended.
    pub exit: Exit,
    /// Set where it was stopped from outside.
    pub stopped: Option<StopReason>,
    /// The kernel killed a process of this container for memory.
    pub oom: bool,
    /// Start and end, milliseconds since the Unix epoch by the container's clock.
    pub started_ms: u64,
    /// See `started_ms`.
    pub ended_ms: u64,
    /// From start to end by a clock that does not jump, milliseconds.
    pub elapsed_ms: u64,
    /// Processor time of the process and its reaped descendants, milliseconds.
    pub cpu_ms: u64,
    /// The largest resident set of one process (or of the container's cgroup where it is readable), bytes.
    pub peak_memory: u64,
    /// Bytes of masked output in all; the log is complete when the driver has this many (less the gaps).
    pub output_bytes: u64,
    /// Output variables that the step left.
    pub outputs: Vec<Output>,
    /// What went wrong beside the exit code: an output too large, a file that cannot be read.
    pub warnings: Vec<String>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It never ran: the text says what is missing and how to mend it.
    NotStarted(String),
}

/// An output variable's value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// To be masked from now on.
    pub secret: bool,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = if self.secret {
            "**************"
        } else {
            &self.value
        };
        f.debug_struct("Output")
            .field("name", &self.name)
            .field("value", &value)
            .finish()
    }
}
