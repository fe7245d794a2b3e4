//! Processes that are scripts.

use std::collections::{BTreeMap, VecDeque};

use addon::spool::Store;

/// One act of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// `echo:TEXT`: writes a line.
    Echo(String),
    /// `flood:BYTES`: writes that many bytes in lines of 100.
    Flood(u64),
    /// `sleep:MS`.
    Sleep(u64),
    /// `out:NAME=VALUE`: leaves an output variable.
    Out(String),
    /// `secret:NAME=VALUE`: leaves a secret one.
    Secret(String),
    /// `put:TEXT`: adds a line to the pod's workspace.
    Put(String),
    /// `show`: writes all lines of the pod's workspace.
    Show,
    /// `serve`: runs until it is told to end.
    Serve,
    /// `deaf`: does not hear SIGTERM from here on.
    Deaf,
    /// `exit:CODE`.
    Exit(i32),
    /// `die:SIGNAL`.
    Die(i32),
}

impl Act {
    /// Reads a word; what is none is written as it is.
    pub fn parse(word: &str) -> Self {
        let (name, rest) = word.split_once(':').unwrap_or((word, ""));
        match (name, rest.parse::<u64>()) {
            ("echo", _) => Self::Echo(rest.to_owned()),
            ("flood", Ok(bytes)) => Self::Flood(bytes),
            ("sleep", Ok(ms)) => Self::Sleep(ms),
            ("out", _) => Self::Out(rest.to_owned()),
            ("secret", _) => Self::Secret(rest.to_owned()),
            ("put", _) => Self::Put(rest.to_owned()),
            ("show", _) => Self::Show,
            ("serve", _) => Self::Serve,
            ("deaf", _) => Self::Deaf,
            ("exit", Ok(code)) => Self::Exit(code as i32),
            ("die", Ok(signal)) => Self::Die(signal as i32),
            _ => Self::Echo(word.to_owned()),
        }
    }
}

/// A process that runs.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) acts: VecDeque<Act>,
    /// It goes on at this time of the clock that does not jump.
    pub(super) at_ms: u64,
    pub(super) deaf: bool,
    pub(super) serves: bool,
    pub(super) flooded: u64,
    pub(super) dotenv: Vec<u8>,
    pub(super) secret: Vec<u8>,
}

impl Process {
    pub(super) fn new(argv: &[String], at_ms: u64) -> Self {
        Self {
            acts: argv.iter().map(|word| Act::parse(word)).collect(),
            at_ms,
            deaf: false,
            serves: false,
            flooded: 0,
            dotenv: Vec::new(),
            secret: Vec::new(),
        }
    }
}

/// Segments of a spool, in memory.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<u32, Vec<u8>>);

impl Store for Memory {
    fn write(&mut self, segment: u32, at: u64, bytes: &[u8]) -> bool {
        let segment = self.0.entry(segment).or_default();
        let end = at as usize + bytes.len();
        if segment.len() < end {
            segment.resize(end, 0);
        }
        segment[at as usize..end].copy_from_slice(bytes);
        true
    }

    fn read(&mut self, segment: u32, at: u64, into: &mut [u8]) -> bool {
        let at = at as usize;
        match self
            .0
            .get(&segment)
            .and_then(|s| s.get(at..at + into.len()))
        {
            Some(bytes) => {
                into.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    fn remove(&mut self, segment: u32) {
        self.0.remove(&segment);
    }
}
