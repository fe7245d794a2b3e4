//! ShellScript steps.

use std::process::Stdio;

use crate::support::Home;
use crate::{processes, script, stage, until};

#[test]
fn a_script_has_a_directory_a_user_and_secrets_of_its_own() {
    let home = Home::new();
    let outputs = "{identifier: one, name: one, type: ShellScript, spec: {shell: Bash, onDelegate: true, \
        environmentVariables: [{name: WHO, type: String, value: <+pipeline.name>}, {name: TOKEN, type: Secret, value: token}], \
        outputVariables: [{name: OUT, type: String, value: V}, {name: KEY, type: Secret, value: K}], \
        source: {type: Inline, spec: {script: \"false; echo hi $WHO $TOKEN; id -u; pwd; touch here; export V=1.2 K=sesame; exit 0\"}}}}";
    let two = script(
        "two",
        "ls; echo read <+execution.steps.one.output.outputVariables.OUT> <+execution.steps.one.output.outputVariables.KEY>; env",
    );
    home.write("p.yaml", stage(&[outputs, &two]));
    let mut command = home.command(&["run", "p.yaml", "--secret", "token=open-door"]);
    command.env("MINE", "this-user-alone");
    let seen = command.output().expect("the binary is built");
    let out = String::from_utf8_lossy(&seen.stdout);
    assert!(seen.status.success(), "{out}");
    assert!(out.contains("hi p **************"), "{out}");
    assert!(out.contains("read 1.2 **************"), "{out}");
    // The second has another directory: nothing of the first is there.
    assert!(!out.contains("[s/two] here"), "{out}");
    assert!(!out.contains("STEPYARD_HOME"), "{out}");
    let root = rustix::process::geteuid().is_root();
    if root {
        assert!(!out.contains("[s/one] 0\n"), "{out}");
    }
    // Another user's process gets nothing of the environment of whoever runs this; one of the same user does.
    assert_eq!(out.contains("this-user-alone"), !root, "{out}");
    assert_eq!(processes(&home), Vec::<String>::new());
}

#[test]
fn a_command_that_is_killed_is_resumed_and_the_script_ran_once() {
    let home = Home::new();
    let text = "echo begun; for n in 1 2 3 4 5; do sleep 0.2; echo line $n; done";
    home.write("p.yaml", stage(&[&script("one", text)]));
    let mut run = home
        .command(&["run", "p.yaml"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary is built");
    until(&mut run, "line 1");
    run.kill().expect("it runs");
    run.wait().expect("it ends");
    assert_eq!(processes(&home).len(), 1, "it goes on without its command");
    let seen = home.call(&["resume"]);
    assert_eq!(seen.code, Some(0), "{}{}", seen.out, seen.err);
    let log = home.call(&["logs", "one"]).out;
    for line in ["begun", "line 1", "line 2", "line 3", "line 4", "line 5"] {
        let count = log.lines().filter(|own| own.ends_with(line)).count();
        assert_eq!(count, 1, "{line}: {log}");
    }
    assert_eq!(processes(&home), Vec::<String>::new());
}

#[test]
fn an_abort_ends_the_whole_group_and_what_was_left_by_a_kill_is_swept() {
    let home = Home::new();
    // One that hears nothing but SIGKILL, and one that left the group.
    let text = "(setsid sleep 3600 &); trap '' TERM; echo begun; while :; do sleep 1; done";
    home.write("p.yaml", stage(&[&script("one", text)]));
    let begin = || {
        let mut run = home
            .command(&["run", "p.yaml"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary is built");
        until(&mut run, "begun");
        run
    };
    let mut run = begin();
    let pid = rustix::process::Pid::from_child(&run);
    for _ in 0..2 {
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    }
    let status = run.wait().expect("it ends");
    assert_eq!(status.code(), Some(130));
    assert_eq!(processes(&home), Vec::<String>::new());
    let mut run = begin();
    run.kill().expect("it runs");
    run.wait().expect("it ends");
    let seen = home.call(&["sweep"]);
    assert_eq!(seen.out, "1 pod removed\n");
    assert_eq!(processes(&home), Vec::<String>::new());
    // That no process of them is left is what the end of the home looks at; of these two no command line has its path.
    for pid in crate::support::names(std::path::Path::new("/proc")) {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let environ = String::from_utf8_lossy(&environ);
        assert!(!environ.contains("STEPYARD_PROCESS=delegate-one"), "{pid}");
    }
}

/// Ids of runs have no vowels, and neither have many names.
#[test]
fn a_step_of_the_last_run_is_named_by_what_could_be_an_id() {
    let home = Home::new();
    let seen = home.run(&stage(&[&script("db", "echo of the database")]));
    assert_eq!(seen.code, Some(0), "{}{}", seen.out, seen.err);
    let seen = home.call(&["logs", "db"]);
    assert!(
        seen.out.contains("of the database"),
        "{}{}",
        seen.out,
        seen.err
    );
    let seen = home.call(&["logs", "npm"]);
    assert!(seen.err.contains("there is no run `npm`"), "{}", seen.err);
}

#[test]
fn a_timeout_ends_a_script() {
    let home = Home::new();
    let step = script("one", "echo begun; exec sleep 3600")
        .replacen("name: one", "name: one, timeout: 10s", 1)
        .replace("10s", "<+pipeline.variables.limit>");
    crate::expires(&home, &step);
}

#[test]
fn what_is_not_run_here_is_refused_by_name_before_anything_runs() {
    let home = Home::new();
    let one = script("one", "echo never");
    for (step, args, says) in [
        (one.clone(), vec!["--no-delegate-scripts"], "SY0633"),
        (
            one.replace("Bash", "PowerShell"),
            vec![],
            "PowerShell is not run on a delegate",
        ),
        (
            one.replace("onDelegate: true", "onDelegate: false"),
            vec![],
            "a script on a remote host is not run",
        ),
        (
            one.replace(
                "type: Inline, spec: {script: \"echo never\"}",
                "type: Harness, spec: {file: \"/x\"}",
            ),
            vec![],
            "a script of type Harness is not read",
        ),
        (
            "{identifier: m, name: m, type: Email, spec: {to: a@b}}".to_owned(),
            vec![],
            "steps of type Email are not run yet",
        ),
        (
            "{identifier: k, name: k, type: K8sRollingDeploy, spec: {}}".to_owned(),
            vec![],
            "steps of type K8sRollingDeploy are not run yet",
        ),
    ] {
        let first = script("first", "echo first");
        home.write("p.yaml", stage(&[&first, &step]));
        let mut words = vec!["run", "p.yaml"];
        words.extend(args);
        let seen = home.call(&words);
        assert_eq!(seen.code, Some(2), "{says}: {}{}", seen.out, seen.err);
        assert!(seen.err.contains(says), "{says}: {}", seen.err);
        assert!(!seen.out.contains("first"), "{}", seen.out);
    }
    let mut command = home.command(&["run", "p.yaml"]);
    command.env("STEPYARD_DELEGATE_SCRIPTS", "perhaps");
    let seen = command.output().expect("the binary is built");
    assert_eq!(seen.status.code(), Some(2));
}

#[test]
fn a_group_in_a_containerized_one_is_in_its_pod_and_a_script_in_it_beside() {
    let home = Home::new();
    let group = |id: &str, infra: &str, steps: &[String]| {
        let steps: Vec<String> = steps
            .iter()
            .map(|step| format!("{{step: {step}}}"))
            .collect();
        format!(
            "{{identifier: {id}, name: {id}, {infra}steps: [{}]}}",
            steps.join(", ")
        )
    };
    let infra = "stepGroupInfra: {type: KubernetesDirect, spec: {connectorRef: c, namespace: n}}, ";
    let run = |id: &str, command: &str| {
        format!(
            "{{identifier: {id}, name: {id}, type: Run, spec: {{image: 'host:/', command: '{command}'}}}}"
        )
    };
    for nested in ["", infra] {
        let inner = group(
            "inner",
            nested,
            &[
                run("reads", "echo read $(cat /harness/seven)"),
                script("beside", "[ -e /harness/seven ] || echo nothing here"),
            ],
        );
        let outer = group("outer", infra, &[run("writes", "echo 7 >/harness/seven")]);
        let outer = outer.replacen("]}", &format!(", {{stepGroup: {inner}}}]}}"), 1);
        let text = stage(&["X"]).replace("- step: X", &format!("- stepGroup: {outer}"));
        let seen = home.run(&text);
        assert_eq!(seen.code, Some(0), "{}{}", seen.out, seen.err);
        assert!(
            seen.out.contains("[s/outer/inner/reads] read 7"),
            "{}",
            seen.out
        );
        assert!(
            seen.out.contains("[s/outer/inner/beside] nothing here"),
            "{}",
            seen.out
        );
        assert!(!seen.out.contains("inner/Initialize"), "{}", seen.out);
    }
}
