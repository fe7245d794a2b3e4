//! Queues of this machine's runs: who has the key goes on, the others wait in the order in which they came.
//!
//! ```text
//! <queues>/<hash of the key>/guard               locked while tickets are dealt
//!                            <number>            a ticket: who has it; locked by its owner for as long as that lives
//! ```
//!
//! The lowest ticket has the queue. Whoever comes later waits for the lock of the ticket before its own: the kernel wakes it
//! when that is given back, or when its owner dies. A ticket of an owner that died while it had the queue stays: the run's steps may
//! still be at work, and until it is resumed or swept nobody else goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use pipeline::plan::NodeId;
use serde::{Deserialize, Serialize};

/// The file that is locked while tickets are dealt.
const GUARD: &str = "guard";

/// Who has a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    run: String,
    step: String,
    /// The queue's key, for people.
    key: String,
    /// It has the queue, or had it when its owner died.
    admitted: bool,
}

/// A place at the head of a queue. It is given back when this is dropped.
#[derive(Debug)]
pub struct Ticket {
    path: PathBuf,
    /// Its lock is the ticket.
    _file: File,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Before the lock goes: whoever waits for it then finds no ticket.
        let _ = fs::remove_file(&self.path);
    }
}

/// Why there is no place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A run whose command was lost has the queue.
    #[error("the queue `{key}` is held by the run {run}, whose command was lost")]
    Lost {
        /// The key.
        key: String,
        /// The run.
        run: String,
    },
    /// The system refused.
    #[error("cannot use the queues in {}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Waits, without polling, until it is this step's turn. It blocks: the caller gives it a thread.
pub fn enter(queues: &Path, key: &str, run: &str, step: &NodeId) -> Result<Ticket, Error> {
    let dir = queues.join(name(key));
    let wait = || -> io::Result<Result<Ticket, Error>> {
        fs::create_dir_all(&dir)?;
        let mut owner = Owner {
            run: run.to_owned(),
            step: step.0.clone(),
            key: key.to_owned(),
            admitted: false,
        };
        let (number, mut ticket) = draw(&dir, &owner)?;
        loop {
            let Some((before, path)) = before(&dir, number)? else {
                owner.admitted = true;
                write(&mut ticket, &owner)?;
                return Ok(Ok(Ticket {
                    path: dir.join(digits(number)),
                    _file: ticket,
                }));
            };
            let Ok(file) = File::open(&path) else {
                continue;
            };
            file.lock_shared()?;
            // Given back it is gone from the directory; else whoever had it is no more.
            let _guard = guard(&dir)?;
            let Some(dead) = owner_of(&path) else {
                continue;
            };
            if dead.admitted {
                // Ours goes, too: the step fails.
                fs::remove_file(dir.join(digits(number)))?;
                return Ok(Err(Error::Lost {
                    key: key.to_owned(),
                    run: dead.run,
                }));
            }
            fs::remove_file(dir.join(digits(before)))?;
        }
    };
    wait().map_err(|source| Error::Io {
        path: dir.clone(),
        source,
    })?
}

/// Gives back what runs have in any queue that nobody drives any more: `gone` says which.
pub fn forget(queues: &Path, gone: impl Fn(&str) -> bool) -> io::Result<()> {
    let entries = match fs::read_dir(queues) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for dir in entries {
        let dir = dir?.path();
        let _guard = guard(&dir)?;
        for (_, path) in tickets(&dir)? {
            if owner_of(&path).is_some_and(|owner| gone(&owner.run)) {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// A ticket of one's own, locked: the one that an earlier life of the run had, else a new one behind all others.
fn draw(dir: &Path, owner: &Owner) -> io::Result<(u64, File)> {
    let _guard = guard(dir)?;
    let mut last = 0;
    for (number, path) in tickets(dir)? {
        last = number;
        let ours = owner_of(&path).is_some_and(|o| o.run == owner.run && o.step == owner.step);
        if ours {
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            file.lock()?;
            return Ok((number, file));
        }
    }
    let number = last + 1;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(dir.join(digits(number)))?;
    file.lock()?;
    write(&mut file, owner)?;
    Ok((number, file))
}

fn guard(dir: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join(GUARD))?;
    file.lock()?;
    Ok(file)
}

/// The ticket just before a number.
fn before(dir: &Path, number: u64) -> io::Result<Option<(u64, PathBuf)>> {
    let mut tickets = tickets(dir)?;
    tickets.retain(|(own, _)| *own < number);
    Ok(tickets.pop())
}

/// All tickets, the lowest first.
fn tickets(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(|n| n.parse().ok()) {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

fn digits(number: u64) -> String {
    format!("{number:012}")
}

fn owner_of(path: &Path) -> Option<Owner> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn write(file: &mut File, owner: &Owner) -> io::Result<()> {
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(&serde_json::to_vec(owner)?)
}

/// A directory's name for any key: what can be read of it, and a hash that keeps keys apart.
fn name(key: &str) -> String {
    let short: String = key
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(40)
        .collect();
    format!("{short}-{:08x}", crc32fast::hash(key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn the_order_is_that_of_coming() {
        let dir = tempfile::tempdir().unwrap();
        let first = enter(dir.path(), "k/1", "a", &NodeId::from("s")).unwrap();
        let (tell, hear) = mpsc::channel();
        let mut threads = Vec::new();
        for run in ["b", "c", "d"] {
            let (queues, tell) = (dir.path().to_owned(), tell.clone());
            threads.push(thread::spawn(move || {
                let ticket = enter(&queues, "k/1", run, &NodeId::from("s")).unwrap();
                tell.send(run).unwrap();
                drop(ticket);
            }));
            // The next one comes once this one has its ticket.
            let queue = dir.path().join(name("k/1"));
            while !tickets(&queue)
                .unwrap()
                .iter()
                .any(|(_, path)| owner_of(path).is_some_and(|own| own.run == run))
            {
                thread::yield_now();
            }
        }
        // Another key is another queue.
        drop(enter(dir.path(), "k/2", "e", &NodeId::from("s")).unwrap());
        assert!(hear.try_recv().is_err());
        drop(first);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(hear.try_iter().collect::<Vec<_>>(), ["b", "c", "d"]);
    }

    #[test]
    fn a_lost_owner_keeps_what_it_had_and_loses_what_it_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeId::from("s");
        let queue = dir.path().join(name("k"));
        fs::create_dir_all(&queue).unwrap();
        let owner = |run: &str, admitted| Owner {
            run: run.to_owned(),
            step: "s".to_owned(),
            key: "k".to_owned(),
            admitted,
        };
        // Dead: nobody holds their locks.
        let leave = |number, owner: &Owner| {
            let text = serde_json::to_vec(owner).unwrap();
            fs::write(queue.join(digits(number)), text).unwrap();
        };
        leave(1, &owner("had", true));
        leave(2, &owner("waited", false));
        let error = enter(dir.path(), "k", "new", &node).unwrap_err();
        assert!(matches!(error, Error::Lost { run, .. } if run == "had"));
        assert_eq!(tickets(&queue).unwrap().len(), 1);
        // Taken over, it has its place at once.
        drop(enter(dir.path(), "k", "had", &node).unwrap());
        drop(enter(dir.path(), "k", "new", &node).unwrap());
        leave(7, &owner("had", true));
        forget(dir.path(), |run| run == "had").unwrap();
        drop(enter(dir.path(), "k", "new", &node).unwrap());
    }
}
