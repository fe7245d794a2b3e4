//! Runs of releases before this one can still be read.
//!
//! `tests/golden/NAME/RUN` is what a run left in `runs/`: journal, logs and their index, texts, pods. None of it is ever made again: a
//! change of a stored form adds a folder. What this binary says of each is beside it as snapshots, and those may change with the
//! words of the screen, never with how the run ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use driver::journal;
use engine::event::Status;
use engine::{State, evolve};
use pipeline::plan::NodeId;

/// By name, and how each ended; none: its command was killed.
const RUNS: [(&str, Option<Status>); 6] = [
    ("asking", Some(Status::Success)),
    ("failures", Some(Status::Failed)),
    ("hello", Some(Status::Success)),
    ("killed", None),
    ("loops", Some(Status::Success)),
    ("pipeline-rollback", Some(Status::Failed)),
];

/// The one run of a folder.
fn run(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let mut entries = fs::read_dir(&folder).expect("it is there");
    entries.next().expect("a run").expect("an entry").path()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// A home with this one run, and the run's id.
fn home(name: &str) -> (tempfile::TempDir, String) {
    let home = tempfile::tempdir().expect("a directory");
    let run = run(name);
    let id = run
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    copy(&run, &home.path().join("runs").join(&id));
    (home, id)
}

fn stepyard(home: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stepyard"))
        .args(args)
        .env("STEPYARD_HOME", home)
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .expect("the binary is built")
}

/// What a command says of a run: both streams, and its code where that is not 0.
fn said(home: &Path, args: &[&str]) -> String {
    let out = stepyard(home, args);
    let mut text = String::from_utf8_lossy(&out.stdout).into_owned();
    text += &String::from_utf8_lossy(&out.stderr);
    if !out.status.success() {
        text.push_str(&["[", &out.status.to_string(), "]\n"].concat());
    }
    text
}

#[test]
fn journals_of_before_fold_to_the_same_end() {
    for (name, end) in RUNS {
        let events = journal::read(&run(name).join("journal")).expect(name);
        let mut state = State::default();
        for stamped in &events {
            evolve(&mut state, stamped).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        assert_eq!(state.finished, end, "{name}");
        let ends = state.nodes.values().map(|place| {
            let NodeId(id) = &place.node.id;
            let tries = place.attempts;
            format!("{id}: {:?}, {tries} tries\n", place.status())
        });
        insta::assert_snapshot!(format!("{name}-ends"), ends.collect::<String>());
    }
}

#[test]
fn inspect_and_logs_say_the_same_of_them() {
    for (name, _) in RUNS {
        let (home, id) = home(name);
        let text = said(home.path(), &["inspect", &id]);
        insta::assert_snapshot!(format!("{name}-inspect"), text);
        let text = said(home.path(), &["logs", &id]);
        insta::assert_snapshot!(format!("{name}-logs"), text);
    }
}

/// Bytes in the middle of its journal are not what they were: nothing of it runs again, and it hides no other run.
#[test]
fn a_damaged_run_is_told_and_left() {
    let (home, id) = home("hello");
    copy(&run("loops"), &home.path().join("runs/bcdfghjklm"));
    let journal = home.path().join("runs").join(&id).join("journal");
    let mut bytes = fs::read(&journal).expect("a journal");
    bytes[500..507].fill(b'X');
    fs::write(&journal, &bytes).expect("written");
    for args in [["inspect", &id], ["resume", &id], ["logs", &id]] {
        let text = said(home.path(), &args);
        assert!(
            text.contains("is damaged at byte ") && text.contains("[exit status: 1]"),
            "{args:?}: {text}"
        );
    }
    let text = said(home.path(), &["runs"]);
    assert!(
        text.contains(&format!("{id}  damaged")) && text.contains("succeeded"),
        "{text}"
    );
    assert!(!text.contains("[exit status"), "{text}");
    assert_eq!(fs::read(&journal).expect("a journal"), bytes);
}

/// Its pod was of another boot, or another machine: nothing of it is there, and that is no success. The ten hours of its running step
/// are over for good, so that whenever this is asked, its time was up.
#[test]
fn a_run_whose_command_was_killed_before_is_taken_over() {
    let (home, id) = home("killed");
    let out = stepyard(home.path(), &["resume", "--output", "plain", &id]);
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(1), "{text}");
    // Once, of the pod: not by each of its containers, too.
    assert!(!text.contains("warning: the pod"), "{text}");
    assert_eq!(text.matches("] the pod was lost: ").count(), 1, "{text}");
    let events = journal::read(&home.path().join("runs").join(&id).join("journal"));
    let events = events.expect("it can be read");
    let mut state = State::default();
    for stamped in &events {
        evolve(&mut state, stamped).expect("legal");
    }
    assert_eq!(state.finished, Some(Status::Expired));
    assert_eq!(state.epoch, 2);
}
