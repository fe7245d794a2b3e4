//! A disk that is full: what was written stays whole, and the run fails with words.

use std::process::Command;

use crate::support::{Group, Home, root};

/// A small file system over the state of a home, gone with its value.
struct Tiny(std::path::PathBuf);

impl Tiny {
    fn over(home: &Home, size: &str) -> Self {
        let at = home.path().join("state");
        std::fs::create_dir(&at).expect("a directory");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tiny"])
            .arg(&at)
            .status()
            .expect("mount runs");
        assert!(done.success(), "a tmpfs is mounted");
        Self(at)
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn no_space_left() {
    if !root() {
        eprintln!("no_space_left: NOT RUN: only root can mount the small file system it needs");
        return;
    }
    let home = Home::new();
    let tiny = Tiny::over(&home, "4m");
    let text = Group::new()
        .run("small", "echo fits")
        .run("large", "i=0; while [ $i -lt 200 ]; do head -c 65536 /dev/zero | tr '\\0' x; echo; i=$((i+1)); done; echo end")
        .run("after", "echo last")
        .text();
    let seen = home.run(&text);
    seen.says(
        "full",
        1,
        &[
            "fits",
            "cannot write the log",
            "no space left",
            "help: free some space",
            "stepyard resume",
        ],
    );
    home.call(&["logs", "small"])
        .says("the log", 0, &["fits\n"]);
    home.call(&["inspect"]).says("the journal", 0, &["small"]);
    // Room is made: what was stored is whole, and the run goes on.
    let done = Command::new("mount")
        .args(["-o", "remount,size=64m"])
        .arg(&tiny.0)
        .status()
        .expect("mount runs");
    assert!(done.success());
    let seen = home.call(&["resume"]);
    seen.says("resumed", 0, &["taken over", "] end", "[s/g/after] last"]);
    assert_eq!(home.call(&["logs", "small"]).out, "fits\n");
    let log = home.call(&["logs", "large"]);
    // The spool was on the full disk as well: what it could not hold is told, to the byte.
    let lost: usize = log
        .out
        .lines()
        .chain(log.err.lines())
        .filter_map(|line| line.strip_suffix(" bytes of output were lost here]"))
        .map(|line| line.trim_start_matches('[').replace(',', ""))
        .map(|n| n.parse::<usize>().expect("a number"))
        .sum();
    let kept = log.out.len();
    // Where it is told, a line may be ended.
    let whole = 200 * 65537 + 4;
    assert!(
        (whole..whole + 200).contains(&(kept + lost)),
        "{kept} here, {lost} lost"
    );
    drop(tiny);
}
