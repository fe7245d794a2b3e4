//! Steps in the real agent, over its real socket.

mod support;

use addon::frame::Exit;
use support::{Agent, Driver, attempt, run, script, var};

#[test]
fn a_script_runs_and_leaves_its_output_and_its_record() {
    let agent = Agent::new();
    let mut start = script("echo hello $STEP; echo oops >&2; export V='two\nlines'; exit 0");
    start.outputs = vec![var("V"), var("UNDEFINED")];
    let (record, text) = run(&agent, start);
    assert_eq!(text, "hello a\noops\n");
    assert_eq!(record.exit, Exit::Code(0));
    assert_eq!(record.attempt, attempt(0));
    let outputs: Vec<_> = record
        .outputs
        .iter()
        .map(|o| (o.name.as_str(), o.value.as_str()))
        .collect();
    assert_eq!(outputs, [("V", "two\nlines")]);
    assert!(record.warnings.is_empty(), "{:?}", record.warnings);
}

#[test]
fn a_script_runs_through_lite_engine() {
    let agent = Agent::new();
    let socket = agent.dir.path().join("lite-engine");
    let mut engine = std::process::Command::new(support::binary())
        .args(["lite-engine", "--slices"])
        .arg(agent.dir.path())
        .arg("--listen")
        .arg(&socket)
        .spawn()
        .expect("lite-engine starts");
    let mut driver = Driver::connect(&socket, 7);
    driver.frame(7, &addon::link::Frame::Open("step-a".to_owned()));
    driver.hello(1, None, 0);
    driver.say(&addon::frame::Request::Start(Box::new(script(
        "echo over the router",
    ))));
    let record = driver.finished();
    assert_eq!(record.exit, Exit::Code(0));
    assert_eq!(driver.text(), "over the router\n");
    engine.kill().expect("it runs");
    engine.wait().expect("it ended");
}
