//! Texts and arguments that cannot be used: each has its own message, exit code 2, and nothing is run.

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn stepyard(home: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stepyard"))
        .args(args)
        .current_dir(home)
        .env_clear()
        .env("STEPYARD_HOME", home.join("state"))
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .expect("the binary is built")
}

/// A pipeline with one step of this `spec`, in a group with these further keys.
fn pipeline(group: &str, infra: &str, spec: &str) -> String {
    format!(
        "pipeline:
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
                  {group}
                  stepGroupInfra: {{type: KubernetesDirect, spec: {{connectorRef: c, namespace: n{infra}}}}}
                  steps:
                    - step: {{identifier: a, name: a, type: Run, spec: {{{spec}}}}}
"
    )
}

const FINE: &str = "image: 'host:/', command: 'true'";

#[test]
fn bad_pipelines() {
    let home = tempfile::tempdir().expect("a directory");
    let bomb: String = std::iter::once("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned())
        .chain((1..9).map(|i| {
            format!(
                "a{i}: &a{i} [{}]\n",
                vec![format!("*a{}", i - 1); 10].join(",")
            )
        }))
        .collect();
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("not UTF-8", b"pipeline: \xff\n".to_vec(), &["SY0001", "not UTF-8"]),
        ("empty", Vec::new(), &["SY0002"]),
        ("not YAML", b"pipeline: [\n".to_vec(), &["SY0003"]),
        ("two keys alike", b"pipeline:\n  identifier: a\n  identifier: b\n".to_vec(), &["SY0005", "identifier"]),
        ("an alias bomb", bomb.into_bytes(), &["SY0007"]),
        ("no identifier", pipeline("", "", FINE).replace("  identifier: p\n", "").into_bytes(), &["SY0101", "identifier"]),
        (
            "a doubled identifier",
            pipeline("", "", FINE).replace("steps:\n                    - step", &format!("steps:\n                    - step: {{identifier: a, name: b, type: Run, spec: {{{FINE}}}}}\n                    - step")).into_bytes(),
            &["`a`"],
        ),
        ("a reserved path", pipeline("sharedPaths: [/harness]", "", FINE).into_bytes(), &["SY0207", "/harness"]),
        (
            "a mount path twice",
            pipeline("sharedPaths: [/x]", ", volumes: [{type: EmptyDir, mountPath: /x, spec: {}}]", FINE).into_bytes(),
            &["/x"],
        ),
        (
            "an unknown volume type",
            pipeline("", ", volumes: [{type: Emptydir, mountPath: /x, spec: {}}]", FINE).into_bytes(),
            &["Emptydir", "EmptyDir"],
        ),
        ("an unknown type", pipeline("", "", FINE).replace("type: Run", "type: Rum").into_bytes(), &["SY0201", "Rum"]),
        (
            "an unknown secret",
            pipeline("", "", "image: 'host:/', command: 'echo <+secrets.getValue(\"tok\")>'").into_bytes(),
            &["error[SY0303]: the secret `tok` has no value", "--> p.yaml:", "--secret tok=", "STEPYARD_SECRET_TOK"],
        ),
        (
            "unknown secrets, and one in a comment",
            pipeline("", "", "image: 'host:/', command: \"echo <+secrets.getValue('tok')> <+secrets.getValue( 'account.key' )>\" # <+secrets.getValue('none')>\n                        ").into_bytes(),
            &["the secret `tok` has no value", "the secret `account.key` has no value", "2 errors; nothing was run"],
        ),
        (
            "a secret, an input and a step that are not there, at once",
            pipeline("", "", "image: <+input>, command: 'echo <+secrets.getValue(\"tok\")> <+steps.nobody.status>'").into_bytes(),
            &["SY0303", "SY0304", "SY0601", "3 errors; nothing was run"],
        ),
        (
            "a clone by an unknown connector",
            pipeline("", "", FINE).replace("type: Run", "type: GitClone").replace(FINE, "connectorRef: nowhere, repoName: shop, build: {type: branch, spec: {branch: main}}").into_bytes(),
            &["SY0302", "`nowhere`", "--local REPO=DIR"],
        ),
        (
            "an unknown step",
            pipeline("", "", "image: 'host:/', command: 'echo <+steps.nobody.output.outputVariables.X>'").into_bytes(),
            &["nobody"],
        ),
        (
            "a missing input",
            pipeline("", "", "image: 'host:/', command: <+input>").into_bytes(),
            &["SY0601", "has no value", "--set"],
        ),
        ("no pipeline", b"connector: {identifier: c, name: c, type: K8sCluster, spec: {credential: {type: InheritFromDelegate}}}\n".to_vec(), &["holds no pipeline"]),
    ];
    for (name, text, says) in cases {
        let file = home.path().join("p.yaml");
        std::fs::write(&file, text).expect("a file");
        let output = stepyard(home.path(), &["run", "p.yaml"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
        assert!(
            output.stdout.is_empty(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        for part in says {
            assert!(said.contains(part), "{name}: `{part}` is not in:\n{said}");
        }
    }
    assert!(!home.path().join("state/runs").exists(), "nothing was run");
}

#[test]
fn bad_arguments() {
    let home = tempfile::tempdir().expect("a directory");
    std::fs::write(home.path().join("fine.yaml"), pipeline("", "", FINE)).expect("a file");
    for (args, says) in [
        (
            &["run", "fin.yaml"][..],
            &["there is no file fin.yaml", "did you mean fine.yaml?"][..],
        ),
        (&["run", "."], &[". is a directory"]),
        (
            &["run", "fine.yaml", "--entities", "no"],
            &["there is no directory no"],
        ),
        (
            &["run", "fine.yaml", "--set", "x"],
            &["`--set x` is not `NAME=VALUE`"],
        ),
        (
            &["run", "fine.yaml", "--set", "x=1"],
            &["has no variable or input of this name"],
        ),
        (
            &["run", "fine.yaml", "--only", "b"],
            &["--only b: the pipeline has no such step", "s/g/a"],
        ),
        (
            &["run", "fine.yaml", "--secret", "hunter2 x"],
            &["a `--secret` has no name"],
        ),
        (
            &["run", "fine.yaml", "--secrets-file", "no.env"],
            &["there is no secrets file no.env"],
        ),
        (
            &["run", "fine.yaml", "--local", "x"],
            &["`--local x` is not `REPO=DIR`"],
        ),
        (
            &["run", "fine.yaml", "--local", "shop=."],
            &[
                "`--local shop=…` stands in for no clone",
                "there is no GitClone step",
            ],
        ),
        (
            &["run", "fine.yaml", "--backend", "vm"],
            &["invalid value 'vm'"],
        ),
        (&["inspect"], &["there is no run yet"]),
        (&["logs", "xyz"], &["there is no run `xyz`"]),
        (&["resume", "xyz"], &["there is no run `xyz`"]),
        (&["explain", "SY9999"], &["there is no diagnostic `SY9999`"]),
        (
            &["pod", "fine.yaml", "--group", "x"],
            &["no such containerized step group", "it has g"],
        ),
        (&["validate", "no.yaml"], &["there is no file no.yaml"]),
        (&["frobnicate"], &["unrecognized subcommand 'frobnicate'"]),
    ] {
        let output = stepyard(home.path(), args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(!said.contains("hunter2"), "{args:?}: {said}");
        for part in says {
            assert!(said.contains(part), "{args:?}: `{part}` is not in:\n{said}");
        }
    }
}

#[test]
fn what_is_only_asked_is_answered_on_standard_output() {
    let home = tempfile::tempdir().expect("a directory");
    std::fs::write(home.path().join("fine.yaml"), pipeline("", "", FINE)).expect("a file");
    for (args, says) in [
        (&["--version"][..], "stepyard 0."),
        (&["--help"], "Usage: stepyard"),
        (&["validate", "fine.yaml"], "1 file valid"),
        (
            &["validate", "fine.yaml", "--output", "json"],
            "\"valid\": true",
        ),
        (&["plan", "fine.yaml"], "Run a  step-a"),
        (&["plan", "fine.yaml", "--output", "json"], "\"children\""),
        (&["pod", "fine.yaml"], "image: \"host:/\""),
        (&["explain", "1"], "# SY0001"),
        (&["runs", "--output", "json"], "[]"),
        (&["completions", "bash"], "_stepyard"),
    ] {
        let output = stepyard(home.path(), args);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(said.contains(says), "{args:?}: `{says}` is not in:\n{said}");
    }
}

/// A machine that reads the events of a run is told on the same stream why there is none.
#[test]
fn a_run_that_cannot_begin_is_told_to_machines() {
    let home = tempfile::tempdir().expect("a directory");
    std::fs::write(
        home.path().join("p.yaml"),
        pipeline("", "", "image: 'host:/', command: <+input>"),
    )
    .expect("a file");
    for (args, says, code) in [
        (["run", "gone.yaml"], "there is no file gone.yaml", None),
        (
            ["run", "p.yaml"],
            "1 error; nothing was run",
            Some("SY0601"),
        ),
    ] {
        let output = stepyard(home.path(), &[args[0], args[1], "--output", "json"]);
        assert_eq!(output.status.code(), Some(2));
        let told: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("one JSON value");
        assert_eq!(
            (&told["kind"], &told["message"]),
            (&"error".into(), &says.into())
        );
        assert_eq!(told["diagnostics"][0]["code"].as_str(), code);
    }
}

/// As `2>&1 | head -1` has it: what nobody reads any more is no failure of its own.
#[test]
fn a_standard_error_that_is_closed_changes_no_exit_code() {
    let home = tempfile::tempdir().expect("a directory");
    let text =
        pipeline("", "", "image: 'host:/', comand: 'true'").replace("type: Run", "type: Rnu");
    std::fs::write(home.path().join("p.yaml"), text).expect("a file");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_stepyard"))
        .args(["validate", "p.yaml"])
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(writer)
        .status()
        .expect("the binary is built");
    assert_eq!(status.code(), Some(2));
}
