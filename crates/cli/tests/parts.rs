//! `--only` and `--from` of what is in loops, by the real binary.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const PIPELINE: &str = "pipeline:
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
                  identifier: early
                  name: early
                  stepGroupInfra: {type: KubernetesDirect, spec: {connectorRef: c, namespace: n}}
                  steps:
                    - step: {identifier: none, name: none, type: Run, spec: {image: 'host:/', command: 'true'}}
              - stepGroup:
                  identifier: g
                  name: g
                  strategy: {repeat: {items: [a, b], maxConcurrency: 1}}
                  stepGroupInfra: {type: KubernetesDirect, spec: {connectorRef: c, namespace: n}}
                  steps:
                    - step: {identifier: make, name: make, type: Run, spec: {image: 'host:/', command: 'echo made <+repeat.item>'}}
                    - step:
                        identifier: test
                        name: test
                        type: Run
                        strategy: {matrix: {os: [x, y, z], maxConcurrency: 1}}
                        spec: {image: 'host:/', command: 'echo tested <+stepGroup.repeat.item><+matrix.os>'}
                    - step: {identifier: ship, name: ship, type: Run, spec: {image: 'host:/', command: 'echo shipped <+repeat.item>'}}
              - stepGroup:
                  identifier: late
                  name: late
                  strategy: {repeat: {items: <+execution.steps.early.steps.none.output.outputVariables.LIST>}}
                  stepGroupInfra: {type: KubernetesDirect, spec: {connectorRef: c, namespace: n}}
                  steps:
                    - step: {identifier: last, name: last, type: Run, spec: {image: 'host:/', command: 'echo last'}}
";

fn run(args: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("a directory");
    fs::write(home.path().join("p.yaml"), PIPELINE).expect("a file");
    stepyard(home.path(), args)
}

fn stepyard(home: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stepyard"))
        .args(["run", "p.yaml"])
        .args(args)
        .current_dir(home)
        .env("STEPYARD_HOME", home.join("state"))
        .stdin(Stdio::null())
        .output()
        .expect("the binary is built")
}

/// What the steps said, in order.
fn said(output: &Output) -> Vec<String> {
    let words = ["made ", "tested ", "shipped ", "last"];
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| line.split_once("] "));
    let mut said: Vec<_> = lines
        .map(|(_, line)| line.to_owned())
        .filter(|line| words.iter().any(|word| line.starts_with(word)))
        .filter(|line| line.split(' ').count() <= 2)
        .collect();
    said.sort();
    said
}

#[test]
fn a_part_that_is_in_loops_runs_in_each_iteration_or_in_the_one_that_is_named() {
    let rows: &[(&[&str], &[&str])] = &[
        (&["--only", "make"], &["made a", "made b"]),
        (
            &["--only", "test"],
            &[
                "tested ax",
                "tested ay",
                "tested az",
                "tested bx",
                "tested by",
                "tested bz",
            ],
        ),
        (&["--only", "test_1"], &["tested ay", "tested by"]),
        (&["--only", "g_1/make"], &["made b"]),
        (&["--only", "g_1/test_2"], &["tested bz"]),
        (
            &["--only", "stages.s.steps.g.g_0.steps.test.test_0"],
            &["tested ax"],
        ),
        (&["--from", "g_1/ship"], &["shipped b"]),
    ];
    for (args, wanted) in rows {
        let mut args = args.to_vec();
        if args[0] == "--from" {
            // What comes after it is run, and needs what is not there.
            args.extend(["--set", "steps.none.output.outputVariables.LIST="]);
        }
        let output = run(&args);
        assert_eq!(said(&output), *wanted, "{args:?}: {output:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        let all = args[1] == "make" || args[1] == "test";
        assert_eq!(
            errors.contains("is about every iteration of `g`"),
            all || args[1] == "test_1",
            "{args:?}: {errors}"
        );
    }
}

#[test]
fn an_iteration_that_is_not_there_is_told_before_anything_runs() {
    let output = run(&["--only", "g_2/make"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    for part in ["the loop of `g` has no iteration `g_2`", "it has g_0, g_1"] {
        assert!(errors.contains(part), "`{part}` is not in:\n{errors}");
    }
    assert!(said(&output).is_empty());
    // A name that is not that of a loop is none of its iterations.
    let output = run(&["--only", "make_0"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("has no such step"), "{errors}");
}

#[test]
fn an_iteration_that_only_the_run_knows_is_looked_for_when_its_loop_is_entered() {
    let args = ["--set", "steps.none.output.outputVariables.LIST=[\"q\"]"];
    let output = run(&[&["--only", "late_0/last"], &args[..]].concat());
    assert_eq!(said(&output), ["last"], "{output:?}");
    let output = run(&[&["--only", "late_1/last"], &args[..]].concat());
    let text = format!("{output:?}");
    assert_ne!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("the loop of `late` has no iteration `late_1`"),
        "{text}"
    );
}

#[test]
fn a_plan_marks_what_is_known_to_be_skipped() {
    let home = tempfile::tempdir().expect("a directory");
    let text = PIPELINE
        .replace(
            "  stages:\n",
            "  variables: [{name: env, type: String, value: dev}]\n  stages:\n",
        )
        .replace(
            "{identifier: ship, name: ship,",
            "{identifier: ship, name: ship, when: {stageStatus: Success, condition: '<+pipeline.variables.env> == \"prod\"'},",
        )
        .replace(
            "        type: Custom\n",
            "        type: Custom\n        when: {pipelineStatus: Success, condition: '<+pipeline.variables.env> == \"test\"'}\n",
        );
    fs::write(home.path().join("p.yaml"), text).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_stepyard"))
        .args([
            "plan",
            "p.yaml",
            "--set",
            "steps.none.output.outputVariables.LIST=[a]",
        ])
        .current_dir(home.path())
        .env("STEPYARD_HOME", home.path().join("state"))
        .output()
        .expect("the binary is built");
    let out = String::from_utf8_lossy(&output.stdout);
    let marked: Vec<_> = out
        .lines()
        .filter_map(|line| {
            let (what, why) = line.split_once("  skipped: ")?;
            Some((what.split_whitespace().nth(1)?, why))
        })
        .collect();
    let why =
        |env: &str| format!("its condition does not hold: <+pipeline.variables.env> == \"{env}\"");
    assert_eq!(
        marked,
        [
            ("s", &*why("test")),
            ("ship", &*why("prod")),
            ("ship", &*why("prod")),
        ],
        "{output:?}"
    );
}
