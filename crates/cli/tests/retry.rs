//! `stepyard retry`: what succeeded in the run before is not run again, and its outputs are there.

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use support::{Home, Seen, quoted};

/// Two stages. The second fails as long as there is no file `mended` beside the pipeline.
fn pipeline(home: &Home, last: &str) {
    let step = |id: &str, command: &str, more: &str| {
        format!(
            "                    - step: {{identifier: {id}, name: {id}, type: Run, spec: {{image: 'host:/', shell: Sh, command: {}{more}}}}}\n",
            quoted(command)
        )
    };
    let stage = |id: &str, steps: &[String]| {
        format!(
            "    - stage:
        identifier: {id}
        name: {id}
        type: Custom
        spec:
          execution:
            steps:
              - stepGroup:
                  identifier: pod
                  name: pod
                  stepGroupInfra: {{type: KubernetesDirect, spec: {{connectorRef: c, namespace: n, volumes: [{{mountPath: /beside, type: HostPath, spec: {{path: {}}}}}]}}}}
                  steps:
{}",
            home.path().display(),
            steps.concat()
        )
    };
    let outputs =
        ", outputVariables: [{name: V, type: String, value: V}, {name: T, type: Secret, value: T}]";
    let version =
        "<+pipeline.stages.build.spec.execution.steps.pod.steps.make.output.outputVariables.V>";
    let make = step(
        "make",
        "echo made it; V='1.4 \"beta\"'; T=hush-hush",
        outputs,
    );
    let first = step("first", "echo begun; touch /harness/begun", "");
    let upload = step("upload", "test -e /beside/mended", "");
    let tell = step("tell", &format!("echo 'has {version}'; {last}"), "");
    let text = format!(
        "pipeline:\n  identifier: p\n  name: p\n  stages:\n{}{}",
        stage("build", &[make]),
        stage("deploy", &[first, upload, tell])
    );
    home.write("p.yaml", text);
}

/// The latest run, or the one before it.
fn run(home: &Home, at: usize) -> serde_json::Value {
    let seen = home.call(&["runs", "--output", "json"]);
    let all: serde_json::Value = serde_json::from_str(&seen.out).expect("JSON");
    all[at].clone()
}

fn id(run: &serde_json::Value) -> String {
    run["id"].as_str().expect("an id").to_owned()
}

fn failed(home: &Home) -> String {
    let seen = home.call(&["run", "p.yaml"]);
    seen.says("the first run", 1, &["made it", "begun", "exit code 1"]);
    let first = id(&run(home, 0));
    home.write("mended", "");
    first
}

#[test]
fn the_failed_stage_runs_again_and_reads_what_was_carried() {
    let home = Home::new();
    pipeline(&home, "true");
    let first = failed(&home);
    // The text is that of the first run, whatever is written there by now.
    home.write("p.yaml", "no: pipeline");
    let seen = home.call(&["retry"]);
    seen.says(
        "the retry",
        0,
        &[
            &format!("a retry of {first}"),
            &format!("[build] succeeded in run {first}; not run again\n"),
            "[deploy/pod/first] begun\n",
            "[deploy/pod/tell] has 1.4 \"beta\"\n",
            &format!("✓ build  from run {first}"),
            "no journal holds the secret outputs of build/pod/make",
        ],
    );
    assert_eq!(seen.times("made it"), 0, "{}", seen.out);
    let second = run(&home, 0);
    assert_eq!(
        (second["retry_of"].as_str(), second["state"].as_str()),
        (Some(&*first), Some("succeeded"))
    );
    assert_eq!(run(&home, 1)["retry_of"], serde_json::Value::Null);
    home.call(&["runs"])
        .says("runs", 0, &[&format!("p  a retry of {first}\n")]);
    let second = id(&second);
    home.call(&["logs", &second, "make"])
        .says("logs of what was carried", 0, &["made it\n"]);
    let seen = home.call(&["inspect", &second, "--output", "json"]);
    let document: serde_json::Value = serde_json::from_str(&seen.out).expect("JSON");
    let nodes = document["nodes"].as_array().expect("nodes");
    let build = nodes.iter().find(|node| node["id"] == "stages.build");
    assert_eq!(build.expect("it")["carried_from"], first.as_str());
    home.call(&["inspect", &second])
        .says("inspect", 0, &[&format!("✓ build  from run {first}")]);

    // What succeeded has nothing to be retried.
    home.call(&["retry", &second])
        .says("a success", 2, &["succeeded: there is nothing to retry"]);
}

#[test]
fn from_a_step_the_steps_before_it_are_carried() {
    let home = Home::new();
    pipeline(&home, "ls /harness");
    let first = failed(&home);
    for (from, parts) in [
        (
            "nowhere",
            [
                "no such stage, group or step",
                "it has build, build/pod, build/pod/make, deploy, deploy/pod, deploy/pod/first, deploy/pod/upload, deploy/pod/tell",
            ],
        ),
        (
            "pod",
            ["is the name of 2 nodes", "say which: build/pod, deploy/pod"],
        ),
        (
            "tell",
            [
                "deploy/pod/upload is before it, and did not succeed",
                "`--from deploy/pod/upload`",
            ],
        ),
    ] {
        home.call(&["retry", &first, "--from", from])
            .says(from, 2, &parts);
    }
    let seen = home.call(&["retry", &first, "--from", "upload"]);
    seen.says(
        "the retry",
        0,
        &[
            &format!("[deploy/pod/first] succeeded in run {first}; not run again\n"),
            "deploy/pod has a new pod: files that deploy/pod/first left in the old one are not there",
            "[deploy/pod/tell] has 1.4",
        ],
    );
    assert_eq!(seen.times("begun"), 0, "{}", seen.out);
    // Refused ones left no run.
    let seen = home.call(&["runs", "--output", "json"]);
    let all: serde_json::Value = serde_json::from_str(&seen.out).expect("JSON");
    assert_eq!(all.as_array().map(Vec::len), Some(2));
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

#[test]
fn a_retry_whose_command_was_killed_is_resumed() {
    let home = Home::new();
    pipeline(
        &home,
        "until [ -e /beside/go ]; do sleep 0.05; done; echo gone on",
    );
    let first = failed(&home);
    let mut retry = home
        .command(&["retry"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary is built");
    until(&mut retry, "has 1.4");
    home.call(&["retry", &id(&run(&home, 0))]).says(
        "one that goes on",
        2,
        &["is not over: another command drives it"],
    );
    retry.kill().expect("it runs");
    retry.wait().expect("it ends");
    home.call(&["retry"]).says(
        "one that was lost",
        2,
        &["its command was lost", "stepyard resume"],
    );
    home.write("go", "");
    let seen: Seen = home.call(&["resume"]);
    seen.says(
        "the resumed retry",
        0,
        &[
            &format!("[build] succeeded in run {first}; not run again\n"),
            "gone on",
        ],
    );
    assert_eq!(seen.times("made it"), 0, "{}", seen.out);
}

#[test]
fn a_stage_behind_one_that_failed_is_no_beginning() {
    let home = Home::new();
    let stage = |id: &str, command: &str| {
        format!(
            "    - stage: {{identifier: {id}, name: {id}, type: Custom, spec: {{execution: {{steps: [{{step: {{identifier: do, name: do, type: ShellScript, \
             spec: {{shell: Sh, onDelegate: true, source: {{type: Inline, spec: {{script: {command}}}}}}}}}}}]}}}}}}\n"
        )
    };
    let stages = stage("one", "exit 1") + &stage("two", "echo two");
    home.run(&format!(
        "pipeline:\n  identifier: p\n  name: p\n  stages:\n{stages}"
    ))
    .says("the run", 1, &["[two] skipped"]);
    home.call(&["retry", "--from", "two"]).says(
        "from what comes after",
        2,
        &["one is before it, and did not succeed", "`--from one`"],
    );
}
