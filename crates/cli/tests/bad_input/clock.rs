//! A clock that jumps: nothing times out, nothing is ordered wrongly, a driver in another year takes the run over.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{Clock, Group, Home, quoted};

const DAY: i64 = 86_400;
const WAITS: &str = "echo first; until test -e /harness/go; do sleep 0.05; done; echo second";

/// The command by this clock.
fn command(clock: &Clock, home: &Home, args: &[&str]) -> Command {
    let mut command = home.command(args);
    clock.set(&mut command);
    command
}

/// Starts a command; ends when it has shown this.
fn until(
    mut command: Command,
    mark: &str,
) -> (Child, String, BufReader<std::process::ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut seen = String::new();
    while !seen.contains(mark) {
        let read = out.read_line(&mut seen).expect("text");
        assert!(read > 0, "`{mark}` never came:\n{seen}");
    }
    (child, seen, out)
}

/// Times of a journal never go back.
fn ordered(home: &Home) {
    let seen = home.call(&["inspect", "--output", "json"]);
    assert_eq!(seen.code, Some(0), "{}", seen.err);
    let runs = home.path().join("state/runs");
    let run = fs::read_dir(&runs).expect("runs").flatten().next();
    let dir = run.expect("a run").path();
    let events = driver::run::history(Path::new(&dir)).expect("a journal");
    assert!(events.is_sorted_by_key(|event| event.at_ms));
}

#[test]
fn a_clock_that_jumps_while_a_run_goes_on() {
    let home = Home::new();
    let clock = Clock::new(&home);
    let text = Group::new()
        .raw(&format!("step: {{identifier: a, name: a, type: Run, timeout: 10m, spec: {{image: 'host:/', shell: Sh, command: {}}}}}", quoted(WAITS)))
        .run("b", "echo third")
        .text();
    home.write("p.yaml", text);
    for jump in [400 * DAY, -400 * DAY] {
        clock.jump(0);
        let (mut child, mut seen, mut out) =
            until(command(&clock, &home, &["run", "p.yaml"]), "] first\n");
        clock.jump(jump);
        let go = home.call(&["exec", &run_of(&seen), "a", "--", "touch", "/harness/go"]);
        assert_eq!(go.code, Some(0), "{}{}", go.out, go.err);
        while out.read_line(&mut seen).expect("text") > 0 {}
        assert!(child.wait().expect("its end").success(), "{jump}: {seen}");
        assert!(
            seen.contains("] second\n") && seen.contains("] third\n"),
            "{seen}"
        );
        // No duration of days.
        let days = seen.split_whitespace().filter(|word| {
            word.strip_suffix('d')
                .is_some_and(|n| n.parse::<u32>().is_ok())
        });
        assert_eq!(days.count(), 0, "{seen}");
        if jump > 0 {
            let runs = command(&clock, &home, &["runs"]).output().expect("it runs");
            let runs = String::from_utf8_lossy(&runs.stdout).into_owned();
            assert!(runs.contains("400d 00h ago"), "the clock is off: {runs}");
        }
        ordered(&home);
        fs::remove_dir_all(home.path().join("state/runs")).expect("removed");
    }
}

fn run_of(seen: &str) -> String {
    let rest = seen.split("run ").nth(1).unwrap_or_default();
    rest.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn a_run_is_taken_over_in_another_year() {
    for jump in [400 * DAY, -400 * DAY] {
        let home = Home::new();
        let clock = Clock::new(&home);
        // Its time is not up because the date says so, on the same boot.
        let text = Group::new()
            .raw(&format!("step: {{identifier: a, name: a, type: Run, timeout: 1h, spec: {{image: 'host:/', shell: Sh, command: {}}}}}", quoted(WAITS)))
            .run("b", "echo third")
            .text();
        home.write("p.yaml", text);
        let (mut child, seen, _out) =
            until(command(&clock, &home, &["run", "p.yaml"]), "] first\n");
        child.kill().expect("killed");
        child.wait().expect("its end");
        clock.jump(jump);
        let go = home.call(&["exec", &run_of(&seen), "a", "--", "touch", "/harness/go"]);
        assert_eq!(go.code, Some(0), "{}{}", go.out, go.err);
        let resumed = command(&clock, &home, &["resume"])
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&resumed.stdout);
        assert!(resumed.status.success(), "{jump}: {said}");
        assert!(
            said.contains("] second\n") && said.contains("] third\n"),
            "{said}"
        );
        ordered(&home);
    }
}
