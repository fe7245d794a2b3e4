//! Failures that a person decides about: from a second terminal, and on the terminal of the run itself.

mod support;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{Group, Home, Seen};

/// How long anything here may take before the test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// A run that goes on.
struct Going<'h> {
    home: &'h Home,
    child: Child,
    /// Where it writes.
    out: std::path::PathBuf,
}

impl<'h> Going<'h> {
    fn run(home: &'h Home, args: &[&str]) -> Self {
        Self::of(home, home.command(args))
    }

    /// With a terminal of its own, on which one can type.
    fn on_a_terminal(home: &'h Home, args: &[&str]) -> Self {
        let mut line = String::from("stty rows 30 cols 100; exec");
        for word in std::iter::once(env!("CARGO_BIN_EXE_stepyard")).chain(args.iter().copied()) {
            let _ = write!(line, " '{word}'");
        }
        let plain = home.command(args);
        let mut command = Command::new("script");
        command
            .args(["-qec", &line, "/dev/null"])
            .current_dir(home.path())
            .env_clear()
            .envs(
                plain
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("TERM", "xterm");
        Self::of(home, command)
    }

    fn of(home: &'h Home, mut command: Command) -> Self {
        let out = home.path().join("out");
        let file = File::create(&out).expect("a file");
        let child = command
            .stdin(Stdio::piped())
            .stdout(file.try_clone().expect("a file"))
            .stderr(file)
            .spawn()
            .expect("it starts");
        Self { home, child, out }
    }

    fn said(&self) -> String {
        let mut text = Vec::new();
        let mut file = File::open(&self.out).expect("a file");
        file.read_to_end(&mut text).expect("text");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until it has said this so many times.
    #[track_caller]
    fn until(&self, part: &str, times: usize) {
        let since = Instant::now();
        while self.said().matches(part).count() < times {
            assert!(
                since.elapsed() < PATIENCE,
                "`{part}` is not {times} times in:\n{}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn types(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("a terminal");
        stdin.write_all(text.as_bytes()).expect("it reads");
        stdin.flush().expect("it reads");
    }

    /// Asks something of the only run.
    fn ask(&self, words: &[&str]) -> Seen {
        let run = support::names(&self.home.path().join("state/runs"));
        let [run] = run.as_slice() else {
            panic!("several runs");
        };
        let mut args = vec!["intervene", run];
        args.extend(words);
        self.home.call(&args)
    }

    fn end(mut self) -> Seen {
        let status = self.child.wait().expect("it ends");
        Seen {
            code: status.code(),
            out: self.said(),
            err: String::new(),
        }
    }
}

const ASKS: &str = "failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: ManualIntervention, spec: {timeout: 1h, onTimeout: {action: {type: Abort}}}}}}]";

/// A step that fails until there is a file `mended`, and asks; then another.
fn asking(home: &Home, strategy: bool) {
    let command = support::quoted(
        "n=$(cat /tmp/n 2>/dev/null || true); echo \"try $((n+1)) here\"; echo $((n+1)) > /tmp/n; test -e /beside/mended",
    );
    let more = if strategy {
        format!(", {ASKS}")
    } else {
        String::new()
    };
    let step = format!(
        "step: {{identifier: bad, name: bad, type: Run{more}, spec: {{image: 'host:/', shell: Sh, command: {command}}}}}"
    );
    let beside = format!(
        "volumes: [{{mountPath: /beside, type: HostPath, spec: {{path: {}}}}}]",
        home.path().display()
    );
    let group = Group::new().infra(&beside).raw(&step);
    let text = group.run("then", "echo went on").text();
    home.write("p.yaml", text);
}

#[test]
fn a_second_terminal_decides() {
    let home = Home::new();
    asking(&home, true);
    let run = Going::run(&home, &["run", "p.yaml"]);
    run.until("decide with: stepyard intervene", 1);
    for (words, says) in [
        (&["then", "retry"][..], "s/g/then has not begun"),
        (&["nowhere", "retry"], "has no step `nowhere`"),
        (&["bad", "mend"], "invalid value 'mend'"),
        (&["mend"], "`mend` is nothing that a run can be asked"),
        (&[], "nothing is asked"),
        (&["retry"], "it is not said which step is meant"),
        (&["s/g", "retry"], "does not wait for a decision"),
        (&["resume"], "it is not paused"),
    ] {
        let seen = run.ask(words);
        let says = says.replace("s/g/then has", "stages.s.steps.g.steps.then has");
        seen.says(&words.join(" "), 2, &[&says]);
    }
    run.ask(&["pause"]).says("pause", 0, &["done\n"]);
    run.until("paused: nothing more begins", 1);
    home.call(&["runs"]).says("runs", 0, &["  paused  "]);
    home.call(&["inspect"]).says("inspect", 0, &["p is paused"]);
    run.ask(&["resume"]).says("resume", 0, &["done\n"]);
    // It fails again, and asks again.
    run.ask(&["bad", "retry"]).says("retry", 0, &["done\n"]);
    run.until("decide with: stepyard intervene", 2);
    home.write("mended", "");
    run.ask(&["s/g/bad", "retry"]).says("retry", 0, &["done\n"]);
    let seen = run.end();
    seen.says("the run", 0, &["try 3 here", "went on", "✓ p succeeded"]);
    assert_eq!(seen.times("s/g/Initialize] lite-engine"), 0);
}

#[test]
fn every_action_of_a_second_terminal() {
    for (action, code, says) in [
        ("ignore", 0, "failed, ignored"),
        ("mark-as-success", 0, "marked as success by a person"),
        ("mark-as-failure", 1, "marked as failed by a person"),
        ("abort", 130, "the run is aborted by a person"),
        ("stage-rollback", 1, "s is rolled back by a person"),
    ] {
        let home = Home::new();
        asking(&home, true);
        let run = Going::run(&home, &["run", "p.yaml"]);
        run.until("decide with: stepyard intervene", 1);
        run.ask(&["bad", action]).says(action, 0, &["done\n"]);
        let seen = run.end();
        seen.says(action, code, &[says]);
        assert_eq!(seen.times("went on"), usize::from(code == 0), "{action}");
        let seen = home.call(&["runs", "--output", "json"]);
        let all: serde_json::Value = serde_json::from_str(&seen.out).expect("JSON");
        let id = all[0]["id"].as_str().expect("an id").to_owned();
        home.call(&["intervene", &id, "bad", action])
            .says("one that is over", 2, &["is over"]);
    }
}

/// A step that hangs: it is ended, and what was said becomes of it. Without a run's id the last run is meant.
#[test]
fn a_running_step_is_decided_about() {
    for (action, code, says) in [
        ("mark-as-success", 0, "marked as success by a person"),
        ("retry", 0, "[s/g/hangs] again"),
        ("stage-rollback", 1, "s is rolled back by a person"),
    ] {
        let home = Home::new();
        let hangs =
            "if test -e /tmp/x; then echo again; exit 0; fi; touch /tmp/x; echo hangs; sleep 600";
        home.write(
            "p.yaml",
            Group::new()
                .run("hangs", hangs)
                .run("then", "echo went on")
                .text(),
        );
        let run = Going::run(&home, &["run", "p.yaml"]);
        run.until("[s/g/hangs] hangs", 1);
        home.call(&["intervene", "hangs", action])
            .says(action, 0, &["done\n"]);
        let seen = run.end();
        seen.says(action, code, &[says]);
        assert_eq!(seen.times("went on"), usize::from(code == 0), "{action}");
    }
}

#[test]
fn a_killed_command_asks_again() {
    let home = Home::new();
    asking(&home, true);
    let mut run = Going::run(&home, &["run", "p.yaml"]);
    run.until("decide with: stepyard intervene", 1);
    run.child.kill().expect("it runs");
    run.child.wait().expect("it ends");
    run.ask(&["bad", "retry"])
        .says("a lost run", 2, &["it was lost"]);
    let run = Going::run(&home, &["resume"]);
    run.until("decide with: stepyard intervene", 1);
    run.until("taken over", 1);
    home.write("mended", "");
    run.ask(&["bad", "retry"]).says("retry", 0, &["done\n"]);
    run.end().says("the run", 0, &["try 2 here", "went on"]);
}

#[test]
fn the_terminal_of_the_run_asks_and_takes_keys_and_words() {
    let home = Home::new();
    asking(&home, true);
    let mut run = Going::on_a_terminal(&home, &["run", "p.yaml"]);
    run.until("left, then Abort", 1);
    for part in [
        "s/g/bad",
        "exit code 1",
        "retry",
        "mark-as-success",
        "stage-rollback",
        "waits for a decision for",
    ] {
        run.until(part, 1);
    }
    // What decides nothing is said so.
    run.types("perhaps\r");
    run.until("`perhaps` decides nothing about s/g/bad", 1);
    let asked = run.said().matches("waits for a decision for").count();
    run.types("r\r");
    run.until("waits for a decision for", asked + 1);
    home.write("mended", "");
    // Typed, taken back, typed again.
    run.types("ig\u{7f}\u{7f}re");
    run.until("re▏", 1);
    run.types("try\r");
    let seen = run.end();
    seen.says("the run", 0, &["try 3 here", "went on", "succeeded"]);
}

#[test]
fn an_approval_is_answered_on_the_terminal_of_the_run() {
    let home = Home::new();
    let ask = "step: {identifier: ask, name: ask, type: HarnessApproval, timeout: 1d, spec: {approvalMessage: Ship it?, approvers: {userGroups: [ops], minimumCount: 1, disallowPipelineExecutor: false}}}";
    home.write(
        "p.yaml",
        Group::new().raw(ask).run("then", "echo went on").text(),
    );
    let mut run = Going::on_a_terminal(&home, &["run", "p.yaml"]);
    run.until("waits for an approval: Ship it?", 1);
    run.types("maybe\r");
    run.until("answer with `yes` or `no`, and why", 1);
    run.types("yes fine by me\r");
    run.end().says("the run", 0, &["went on", "succeeded"]);
}

#[test]
fn a_kept_pod_is_mended_and_its_step_runs_again_there() {
    let home = Home::new();
    asking(&home, false);
    let run = Going::run(&home, &["run", "--keep-pod-on-failure=30m", "p.yaml"]);
    run.until(
        "its pod is kept, and waits for a decision for 30m 00s, then MarkAsFailure",
        1,
    );
    let id = support::names(&home.path().join("state/runs")).remove(0);
    home.call(&["exec", &id, "bad", "--", "cat", "/tmp/n"])
        .says("a look inside", 0, &["1\n"]);
    home.call(&["exec", &id, "bad", "--", "sh", "-c", "echo 41 > /tmp/n"])
        .says("mended inside", 0, &[]);
    run.ask(&["bad", "retry"]).says("intervene", 0, &["done\n"]);
    run.until("try 42 here", 1);
    run.until("its pod is kept", 2);
    home.write("mended", "");
    // `retry` of a run that keeps a pod means the step there.
    home.call(&["retry", &id])
        .says("retry", 0, &["s/g/bad runs again in run"]);
    let seen = run.end();
    seen.says("the run", 0, &["try 43 here", "went on", "✓ p succeeded"]);
    assert_eq!(support::names(&home.path().join("state/runs")).len(), 1);
}

#[test]
fn a_kept_pod_goes_when_nobody_decides() {
    let home = Home::new();
    asking(&home, false);
    for (text, says) in [("soon", "is no duration"), ("0s", "is no duration")] {
        let option = format!("--keep-pod-on-failure={text}");
        home.call(&["run", &option, "p.yaml"])
            .says(text, 2, &[says]);
    }
    let seen = home.call(&["run", "--keep-pod-on-failure=1s", "p.yaml"]);
    seen.says(
        "the run",
        1,
        &[
            "its pod is kept",
            "marked as failed since nobody decided in time",
        ],
    );
    assert_eq!(seen.times("went on"), 0);
}
