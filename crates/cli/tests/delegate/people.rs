//! Approvals and waits over a command that is killed.

use std::process::Stdio;

use crate::support::{Clock, Home};
use crate::{stage, until};

const ASK: &str = "{identifier: ask, name: ask, type: HarnessApproval, spec: {approvalMessage: 'Ship <+pipeline.name>?', \
    approvers: {userGroups: [ops], minimumCount: 1, disallowPipelineExecutor: false}, approverInputs: [{name: to, defaultValue: east}]}}";

#[test]
fn an_approval_outlives_its_command_and_is_answered_elsewhere() {
    let home = Home::new();
    let then = crate::script(
        "then",
        "echo to <+execution.steps.ask.output.approverInputs.to> since <+execution.steps.ask.output.approvalActivities[0].comments> by <+execution.steps.ask.output.approvalActivities[0].user.name> <+approval.approvalActivities[0].user.name == execution.steps.ask.output.approvalActivities[0].user.name && execution.steps.ask.output.approvalActivities[0].approvedAt > 1700000000000>",
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
    let said = out
        .lines()
        .find(|line| line.contains("to west since fine by "));
    assert!(said.is_some_and(|line| line.ends_with(" true")), "{out}");
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
    let then = crate::script("then", "echo it is <+steps.ask.status>").replace(
        "{identifier",
        "{when: {stageStatus: All, condition: <+steps.ask.status> == \"APPROVAL_REJECTED\"}, identifier",
    );
    home.write("p.yaml", stage(&[ASK, &then]));
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
    assert!(out.contains("it is APPROVAL_REJECTED"), "{out}");
}

/// A ShellScript step that asks when it is reached.
const LATER: &str = "{identifier: ship, name: ship, type: ShellScript, spec: {shell: Bash, onDelegate: true, \
    environmentVariables: [{name: TO, type: String, value: '<+input>.allowedValues(east,west).executionInput()'}], \
    source: {type: Inline, spec: {script: \"echo to $TO\"}}}}";

#[test]
fn an_input_is_asked_for_when_its_step_is_reached_and_outlives_the_command() {
    let home = Home::new();
    let first = crate::script("first", "echo first");
    home.write("p.yaml", stage(&[&first, LATER]));
    let start = |args: &[&str]| {
        let mut run = home
            .command(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary is built");
        let seen = until(&mut run, "stepyard answer");
        (run, seen)
    };
    let (mut run, seen) = start(&["run", "p.yaml"]);
    assert!(
        seen.contains("] first\n"),
        "it was asked too early:\n{seen}"
    );
    assert!(
        seen.contains("asks for environmentVariables.TO (one of east, west)"),
        "{seen}"
    );
    run.kill().expect("it runs");
    run.wait().expect("it ends");
    let (run, _) = start(&["resume"]);
    let wrong = home.call(&["answer", "ship", "environmentVariables.TO=north"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.err);
    assert!(
        wrong.err.contains("give one of east, west"),
        "{}",
        wrong.err
    );
    let none = home.call(&["answer"]);
    assert!(
        none.err
            .contains("the input `environmentVariables.TO` must be given"),
        "{}",
        none.err
    );
    let right = home.call(&["answer", "ship", "environmentVariables.TO=west"]);
    assert_eq!(
        (right.code, right.out.as_str()),
        (Some(0), "s/ship: environmentVariables.TO given\n"),
        "{}",
        right.err
    );
    let end = run.wait_with_output().expect("it ends");
    let out = String::from_utf8_lossy(&end.stdout);
    assert!(end.status.success(), "{out}");
    assert!(out.contains("] to west\n"), "{out}");
}

#[test]
fn an_input_that_was_given_before_is_not_asked_for() {
    let home = Home::new();
    home.write("p.yaml", stage(&[LATER]));
    let set = "stages.s.steps.ship.spec.environmentVariables.TO=east";
    let end = home.call(&["run", "p.yaml", "--set", set]);
    assert_eq!(end.code, Some(0), "{}", end.err);
    assert!(end.out.contains("] to east\n"), "{}", end.out);
}

#[test]
fn a_manual_stage_waits_to_be_started() {
    let home = Home::new();
    let text = stage(&[&crate::script("one", "echo one")]);
    home.write(
        "p.yaml",
        text.replace(
            "type: Custom",
            "type: Custom\n        runMode: {type: Manual, timeout: 1h}",
        ),
    );
    let mut run = home
        .command(&["run", "p.yaml"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary is built");
    let seen = until(&mut run, "stepyard answer");
    assert!(seen.contains("waits to be started"), "{seen}");
    assert!(!seen.contains("] one\n"), "{seen}");
    let said = home.call(&["answer", "s"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (Some(0), "s answered\n"),
        "{}",
        said.err
    );
    let end = run.wait_with_output().expect("it ends");
    let out = String::from_utf8_lossy(&end.stdout);
    assert!(end.status.success() && out.contains("] one\n"), "{out}");
}

/// 2030-01-01 12:00 PM, UTC.
const NOON: i64 = 1_893_499_200;

#[test]
fn an_approval_is_given_by_itself_at_its_deadline_unless_somebody_was_faster() {
    let home = Home::new();
    let auto = ", autoApproval: {action: APPROVE, comments: nobody objected, \
        scheduledDeadline: {time: '2030-01-01 01:00 PM', timeZone: Europe/Berlin}}}}";
    let ask = ASK.replace("}]}}", &format!("}}]{auto}"));
    let then = crate::script(
        "then",
        "echo to <+execution.steps.ask.output.approverInputs.to>",
    );
    home.write("p.yaml", stage(&[&ask, &then]));
    let clock = Clock::new(&home);
    let now = std::time::UNIX_EPOCH.elapsed().expect("after it").as_secs();
    let at = |seconds: i64| clock.jump(NOON + seconds - i64::try_from(now).expect("small"));
    let command = |args: &[&str]| {
        let mut command = home.command(args);
        clock.set(&mut command);
        command
    };
    let said = |args: &[&str]| {
        let out = command(args).output().expect("the binary is built");
        let (told, also) = (
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr),
        );
        (out.status.code(), format!("{told}{also}"))
    };

    at(10);
    for words in [&["validate", "p.yaml"][..], &["run", "p.yaml"]] {
        let (code, text) = said(words);
        assert_eq!(code, Some(2), "{words:?}: {text}");
        let over = "the deadline `2030-01-01 01:00 PM` in Europe/Berlin is over";
        assert!(text.contains(over), "{words:?}: {text}");
    }

    at(-3);
    let (code, text) = said(&["run", "p.yaml"]);
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "given by itself at 2030-01-01 01:00 PM Europe/Berlin",
        "approved by itself, at its deadline: nobody objected",
        "to east",
    ] {
        assert!(text.contains(part), "`{part}` in {text}");
    }

    at(-3600);
    let (code, text) = said(&["validate", "p.yaml"]);
    assert_eq!(code, Some(0), "{text}");
    let mut run = command(&["run", "p.yaml"]);
    let mut run = run.stdout(Stdio::piped()).spawn().expect("it is built");
    until(&mut run, "stepyard approve");
    let right = home.call(&["approve", "ask", "--set", "to=west"]);
    assert_eq!(right.code, Some(0), "{}", right.err);
    let end = run.wait_with_output().expect("it ends");
    let out = String::from_utf8_lossy(&end.stdout);
    assert!(end.status.success(), "{out}");
    assert!(
        out.contains("to west") && !out.contains("by itself"),
        "{out}"
    );
}

/// It waits neither for its own place in a queue, nor is it taken for one that will never come to a barrier.
#[test]
fn a_group_that_begins_again_keeps_its_place() {
    let home = Home::new();
    // The script has a user of its own.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(home.path(), open).expect("it is ours");
    let mark = home.path().join("mended");
    let fails_once = crate::script(
        "once",
        &format!(
            "[ -e {0} ] || {{ touch {0}; exit 1; }}; echo mended",
            mark.display()
        ),
    );
    let stage = |id: &str, steps: &str| {
        format!(
            "        - stage: {{identifier: {id}, name: {id}, type: Custom, spec: {{execution: {{steps: [{steps}]}}}}}}\n"
        )
    };
    let meet =
        "step: {identifier: meet, name: meet, type: Barrier, timeout: 30s, spec: {barrierRef: b}}";
    let turn = "step: {identifier: turn, name: turn, type: Queue, timeout: 30s, spec: {key: k, scope: Stage}}";
    let again = "[{onFailure: {errors: [AllErrors], action: {type: RetryStepGroup, spec: {retryCount: 1, retryIntervals: [1s]}}}}]";
    let group = format!(
        "stepGroup: {{identifier: g, name: g, failureStrategies: {again}, steps: [{{{turn}}}, {{step: {fails_once}}}, {{{meet}}}]}}"
    );
    let seen = home.run(&format!(
        "pipeline:\n  identifier: p\n  name: p\n  flowControl: {{barriers: [{{identifier: b, name: b}}]}}\n  stages:\n    - parallel:\n{}{}",
        stage("one", &format!("{{{group}}}")),
        stage("two", &format!("{{{meet}}}"))
    ));
    seen.says("the run", 0, &["begins again", "mended", "✓ p succeeded"]);
}
