//! What is found out ahead of a step's turn is what is found when it comes.

use engine::event::Status;
use engine::facts::{Fact, Value};
use pipeline::model;

use super::*;

const GROUP: &str = "stages.s.steps.g.steps";

/// A planner of a group with these steps behind `first`.
fn planner(steps: &[&str]) -> Written {
    let steps: Vec<String> = steps.iter().map(|own| format!("{{step: {own}}}")).collect();
    let text = format!(
        "pipeline: {{identifier: p, name: p, variables: [{{name: v, type: String, value: constant}}], stages: [{{stage: {{identifier: s, name: s, type: Custom, spec: {{execution: {{steps: [{{stepGroup: {{identifier: g, name: g, stepGroupInfra: {{type: KubernetesDirect, spec: {{connectorRef: c, namespace: n}}}}, steps: [{{step: {{identifier: first, name: first, type: Run, spec: {{image: 'host:/', command: x}}}}}}, {}]}}}}]}}}}}}}}]}}",
        steps.join(", ")
    );
    let mut sources = Sources::new();
    let id = sources.add("p.yaml", &text);
    let loaded = model::read(&sources, [id], model::Options::default());
    let pipeline = loaded.pipeline.expect("a pipeline");
    let options = Options {
        sources,
        ..Options::default()
    };
    Written::new(pipeline, Secrets::default(), options)
}

/// The facts once `first` has run.
fn facts() -> Facts {
    let mut facts = Facts::default();
    let mut first = Fact {
        attempts: 1,
        status: Some(Status::Success),
        ..Fact::default()
    };
    first
        .outputs
        .insert("V".to_owned(), Value::Plain("said".to_owned()));
    facts.nodes.insert(NodeId(format!("{GROUP}.first")), first);
    facts
}

#[test]
fn only_what_nothing_can_change_is_known_ahead() {
    let run = |command: &str| {
        format!(
            "{{identifier: own, name: own, type: Run, spec: {{image: 'host:/', command: \"{command}\", envVariables: {{A: b}}}}}}"
        )
    };
    for (command, known) in [
        ("echo constant", true),
        ("echo <+pipeline.variables.v> <+pipeline.executionId>", true),
        ("echo <+steps.first.output.outputVariables.V>", false),
        ("echo <+execution.steps.g.steps.first.status>", false),
        ("echo <+steps.first.output.outputVariables.MISSING>", false),
    ] {
        let planner = planner(&[&run(command)]);
        let own = NodeId(format!("{GROUP}.own"));
        let image = ImageFacts::default();
        let ahead = planner.start_ahead(&own, &Facts::default(), &image);
        assert_eq!(ahead.is_some(), known, "{command}");
        let later = planner.start(&own, 0, &facts(), &image);
        if let Some(ahead) = ahead {
            assert_eq!(Ok(ahead), later, "{command}");
        }
    }
}
