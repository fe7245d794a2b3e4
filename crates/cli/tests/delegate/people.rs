//! Approvals and waits over a command that is killed.

use std::process::Stdio;

use crate::support::Home;
use crate::{stage, until};

const ASK: &str = "{identifier: ask, name: ask, type: HarnessApproval, spec: {approvalMessage: 'Ship <+pipeline.name>?', \
    approvers: {userGroups: [ops], minimumCount: 1, disallowPipelineExecutor: false}, approverInputs: [{name: to, defaultValue: east}]}}";

#[test]
fn an_approval_outlives_its_command_and_is_answered_elsewhere() {
    let home = Home::new();
    let then = crate::script(
        "then",
        "echo to <+execution.steps.ask.output.approverInputs.to>",
    );
    let wait = "{identifier: w, name: w, type: Wait, spec: {duration: 1s}}";
    home.write("p.yaml", stage(&[wait, ASK, &then]));
    let start = |args: &[&str]| {
        let mut run = home
            .command(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary is built");
        until(&mut run, "waits for an approval: Ship p?");
        run
    };
    let mut run = start(&["run", "p.yaml"]);
    run.kill().expect("it runs");
    run.wait().expect("it ends");
    let lost = home.call(&["approve", "ask"]);
    assert_eq!(lost.code, Some(2), "{}", lost.err);
    assert!(lost.err.contains("it was lost"), "{}", lost.err);
    let run = start(&["resume"]);
    let wrong = home.call(&["approve", "ask", "--set", "two=west"]);
    assert!(
        wrong
            .err
            .contains("the approval has no input `two`; it has to"),
        "{}",
        wrong.err
    );
    let right = home.call(&["approve", "ask", "--set", "to=west", "--comment", "fine"]);
    assert_eq!(
        (right.code, right.out.as_str()),
        (Some(0), "s/ask approved\n"),
        "{}",
        right.err
    );
    let end = run.wait_with_output().expect("it ends");
    let out = String::from_utf8_lossy(&end.stdout);
    assert!(end.status.success(), "{out}");
    assert!(out.contains(": fine"), "{out}");
    assert!(out.contains("to west"), "{out}");
    let over = home.call(&["approve", "ask"]);
    assert!(
        over.err.contains("asks for no approval now"),
        "{}",
        over.err
    );
}

#[test]
fn a_rejection_fails_its_step() {
    let home = Home::new();
    home.write("p.yaml", stage(&[ASK]));
    let mut run = home
        .command(&["run", "p.yaml"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary is built");
    until(&mut run, "stepyard approve");
    let said = home.call(&["approve", "--reject", "--comment", "not on a Friday"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let end = run.wait_with_output().expect("it ends");
    assert_eq!(end.status.code(), Some(1));
    let out = String::from_utf8_lossy(&end.stdout);
    assert!(out.contains("not on a Friday"), "{out}");
}
