//! Whole runs of the real binary, in real containers of this machine's own root filesystem.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn command(home: &Path, args: &[&str]) -> Command {
    program(home, env!("CARGO_BIN_EXE_stepyard"), args)
}

/// Any program, where a command of this home finds its state.
fn program(home: &Path, name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(name);
    command
        .args(args)
        .current_dir(home)
        .env("STEPYARD_HOME", home.join("state"))
        .stdin(Stdio::null());
    command
}

fn stepyard(home: &Path, args: &[&str]) -> Output {
    command(home, args).output().expect("the binary is built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A pipeline of Run steps, by identifier and command.
fn pipeline(home: &Path, steps: &[(&str, &str)]) {
    let steps: Vec<String> = steps
        .iter()
        .map(|(id, command)| {
            format!("                    - step: {{identifier: {id}, name: {id}, type: Run, spec: {{image: 'host:/', command: \"{command}\"}}}}\n")
        })
        .collect();
    let head = "pipeline:
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
              - stepGroup:
                  identifier: g
                  name: g
                  stepGroupInfra: {type: KubernetesDirect, spec: {connectorRef: c, namespace: n}}
                  steps:
";
    fs::write(home.join("p.yaml"), format!("{head}{}", steps.concat())).expect("a file");
}

/// Reads the run's output until a line holds `part`.
fn until(child: &mut Child, part: &str) {
    let out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut lines = out.lines();
    loop {
        let line = lines.next().expect("the line comes").expect("text");
        if line.contains(part) {
            break;
        }
    }
    // Who writes on is not stopped by a pipe that nobody reads.
    std::thread::spawn(move || lines.for_each(drop));
}

/// What pods leave under a home.
fn pods(home: &Path) -> usize {
    fs::read_dir(home.join("state/native/pods")).map_or(0, Iterator::count)
}

#[test]
fn exit_codes_lines_and_history() {
    let home = tempfile::tempdir().expect("a directory");
    pipeline(
        home.path(),
        &[
            ("one", "echo first"),
            ("two", "exit 3"),
            ("three", "echo never"),
        ],
    );
    let output = stepyard(home.path(), &["run", "p.yaml"]);
    let out = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{out}{}",
        text(&output.stderr)
    );
    for part in [
        "[s/g/one] first\n",
        "[s/g/two] failed",
        "exit code 3",
        "p failed in",
    ] {
        assert!(out.contains(part), "`{part}` is not in:\n{out}");
    }
    assert!(!out.contains("never"), "{out}");

    let output = stepyard(
        home.path(),
        &["run", "p.yaml", "--only", "one", "--output", "json"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let kinds: Vec<String> = text(&output.stdout)
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).expect("one object a line");
            value["kind"].as_str().expect("a kind").to_owned()
        })
        .collect();
    assert!(
        ["event", "pod", "line"]
            .iter()
            .all(|kind| kinds.iter().any(|k| k == kind)),
        "{kinds:?}"
    );

    let runs: serde_json::Value =
        serde_json::from_slice(&stepyard(home.path(), &["runs", "--output", "json"]).stdout)
            .expect("JSON");
    assert_eq!(
        (&runs[0]["state"], &runs[1]["state"]),
        (&"succeeded".into(), &"failed".into())
    );
    assert_eq!(
        text(&stepyard(home.path(), &["logs", "one"]).stdout),
        "first\n"
    );
    let id = runs[1]["id"].as_str().expect("an id");
    let unknown = stepyard(home.path(), &["logs", id, "elsewhere"]);
    let said = text(&unknown.stderr);
    assert_eq!(unknown.status.code(), Some(2), "{said}");
    assert!(
        said.contains("it has s/g/Initialize, s/g/one, s/g/two, s/g/three"),
        "{said}"
    );
    assert_eq!(
        text(&stepyard(home.path(), &["logs", &id[..6], "one"]).stdout),
        "first\n"
    );
    assert!(text(&stepyard(home.path(), &["inspect", id]).stdout).contains("exit code 3"));
    assert_eq!(pods(home.path()), 0);
}

#[test]
fn a_step_of_the_last_run_is_meant_before_a_run_whose_id_begins_like_it() {
    let home = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(home.path().join("state/runs/bcd1111111")).expect("a directory");
    pipeline(home.path(), &[("bcd", "echo of the step")]);
    let run = stepyard(home.path(), &["run", "p.yaml"]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let seen = stepyard(home.path(), &["logs", "bcd"]);
    assert!(
        text(&seen.stdout).contains("of the step"),
        "{}",
        text(&seen.stderr)
    );
    // Whole, an id is one.
    let seen = stepyard(home.path(), &["logs", "bcd1111111"]);
    assert!(!text(&seen.stdout).contains("of the step"));
}

#[test]
fn a_secret_is_used_and_stored_nowhere() {
    let home = tempfile::tempdir().expect("a directory");
    pipeline(
        home.path(),
        &[(
            "one",
            "echo got <+secrets.getValue('tok')> of 11; test <+secrets.getValue('tok')> = hunter2pass",
        )],
    );
    let mut file = fs::read_to_string(home.path().join("p.yaml")).expect("a file");
    file.push_str("---\nsecret:\n  identifier: tok\n  name: tok\n  type: SecretText\n  spec: {valueType: Inline, value: hunter2pass}\n");
    fs::write(
        home.path().join("p.yaml"),
        file.replace("= hunter2pass", "!= other"),
    )
    .expect("a file");
    let output = stepyard(home.path(), &["run", "p.yaml"]);
    let out = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{out}{}",
        text(&output.stderr)
    );
    assert!(
        out.contains("of 11") && !out.contains("hunter2pass"),
        "{out}"
    );
    let mut open = vec![home.path().join("state/runs")];
    let mut files = 0;
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            if entry.file_type().expect("a kind").is_dir() {
                open.push(entry.path());
            } else {
                files += 1;
                let bytes = fs::read(entry.path()).expect("a file");
                assert!(
                    !text(&bytes).contains("hunter2pass"),
                    "{}",
                    entry.path().display()
                );
            }
        }
    }
    assert!(files >= 4, "meta, pipeline, journal and logs are there");
}

/// A keeper outlives its command, and starts programs of this machine.
#[test]
fn a_secret_of_the_environment_is_in_no_other_process() {
    let home = tempfile::tempdir().expect("a directory");
    pipeline(home.path(), &[("one", "echo up; sleep 1000")]);
    let value = format!("of-the-environment-{}", std::process::id());
    let mut child = command(home.path(), &["run", "p.yaml", "--secret", "OWN_TOKEN"])
        .env("STEPYARD_SECRET_TOK", &value)
        .env("OWN_TOKEN", &value)
        .env("OF_NO_SECRET", "of no secret")
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    until(&mut child, "[s/g/one] up");
    let mut with = Vec::new();
    let mut open = 0;
    for entry in fs::read_dir("/proc").expect("a directory").flatten() {
        // A process that ends meanwhile has none.
        let environment = text(&fs::read(entry.path().join("environ")).unwrap_or_default());
        if environment.contains(&value) {
            with.push(entry.file_name().to_string_lossy().into_owned());
        }
        open += usize::from(environment.contains("OF_NO_SECRET=of no secret"));
    }
    assert_eq!(with, [child.id().to_string()]);
    assert!(open > 1, "a keeper has the rest of the environment");
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(killed.success());
    child.wait().expect("it ends");
}

/// As under `nohup`, in the background.
#[test]
fn what_the_command_ignores_steps_do_not() {
    let home = tempfile::tempdir().expect("a directory");
    pipeline(home.path(), &[("one", "grep SigIgn /proc/self/status")]);
    let shell = "trap '' HUP INT QUIT USR1; exec \"$@\"";
    let run = command(home.path(), &["run", "p.yaml"]);
    let mut nested = Command::new("sh");
    nested.args(["-c", shell, "sh"]).arg(run.get_program());
    nested.args(run.get_args()).current_dir(home.path());
    nested.env("STEPYARD_HOME", home.path().join("state"));
    let output = nested.stdin(Stdio::null()).output().expect("it runs");
    let out = text(&output.stdout);
    let ignored = out.lines().find_map(|line| line.split_once("SigIgn:\t"));
    let ignored = ignored.and_then(|(_, bits)| u64::from_str_radix(bits, 16).ok());
    // HUP, INT, QUIT and USR1 are 1, 2, 3 and 10.
    assert_eq!(ignored.map(|bits| bits & 0x207), Some(0), "{out}");
}

#[test]
fn ctrl_c_ends_the_steps_and_leaves_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    pipeline(
        home.path(),
        &[("one", "echo up; sleep 1000"), ("two", "echo never")],
    );
    let mut child = command(home.path(), &["run", "p.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    until(&mut child, "[s/g/one] up");
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(killed.success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert!(
        text(&output.stderr).contains("press Ctrl-C again to kill them"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(pods(home.path()), 0);
}

#[test]
fn a_killed_command_is_resumed_and_finished_steps_do_not_run_again() {
    let home = tempfile::tempdir().expect("a directory");
    pipeline(
        home.path(),
        &[
            ("one", "echo once"),
            (
                "two",
                "echo up; while [ ! -e go ]; do sleep 0.05; done; echo down",
            ),
            ("three", "echo end"),
        ],
    );
    // The step waits for a file in the workspace: `exec` makes it while no command drives the run.
    let mut child = command(home.path(), &["run", "p.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    until(&mut child, "[s/g/two] up");
    child.kill().expect("it is killed");
    child.wait().expect("it ends");
    assert!(text(&stepyard(home.path(), &["runs"]).stdout).contains("lost"));
    let exec = stepyard(
        home.path(),
        &[
            "exec",
            "two",
            "--",
            "sh",
            "-c",
            "touch /harness/go; echo touched",
        ],
    );
    assert_eq!(
        (exec.status.code(), text(&exec.stdout).as_str()),
        (Some(0), "touched\n"),
        "{}",
        text(&exec.stderr)
    );
    let output = stepyard(home.path(), &["resume"]);
    let out = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{out}{}",
        text(&output.stderr)
    );
    assert!(
        out.contains("taken over") && out.contains("[s/g/three] end"),
        "{out}"
    );
    assert_eq!(
        text(&stepyard(home.path(), &["logs", "one"]).stdout),
        "once\n"
    );
    assert_eq!(
        text(&stepyard(home.path(), &["logs", "two"]).stdout),
        "up\ndown\n"
    );
    assert_eq!(pods(home.path()), 0);
    let again = stepyard(home.path(), &["resume"]);
    assert!(
        again.status.code() == Some(2) && text(&again.stderr).contains("is over"),
        "{}",
        text(&again.stderr)
    );
}

#[test]
fn a_lost_pod_is_swept() {
    let home = tempfile::tempdir().expect("a directory");
    pipeline(home.path(), &[("one", "echo up; sleep 1000")]);
    let mut child = command(home.path(), &["run", "p.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    until(&mut child, "[s/g/one] up");
    assert!(text(&stepyard(home.path(), &["sweep"]).stdout).contains("0 pods removed, 1 in use"));
    child.kill().expect("it is killed");
    child.wait().expect("it ends");
    assert_eq!(
        text(&stepyard(home.path(), &["sweep"]).stdout),
        "1 pod removed\n"
    );
    assert_eq!(pods(home.path()), 0);
}

/// A value that no shell may ever read: quotes of all kinds, expansions, a command, a line end.
const NASTY: &str =
    "it's \"a\" $HOME `touch /harness/owned` $(touch /harness/owned) \\ ; # \nsecond line";

#[test]
fn a_secret_in_a_script_is_never_read_by_the_shell() {
    let home = tempfile::tempdir().expect("a directory");
    fs::write(home.path().join("value"), NASTY).expect("a file");
    fs::write(home.path().join("secret"), NASTY).expect("a file");
    let script = r#"
                            printf %s <+secrets.getValue("nasty")> >bare
                            printf %s "<+secrets.getValue("nasty")>" >double
                            printf %s '<+secrets.getValue("nasty")>' >single
                            cat >quoted <<'END'
                            <+secrets.getValue("nasty")>
                            END
                            for way in bare double single; do
                              cmp $way /harness/value/value && echo "$way is exact"
                            done
                            printf '%s\n' "$(cat /harness/value/value)" >with-line
                            sed 's/^ *//' quoted | cmp - with-line && echo "here is exact"
                            test ! -e /harness/owned && echo "nothing was executed"
                            echo "shown: <+secrets.getValue("nasty")>"
"#;
    pipeline(home.path(), &[]);
    let mut text_of = fs::read_to_string(home.path().join("p.yaml")).expect("a file");
    text_of.push_str(
        "                    - step:
                        identifier: tree
                        name: tree
                        type: GitClone
                        spec: {connectorRef: nobody, repoName: team/value.git, build: {type: branch, spec: {branch: main}}}
                    - step:
                        identifier: use
                        name: use
                        type: Run
                        spec:
                          image: 'host:/'
                          shell: Sh
                          command: |",
    );
    text_of.push_str(script);
    fs::write(home.path().join("p.yaml"), text_of).expect("a file");
    let tree = home.path().join("tree");
    fs::create_dir(&tree).expect("a directory");
    fs::rename(home.path().join("value"), tree.join("value")).expect("a file");
    let secret = format!("nasty=@{}", home.path().join("secret").display());
    let output = stepyard(
        home.path(),
        &[
            "run",
            "p.yaml",
            "--local",
            "value=tree",
            "--secret",
            &secret,
        ],
    );
    let out = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{out}{}",
        text(&output.stderr)
    );
    for part in [
        "the working tree of value is in /harness/value",
        "bare is exact",
        "double is exact",
        "single is exact",
        "here is exact",
        "nothing was executed",
        "shown: ***",
    ] {
        assert!(out.contains(part), "`{part}` is not in:\n{out}");
    }
    for part in ["it's", "second line", "touch /harness"] {
        assert!(!out.contains(part), "`{part}` is in:\n{out}");
    }
}

#[test]
fn what_is_not_run_is_told_by_name_before_anything_runs() {
    let home = tempfile::tempdir().expect("a directory");
    pipeline(home.path(), &[("one", "touch ran")]);
    let mut text_of = fs::read_to_string(home.path().join("p.yaml")).expect("a file");
    text_of.push_str("                    - step: {identifier: ask, name: ask, type: Run, spec: {image: 'host:/', shell: Powershell, command: x}}\n");
    text_of.push_str("                    - step: {identifier: many, name: many, type: Run, enforce: {policySets: [p]}, spec: {image: 'host:/', command: x}}\n");
    fs::write(home.path().join("p.yaml"), text_of).expect("a file");
    for command in ["run", "plan"] {
        let output = stepyard(home.path(), &[command, "p.yaml"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        for part in [
            "SY0616",
            "step `ask`: Windows PowerShell is not run",
            "step `many`: `enforce` is not acted on yet",
            "p.yaml:",
        ] {
            assert!(
                said.contains(part),
                "{command}: `{part}` is not in:\n{said}"
            );
        }
        let shown = text(&output.stdout).contains("many");
        assert_eq!(shown, command == "plan", "the plan is shown all the same");
    }
    assert!(
        text(&stepyard(home.path(), &["runs"]).stdout)
            .trim()
            .is_empty()
    );
    // A part without them does run.
    let output = stepyard(home.path(), &["run", "p.yaml", "--only", "one"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn an_output_of_a_step_that_does_not_run_is_asked_for_and_given() {
    let home = tempfile::tempdir().expect("a directory");
    pipeline(
        home.path(),
        &[
            ("make", "true"),
            ("use", "echo v=<+steps.make.output.outputVariables.V>"),
        ],
    );
    let output = stepyard(home.path(), &["run", "p.yaml", "--only", "use"]);
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(
        out.contains("needs the output `V` of step `make`, which was not run"),
        "{out}"
    );
    let given = "steps.make.output.outputVariables.V=7";
    let output = stepyard(
        home.path(),
        &["run", "p.yaml", "--only", "use", "--set", given],
    );
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}");
    assert!(out.contains("v=7\n"), "{out}");
}

#[test]
fn steps_that_are_over_keep_no_file_open() {
    let home = tempfile::tempdir().expect("a directory");
    let ids: Vec<String> = (0..60).map(|at| format!("s{at}")).collect();
    let steps: Vec<(&str, &str)> = ids.iter().map(|id| (&**id, "echo said")).collect();
    pipeline(home.path(), &steps);
    let few = "ulimit -n 100 && exec \"$0\" run p.yaml";
    let words = ["-c", few, env!("CARGO_BIN_EXE_stepyard")];
    let output = program(home.path(), "sh", &words)
        .output()
        .expect("a shell");
    let out = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{out}{}",
        text(&output.stderr)
    );
    assert_eq!(out.matches("] said\n").count(), 60, "{out}");
}

#[test]
fn the_pod_is_shown_as_a_manifest() {
    let home = tempfile::tempdir().expect("a directory");
    pipeline(home.path(), &[("one", "true")]);
    let output = stepyard(home.path(), &["pod", "p.yaml"]);
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for part in [
        "apiVersion: v1\n",
        "kind: Pod\n",
        "name: step-one\n",
        "subPath: step-one\n",
    ] {
        assert!(out.contains(part), "`{part}` is not in:\n{out}");
    }
}
